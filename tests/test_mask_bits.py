"""Masks: the pixels that are set in them."""

import numpy as np
import pytest

from ccdflow.mask_bits import flagged_indices


@pytest.mark.parametrize("size", [0, 3, 4, 5, 1001])
@pytest.mark.parametrize("part", [0.0, 0.01, 1.0])
def test_set_pixels_of_a_mask_are_found_wherever_they_are(size, part):
    rng = np.random.default_rng(size)
    mask = np.where(rng.random(size) < part, rng.integers(1, 2**14, size), 0).astype(np.int16)
    assert np.array_equal(flagged_indices(mask), np.flatnonzero(mask))
