"""One image out of many frames: average or median of each pixel, with clipping.

Every frame is read once, a run of pixels at a time, by a few threads, within a given memory;
masters are subtracted and levels divided by on the way, so that no prepared frame is ever written
or whole in memory. `tiles` holds how, `clipping` the arithmetic, `noise` the model of the noise.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from ccdflow.combine.noise import AmplifierNoise, NoiseModel
from ccdflow.combine.preparing import Subtracted, prepare
from ccdflow.combine.reading import Member, file_reader, locate
from ccdflow.combine.recipe import MEDIAN_OVER_MEAN, CombineRecipe
from ccdflow.combine.tiles import CombineJob, TooLittleMemory, run_tiles, sampled_rows
from ccdflow.errors import FrameError, UserError

__all__ = [
    "DEFAULT_MEMORY",
    "MEDIAN_OVER_MEAN",
    "AmplifierNoise",
    "CombineRecipe",
    "Combined",
    "Member",
    "NoiseModel",
    "Recipe",
    "Subtracted",
    "TooLittleMemory",
    "combine",
    "combine_arrays",
    "locate",
    "sampled_rows",
]

DEFAULT_MEMORY = 1_000_000_000
_MAX_MEMBERS = np.iinfo(np.int16).max

Recipe = CombineRecipe
"""The name until all callers use `CombineRecipe`."""


@dataclass(frozen=True)
class Combined:
    """A combined image and what is known of how it came about.

    Parameters
    ----------
    image : numpy.ndarray
        Shape ``(ny, nx)``; NaN only where no member has a value, and only if that was allowed.
    count : numpy.ndarray of int16
        Shape ``(ny, nx)``: number of values behind each pixel; 0 where all are masked.
    uncertainty : numpy.ndarray of float32 or None
        Shape ``(ny, nx)``: standard error of `image`. From the noise model: that of the members
        alone, without the noise of what was subtracted from all of them. Or from the scatter of
        the values that were kept: for an average s / sqrt(count) with s the sample standard
        deviation (``ddof=1``; `ccdproc.combine` has ``ddof=0``, smaller by sqrt(1 - 1/count)); for
        a median sqrt(pi/2) 1.4826 MAD / sqrt(count); NaN where fewer than two values are left.
    clipped : numpy.ndarray of int64
        Shape ``(n,)``: how many pixels of each member were rejected as outliers.
    invalid : numpy.ndarray of int64
        Shape ``(n,)``: how many pixels of each member were NaN, infinite or masked.
    empty : int
        Number of pixels for which no member has a value.
    sample : numpy.ndarray
        Shape ``(n, k, nx)``: some rows of every member as they were combined, for figures that
        need the members one by one; NaN where a member is masked.
    sample_rows : numpy.ndarray of int
        Shape ``(k,)``: which rows, counted from 0.
    recipe : CombineRecipe
        How it was combined; its `clip_by` is the one that was used.
    mask : numpy.ndarray of int16 or None
        Shape ``(ny, nx)``: bits of what is wrong with pixels, where members had masks.
    noise : NoiseModel or None
        The noise of the members, with what was measured of it.
    levels : numpy.ndarray or None
        Shape ``(n,)``: what the members were divided by.
    shared : dict of str to float
        Noise that is common to all members, by the keyword of its card: ``MBNOISE`` of the bias,
        ``MDNOISE`` of the dark that was subtracted, rms in the unit of the image. It is not part
        of `uncertainty`.
    """

    image: np.ndarray
    count: np.ndarray
    uncertainty: np.ndarray | None
    clipped: np.ndarray
    invalid: np.ndarray
    empty: int
    sample: np.ndarray
    sample_rows: np.ndarray
    recipe: CombineRecipe
    mask: np.ndarray | None = None
    noise: NoiseModel | None = None
    levels: np.ndarray | None = None
    shared: dict | None = None


def combine(
    members,
    recipe=None,
    *,
    subtract=(),
    scale=None,
    mask=None,
    mask_bits=-1,
    ceilings=None,
    noise=None,
    threads=2,
    memory=DEFAULT_MEMORY,
    dtype=np.float32,
    uncertainty=True,
    allow_empty=False,
    sample_rows=128,
):
    """Combine frames pixel by pixel, reading every frame once.

    NaN and infinite values count as rejected. With the default recipe, no noise model and finite
    pixels the image is that of `ccdproc.combine` with the guide's arguments, after the cast to
    `dtype`. (In a pixel with a NaN ccdproc does not clip at all; here the rest is clipped.)

    Parameters
    ----------
    members : sequence of Member
        Where the frames are, all of one shape and type; in the order in which they are added up.
    recipe : CombineRecipe, optional
        The guide's by default.
    subtract : sequence of Subtracted
        Masters that are taken from every member, in this order and in the type of the members.
    scale : sequence of float, optional
        Level of each member, by which it is divided then.
    mask : sequence of (Member, numpy.ndarray or None), optional
        Mask of each member: whole numbers, shape ``(ny, nx)``, 0 for a good pixel. A value that is
        masked is left out; where all are, the image has what the masked values give, count 0.
    mask_bits : int
        Which bits of the masks leave a value out; all by default.
    ceilings : sequence of (float or None), optional
        The value of each member, before anything is subtracted, from which on it is saturated.
    noise : NoiseModel, optional
        Noise of the members before they are divided by their levels.
    threads : int
        How many threads to work with.
    memory : int
        Bytes that this function may take, results included, whatever the number of frames.
    dtype : numpy.dtype
        Type of the image: float32 or float64.
    uncertainty : bool or {'scatter', 'noise'}
        Whether to work out the uncertainty, and from what; true is ``'scatter'``.
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
        If the members or what is done to them do not fit each other, or the memory does not
        suffice.
    FrameError
        If a file cannot be read, or pixels are left without any value.
    """
    members = list(members)
    check_members(members)
    if threads < 1:
        raise UserError("no thread to work with", keyword="threads", value=threads, allowed="1 up")
    first, n = members[0], len(members)
    source = np.dtype(first.dtype)
    with ExitStack() as stack:
        job = CombineJob(
            read=file_reader(members, stack),
            n=n,
            shape=tuple(first.shape),
            source=source,
            dtype=np.dtype(dtype),
            recipe=(recipe or CombineRecipe()).resolved(n, noise),
            preparation=prepare(
                n,
                first.shape,
                source.newbyteorder("="),
                subtract=subtract,
                scale=scale,
                mask=mask,
                bits=mask_bits,
                ceilings=ceilings,
            ),
            noise=_checked_noise(noise, first.shape, uncertainty),
            uncertainty="scatter" if uncertainty is True else uncertainty or None,
            sample_rows=sample_rows,
        )
        return _run(job, threads, memory, allow_empty=allow_empty)


def combine_arrays(stack, recipe=None, *, allow_empty=False, memory=DEFAULT_MEMORY, noise=None):
    """Combine frames that are in memory already, by the same arithmetic as `combine`.

    Parameters
    ----------
    stack : numpy.ndarray
        Shape ``(n, ny, nx)``, float32 or float64.
    recipe, allow_empty, memory, noise
        As for `combine`.

    Returns
    -------
    Combined
        With a sample of no rows.
    """
    n, ny, nx = stack.shape
    flat = stack.reshape(n, ny * nx)
    native = stack.dtype.newbyteorder("=")

    def read(index, start, out):
        np.copyto(out, flat[index, start : start + len(out)])

    job = CombineJob(
        read=read,
        n=n,
        shape=(ny, nx),
        source=stack.dtype,
        dtype=native,
        recipe=(recipe or CombineRecipe()).resolved(n, noise),
        preparation=prepare(n, (ny, nx), native),
        noise=_checked_noise(noise, (ny, nx), "scatter"),
        uncertainty="scatter",
        sample_rows=0,
    )
    return _run(job, 1, memory, allow_empty=allow_empty)


def _run(job, threads, memory, *, allow_empty):
    totals = run_tiles(job, threads, memory)
    empty = totals.empty
    if empty and (empty == job.size or not allow_empty):
        y, x = divmod(int(np.argmax(~np.isfinite(totals.image))), job.shape[1])
        raise FrameError(
            f"{empty} of {job.size} pixels have no value in any of the {job.n} frames "
            f"(the first is x={x + 1}, y={y + 1} of FITS)",
            remedy="mask or replace them in the frames, or allow empty pixels",
        )
    images = {
        name: None if array is None else array.reshape(job.shape)
        for name, array in (
            ("image", totals.image),
            ("count", totals.count),
            ("uncertainty", totals.uncertainty),
            ("mask", totals.mask),
        )
    }
    if job.uncertainty == "noise":
        # Pixels of no amplifier: nothing is known of their noise.
        images["uncertainty"][np.isinf(images["uncertainty"])] = np.nan
    return Combined(
        **images,
        clipped=totals.clipped,
        invalid=totals.invalid,
        empty=empty,
        sample=totals.sample,
        sample_rows=totals.rows,
        recipe=job.recipe,
        noise=job.noise,
        levels=None if job.preparation.scales is None else job.preparation.scales,
    )


def _checked_noise(noise, shape, uncertainty):
    if noise is None and uncertainty == "noise":
        raise UserError(
            "the uncertainty by noise needs gain and read noise",
            keyword="uncertainty",
            value=uncertainty,
            allowed="'scatter' where they are not known",
        )
    if noise is not None and tuple(noise.shape) != tuple(shape):
        raise UserError(
            "the noise model is of another shape than the frames",
            value=noise.shape,
            allowed=str(tuple(shape)),
        )
    return noise


def check_members(members):
    """Raise a `UserError` where members cannot be combined with each other.

    Parameters
    ----------
    members : list of Member
    """
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
