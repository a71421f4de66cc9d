"""Combination of many frames into one image: average or median of each pixel, with clipping.

A few threads read every frame once, a run of pixels at a time, within a given memory. They also
subtract masters and divide by levels, so that no prepared frame is written or held whole in memory.
`tiling` has the procedure, `clipping` the arithmetic, `noise` the noise model.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_reader import file_reader
from ccdflow.combine.noise import NoiseModel
from ccdflow.combine.preparation import prepare_members
from ccdflow.combine.tiling.combine_job import CombineJob
from ccdflow.combine.tiling.tile_workers import run_tiles
from ccdflow.errors import FrameError, UserError

DEFAULT_STACK_BYTES = 1_000_000_000
"""Bytes that the pixels and results of a combination may take by default. With fewer, tiles are
narrower, and each file is read in more and smaller parts; with more, the combination takes memory
from other processes. Chosen, not measured."""

# The counts of members are stored as int16.
_MOST_MEMBERS = np.iinfo(np.int16).max


@dataclass(frozen=True)
class CombineOptions:
    """Threads and memory of a combination, and the arrays that it returns.

    Attributes
    ----------
    threads : int
        Number of threads; the default is for a small machine, like `--cores 2` in the documents.
    memory : int
        Memory limit in bytes, results included, for any number of frames.
    dtype : numpy.dtype
        Type of the image: float32 or float64.
    uncertainty_source : {'scatter', 'noise'} or None
        Source of the uncertainty; None to compute none. The combinations of biases, darks and flats
        take the noise model in place of the scatter.

    Raises
    ------
    UserError
        If the source is none of these.
    """

    threads: int = 2
    memory: int = DEFAULT_STACK_BYTES
    dtype: np.dtype | type = np.float32
    uncertainty_source: str | None = "scatter"

    def __post_init__(self):
        if self.uncertainty_source not in ("scatter", "noise", None):
            raise UserError(
                "unknown source of the uncertainty",
                keyword="uncertainty_source",
                value=self.uncertainty_source,
                allowed="'scatter', 'noise' or None",
                remedy="give one of these",
            )

    @property
    def with_noise_model(self):
        """The options, with an uncertainty by the noise model if one is computed at all."""
        return replace(self, uncertainty_source=self.uncertainty_source and "noise")


@dataclass(frozen=True)
class Combined:
    """A combined image, with its statistics.

    Attributes
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        NaN only where no member has a value.
    count : numpy.ndarray of shape (ny, nx), int16
        Number of values combined in each pixel; 0 if all are masked.
    uncertainty : numpy.ndarray of shape (ny, nx), float32, or None
        Standard error of `image`. By the noise model it is that of the members alone, without the
        noise of the masters subtracted from all of them. Otherwise it follows from the scatter of
        the kept values, and is NaN for fewer than two. For an average it is s / sqrt(count), with s
        the sample standard deviation (``ddof=1``; with ``ddof=0``, `ccdproc.combine` has a value
        smaller by sqrt(1 - 1/count)). For a median it is sqrt(pi/2) 1.4826 MAD / sqrt(count).
    n_clipped : numpy.ndarray of shape (n,), int64
        Number of pixels of each member that were rejected as outliers.
    n_invalid : numpy.ndarray of shape (n,), int64
        Number of pixels of each member that were NaN, infinite or masked.
    n_empty : int
        Number of pixels without any value.
    sample : numpy.ndarray of shape (n, k, nx), float32 or float64
        Some rows of every prepared member, for figures that need single members; NaN where a member
        is masked.
    sample_rows : numpy.ndarray of shape (k,), int
        Indices of these rows, from 0.
    recipe : CombineRecipe
        The recipe used; its `clip_by` is never ``auto``.
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        Mask bits of the pixels, if the members had masks.
    noise : NoiseModel or None
        The noise model of the members, with its measured parameters.
    levels : numpy.ndarray of shape (n,), float64, or None
        Levels that the members were divided by; None if they were not.
    shared_noise : dict of str to float, or None
        Noise common to all members, by the keyword of its card: ``MBNOISE`` of the subtracted
        bias, ``MDNOISE`` of the dark, rms in the unit of the image. `uncertainty` excludes it.
    """

    image: np.ndarray
    count: np.ndarray
    uncertainty: np.ndarray | None
    n_clipped: np.ndarray
    n_invalid: np.ndarray
    n_empty: int
    sample: np.ndarray
    sample_rows: np.ndarray
    recipe: CombineRecipe
    mask: np.ndarray | None = None
    noise: NoiseModel | None = None
    levels: np.ndarray | None = None
    shared_noise: dict[str, float] | None = None


def combine(
    members,
    recipe=None,
    *,
    subtracted_terms=(),
    scale=None,
    masks=None,
    noise=None,
    options=None,
    allows_empty=False,
    n_sample_rows=128,
):
    """Combine frames pixel by pixel, reading every frame once.

    NaN and infinite values are left out. With the default recipe, no noise model and finite pixels
    the image equals that of `ccdproc.combine` with the guide's arguments, cast to the type of the
    image. In a pixel with a NaN, ccdproc clips no value; here the other values are clipped.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Places of the frames, all of one shape and type; they are summed in this order.
    recipe : CombineRecipe, optional
        Default: that of the class.
    subtracted_terms : sequence of ccdflow.combine.preparation.SubtractedTerm, optional
        Masters to subtract from every member, in this order and in the type of the members.
    scale : sequence of float, optional
        Level of each member, by which it is divided after the subtraction.
    masks : ccdflow.combine.preparation.MemberMasks, optional
        Masked values are left out; where all are masked, the image is the combination of the masked
        values, with count 0.
    noise : NoiseModel, optional
        Noise of the members before they are divided by their levels.
    options : CombineOptions, optional
        Threads, memory, type of the image, and the uncertainty.
    allows_empty : bool, optional
        If True, pixels without any value are NaN with count 0; if False they are an error.
    n_sample_rows : int, optional
        Approximate number of rows of every member in `Combined.sample`; the default is that of
        `ccdflow.combine.row_sample.sampled_rows`.

    Returns
    -------
    Combined

    Raises
    ------
    UserError
        If the members, or their masters, masks, levels and noise, do not fit together, or the
        memory or the number of threads is too small.
    FrameError
        If a file cannot be read, or pixels are left without any value.

    Examples
    --------
    Twelve frames of three pixels. One value of the last frame is far off:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ccdflow.combine.member_reader import Member
    >>> frames = np.full((12, 1, 3), 100.0, ">f4")
    >>> frames[::2] += 1
    >>> frames[11, 0, 1] = 5000
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     members = [Member(Path(folder) / f"{n}.pixels", 0, (1, 3)) for n in range(12)]
    ...     for member, frame in zip(members, frames, strict=True):
    ...         frame.tofile(member.path)
    ...     combined = combine(members)
    >>> print(combined.image.round(2), combined.count)
    [[100.5  100.55 100.5 ]] [[12 11 12]]
    """
    members = list(members)
    check_members(members)
    options = options or CombineOptions()
    if options.threads < 1:
        raise UserError(
            "the number of threads is too small",
            keyword="threads",
            value=options.threads,
            allowed="1 or more",
            remedy="give the number of cores to use",
        )
    first, n = members[0], len(members)
    source = np.dtype(first.dtype)
    with ExitStack() as exit_stack:
        job = CombineJob(
            read=file_reader(members, exit_stack),
            n=n,
            shape=tuple(first.shape),
            source=source,
            dtype=np.dtype(options.dtype),
            recipe=(recipe or CombineRecipe()).resolve(n, noise),
            preparation=prepare_members(
                n,
                first.shape,
                source.newbyteorder("="),
                subtracted_terms=subtracted_terms,
                scale=scale,
                masks=masks,
            ),
            noise=_checked_noise(noise, first.shape, options.uncertainty_source),
            uncertainty_source=options.uncertainty_source,
            n_sample_rows=n_sample_rows,
        )
        return _combine_job(job, options.threads, options.memory, allows_empty=allows_empty)


def combine_arrays(
    stack,
    recipe=None,
    *,
    allows_empty=False,
    memory=DEFAULT_STACK_BYTES,
    noise=None,
    has_uncertainty=True,
):
    """Combine frames in memory, by the same arithmetic as `combine`.

    Parameters
    ----------
    stack : numpy.ndarray of shape (n, ny, nx), float32 or float64
    recipe, allows_empty, memory, noise
        See `combine`.
    has_uncertainty : bool, optional
        Whether to compute the uncertainty, from the scatter of the values.

    Returns
    -------
    Combined
        Its sample has no rows.

    Raises
    ------
    UserError
        If the noise does not fit the image, or is needed and missing, or the memory is too small.
    FrameError
        If pixels have no value in any frame, and are not allowed to.

    Examples
    --------
    Twelve frames of three pixels, one of them with a cosmic ray:

    >>> stack = np.full((12, 1, 3), 100, np.float32)
    >>> stack[::2] += 1
    >>> stack[5, 0, 1] = 5000
    >>> combined = combine_arrays(stack)
    >>> print(combined.image.round(2), combined.count, combined.n_clipped.sum())
    [[100.5  100.55 100.5 ]] [[12 11 12]] 1
    """
    n, ny, nx = stack.shape
    rows_of_pixels = stack.reshape(n, ny * nx)
    native_type = stack.dtype.newbyteorder("=")

    def read(index, start, out):
        """Fill `out` with the pixels of a frame from `start` on."""
        np.copyto(out, rows_of_pixels[index, start : start + len(out)])

    job = CombineJob(
        read=read,
        n=n,
        shape=(ny, nx),
        source=stack.dtype,
        dtype=native_type,
        recipe=(recipe or CombineRecipe()).resolve(n, noise),
        preparation=prepare_members(n, (ny, nx), native_type),
        noise=_checked_noise(noise, (ny, nx), "scatter"),
        uncertainty_source="scatter" if has_uncertainty else None,
        n_sample_rows=0,
    )
    return _combine_job(job, 1, memory, allows_empty=allows_empty)


def _combine_job(job, threads, memory, *, allows_empty):
    """Return the combination of a job; raise where pixels have no value in any frame.

    Parameters
    ----------
    job : ccdflow.combine.tiling.combine_job.CombineJob
    threads : int
    memory : int
        Bytes.
    allows_empty : bool
        Whether some pixels may have no value; all pixels without a value are always an error.
    """
    totals = run_tiles(job, threads, memory)
    n_empty = totals.n_empty
    if n_empty and (n_empty == job.size or not allows_empty):
        y, x = divmod(int(np.argmax(~np.isfinite(totals.image))), job.shape[1])
        raise FrameError(
            f"{n_empty} of {job.size} pixels have no value in any of the {job.n} frames "
            f"(the first is x={x + 1}, y={y + 1} of FITS)",
            remedy="mask or replace them in the frames, or allow empty pixels",
        )
    images = {}
    for name in ("image", "count", "uncertainty", "mask"):
        array = getattr(totals, name)
        images[name] = None if array is None else array.reshape(job.shape)
    if job.uncertainty_source == "noise":
        # The noise of pixels outside all amplifiers is unknown.
        images["uncertainty"][np.isinf(images["uncertainty"])] = np.nan
    return Combined(
        **images,
        n_clipped=totals.n_clipped,
        n_invalid=totals.n_invalid,
        n_empty=n_empty,
        sample=totals.sample,
        sample_rows=totals.rows,
        recipe=job.recipe,
        noise=job.noise,
        levels=job.preparation.scales,
    )


def _checked_noise(noise, shape, uncertainty_source):
    """Return the noise model; raise where it is missing or of another shape."""
    if noise is None and uncertainty_source == "noise":
        raise UserError(
            "the uncertainty by noise needs gain and read noise",
            keyword="uncertainty_source",
            value=uncertainty_source,
            allowed="'scatter' where they are not known",
            remedy="give gain and read noise, or take 'scatter'",
        )
    if noise is not None and tuple(noise.shape) != tuple(shape):
        raise UserError(
            "the noise model is of another shape than the frames",
            keyword="noise",
            value=noise.shape,
            allowed=str(tuple(shape)),
            remedy="give the noise model of these frames",
        )
    return noise


def check_members(members):
    """Raise a `UserError` if the members cannot be combined with each other.

    Parameters
    ----------
    members : list of ccdflow.combine.member_reader.Member

    Raises
    ------
    UserError
        If there are none or too many, or if pixel types or shapes differ.
    """
    if not members:
        raise UserError(
            "there is nothing to combine",
            allowed="one frame or more",
            remedy="name the reduced frames to combine",
        )
    if len(members) > _MOST_MEMBERS:
        raise UserError(
            "too many frames in one group",
            keyword="frames",
            value=len(members),
            allowed=f"up to {_MOST_MEMBERS}",
            remedy="combine fewer at a time",
        )
    first_member = members[0]
    if first_member.dtype not in (">f4", ">f8"):
        raise UserError(
            "unknown pixel type",
            file=first_member.path,
            keyword="dtype",
            value=first_member.dtype,
            allowed="'>f4' or '>f8'",
            remedy="give reduced frames, or convert the pixels to 32 bit floating point",
        )
    for member in members:
        for keyword, words in (("shape", "the shape"), ("dtype", "the pixel type")):
            if getattr(member, keyword) != getattr(first_member, keyword):
                raise UserError(
                    f"{words} differs from that of {first_member.path}",
                    file=member.path,
                    keyword=keyword,
                    value=getattr(member, keyword),
                    allowed=str(getattr(first_member, keyword)),
                    remedy="combine frames of one camera, window and binning only",
                )
