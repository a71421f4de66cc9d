"""Nights handed on as batches on one machine: the same products, whatever befalls a child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import held_batches
import pandas as pd
import pytest
import ready_python

from ccdflow import simulate

ROOT = Path(__file__).parents[2]
NIGHTS = {"2016-01-15": 12, "2016-01-16": 4}
# Two parts of the first night, and the other; or a night each.
PARTS, WHOLE_NIGHTS = "frames_per_batch=8", "frames_per_batch=13"
BAD_FRAME = "2016-01-16/ccd.003.0.fits.gz"
# The night whose batch is at work for as long as a test wants.
HELD_NIGHT = "2016-01-15"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two nights, with one frame that is found to be damaged only when it is inflated."""
    folder = tmp_path_factory.mktemp("raw")
    camera = simulate.LFC.scale_by(0.0625)
    simulate.simulate_archive(folder, nights=2, frames_per_night=12, camera=camera, workers=1)
    for night, frames in NIGHTS.items():
        for path in sorted((folder / night).iterdir())[frames:]:
            path.unlink()
    damage(folder / BAD_FRAME)
    return folder


def damage(path):
    """Make the check sum at the end of a gzip file wrong."""
    content = bytearray(path.read_bytes())
    content[-8] ^= 0x55
    path.write_bytes(content)


@pytest.fixture(scope="module")
def results_alone(raw, tmp_path_factory, run_workflow):
    """The same nights, made by the main process alone."""
    results = tmp_path_factory.mktemp("alone")
    run = run_workflow(raw, results)
    assert run.status == 0, run.output
    return results


@pytest.fixture
def products(snapshot):
    """Return a function that tells {path: hash} of what is in a results folder for the user."""

    def take(results):
        return {
            path: content
            for path, content in snapshot(results, has_times=False).items()
            if not path.startswith(".ccdflow/")
        }

    return take


def processes_with(text):
    """Return the ids of the processes on whose command line a text stands."""
    identifiers = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                identifiers.append(int(folder.name))
        except OSError:
            continue
    return identifiers


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.torture
def test_batches_make_the_same_products_as_the_main_process(
    raw, results_alone, tmp_path, run_workflow, products
):
    dry = run_workflow(raw, tmp_path, "--dry-run", config=[PARTS])
    assert dry.status == 0, dry.output
    assert dry.jobs["night"] == 3
    assert "reduce" not in dry.jobs
    assert list(tmp_path.iterdir()) == []

    run = run_workflow(raw, tmp_path, config=[PARTS])
    assert run.status == 0, run.output
    assert products(tmp_path) == products(results_alone)
    assert "16 of 16 frames" in run.output
    (aside,) = [line for line in run.lines if line.startswith("set aside")]
    assert aside.startswith(f"set aside: {BAD_FRAME}: ")
    assert run.lines[-1].startswith(
        "15 reduced frames, 2 combined biases, 0 combined flats, 1 set aside"
    )
    # Neither batches nor records are left.
    assert [path.name for path in (tmp_path / ".ccdflow" / "batches").iterdir()] == []
    assert not (tmp_path / ".ccdflow" / "done").exists()


def test_a_child_dies_with_the_main_process_and_the_next_run_does_the_rest(
    raw, results_alone, tmp_path, products, run_workflow
):
    results = tmp_path / "results"
    main = subprocess.Popen(
        [
            sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--cores", "2", "--directory", str(tmp_path), "--config", f"raw={raw}",
            f"results={results}", WHOLE_NIGHTS,
        ],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **held_batches.environment(tmp_path / "held", HELD_NIGHT)},
    )  # fmt: skip
    wait_until(lambda: held_batches.held_process(tmp_path / "held", HELD_NIGHT))
    main.send_signal(signal.SIGKILL)
    main.wait()
    held_batches.release(tmp_path / "held", HELD_NIGHT)
    wait_until(lambda: not processes_with(f"{results}/.ccdflow/batches/"))

    recorded = {results / product for product in held_batches.recorded_keys(results)}
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.fits")}
    assert any(path.parent == results / "reduced" / HELD_NIGHT for path in recorded)
    run = run_workflow(raw, results, config=[WHOLE_NIGHTS])
    assert run.status == 0, run.output
    assert products(results) == products(results_alone)
    # Products with a record stay; one product or two may have been made without it.
    again = {path for path, moment in before.items() if path.stat().st_mtime_ns != moment}
    assert not again & recorded


def test_a_night_that_fails_costs_no_other_night_its_page(
    raw, results_alone, tmp_path, products, run_workflow
):
    """A child is killed, as for lack of memory: the others' pages do without its figures.

    The main process lives on, and is a fork with its children; the test above starts real ones.
    """
    results = tmp_path / "results"
    main = subprocess.Popen(
        [
            ready_python.interpreter(), "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"),
            "--cores", "2", "--directory", str(tmp_path), "--config", f"raw={raw}",
            f"results={results}", WHOLE_NIGHTS,
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **held_batches.environment(tmp_path / "held", HELD_NIGHT)},
    )  # fmt: skip
    wait_until(lambda: held_batches.held_process(tmp_path / "held", HELD_NIGHT))
    for child in processes_with(f"{results}/.ccdflow/batches/{HELD_NIGHT}"):
        os.kill(child, signal.SIGKILL)
    output, _ = main.communicate(timeout=600)
    assert main.returncode == 1
    assert "1 of 2 batches were not finished (2016-01-15)" in output
    assert "a process was ended from outside (SIGKILL)" in output
    assert [path.parent.name for path in results.glob("nights/*/report.html")] == ["2016-01-16"]
    assert "2016-01-16" in (results / "report.html").read_text()
    assert set(pd.read_csv(results / "bias_quality.csv")["night"]) == {"2016-01-16"}
    run = run_workflow(raw, results, config=[WHOLE_NIGHTS])
    assert run.status == 0, run.output
    assert products(results) == products(results_alone)
    assert "nothing to do" in run_workflow(raw, results, config=[WHOLE_NIGHTS]).output


@pytest.mark.torture
def test_a_batch_of_which_a_killed_child_did_a_part_is_taken_up_where_it_was(
    raw, results_alone, tmp_path, run_workflow, products
):
    """By hand as a cluster tries a job again: the batch stays, the child is new."""
    results = tmp_path / "results"
    code = (
        "import sys; sys.path.insert(0, 'scripts')\n"
        "from pathlib import Path\n"
        "from ccdflow import settings\n"
        "from ccdflow.kinds import CHAIN\n"
        "from ccdflow.run import session\n"
        "from ccdflow.run.batches import batch_splitting\n"
        "values = {'limits': {'settle': 0}}\n"
        f"values |= {{'raw': {str(raw)!r}, 'results': {str(results)!r}}}\n"
        "values = settings.load_settings(values)\n"
        "work = session.start(values, chain=CHAIN)\n"
        "parts = batch_splitting.split(work, is_split_by_night=True)\n"
        "print([str(values['results'] + '/' + o.path) for o in parts][0])\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    batch = Path(made.stdout.strip())

    def child():
        return subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "batch.py"), str(batch), "--cores", "1"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    first = child()
    done = results / ".ccdflow" / "done" / "reduced"
    wait_until(lambda: list(done.rglob("*.json")))
    second = child()
    time.sleep(0.2)
    first.kill()
    first.communicate()
    times = {path: path.stat().st_mtime_ns for path in done.rglob("*.json")}
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0, output
    assert times
    assert {path: path.stat().st_mtime_ns for path in times} == times
    records = [json.loads(path.read_text()) for path in done.parent.rglob("batches/*.json")]
    assert [record["data"] for record in records] == [
        {"frames": 12, "set_aside": 0, "other_products": 4, "left": 0}
    ]

    batch.unlink()
    late = child()
    output, _ = late.communicate(timeout=60)
    assert (late.returncode, "no longer wanted" in output) == (0, True), output

    # Frames that are older than a moment are not read once more: the bad one is found by its job.
    run = run_workflow(raw, results, config=["limits={settle: 0}"])
    assert run.status == 0, run.output
    assert "4 of 16 frames to reduce" in run.output
    assert products(results) == products(results_alone)


@pytest.mark.torture
def test_a_child_that_cannot_write_fails_the_run_but_not_the_other_batches(
    raw, tmp_path, run_workflow
):
    blocked = tmp_path / "reduced" / "2016-01-15"
    blocked.parent.mkdir()
    blocked.write_text("a file where a folder has to be")
    run = run_workflow(raw, tmp_path, config=[WHOLE_NIGHTS])
    assert run.status == 1
    assert "File exists (EEXIST); a file or folder is in the way" in run.output
    assert run.lines[-1].startswith(
        "3 reduced frames, 1 combined bias, 0 combined flats, 1 set aside, 12 failed; table: "
    )
    assert len(list((tmp_path / "reduced").rglob("*.fits"))) == 3
