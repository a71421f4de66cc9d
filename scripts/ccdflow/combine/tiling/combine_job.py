"""The task of a combination, and the memory that it needs for tiles of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ccdflow.combine.clipping import PixelNoise
from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.noise import NoiseModel
from ccdflow.combine.preparation import Preparation
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.errors import UserError

TILE_BYTES = 16_000_000
"""Bytes of a thread's working set. It is larger than a level-2 cache, because threads wait for each
other at each call of numpy: a quarter takes 20 % more time, and four times as much 15 % more."""

LEAST_WIDTH = 64
"""Least number of pixels of a tile: in narrower ones calls would take longer than arithmetic."""

COUNT_TYPE = np.dtype(np.int16)
"""The type of the counts of the result."""

UNCERTAINTY_TYPE = np.dtype(np.float32)
"""The type of the uncertainties of the result."""

MASK_TYPE = np.dtype(np.int16)
"""The type of the mask of the result, and of the masks of the members."""

# Arrays of the members' values in their own type: as read, as prepared, and room to sort them.
_ARRAYS_OF_VALUES = 3
# Flags of a value while rejection grows, a byte each: whether it is rejected, and whether a
# neighbour is.
_GROWTH_BYTES = 2
# Bytes of a pixel beside its values, rounded up: sums, centres, limits, spreads, counts and flags.
_PIXEL_BYTES = 100
# Bytes of a pixel for the noise model, rounded up: float64 arrays of the variance without light,
# the variance by light, the expected light, the dark charge, and the limits that follow from them.
_NOISE_BYTES = 60
# Bytes of a value that is solved exactly, rounded up: eight float64 arrays, of the value as read,
# masked and sorted, of its deviation, variance and light, and of its flags.
_EXACT_BYTES = 64

# Pixels of a member that are read at once: with fewer the calls take longer than the pixels.
_READ_PIXELS = 16_384
# Pixels that may be clipped are solved in groups of about this many values: few enough that each
# group reuses the memory of the last one.
_DOUBTFUL_VALUES = 16_000


class TooLittleMemory(UserError):
    """The allowed memory is too small.

    Parameters
    ----------
    job : CombineJob
    memory : int
        Allowed memory, in bytes.
    bytes_needed : int
        Sufficient memory, in bytes.

    Attributes
    ----------
    bytes_needed : int
        Sufficient memory, in bytes.
    """

    def __init__(self, job, memory, bytes_needed):
        self.bytes_needed = bytes_needed
        super().__init__(
            f"the memory is too small to combine {job.n} frames of {job.size} pixels",
            keyword="memory",
            value=memory,
            allowed=f"{bytes_needed} bytes or more",
            remedy="raise `memory`, or combine fewer frames",
        )


@dataclass(frozen=True)
class CombineJob:
    """The task of a combination, independent of threads and memory.

    Attributes
    ----------
    read : callable
        ``read(index, start, out)`` fills `out` with the pixels of a member from `start` on.
    n : int
        Number of members.
    shape : tuple of int
        (ny, nx) of the image.
    source, dtype : numpy.dtype
        Type of the members' pixels, and that of the image.
    recipe : CombineRecipe
        Resolved: not ``auto``.
    preparation : Preparation
    noise : NoiseModel or None
        Needed if the recipe clips by noise, and for an `uncertainty_source` of ``"noise"``.
    uncertainty_source : str or None
        ``"noise"``, ``"scatter"`` or None.
    n_sample_rows : int
        Approximate number of rows of every member that are sampled.
    """

    read: Callable[[int, int, np.ndarray], None]
    n: int
    shape: tuple[int, int]
    source: np.dtype
    dtype: np.dtype
    recipe: CombineRecipe
    preparation: Preparation
    noise: NoiseModel | None
    uncertainty_source: str | None
    n_sample_rows: int

    @property
    def size(self):
        """Number of pixels of the image."""
        return self.shape[0] * self.shape[1]

    @property
    def halo(self):
        """Number of rows above and below a tile from which a rejection may grow into the tile."""
        return self.recipe.grow if self.recipe.clip is not None else 0

    @property
    def width_step(self):
        """Pixels of which the width of a tile is a multiple: a whole row if rejection grows."""
        return self.shape[1] if self.halo else 1

    def rows(self):
        """Return the sampled rows of the members."""
        itemsize = self.source.itemsize
        return sampled_rows(*self.shape, self.n, rows_wanted=self.n_sample_rows, itemsize=itemsize)

    def result_bytes(self):
        """Return the bytes of the results."""
        sample_bytes = self.n * len(self.rows()) * self.shape[1] * self.source.itemsize
        pixel_bytes = self.dtype.itemsize + COUNT_TYPE.itemsize
        pixel_bytes += UNCERTAINTY_TYPE.itemsize if self.uncertainty_source else 0
        pixel_bytes += MASK_TYPE.itemsize if self.preparation.has_masks else 0
        return self.size * pixel_bytes + sample_bytes

    def n_doubtful_pixels(self):
        """Return the number of pixels that are solved together by the exact arithmetic."""
        return max(_DOUBTFUL_VALUES // self.n, LEAST_WIDTH)

    def bytes_needed(self, width, threads):
        """Return the bytes that tiles of a width need, results included.

        Parameters
        ----------
        width : int
            Pixels of a tile.
        threads : int
            Tiles that are worked on at a time.

        Returns
        -------
        int
        """
        value_bytes = _ARRAYS_OF_VALUES * self.source.itemsize
        value_bytes += MASK_TYPE.itemsize if self.preparation.has_masks else 0
        value_bytes += _GROWTH_BYTES if self.halo else 0
        pixel_bytes = self.n * value_bytes + _PIXEL_BYTES
        pixel_bytes += 0 if self.noise is None else _NOISE_BYTES
        margin = 2 * self.halo * self.shape[1]
        doubtful_bytes = self.n_doubtful_pixels() * (_EXACT_BYTES * self.n + _PIXEL_BYTES)
        return self.result_bytes() + threads * (doubtful_bytes + (width + margin) * pixel_bytes)

    def tile_width(self, threads, memory):
        """Return the number of pixels of a tile: by `TILE_BYTES`, or fewer if the memory is small.

        Parameters
        ----------
        threads : int
        memory : int
            Bytes.

        Returns
        -------
        int

        Raises
        ------
        TooLittleMemory
            If the memory does not suffice for the narrowest tile.
        """
        step, fixed_bytes = self.width_step, self.bytes_needed(0, threads)
        widest = (memory - fixed_bytes) // (self.bytes_needed(1, threads) - fixed_bytes)
        narrowest = step * -(-LEAST_WIDTH // step)
        if widest < narrowest:
            raise TooLittleMemory(self, memory, self.bytes_needed(narrowest, threads))
        width_of_cache = TILE_BYTES // (_ARRAYS_OF_VALUES * self.n * self.source.itemsize)
        return max(min(widest, width_of_cache, self.size) // step * step, narrowest)

    def n_tiles_of_a_read(self, width, threads, memory):
        """Return the number of tiles that are read at once, one or as many as the memory allows.

        Parameters
        ----------
        width : int
            Pixels of a tile.
        threads : int
        memory : int
            Bytes.

        Returns
        -------
        int
        """
        read_bytes = threads * self.n * width * self.source.itemsize
        bytes_free = memory - self.bytes_needed(width, threads)
        tiles = _READ_PIXELS // width if not self.halo else 1
        return max(1, min(tiles, 1 + bytes_free // read_bytes, self.size // (threads * width)))

    def noise_at(self, positions):
        """Return the noise of some pixels; None without a model.

        Parameters
        ----------
        positions : numpy.ndarray of shape (k,), int, or slice
            Pixels of the flattened image. By indices the result is float64, by a slice it is of the
            type of the members.

        Returns
        -------
        ccdflow.combine.clipping.PixelNoise or None
        """
        if self.noise is None:
            return None
        if isinstance(positions, slice):
            dtype = self.preparation.dtype
            terms = self.noise.uniform_terms(dtype)
            read_variance, photon_slope = terms or self.noise.terms(
                positions.start, positions.stop, dtype
            )
            expected_light = self.noise.expected_light_between(
                positions.start, positions.stop, self.preparation.dtype
            )
        else:
            read_variance, photon_slope = self.noise.terms_at(positions)
            expected_light = self.noise.expected_light_at(positions)
        charge = self.preparation.charge(positions)
        dark, factors = (None, None) if charge is None else charge
        return PixelNoise(
            read_variance=read_variance,
            photon_slope=photon_slope,
            levels=self.preparation.levels,
            dark=dark,
            factors=factors,
            expected_light=expected_light,
        )
