"""Draw the pictures of the README from the products of `make demo`.

python docs/draw_picture.py

docs/night.png is a frame of the guide's night, raw and calibrated; docs/page.png is the upper part
of the page of that night, as Chromium shows it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RAW = ROOT / "demo/raw/ccd.043.0.fits.gz"
CALIBRATED = ROOT / "demo/results/calibrated/ccd.043.0.fits"
PAGE = ROOT / "demo/results/nights/2016-01-15/report.html"
# Width and height of the page in Chromium, and the width in the picture.
PAGE_SIZE, PICTURE_WIDTH = (1000, 1480), 800
# Colours of the picture of the page: more would make a larger file that looks the same.
COLOURS = 96
# A pixel of the picture is the mean of this many pixels along each side.
BLOCK = 4
# Rows that are shown: half of the frame.
ROWS = 2064


def smaller(image):
    """Return the means of blocks of an image, (ny / BLOCK, nx / BLOCK)."""
    ny, nx = (length // BLOCK for length in image.shape)
    blocks = image[: ny * BLOCK, : nx * BLOCK].astype(np.float32)
    return blocks.reshape(ny, BLOCK, nx, BLOCK).mean((1, 3))


def limits(image):
    """Return the lowest and highest value that are told apart."""
    low, high = ZScaleInterval(contrast=0.1).get_limits(image)
    return low, high


def panel(axes, image, title, below):
    """Draw one image, its brightest values compressed."""
    low, high = limits(image[:, : image.shape[1] * 97 // 100])
    norm = ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(0.3))
    axes.imshow(image, origin="lower", cmap="gray", norm=norm, interpolation="none")
    axes.set_title(title, fontsize=13)
    axes.set_xlabel(below, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_frame():
    """Draw docs/night.png."""
    raw = fits.getdata(RAW)[:ROWS]
    with fits.open(CALIBRATED) as hdus:
        image, error = hdus[0].data[:ROWS], hdus["UNCERT"].data[:ROWS]
        sky = hdus[0].header["SKYLVL"]
    # The panels have one height, though the raw frame is wider by its overscan.
    shares = {"width_ratios": [each.shape[1] for each in (raw, image, error)]}
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.9), layout="constrained", gridspec_kw=shares)
    panel(axes[0], smaller(raw), "raw", "adu; the overscan is on the right")
    panel(axes[1], smaller(image), "calibrated", f"electrons; sky {sky:.0f}")
    below = f"electrons; {np.median(error):.1f} at the sky"
    panel(axes[2], smaller(error), "uncertainty of each pixel", below)
    figure.savefig(ROOT / "docs/night.png", dpi=90, metadata={"Software": None})


def draw_page():
    """Draw docs/page.png."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("docs/page.png: Chromium is not installed")
    with tempfile.TemporaryDirectory() as folder:
        screenshot = Path(folder) / "page.png"
        command = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--window-size={},{}".format(*PAGE_SIZE), f"--screenshot={screenshot}", PAGE.as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        page = Image.open(screenshot).convert("RGB")
    height = PICTURE_WIDTH * page.height // page.width
    picture = page.resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS).save(ROOT / "docs/page.png", optimize=True)


if __name__ == "__main__":
    draw_frame()
    draw_page()
