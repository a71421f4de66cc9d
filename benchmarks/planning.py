"""CPU seconds of a plan with calibrated frames, and of one without them.

    python benchmarks/planning.py [nights=100] [pairs=5]

An archive is planned twice in one process after a warm-up: with calibrated frames (`calibrate:
enabled: true`), and without. Both plans have equal raw frames, reduced frames, masters, pages and
tables. The difference is the choice of masters, the keys and jobs of calibrated frames, and the
table of masters. The order alternates from pair to pair. The result is the median of the pairs'
differences in CPU seconds (user and system) of the process.

Each night has the frames of `FRAMES_OF_NIGHT`: darks of 3 exposures, flats of 3 filters.
Exposures and temperatures scatter like real ones. No headers are read: the rows of frames are
copies of those of a small simulated night.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from ccdflow import kinds, settings
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS
from ccdflow.run import ledger, plan, session
from ccdflow.run.context import JobContext, PlanContext
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import Facts
from ccdflow.run.run_start import DRY_RUN
from ccdflow.simulate import simulate_night

FRAMES_OF_NIGHT = (("bias", 10), ("dark", 9), ("flat", 9), ("science", 72))
FIRST_NIGHT = date(2020, 1, 1)


def archive(folder, n_nights):
    """Return the settings, cameras and rows of an archive with this number of nights."""
    raw = folder / "raw"
    simulate_night(raw, scale=0.0625)
    values = {"raw": str(raw), "results": str(folder / "results"), "limits": {"settle": 0}}
    context = session.start(
        settings.load_settings(values), chain=kinds.CHAIN, request=DRY_RUN
    ).context
    rows_by_type = {row.facts["type"]: row for row in context.store.rows.values()}
    rng, store = random.Random(1), HeaderStore(shared=context.store.shared)
    for number in range(n_nights):
        night = (FIRST_NIGHT + timedelta(days=number)).isoformat()
        for image_type, count in FRAMES_OF_NIGHT:
            for place in range(count):
                file = f"{night}/{image_type}{place:03}.fits"
                row = rows_by_type[image_type]
                facts = dict(row.facts) | _facts(image_type, place, night, rng)
                store.add(replace(row, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))
    return values, context.cameras, store


def _facts(image_type, place, night, rng):
    """Return the facts that differ between frames of an image type."""
    seconds = {"bias": 0.0, "flat": 3.0}.get(image_type, (60.0, 120.0, 300.0)[place % 3])
    facts = {
        "night": night,
        "date_obs": f"{night}T20:{place // 60:02}:{place % 60:02}",
        "exptime": seconds and round(seconds + rng.uniform(0.0, 0.05), 3),
        "set_temperature": -100.0,
        "temperature": round(rng.gauss(-100.0, 0.05), 2),
    }
    return facts | ({"filter": "gri"[place % 3]} if image_type in ("flat", "science") else {})


def plan_seconds(values, cameras, store, *, is_calibrated, notes=None, writes_dry_run=False):
    """Plan an archive, and return the CPU seconds and the context."""
    config = settings.load_settings({**values, "calibrate": {"enabled": is_calibrated}})
    context = JobContext(
        settings=config,
        raw=Path(config["raw"]),
        results=Path(config["results"]),
        store=store,
        ledger=notes or ledger.Ledger(),
        chain=kinds.CHAIN,
        cameras=cameras,
    )
    # A run collects no garbage while it plans.
    gc.collect()
    gc.disable()
    start_time = sum(os.times()[:2])
    plan.make_plan(context)
    if writes_dry_run:
        ASSOCIATIONS.dry_run_lines(PlanContext.of(context))
    return sum(os.times()[:2]) - start_time, context


def main(arguments):
    """Measure pairs of plans, and print the CPU seconds."""
    values_by_option = dict(word.split("=", 1) for word in arguments)
    n_nights, n_pairs = (
        int(values_by_option.get("nights", 100)),
        int(values_by_option.get("pairs", 5)),
    )
    with tempfile.TemporaryDirectory() as folder:
        values, cameras, store = archive(Path(folder), n_nights)
        differences = []
        for number in range(n_pairs + 1):
            order = (True, False) if number % 2 else (False, True)
            seconds = {}
            for is_calibrated in order:
                seconds[is_calibrated], context = plan_seconds(
                    values, cameras, store, is_calibrated=is_calibrated
                )
                count = sum(job.kind == "science" for job in context.jobs.values())
                if is_calibrated and count != n_nights * FRAMES_OF_NIGHT[-1][1]:
                    raise SystemExit(f"{count} calibrated frames are planned")
                del context
            if number:
                differences.append(seconds[True] - seconds[False])
            print(f"with {seconds[True]:.2f} s, without {seconds[False]:.2f} s", flush=True)
        differences_text = ", ".join(f"{value:.2f}" for value in differences)
        print(
            f"{len(store.rows)} frames: {statistics.median(differences):+.2f} s CPU"
            f" ({differences_text})"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
