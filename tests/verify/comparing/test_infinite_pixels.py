"""Pixels, cells and cards that are infinite or have no value: no limit is infinite with them."""

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from edited_products import rewrite
from small_frames import run_jobs
from verified_chain import MADE_KINDS, first_product

from ccdflow.verify import selection, verdicts
from ccdflow.verify.comparing import comparing

NAN, INF = float("nan"), float("inf")
EMPTY, INFINITE = (40, 30), (41, 30)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Raw frames of float32, of which one pixel is NaN and one is infinite: (raw, results)."""
    top = tmp_path_factory.mktemp("infinite")
    chain = small_chain.make(top / "raw", flats=(("g", 4),), science=(("g", 60.0, 1),))
    for path in chain.raw.rglob("*.fits"):
        with fits.open(path, memmap=False) as hdus:
            hdus[0].data = hdus[0].data.astype(np.float32)
            hdus[0].data[EMPTY] = np.nan
            hdus[0].data[INFINITE] = np.nan if path.name.startswith("bias") else np.inf
            hdus.writeto(path, overwrite=True)
    settings = {"bias": {"uncertainty": True, "count": True}}
    results = top / "results"
    run = run_jobs(chain.raw, results, {"simcam": chain.profile}, kinds=MADE_KINDS, **settings)
    failures = {name: str(r)[:600] for name, r in run.records.items() if r.status == "failed"}
    assert run.records
    assert failures == {}
    return chain.raw, results


def look(night, product):
    return verdicts.verify(product, raw=night[0], results=night[1], compares_all_rows=True)


def test_products_of_infinite_and_empty_pixels_are_verified(night):
    outcomes = {name: look(night, name) for name in selection.files_of(night[1])}
    assert {name: v.reason for name, v in outcomes.items() if v.verdict != "verified"} == {}
    assert len(outcomes) > 10
    assert np.isinf(fits.getdata(night[1] / first_product(night[1], "reduced/flat"))).any()


def verdict_on_forgery(night, product, change, hdu=0):
    """Return the verdict on a product whose HDU was changed and signed again."""
    path = night[1] / product
    sound = path.read_bytes()
    try:
        rewrite(path, change, hdu=hdu)
        assert path.read_bytes() != sound
        return look(night, product)
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize(
    ("kind", "hdu", "place", "number", "reason"),
    [
        ("reduced/science", 0, INFINITE, 5.0, "at least 1 pixel differs"),
        ("reduced/science", 0, INFINITE, -INF, "at least 1 pixel differs"),
        ("reduced/science", 0, EMPTY, INF, "at least 1 pixel differs"),
        ("combined/bias", 0, (50, 50), INF, "at least 1 pixel differs"),
        ("combined/dark", 0, (50, 50), 1e6, "at least 1 pixel differs"),
        ("combined/flat", 0, (50, 50), 1.1, "at least 1 pixel differs"),
        ("combined/dark", "UNCERT", EMPTY, 5.0, "1 standard errors differ"),
        ("combined/flat", "UNCERT", EMPTY, 5.0, "1 standard errors differ"),
        ("combined/bias", "UNCERT", EMPTY, 5.0, "1 standard errors are not the scatter's"),
        ("combined/bias", "UNCERT", (50, 50), INF, "1 standard errors are not the scatter's"),
        ("combined/bias", "COUNT", EMPTY, 5, "1 pixels of COUNT"),
        ("calibrated/science", 0, INFINITE, 5.0, "pixel differs"),
        ("calibrated/science", "UNCERT", (50, 50), NAN, "1 standard errors are missing"),
        ("calibrated/science", "UNCERT", (50, 50), INF, "1 standard errors are missing"),
    ],
)
def test_a_number_in_an_infinite_or_empty_place_differs(night, kind, hdu, place, number, reason):
    def change(stored):
        stored.data[place] = number

    outcome = verdict_on_forgery(night, first_product(night[1], kind), change, hdu)
    assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason
    if "differs" in reason:
        assert outcome.pixels > 1000


@pytest.mark.parametrize("product", [5.0, -INF, NAN, 1e300])
def test_a_pixel_that_is_made_infinite_is_like_itself_alone(product):
    sound = np.array([1.0, INF, 3.0])
    assert comparing.difference_within(sound, sound, np.float32, 2) == 0.0
    changed = np.array([1.0, product, 3.0])
    reason = (
        "pixels without a value are not those" if product is NAN else "at least 1 pixel differs"
    )
    with pytest.raises(comparing.Differs, match=reason):
        comparing.difference_within(changed, sound, np.float32, 2)
    with pytest.raises(comparing.Differs, match=reason):
        comparing.difference_within(sound, changed, np.float32, 2)


def test_an_infinite_scale_allows_no_difference():
    with pytest.raises(comparing.Differs, match="at least 1 pixel differs") as refusal:
        comparing.difference_within(np.array([5.0, 2]), np.array([1.0, 2]), np.float32, 2, INF)
    assert (refusal.value.largest, refusal.value.pixels) == (4.0, 2)


@pytest.mark.parametrize("number", [INF, -INF, NAN])
def test_a_figure_that_is_made_infinite_has_no_card(number):
    with pytest.raises(comparing.Differs, match="its card has 5"):
        comparing.check_value("IMGLEVEL", 5.0, number)


def test_numbers_are_within_finite_limits():
    values = np.array([1.0, 1.0, 1.0, INF, INF, NAN, NAN, 2.0])
    remade = np.array([1.5, 1.5, 1.5, INF, -INF, NAN, 1.0, 2.0])
    limits = np.array([0.5, INF, NAN, 0.0, INF, 0.0, INF, NAN])
    assert comparing.are_within(values, remade, limits).tolist() == [
        True, False, False, True, False, True, False, True,
    ]  # fmt: skip


def test_a_dark_without_the_limit_of_its_hot_pixels_cannot_be_made_again(night):
    """The hot pixels of the product were what they were compared with."""

    def change(hdu):
        hdu.header.comments["NHOT"] = "pixels over those around"

    outcome = verdict_on_forgery(night, first_product(night[1], "combined/dark"), change)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "older")
    assert "is 'pixels over those around'" in outcome.reason
