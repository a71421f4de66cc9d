"""Files of which explain.py has nothing to tell, and masters that no frame can try."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from refusals import refusal_of

from ccdflow.errors import UserError
from ccdflow.kinds.explaining import what_if
from ccdflow.kinds.explaining.product_explanation import explain_product
from ccdflow.kinds.forecasting.lacking_frames import last_night

FRAME = "calibrated/n1/a.fits"


def test_a_file_of_another_program_is_refused(tmp_path):
    (tmp_path / "reduced").mkdir()
    fits.writeto(tmp_path / "reduced/a.fits", np.zeros((5, 7)))
    assert refusal_of(explain_product, tmp_path, "reduced/a.fits") == (
        UserError,
        f"{tmp_path}/reduced/a.fits: CCDFKEY: was not made by ccdflow (found 'absent'); give a "
        "reduced, combined or calibrated frame",
    )


@pytest.mark.parametrize("group", [None, SimpleNamespace(kind="flat")])
def test_a_product_that_is_no_calibrated_frame_tries_no_master(group):
    context = SimpleNamespace(find_group=lambda product: group)
    assert refusal_of(what_if.try_master, context, FRAME, "bias.fits") == (
        UserError,
        f"{FRAME}: is not a calibrated frame; allowed: a file below calibrated/; give a calibrated "
        "frame",
    )


def test_a_frame_that_is_not_reduced_tries_no_master(monkeypatch):
    context = SimpleNamespace(find_group=lambda product: SimpleNamespace(kind="science"))
    unreduced = SimpleNamespace(reduced_record=None)
    monkeypatch.setattr(what_if, "Calibration", lambda *_: unreduced)
    assert refusal_of(what_if.try_master, context, FRAME, "bias.fits") == (
        UserError,
        f"{FRAME}: its reduced frame is not there; run snakemake first",
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "absent.fits",
            "there is no such master; allowed: a file below combined/; see `ls combined/*` in the "
            "results folder",
        ),
        (
            "mine.fits",
            "its name does not say which master it is; allowed: a name that begins with bias, "
            "dark or flat; give a master under the name it was made with",
        ),
    ],
)
def test_a_file_that_is_no_master_is_not_tried(tmp_path, name, line):
    (tmp_path / "mine.fits").touch()
    context = SimpleNamespace(results=tmp_path, group=lambda product: None)
    refusal = refusal_of(what_if.rule_line, context, FRAME, tmp_path / name)
    assert refusal == (UserError, f"{tmp_path / name}: {line}")


def test_an_archive_without_a_frame_has_no_last_night():
    context = SimpleNamespace(store=SimpleNamespace(rows={}), raw="/data/raw")
    assert refusal_of(last_night, context) == (
        UserError,
        "/data/raw: there is no frame that could be read; check `raw`, and inventory.csv for the "
        "reasons",
    )
