"""The real frames beside the project: their folder, the cameras' profiles, their content."""

import warnings
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ccdflow.camera.profiles import load_cameras

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
CAMERAS = load_cameras(ROOT / "config" / "cameras")

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real frames in {DATA}")


def read(path):
    """Return the headers and arrays of a file, read by astropy alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        with fits.open(path, memmap=False) as hdus:
            return [hdu.header for hdu in hdus], [hdu.data for hdu in hdus]
