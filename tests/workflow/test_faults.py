"""Faults put into runs: the short form. `make torture` has the long one."""

import os
import shutil
import subprocess

import pytest
from held_batches import recorded_keys
from kills import kill_runs
from runs_with_faults import FIRST, check_results, fill, put_faults
from sandbox import SMALL_FRAME, Sandbox, own_lines, products, snapshot
from stand_ins import use_stand_ins

from ccdflow.run import lock as lock_module


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    use_stand_ins(monkeypatch)


@pytest.fixture
def sandbox(tmp_path):
    made = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    fill(made)
    return made


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        pytest.param(5, "kill", marks=pytest.mark.torture),
        pytest.param(40, "full", marks=pytest.mark.torture),
        pytest.param(70, "broken once", marks=pytest.mark.torture),
    ],
)
def test_faults_at_some_places(tmp_path, first, kind):
    results = put_faults(tmp_path, kind, first, 79)
    assert len(results) >= 2
    check_results(results)


def test_kill_9_and_the_same_command_again(tmp_path):
    sandbox = Sandbox(tmp_path / "box")
    fill(sandbox, frames=6)
    counts = kill_runs(sandbox, kills=1, seed=1)
    assert counts["kills"] == 1


def test_two_runs_at_once(sandbox):
    """The second says so and stops, whatever it was to do; a dry run may look."""
    lock = lock_module.take_lock(sandbox.results)
    try:
        sandbox.raw.joinpath(FIRST, "alpha0.fits.gz").touch()
        before = snapshot(sandbox.results, has_notes=True)
        # It does not wait for the lock: that run would be killed after minutes.
        second = sandbox.snakemake()
        assert second.status == 1
        (line,) = second.lines
        assert line.startswith(
            f"{sandbox.results}: another run is at work here (process {os.getpid()} on"
        )
        assert line.endswith("wait until it has finished, or give another results folder")
        assert "Traceback" not in second.output
        assert snapshot(sandbox.results, has_notes=True) == before
        with pytest.raises(lock_module.Busy, match="another run is at work here"):
            sandbox.run()
        assert len(sandbox.plan().plan.jobs) > 10
    finally:
        lock.close()
    assert sandbox.run().status == 0


def test_the_lock_goes_with_the_process(sandbox):
    """A lock that no process holds needs no removal, whatever its file contains."""
    sandbox.run()
    lock = sandbox.results / ".ccdflow" / "lock"
    lock.write_text("process 1 on another machine since yesterday")
    assert sandbox.run().jobs == []


can_mount = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk takes root"
)


class Disk:
    """A small disk of its own."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        self._do("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder))

    def _do(self, *command):
        subprocess.run(command, check=True)

    def remount(self, options):
        self._do("mount", "-o", f"remount,{options}", str(self.folder))

    def close(self):
        self._do("umount", str(self.folder))


@pytest.fixture
def disk(sandbox):
    try:
        made = Disk(sandbox.results, 150)
    except subprocess.CalledProcessError:
        pytest.skip("a small disk cannot be mounted here")
    yield made
    made.close()


@can_mount
def test_disk_full(sandbox, disk):
    clean = sandbox.clean()
    clean.run()
    wanted = products(clean.results)
    assert sum(map(len, wanted.values())) > 150_000
    full = sandbox.snakemake()
    assert full.status == 1
    assert "make room, and run again" in full.output
    assert "Traceback" not in full.output
    left = products(sandbox.results)
    assert 3 < len(left) < len(wanted)
    for name, content in left.items():
        if name != "inventory.csv":
            assert content == wanted[name], name
    known = {name for name in recorded_keys(sandbox.results) if name.startswith("reduced/")}
    disk.remount("size=100m")
    again = sandbox.snakemake()
    assert again.status == 0, again.output
    assert products(sandbox.results) == wanted
    assert known
    assert not known & set(again.jobs)


@can_mount
def test_results_read_only(sandbox, disk):
    disk.remount("size=100m")
    sandbox.run()
    before = products(sandbox.results)
    sandbox.put(f"{FIRST}/alpha7.fits.gz", 7, night=FIRST, camera="alpha", size=SMALL_FRAME)
    disk.remount("ro")
    refused = sandbox.snakemake()
    assert refused.status == 1
    assert refused.lines == [
        f"{sandbox.results}: the results folder cannot be written (Read-only file system); mount "
        "its disk for writing; no result was changed"
    ]
    dry = sandbox.snakemake("-n")
    assert dry.status == 0
    assert dry.lines[0] == f"1 of 13 frames to reduce: 1 new; night {FIRST}"
    assert products(sandbox.results) == before
    disk.remount("rw")
    assert sandbox.snakemake().status == 0


def test_dry_run_without_results_makes_none(sandbox):
    dry = sandbox.snakemake("-n")
    assert dry.status == 0
    assert not sandbox.results.exists()
    assert own_lines(dry.output)[0].startswith("12 of 12 frames to reduce: 12 new; nights")


def test_raw_file_replaced_while_the_run_goes_on(sandbox, monkeypatch):
    """The file is left for the next run, and counts neither as damaged nor as the former one."""
    from ccdflow import kinds

    file = f"{FIRST}/alpha1.fits.gz"
    make = kinds.make

    def replace_and_make(context, job, **options):
        if job.product.endswith(f"{FIRST}/alpha1.fits"):
            sandbox.put(file, 77, night=FIRST, camera="alpha", size=SMALL_FRAME)
        return make(context, job, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "make", replace_and_make)
        first = sandbox.run(may_lose=True)
    assert first.status == 0
    assert first.lines[0].startswith(f"left for the next run: {file}: ")
    assert not (sandbox.results / "reduced" / FIRST / "alpha1.fits").exists()
    second = sandbox.run()
    assert f"reduced/{FIRST}/alpha1.fits" in second.jobs
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)


def test_raw_file_gone_while_the_run_goes_on(sandbox, monkeypatch):
    """A product of it that was there stays where it is."""
    from ccdflow import kinds

    sandbox.run()
    product = f"reduced/{FIRST}/alpha1.fits"
    content = (sandbox.results / product).read_bytes()
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    make = kinds.make

    def remove_and_make(context, job, **options):
        if job.product == product:
            (sandbox.raw / FIRST / "alpha1.fits.gz").unlink()
        return make(context, job, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "make", remove_and_make)
        assert sandbox.run(may_lose=True).status == 0
    assert (sandbox.results / product).read_bytes() == content
    again = sandbox.run()
    assert (
        again.lines[0]
        == f"raw file missing: {FIRST}/alpha1.fits.gz: it was deleted or moved; its product is kept"
    )
    assert (sandbox.results / product).read_bytes() == content
    assert sandbox.run().jobs == []
