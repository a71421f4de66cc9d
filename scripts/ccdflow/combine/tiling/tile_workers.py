"""Tiles of pixels: a few threads read, prepare and combine them within a given memory.

Sums run in float64 in the order of the members, so the result depends on neither the number of
threads nor the memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ccdflow.combine.clipping import combine_kept, estimate_pixels, kept_mask, solve_exactly
from ccdflow.combine.noise import median_variance_over_mean
from ccdflow.combine.ordering import Ordering
from ccdflow.combine.tiling.combine_job import COUNT_TYPE, MASK_TYPE, UNCERTAINTY_TYPE
from ccdflow.mask_bits import NO_DATA


class Totals:
    """The results of a combination, in arrays that each thread fills for its own pixels.

    Parameters
    ----------
    job : ccdflow.combine.tiling.combine_job.CombineJob

    Attributes
    ----------
    image : numpy.ndarray of shape (k,), dtype of the result
        The combined pixels, flattened.
    count : numpy.ndarray of shape (k,), int16
        Number of values that were combined.
    uncertainty : numpy.ndarray of shape (k,), float32, or None
        Standard errors; None if none are made.
    mask : numpy.ndarray of shape (k,), int16, or None
        The mask; None if the members have no masks.
    rows : numpy.ndarray of shape (r,), int
        The rows of the members that are kept.
    nx : int
        Pixels of a row.
    sample : numpy.ndarray of shape (n, r, nx), dtype of the members
        These rows of each member.
    n_clipped, n_invalid : numpy.ndarray of shape (n,), int64
        Number of each member's values that were rejected, and that were not finite.
    n_empty : int
        Number of pixels without a value.
    """

    def __init__(self, job):
        self.image = np.empty(job.size, job.dtype)
        self.count = np.empty(job.size, COUNT_TYPE)
        self.uncertainty = np.empty(job.size, UNCERTAINTY_TYPE) if job.uncertainty_source else None
        self.mask = np.zeros(job.size, MASK_TYPE) if job.preparation.has_masks else None
        self.rows = job.rows()
        self.nx = job.shape[1]
        self.sample = np.empty((job.n, len(self.rows), self.nx), job.source.newbyteorder("="))
        self.n_clipped = np.zeros(job.n, np.int64)
        self.n_invalid = np.zeros(job.n, np.int64)
        self.n_empty = 0

    def keep_sample(self, values, start, stop):
        """Copy the sampled rows among some prepared values.

        Parameters
        ----------
        values : numpy.ndarray of shape (n, stop - start), float32 or float64
        start, stop : int
            Pixels of the flattened image.
        """
        row_bounds = np.searchsorted(self.rows, (start // self.nx, -(-stop // self.nx)))
        for k in range(*row_bounds):
            row_start = self.rows[k] * self.nx
            low, high = max(start, row_start), min(stop, row_start + self.nx)
            self.sample[:, k, low - row_start : high - row_start] = values[
                :, low - start : high - start
            ]

    def put(self, job, positions, exact):
        """Store exact results.

        Parameters
        ----------
        job : ccdflow.combine.tiling.combine_job.CombineJob
        positions : numpy.ndarray of shape (k,), int
            Pixels of the flattened image.
        exact : ccdflow.combine.clipping.ExactResults
            Their values, counts and spreads.
        """
        self.image[positions] = exact.value
        self.count[positions] = exact.count
        if job.uncertainty_source == "noise":
            self.uncertainty[positions] = np.sqrt(exact.variance)
        elif job.uncertainty_source:
            self.uncertainty[positions] = exact.spread / np.sqrt(exact.count)


def run_tiles(job, threads, memory):
    """Combine all pixels.

    Parameters
    ----------
    job : ccdflow.combine.tiling.combine_job.CombineJob
    threads : int
    memory : int
        Bytes.

    Returns
    -------
    Totals
    """
    width = job.tile_width(threads, memory)
    n_tiles = job.n_tiles_of_a_read(width, threads, memory)
    totals = Totals(job)
    reads = deque(range(0, job.size, width * n_tiles))
    worker_class = _GrowingWorker if job.halo else _Worker
    workers = [worker_class(job, width, n_tiles, totals, reads) for _ in range(threads)]
    if threads == 1:
        workers[0].run()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for running in [pool.submit(worker.run) for worker in workers]:
                running.result()
    totals.n_empty = sum(worker.n_empty for worker in workers)
    totals.n_clipped = sum(worker.n_clipped for worker in workers)
    totals.n_invalid = sum(worker.n_invalid for worker in workers)
    return totals


class _Worker:
    """One thread's buffers, reused for every tile, and its counts.

    Few pixels need the exact arithmetic: they are collected over tiles and solved together.

    Parameters
    ----------
    job : ccdflow.combine.tiling.combine_job.CombineJob
    width : int
        Pixels of a tile.
    n_tiles : int
        Tiles that are read at once.
    totals : Totals
        Shared by all workers.
    reads : collections.deque of int
        First pixels of the reads that no worker has taken yet; shared by all workers.

    Attributes
    ----------
    stored, raw : numpy.ndarray of shape (n, m), dtype of the files
        The pixels of a read, and those of one of its tiles.
    values : numpy.ndarray of shape (n, m), native dtype of the members
        The prepared pixels of a tile.
    bits : numpy.ndarray of shape (n, m), int16, or None
        Masks of the pixels of a tile; None if the members have no masks.
    ordering : ccdflow.combine.ordering.Ordering
        Sorts the values of a tile.
    positions : numpy.ndarray of shape (k,), int64
        Pixels of the flattened image that wait for the exact arithmetic.
    doubtful : numpy.ndarray of shape (n, k), float64
        Values of the waiting pixels.
    doubtful_bits : numpy.ndarray of shape (n, k), int16, or None
        Masks of the waiting pixels; None if the members have no masks.
    n_waiting : int
        Number of waiting pixels.
    n_clipped, n_invalid, n_empty
        As in `Totals`, of this worker's pixels.
    """

    def __init__(self, job, width, n_tiles, totals, reads):
        self.job = job
        self.width = width
        self.totals = totals
        self.reads = reads
        n, pixels_loaded = job.n, width + 2 * job.halo * job.shape[1]
        has_masks = job.preparation.has_masks
        self.stored = np.zeros((n, pixels_loaded * n_tiles), job.source)
        self.raw = self.stored[:, :pixels_loaded]
        self.values = np.zeros((n, pixels_loaded), job.source.newbyteorder("="))
        self.bits = np.zeros((n, pixels_loaded), MASK_TYPE) if has_masks else None
        self.ordering = Ordering(n, pixels_loaded, self.values.dtype)
        self.positions = np.empty(job.n_doubtful_pixels(), np.int64)
        self.doubtful = np.empty((n, len(self.positions)), np.float64)
        self.doubtful_bits = np.zeros((n, len(self.positions)), MASK_TYPE) if has_masks else None
        self.n_waiting = 0
        self.n_clipped = np.zeros(n, np.int64)
        self.n_invalid = np.zeros(n, np.int64)
        self.n_empty = 0

    def run(self):
        """Combine pixels until no read is left; an error ends the work of all threads."""
        try:
            with np.errstate(all="ignore"):
                while (start := _next_read(self.reads)) is not None:
                    self.combine_from(start)
                self.solve_doubtful()
        finally:
            self.reads.clear()

    def combine_from(self, first):
        """Combine the pixels from `first` on, as many as are read at once."""
        end = min(first + self.stored.shape[1], self.job.size)
        self.read(first, end)
        for start in range(first, end, self.width):
            stop = min(start + self.width, end)
            self.raw = self.stored[:, start - first :][:, : self.width]
            self.prepare(start, stop)
            self.totals.keep_sample(self.values, start, stop)
            self.put_off(self.put_estimates(start, stop, start, stop), start)

    def read(self, start, stop):
        """Read the pixels from `start` to `stop`."""
        for index, line in enumerate(self.stored):
            self.job.read(index, start, line[: stop - start])

    def prepare(self, start, stop):
        """Prepare the pixels from `start` to `stop`.

        All tiles have the same width, and the end of the last one holds older values: in a tile of
        one pixel numpy would sum the members in another order.
        """
        job, width = self.job, stop - start
        np.copyto(self.values, self.raw)
        if self.bits is not None:
            job.preparation.read_bits(self.values[:, :width], start, self.bits[:, :width])
        if job.preparation.changes_values:
            job.preparation.apply(self.values, slice(start, stop))
        if self.bits is not None:
            self.values[self.bits & job.preparation.bits != 0] = np.nan

    def put_estimates(self, low, high, start, stop):
        """Store estimates of the pixels from `start` to `stop`; return the pixels not proved.

        Parameters
        ----------
        low, high : int
            The loaded pixels, in the flattened image.
        start, stop : int
            The pixels that are stored.

        Returns
        -------
        numpy.ndarray of shape (k,), int
            Indices of the loaded pixels whose estimate is not proved, with those in the margins.
        """
        job, totals, width = self.job, self.totals, high - low
        noise = self.tile_noise(low, high)
        value, spread, is_proven = estimate_pixels(
            self.values,
            self.ordering,
            job.recipe,
            needs_spread=job.uncertainty_source == "scatter",
            noise=noise,
        )
        inner = slice(start - low, stop - low)
        totals.image[start:stop] = value[inner]
        totals.count[start:stop] = job.n
        if job.uncertainty_source == "scatter":
            np.divide(spread[inner], np.sqrt(job.n), out=totals.uncertainty[start:stop])
        elif job.uncertainty_source:
            variance = noise.variance_of_mean(value)
            if job.recipe.method == "median":
                variance *= median_variance_over_mean(job.n)
            np.sqrt(variance[inner], out=totals.uncertainty[start:stop], casting="same_kind")
        return np.flatnonzero(~is_proven[:width])

    def tile_noise(self, start, stop):
        """Return the noise of the loaded pixels, at the full width of a tile."""
        noise = self.job.noise_at(slice(start, stop))
        missing_columns = self.values.shape[1] - (stop - start)
        if noise is None or not missing_columns:
            return noise
        return noise.part(np.arange(self.values.shape[1]).clip(max=stop - start - 1))

    def prepared_values(self, columns, start):
        """Return the prepared values of some loaded pixels, not masked."""
        values = self.raw[:, columns].astype(self.values.dtype)
        if self.job.preparation.changes_values:
            self.job.preparation.apply(values, columns + start)
        return values

    def put_off(self, columns, start):
        """Keep the values of some pixels of the tile at `start` for `solve_doubtful`."""
        while len(columns):
            room = len(self.positions) - self.n_waiting
            columns_taken, columns = columns[:room], columns[room:]
            place = slice(self.n_waiting, self.n_waiting + len(columns_taken))
            self.doubtful[:, place] = self.prepared_values(columns_taken, start)
            if self.bits is not None:
                self.doubtful_bits[:, place] = np.take(self.bits, columns_taken, axis=1)
            self.positions[place] = columns_taken + start
            self.n_waiting = place.stop
            if self.n_waiting == len(self.positions):
                self.solve_doubtful()

    def solve_doubtful(self):
        """Store the exact results of the waiting pixels."""
        if not self.n_waiting:
            return
        positions = self.positions[: self.n_waiting]
        values = self.doubtful[:, : self.n_waiting]
        bits = None if self.bits is None else self.doubtful_bits[:, : self.n_waiting]
        noise = self.job.noise_at(positions)
        exact = solve_exactly(self.masked_values(values, bits), self.job.recipe, noise)
        self.finish(positions, values, bits, exact, noise)
        self.n_waiting = 0

    def masked_values(self, values, bits):
        """Return the values, with NaN where the masks exclude them."""
        if bits is None:
            return values
        return np.where(bits & self.job.preparation.bits != 0, np.nan, values)

    def finish(self, positions, values, bits, exact, noise):
        """Store exact results, and count the excluded values."""
        self.totals.put(self.job, positions, exact)
        self.n_clipped += exact.n_rejected
        self.n_invalid += exact.n_invalid
        if bits is None:
            self.n_empty += np.count_nonzero(exact.count == 0)
            return
        empty_places = np.flatnonzero(exact.count == 0)
        if len(empty_places):
            noise_of_empty = None if noise is None else noise.part(empty_places)
            self.put_masked(
                positions[empty_places],
                values[:, empty_places],
                bits[:, empty_places],
                noise_of_empty,
            )

    def put_masked(self, positions, values, bits, noise):
        """Store the combination of masked values in pixels that all members mask.

        The count of these pixels is 0, and their mask has the bits that all members have.
        """
        is_finite = np.isfinite(values)
        exact = combine_kept(values, is_finite, self.job.recipe, noise)
        self.totals.put(self.job, positions, exact)
        self.totals.count[positions] = 0
        is_empty = exact.count == 0
        common_bits = np.bitwise_and.reduce(np.where(is_finite, bits, -1), axis=0)
        self.totals.mask[positions] = np.where(is_empty, NO_DATA, common_bits)
        self.n_empty += np.count_nonzero(is_empty)


class _GrowingWorker(_Worker):
    """A worker whose tiles are whole rows with margins, because rejection grows to neighbours.

    Parameters
    ----------
    job, width, n_tiles, totals, reads
        See `_Worker`.

    Attributes
    ----------
    is_rejected, is_grown : numpy.ndarray of shape (n, m), bool
        The rejected values of a tile, and the values within reach of a rejected one.
    """

    def __init__(self, job, width, n_tiles, totals, reads):
        super().__init__(job, width, n_tiles, totals, reads)
        # Few values are rejected: their flags are set for a tile, and cleared after it.
        self.is_rejected = np.zeros(self.values.shape, bool)
        self.is_grown = np.zeros(self.values.shape, bool)

    def combine_from(self, start):
        """Combine the rows from pixel `start` on."""
        job = self.job
        margin = job.halo * job.shape[1]
        stop = min(start + self.width, job.size)
        low, high = max(start - margin, 0), min(stop + margin, job.size)
        self.read(low, high)
        self.prepare(low, high)
        self.totals.keep_sample(self.values[:, start - low :], start, stop)
        columns = self.put_estimates(low, high, start, stop)
        if len(columns):
            self.solve_loaded(columns, low, high, slice(start - low, stop - low))

    def solve_loaded(self, columns, low, high, inner):
        """Store the exact results of pixels that are not proved, and of those around rejections.

        Parameters
        ----------
        columns : numpy.ndarray of shape (k,), int
            Indices of the pixels among those loaded.
        low, high : int
            The loaded pixels, in the flattened image.
        inner : slice
            The loaded pixels without the margins, whose results are stored.
        """
        values = self.prepared_values(columns, low).astype(np.float64)
        bits = None if self.bits is None else np.take(self.bits, columns, axis=1)
        values_left = self.masked_values(values, bits)
        is_kept = kept_mask(values_left, self.job.recipe, self.job.noise_at(columns + low))
        member, place = np.nonzero(np.isfinite(values_left) & ~is_kept)
        rejected_indices = member, columns[place]
        neighbours = self.values_in_reach(*rejected_indices, high - low)
        self.is_rejected[rejected_indices] = self.is_grown[neighbours] = True
        columns = np.union1d(columns, neighbours[1])
        columns = columns[(columns >= inner.start) & (columns < inner.stop)]
        step = len(self.positions)
        for first in range(0, len(columns), step):
            self.solve_grown(columns[first : first + step], low)
        self.is_rejected[rejected_indices] = self.is_grown[neighbours] = False

    def solve_grown(self, columns, low):
        """Combine the values that rejection and growth leave; growth leaves at least one."""
        values = self.prepared_values(columns, low).astype(np.float64)
        bits = None if self.bits is None else np.take(self.bits, columns, axis=1)
        values_left = self.masked_values(values, bits)
        is_unrejected = np.isfinite(values_left) & ~self.is_rejected[:, columns]
        is_kept = is_unrejected & ~self.is_grown[:, columns]
        is_kept = np.where(is_kept.any(axis=0), is_kept, is_unrejected)
        noise = self.job.noise_at(columns + low)
        exact = combine_kept(values_left, is_kept, self.job.recipe, noise)
        self.finish(columns + low, values, bits, exact, noise)

    def values_in_reach(self, members, columns, width):
        """Return (members, columns) of the values to which the rejection of some values grows."""
        nx, reach = self.job.shape[1], self.job.recipe.grow
        steps = np.arange(-reach, reach + 1)
        y, x = np.divmod(columns, nx)
        y = (y[:, None, None] + steps[:, None]).repeat(len(steps), axis=2)
        x = (x[:, None, None] + steps).repeat(len(steps), axis=1)
        is_inside = (y >= 0) & (y < width // nx) & (x >= 0) & (x < nx)
        members = np.broadcast_to(members[:, None, None], y.shape)
        return members[is_inside], (y * nx + x)[is_inside]


def _next_read(reads):
    """Return the first pixel of the next read, and take it from the queue; None without one."""
    try:
        return reads.popleft()
    except IndexError:
        return None
