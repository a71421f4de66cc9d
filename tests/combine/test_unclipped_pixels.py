"""Proof without sorting that nothing is clipped: never wrong, and found for most pixels."""

import numpy as np
import pytest

from ccdflow.combine import unclipped_pixels
from ccdflow.combine.clipping import kept_mask
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.ordering import Ordering

WIDTH = 500


def normal_values(rng, n):
    """Return normal values."""
    return rng.normal(1000, 4, (n, WIDTH))


def with_one_far(rng, n):
    """One value of each pixel just below the limit or above it."""
    values = rng.normal(30, 5, (n, WIDTH))
    values[n // 3] = np.linspace(45, 65, WIDTH)
    return values


def two_level_values(rng, n):
    """From no value to all of them at the upper level: the median changes sides."""
    return np.where(np.arange(n)[:, None] < np.linspace(0, n, WIDTH), 107, 100) + rng.normal(
        0, 1, (n, WIDTH)
    )


def whole_number_values(rng, n):
    """Return values of few whole numbers."""
    return np.rint(rng.normal(0, 0.8, (n, WIDTH)))


def skewed_noise(rng, n):
    """Return exponentially distributed values."""
    return rng.exponential(3, (n, WIDTH))


def equal_values(rng, n):
    """Return values that are all equal."""
    return np.full((n, WIDTH), 7.25)


def not_finite(rng, n):
    """Return normal values, some of them NaN or infinite."""
    values = normal_values(rng, n)
    values[5, ::3], values[6, 1::3], values[7, 1::3] = np.nan, np.inf, -np.inf
    return values


SORTS = (
    normal_values, with_one_far, two_level_values, whole_number_values, skewed_noise, equal_values,
    not_finite,
)  # fmt: skip


def proofs(values, clip):
    """Return the masks of pixels without clipped values: by the proof, by the exact rule."""
    n, width = values.shape
    with np.errstate(all="ignore"):
        mean = np.add.reduce(values, axis=0, dtype=np.float64) / n
        order = Ordering(n, width, values.dtype)
        proven = unclipped_pixels.is_unclipped_of_many(values, mean, order, clip)
        kept = kept_mask(values.astype(np.float64), CombineRecipe(clip=clip, clip_by="mad"))
    return proven, kept.all(axis=0)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(("n", "clip"), [(100, 5.0), (201, 3.0), (300, 2.0)])
def test_nothing_is_clipped_where_that_is_proved(sort, n, clip):
    for seed in range(5):
        values = sort(np.random.default_rng(seed), n).astype(np.float32)
        proven, unclipped = proofs(values, clip)
        assert not np.any(proven & ~unclipped)
        if sort is equal_values:
            # A MAD of 0 proves nothing.
            assert not proven.any()
            assert unclipped.all()
        else:
            n_proven = np.count_nonzero(proven)
            assert n_proven >= 0.85 * np.count_nonzero(unclipped)
            # At 2 sigma most of these sorts of pixels have a value beyond the limit each.
            assert proven.any() == unclipped.any()
            if clip == 5.0:
                assert n_proven > 100


@pytest.mark.parametrize("n", [100, 101, 300])
def test_counting_proves_no_pixel_more_than_sorting_and_the_rest_is_sorted(n, monkeypatch):
    values = with_one_far(np.random.default_rng(3), n).astype(np.float32)
    proven, unclipped = proofs(values, 5.0)
    monkeypatch.setattr(unclipped_pixels, "_LEAST_COUNTED_MEMBERS", n + 1)
    sorted_proofs, _ = proofs(values, 5.0)
    assert np.array_equal(proven, sorted_proofs)
    # For an even number the sorted values bound the MAD by the lower middle deviation.
    assert np.count_nonzero(proven != unclipped) <= 0.02 * WIDTH
    assert 100 < np.count_nonzero(unclipped) < 400


def test_most_pixels_of_many_members_are_not_sorted(monkeypatch):
    sorted_pixels = []
    by_sorting = unclipped_pixels._is_unclipped_of_sorted

    def noting(ordered, clip):
        """Note the number of pixels that are sorted, and go on."""
        sorted_pixels.append(len(ordered))
        return by_sorting(ordered, clip)

    monkeypatch.setattr(unclipped_pixels, "_is_unclipped_of_sorted", noting)
    proven, unclipped = proofs(normal_values(np.random.default_rng(2), 200).astype(np.float32), 5.0)
    assert np.array_equal(proven, unclipped)
    assert 0 < sum(sorted_pixels) < 0.2 * WIDTH


@pytest.mark.parametrize("centre", [985.0, 999.0, 1000.0])
def test_the_proof_by_counts_holds_for_any_centre(centre):
    values = normal_values(np.random.default_rng(5), 200).astype(np.float32)
    values[0] = np.linspace(1010, 1030, WIDTH)
    proven = unclipped_pixels.is_unclipped_by_counts(
        values, np.full(WIDTH, centre, np.float32), 5.0, np.empty(values.shape, bool)
    )
    _, unclipped = proofs(values, 5.0)
    assert not np.any(proven & ~unclipped)
    assert proven.any() == (centre > 990)
