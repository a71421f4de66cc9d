"""One image out of many frames: average or median of each pixel, with clipping.

Every frame is read once, a run of pixels at a time, by a few threads, within a given memory.
What clipping rejects is decided in float64, but only where it has to be: with the values of a
pixel in order, their median and median absolute deviation (MAD) cost little, and an estimate in
the members' own type proves for most pixels, with its error bound, that nothing lies beyond the
limit. Sums run in float64 in the order of the members, so the result depends neither on the
number of threads nor on the memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow.errors import FrameError, UserError

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution over its MAD (as in `astropy.stats.mad_std`)."""

MEDIAN_OVER_MEAN = np.sqrt(np.pi / 2)
"""Standard error of the median over that of the mean, for many values of a normal distribution."""

DEFAULT_MEMORY = 1_000_000_000
_TILE_BYTES = 4_000_000  # what one thread works on should stay in its level-2 cache
_MIN_WIDTH = 64  # pixels; narrower tiles would be all overhead
_OPEN_FILES = 200  # more members than this are opened for each read: descriptors are limited
_NETWORK_LIMIT = 16  # up to so many members a sorting network beats numpy's sort
_MAX_MEMBERS = np.iinfo(np.int16).max
_DOUBTFUL_VALUES = 16_000
_SAMPLE_BYTES = 12_600_000  # 128 rows of 12 LFC frames: as much as quality figures need


class TooLittleMemory(UserError):
    """The memory allowed does not suffice.

    Attributes
    ----------
    needed : int
        Bytes that would.
    """

    def __init__(self, job, memory, needed):
        self.needed = needed
        super().__init__(
            f"the memory is too small to combine {job.n} frames of {job.size} pixels",
            keyword="memory",
            value=memory,
            allowed=f"{needed} bytes or more",
        )


@dataclass(frozen=True)
class Recipe:
    """How the values of one pixel become one value.

    Parameters
    ----------
    method : {'average', 'median'}
        What is made of the values that are left.
    clip : float or None
        Values further than `clip` times 1.4826 MAD from the median are rejected; None rejects
        nothing. The default is the astropy CCD guide's.
    iterations : int
        How often clipping is repeated on what is left, at most. `ccdproc.combine` clips once.
    """

    method: str = "average"
    clip: float | None = 5.0
    iterations: int = 1

    def __post_init__(self):
        if self.method not in ("average", "median"):
            raise UserError(
                "unknown way to combine",
                keyword="method",
                value=self.method,
                allowed="'average' or 'median'",
            )
        if self.clip is not None and not 1 <= self.clip < np.inf:
            raise UserError(
                "the clipping limit is out of range",
                keyword="clip",
                value=self.clip,
                allowed="1 sigma or more, or nothing for no clipping",
            )
        if self.iterations < 1:
            raise UserError(
                "clipping has to be done at least once",
                keyword="iterations",
                value=self.iterations,
                allowed="1 or more",
            )

    def __str__(self):
        if self.clip is None:
            return self.method
        times = "once" if self.iterations == 1 else f"up to {self.iterations} times"
        return f"{self.method}, clipped {times} at {self.clip:g} sigma (MAD) about the median"


@dataclass(frozen=True)
class Member:
    """Where the pixels of one frame are: an uncompressed big-endian float image in a file.

    Parameters
    ----------
    path : path-like
        The file.
    offset : int
        Byte where the pixels begin.
    shape : tuple of int
        ``(ny, nx)``.
    dtype : {'>f4', '>f8'}
        Type of the pixels.
    """

    path: str | os.PathLike
    offset: int
    shape: tuple[int, int]
    dtype: str = ">f4"


@dataclass(frozen=True)
class Combined:
    """A combined image and what is known of how it came about.

    Parameters
    ----------
    image : numpy.ndarray
        Shape ``(ny, nx)``; NaN only where no member has a value, and only if that was allowed.
    count : numpy.ndarray of int16
        Shape ``(ny, nx)``: number of values behind each pixel.
    uncertainty : numpy.ndarray of float32 or None
        Shape ``(ny, nx)``: standard error of `image`, from the scatter of the values that were
        kept. For an average s / sqrt(count) with s the sample standard deviation
        (``ddof=1``; `ccdproc.combine` has ``ddof=0``, smaller by sqrt(1 - 1/count)); for a median
        sqrt(pi/2) 1.4826 MAD / sqrt(count). NaN where fewer than two values are left.
    clipped : numpy.ndarray of int64
        Shape ``(n,)``: how many pixels of each member were rejected as outliers.
    invalid : numpy.ndarray of int64
        Shape ``(n,)``: how many pixels of each member were NaN or infinite.
    empty : int
        Number of pixels for which no member has a value.
    sample : numpy.ndarray
        Shape ``(n, k, nx)``: some rows of every member as they were read, for figures that need
        the members one by one.
    sample_rows : numpy.ndarray of int
        Shape ``(k,)``: which rows, counted from 0.
    recipe : Recipe
        How it was combined.
    """

    image: np.ndarray
    count: np.ndarray
    uncertainty: np.ndarray | None
    clipped: np.ndarray
    invalid: np.ndarray
    empty: int
    sample: np.ndarray
    sample_rows: np.ndarray
    recipe: Recipe


def locate(path, *, hdu=0):
    """Find the pixels of a reduced frame.

    Parameters
    ----------
    path : path-like
        An uncompressed FITS file.
    hdu : int or str
        Number or EXTNAME of the image.

    Returns
    -------
    Member

    Raises
    ------
    FrameError
        If there is no such image, it is no plain two-dimensional float image, or the file ends
        before the pixels do.
    """
    try:
        with Path(path).open("rb") as file:
            header, offset = _find_hdu(file, hdu)
            size = file.seek(0, os.SEEK_END)
    except (OSError, EOFError) as error:
        raise FrameError(f"cannot be combined: {error}", file=path) from error
    if header.get("NAXIS") != 2 or header["BITPIX"] not in (-32, -64):
        raise FrameError(
            "cannot be combined: not a two-dimensional image of float32 or float64 pixels",
            file=path,
            keyword="BITPIX",
            value=header.get("BITPIX"),
        )
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0:
        raise FrameError("cannot be combined: the pixels are scaled", file=path, keyword="BSCALE")
    shape = (header["NAXIS2"], header["NAXIS1"])
    dtype = ">f4" if header["BITPIX"] == -32 else ">f8"
    needed = offset + shape[0] * shape[1] * np.dtype(dtype).itemsize
    if size < needed:
        raise FrameError(
            "cannot be combined: the file ends before its pixels do",
            file=path,
            value=size,
            allowed=f"{needed} bytes or more",
        )
    return Member(path, offset, shape, dtype)


def _find_hdu(file, wanted):
    """Return header and offset of the data of the HDU with this number or EXTNAME."""
    number = 0
    while True:
        try:
            header = fits.Header.fromfile(file)
        except EOFError:
            raise EOFError(f"there is no HDU {wanted!r}") from None
        offset = file.tell()
        if wanted in (number, header.get("EXTNAME")):
            return header, offset
        file.seek(offset + header.data_size_padded)
        number += 1


def combine(
    members,
    recipe=None,
    *,
    threads=2,
    memory=DEFAULT_MEMORY,
    dtype=np.float32,
    uncertainty=True,
    allow_empty=False,
    sample_rows=128,
):
    """Combine frames pixel by pixel, reading every frame once.

    NaN and infinite values count as rejected. With the default recipe and finite pixels the
    image is that of `ccdproc.combine` with the guide's arguments, after the cast to
    `dtype`. (In a pixel with a NaN ccdproc does not clip at all; here the rest is clipped.)

    Parameters
    ----------
    members : sequence of Member
        Where the frames are, all of one shape and type; in the order in which they are added up.
    recipe : Recipe, optional
        The guide's by default.
    threads : int
        How many threads to work with.
    memory : int
        Bytes that this function may take, results included, whatever the number of frames.
    dtype : numpy.dtype
        Type of the image: float32 or float64.
    uncertainty : bool
        Whether to work out the uncertainty.
    allow_empty : bool
        Pixels without any value are NaN with count 0 if true; if false they are an error.
    sample_rows : int
        About how many rows of every member to keep for `Combined.sample`.

    Returns
    -------
    Combined

    Raises
    ------
    UserError
        If the members do not fit each other, or the memory does not suffice.
    FrameError
        If a member cannot be read, or pixels are left without any value.
    """
    members = list(members)
    _check_members(members)
    if threads < 1:
        raise UserError("no thread to work with", keyword="threads", value=threads, allowed="1 up")
    first = members[0]
    with ExitStack() as stack:
        job = _Job(
            read=_file_reader(members, stack),
            n=len(members),
            shape=first.shape,
            source=np.dtype(first.dtype),
            dtype=np.dtype(dtype),
            recipe=recipe or Recipe(),
            uncertainty=uncertainty,
            allow_empty=allow_empty,
            sample_rows=sample_rows,
        )
        return _run(job, threads, memory)


def combine_arrays(stack, recipe=None, *, allow_empty=False, memory=DEFAULT_MEMORY):
    """Combine frames that are in memory already, by the same arithmetic as `combine`.

    Parameters
    ----------
    stack : numpy.ndarray
        Shape ``(n, ny, nx)``, float32 or float64.
    recipe, allow_empty, memory
        As for `combine`.

    Returns
    -------
    Combined
        With a sample of no rows.
    """
    n, ny, nx = stack.shape
    flat = stack.reshape(n, ny * nx)

    def read(index, start, out):
        np.copyto(out, flat[index, start : start + len(out)])

    job = _Job(
        read=read,
        n=n,
        shape=(ny, nx),
        source=stack.dtype,
        dtype=stack.dtype.newbyteorder("="),
        recipe=recipe or Recipe(),
        uncertainty=True,
        allow_empty=allow_empty,
        sample_rows=0,
    )
    return _run(job, 1, memory)


def sampled_rows(ny, nx, n, *, wanted=128, itemsize=4):
    """Rows that are kept of each of `n` frames: evenly spread, an odd number of rows apart.

    An even distance would see only one half of a pattern that alternates from row to row.

    Returns
    -------
    numpy.ndarray of int
        At most about `wanted` rows, fewer where there are very many frames.
    """
    affordable = _SAMPLE_BYTES // (n * nx * itemsize)
    wanted = min(wanted, max(affordable, min(16, 5 * affordable)))
    if wanted < 1:
        return np.arange(0)
    step = -(-ny // wanted)
    step += (step + 1) % 2
    return np.arange(min(step // 2, ny - 1), ny, step)


def _check_members(members):
    if not members:
        raise UserError("there is nothing to combine", allowed="one frame or more")
    if len(members) > _MAX_MEMBERS:
        raise UserError(
            "too many frames in one group", value=len(members), allowed=f"up to {_MAX_MEMBERS}"
        )
    first = members[0]
    if first.dtype not in (">f4", ">f8"):
        raise UserError(
            "unknown pixel type", file=first.path, value=first.dtype, allowed="'>f4' or '>f8'"
        )
    for member in members:
        if (member.shape, member.dtype) != (first.shape, first.dtype):
            raise UserError(
                f"shape or pixel type differs from that of {first.path}",
                file=member.path,
                value=(member.shape, member.dtype),
                allowed=f"{first.shape}, {first.dtype}",
            )


def _open(path):
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise FrameError(f"cannot be read: {error.strerror}", file=path) from error


def _pread(descriptor, member, start, out):
    """Fill `out`, shape (k,), with the pixels from `start` on."""
    view = memoryview(out).cast("B")
    position = member.offset + start * out.itemsize
    while len(view):
        try:
            got = os.preadv(descriptor, [view], position)
        except OSError as error:
            raise FrameError(f"cannot be read: {error.strerror}", file=member.path) from error
        if got == 0:
            raise FrameError("ends before its pixels do", file=member.path, value=position)
        view, position = view[got:], position + got


def _file_reader(members, stack):
    """Return ``read(index, start, out)``; files stay open until `stack` closes, if they are few."""
    if len(members) > _OPEN_FILES:

        def read(index, start, out):
            descriptor = _open(members[index].path)
            try:
                _pread(descriptor, members[index], start, out)
            finally:
                os.close(descriptor)

        return read

    descriptors = []
    for member in members:
        descriptors.append(_open(member.path))
        stack.callback(os.close, descriptors[-1])

    def read(index, start, out):
        _pread(descriptors[index], members[index], start, out)

    return read


@dataclass(frozen=True)
class _Job:
    """What is to be done, whatever the threads and the memory.

    ``read(index, start, out)`` fills `out` with the pixels of a member from `start` on; `source`
    is their type, `dtype` that of the image.
    """

    read: Callable
    n: int
    shape: tuple[int, int]
    source: np.dtype
    dtype: np.dtype
    recipe: Recipe
    uncertainty: bool
    allow_empty: bool
    sample_rows: int

    @property
    def size(self):
        return self.shape[0] * self.shape[1]

    def rows(self):
        itemsize = self.source.itemsize
        return sampled_rows(*self.shape, self.n, wanted=self.sample_rows, itemsize=itemsize)

    def result_bytes(self):
        sample = self.n * len(self.rows()) * self.shape[1] * self.source.itemsize
        return self.size * (self.dtype.itemsize + 2 + 4 * self.uncertainty) + sample

    def doubtful_pixels(self):
        """How many to solve together: few enough to get their arrays without new pages."""
        return max(_DOUBTFUL_VALUES // self.n, _MIN_WIDTH)

    def tile_width(self, threads, memory):
        """How many pixels a thread takes at a time: what suits its cache, if the memory allows."""
        a_pixel = 3 * self.n * self.source.itemsize + 100
        fixed = self.result_bytes() + threads * self.doubtful_pixels() * (64 * self.n + 100)
        allowed = (memory - fixed) // (threads * a_pixel)
        if allowed < _MIN_WIDTH:
            raise TooLittleMemory(self, memory, fixed + threads * _MIN_WIDTH * a_pixel)
        best = _TILE_BYTES // (3 * self.n * self.source.itemsize)
        return max(min(allowed, best, self.size), _MIN_WIDTH)


class _Totals:
    """The arrays that all threads fill, each at its own pixels."""

    def __init__(self, job):
        self.image = np.empty(job.size, job.dtype)
        self.count = np.empty(job.size, np.int16)
        self.uncertainty = np.empty(job.size, np.float32) if job.uncertainty else None
        self.rows = job.rows()
        self.nx = job.shape[1]
        self.sample = np.empty((job.n, len(self.rows), self.nx), job.source.newbyteorder("="))

    def keep_sample(self, values, start, stop):
        """Copy what `values`, shape (n, width), has of the sampled rows."""
        first, last = np.searchsorted(self.rows, (start // self.nx, -(-stop // self.nx)))
        for k in range(first, last):
            row_start = self.rows[k] * self.nx
            low, high = max(start, row_start), min(stop, row_start + self.nx)
            self.sample[:, k, low - row_start : high - row_start] = values[
                :, low - start : high - start
            ]


def _run(job, threads, memory):
    width = job.tile_width(threads, memory)
    totals = _Totals(job)
    tiles = deque(range(0, job.size, width))
    workers = [_Worker(job, width, totals, tiles) for _ in range(threads)]
    if threads == 1:
        workers[0].run()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for running in [pool.submit(worker.run) for worker in workers]:
                running.result()
    empty = sum(worker.empty for worker in workers)
    if empty and (empty == job.size or not job.allow_empty):
        y, x = divmod(int(np.argmax(totals.count == 0)), job.shape[1])
        raise FrameError(
            f"{empty} of {job.size} pixels have no value in any of the {job.n} frames "
            f"(the first is x={x + 1}, y={y + 1} of FITS)",
            remedy="mask or replace them in the frames, or allow empty pixels",
        )
    return Combined(
        image=totals.image.reshape(job.shape),
        count=totals.count.reshape(job.shape),
        uncertainty=totals.uncertainty.reshape(job.shape) if job.uncertainty else None,
        clipped=sum(worker.clipped for worker in workers),
        invalid=sum(worker.invalid for worker in workers),
        empty=empty,
        sample=totals.sample,
        sample_rows=totals.rows,
        recipe=job.recipe,
    )


class _Worker:
    """One thread's buffers, used again for every tile, and what it has counted.

    Pixels that need the exact arithmetic are few: they are collected over tiles and
    solved together.
    """

    def __init__(self, job, width, totals, tiles):
        self.read = job.read
        self.recipe = job.recipe
        self.totals = totals
        self.tiles = tiles
        n = job.n
        self.raw = np.zeros((n, width), job.source)
        self.values = np.zeros((n, width), job.source.newbyteorder("="))
        self.order = _Ordering(n, width, self.values.dtype)
        self.positions = np.empty(job.doubtful_pixels(), np.int64)
        self.doubtful = np.empty((n, len(self.positions)), np.float64)
        self.waiting = 0
        self.clipped = np.zeros(n, np.int64)
        self.invalid = np.zeros(n, np.int64)
        self.empty = 0

    def run(self):
        """Take tiles until there are none; an error leaves none for the other threads."""
        try:
            with np.errstate(all="ignore"):
                while (start := _next(self.tiles)) is not None:
                    self.combine_tile(start)
                self.solve_doubtful()
        finally:
            self.tiles.clear()

    def combine_tile(self, start):
        """Combine the pixels from `start` on.

        Tiles keep their width to the last, whose end holds old values: numpy sums along the
        members in another order where a tile is one pixel wide.
        """
        totals, n = self.totals, len(self.raw)
        stop = min(start + self.raw.shape[1], len(totals.image))
        width = stop - start
        for index, line in enumerate(self.raw):
            self.read(index, start, line[:width])
        np.copyto(self.values, self.raw)
        totals.keep_sample(self.values, start, stop)
        value, spread, proven = _estimate(
            self.values, self.order, self.recipe, want_spread=totals.uncertainty is not None
        )
        totals.image[start:stop] = value[:width]
        totals.count[start:stop] = n
        if totals.uncertainty is not None:
            np.divide(spread[:width], np.sqrt(n), out=totals.uncertainty[start:stop])
        self.put_off(np.flatnonzero(~proven[:width]), start)

    def put_off(self, columns, start):
        """Keep the values of these pixels of the tile at `start` for `solve_doubtful`."""
        while len(columns):
            room = len(self.positions) - self.waiting
            now, columns = columns[:room], columns[room:]
            place = slice(self.waiting, self.waiting + len(now))
            self.doubtful[:, place] = np.take(self.raw, now, axis=1)
            self.positions[place] = now + start
            self.waiting = place.stop
            if self.waiting == len(self.positions):
                self.solve_doubtful()

    def solve_doubtful(self):
        """Put the exact results in place for the pixels that were put off."""
        if not self.waiting:
            return
        totals = self.totals
        exact = _solve_exactly(self.doubtful[:, : self.waiting], self.recipe)
        where = self.positions[: self.waiting]
        totals.image[where] = exact.value
        totals.count[where] = exact.count
        if totals.uncertainty is not None:
            totals.uncertainty[where] = exact.spread / np.sqrt(exact.count)
        self.clipped += exact.clipped
        self.invalid += exact.invalid
        self.empty += np.count_nonzero(exact.count == 0)
        self.waiting = 0


def _next(tiles):
    try:
        return tiles.popleft()
    except IndexError:
        return None


# -- the arithmetic of a tile: arrays of shape (n, width), members along the first axis ---------


def _estimate(values, order, recipe, *, want_spread=True):
    """Combine all values of each pixel, and tell where that is proved to be the recipe's result.

    `values` are overwritten.

    Returns
    -------
    value : numpy.ndarray of float64
        Shape ``(width,)``.
    spread : numpy.ndarray or None
        Shape ``(width,)``: uncertainty times the root of the number of values.
    proven : numpy.ndarray of bool
        Shape ``(width,)``: False where a value is not finite or may be beyond the clipping limit.
    """
    n = len(values)
    total = np.add.reduce(values, axis=0, dtype=np.float64)
    proven = np.isfinite(total)
    if recipe.clip is None and recipe.method == "average":
        value = total / n
        centre = value.astype(values.dtype)
        np.subtract(values, centre, out=values)
        return value, _sample_spread(values, value - centre) if want_spread else None, proven
    order.sort(values)
    value = total / n if recipe.method == "average" else _middle(values, np.float64)
    centre = _middle(values, values.dtype)
    half = n // 2
    np.subtract(centre, values[:half], out=values[:half])
    np.subtract(values[half:], centre, out=values[half:])
    mad = _middle_deviation(values, order.spare)
    if recipe.clip is not None:
        proven &= _clips_nothing(values, centre, mad, recipe.clip)
    if not want_spread:
        return value, None, proven
    if recipe.method == "median":
        return value, _median_spread(mad, n), proven
    return value, _sample_spread(values, value - centre), proven


def _sample_spread(deviations, offset):
    """Sample standard deviation from deviations about a point `offset` below the mean."""
    n = len(deviations)
    np.square(deviations, out=deviations)
    squares = np.add.reduce(deviations, axis=0)
    squares -= n * np.square(offset).astype(squares.dtype)
    return np.sqrt(np.maximum(squares, 0) / (n - 1))


def _clips_nothing(deviations, centre, mad, clip):
    """Whether no deviation can be beyond the limit, whatever the rounding to the members' type.

    Median, deviations and MAD are each off by at most a few units in the last place of the
    largest number that went in; the margin is several times that. Differences with
    infinities are NaN, so they prove nothing.
    """
    epsilon = np.finfo(deviations.dtype).eps
    largest = np.maximum(deviations[0], deviations[-1])
    limit = mad * deviations.dtype.type(MAD_TO_SIGMA * clip)
    margin = (largest + np.abs(centre)) * deviations.dtype.type(4 * epsilon * (2 + 1.5 * clip))
    return limit - largest >= margin


def _middle(ordered, dtype):
    """Median along the first axis of values that are in order."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half].astype(dtype)
    return (ordered[half - 1].astype(dtype) + ordered[half]) / 2


def _middle_deviation(deviations, spare):
    """Median along the first axis of the deviations from the median of values in order.

    The k values nearest to the median are neighbours once they are in order, and the furthest
    of them is at one of the two ends: so the k-th smallest deviation is the smallest, over all
    runs of k neighbours, of the larger of the deviations at the two ends.
    """
    n, half = len(deviations), len(deviations) // 2

    def smallest(k):
        ends = np.maximum(deviations[: n - k + 1], deviations[k - 1 :], out=spare[: n - k + 1])
        return np.minimum.reduce(ends, axis=0)

    upper = smallest(half + 1)
    return upper if n % 2 else (smallest(half) + upper) / 2


def _median_spread(mad, count):
    return np.where(count > 1, mad * (MAD_TO_SIGMA * MEDIAN_OVER_MEAN), np.nan)


@dataclass(frozen=True)
class _Exact:
    value: np.ndarray
    spread: np.ndarray
    count: np.ndarray
    clipped: np.ndarray
    invalid: np.ndarray


def _solve_exactly(values, recipe):
    """Apply the recipe to `values`, float64 of shape (n, k), with rejection."""
    finite = np.isfinite(values)
    keep = finite.copy()
    for _ in range(recipe.iterations if recipe.clip is not None else 0):
        centre, mad = _kept_median(values, keep)
        limit = mad * MAD_TO_SIGMA * recipe.clip
        new = keep & ((values < centre - limit) | (values > centre + limit))
        if not new.any():
            break
        keep &= ~new
    count = np.count_nonzero(keep, axis=0)
    if recipe.method == "median":
        value, mad = _kept_median(values, keep)
        spread = _median_spread(mad, count)
    else:
        value = _sum_in_turn(np.where(keep, values, 0)) / count
        squares = _sum_in_turn(np.square(np.where(keep, values - value, 0)))
        spread = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return _Exact(
        value=value,
        spread=spread,
        count=count,
        clipped=np.count_nonzero(finite & ~keep, axis=1),
        invalid=np.count_nonzero(~finite, axis=1),
    )


def _kept_median(values, keep):
    """Median of the kept values of each pixel and their MAD, NaN where none is kept."""
    ordered = np.sort(np.where(keep, values, np.inf), axis=0)
    counts = np.count_nonzero(keep, axis=0)
    centre = np.full(values.shape[1], np.nan)
    mad = centre.copy()
    for count in np.flatnonzero(np.bincount(counts)):
        if count == 0:
            continue
        columns = np.flatnonzero(counts == count)
        part = np.take(ordered[:count], columns, axis=1)
        centre[columns] = _middle(part, np.float64)
        deviations = np.abs(part - centre[columns])
        mad[columns] = _middle_deviation(deviations, np.empty((count + 1, len(columns))))
    return centre, mad


def _sum_in_turn(values):
    """Sum along the first axis, member by member: `numpy.sum` adds a single column in pairs."""
    total = np.zeros(values.shape[1])
    for row in values:
        total += row
    return total


class _Ordering:
    """Puts the values of each pixel in order, with buffers that are used again.

    A few members are sorted by a network of minima and maxima of whole rows, which runs at the
    speed of the cache; its cost a value grows with the square of log n, so many members
    are transposed and sorted by numpy.
    """

    def __init__(self, n, width, dtype):
        self.network = _sorting_network(n) if n <= _NETWORK_LIMIT else None
        buffer = np.empty(max(n, n // 2 + 2) * width, dtype)
        self.spare = buffer.reshape(-1, width)
        self.columns = buffer[: n * width].reshape(width, n)

    def sort(self, values):
        """Sort `values`, shape (n, width), along the first axis in place."""
        if self.network is None:
            np.copyto(self.columns, values.T)
            self.columns.sort(axis=1)
            np.copyto(values, self.columns.T)
            return
        for first, second in self.network:
            low, high = values[first], values[second]
            smaller = np.minimum(low, high, out=self.spare[: len(low)])
            np.maximum(low, high, out=high)
            np.copyto(low, smaller)


def _sorting_network(n):
    """Batcher's merge exchange (Knuth, The Art of Computer Programming 3, algorithm 5.2.2 M).

    Returns
    -------
    list of tuple of slice
        Pairs of slices of rows; rows in the same place of a pair are compared and exchanged.
    """
    steps = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    block = top
    while block > 0:
        distance, offset, reach = block, 0, top
        while True:
            # row i is compared with i + distance wherever i & block == offset
            starts = range(offset, n - distance, 2 * block)
            if len(starts) <= block:
                steps += [(slice(i, min(i + block, n - distance)), distance) for i in starts]
            else:
                ends = range(offset, min(offset + block, n - distance))
                steps += [(slice(i, n - distance, 2 * block), distance) for i in ends]
            if reach == block:
                break
            distance, offset, reach = reach - block, block, reach // 2
        block //= 2
    return [(s, slice(s.start + d, s.stop + d, s.step)) for s, d in steps]
