"""The seal of an archive: whatever changes breaks it, and nothing is opened as long as it holds."""

import json
import os
import shutil
from pathlib import Path

import pytest
from sandbox import SMALL, Sandbox
from stand_ins import use_stand_ins

from ccdflow import kinds, paths
from ccdflow.files import atomic_write, rawfile
from ccdflow.kinds.kind import Kind
from ccdflow.run import ledger, plan_description, seal, session
from ccdflow.run.late_chain import LateChain
from ccdflow.run.rawframes import header_store

NIGHTS = ("2024-03-01", "2024-03-02")
CONFIG = {"bias": {"minimum": 2}}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        made = Sandbox(tmp_path_factory.mktemp("sealed") / "box", dict(CONFIG))
        for night in NIGHTS:
            for number in range(3):
                made.put(f"{night}/{number}.fits.gz", number, night=night, size=SMALL)
        made.run()
        assert made.run().jobs == []
        return made


@pytest.fixture
def box(original, tmp_path, monkeypatch):
    """A sealed archive of its own."""
    use_stand_ins(monkeypatch)
    own = Sandbox(tmp_path / "box", dict(CONFIG))
    for name in ("raw", "results"):
        shutil.copytree(getattr(original, name), getattr(own, name), dirs_exist_ok=True)
    assert own.run().jobs == []
    assert held(own)
    return own


def held(box, **more):
    """Return the seal that a dry run goes by, or None."""
    return session.start(box.values(**more), chain=kinds.CHAIN, dry=True, sealed=True).seal


def test_nothing_is_opened_and_the_same_is_said(box, monkeypatch):
    full = session.start(box.values(), chain=kinds.CHAIN, dry=True)
    expected = full.describe(), session.finish(full)

    def refuse(*_, **__):
        raise AssertionError("it was opened")

    monkeypatch.setattr(header_store, "load_store", refuse)
    monkeypatch.setattr(ledger, "load_ledger", refuse)
    monkeypatch.setattr(rawfile, "open_raw", refuse)
    quick = session.start(box.values(), chain=kinds.CHAIN, dry=False, sealed=True)
    quick.lock.close()
    assert (quick.describe(), session.finish(quick)) == expected
    assert expected[0] == ["nothing to do: 6 frames reduced and up to date"]


def test_the_kinds_are_not_even_imported(box, monkeypatch):
    def refuse():
        raise AssertionError("the kinds were imported")

    late = LateChain(refuse)
    quick = session.start(box.values(), chain=late, dry=True, sealed=True)
    assert quick.seal is not None
    assert plan_description.other_products(quick.plan) == ""
    assert (quick.describe(), session.finish(quick)[1]) == (quick.seal.described, False)
    assert not late.is_loaded
    # Other code or settings may have other kinds: these are asked.
    monkeypatch.setattr("ccdflow.__version__", "99.0")
    late = LateChain(lambda: kinds.CHAIN)
    assert session.start(box.values(), chain=late, dry=True, sealed=True).seal is None
    assert late.is_loaded


@pytest.mark.parametrize("name", ["versions", "looks_at"])
def test_kinds_that_are_there_are_asked(box, monkeypatch, name):
    """The facts that a seal has noted serve a chain alone that nobody has imported."""
    late = LateChain(lambda: kinds.CHAIN)
    assert len(late) == len(kinds.CHAIN)
    assert session.start(box.values(), chain=late, dry=True, sealed=True).seal
    beside = box.results.parent / "mask.txt"
    beside.write_text("1")
    changed = {"versions": [99, 99], "looks_at": lambda self, settings: [beside]}
    monkeypatch.setattr(Kind, name, changed[name])
    assert session.start(box.values(), chain=late, dry=True, sealed=True).seal is None


def raw(box, number=0):
    return box.raw / NIGHTS[0] / f"{number}.fits.gz"


def rewrite(path, *, keep_times=False):
    """Write other bytes of the same number into a file."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "raw content, same size and mtime": lambda box: rewrite(raw(box), keep_times=True),
    "raw touched": lambda box: os.utime(raw(box)),
    "raw deleted": lambda box: raw(box).unlink(),
    "raw renamed": lambda box: raw(box).rename(raw(box, 7)),
    "raw moved to another night": lambda box: raw(box).rename(box.raw / NIGHTS[1] / "7.fits.gz"),
    "two raw files change places": lambda box: swap(raw(box, 0), raw(box, 1)),
    "raw added": lambda box: box.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL),
    "raw of another packing": lambda box: (box.raw / "x.fits.zip").write_bytes(b"PK"),
    "raw folder renamed": lambda box: (box.raw / NIGHTS[0]).rename(box.raw / "2024-03-05"),
    "product damaged": lambda box: rewrite(product(box), keep_times=True),
    "product deleted": lambda box: product(box).unlink(),
    "a file among the products": lambda box: product(box).with_name("x.fits").write_bytes(b"x"),
    "combined bias deleted": lambda box: next((box.results / "combined").rglob("*.fits")).unlink(),
    "page deleted": lambda box: (box.results / paths.night_page(NIGHTS[0])).unlink(),
    "overview deleted": lambda box: (box.results / paths.INDEX_PAGE).unlink(),
    "table edited": lambda box: (box.results / paths.INVENTORY).write_text("mine"),
    "ledger lost": lambda box: (box.results / paths.LEDGER).unlink(),
    "inventory damaged": lambda box: rewrite(box.results / paths.HEADERS, keep_times=True),
    "seal damaged": lambda box: rewrite(box.results / paths.SEAL),
    "seal lost": lambda box: (box.results / paths.SEAL).unlink(),
    "profile edited": lambda box: box.profile("alpha", reduction={"statistic": "mean"}),
    "setting": lambda box: box.config.update(strict=True),
    "record left by a killed run": lambda box: leave(box, f"{paths.DONE}/reduced/x.json"),
    "batch of an earlier run": lambda box: leave(box, f"{paths.BATCHES}/x.0123456789abcdef.json"),
    "temporary file of a killed run": lambda box: leave(box, "reduced/.x.fits.host-1-1.part"),
}


def product(box):
    return box.results / paths.reduced_frame(f"{NIGHTS[0]}/0.fits.gz")


def leave(box, name):
    path = box.results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


def swap(one, other):
    third = one.with_name("third")
    one.rename(third)
    other.rename(one)
    third.rename(other)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_breaks_it(box, change):
    change(box)
    assert held(box) is None


# The whole disk takes 17 s.
@pytest.mark.parametrize("target", ["/proc", pytest.param("/", marks=pytest.mark.torture)])
def test_a_link_that_leads_everywhere_is_not_followed(box, target):
    """Nor is there a seal: the frames behind a link that is not followed are looked for again."""
    (box.raw / "away").symlink_to(target)
    assert held(box) is None
    box.run()
    assert box.run().jobs == []
    assert held(box) is None


def test_a_release_or_a_new_version_breaks_it(box, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ccdflow.__version__", "99.0")
        assert held(box) is None
    for kind in kinds.CHAIN:
        with monkeypatch.context() as patch:
            patch.setattr(type(kind), "versions", [99, 99])
            assert held(box) is None, kind
    assert held(box)


def test_code_is_known_by_the_names_sizes_and_times_of_all_modules():
    top = Path(seal.__file__).parents[1]
    files = [p for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    sizes_and_times = {path.relative_to(top).as_posix(): path.stat() for path in files}
    _, stamps = seal._stamps_of_code()
    assert dict(stamps) == {n: (s.st_size, s.st_mtime_ns) for n, s in sizes_and_times.items()}
    assert {"__init__.py", "run/seal.py"} < set(sizes_and_times)


def test_a_kind_names_other_files_that_it_looks_at(box, monkeypatch, tmp_path):
    beside = tmp_path / "mask.txt"
    beside.write_text("1")
    monkeypatch.setattr(Kind, "looks_at", lambda self, settings: [beside])
    assert box.run().jobs == []
    assert held(box)
    beside.write_text("2")
    assert held(box) is None


def test_what_is_forced_or_asked_for_is_planned(box):
    values = box.values()
    for named in (
        {"forced": {"frame"}},
        {"requested": {paths.reduced_frame(f"{NIGHTS[0]}/0.fits.gz")}},
    ):
        assert session.start(values, chain=kinds.CHAIN, dry=True, sealed=True, **named).seal is None


def test_a_dry_run_without_a_seal_does_not_look_for_what_one_would_hold(box, monkeypatch):
    expected = session.finish(session.start(box.values(), chain=kinds.CHAIN, dry=True))
    (box.results / paths.SEAL).unlink()
    monkeypatch.setattr(seal, "state_of", None)
    planned = session.start(box.values(), chain=kinds.CHAIN, dry=True, sealed=True)
    assert (planned.state_to_seal, session.finish(planned)) == (None, expected)


def test_a_young_raw_file_leaves_none(box):
    """The next run reads it again: bytes may still be written to it with its times unchanged."""
    box.config["limits"] = {"settle": 3600, "frame_memory": 50}
    assert box.run().jobs == []
    assert held(box)
    box.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL)
    assert box.run().jobs
    assert box.run().jobs == []
    assert held(box) is None


def test_a_known_raw_file_that_cannot_be_read_leaves_none(box, monkeypatch):
    """The next run reads it again: its disk may be mended with its times unchanged."""
    opener = rawfile.open_at_once

    def refused(path, flags):
        if str(path) == str(raw(box)):
            raise OSError(5, "Input/output error", str(path))
        return opener(path, flags)

    os.utime(raw(box))
    with monkeypatch.context() as patch:
        patch.setattr(rawfile, "open_at_once", refused)
        for _ in range(2):
            assert "1 raw file missing" in box.run().lines[-1]
            assert held(box) is None
    assert "raw file missing" not in box.run().lines[-1]
    assert held(box)


def test_a_raw_file_deleted_while_it_was_to_be_read_again_leaves_one(box):
    """It is missing for good, and nothing of it is read."""
    box.config["limits"] = {"settle": 3600, "frame_memory": 50}
    box.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL)
    assert box.run().jobs
    (box.raw / NIGHTS[0] / "9.fits.gz").unlink()
    for _ in range(2):
        outcome = box.run()
        assert outcome.jobs == []
        assert "1 raw file missing" in outcome.lines[-1]
    assert held(box)


def test_a_stop_of_the_machine_breaks_it_until_the_products_are_an_hour_old(box, monkeypatch):
    box.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL)
    assert box.run().jobs
    assert box.run().jobs == []
    content = read_seal(box)
    # Which of the pages is written last is by chance: two jobs run at a time.
    made = session.start(box.values(), chain=kinds.CHAIN, dry=True).context.ledger
    newest = max(atomic_write.stamp_of(box.results / product)[2] for product in made)
    assert newest >= atomic_write.stamp_of(box.results / paths.INDEX_PAGE)[2]
    assert (content["boot"], content["until"]) == (ledger.boot_id(), newest / 1e9 + 3600)
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "boot_id", lambda: "another")
        assert held(box) is None
    with monkeypatch.context() as patch:
        patch.setattr(seal.time, "time", lambda: content["until"] + 1)
        patch.setattr(ledger.time, "time", lambda: content["until"] + 1)
        assert held(box) is None
        # A run an hour later knows that they are on the disk.
        assert box.run().jobs == []
        content = read_seal(box)
        assert (content["boot"], content["until"]) == ("", 0)


def read_seal(box):
    return json.loads((box.results / paths.SEAL).read_text().split("\n")[1])


def test_a_disk_that_takes_no_seal_is_no_failure(box, monkeypatch):
    (box.results / paths.SEAL).unlink()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seal.notes, "write_checked", full)
    outcome = box.run()
    assert (outcome.jobs, outcome.status) == ([], 0)


def test_the_command_line_says_the_same_by_the_seal(box):
    (box.results / paths.SEAL).unlink()
    without = box.snakemake()
    assert (without.status, read_seal(box)["described"]) == (0, without.lines[:1])
    sealed, dry = box.snakemake(), box.snakemake("-n")
    assert (sealed.status, sealed.lines) == (0, without.lines)
    assert (dry.status, dry.lines[0]) == (0, without.lines[0])
