"""The median is numpy's, to the last bit."""

import numpy as np
import pytest
from scipy import special

from ccdflow.robust import (
    chi_square_limit,
    column_medians,
    is_median_at_least,
    median,
    median_of_each_pixel,
    median_of_numbers,
    row_medians,
)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i2", ">f4", ">i2", "i8"])
@pytest.mark.parametrize("shape", [(1,), (2,), (7, 3), (1000,), (1001,), (64, 130)])
def test_median_is_that_of_numpy(dtype, shape):
    values = np.random.default_rng(len(shape)).normal(1000, 300, shape).astype(dtype)
    before = values.copy()
    result, expected = median(values), np.median(values)
    assert result == expected
    assert result.dtype == expected.dtype.newbyteorder("=")
    assert np.array_equal(values, before)


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
    before = frames.copy()
    result, expected = median_of_each_pixel(frames), np.median(frames, axis=0)
    assert np.array_equal(result, expected)
    assert result.dtype == expected.dtype
    assert np.array_equal(frames, before)


def test_the_median_of_each_pixel_leaves_missing_values_out_or_keeps_them():
    frames = np.random.default_rng(5).normal(1000, 300, (5, 3, 4)).astype("f4")
    frames[:2, 1, 2] = frames[:, 0, 0] = np.nan
    assert np.array_equal(median_of_each_pixel(frames)[1, 2], np.nanmedian(frames[:, 1, 2]))
    assert np.isnan(median_of_each_pixel(frames)[0, 0])
    assert np.isnan(median_of_each_pixel(frames, median=np.median)[1, 2])


@pytest.mark.parametrize("shape", [(1, 5), (2, 3), (24, 7), (341, 25), (1024, 128)])
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
