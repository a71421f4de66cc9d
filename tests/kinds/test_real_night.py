"""A night of a small observatory: each of 80 frames gets what an astronomer would give it.

The headers come from the package reducer 0.9.4 (mini_versions.tbz2: Feder Observatory, 3 July 2013;
data/reducer_LICENSE.rst). Its pixels are cut to 8 bits, in which a bias has no noise and a flat too
little light: pixels of 24 rows are drawn here instead.
"""

from __future__ import annotations

import json
import lzma
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_frames import run_jobs

from ccdflow.run import job_records

HEADERS = Path(__file__).parents[1] / "data" / "reducer_night.json.xz"
KINDS = ("frame", "bias", "dark", "flat", "science", "associations")
ROWS, COLUMNS = 24, 1542
NIGHT = "2013-07-03"

# Written down from the names and exposures alone, before anything was run.
# All biases, the first half of all else.
BIASES = {f"flood-flat-{n:03d}bias.fit" for n in range(1, 11)}
DARKS = {t: {f"darks-{n:03d}D{t}.fit" for n in range(1, 6)} for t in (5, 15, 30, 60, 120)}
FLATS = {band: {f"flood-flat-{n:03d}{band}.fit" for n in range(1, count + 1)}
         for band, count in (("B", 10), ("V", 5), ("R", 5), ("I", 5))}  # fmt: skip
DARK_OF_FLAT = {"B": 120, "V": 30, "R": 15, "I": 5}
DARK_OF_FRAME = {"B": 60, "V": 30, "R": 30, "I": 30}
LEVELS = {"BIAS": 0.0, "DARK": 0.0, "FLAT": 20_000.0, "LIGHT": 400.0}


def value(cards, keyword):
    (card,) = [card for card in cards if card.startswith(f"{keyword:<8}=")]
    return card[10:].split("/")[0].strip().strip("'").strip()


def write(path, cards):
    """Write a real header over drawn pixels: level, noise, dark current, light."""
    random = np.random.default_rng(zlib.crc32(path.name.encode()))
    seconds, kind = float(value(cards, "EXPTIME")), value(cards, "IMAGETYP")
    charge = np.zeros((ROWS, COLUMNS))
    charge[:, :1536] = 0.5 * seconds + LEVELS[kind]
    pixels = 1000 + random.poisson(charge) + random.normal(0, 8, charge.shape)
    changed = {"BITPIX": "16", "NAXIS2": str(ROWS)}
    text = []
    for card in cards:
        keyword = card[:8].strip()
        if keyword in changed:
            card = f"{keyword:<8}= {changed[keyword]:>20}"
        text.append(re.sub(r"1:1024\]", f"1:{ROWS}]", card).ljust(80))
        if keyword == "NAXIS2":
            text += [
                "BZERO   =                32768".ljust(80),
                "BSCALE  =                    1".ljust(80),
            ]
    content = "".join([*text, "END".ljust(80)]).encode("latin-1")
    data = (np.rint(pixels).astype(np.int32) - 32768).astype(">i2").tobytes()
    path.write_bytes(
        content.ljust(-(-len(content) // 2880) * 2880)
        + data.ljust(-(-len(data) // 2880) * 2880, b"\0")
    )


@pytest.fixture(scope="module")
def reducer_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reducer")
    (folder / "raw").mkdir()
    headers = json.loads(lzma.decompress(HEADERS.read_bytes()))
    assert len(headers) == 150
    used = BIASES.union(*DARKS.values(), *FLATS.values())
    used |= {name for name in headers if re.fullmatch(r"SA112-SF1-00[1-5][BVRI]1\.fit", name)}
    assert len(used) == 80
    for name in used:
        write(folder / "raw" / name, headers[name])
    return run_jobs(folder / "raw", folder / "results", {}, kinds=KINDS)


@pytest.fixture(scope="module")
def product(reducer_run):
    """Name a master by its kind and exposure or filter, whatever the camera is called."""

    def name(kind, what=""):
        ending = re.escape(f"{what and '_' + what}.fits")
        pattern = rf"combined/{NIGHT}/{kind}_apogee-usb-net[^_]*_1536x24_1x1_Monochrome{ending}"
        (one_product,) = (each for each in reducer_run.records if re.fullmatch(pattern, each))
        return one_product

    return name


def test_every_calibration_frame_is_in_the_group_it_belongs_to(reducer_run, product):
    members = {
        p: set(r.data["members"])
        for p, r in reducer_run.records.items()
        if r.kind in ("bias", "dark", "flat")
    }
    wanted = {product("bias"): BIASES}
    wanted |= {product("dark", f"{t}s"): files for t, files in DARKS.items()}
    wanted |= {product("flat", band): files for band, files in FLATS.items()}
    assert members == wanted
    assert {r.status for r in reducer_run.records.values()} == {job_records.MADE}
    assert sum(map(len, members.values())) == 60


def test_every_flat_has_the_dark_of_its_own_exposure(reducer_run, product):
    for band, seconds in DARK_OF_FLAT.items():
        cards = reducer_run.open(product("flat", band))[0].header
        assert cards["BIASIM"] == product("bias")
        assert cards["DARKIM"] == product("dark", f"{seconds}s")


def test_every_frame_has_its_bias_its_dark_and_the_flat_of_its_filter(reducer_run, product):
    table = pd.read_csv(reducer_run.results / "associations.csv").set_index(["frame", "step"])
    assert len(table) == 20 * 3
    for band, seconds in DARK_OF_FRAME.items():
        frames = sorted(
            p for p in reducer_run.records if re.fullmatch(rf"calibrated/.*{band}1\.fits?", p)
        )
        assert len(frames) == 5
        for frame in frames:
            cards = reducer_run.open(frame)[0].header
            assert cards["BIASIM"] == product("bias")
            assert cards["DARKIM"] == product("dark", f"{seconds}s")
            assert cards["DARKSCAL"] == 1.0
            assert cards["FLATIM"] == product("flat", band)
            assert (cards["CALGRADE"], cards["BUNIT"]) == ("A", "adu")
            assert set(table.loc[frame].scale) == {1.0}
            assert set(table.loc[frame].grade) == {"A"}
