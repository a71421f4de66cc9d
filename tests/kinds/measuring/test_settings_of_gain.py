"""Two settings of the gain in one night, and no electrons per adu in any header."""

import numpy as np
import pytest
from small_frames import bias_cards, run_jobs, write_raw

KINDS = ("frame", "bias", "dark", "flat", "detector", "detector table", "science")
# Electrons per adu by the setting in the header.
GAINS = {0: 3.6, 120: 0.9}
SKY = 400.0


def take(raw, gains, *, keyword="GAIN"):
    """Write biases, flats and a science frame of 400 electrons with each setting."""
    number = 0
    for setting, gain in gains.items():
        plan = [("Bias", 0.0, 0.0)] * 4 + [("Flat", 2.0, 30_000.0)] * 5 + [("Light", 60.0, SKY)]
        for kind, seconds, electrons in plan:
            rng = np.random.default_rng(number)
            signal = rng.poisson(electrons, (96, 96)) + 2.0 * rng.standard_normal((96, 96))
            cards = bias_cards(
                number, IMAGETYP=kind, EXPTIME=seconds, OBJECT="", FILTER="L",
                **{keyword: setting, "OFFSET": 30},
            )  # fmt: skip
            data = np.rint(500 + signal / gain).astype(np.uint16)
            write_raw(raw / f"{kind}_{setting}_{number}.fits", (data, cards))
            number += 1


@pytest.mark.parametrize("keyword", ["GAIN", "GAINM", "PREAMP", "SERNO", "ESO OCS CON QUAD"])
def test_the_gain_of_each_setting_is_measured_by_itself(keyword, tmp_path):
    """One gain for both settings, 1.4, would make 160 and 640 electrons of 400."""
    take(tmp_path / "raw", GAINS, keyword=keyword)
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=KINDS, detector={})
    for setting, gain in GAINS.items():
        (light,) = [p for p in run.records if p.startswith(f"calibrated/Light_{setting}_")]
        with run.open(light) as hdus:
            assert hdus[0].header["GAINMEAS"] == pytest.approx(gain, rel=0.03)
            assert hdus[0].header["BUNIT"] == "electron"
            assert float(np.median(hdus[0].data)) == pytest.approx(SKY, rel=0.03)
            pull = (hdus[0].data - np.median(hdus[0].data)) / hdus["UNCERT"].data
            assert 0.95 < float(np.std(pull)) < 1.05
    measured = [p for p in run.records if p.startswith("detector/")]
    assert len(measured) == 2
    lines = [line for line in run.lines if "electrons per adu is used" in line]
    assert sorted(line.split(" of 2020")[0] for line in lines) == [
        f"detector: testcam {keyword} {setting}" for setting in GAINS
    ]
