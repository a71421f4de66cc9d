"""Closed nights: a run opens those that changed; it makes and says what a plan of all nights would.

Each run that opens some nights is held against a plan of all of them by `sandbox.Sandbox.run`: the
same jobs with the same keys, the same lines.
"""

import shutil

import pytest
from sandbox import SMALL, Sandbox, products
from stand_ins import use_stand_ins

from ccdflow import kinds, paths
from ccdflow.files import note_columns, notes
from ccdflow.run import ledger, session
from ccdflow.run.rawframes.header_store import load_store

NIGHTS = [f"2024-03-{day:02}" for day in range(1, 8)]
LATER = "2024-03-08"


def take(box, night, *kinds_of_frames):
    """Put frames of a night into the raw folder, each with pixels of its own."""
    for kind in kinds_of_frames:
        count = len(list((box.raw / night).glob("*"))) if (box.raw / night).is_dir() else 0
        seed = int(night[-2:]) * 100 + count
        light = {"OBJECT": 500, "FLAT": 20000}.get(kind, 300)
        box.put(
            f"{night}/{count}.fits",
            seed,
            packed=False,
            kind=kind,
            night=night,
            size=SMALL,
            light=light,
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        config = {"bias": {"minimum": 2}, "pictures": {"per_type": 0}}
        made = Sandbox(tmp_path_factory.mktemp("closed") / "box", config)
        for night in NIGHTS:
            take(made, night, "BIAS", "BIAS", "OBJECT")
        made.run()
        return made


@pytest.fixture
def box(original, tmp_path, monkeypatch):
    """An archive of its own, of which all nights are closed."""
    use_stand_ins(monkeypatch)
    own = Sandbox(tmp_path / "box", dict(original.config))
    for name in ("raw", "results"):
        shutil.copytree(getattr(original, name), getattr(own, name), dirs_exist_ok=True)
    assert own.run().jobs == []
    assert (own.results / paths.CLOSED_NIGHTS).is_file()
    return own


def opened(box):
    """Return the nights that the next run opens, None where it plans all of them."""
    with pytest.MonkeyPatch.context() as patch:
        # Plan only: what a plan has found out is not written.
        patch.setattr(session, "retire", lambda *_: {})
        patch.setattr(session, "save_session", lambda *_: None)
        found = session.start(box.values(), chain=kinds.CHAIN, dry=False, sealed=True)
        found.lock.close()
    nights = {row.night for row in found.context.store.rows.values()}
    return sorted(nights) if found.context.closed else None


def run(box):
    """Run, and return the nights that were opened."""
    nights = opened(box)
    box.run()
    return nights


def check(box):
    """The next run has nothing to do; a run from scratch makes the same bytes."""
    assert run(box) is not None
    assert box.run().jobs == []
    clean = box.clean()
    clean.run()
    assert products(box.results) == products(clean.results)


def test_a_late_frame_opens_its_night_and_the_last(box):
    take(box, NIGHTS[3], "OBJECT")
    assert run(box) == [NIGHTS[3], NIGHTS[-1]]
    assert len(load_store(box.results).rows) == 22
    check(box)


def test_a_new_night_with_biases_opens_no_night_that_has_masters_enough(box):
    take(box, LATER, "BIAS", "BIAS", "OBJECT")
    assert run(box) == [NIGHTS[-1], LATER]
    check(box)
    take(box, LATER, "BIAS", "OBJECT")
    assert run(box) == [LATER], "the night goes on"
    assert box.run().jobs == []


def test_nights_that_wait_for_a_master_are_opened_by_it(box):
    """All frames lack a flat: the first one that there is changes what is said of all of them."""
    box.config["flat"] = {"enabled": True, "minimum": 2}
    box.run()
    assert box.run().jobs == []
    take(box, LATER, "BIAS", "BIAS", "OBJECT")
    assert run(box) == [NIGHTS[-1], LATER]
    take(box, "2024-03-09", "FLAT", "FLAT", "BIAS", "BIAS")
    assert opened(box) is None
    box.run()
    assert "calibrated without flat" not in " ".join(box.run().lines)


def test_a_product_that_was_removed_opens_its_night(box):
    (box.results / paths.calibrated(f"{NIGHTS[2]}/2.fits")).unlink()
    assert opened(box) == [NIGHTS[2], NIGHTS[-1]]
    assert paths.calibrated(f"{NIGHTS[2]}/2.fits") in box.run().jobs
    assert box.run().jobs == []


def test_a_frame_that_is_set_aside_late_stands_in_all_tables(box):
    path = box.raw / NIGHTS[1] / "2.fits"
    path.write_bytes(path.read_bytes()[:4000])
    assert opened(box) == [NIGHTS[1], NIGHTS[-1]]
    assert any("set aside" in line for line in box.run().lines)
    assert f"calibrated/{NIGHTS[1]}" not in (box.results / paths.ASSOCIATIONS).read_text()
    box.run()
    assert opened(box) is None or box.run().jobs == []


OF_ALL = {
    "bias of an old night": lambda box: take(box, NIGHTS[3], "BIAS"),
    "raw frame gone": lambda box: (box.raw / NIGHTS[2] / "2.fits").unlink(),
    "night before all": lambda box: take(box, "2024-02-20", "BIAS", "BIAS"),
    "copy of an old bias": lambda box: copy_bias(box),
    "master removed": lambda box: next((box.results / "combined" / NIGHTS[2]).iterdir()).unlink(),
    "table edited": lambda box: (box.results / paths.INVENTORY).write_text("mine"),
    "masters' table removed": lambda box: (box.results / paths.ASSOCIATIONS).unlink(),
    "setting": lambda box: box.config.update(strict=True),
    "profile": lambda box: box.profile("alpha", reduction={"statistic": "mean"}),
    "note damaged": lambda box: damage(box.results / paths.CLOSED_NIGHTS),
    "file among products": lambda box: (
        (box.results / "reduced" / "odd").mkdir()
        or (box.results / "reduced" / "odd" / "x.fits").write_bytes(b"x")
    ),
}


def copy_bias(box):
    take(box, LATER, "BIAS", "BIAS")
    shutil.copy(box.raw / NIGHTS[0] / "0.fits", box.raw / LATER / "2.fits")
    # Its header says the first night.
    take(box, NIGHTS[0], "BIAS")


def damage(path):
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)


@pytest.mark.parametrize("change", OF_ALL.values(), ids=OF_ALL)
def test_all_nights_are_planned_where_others_may_change(box, change):
    change(box)
    assert opened(box) is None


def test_notes_beside_the_notes_count_wherever_the_results_lie(box):
    """A copy has other times: all is planned, and nothing is made again."""
    take(box, LATER, "BIAS", "BIAS", "OBJECT")
    box.run()
    assert (box.results / paths.LATE_NOTES).is_file()
    records = ledger.load_ledger(box.results)
    assert list(records) == sorted(records)
    assert f"reduced/{LATER}/2.fits" in records
    other = box.root / "other"
    shutil.copytree(box.results, other)
    shutil.rmtree(box.results)
    other.rename(box.results)
    assert opened(box) is None
    assert box.run().jobs == []
    assert not (box.results / paths.LATE_NOTES).exists(), "the notes are one again"
    assert ledger.load_ledger(box.results).keys() == records.keys()


def test_lines_count_only_beside_the_notes_that_they_were_written_for(box):
    take(box, NIGHTS[3], "OBJECT")
    box.run()
    late = f"{NIGHTS[3]}/3.fits"
    assert late in load_store(box.results).rows
    path = box.results / paths.HEADERS
    first, *lines = notes.read_checked(path)
    notes.write_checked(path, [first, *lines[:-1]])
    store = load_store(box.results)
    assert late not in store.rows
    assert len(store.rows) == 20
    assert paths.reduced(late) in ledger.load_ledger(box.results), "the ledger is as it was"


def test_a_plan_of_some_nights_reads_no_line_of_the_others(box):
    """Rows of closed nights may hold anything: nobody looks at them."""
    path = box.results / paths.CLOSED_NIGHTS
    before = note_columns.read_columns(path)
    found = {name: before.cells(name) for name in before}
    for name in ("rows", "records"):
        found[name][before.names.index(NIGHTS[1])] = note_columns.cell([[10**9, 5]])
    note_columns.write_columns(path, found.items(), first=before.first, names=before.names)
    take(box, NIGHTS[3], "OBJECT")
    assert opened(box) == [NIGHTS[3], NIGHTS[-1]]
    take(box, NIGHTS[1], "OBJECT")
    assert opened(box) is None


def test_lines_that_are_lost_are_not_missed(box):
    """The note of a new night is of lines beside the notes: without them all is planned."""
    take(box, LATER, "BIAS", "BIAS", "OBJECT")
    box.run()
    assert box.run().jobs == []
    take(box, NIGHTS[3], "OBJECT")
    assert opened(box) == [NIGHTS[3], LATER]
    damage(box.results / paths.LATE_NOTES)
    assert opened(box) is None
    outcome = box.run()
    assert f"reduced/{LATER}/0.fits" in outcome.jobs, "nobody knows of what it was made"
    assert not (box.results / paths.LATE_NOTES).exists()


def test_a_night_without_one_of_its_raw_files_is_closed_as_well(box):
    (box.raw / NIGHTS[1] / "2.fits").unlink()
    box.run()
    lines = box.run().lines
    take(box, NIGHTS[3], "OBJECT")
    assert opened(box) == [NIGHTS[3], NIGHTS[-1]]
    gone = [line for line in lines if "raw file missing" in line]
    assert gone[:-1] == [line for line in box.run().lines if "raw file missing" in line][:-1] != []
    box.put(f"{NIGHTS[1]}/9.fits", 9, packed=False, kind="OBJECT", night=NIGHTS[1], size=SMALL)
    assert opened(box) is None, "which frames are members may change"
