"""The benchmark of masters: ccdflow's command makes them, and a wrong master stops the run."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from master_truth import SHAPE, darks, flats, truth

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import masters
import measure

SECONDS = {"bias": 0.0, "dark": 300.0, "flat": 5.0}


@pytest.fixture
def frames(tmp_path):
    """Reduced frames of one amplifier: gain 2.1, read noise 8 adu."""
    t = truth()
    t.gain[:], t.noise[:] = 2.1, 8.0
    folder = tmp_path / "frames"
    folder.mkdir()
    stacks = {
        "bias": darks(t, 5, seconds=0.0),
        "dark": darks(t, 4, seed=3),
        "flat": flats(t, [20_000, 25_000, 30_000]),
    }
    for kind, stack in stacks.items():
        for number, pixels in enumerate(stack, start=1):
            header = fits.Header({"GAIN": 2.1, "RDNOISE": 8 * 2.1, "EXPTIME": SECONDS[kind]})
            fits.writeto(folder / f"{kind}_{number:05d}.fits", pixels, header)
    return t, folder


def run_ccdflow(folder, out):
    command = [sys.executable, measure.PEERS / "ccdflow_masters.py", folder, out, "--errors"]
    subprocess.run(command, check=True)


def test_ccdflows_command_makes_the_three_masters(frames, tmp_path):
    t, folder = frames
    run_ccdflow(folder, tmp_path / "out")
    truths = {"bias": t.bias, "dark": t.rate * 300 / t.gain, "flat": t.flat}
    for kind, expected in truths.items():
        product = CCDData.read(tmp_path / "out" / f"combined_{kind}.fits", unit="adu")
        assert product.data.dtype.itemsize == 4
        pull = (product.data - expected) / product.uncertainty.array
        # The noise of the bias is in dark and flat, and not in their own uncertainty.
        assert 0.97 < pull.std() < (1.03 if kind == "bias" else 1.4)


def test_a_wrong_master_stops_the_run(frames, tmp_path):
    _, folder = frames
    run_ccdflow(folder, tmp_path / "out")
    place = masters.Place(frames=folder, out=tmp_path / "out", siril=tmp_path, peers=tmp_path)
    products = masters.CONTENDERS[4].products(place)
    reference = {kind: fits.getdata(path).astype(float) for kind, path in products.items()}
    noises = masters.noises_of(folder, reference)
    assert noises["bias"] == pytest.approx(8 / np.sqrt(5), rel=0.02)
    assert noises["dark"] == pytest.approx(np.hypot(8, (6 / 2.1**2) ** 0.5) / 2, rel=0.02)
    own = masters.differences_of_masters(products, reference, noises)
    assert own == {"bias": 0, "dark": 0, "flat": 0}
    wrong = reference["dark"] + np.arange(SHAPE[1]) % 2 * 2.0
    fits.writeto(products["dark"], wrong.astype(np.float32), overwrite=True)
    largest = masters.differences_of_masters(products, reference, noises)
    assert largest["dark"] == pytest.approx(1 / noises["dark"], rel=0.01)
    measured = measure.run([sys.executable, "-c", ""], log=tmp_path / "log")
    with pytest.raises(measure.BenchmarkError, match="ccdproc: its dark is 0"):
        masters.check_differences(
            masters.Result(contender="ccdproc", measurement=measured, differences=largest)
        )
    products["flat"].unlink()
    with pytest.raises(measure.BenchmarkError, match=r"no product .*combined_flat\.fits"):
        masters.differences_of_masters(products, reference, noises)


def test_without_the_peers_the_part_is_left_out(tmp_path, capsys):
    masters.run(masters.arguments(["--peers", str(tmp_path / "none"), "--out", str(tmp_path)]))
    assert "masters: left out" in capsys.readouterr().out
    assert not (tmp_path / "masters.md").exists()
