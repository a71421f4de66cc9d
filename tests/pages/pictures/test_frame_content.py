"""The content of a frame's picture: groups of overscan strips, regions, and shrunk images."""

import math

import numpy as np
import pytest

from ccdflow.errors import UserError
from ccdflow.pages.pictures.frame_content import (
    FrameImages,
    OverscanStrip,
    fits_section,
    shrink,
    strip_groups,
    take_content,
    take_profile,
)

NY, NX, DATA = 240, 100, 68
LEVEL, NOISE = 1140.0, 6.0
LEAK = (300.0, 60.0, 12.0)


def frame(**changes):
    """Simulate a flat of 68 image and 32 overscan columns, the first three with leaked light."""
    rng = np.random.default_rng(20160116)
    raw = rng.normal(LEVEL, NOISE, (NY, NX))
    raw[:, :DATA] += 5000
    raw[:, DATA : DATA + 3] += LEAK
    raw = np.round(raw).astype(np.uint16)
    values = {
        "name": "ccd.014.0.fits.gz",
        "image_type": "flat",
        "raw": raw,
        "reduced": raw[:, :DATA] - np.float32(LEVEL),
        "strips": (OverscanStrip((0, NY, 75, NX)),),
        "data": ((0, NY, 0, DATA),),
        "header_biassec": "[69:100,1:239]",
        "header_region": (0, 239, DATA, NX),
    }
    return FrameImages(**(values | changes))


def transposed_frame():
    """Turn the frame so that its overscan lies in rows above the image."""
    upright = frame()
    return frame(
        raw=upright.raw.T,
        reduced=upright.reduced.T,
        strips=(OverscanStrip((75, NX, 0, NY)),),
        data=((0, DATA, 0, NY),),
        along="columns",
        header_region=(DATA, NX, 0, 239),
    )


def profile(given):
    return take_profile(given, list(given.strips))


def test_the_profile_shows_the_leaked_light_at_its_columns():
    columns_profile = profile(frame())
    values = dict(zip(columns_profile.columns.tolist(), columns_profile.lines[0], strict=True))
    error = 5 * 1.2 * NOISE / math.sqrt(NY)
    for column, leak in zip(range(DATA, DATA + 3), LEAK, strict=True):
        assert values[column] == pytest.approx(LEVEL + leak, abs=error)
    assert values[90] == pytest.approx(LEVEL, abs=error)
    assert values[DATA - 1] == pytest.approx(LEVEL + 5000, abs=error)
    assert max(values) == NX - 1


def test_the_scale_shows_the_noise_and_the_end_of_the_leak_but_not_the_image():
    low, high = profile(frame()).limits
    assert LEVEL - 2 * NOISE < low < LEVEL - NOISE / 2
    assert LEVEL + LEAK[2] < high < LEVEL + LEAK[1]


def test_the_profile_of_integers_is_finer_than_one_unit():
    raw = np.round(np.random.default_rng(3).normal(1000.4, NOISE, (4000, 12))).astype(np.uint16)
    given = frame(raw=raw, strips=(OverscanStrip((0, 4000, 4, 12)),), data=(), header_region=None)
    error = 5 * 1.2 * NOISE / math.sqrt(4000)
    assert profile(given).lines[0] == pytest.approx(1000.4, abs=error)


@pytest.mark.parametrize("along", ["columns", "frame"])
def test_a_strip_of_rows_has_the_profile_of_the_same_strip_in_columns(along):
    upright = profile(frame())
    turned = profile(FrameImages(**{**transposed_frame().__dict__, "along": along}))
    np.testing.assert_array_equal(upright.columns, turned.columns)
    np.testing.assert_array_equal(upright.lines, turned.lines)
    assert upright.limits == turned.limits


@pytest.mark.parametrize(
    ("spans", "groups"),
    [
        ([(80, 90), (90, 100)], [[80, 90]]),  # beside each other, as Kast's
        ([(90, 100), (0, 10)], [[0], [90]]),  # one at each side
    ],
)
def test_strips_far_apart_are_not_drawn_together(spans, groups):
    given = frame(strips=tuple(OverscanStrip((0, NY, x0, x1)) for x0, x1 in spans))
    regions = [[strip.region[2] for strip in group] for group in strip_groups(given)]
    assert regions == groups


def test_quadrants_with_overscan_in_the_same_columns_have_a_line_each():
    raw = np.random.default_rng(8).normal(1000, NOISE, (80, 40))
    raw[40:] += 50
    strips = (OverscanStrip((0, 40, 30, 40), "low"), OverscanStrip((40, 80, 30, 40), "high"))
    given = frame(raw=raw, reduced=raw[:, :30], strips=strips, data=(), header_region=None)
    (columns_profile,) = take_content(given, 100).profiles
    assert [float(line.mean()) for line in columns_profile.lines] == pytest.approx(
        [1000, 1050], abs=2
    )


def test_panels_hold_on_to_no_pixels_of_the_frame():
    given = frame()
    taken = take_content(given, 20)
    assert taken.frame.raw.shape == given.raw.shape
    assert taken.frame.raw.strides == (0, 0)
    assert max(taken.raw.values.shape) <= 20
    assert taken.profiles[0].lines
    assert not any(np.shares_memory(line, given.raw) for line in taken.profiles[0].lines)


def test_an_overscan_without_a_finite_pixel_has_no_scale():
    raw = np.full((NY, NX), np.nan)
    assert profile(frame(raw=raw)).limits is None


def test_sections_are_written_in_fits_counting():
    assert fits_section((0, 4128, 2055, 2080)) == "[2056:2080,1:4128]"


def test_shrinking_averages_blocks_and_those_cut_at_the_edge():
    image = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
    small = shrink(image, 3)
    assert small.step == 3
    assert small.values.shape == (2, 3)
    assert small.shape == (5, 7)
    assert small.values[0, 0] == image[:3, :3].mean()
    assert small.values[1, 2] == image[3:, 6:].mean()


def test_shrinking_leaves_out_values_that_are_not_finite():
    image = np.array([[1.0, np.nan, 5.0, 7.0], [3.0, np.inf, 6.0, 6.0], [np.nan] * 4, [np.nan] * 4])
    np.testing.assert_array_equal(shrink(image, 2).values, [[2.0, 6.0], [np.nan, np.nan]])


def test_shrinking_to_a_limit_that_is_not_reached_changes_nothing():
    image = np.random.default_rng(1).normal(size=(4, 6)).astype(">f4")
    small = shrink(image, 6)
    assert small.step == 1
    np.testing.assert_array_equal(small.values, image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"strips": (OverscanStrip((0, 241, 75, 100)),)},
            r"a region does not lie inside the frame .*'\[76:100,1:241\]'",
        ),
        ({"data": ((0, 240, 9, 9),)}, r"a region does not lie inside the frame .*'\[10:9,1:240\]'"),
        (
            {"along": "rowwise"},
            r"the overscan has levels along no such axis .*'rowwise'.*"
            r"allowed: 'rows', 'columns' or 'frame'",
        ),
        (
            {"raw": np.zeros((2, 3, 4))},
            r"the raw frame is no image of rows and columns .*\(2, 3, 4\)",
        ),
        (
            {"reduced": np.zeros((0, 4))},
            r"the reduced frame is no image of rows and columns .*\(0, 4\)",
        ),
    ],
)
def test_an_image_that_cannot_be_drawn_is_refused_by_name(change, message):
    with pytest.raises(UserError, match=message) as caught:
        take_content(frame(**change), 100)
    assert str(caught.value).startswith("ccd.014.0.fits.gz: ")
