"""explain.py on a product that is not there: the reason, where the notes have one."""

import csv

import pytest

from ccdflow.errors import UserError
from ccdflow.kinds.explaining.product_explanation import explain_product
from ccdflow.run.raw_frames import inventory_table

REASON = "the file is truncated: its header has no END card; copy the file again"


@pytest.fixture
def results(tmp_path):
    """A results folder whose inventory has a frame that was set aside, and a sound one."""
    with (tmp_path / "inventory.csv").open("w") as file:
        table = csv.DictWriter(file, inventory_table.COLUMNS, restval="")
        table.writeheader()
        table.writerow({"file": "n1/bad.fits.gz", "status": "set aside", "reason": REASON})
        table.writerow({"file": "n1/good.fits", "status": "ok", "reason": "warning: no longitude"})
    return tmp_path


@pytest.mark.parametrize("folder", ["reduced", "calibrated"])
def test_a_frame_that_was_set_aside_has_its_reason(results, folder):
    with pytest.raises(UserError) as error:
        explain_product(results, f"{folder}/n1/bad.fits")
    words = f"there is no such file: n1/bad.fits.gz is not reduced (set aside): {REASON}; give a"
    assert str(error.value).startswith(f"{results / folder / 'n1/bad.fits'}: {words}")


def test_a_warning_is_no_reason_for_absence(results):
    with pytest.raises(UserError) as error:
        explain_product(results, "reduced/n1/good.fits")
    assert str(error.value).endswith("there is no such file; give a product in the results folder")
