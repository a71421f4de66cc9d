"""The seal of an archive: whatever changes breaks it, and nothing is opened as long as it holds."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from sandbox import SMALL_FRAME, Sandbox
from stand_ins import use_stand_ins

from ccdflow import kinds, paths
from ccdflow.files import file_access, raw_files
from ccdflow.kinds.kind import Kind
from ccdflow.run import job_records, ledger, session
from ccdflow.run.batches import claims, withdrawal
from ccdflow.run.ending import session_end
from ccdflow.run.late_chain import LateChain
from ccdflow.run.lines import plan_description
from ccdflow.run.raw_frames import header_store
from ccdflow.run.run_start import DRY_RUN, RunRequest
from ccdflow.run.sealing import seal

NIGHTS = ("2024-03-01", "2024-03-02")
CONFIG = {"bias": {"minimum": 2}}

SEALED_RUN = RunRequest(accepts_seal=True)
SEALED_DRY_RUN = RunRequest(is_dry=True, accepts_seal=True)


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        made = Sandbox(tmp_path_factory.mktemp("sealed") / "box", dict(CONFIG))
        for night in NIGHTS:
            made.put_small(f"{night}/", 3, night=night)
        made.run()
        assert made.run().jobs == []
        return made


@pytest.fixture
def sandbox(original_archive, tmp_path, monkeypatch):
    """A sealed archive of its own."""
    use_stand_ins(monkeypatch)
    own = original_archive.copy_to(tmp_path / "box")
    assert seal_of_dry_run(own)
    return own


def seal_of_dry_run(sandbox, **more):
    """Return the seal that a dry run accepts, or None."""
    return session.start(sandbox.values(**more), chain=kinds.CHAIN, request=SEALED_DRY_RUN).seal


def test_a_sealed_run_opens_nothing_and_prints_the_same_lines(sandbox, monkeypatch):
    full = session.start(sandbox.values(), chain=kinds.CHAIN, request=DRY_RUN)
    expected = full.plan_lines(), session_end.finish(full)

    def refuse(*_, **__):
        raise AssertionError("it was opened")

    monkeypatch.setattr(header_store, "load_store", refuse)
    monkeypatch.setattr(ledger, "load_ledger", refuse)
    monkeypatch.setattr(raw_files, "open_raw", refuse)
    quick = session.start(sandbox.values(), chain=kinds.CHAIN, request=SEALED_RUN)
    quick.lock.close()
    assert (quick.plan_lines(), session_end.finish(quick)) == expected
    assert expected[0] == ["nothing to do: 6 frames reduced and up to date"]


def test_the_kinds_are_not_even_imported(sandbox, monkeypatch):
    def refuse():
        raise AssertionError("the kinds were imported")

    late = LateChain(refuse)
    quick = session.start(sandbox.values(), chain=late, request=SEALED_DRY_RUN)
    assert quick.seal is not None
    assert plan_description.other_products_in_words(quick.plan) == ""
    assert (quick.plan_lines(), session_end.finish(quick)[1]) == (quick.seal.plan_lines, False)
    assert not late.is_loaded
    # Other code or settings may have other kinds: these are asked.
    monkeypatch.setattr("ccdflow.__version__", "99.0")
    late = LateChain(lambda: kinds.CHAIN)
    assert session.start(sandbox.values(), chain=late, request=SEALED_DRY_RUN).seal is None
    assert late.is_loaded


@pytest.mark.parametrize("name", ["versions", "further_files"])
def test_kinds_that_are_there_are_asked(sandbox, monkeypatch, name):
    """The facts in a seal are used only for a chain that is not imported yet."""
    late = LateChain(lambda: kinds.CHAIN)
    assert len(late) == len(kinds.CHAIN)
    assert session.start(sandbox.values(), chain=late, request=SEALED_DRY_RUN).seal
    beside = sandbox.results.parent / "mask.txt"
    beside.write_text("1")
    changed = {"versions": [99, 99], "further_files": lambda self, settings: [beside]}
    monkeypatch.setattr(Kind, name, changed[name])
    assert session.start(sandbox.values(), chain=late, request=SEALED_DRY_RUN).seal is None


def test_a_batch_breaks_the_seal_until_it_is_withdrawn(sandbox):
    """The note of its withdrawal stays for a month, in which each run would plan all nights."""
    batch = sandbox.results / paths.BATCHES / "2024-03-01.0123456789abcdef.json"
    batch.parent.mkdir(exist_ok=True)
    batch.write_text('{"queued":true}\n{"jobs":[]}\n')
    assert not seal_of_dry_run(sandbox)
    assert withdrawal.withdraw(sandbox.results) == {}
    assert batch.read_text() == claims.WITHDRAWN_LINE
    assert seal_of_dry_run(sandbox)


def raw(sandbox, number=0):
    return sandbox.raw / NIGHTS[0] / f"{number}.fits.gz"


def rewrite(path, *, keeps_times=False):
    """Write other bytes of the same number into a file."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    if keeps_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "raw content, same size and mtime": lambda sandbox: rewrite(raw(sandbox), keeps_times=True),
    "raw touched": lambda sandbox: os.utime(raw(sandbox)),
    "raw deleted": lambda sandbox: raw(sandbox).unlink(),
    "raw renamed": lambda sandbox: raw(sandbox).rename(raw(sandbox, 7)),
    "raw moved to another night": lambda sandbox: raw(sandbox).rename(
        sandbox.raw / NIGHTS[1] / "7.fits.gz"
    ),
    "two raw files change places": lambda sandbox: swap(raw(sandbox, 0), raw(sandbox, 1)),
    "raw added": lambda sandbox: sandbox.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL_FRAME),
    "raw of another packing": lambda sandbox: (sandbox.raw / "x.fits.zip").write_bytes(b"PK"),
    "raw folder renamed": lambda sandbox: (sandbox.raw / NIGHTS[0]).rename(
        sandbox.raw / "2024-03-05"
    ),
    "product damaged": lambda sandbox: rewrite(product(sandbox), keeps_times=True),
    "product deleted": lambda sandbox: product(sandbox).unlink(),
    "a file among the products": lambda sandbox: (
        product(sandbox).with_name("x.fits").write_bytes(b"x")
    ),
    "combined bias deleted": lambda sandbox: next(
        (sandbox.results / "combined").rglob("*.fits")
    ).unlink(),
    "page deleted": lambda sandbox: (sandbox.results / paths.night_page(NIGHTS[0])).unlink(),
    "overview deleted": lambda sandbox: (sandbox.results / paths.REPORT_PAGE).unlink(),
    "table edited": lambda sandbox: (sandbox.results / paths.INVENTORY).write_text("mine"),
    "ledger lost": lambda sandbox: (sandbox.results / paths.LEDGER).unlink(),
    "inventory damaged": lambda sandbox: rewrite(sandbox.results / paths.HEADERS, keeps_times=True),
    "seal damaged": lambda sandbox: rewrite(sandbox.results / paths.SEAL),
    "seal lost": lambda sandbox: (sandbox.results / paths.SEAL).unlink(),
    "profile edited": lambda sandbox: sandbox.profile("alpha", reduction={"statistic": "mean"}),
    "setting": lambda sandbox: sandbox.config.update(strict=True),
    "record left by a killed run": lambda sandbox: leave(
        sandbox, f"{paths.DONE_FOLDER}/reduced/x.json"
    ),
    "batch of an earlier run": lambda sandbox: leave(
        sandbox, f"{paths.BATCHES}/x.0123456789abcdef.json"
    ),
    "temporary file of a killed run": lambda sandbox: leave(
        sandbox, "reduced/.x.fits.host-1-1.part"
    ),
}


def product(sandbox):
    return sandbox.results / paths.reduced_frame(f"{NIGHTS[0]}/0.fits.gz")


def leave(sandbox, name):
    path = sandbox.results / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


def swap(one, other):
    third = one.with_name("third")
    one.rename(third)
    other.rename(one)
    third.rename(other)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_breaks_the_seal(sandbox, change):
    change(sandbox)
    assert seal_of_dry_run(sandbox) is None


# The whole disk takes 17 s.
@pytest.mark.parametrize("target", ["/proc", pytest.param("/", marks=pytest.mark.torture)])
def test_a_link_that_leads_everywhere_is_not_followed(sandbox, target):
    """Nor is there a seal: the frames behind a link that is not followed are looked for again."""
    (sandbox.raw / "away").symlink_to(target)
    assert seal_of_dry_run(sandbox) is None
    sandbox.run()
    assert sandbox.run().jobs == []
    assert seal_of_dry_run(sandbox) is None


def test_a_release_or_a_new_version_breaks_the_seal(sandbox, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ccdflow.__version__", "99.0")
        assert seal_of_dry_run(sandbox) is None
    for kind in kinds.CHAIN:
        with monkeypatch.context() as patch:
            patch.setattr(type(kind), "versions", [99, 99])
            assert seal_of_dry_run(sandbox) is None, kind
    assert seal_of_dry_run(sandbox)


def test_code_is_known_by_the_names_sizes_and_times_of_all_modules():
    top = Path(seal.__file__).parents[2]
    files = [p for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    sizes_and_times = {path.relative_to(top).as_posix(): path.stat() for path in files}
    _, stamps = seal.stamps_of_code()
    assert dict(stamps) == {n: (s.st_size, s.st_mtime_ns) for n, s in sizes_and_times.items()}
    assert {"__init__.py", "run/sealing/seal.py"} < set(sizes_and_times)


def test_a_kind_names_the_other_files_of_the_seal(sandbox, monkeypatch, tmp_path):
    beside = tmp_path / "mask.txt"
    beside.write_text("1")
    monkeypatch.setattr(Kind, "further_files", lambda self, settings: [beside])
    assert sandbox.run().jobs == []
    assert seal_of_dry_run(sandbox)
    beside.write_text("2")
    assert seal_of_dry_run(sandbox) is None


def test_products_forced_or_asked_for_are_planned(sandbox):
    values = sandbox.values()
    for named in (
        {"forced": frozenset({"frame"})},
        {"requested": frozenset({paths.reduced_frame(f"{NIGHTS[0]}/0.fits.gz")})},
    ):
        assert (
            session.start(values, chain=kinds.CHAIN, request=replace(SEALED_DRY_RUN, **named)).seal
            is None
        )


def test_a_dry_run_without_a_seal_does_not_compute_its_state(sandbox, monkeypatch):
    expected = session_end.finish(
        session.start(sandbox.values(), chain=kinds.CHAIN, request=DRY_RUN)
    )
    (sandbox.results / paths.SEAL).unlink()
    monkeypatch.setattr(seal, "state_of", None)
    planned = session.start(sandbox.values(), chain=kinds.CHAIN, request=SEALED_DRY_RUN)
    assert (planned.state_to_seal, session_end.finish(planned)) == (None, expected)


def test_a_young_raw_file_leaves_none(sandbox):
    """The next run reads it again: bytes may still be written to it with its times unchanged."""
    sandbox.config["limits"] = {"settle": 3600, "frame_memory": 50}
    assert sandbox.run().jobs == []
    assert seal_of_dry_run(sandbox)
    sandbox.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL_FRAME)
    assert sandbox.run().jobs
    assert sandbox.run().jobs == []
    assert seal_of_dry_run(sandbox) is None


def test_a_known_raw_file_that_cannot_be_read_leaves_none(sandbox, monkeypatch):
    """The next run reads it again: its disk may be repaired with its times unchanged."""
    opener = raw_files.open_at_once

    def refuse_raw_file(path, flags):
        if str(path) == str(raw(sandbox)):
            raise OSError(5, "Input/output error", str(path))
        return opener(path, flags)

    os.utime(raw(sandbox))
    with monkeypatch.context() as patch:
        patch.setattr(raw_files, "open_at_once", refuse_raw_file)
        for _ in range(2):
            assert "1 raw file missing" in sandbox.run().lines[-1]
            assert seal_of_dry_run(sandbox) is None
    assert "raw file missing" not in sandbox.run().lines[-1]
    assert seal_of_dry_run(sandbox)


def test_a_raw_file_deleted_before_its_second_reading_leaves_a_seal(sandbox):
    """The file is missing for good, and nothing of it is read."""
    sandbox.config["limits"] = {"settle": 3600, "frame_memory": 50}
    sandbox.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL_FRAME)
    assert sandbox.run().jobs
    (sandbox.raw / NIGHTS[0] / "9.fits.gz").unlink()
    for _ in range(2):
        outcome = sandbox.run()
        assert outcome.jobs == []
        assert "1 raw file missing" in outcome.lines[-1]
    assert seal_of_dry_run(sandbox)


def test_a_stop_of_the_machine_breaks_the_seal_until_the_products_are_an_hour_old(
    sandbox, monkeypatch
):
    sandbox.put(f"{NIGHTS[0]}/9.fits.gz", 9, size=SMALL_FRAME)
    assert sandbox.run().jobs
    assert sandbox.run().jobs == []
    content = read_seal(sandbox)
    # Which of the pages is written last is by chance: two jobs run at a time.
    made = session.start(sandbox.values(), chain=kinds.CHAIN, request=DRY_RUN).context.ledger
    newest = max(file_access.stamp_of(sandbox.results / product)[2] for product in made)
    assert newest >= file_access.stamp_of(sandbox.results / paths.REPORT_PAGE)[2]
    assert (content["boot"], content["valid_until"]) == (job_records.boot_id(), newest / 1e9 + 3600)
    with monkeypatch.context() as patch:
        patch.setattr(job_records, "boot_id", lambda: "another")
        assert seal_of_dry_run(sandbox) is None
    with monkeypatch.context() as patch:
        patch.setattr(seal.time, "time", lambda: content["valid_until"] + 1)
        patch.setattr(ledger.time, "time", lambda: content["valid_until"] + 1)
        assert seal_of_dry_run(sandbox) is None
        # A run an hour later knows that they are on the disk.
        assert sandbox.run().jobs == []
        content = read_seal(sandbox)
        assert (content["boot"], content["valid_until"]) == ("", 0)


def read_seal(sandbox):
    return json.loads((sandbox.results / paths.SEAL).read_text().split("\n")[1])


def test_a_disk_that_takes_no_seal_is_no_failure(sandbox, monkeypatch):
    (sandbox.results / paths.SEAL).unlink()

    def raise_full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(seal.notes, "write_checked", raise_full_disk)
    outcome = sandbox.run()
    assert (outcome.jobs, outcome.status) == ([], 0)


def test_the_command_line_prints_the_same_with_the_seal(sandbox):
    (sandbox.results / paths.SEAL).unlink()
    without = sandbox.snakemake()
    assert (without.status, read_seal(sandbox)["plan_lines"]) == (0, without.lines[:1])
    sealed, dry = sandbox.snakemake(), sandbox.snakemake("-n")
    assert (sealed.status, sealed.lines) == (0, without.lines)
    assert (dry.status, dry.lines[0]) == (0, without.lines[0])
