"""Overscan subtraction and trimming equal ccdproc's own, to the last bit."""

import warnings
from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy import units
from astropy.modeling import models
from astropy.nddata import CCDData
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from refusals import refusal_of
from small_frames import amplifier, geometry, region

from ccdflow import mask_bits
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.frame import overscan, reduction
from ccdflow.frame.checks import flaws

SHAPE = (23, 40)


def raw_frame(dtype, shape=SHAPE, *, seed=7):
    """Pixels that use the whole range of their type, and differ from row to row."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(1000.3, 37.7, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def fits_pixels(values):
    """Pixels as FITS has them: big-endian; unsigned ones, but bytes, less half their range."""
    if values.dtype.kind == "u" and values.dtype.itemsize > 1:
        offset = 2 ** (8 * values.dtype.itemsize - 1)
        signed = (values ^ values.dtype.type(offset)).view(f"i{values.dtype.itemsize}")
        return signed.astype(signed.dtype.newbyteorder(">")), offset
    return values.astype(values.dtype.newbyteorder(">")), 0


def reduce_pixels(values, where, **recipe):
    """The image of a frame, native and its own copy, and all that came with it."""
    given_pixels, offset = fits_pixels(values)
    before = given_pixels.copy()
    result = reduction.reduce_frame({0: (given_pixels, offset)}, where, ReductionRecipe(**recipe))
    np.testing.assert_array_equal(given_pixels, before)
    (image,) = result.images
    assert image.data.dtype.byteorder == ">"
    return image.data.astype(image.data.dtype.newbyteorder("=")), result


def ccdproc_reduced(values, strip, data, *, axis, dtype, takes_median=True, model=None):
    """The result of ccdproc for a frame, cast to the product's type; regions as slices."""
    frame = CCDData(values, unit=units.adu)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = ccdproc.subtract_overscan(
            frame, overscan=frame[strip], overscan_axis=axis, median=takes_median, model=model
        )
        return ccdproc.trim_image(frame[data]).data.astype(dtype)


# FITS sections of the strip and of the data, what the levels run along, and ccdproc's axis.
SIDES = {
    "right, odd": ("36:40,1:23", "1:32,1:23", "rows", 1),
    "right, even": ("35:40,1:23", "1:32,1:23", "rows", 1),
    "right, one column": ("38:38,1:23", "1:32,1:23", "rows", 1),
    "left": ("1:5,1:23", "7:40,1:23", "rows", 1),
    "above": ("1:40,20:23", "1:40,1:18", "columns", 0),
    "below": ("1:40,1:3", "1:40,5:23", "columns", 0),
    "above, one row": ("1:40,23:23", "1:40,1:22", "columns", 0),
}
TYPES = ("uint8", "uint16", "int16", "int32", "uint32", "float32", "float64")


@pytest.mark.parametrize("out", ["float32", "float64"])
@pytest.mark.parametrize("statistic", ["median", "mean"])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("dtype", TYPES)
def test_equals_ccdproc_to_the_last_bit(dtype, side, statistic, out):
    strip, data, along, axis = SIDES[side]
    values = raw_frame(dtype)
    where = geometry(SHAPE, amplifier(data, strip, along=along))
    image, _ = reduce_pixels(values, where, statistic=statistic, dtype=out)
    wanted = ccdproc_reduced(
        values,
        region(strip).slices,
        region(data).slices,
        axis=axis,
        dtype=out,
        takes_median=statistic == "median",
    )
    np.testing.assert_array_equal(image, wanted)
    assert image.dtype == out


def test_a_strip_below_that_is_as_wide_as_the_data_only():
    values = raw_frame("uint16")
    image, _ = reduce_pixels(
        values, geometry(SHAPE, amplifier("9:36,7:19", "9:36,2:4", along="columns"))
    )
    level = np.median(values[1:4, 8:36], axis=0)
    np.testing.assert_array_equal(image, (values[6:19, 8:36] - level).astype("float32"))


@pytest.mark.parametrize("side", ["right, odd", "right, even", "above"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_polynomial_without_rejection_equals_ccdproc(dtype, side, order):
    strip, data, along, axis = SIDES[side]
    values = raw_frame(dtype)
    image, _ = reduce_pixels(
        values,
        geometry(SHAPE, amplifier(data, strip, along=along)),
        model="polynomial",
        order=order,
        reject_iterations=0,
        dtype="float64",
    )
    wanted = ccdproc_reduced(
        values,
        region(strip).slices,
        region(data).slices,
        axis=axis,
        dtype="float64",
        model=models.Polynomial1D(order),
    )
    np.testing.assert_array_equal(image, wanted)


@settings(max_examples=60, deadline=None)
@given(
    values=arrays.arrays(
        st.sampled_from(["uint16", "int16", "int32", "float32"]),
        st.tuples(st.integers(1, 9), st.integers(4, 19)),
        elements={"min_value": 0, "max_value": 30000},
    ),
    width=st.integers(1, 3),
    left=st.booleans(),
    statistic=st.sampled_from(["median", "mean"]),
    out=st.sampled_from(["float32", "float64"]),
)
def test_any_frame_with_any_strip_equals_ccdproc(values, width, left, statistic, out):
    ny, nx = values.shape
    strip = f"1:{width},1:{ny}" if left else f"{nx - width + 1}:{nx},1:{ny}"
    data = f"{width + 1}:{nx},1:{ny}" if left else f"1:{nx - width},1:{ny}"
    where = geometry(values.shape, amplifier(data, strip))
    image, result = reduce_pixels(values, where, statistic=statistic, dtype=out)
    wanted = ccdproc_reduced(
        values,
        region(strip).slices,
        region(data).slices,
        axis=1,
        dtype=out,
        takes_median=statistic == "median",
    )
    np.testing.assert_array_equal(image, wanted)
    assert result.overscans["A"].levels.shape == (ny,)


@pytest.mark.parametrize("dtype", TYPES[1:])
def test_trimmed_only_keeps_the_values(dtype):
    values = raw_frame(dtype)
    where = geometry(SHAPE, amplifier("5:30,2:20", "36:40,2:20"))
    image, result = reduce_pixels(values, where, subtract=False, dtype="float64")
    np.testing.assert_array_equal(image, values[1:20, 4:30].astype("float64"))
    assert result.overscans == {"A": None}


def test_left_whole_the_levels_reach_as_far_as_they_are_known():
    values = raw_frame("uint16")
    where = geometry(SHAPE, amplifier("1:32,3:20", "36:40,3:20"))
    image, _ = reduce_pixels(values, where, trim=False)
    wanted = values.astype("float32")
    wanted[2:20] -= np.median(values[2:20, 35:40], axis=1)[:, None].astype("float32")
    np.testing.assert_array_equal(image, wanted)


def test_left_whole_the_levels_of_columns_reach_as_far_as_they_are_known():
    values = raw_frame("uint16").T.copy()
    where = geometry(SHAPE[::-1], amplifier("3:20,1:32", "3:20,36:40", along="columns"))
    image, _ = reduce_pixels(values, where, trim=False)
    wanted = values.astype("float32")
    wanted[:, 2:20] -= np.median(values[35:40, 2:20], axis=0).astype("float32")
    np.testing.assert_array_equal(image, wanted)


def test_left_whole_an_amplifier_without_overscan_keeps_its_values():
    values = raw_frame("uint16")
    left = amplifier("1:15,1:23", "32:35,1:23", name="left")
    right = replace(left, name="right", data=Region(0, 23, 15, 30), overscan=())
    image, _ = reduce_pixels(values, geometry(SHAPE, left, right), trim=False)
    level = np.median(values[:, 31:35], axis=1)[:, None].astype("float32")
    np.testing.assert_array_equal(image[:, 15:31], values[:, 15:31].astype("float32"))
    np.testing.assert_array_equal(image[:, :15], values[:, :15].astype("float32") - level)


def test_two_amplifiers_left_whole_are_raw_where_neither_has_a_level():
    values = raw_frame("uint16")
    left = amplifier("1:15,1:23", "32:35,1:23", name="left")
    right = amplifier("16:30,1:23", "36:39,1:23", name="right", place="16:30,1:23")
    image, _ = reduce_pixels(values, geometry(SHAPE, left, right), trim=False)
    wanted = values.astype("float32")
    for data, strip in ((slice(0, 15), slice(31, 35)), (slice(15, 30), slice(35, 39))):
        level = np.median(values[:, strip], axis=1)[:, None].astype("float32")
        wanted[:, data] -= level
        wanted[:, strip] -= level
    np.testing.assert_array_equal(image, wanted)


def test_amplifiers_are_turned_and_put_in_their_places():
    values = raw_frame("uint16")
    places = {
        # name: data, strip, place in the product, flips
        "plain": ("1:16,1:10", "17:18,1:10", "1:16,1:10", (False, False)),
        "x": ("25:40,1:10", "23:24,1:10", "17:32,1:10", (True, False)),
        "y": ("1:16,14:23", "17:18,14:23", "1:16,11:20", (False, True)),
        "xy": ("25:40,14:23", "23:24,14:23", "17:32,11:20", (True, True)),
    }
    amplifiers = [
        amplifier(data, strip, place=place, name=name, is_flipped_x=flips[0], is_flipped_y=flips[1])
        for name, (data, strip, place, flips) in places.items()
    ]
    image, _ = reduce_pixels(values, geometry(SHAPE, *amplifiers))
    for data, strip, place, (is_flipped_x, is_flipped_y) in places.values():
        level = np.median(values[region(strip).slices], axis=1)[:, None]
        part = values[region(data).slices] - level
        part = part[:: -1 if is_flipped_y else 1, :: -1 if is_flipped_x else 1]
        np.testing.assert_array_equal(image[region(place).slices], part.astype("float32"))


def test_gaps_between_amplifiers_are_nan_and_masked():
    values = raw_frame("uint16", seed=9) // 2
    values[3, 2] = 65535
    one = amplifier("1:10,1:23", name="one")
    two = amplifier(
        "11:20,1:23", name="two", place="12:21,1:23", is_flipped_x=True, saturation=32000
    )
    image, result = reduce_pixels(values, geometry(SHAPE, one, two), mask=True)
    assert np.isnan(image[:, 10]).all()
    assert np.isfinite(np.delete(image, 10, axis=1)).all()
    mask = result.images[0].mask
    wanted = np.zeros((23, 21), np.uint8)
    wanted[:, 10] = mask_bits.NO_DATA
    wanted[3, 2] = mask_bits.SATURATED  # of amplifier one the converter's own end
    wanted[:, 11:] = np.where(values[:, 10:20] >= 32000, mask_bits.SATURATED, 0)[:, ::-1]
    assert (wanted[:, 11:] > 0).sum() > 3
    np.testing.assert_array_equal(mask, wanted)


def test_the_mask_of_floats_flags_values_that_are_not_finite():
    values = raw_frame("float32")
    values[5, 6], values[7, 8] = np.nan, np.inf
    where = geometry(SHAPE, amplifier("1:32,1:23", "36:40,1:23", saturation=1050.0))
    image, result = reduce_pixels(values, where, mask=True)
    wanted = np.where(values[:, :32] >= 1050, mask_bits.SATURATED, 0)
    wanted[5, 6] = mask_bits.NOT_FINITE
    wanted[7, 8] = mask_bits.NOT_FINITE | mask_bits.SATURATED
    np.testing.assert_array_equal(result.images[0].mask, wanted)
    assert 20 < np.count_nonzero(wanted == mask_bits.SATURATED) < 200
    assert np.isnan(image[5, 6])
    assert np.isinf(image[7, 8])


def test_pixels_that_are_not_finite_do_not_spoil_the_level_of_their_row():
    values = raw_frame("float32")
    values[4, 37], values[5, 36:39] = np.nan, np.inf
    where = geometry(SHAPE, amplifier("1:32,1:23", "36:40,1:23"))
    _, result = reduce_pixels(values, where)
    levels = result.overscans["A"].levels
    assert levels[4] == np.median(values[4, [35, 36, 38, 39]])
    assert levels[5] == np.median(values[5, [35, 39]])
    assert levels[6] == np.median(values[6, 35:40])
    strip = np.where(np.isfinite(values[:, 35:]), values[:, 35:], np.nan).astype(np.float64)
    squares = np.square(strip - np.nanmean(strip, axis=1, keepdims=True))
    expected = np.sqrt(np.nansum(squares) * 5 / 4 / np.isfinite(strip).sum())
    assert result.overscans["A"].noise == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("rows", "model", "problem"),
    [
        (slice(9, 10), None, "the overscan holds values that are not finite"),
        (slice(None), "polynomial", "the overscan has too few good levels"),
    ],
)
def test_an_overscan_without_a_finite_pixel_is_refused(rows, model, problem):
    values = raw_frame("float32")
    values[rows, 35:] = np.nan
    where = geometry(SHAPE, amplifier("1:32,1:23", "36:40,1:23"))
    with pytest.raises(FrameError, match=problem):
        reduce_pixels(values, where, model=model)


def test_data_without_a_finite_pixel_are_refused():
    values = raw_frame("float32")
    values[:, :32] = np.nan
    where = geometry(SHAPE, amplifier("1:32,1:23", "36:40,1:23"))
    with pytest.raises(
        FrameError, match=r"amplifier A holds no finite value.*one finite pixel.*all NaN"
    ):
        reduce_pixels(values, where)


def test_one_level_for_the_whole_frame():
    values = raw_frame("int32") // 1000
    where = geometry(SHAPE, amplifier("1:20,1:23", ("25:28,3:9", "36:40,1:23"), along="frame"))
    image, result = reduce_pixels(values, where)
    both = np.concatenate([values[2:9, 24:28].ravel(), values[:, 35:40].ravel()])
    assert result.overscans["A"].levels == [np.median(both)]
    np.testing.assert_array_equal(image, (values[:, :20] - np.median(both)).astype("float32"))


def test_two_strips_of_an_amplifier_count_as_one():
    values = raw_frame("uint16")
    where = geometry(SHAPE, amplifier("5:32,1:23", ("1:3,1:23", "36:40,1:23")))
    _, result = reduce_pixels(values, where)
    wanted = np.median(np.delete(values, np.s_[3:35], axis=1), axis=1)
    np.testing.assert_array_equal(result.overscans["A"].levels, wanted)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_without_a_finite_pixel_of_overscan_is_refused(value):
    values = raw_frame("float32")
    values[4, 35:40] = value
    where = geometry(SHAPE, amplifier("1:32,1:23", "36:40,1:23"))
    assert refusal_of(reduce_pixels, values, where) == (
        FrameError,
        "overscan: the overscan holds values that are not finite (found '[36:40,1:23]'); allowed: "
        "a finite pixel for each row or column of the data; choose another region in the camera's "
        "profile, or look at the raw frame",
    )
    values[4, 39] = 1000
    _, result = reduce_pixels(values, where)
    assert result.overscans["A"].levels[4] == 1000


# -- level, model, noise -------------------------------------------------------------------------


def drifting_strip(rows=400, *, noise=0.5, seed=2):
    """A strip whose level drifts along a parabola, and its true level."""
    x = np.arange(rows)
    truth = 1000 + 5 * (x / rows) - 8 * (x / rows) ** 2
    rng = np.random.default_rng(seed)
    return truth[:, None] + noise * rng.standard_normal((rows, 9)), truth


@pytest.mark.parametrize(("model", "order"), [("polynomial", 2), ("spline", 3)])
def test_a_model_follows_the_drift_and_not_the_outliers(model, order):
    strip, truth = drifting_strip()
    strip[120:124] += 300
    recipe = ReductionRecipe(statistic="mean", model=model, order=order, reject_iterations=5)
    levels = overscan.levels_along([strip], "rows", recipe)
    # 400 levels of noise 0.5 / 3 and at most six coefficients: rms 0.02.
    assert np.sqrt(np.mean((levels - truth) ** 2)) < 0.04
    spoilt = ReductionRecipe(statistic="mean", model=model, order=order, reject_iterations=0)
    assert abs(overscan.levels_along([strip], "rows", spoilt) - truth).max() > 3


@pytest.mark.parametrize(("model", "order"), [("polynomial", 2), ("spline", 3)])
def test_a_limit_of_no_sigma_leaves_out_no_level(model, order):
    strip, truth = drifting_strip()
    strip[120:124] += 300
    none_left_out, no_rounds = (
        overscan.levels_along(
            [strip], "rows", ReductionRecipe(statistic="mean", model=model, order=order, **limits)
        )
        for limits in ({"reject_sigma": 0.0}, {"reject_iterations": 0})
    )
    np.testing.assert_array_equal(none_left_out, no_rounds)
    assert abs(none_left_out - truth).max() > 3


def test_rejection_ends_after_as_many_rounds_as_are_allowed():
    """Outliers of two sizes: the small ones show only after the large ones are gone."""
    strip, truth = drifting_strip()
    strip[40:80:4] += 400
    strip[200:260:3] += 25
    worst = [
        abs(
            overscan.levels_along(
                [strip], "rows", ReductionRecipe(statistic="mean", model="polynomial", order=2,
                                        reject_iterations=rounds),
            ) - truth
        ).max()
        for rounds in (0, 1, 8)
    ]  # fmt: skip
    assert worst[0] > 10 * worst[1] / 3 > 10 * worst[2]


def test_too_few_levels_for_a_model_are_refused():
    strip, _ = drifting_strip(5)
    with pytest.raises(FrameError, match=r"too few good levels for a spline of order 3.*7 or more"):
        overscan.levels_along([strip], "rows", ReductionRecipe(model="spline", order=3))


def test_a_gap_of_the_levels_limits_the_pieces_of_a_spline():
    levels = np.arange(60.0)
    levels[12:58] = np.nan
    problem = r"too few good levels for a spline of 9 pieces .found 9.; allowed: at most"
    with pytest.raises(FrameError, match=problem) as caught:
        overscan.smooth_levels(levels, ReductionRecipe(model="spline", order=9))
    most = 3
    assert f"at most {most};" in str(caught.value)
    smooth = overscan.smooth_levels(levels, ReductionRecipe(model="spline", order=most))
    np.testing.assert_allclose(smooth, np.arange(60.0), atol=1e-9)


@pytest.mark.parametrize("along", ["rows", "columns", "frame"])
def test_noise_is_that_of_a_pixel(along):
    rng = np.random.default_rng(12)
    drift = np.zeros((2000, 1)) if along == "frame" else 30 * rng.standard_normal((2000, 1))
    strips = [1100 + drift + 3.0 * rng.standard_normal((2000, k)) for k in (4, 9)]
    strips[0][::50, 1] += 500  # cosmic rays in a column
    if along == "columns":
        strips = [strip.T for strip in strips]
    noise = overscan.noise_about_levels(strips, along)
    # 26,000 pixels: 0.013; the outliers draw the means of their rows along, which drop out whole.
    assert noise == pytest.approx(3.0, abs=0.05)


def test_noise_on_top_of_a_high_level_is_still_seen():
    rng = np.random.default_rng(3)
    strip = (1_500_000_000 + np.rint(5 * rng.standard_normal((500, 9)))).astype("int32")
    assert overscan.noise_about_levels([strip], "rows") == pytest.approx(5.0, rel=0.05)


def test_noise_of_a_single_column_is_not_known():
    assert np.isnan(overscan.noise_about_levels([np.ones((9, 1))], "rows"))


# -- flags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype", "saturation", "flag"),
    [
        (65535, "uint16", None, "saturated"),
        (60000, "uint16", 58000, "saturated"),
        (60000, "uint16", None, "dead"),
        (32767, "int16", None, "saturated"),
        (0, "uint16", None, "dead"),
        (65535, "int32", None, "saturated"),
        (65535, "float32", None, "saturated"),
        (1047.5, "float32", None, "dead"),
    ],
)
def test_amplifiers_that_are_constant_are_flagged(value, dtype, saturation, flag):
    values = raw_frame(dtype) // (2 if dtype != "float32" else 1)
    values[:, :20] = value
    one = amplifier("1:20,1:23", name="one", saturation=saturation)
    two = amplifier("21:40,1:23", name="two", place="21:40,1:23")
    _, result = reduce_pixels(values, geometry(SHAPE, one, two))
    assert result.flags == {"one": flag}


def test_an_amplifier_with_a_saturated_half_is_not_flagged():
    values = raw_frame("uint16") // 2
    values[:11] = 65535
    _, result = reduce_pixels(values, geometry(SHAPE, amplifier("1:40,1:23")))
    assert result.flags == {}


@pytest.mark.parametrize(
    ("value", "flag"), [(4095, "saturated"), (16383, "saturated"), (2047, "dead"), (4094, "dead")]
)
def test_an_amplifier_of_one_value_is_saturated_at_the_top_of_a_converter_of_12_bits_or_more(
    value, flag
):
    sample = np.full((4, 5), value, np.int32)
    assert flaws.flag_of(sample, 0, amplifier("1:32,1:23", "36:40,1:23")) == flag
