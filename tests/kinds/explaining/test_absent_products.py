"""explain.py on a product or a master that is not there: the reason, where the notes have one."""

import csv
from types import SimpleNamespace

import pytest

from ccdflow.errors import UserError
from ccdflow.kinds.explaining.product_explanation import explain_product
from ccdflow.run import job_records, ledger
from ccdflow.run.job import Group, Job
from ccdflow.run.job_records import Record
from ccdflow.run.master_choices import Step, Use
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


def test_a_master_that_could_not_be_made_is_not_called_unneeded(results):
    """The page is made again; its frame has no bias because the bias was refused, and no dark."""
    page, bias = "nights/2024-03-01/report.html", "combined/2024-03-01/bias.fits"
    steps = (
        Step("bias", (Use(bias, 0, 1.0, 4.0, "A"),)),
        Step("dark", is_needed=False),
    )
    group = Group(page, "2024-03-01", "cam", (), ("a.fits",), steps=steps)
    refused = Record(bias, "bias", "0" * 16, job_records.REFUSED, "the frames do not agree")
    context = SimpleNamespace(
        chain=SimpleNamespace(kind_of=lambda product: "page"),
        is_planned=lambda product: True,
        jobs={page: Job("page", page, "1" * 16, "new", "2024-03-01")},
        find_group=lambda product: group,
        kept_by_identity=lambda key, objects, make: make(),
        made_record=lambda product: None,
        outcome=lambda product: refused,
    )
    (results / page).parent.mkdir(parents=True)
    (results / page).touch()
    assert explain_product(results, page, context)[1:] == [
        "  today    would be made again: new",
        f"           bias: no bias: {bias} could not be made",
        "           dark: not needed",
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (job_records.MADE, "it was made, and deleted or moved; the next run makes it again"),
        (job_records.REFUSED, "it was refused: no dark of 300 s"),
    ],
)
def test_a_master_with_a_reason_in_its_notes_is_refused_only_by_its_status(results, status, words):
    """A flat that was made without its dark has a reason as well."""
    product = "combined/2024-03-01/flat.fits"
    record = Record(product, "flat", "0" * 16, status, "no dark of 300 s", stamp=(1, 2, 3))
    ledger.save_ledger(results, ledger.Ledger({product: record}))
    with pytest.raises(UserError) as error:
        explain_product(results, product)
    assert f"there is no such file: {words}; give a" in str(error.value)
