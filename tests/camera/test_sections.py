"""Regions of a frame, written as FITS sections, Python slices or keywords."""

import numpy as np
import pytest

from ccdflow.camera.sections import Region, RegionSpec, parse_fits, read_region, region_within
from ccdflow.errors import FrameError, UserError


def test_a_fits_section_and_a_python_slice_name_the_same_pixels():
    """The LFC's overscan, written both ways, on an array where each pixel tells where it is."""
    frame = np.arange(7 * 11).reshape(7, 11)
    fits = Region.from_fits("[9:11,1:7]")
    python = Region.from_python("[:, 8:]", (7, 11))
    assert fits == python == Region(0, 7, 8, 11)
    np.testing.assert_array_equal(frame[fits.slices], frame[:, 8:])
    assert fits.shape == (7, 3)
    assert fits.size == 21


def test_the_regions_of_the_lfc():
    assert Region.from_python("[:, -25:]", (4128, 2080)).to_fits() == "[2056:2080,1:4128]"
    assert Region.from_python("[:, 2055:]", (4128, 2080)).to_fits() == "[2056:2080,1:4128]"
    assert Region.from_python("[:, :-32]", (4128, 2080)).to_fits() == "[1:2048,1:4128]"
    assert Region.from_python("[:, -25:]", (70, 130)).to_fits() == "[106:130,1:70]"


def test_notations_come_back_unchanged():
    region = Region(2, 40, 3, 17)
    assert Region.from_fits(region.to_fits()) == region
    assert Region.from_python("[2:40, 3:17]", (50, 60)) == region


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("[   4:  13,   1: 520]", Region(0, 520, 3, 13)),
        ("[13:4,520:1]", Region(0, 520, 3, 13)),
        (" [4 : 13, 1:520] ", Region(0, 520, 3, 13)),
        ("[98:483,4105:4190]              ", Region(4104, 4190, 97, 483)),
        ("[5,1:3]", Region(0, 3, 4, 5)),
    ],
)
def test_fits_sections_as_they_come(text, region):
    assert Region.from_fits(text) == region


def test_a_reversed_range_tells_its_direction():
    section = parse_fits("[2048:1025,1:350]")
    assert section.region == Region(0, 350, 1024, 2048)
    assert (section.is_flipped_x, section.is_flipped_y) == (True, False)
    assert parse_fits("[*,-*]", shape=(5, 9)).is_flipped_y
    assert parse_fits("[*,-*]", shape=(5, 9)).region == Region(0, 5, 0, 9)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1:2]", "[1:2,3:4,5:6]", "1:2,3:4", "[a:b,1:2]", "[1:2:2,1:4]", None, 7, "UNKNOWN"],
)
def test_a_text_that_is_no_section_is_refused(text):
    with pytest.raises(FrameError, match=r"night/a\.fits: BIASSEC: .*allowed: \[x1:x2,y1:y2\]"):
        Region.from_fits(text, file="night/a.fits", keyword="BIASSEC")


def test_a_section_from_pixel_0_is_outside():
    with pytest.raises(FrameError, match="pixels count from 1"):
        Region.from_fits("[0:10,1:5]")


def test_a_star_needs_the_size():
    assert Region.from_fits("[3:4,*]", shape=(6, 8)) == Region(0, 6, 2, 4)
    with pytest.raises(FrameError, match="size of the frame"):
        Region.from_fits("[*,1:5]")


@pytest.mark.parametrize("text", ["[:, 8:12]", "[0:8, :]", "[:, -12:]", "[-8:, 1:2]"])
def test_a_slice_outside_is_refused_where_numpy_would_cut_it(text):
    with pytest.raises(FrameError, match="leaves the frame's"):
        Region.from_python(text, (7, 11))


@pytest.mark.parametrize("text", ["[:, 5:5]", "[6:2, :]", "[:, 11:]"])
def test_an_empty_slice_is_refused(text):
    with pytest.raises(FrameError, match="selects nothing"):
        Region.from_python(text, (7, 11))


@pytest.mark.parametrize(
    "text", ["[:]", "[::2, :]", "[:, :, :]", "[3, :]", ":, 2:", "[1:2,*]", None]
)
def test_a_text_that_is_no_slice_is_refused(text):
    with pytest.raises(FrameError, match="not a Python slice"):
        Region.from_python(text, (7, 11))


def test_relations_of_regions():
    data, strip = Region(0, 10, 0, 20), Region(0, 10, 20, 25)
    assert data.shares_rows(strip)
    assert not data.shares_columns(strip)
    assert not data.overlaps(strip)
    assert data.overlaps(Region(9, 12, 19, 22))
    assert not data.overlaps(Region(10, 12, 20, 22))
    assert data.contains(Region(0, 10, 5, 20))
    assert not data.contains(Region(0, 11, 5, 20))
    assert strip.is_within((10, 25))
    assert not strip.is_within((10, 24))
    assert strip.shift(2, -20) == Region(2, 12, 0, 5)


def test_a_region_of_a_profile_says_its_notation():
    assert read_region({"fits": "[1:2,3:4]"}) == RegionSpec("fits", "[1:2,3:4]")
    for value in ("[1:2,3:4]", ["[1:2,3:4]"], {"fits": "[1:2,3:4]", "python": "[1:2, 3:4]"}, None):
        with pytest.raises(UserError, match=r"must name its notation.*fits.*python"):
            read_region(value, file="lfc.yaml", keyword="amplifiers[0].data")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"fits": "[:, 3:]"}, "not a FITS section"),
        ({"python": "[1:2:3,*]"}, "not a Python slice"),
        ({"pixels": "x"}, "not a notation of regions"),
    ],
)
def test_a_region_in_the_wrong_notation_is_refused(value, problem):
    with pytest.raises(UserError, match=rf"lfc\.yaml.*amplifiers\[0\]\.data.*{problem}"):
        read_region(value, file="lfc.yaml", keyword="amplifiers[0].data")


def test_a_profile_region_must_lie_in_the_frame():
    assert RegionSpec("fits", "[*,1:4]").resolve((5, 9)).shape == (4, 9)
    with pytest.raises(FrameError, match=r"outside the frame.*within \[1:9,1:5\]"):
        RegionSpec("fits", "[1:10,1:5]").resolve((5, 9))
    with pytest.raises(FrameError, match="say so"):
        region_within(Region(0, 6, 0, 9), (5, 9), "[1:9,1:6]", remedy="say so")
