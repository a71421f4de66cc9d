"""Names of products: no two of different things alike, none longer than a file system takes."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_endings import ENDINGS

from ccdflow import paths

_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)


@given(one=_text, other=_text)
def test_two_nights_never_share_a_folder(one, other):
    assert (paths.segment(one) == paths.segment(other)) == (one == other)


@given(night=_text, group=_text)
def test_no_name_is_longer_than_file_systems_take(night, group):
    product = paths.combined_master(night, group)
    for path in (
        paths.done_record(product, "0" * 16, 99),
        paths.done_record(f"orders/{paths.segment(night)}_to_{paths.segment(night)}", "0" * 16, 99),
        paths.night_page(night),
    ):
        assert path.isascii()
        assert max(len(part.encode()) for part in path.split("/")) <= 255
        assert ".." not in path.split("/")


@pytest.mark.parametrize("name", ["2024-03-01", "run_7", "N.1+2-3"])
def test_a_name_of_plain_letters_stays(name):
    assert paths.segment(name) == paths.plain_name(name) == name


def test_names_that_only_their_digest_tells_apart():
    names = [
        "dark run",
        "dark_run",
        "dark  run",
        "утро",
        "вечер",
        "",
        ".",
        "..",
        "x" * 97,
        "x" * 98,
    ]
    assert len({paths.segment(name) for name in names}) == len(names)
    assert len({paths.plain_name("x" * length) for length in (120, 121, 122)}) == 3
    assert paths.plain_name(paths.plain_name("y " * 200)) == paths.plain_name("y " * 200)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_raw_name_becomes_a_fits_product_that_is_kept(ending):
    assert paths.is_raw_name(f"a{ending}")
    product = paths.reduced_frame(f"night/a{ending}")
    assert paths.is_fits(product)
    assert not paths.is_shown_only(product)


@pytest.mark.parametrize(
    ("product", "shown"),
    [
        ("nights/2024-03-01/report.html", True),
        ("nights/2024-03-01/before_after.png", True),
        ("bias_quality.csv", True),
        ("report.html", True),
        ("reduced/report.html", False),
        ("reduced/nights/a.png", False),
        ("combined/2024-03-01/bias.fits", False),
        ("combined/2024-03-01/report.html", False),
        ("nights/2024-03-01/of_somebody.fits", False),
        ("masters/x", False),
    ],
)
def test_only_pages_pictures_and_tables_may_be_deleted(product, shown):
    assert paths.is_shown_only(product) is shown


@pytest.mark.parametrize("name", ["a.fits", "x" * 250 + ".fits", "ж" * 125 + ".fits", "noending"])
def test_a_numbered_name_fits(name):
    numbered = paths.numbered_name(name, 12)
    assert len(numbered.encode()) <= 255
    assert numbered.endswith((".12.fits", "noending.12"))


@pytest.mark.parametrize(
    "path",
    ["reduced/n/a.fits.0123.json", f"{paths.DONE_FOLDER}/reduced/n/a.fits.json", "", "/etc/passwd"],
)
def test_a_path_that_is_no_record_is_refused(path):
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(PurePosixPath(path)))} is not the path of a record$"
    ):
        paths.parse_done(PurePosixPath(path))


@pytest.mark.parametrize("night", ["2024-03-01", "dark run"])
def test_the_night_of_each_product_of_a_night_is_read_from_its_path(night):
    products = [
        paths.combined_master(night, "bias_lfc"),
        paths.measured_detector("lfc", night, "64x48"),
        paths.shutter_map("lfc", night, "64x48"),
        paths.night_page(night),
    ]
    assert {paths.night_of_product(product) for product in products} == {paths.segment(night)}
    others = [
        paths.reduced_frame(f"{night}/a.fits"),
        paths.calibrated_frame(f"{night}/a.fits"),
        paths.bad_pixels("lfc", "64x48", ""),
        paths.REPORT_PAGE,
    ]
    assert {paths.night_of_product(product) for product in others} == {None}


def test_the_folder_of_each_product_is_one_of_the_list():
    products = [
        paths.reduced_frame("n/a.fits"),
        paths.combined_master("n", "bias_lfc"),
        paths.measured_detector("lfc", "n", "64x48"),
        paths.calibrated_frame("n/a.fits"),
        paths.night_page("n"),
    ]
    assert tuple(map(paths.top_folder, products)) == paths.PRODUCT_FOLDERS
    assert paths.top_folder(paths.INVENTORY) == ""


@pytest.mark.parametrize(
    ("product", "is_page"),
    [
        ("nights/2024-03-01/report.html", True),
        ("nights/2024-03-01/frames/report.html", False),
        ("nights/2024-03-01/my_report.html", False),
        ("nights/report.html", False),
        ("reduced/2024-03-01/report.html", False),
        ("report.html", False),
    ],
)
def test_a_file_of_a_night_lies_in_the_nights_folder_itself(product, is_page):
    assert paths.is_file_of_night(product, paths.REPORT_PAGE) is is_page
