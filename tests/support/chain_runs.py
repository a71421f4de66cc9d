"""A small chain of masters in one process: taking its night, running it, changing its frames."""

from __future__ import annotations

from unittest import mock

import numpy as np
import small_chain
from astropy.io import fits
from small_frames import run_jobs

KINDS = ("frame", "bias", "dark", "flat", "science", "associations", "dark table", "flat table")
NIGHT = "2024-03-01"
BIAS = f"combined/{NIGHT}/bias_simcam_103x101_1x1.fits"
DARKS = {t: f"combined/{NIGHT}/dark_simcam_103x101_1x1_{t}s.fits" for t in (20, 60)}
FLATS = {band: f"combined/{NIGHT}/flat_simcam_103x101_1x1_{band}.fits" for band in "gr"}


def take(tmp_path, *, evening=None, folder="", **options):
    """Take a night, of another date if ``evening`` says so."""
    with mock.patch.object(small_chain, "EVENING", evening or small_chain.EVENING):
        return small_chain.make(tmp_path / "raw" / folder, **options)


def run(tmp_path, chain, profile=None, **config):
    return run_jobs(
        tmp_path / "raw",
        tmp_path / "results",
        {"simcam": profile or chain.profile},
        kinds=KINDS,
        **config,
    )


def edit(path, **cards):
    """Set cards of a raw frame, or take them out where the value is None."""
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
