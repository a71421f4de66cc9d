"""Closed nights: a run opens those that changed; it makes and says what a plan of all nights would.

Each run that opens some nights is held against a plan of all of them by `sandbox.Sandbox.run`: the
same jobs with the same keys, the same lines.
"""

import gc
import shutil
import weakref
from collections import Counter
from types import SimpleNamespace

import pytest
from sandbox import SMALL_FRAME, Sandbox, damage, products
from stand_ins import copy_with_stand_ins, use_stand_ins

from ccdflow import kinds, paths
from ccdflow.files.text_files import note_columns, notes
from ccdflow.frame import reduction
from ccdflow.run import ledger, session
from ccdflow.run.ending import retiring, saving
from ccdflow.run.nights import closed_nights, merging, night_notes
from ccdflow.run.products import product_stamps
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.raw_frames.header_store import load_store
from ccdflow.run.run_start import RunRequest
from ccdflow.run.watch import watching

NIGHTS = [f"2024-03-{day:02}" for day in range(1, 6)]
LATER_NIGHT = "2024-03-08"


def take(sandbox, night, *kinds_of_frames):
    """Put frames of a night into the raw folder, each with pixels of its own."""
    for kind in kinds_of_frames:
        count = len(list((sandbox.raw / night).glob("*"))) if (sandbox.raw / night).is_dir() else 0
        seed = int(night[-2:]) * 100 + count
        light = {"OBJECT": 500, "FLAT": 20000}.get(kind, 300)
        sandbox.put(
            f"{night}/{count}.fits",
            seed,
            is_packed=False,
            kind=kind,
            night=night,
            size=SMALL_FRAME,
            light=light,
        )


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        config = {"bias": {"minimum": 2}, "pictures": {"per_type": 0}}
        made = Sandbox(tmp_path_factory.mktemp("closed") / "box", config)
        for night in NIGHTS:
            take(made, night, "BIAS", "BIAS", "OBJECT")
        made.run()
        return made


@pytest.fixture
def sandbox(original_archive, tmp_path, monkeypatch):
    """An archive of its own, of which all nights are closed."""
    return copy_with_stand_ins(original_archive, tmp_path / "box", monkeypatch)


def nights_opened(sandbox):
    """Return the nights that the next run opens, None where it plans all of them."""
    with pytest.MonkeyPatch.context() as patch:
        # Plan only: no result of the plan is written.
        patch.setattr(retiring, "retire", lambda *_: {})
        patch.setattr(saving, "save_session", lambda *_: None)
        started = session.start(
            sandbox.values(), chain=kinds.CHAIN, request=RunRequest(accepts_seal=True)
        )
        started.lock.close()
    nights = {row.night for row in started.context.store.rows.values()}
    return sorted(nights) if started.context.closed_nights else None


def run(sandbox):
    """Run, and return the nights that were opened."""
    nights = nights_opened(sandbox)
    sandbox.run()
    return nights


def check(sandbox):
    """The next run has nothing to do; a run from scratch makes the same bytes."""
    assert run(sandbox) is not None
    assert sandbox.run().jobs == []
    clean = sandbox.clean()
    clean.run()
    assert products(sandbox.results) == products(clean.results)


def test_a_late_frame_opens_its_night_and_the_last(sandbox):
    take(sandbox, NIGHTS[3], "OBJECT")
    assert run(sandbox) == [NIGHTS[3], NIGHTS[-1]]
    assert len(load_store(sandbox.results).rows) == len(NIGHTS) * 3 + 1
    check(sandbox)


def test_frames_that_are_refused_have_no_header_of_an_older_version_and_close_their_nights(sandbox):
    sandbox.config["calibrate"] = {"missing": "refuse"}
    sandbox.run()
    again = sandbox.run()
    assert again.jobs == []
    assert sum(line.startswith("not calibrated: ") for line in again.lines) == len(NIGHTS)
    assert [line.partition(":")[0] for line in sandbox.plan().plan_lines()] == ["nothing to do"]
    take(sandbox, NIGHTS[3], "OBJECT")
    assert run(sandbox) == [NIGHTS[3], NIGHTS[-1]]


def test_a_release_with_a_new_header_closes_nights_and_its_lines_count_all_of_them(
    sandbox, monkeypatch
):
    """The sandbox compares the lines of a plan of some nights with those of a plan of all."""
    monkeypatch.setattr(reduction, "HEADER_VERSION", reduction.HEADER_VERSION + 1)
    for kind in kinds.CHAIN:
        if kind.name in ("bias", "science"):
            monkeypatch.setattr(kind, "header_version", kind.header_version + 1)
    # The stamps of the code that a seal has change with a release.
    closed_nights.remove_closed_nights(sandbox.results)
    (sandbox.results / paths.SEAL).unlink()
    assert sandbox.run().jobs == []
    take(sandbox, NIGHTS[3], "OBJECT")
    assert run(sandbox) == [NIGHTS[3], NIGHTS[-1]]
    lines = [line.partition(" with a header of an older") for line in sandbox.plan().plan_lines()]
    numbers = [number for number, words, _ in lines if words]
    assert numbers == ["15 frames", "5 combined biases", "5 frames"]


def test_a_new_night_with_biases_opens_no_night_that_has_masters_enough(sandbox):
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    assert run(sandbox) == [NIGHTS[-1], LATER_NIGHT]
    check(sandbox)
    take(sandbox, LATER_NIGHT, "BIAS", "OBJECT")
    assert run(sandbox) == [LATER_NIGHT], "the night goes on"
    assert sandbox.run().jobs == []


def test_nights_that_wait_for_a_master_are_opened_by_it(sandbox):
    """All frames lack a flat: the first flat changes the lines on all of them."""
    sandbox.config["flat"] = {"enabled": True, "minimum": 2}
    assert "calibrated without flat: 5 of 5" in " ".join(sandbox.run().lines)
    assert sandbox.run().jobs == []
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    assert run(sandbox) == [NIGHTS[-1], LATER_NIGHT]
    take(sandbox, "2024-03-09", "FLAT", "FLAT", "BIAS", "BIAS")
    assert nights_opened(sandbox) is None
    sandbox.run()
    assert "calibrated without flat" not in " ".join(sandbox.run().lines)


def test_a_product_that_was_removed_opens_its_night(sandbox):
    (sandbox.results / paths.calibrated_frame(f"{NIGHTS[2]}/2.fits")).unlink()
    assert nights_opened(sandbox) == [NIGHTS[2], NIGHTS[-1]]
    assert paths.calibrated_frame(f"{NIGHTS[2]}/2.fits") in sandbox.run().jobs
    assert sandbox.run().jobs == []


def test_a_frame_that_is_set_aside_late_leaves_the_table_of_masters(sandbox):
    path, table = sandbox.raw / NIGHTS[1] / "2.fits", sandbox.results / paths.ASSOCIATIONS_FILE
    path.write_bytes(path.read_bytes()[:4000])
    assert nights_opened(sandbox) == [NIGHTS[1], NIGHTS[-1]]
    assert f"calibrated/{NIGHTS[1]}" in table.read_text()
    assert any("set aside" in line for line in sandbox.run().lines)
    assert f"calibrated/{NIGHTS[1]}" not in table.read_text()
    sandbox.run()
    # The frame is tried again in each run: one that plans all nights.
    assert nights_opened(sandbox) is None
    assert sandbox.run().jobs == []


CHANGES_OF_ALL_NIGHTS = {
    "bias of an old night": lambda sandbox: take(sandbox, NIGHTS[3], "BIAS"),
    "raw frame gone": lambda sandbox: (sandbox.raw / NIGHTS[2] / "2.fits").unlink(),
    "night before all": lambda sandbox: take(sandbox, "2024-02-20", "BIAS", "BIAS"),
    "copy of an old bias": lambda sandbox: copy_bias(sandbox),
    "master removed": lambda sandbox: next(
        (sandbox.results / "combined" / NIGHTS[2]).iterdir()
    ).unlink(),
    "table edited": lambda sandbox: (sandbox.results / paths.INVENTORY).write_text("mine"),
    "masters' table removed": lambda sandbox: (sandbox.results / paths.ASSOCIATIONS_FILE).unlink(),
    "setting": lambda sandbox: sandbox.config.update(strict=True),
    "profile": lambda sandbox: sandbox.profile("alpha", reduction={"statistic": "mean"}),
    "note damaged": lambda sandbox: damage(sandbox.results / paths.CLOSED_NIGHTS),
    "file among products": lambda sandbox: (
        (sandbox.results / "reduced" / "odd").mkdir()
        or (sandbox.results / "reduced" / "odd" / "x.fits").write_bytes(b"x")
    ),
}


def copy_bias(sandbox):
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS")
    shutil.copy(sandbox.raw / NIGHTS[0] / "0.fits", sandbox.raw / LATER_NIGHT / "2.fits")
    # Its header says the first night.
    take(sandbox, NIGHTS[0], "BIAS")


@pytest.mark.parametrize("change", CHANGES_OF_ALL_NIGHTS.values(), ids=CHANGES_OF_ALL_NIGHTS)
def test_all_nights_are_planned_where_others_may_change(sandbox, change):
    change(sandbox)
    assert nights_opened(sandbox) is None


def test_notes_beside_the_notes_count_wherever_the_results_lie(sandbox):
    """A copy has other times: all is planned, and nothing is made again."""
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    sandbox.run()
    assert (sandbox.results / paths.LATE_NOTES).is_file()
    records = ledger.load_ledger(sandbox.results)
    assert list(records) == sorted(records)
    assert f"reduced/{LATER_NIGHT}/2.fits" in records
    other = sandbox.root / "other"
    shutil.copytree(sandbox.results, other)
    shutil.rmtree(sandbox.results)
    other.rename(sandbox.results)
    assert nights_opened(sandbox) is None
    assert sandbox.run().jobs == []
    assert not (sandbox.results / paths.LATE_NOTES).exists(), "the notes are one again"
    assert ledger.load_ledger(sandbox.results).keys() == records.keys()


def test_lines_count_only_beside_the_notes_that_they_were_written_for(sandbox):
    take(sandbox, NIGHTS[3], "OBJECT")
    sandbox.run()
    late = f"{NIGHTS[3]}/3.fits"
    assert late in load_store(sandbox.results).rows
    path = sandbox.results / paths.HEADERS
    first, *lines = notes.read_checked(path)
    notes.write_checked(path, [first, *lines[:-1]])
    store = load_store(sandbox.results)
    assert late not in store.rows
    assert len(store.rows) == 14
    assert paths.reduced_frame(late) in ledger.load_ledger(sandbox.results), (
        "the ledger is as it was"
    )


def test_a_plan_of_some_nights_reads_no_line_of_the_others(sandbox):
    """Wrong places of the rows of closed nights are not noticed: these rows are not read."""
    path = sandbox.results / paths.CLOSED_NIGHTS
    before = note_columns.read_columns(path)
    cells = {name: before.cells(name) for name in before}
    for name in ("rows", "records"):
        cells[name][before.names.index(NIGHTS[1])] = note_columns.cell([[10**9, 5]])
    note_columns.write_columns(
        path, cells.items(), shared_values=before.shared_values, names=before.names
    )
    take(sandbox, NIGHTS[3], "OBJECT")
    assert nights_opened(sandbox) == [NIGHTS[3], NIGHTS[-1]]
    take(sandbox, NIGHTS[1], "OBJECT")
    assert nights_opened(sandbox) is None


def test_a_plan_of_some_nights_looks_at_no_master_of_the_others(sandbox, monkeypatch):
    """The stamps of folders show that those of the other nights have not changed."""
    take(sandbox, NIGHTS[1], "OBJECT")
    looks, stamp_of = [], product_stamps.file_access.stamp_of
    monkeypatch.setattr(
        product_stamps,
        "file_access",
        SimpleNamespace(stamp_of=lambda path: looks.append(str(path)) or stamp_of(path)),
    )
    assert nights_opened(sandbox) == [NIGHTS[1], NIGHTS[-1]]
    of_masters = {path.split("/combined/")[1][:10] for path in looks if "/combined/" in path}
    assert of_masters == {NIGHTS[1], NIGHTS[-1]}


def test_lost_lines_lead_to_a_plan_of_all_nights(sandbox):
    """The note of a new night is of lines beside the notes: without them all is planned."""
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    sandbox.run()
    assert sandbox.run().jobs == []
    take(sandbox, NIGHTS[3], "OBJECT")
    assert nights_opened(sandbox) == [NIGHTS[3], LATER_NIGHT]
    (sandbox.results / paths.LATE_NOTES).unlink()
    assert nights_opened(sandbox) is None
    outcome = sandbox.run()
    assert f"reduced/{LATER_NIGHT}/0.fits" in outcome.jobs, "nobody knows of what it was made"
    assert not (sandbox.results / paths.LATE_NOTES).exists()


def test_a_frame_that_came_after_its_night_was_closed_is_missed_when_it_goes(sandbox):
    """Folders look as they did when the nights were closed, and yet a frame is missing."""
    take(sandbox, NIGHTS[3], "OBJECT")
    take(sandbox, LATER_NIGHT, "OBJECT")
    sandbox.run()
    late = f"{NIGHTS[3]}/3.fits"
    products_of_it = [
        sandbox.results / of(late) for of in (paths.reduced_frame, paths.calibrated_frame)
    ]
    for path in (sandbox.raw / late, *products_of_it):
        path.unlink()
    assert nights_opened(sandbox) is None
    take(sandbox, NIGHTS[3], "OBJECT")
    assert nights_opened(sandbox) == [NIGHTS[3], NIGHTS[-1], LATER_NIGHT]
    shutil.rmtree(sandbox.raw / LATER_NIGHT)
    assert nights_opened(sandbox) is None
    outcome = sandbox.run()
    assert {paths.reduced_frame(late), paths.calibrated_frame(late)} <= {*outcome.jobs}
    assert any(f"{LATER_NIGHT}/0.fits" in line and "missing" in line for line in outcome.lines)


def test_a_night_without_one_of_its_raw_files_is_closed_as_well(sandbox):
    (sandbox.raw / NIGHTS[1] / "2.fits").unlink()
    sandbox.run()
    lines = sandbox.run().lines
    take(sandbox, NIGHTS[3], "OBJECT")
    assert nights_opened(sandbox) == [NIGHTS[3], NIGHTS[-1]]
    gone = [line for line in lines if "raw file missing" in line]
    assert (
        gone[:-1] == [line for line in sandbox.run().lines if "raw file missing" in line][:-1] != []
    )
    sandbox.put(
        f"{NIGHTS[1]}/9.fits", 9, is_packed=False, kind="OBJECT", night=NIGHTS[1], size=SMALL_FRAME
    )
    assert nights_opened(sandbox) is None, "which frames are members may change"


# -- a watch, which closes nights while one goes on ------------------------------------------------


def watch_of(sandbox):
    silent = watching.WatchListener(lambda _: None)
    noticing = watching.Noticing(pause=0.02)
    return watching.Watch(sandbox.values(), chain=kinds.CHAIN, listener=silent, noticing=noticing)


def arrive(sandbox, watch_without_notes, night, kind):
    """Let a frame of a night arrive; return the round that it leads to."""
    before = set(raw_folders.list_raw(sandbox.raw))
    take(sandbox, night, kind)
    stamps = raw_folders.list_raw(sandbox.raw)
    return watch_without_notes.do_round({file: stamps[file] for file in set(stamps) - before})


def nights_in_memory(watch_without_notes):
    """Return the nights of the rows that a watch has in memory."""
    return sorted(
        {row.night for row in watch_without_notes._warm_state.context.store.rows.values()}
    )


@pytest.fixture
def watch_without_notes(sandbox):
    """A watch on the archive; nights without a note, as after a watch of long ago."""
    (sandbox.results / paths.CLOSED_NIGHTS).unlink()
    watch = watch_of(sandbox)
    watch.whole_round(raw_folders.list_raw(sandbox.raw))
    return watch


def test_a_watch_keeps_the_open_night_alone_and_makes_the_products_of_a_run(
    sandbox, watch_without_notes
):
    assert nights_in_memory(watch_without_notes) == [NIGHTS[-1]]
    done = [
        arrive(sandbox, watch_without_notes, LATER_NIGHT, kind)
        for kind in ("BIAS", "BIAS", "OBJECT")
    ]
    # Biases are reduced at once; the frame of the sky waits for their master.
    assert [each.is_short for each in done] == [True, True, False]
    assert {record.kind for record in done[-1].records} >= {"bias", "science"}
    assert nights_in_memory(watch_without_notes) == [LATER_NIGHT], "the night before has ended"
    assert arrive(sandbox, watch_without_notes, LATER_NIGHT, "OBJECT").is_short
    assert watch_without_notes.whole_round().problem == ""
    assert sandbox.plan().plan.jobs == {}
    clean = sandbox.clean()
    clean.run()
    assert products(sandbox.results) == products(clean.results)


def test_a_late_frame_of_a_closed_night_leads_to_a_whole_round(sandbox, watch_without_notes):
    done = arrive(sandbox, watch_without_notes, NIGHTS[2], "OBJECT")
    assert not done.is_short
    assert f"calibrated/{NIGHTS[2]}/3.fits" in {record.product for record in done.records}
    assert nights_in_memory(watch_without_notes) == [NIGHTS[2], NIGHTS[-1]]
    watch_without_notes.whole_round()
    assert nights_in_memory(watch_without_notes) == [NIGHTS[-1]], "it is closed again"
    assert sandbox.plan().plan.jobs == {}


def test_frames_that_are_read_again_keep_their_night_open(sandbox):
    """A young frame may change and keep its times: its folder's hash proves nothing."""
    watch = watch_of(sandbox)
    take(sandbox, "2024-03-09", "BIAS", "BIAS")
    watch.settings["limits"]["settle"] = 1000.0
    take(sandbox, LATER_NIGHT, "OBJECT")
    watch.whole_round()
    assert nights_in_memory(watch) == [LATER_NIGHT, "2024-03-09"]
    folders = note_columns.read_columns(sandbox.results / paths.CLOSED_NIGHTS).shared_values[
        "folders"
    ]
    assert folders[f"raw/{NIGHTS[3]}"]
    assert [folders[f"raw/{night}"] for night in (LATER_NIGHT, "2024-03-09")] == ["", ""]


def count_objects():
    """Return how many objects of each class there are, of those that can hold others."""
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects())


def test_memory_of_a_watch_does_not_grow_with_the_frames_of_closed_nights(
    sandbox, watch_without_notes, monkeypatch
):
    """Growth over two nights of three frames each."""
    monkeypatch.setattr(merging, "_LEAST_BYTES", 1)
    counts = []
    for number in range(8, 12):
        night = f"2024-03-{number:02}"
        take(sandbox, night, "BIAS", "BIAS", "OBJECT")
        assert watch_without_notes.whole_round(raw_folders.list_raw(sandbox.raw)).problem == ""
        assert nights_in_memory(watch_without_notes) == [night]
        counts.append(count_objects())
    growth = counts[3] - counts[1]
    assert counts[3]["Row"] == counts[1]["Row"]
    # The notes of a closed night: the group and the record of its combined bias.
    assert growth["Record"] == growth["ClosedGroup"] == 2
    # Rows and records of the six frames would be above a hundred, with what each of them holds.
    assert sum(growth.values()) < 2 * 40


def test_a_whole_round_has_the_room_of_the_closed_nights_of_the_last_one(
    sandbox, watch_without_notes, monkeypatch
):
    """Rings of objects keep them until Python looks for rings."""
    nights = watch_without_notes._warm_state.context.closed_nights
    last = [
        weakref.ref(watch_without_notes._warm_state),
        weakref.ref(nights),
        weakref.ref(nights.notes),
    ]
    del nights
    started, left = session.start, []

    def look(*arguments, **options):
        left.append([each() for each in last])
        return started(*arguments, **options)

    gc.collect()
    gc.disable()
    try:
        monkeypatch.setattr(session, "start", look)
        take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
        watch_without_notes.whole_round()
    finally:
        gc.enable()
    assert left[0] == [None, None, None]


def test_records_of_short_rounds_are_taken_in_by_a_plan_of_some_nights(
    sandbox, watch_without_notes, monkeypatch
):
    """The watch is killed between a short round and the next whole one."""
    arrive(sandbox, watch_without_notes, LATER_NIGHT, "OBJECT")
    again = watch_of(sandbox)
    with monkeypatch.context() as patch:
        # No plan of all nights.
        patch.setattr(session, "session_of_all_nights", None)
        made = {record.kind for record in again.whole_round().records}
    assert made
    assert not made & {"frame", "science"}
    assert nights_in_memory(again) == [LATER_NIGHT]
    assert sandbox.plan().plan.jobs == {}


def test_a_night_with_a_failed_frame_stays_open(sandbox, watch_without_notes, monkeypatch):
    make = type(kinds.CHAIN).make

    def failing(self, context, job, *, threads=1):
        if job.product == f"calibrated/{LATER_NIGHT}/0.fits":
            raise RuntimeError("not yet")
        return make(self, context, job, threads=threads)

    monkeypatch.setattr(type(kinds.CHAIN), "make", failing)
    take(sandbox, "2024-03-09", "OBJECT")
    assert arrive(sandbox, watch_without_notes, LATER_NIGHT, "OBJECT").problem == ""
    watch_without_notes.whole_round()
    assert LATER_NIGHT in nights_in_memory(watch_without_notes)
    monkeypatch.setattr(type(kinds.CHAIN), "make", make)
    watch_without_notes.whole_round()
    assert sandbox.plan().plan.jobs == {}


def test_late_notes_that_are_many_are_merged(sandbox, monkeypatch):
    """Rows and records are those that they were, where the note of the nights has them."""
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    take(sandbox, NIGHTS[3], "OBJECT")
    sandbox.run()
    sandbox.run()
    before = load_store(sandbox.results), ledger.load_ledger(sandbox.results)
    assert merging.merge_late_notes(sandbox.results) is False, "they are few"
    monkeypatch.setattr(merging, "_LEAST_BYTES", 1)
    monkeypatch.setattr(merging, "_LEAST_FRACTION", 0)
    assert merging.merge_late_notes(sandbox.results)
    assert not (sandbox.results / paths.LATE_NOTES).exists()
    store, records = load_store(sandbox.results), ledger.load_ledger(sandbox.results)
    assert (store.rows, store.shared, store.table_stamp) == (
        before[0].rows, before[0].shared, before[0].table_stamp
    )  # fmt: skip
    assert {name: each.as_dict() for name, each in records.items()} == {
        name: each.as_dict() for name, each in before[1].items()
    }
    assert not ledger.save_ledger(sandbox.results, records), "a whole plan writes the same bytes"
    # Each night's lines are found in their new places, and those of no night as well.
    nights = closed_nights.read_closed_nights(sandbox.results)
    merged = night_notes.NightNotes(sandbox.results, nights)
    assert {f for n in nights.nights for f in merged.rows(n)} == store.rows.keys()
    assert {p for n in ("", *nights.nights) for p in merged.records(n)} == records.keys()
    take(sandbox, NIGHTS[1], "OBJECT")
    # The last calibrated night is opened as well.
    assert nights_opened(sandbox) == [NIGHTS[1], LATER_NIGHT]


def test_a_merge_that_is_stopped_half_way_loses_nothing(sandbox, monkeypatch):
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    sandbox.run()
    assert merging.merge_late_notes(sandbox.results) is False
    sandbox.run()
    rows, records = load_store(sandbox.results).rows, ledger.load_ledger(sandbox.results).keys()
    monkeypatch.setattr(merging, "_LEAST_BYTES", 1)
    monkeypatch.setattr(merging, "_merge_records", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        merging.merge_late_notes(sandbox.results)
    assert (load_store(sandbox.results).rows, ledger.load_ledger(sandbox.results).keys()) == (
        rows,
        records,
    )
    assert nights_opened(sandbox) is None


def test_a_night_that_stays_open_and_is_deleted_whole_is_missed(sandbox, watch_without_notes):
    """The note has no hash of its folder: a folder that is not there any more changed as well."""
    arrive(sandbox, watch_without_notes, LATER_NIGHT, "OBJECT")
    watch_without_notes.whole_round()
    take(sandbox, "2024-03-09", "OBJECT")
    watch_without_notes.whole_round()
    watch_without_notes.whole_round()
    shutil.rmtree(sandbox.raw / "2024-03-09")
    assert nights_opened(sandbox) is None
    watch_without_notes.whole_round()
    gone = {row.file: row.gone for row in load_store(sandbox.results).rows.values() if row.gone}
    assert list(gone) == ["2024-03-09/0.fits"]


def test_a_late_frame_of_a_closed_night_in_another_folder_leads_to_a_whole_round(
    sandbox, watch_without_notes
):
    """A plan of the new frame alone would write the page of its night without all the others."""
    sandbox.put(
        "late/0.fits",
        999,
        is_packed=False,
        kind="OBJECT",
        night=NIGHTS[2],
        size=SMALL_FRAME,
        light=500,
    )
    done = watch_without_notes.do_round(
        {"late/0.fits": raw_folders.list_raw(sandbox.raw)["late/0.fits"]}
    )
    assert not done.is_short
    page = (sandbox.results / paths.night_page(NIGHTS[2])).read_text()
    assert f"{NIGHTS[2]}/2.fits" in page
    assert "late/0.fits" in page
    assert sandbox.plan().plan.jobs == {}
