"""Every card, extension and column of a product is documented."""

import re
from pathlib import Path

import pytest
from small_frames import bias_cards, biases, run_jobs, write_raw

from ccdflow.kinds.reporting import quality_tables

TEXT = (Path(__file__).parents[2] / "docs" / "products.md").read_text("utf-8")
NAMES = set(re.findall(r"`([A-Za-z0-9_-]+)`", TEXT))
STANDARD_CARDS = {
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "PCOUNT", "GCOUNT",
    "EXTNAME", "HISTORY", "COMMENT", "",
}  # fmt: skip
TWO_AMPLIFIERS = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: left, data: {python: '[:, 0:32]'}, overscan: {python: '[:, 64:68]'}, gain: 1.2}
  - {name: right, data: {python: '[:, 32:64]'}, overscan: {python: '[:, 68:]'}, gain: 1.2}
"""
ONE_AMPLIFIER = "\n".join(TWO_AMPLIFIERS.splitlines()[:3])


@pytest.mark.parametrize("profile", [ONE_AMPLIFIER, TWO_AMPLIFIERS], ids=["one", "two"])
def test_every_card_and_extension_is_documented(profile, tmp_path):
    raw = set(bias_cards(0)) | {"DATE", "REMARK"}
    for number, frame in enumerate(biases(6)):
        cards = bias_cards(number, DATE="2020-03-01", REMARK="long " * 30)
        if number == 3:  # to be left out
            frame[:, 10:32] += 60
        if number == 5:
            frame[:, :32] = 65535
            cards["IMAGETYP"] = "FLAT"
        write_raw(tmp_path / f"raw/b{number}.fits", (frame, cards))
    run = run_jobs(
        tmp_path / "raw", tmp_path / "results", {"test": profile},
        reduction={"mask": True, "model": "polynomial", "order": 1},
        bias={"uncertainty": True, "count": True},
    )  # fmt: skip
    made = [product for product, record in run.records.items() if record.status == "made"]
    names = set()
    for product in made:
        for hdu in run.open(product):
            names |= {re.sub(r"0\d$", "nn", keyword) for keyword in hdu.header} | {hdu.name}
    names = {re.sub(r"(IM(?:COM|OUT))0nn", r"\g<1>001", name) for name in names}
    assert len(made) == 7
    assert {"MASK", "UNCERT", "COUNT", "LONGSTRN", "NCOMBINE"} <= names
    assert {"AMPBAD", "AMPBADnn"} & names
    undocumented = sorted(names - raw - STANDARD_CARDS - NAMES - {"PRIMARY"})
    assert undocumented == [], f"docs/products.md has no row for: {undocumented}"


def test_every_column_of_the_table_is_documented():
    columns = {name.removesuffix("_error") for name in quality_tables.BIAS_COLUMNS}
    assert sorted(columns - NAMES - {"amplifier"}) == []
