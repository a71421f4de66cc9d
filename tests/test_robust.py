"""The median is numpy's, to the last bit."""

import numpy as np
import pytest

from ccdflow.robust import median


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i2", ">f4", ">i2", "i8"])
@pytest.mark.parametrize("shape", [(1,), (2,), (7, 3), (1000,), (1001,), (64, 130)])
def test_median_is_that_of_numpy(dtype, shape):
    values = np.random.default_rng(len(shape)).normal(1000, 300, shape).astype(dtype)
    before = values.copy()
    found, expected = median(values), np.median(values)
    assert found == expected
    assert found.dtype == expected.dtype.newbyteorder("=")
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
