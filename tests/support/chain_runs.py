"""A small chain of masters in one process: exposing its night, running it, changing its frames."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import small_chain
from astropy.io import fits
from small_frames import run_jobs

KINDS = ("frame", "bias", "dark", "flat", "science", "associations", "dark table", "flat table")
NIGHT = small_chain.NIGHT
BIAS = f"combined/{NIGHT}/bias_simcam_103x101_1x1.fits"
DARKS = {t: f"combined/{NIGHT}/dark_simcam_103x101_1x1_{t}s.fits" for t in (20, 60)}
# Frames of each kind: enough for errors that are known to a few parts in a hundred, and the fewest
# that make masters.
MANY_FRAMES = {"biases": 12, "darks": ((60.0, 7), (20.0, 7)), "flats": (("g", 7), ("r", 7))}
FEW_FRAMES = {
    "biases": 3, "darks": ((60.0, 3), (20.0, 3)), "flats": (("g", 3), ("r", 3)),
    "science": (("g", 60.0, 1), ("r", 20.0, 1)),
}  # fmt: skip
FLATS = {band: f"combined/{NIGHT}/flat_simcam_103x101_1x1_{band}.fits" for band in "gr"}


def take(tmp_path, *, evening=None, folder="", **options):
    """Expose the night of `small_chain`, on another date if there is an ``evening``."""
    with mock.patch.object(small_chain, "EVENING", evening or small_chain.EVENING):
        return small_chain.make(tmp_path / "raw" / folder, **options)


def run(tmp_path, chain, profile=None, **config):
    """Make all products of a night, and return the `small_frames.Run`."""
    return run_jobs(
        tmp_path / "raw",
        tmp_path / "results",
        {"simcam": profile or chain.profile},
        kinds=KINDS,
        **config,
    )


def row_of(done, file):
    """Return the row of a raw frame in the inventory of a run."""
    table = pd.read_csv(done.results / "inventory.csv", keep_default_na=False).set_index("file")
    return table.loc[file]


@cache
def _finished_run():
    """Return the folder, chain and run of a night, exposed and run once for each process."""
    top = Path(tempfile.mkdtemp(prefix="ccdflow-chain-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    chain = take(top)
    return top, chain, run(top, chain)


def copy_finished_run(tmp_path):
    """Return copies below `tmp_path` of a night of `take` and its run, as (chain, run).

    All products are made. The context of the run is that of the original.
    """
    top, chain, done = _finished_run()
    shutil.copytree(top, tmp_path, dirs_exist_ok=True)
    return replace(chain, raw=tmp_path / "raw"), replace(done, results=tmp_path / "results")


def run_again(tmp_path, chain, before, **config):
    """Run once more after a change; return the run with the new and the earlier records."""
    done = run(tmp_path, chain, **config)
    return replace(done, records=before.records | done.records)


def late_copy(path, name):
    """Write a copy of a raw frame with a time ten hours later, and return its path."""
    late = path.with_name(name)
    shutil.copy(path, late)
    with fits.open(late, mode="update") as hdus:
        start = datetime.fromisoformat(hdus[0].header["DATE-OBS"]) + timedelta(hours=10)
        hdus[0].header["DATE-OBS"] = start.isoformat()
    return late


def edit(path, **cards):
    """Set cards of a raw frame; a card with the value None is removed."""
    with fits.open(path, mode="update") as hdus:
        for keyword, value in cards.items():
            if value is None:
                del hdus[0].header[keyword]
            else:
                hdus[0].header[keyword] = value


def pull(hdus, truth, good):
    """Return (product - truth) / UNCERT in the good pixels."""
    fine = good & (hdus["MASK"].data & ~np.int16(8) == 0)
    return ((hdus[0].data - truth) / hdus["UNCERT"].data)[fine]
