"""The median is numpy's, to the last bit."""

import numpy as np
import pytest
from scipy import special, stats

from ccdflow.robust import (
    chi_square_limit,
    column_medians,
    is_median_at_least,
    median,
    median_of_each_pixel,
    median_of_numbers,
    normal_deviate,
    percentile,
    row_medians,
)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i2", ">f4", ">i2", "i8"])
@pytest.mark.parametrize("shape", [(1,), (2,), (7, 3), (1000,), (1001,), (64, 130)])
def test_median_is_that_of_numpy(dtype, shape):
    values = np.random.default_rng(len(shape)).normal(1000, 300, shape).astype(dtype)
    original_values = values.copy()
    result, expected = median(values), np.median(values)
    assert result == expected
    assert result.dtype == expected.dtype.newbyteorder("=")
    assert np.array_equal(values, original_values)


# From so many values on the median lies between two values of a sample.
MANY_VALUES = 1 << 18
NORMAL = np.random.default_rng(8).normal(0, 1, MANY_VALUES + 1).astype("f4")


KINDS_OF_MANY_VALUES = pytest.mark.parametrize(
    "values",
    [
        NORMAL,
        np.sort(NORMAL),
        np.maximum(NORMAL, 0),
        np.minimum(NORMAL, 0),
        np.round(NORMAL),
        np.where(NORMAL > 2, NORMAL, 3.5),
        np.where(NORMAL > 0.2, np.inf, NORMAL),
        np.repeat(np.float32([1, 2]), [MANY_VALUES // 2, MANY_VALUES // 2 + 1]),
        # Every 17th value is in the sample, which has none of the other values.
        np.where(np.arange(MANY_VALUES + 1) % 17 == 0, 100 + NORMAL, NORMAL),
        np.where(np.arange(MANY_VALUES + 1) % 17 == 0, np.float32(-100), NORMAL),
        np.where(np.arange(MANY_VALUES + 1) % 17 == 0, np.float32(0.7), NORMAL),
    ],
    ids=[
        "normal", "sorted", "half are lowest", "half are highest", "whole numbers", "most equal",
        "infinite", "two", "another sample", "one lower value", "one higher value",
    ],
)  # fmt: skip


@KINDS_OF_MANY_VALUES
@pytest.mark.parametrize("size", [MANY_VALUES, MANY_VALUES + 1])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
def test_median_of_many_values_is_that_of_numpy(values, dtype, size):
    values = values[:size].astype(dtype)
    result, expected = median(values), np.median(values)
    assert result == expected
    assert result.dtype == expected.dtype.newbyteorder("=")


@KINDS_OF_MANY_VALUES
@pytest.mark.parametrize("percent", [0.1, 25, 50, 99, 99.9])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_percentile_of_many_values_is_that_of_numpy(values, percent, dtype):
    values = values[:MANY_VALUES].astype(dtype)
    result, expected = percentile(values, percent), np.percentile(values, percent)
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("size", [1, 2, 100, 101])
def test_percentile_of_few_values_is_that_of_numpy(size):
    assert percentile(NORMAL[:size], 99) == np.percentile(NORMAL[:size], 99)


def test_percentile_of_many_values_with_a_missing_one_is_missing():
    assert np.isnan(percentile(np.where(np.arange(MANY_VALUES + 1) == 7, np.nan, NORMAL), 99))


@pytest.mark.parametrize("values", [NORMAL, np.maximum(NORMAL, 0), np.minimum(NORMAL, 0)])
@pytest.mark.parametrize("place", [0, 5, MANY_VALUES])
def test_median_of_many_values_with_a_missing_one_is_missing(values, place):
    values = values.copy()
    values[place] = np.nan
    assert np.isnan(median(values))


@pytest.mark.parametrize("values", [NORMAL, np.maximum(NORMAL, 0), np.minimum(NORMAL, 0)])
def test_median_of_many_values_is_selected_from_few_of_them(values, monkeypatch):
    """numpy's selection takes ten times longer where half of the values are the lowest."""
    sizes, partition = [], np.partition

    def note_size(candidates, place):
        sizes.append(candidates.size)
        return partition(candidates, place)

    monkeypatch.setattr(np, "partition", note_size)
    images = np.tile(values, 8)
    median(images)
    (size,) = sizes
    assert 0 < size < images.size / 20


def test_median_of_a_view_with_steps():
    values = np.arange(60.0).reshape(6, 10)[::2, ::3]
    assert median(values) == np.median(values)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_median_with_a_missing_value_is_missing(size):
    values = np.arange(size, dtype="f4")
    values[size // 3] = np.nan
    assert np.isnan(median(values))


def test_median_of_nothing_is_missing():
    assert np.isnan(median(np.zeros((0, 3))))


@pytest.mark.parametrize("values", [[np.inf, 1.0, 2.0, np.inf], [-np.inf, 1.0], [np.inf, 0, 3]])
def test_median_of_infinite_values_is_that_of_numpy(values):
    assert median(np.array(values)) == np.median(values)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n", [1, 2, 3, 12, 51])
def test_median_of_each_pixel_is_that_of_numpy(n, dtype):
    frames = np.random.default_rng(n).normal(1000, 300, (n, 5, 33)).astype(dtype)
    original_frames = frames.copy()
    result, expected = median_of_each_pixel(frames), np.median(frames, axis=0)
    assert np.array_equal(result, expected)
    assert result.dtype == expected.dtype
    assert np.array_equal(frames, original_frames)


def test_the_median_of_each_pixel_leaves_missing_values_out_or_keeps_them():
    frames = np.random.default_rng(5).normal(1000, 300, (5, 3, 4)).astype("f4")
    frames[:2, 1, 2] = frames[:, 0, 0] = np.nan
    assert np.array_equal(median_of_each_pixel(frames)[1, 2], np.nanmedian(frames[:, 1, 2]))
    assert np.isnan(median_of_each_pixel(frames)[0, 0])
    assert np.isnan(median_of_each_pixel(frames, median_function=np.median)[1, 2])


@pytest.mark.parametrize(
    "shape",
    [(1, 5), (2, 3), (3, 11), (4, 9), (7, 5), (8, 6), (9, 4), (24, 7), (341, 25), (1024, 128)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_medians_of_columns_are_numpys_to_the_last_bit(shape, dtype):
    lines = np.random.default_rng(4).normal(1000, 3, shape).astype(dtype)
    lines[0, 1], lines[-1, 2] = np.nan, np.inf
    medians = column_medians(lines)
    assert medians.dtype == dtype
    assert np.array_equal(medians, np.median(lines, axis=0), equal_nan=True)
    assert np.array_equal(row_medians(lines), np.median(lines, axis=1), equal_nan=True)
    assert median_of_numbers(lines) == np.nanmedian(lines)


def test_medians_of_no_lines_are_nan():
    assert np.isnan(median_of_numbers(np.full(3, np.nan)))
    assert np.isnan(row_medians(np.zeros((2, 0)))).tolist() == [True] * 2
    assert np.isnan(column_medians(np.zeros((0, 3)))).tolist() == [True] * 3


@pytest.mark.parametrize(
    "values", [[1, 2, 65535], [65535] * 4, [3, 65535, 65535, 3], [1.0, np.nan, 9.0], [5.0], []]
)
def test_whether_a_median_reaches_a_limit(values):
    for limit in (1, 5, 30000, 32769, 32770, 65535, 65536):
        expected = bool(median(np.array(values)) >= limit)
        assert is_median_at_least(np.array(values), limit) is expected


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 30, 75, 500, 2001])
def test_limits_of_chi_square_are_those_of_scipy(freedom):
    for probability in (1e-12, 1e-6, 0.0027, 0.5, 0.9):
        expected = special.chdtri(freedom, probability)
        assert chi_square_limit(freedom, probability) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("freedom", "probability"), [(0, 0.5), (3, 0.0), (3, 0.91), (3, np.nan)])
def test_a_limit_of_chi_square_needs_freedom_and_a_probability(freedom, probability):
    with pytest.raises(
        ValueError, match=rf"no chi\^2 of {freedom} degrees of freedom and probability"
    ):
        chi_square_limit(freedom, probability)


@pytest.mark.parametrize("freedom", [2, 5, 30, 1000])
@pytest.mark.parametrize("t", [-4.0, 0.0, 0.5, 2.0, 6.0])
def test_a_normal_deviate_is_exceeded_as_rarely_as_the_t_of_either_sign(t, freedom):
    expected = stats.norm.isf(stats.t.sf(abs(t), freedom))
    assert normal_deviate(t, freedom) == pytest.approx(expected, abs=0.05)
