"""A million frames with nothing to do, and the floor: the time of the file system for their names.

The bookkeeping is simulated. Raw frames and products are hard links to a few files, and the seal is
that of a run with nothing to do (`ccdflow.run.sealing.seal`). `snakemake` is measured on this
archive. It makes no plan of a million frames, which takes minutes
(docs/decisions/closed-nights.md).
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import measure

from ccdflow import kinds, paths, settings
from ccdflow.run import ledger, plan, session
from ccdflow.run.context import JobContext
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.sealing import seal

FRAMES_PER_NIGHT, CALIBRATED_PER_NIGHT = 100, 75
SEAL_MESSAGE = "nothing to do: a simulated archive"
_FLOOR = """
import os, sys
count, open_ = 0, sys.argv[1:]
while open_:
    with os.scandir(open_.pop()) as entries:
        for entry in entries:
            if entry.is_dir():
                open_.append(entry.path)
            else:
                entry.stat()
                count += 1
print(count)
"""


def settings_of_run(raw, results):
    """Return the settings of a benchmark's run, in which no file counts as young."""
    return settings.load_settings(
        {"raw": str(raw), "results": str(results), "limits": {"settle": 0}}
    )


def fill(raw, results, nights):
    """Link raw frames and products of some nights into an archive."""
    for number in range(nights):
        night = f"night{number:05}"
        frames = [f"{place:03}.fits" for place in range(FRAMES_PER_NIGHT)]
        _link(raw / night, frames)
        _link(results / "reduced" / night, frames)
        _link(results / "calibrated" / night, frames[:CALIBRATED_PER_NIGHT])
        _link(results / "combined" / night, ["bias.fits", "dark.fits", "flat.fits"])
        _link(results / "nights" / night, ["report.html", "before_after.png", "bias_quality.png"])


_numbers = itertools.count()


def _link(folder, names):
    """Make a folder of links to one new file."""
    folder.mkdir(parents=True)
    source = folder.parents[1] / f".source{next(_numbers)}"
    source.write_bytes(b"x")
    for name in names:
        os.link(source, folder / name)
    source.unlink()


def leave_seal(raw, results):
    """Write the seal of a run with nothing to do."""
    values = settings_of_run(raw, results)
    for name in (paths.HEADERS, paths.LEDGER, paths.INVENTORY):
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("simulated\n")
    context = JobContext(
        settings=values,
        raw=raw,
        results=results,
        store=HeaderStore(),
        ledger=ledger.Ledger(),
        chain=kinds.CHAIN,
    )
    state = seal.state_of(values, session.reading_settings(values).cameras, kinds.CHAIN)
    empty_plan = plan.Plan(context, {}, [])
    seal.leave_seal(
        empty_plan, state, plan_lines=[SEAL_MESSAGE], closing_lines=[], is_failure=False
    )


def floor(raw, results, *, log):
    """Return the Measurement of a Python process that only calls scandir and stat for all files."""
    command = [sys.executable, "-c", _FLOOR, str(raw), str(results)]
    return measure.run(command, log=log)


def sealed_archive(folder, nights, run_ccdflow, logs):
    """Return the measurements of a run with nothing to do, and of the floor, for some nights.

    Returns
    -------
    run, floor : measure.Measurement
    """
    raw, results = (
        measure.make_empty_folder(folder / "raw"),
        measure.make_empty_folder(folder / "results"),
    )
    fill(raw, results, nights)
    leave_seal(raw, results)
    log = Path(logs) / f"scale-{nights * FRAMES_PER_NIGHT}-sealed.log"
    sealed_run = run_ccdflow(raw, results, log=log)
    if SEAL_MESSAGE not in log.read_text():
        raise measure.BenchmarkError(f"the seal did not hold: see {log}")
    floor_run = floor(raw, results, log=Path(logs) / "scale-floor.log")
    measure.make_empty_folder(folder)
    return sealed_run, floor_run
