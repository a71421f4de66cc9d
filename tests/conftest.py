"""Fixtures for all tests, and the order of the files.

Where things are:

- ``tests/<package>/`` tests the package of that name in ``scripts/ccdflow/``, and a folder in
  it the package's folder of that name, in this process and on tiny frames: ``tests/frame/`` is of
  reduced frames, ``tests/kinds/`` of plans and masters. A test of which four fifths are of one
  folder of its package lies in the folder of that name; a test of several, in the package's.
- ``tests/benchmarks/`` is of the measurement harness.
- ``tests/workflow/`` runs Snakemake; `Sandbox` there is an archive that changes between runs.
- ``tests/slurm/`` starts a Slurm of two nodes on this machine.
- ``tests/project/`` is of the documents, scripts, environments and the form of the code.
- ``tests/support/`` has the modules that tests import: nights with known truth (`small_chain`,
  `small_frames`, `master_truth`), runs of them (`chain_runs`), Python that has imported all
  (`ready_python`).
- ``tests/contract.md`` names the tests of each row of docs/rebuilds.md and docs/bad-frames.md.
- ``tests/data/`` has results of an earlier version. Real frames are in ``../shared/data``.

``make test`` runs all but the tests marked torture, which ``make torture`` runs.
"""

from __future__ import annotations

import gc
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import ready_python

# Tests that a shell starts in the background ignore Ctrl-C, and so do their children.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Seven thousand tests and all modules stay to the end. Looking through them for garbage takes a
# sixth of the time of their collection, and again and again while they run.
gc.disable()
# New objects after which they are looked through, 700 by default: trees of the library's code,
# which some tests make, are otherwise looked through a thousand times.
_NEW_OBJECTS = 50_000

TESTS = Path(__file__).parent
ROOT = TESTS.parent
REAL_FRAMES = ROOT.parent / "shared" / "data"

# The files that take longest begin first, so that the last ones are short and no core waits for
# one of them. A worker takes a whole file.
LONG_FILES = (
    "slurm/test_slurm.py",
    "workflow/test_rebuilds.py",
    "calibrate/test_calibration_arithmetic.py",
    "kinds/test_science.py",
    "workflow/test_closed_nights.py",
    "workflow/test_tutorial.py",
    "run/watch/test_watching_rounds.py",
    "workflow/test_silent_losses.py",
    "detector/test_trends.py",
    "project/test_daily.py",
    "kinds/measuring/test_detector.py",
    "workflow/test_whole_workflow.py",
    "detector/test_bias_figures.py",
    "kinds/masters/test_chain_of_masters.py",
    "project/test_layers.py",
    "kinds/forecasting/test_master_forecasts.py",
    "kinds/test_chain_faults.py",
    "combine/test_combined_biases.py",
    "workflow/test_local_batches.py",
    "workflow/test_faults.py",
    "combine/test_masters.py",
    "run/under_snakemake/test_steward.py",
    "workflow/test_versions.py",
    "workflow/test_odd_files.py",
    "project/test_site.py",
    "kinds/test_chain_rebuilds.py",
    "pages/pictures/test_pictures.py",
    "workflow/test_folder_and_disk_faults.py",
    "verify/test_verify_tampering.py",
    "kinds/matching/test_measured_flats.py",
    "camera/proposing/test_propose.py",
    "kinds/forecasting/test_budget_of_nights.py",
    "project/test_docstrings.py",
    "run/test_errors_of_jobs.py",
    "workflow/test_chain_in_batches.py",
    "verify/test_verify_extensions.py",
    "workflow/test_failures.py",
    "kinds/matching/test_matching.py",
    "verify/test_verify_detector.py",
    "detector/test_shutter.py",
    "workflow/test_examples.py",
    "run/watch/test_watching.py",
    "camera/test_header_dialects.py",
    "workflow/test_views.py",
    "kinds/test_odd_calibrations.py",
    "workflow/test_seal.py",
)


def pytest_collection_modifyitems(items):
    """Put the long files first; pytest 9 would sort files that are named in an order."""
    places = {TESTS / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish():
    """Leave tests and modules out of garbage collection, and begin it."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
    gc.enable()


@dataclass(frozen=True)
class WorkflowRun:
    """The result of a run of the workflow: its exit status, and its output."""

    status: int
    output: str

    @property
    def lines(self):
        """The lines of ccdflow in the output, without its name."""
        return [
            line.removeprefix("ccdflow: ")
            for line in self.output.splitlines()
            if line.startswith("ccdflow: ")
        ]

    @property
    def jobs(self):
        """Number of jobs of each rule in the output of `snakemake -n`."""
        table = re.search(
            r"^job +count\n-+ +-+\n(.*?)^total ", self.output, re.DOTALL | re.MULTILINE
        )
        if table is None:
            return {}
        return {rule: int(count) for rule, count in map(str.split, table[1].splitlines())}


def pytest_configure(config):
    """Start the servers of `ready_python`, in the process that began the tests alone."""
    if ready_python.FOLDER not in os.environ:
        ready_python.begin()
        config.add_cleanup(ready_python.end)


@pytest.fixture(scope="session")
def run_workflow(tmp_path_factory):
    """Return a function that runs Snakemake in a process of its own.

    Its arguments are the folders of raw frames and of results, and further words of the command
    line; ``config`` has words behind ``--config``. The working directory is a new folder, so that
    no file is written into the project; ``directory`` gives another one.
    """
    own = tmp_path_factory.mktemp("workflow")

    def run(raw, results, *arguments, config=(), cores=2, directory=own):
        """Run Snakemake, and return the `WorkflowRun`."""
        arguments = [
            "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores),
            "--directory", str(directory), *arguments,
            "--config", f"raw={raw}", f"results={results}", *config,
        ]  # fmt: skip
        return WorkflowRun(*ready_python.run(arguments, folder=ROOT))

    return run


@pytest.fixture
def tell(capfd):
    """Return a function that prints a line past the capture of pytest."""

    def say(text):
        """Print a line."""
        with capfd.disabled():
            print(f"\ntorture: {text}", flush=True)

    return say


@pytest.fixture(scope="session")
def snapshot():
    """Return a function that returns {path: (hash, mtime)} of all files below a folder."""
    import hashlib

    def take(folder, *, has_times=True):
        """Return {path: (hash, mtime)} of the files below a folder; hashes alone without times."""
        contents = {}
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                content = hashlib.blake2b(path.read_bytes()).hexdigest()
                name = path.relative_to(folder).as_posix()
                contents[name] = (content, path.stat().st_mtime_ns) if has_times else content
        return contents

    return take


@pytest.fixture(scope="session")
def real_frames():
    """The folder of real raw frames beside the project; without it the test is skipped."""
    if not REAL_FRAMES.is_dir():
        pytest.skip(f"no real frames: there is no folder {REAL_FRAMES}")
    return REAL_FRAMES
