"""An archive on a real Slurm of two nodes: what jobs, nodes and the main process may suffer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cluster
import held_batches
import pytest
import ready_python

from ccdflow import simulate
from ccdflow.run.batches import claims

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]
FRAMES = 12
NIGHTS = ["2016-01-15", "2016-01-16", "2016-01-17"]
BAD_FRAME = "2016-01-17/ccd.004.0.fits.gz"
# Looks are taken more often than would be kind to a real cluster.
HASTE = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
# `held_batches` lies in the second one.
HOOKS = f"{Path(__file__).with_name('hooks')}:{Path(held_batches.__file__).parent}"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster of two nodes, started for these tests and ended after them."""
    missing = cluster.missing_programs()
    if missing:
        pytest.skip(f"Slurm is not installed ({', '.join(missing)}: slurm-wlm and munge)")
    if os.getuid() != 0:
        pytest.skip("Slurm's daemons are started by root")
    own = cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        own.start()
        yield own
    finally:
        own.stop()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three nights of small frames; one is found to be damaged only when it is inflated."""
    folder = tmp_path_factory.mktemp("raw")
    camera = simulate.LFC.scale_by(0.0625)
    made = {"nights": 3, "frames_per_night": FRAMES, "workers": 1}
    simulate.simulate_archive(folder, camera=camera, **made)
    content = bytearray((folder / BAD_FRAME).read_bytes())
    content[-8] ^= 0x55
    (folder / BAD_FRAME).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def results_alone(raw, tmp_path_factory, run_workflow):
    """The same nights, made without a cluster."""
    results = tmp_path_factory.mktemp("alone")
    run = run_workflow(raw, results, config=["flat={enabled: false}"])
    assert run.status == 0, run.output
    return results


class Run:
    """A run on the cluster: ``snakemake --profile profiles/slurm``.

    The Python of the main process is that of its jobs. The first batches of the nights ``held``
    stop themselves after their first record.
    """

    def __init__(self, slurm, raw, results, *options, python=sys.executable, held=()):
        self.results = results
        self.folder = Path(tempfile.mkdtemp(prefix="run", dir=results.parent))
        self.log = self.folder / "run.log"
        command = [
            str(python), "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--profile", str(ROOT / "profiles" / "slurm"), "--directory", str(self.folder), *HASTE,
            *options, "--config", f"raw={raw}", f"results={results}", "flat={enabled: false}",
        ]  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={
                    **slurm.environment, **held_batches.environment(self.folder / "held", *held),
                    "PYTHONPATH": HOOKS, "CCDFLOW_TEST_PYTHON": str(python),
                },
            )  # fmt: skip

    def wait(self, seconds=900):
        """Wait until it has ended, and return its exit status."""
        return self.process.wait(seconds)

    @property
    def output(self):
        """All that it printed."""
        return self.log.read_text()

    def records_made(self, night):
        """Return the records of the frames of a night that are there."""
        return list((self.results / ".ccdflow" / "done" / "reduced" / night).glob("*.json"))

    def is_held(self, night):
        """Return whether the first batch of a night is held now."""
        return held_batches.held_process(self.folder / "held", night) is not None

    def release(self, night):
        """Let the first batch of a night go on."""
        held_batches.release(self.folder / "held", night)

    def held_job(self, night):
        """Return Slurm's id of a night's job once its batch is held, else None.

        A job may be at work before Snakemake has written its id.
        """
        return self.job(night) if self.is_held(night) else None

    def job(self, night):
        """Return Slurm's last id of a night's job, or None."""
        identifiers = re.findall(
            rf"slurm_logs/rule_night/{night}[^/]*/(\d+)\.log", self.snakemake_log
        )
        return identifiers[-1] if identifiers else None

    @property
    def job_logs(self):
        """The logs of the jobs that are running or have failed."""
        logs = self.folder.glob(".snakemake/slurm_logs/rule_night/*/*.log")
        return "".join(log.read_text() for log in logs)

    @property
    def snakemake_log(self):
        """The log of Snakemake itself."""
        logs = sorted((self.folder / ".snakemake" / "log").glob("*.log"))
        return "".join(log.read_text() for log in logs)


@pytest.fixture
def start(slurm):
    """Start runs on the cluster; one that a failed test leaves is killed."""
    runs = []

    def begin(*arguments, **options):
        runs.append(Run(slurm, *arguments, **options))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def wait_until(condition, run, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert run.process.poll() is None, run.output
        assert time.monotonic() < end, f"it did not happen: {run.output}"
        time.sleep(0.05)


def python_with_forks(folder, *nights):
    """Return a Python whose batches, and first jobs of some nights, are real; all else are forks.

    Tests stop, kill and watch batches, so these are real processes. A job also starts Snakemake
    twice, which takes two seconds of the processor's time each time: these two are forks.
    """
    real = f'exec {sys.executable} "$@"'
    lines = ["#!/bin/sh", 'case "$SLURM_JOB_ID $*" in', f"*batch.py*) {real} ;;", '" "*) ;;']
    for night in nights:
        first = folder / f"{night}.job"
        # Slurm's number of the night's first job.
        lines.append(f'*{night}*) [ -e {first} ] || echo "$SLURM_JOB_ID" > {first}')
        lines.append(f'[ "$(cat {first})" = "$SLURM_JOB_ID" ] && {real} ;;')
    lines += ["esac", f'exec {ready_python.interpreter()} "$@"']
    program = folder / "python"
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    return program


def products(snapshot, results):
    """Return {path: hash} of what is in a results folder for the user.

    What a process that was killed left under a temporary name is removed by the next run.
    """
    contents = snapshot(results, has_times=False).items()
    return {path: content for path, content in contents if "/." not in f"/{path}"}


def folder_of_nights(raw, folder, nights):
    """Return a raw folder with some of the nights."""
    folder.mkdir(exist_ok=True)
    for night in nights:
        if not (folder / night).exists():
            (folder / night).mkdir()
            for path in (raw / night).iterdir():
                (folder / night / path.name).hardlink_to(path)
    return folder


def test_nights_a_bad_frame_and_a_new_night(slurm, start, raw, results_alone, tmp_path, snapshot):
    mine = folder_of_nights(raw, tmp_path / "raw", NIGHTS[1:])
    # Nothing is done to these processes: forks do. Each job starts Python three times.
    python = ready_python.interpreter()
    first = start(mine, tmp_path / "results", python=python)
    assert first.wait() == 0, first.output
    assert f"{2 * FRAMES} of {2 * FRAMES} frames" in first.output
    assert f"set aside: {BAD_FRAME}: " in first.output
    assert f"{2 * FRAMES - 1} reduced frames, 2 combined biases, 1 set aside" in first.output
    assert [state for _, state, _ in slurm.jobs()] == ["COMPLETED"] * 2

    before = snapshot(first.results)
    # An older night: its figures are in the trend on the pages of those that follow.
    folder_of_nights(raw, mine, NIGHTS)
    second = start(mine, first.results, python=python)
    assert second.wait() == 0, second.output
    assert f"{FRAMES} of {3 * FRAMES - 1} frames to reduce: {FRAMES} new" in second.output
    assert [state for _, state, _ in slurm.jobs()] == ["COMPLETED"] * 3
    after = snapshot(first.results)
    changed = {path for path in before if not path.startswith(".ccdflow/")}
    changed = {path for path in changed if after[path] != before[path]}
    pages = {f"nights/{night}/report.html" for night in NIGHTS[1:]}
    tables = {"inventory.csv", "bias_quality.csv", "events.csv"}
    assert changed == tables | {"report.html"} | pages
    assert products(snapshot, first.results) == products(snapshot, results_alone)


def test_a_node_dies_a_job_is_cancelled_and_a_job_runs_out_of_memory(
    slurm, start, raw, results_alone, tmp_path, snapshot
):
    """Each is tried again, and the products are those of a run to which nothing happened."""
    dies, is_cancelled, is_too_big = NIGHTS
    too_little = f"120 if attempt == 1 and wildcards.name == '{is_too_big}' else 1500"
    # Where Slurm itself ends a job, all of the job is real; the next attempt is left alone.
    python = python_with_forks(tmp_path, is_cancelled, is_too_big)
    # The other two are at work for as long as the test wants.
    run = start(
        raw, tmp_path / "results", "--set-resources", f"night:mem_mb={too_little}", python=python,
        held=(dies, is_cancelled),
    )  # fmt: skip

    wait_until(lambda: run.held_job(dies), run)
    dead = run.job(dies)
    (node,) = [node for identifier, _, node in slurm.jobs() if identifier == dead]
    slurm.kill_node(node)
    finished = {path: path.stat().st_mtime_ns for path in run.records_made(dies)}
    wait_until(lambda: run.held_job(is_cancelled), run)
    cancelled = run.job(is_cancelled)
    slurm.run("scancel", cancelled)
    wait_until(lambda: "NODE_FAIL" in str(slurm.jobs()), run)
    slurm.start_node(node)

    assert run.wait() == 0, run.output
    states = {identifier: state for identifier, state, _ in slurm.jobs()}
    assert states[dead] == "NODE_FAIL"
    assert states[cancelled] == "CANCELLED"
    too_big = re.findall(rf"rule_night/{is_too_big}[^/]*/(\d+)\.log", run.snakemake_log)[0]
    assert states[too_big] in ("FAILED", "OUT_OF_MEMORY")
    (log,) = run.folder.glob(f".snakemake/slurm_logs/rule_night/{is_too_big}*/{too_big}.log")
    assert "exceeded memory limit" in log.read_text()
    for night in NIGHTS:
        assert states[run.job(night)] == "COMPLETED"
    assert finished
    for record, moment in finished.items():
        frame = record.name.split(".fits")[0]
        product = run.results / "reduced" / dies / f"{frame}.fits"
        assert product.stat().st_mtime_ns <= moment, "a finished frame was reduced again"
    assert products(snapshot, run.results) == products(snapshot, results_alone)


def test_the_main_process_is_killed_and_started_again_while_jobs_still_run(
    slurm, start, raw, results_alone, tmp_path, snapshot
):
    mine = folder_of_nights(raw, tmp_path / "raw", NIGHTS[:2])
    python = python_with_forks(tmp_path)
    first = start(mine, tmp_path / "results", python=python, held=NIGHTS[:1])
    wait_until(lambda: first.held_job(NIGHTS[0]), first)
    old = first.job(NIGHTS[0])
    try:
        first.process.kill()
        first.process.wait()
        second = start(mine, first.results, python=python)
        wait_until(lambda: "waiting: an earlier job" in second.job_logs, second)
        assert {i: state for i, state, _ in slurm.jobs()}[old] == "RUNNING"
        # In this order: the other night's job may be at work, and writes records after products.
        recorded = {
            first.results / product for product in held_batches.recorded_keys(first.results)
        }
        before = {path: path.stat().st_mtime_ns for path in first.results.rglob("*.fits")}
    finally:
        first.release(NIGHTS[0])
    assert second.wait() == 0, second.output
    slurm.wait_for_jobs()
    # Nobody ended it. It fails if the second run took in the record of its batch before its own
    # Snakemake looked for that.
    assert {i: state for i, state, _ in slurm.jobs()}[old] in ("COMPLETED", "FAILED")
    # A product is finished with its record: what had one is as it was, be it a frame or a master.
    # One that was held between the two is made again.
    assert any(path.parent.name == NIGHTS[0] for path in recorded)
    again = {path for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert not again & recorded
    made, expected = products(snapshot, second.results), products(snapshot, results_alone)
    for folder, count in (("reduced/", 2 * FRAMES), ("combined/", 2)):
        own = {path: content for path, content in made.items() if path.startswith(folder)}
        assert len(own) == count
        assert own.items() <= expected.items()
    left = {path.read_text() for path in (second.results / ".ccdflow" / "batches").iterdir()}
    assert left <= {claims.WITHDRAWN_LINE}
