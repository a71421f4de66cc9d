"""`snakemake verify`: status, table, and the page, which changes once and only if it was asked."""

from __future__ import annotations

import csv

import pytest
from sandbox import SMALL_FRAME, Sandbox

NIGHT = "2024-03-01"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Six biases of one night, reduced and combined."""
    made = Sandbox(tmp_path_factory.mktemp("verify") / "box", {"bias": {"minimum": 3}})
    for number in range(6):
        made.put(f"{number}.fits.gz", number, night=NIGHT, kind="BIAS", size=SMALL_FRAME)
    run = made.snakemake()
    assert run.status == 0, run.output
    return made


def table(sandbox):
    with (sandbox.results / "verification.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sample_then_all_then_the_page_once(sandbox):
    page = sandbox.results / f"nights/{NIGHT}/report.html"
    before = page.read_bytes()
    run = sandbox.snakemake("verify")
    assert run.status == 0, run.output
    assert "2 of 2 products verified with ccdproc" in run.output
    assert {line["verdict"] for line in table(sandbox)} == {"verified"}
    run = sandbox.snakemake("verify", config=("verify_all=true",))
    assert "7 of 7 products verified" in run.output
    assert "(5 now, the others before)" in run.output
    # Verifying makes no product; the next run shows the verdicts, and the one after has nothing.
    assert page.read_bytes() == before
    assert sandbox.snakemake().status == 0
    assert "7 of 7 products that were looked at are verified" in page.read_text()
    assert "nothing to do" in sandbox.snakemake().output


def test_an_unverified_product_ends_with_status_1_unless_it_is_expected(sandbox):
    path = sandbox.results / "reduced/3.fits"
    sound = path.read_bytes()
    content = bytearray(sound)
    content[-3000] ^= 1
    path.write_bytes(content)
    (sandbox.raw / "5.fits.gz").rename(sandbox.raw.parent / "away")
    run = sandbox.snakemake("verify", config=("verify_all=true",))
    assert run.status != 0
    assert "differs: reduced/3.fits: the checksum of HDU 0 is wrong" in run.output
    assert "cannot be made again (missing): reduced/5.fits: the raw file " in run.output
    # The combined bias has the changed frame as a member.
    assert "4 of 7 products verified" in run.output
    assert ", 2 differ, 1 cannot be made again\n" in run.output
    path.write_bytes(sound)
    run = sandbox.snakemake("verify", config=("verify_all=true", "verify_expected=missing"))
    assert run.status == 0, run.output
    assert ", 1 cannot be made again, as expected\n" in run.output
