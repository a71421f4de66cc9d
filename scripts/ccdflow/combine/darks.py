"""Combined biases and combined darks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_noise import expected_light, measured_noise, sample_members
from ccdflow.combine.preparation import Subtracted
from ccdflow.combine.stack import DEFAULT_MEMORY, check_members, combine
from ccdflow.combine.subtracted_masters import checked_bias, mask_of_combined


def combine_biases(
    members,
    *,
    amplifiers,
    recipe=None,
    mask=None,
    ceilings=None,
    threads=2,
    memory=DEFAULT_MEMORY,
    dtype=np.float32,
    uncertainty=True,
):
    """Combine reduced biases; a small number is clipped by the read noise.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Reduced biases of one shape and type.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Region and read noise of each; a read noise of None is measured.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
        Default: an average, clipped at 5 sigma, by noise for fewer than ten members, otherwise by
        MAD.
    mask, ceilings, threads, memory, dtype
        See `ccdflow.combine.stack.combine`.
    uncertainty : bool
        Whether to compute that by the noise model.

    Returns
    -------
    ccdflow.combine.stack.Combined
        With uncertainty by the noise model, mask, and the measured noise.

    Raises
    ------
    UserError, FrameError
        See `ccdflow.combine.stack.combine`.

    Examples
    --------
    Three biases of three pixels, with a read noise of 3 adu:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ccdflow.combine.member_reader import Member
    >>> from ccdflow.combine.noise import AmplifierNoise
    >>> amplifier = AmplifierNoise("A", region=(0, 1, 0, 3), read_noise=3.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     members = [Member(Path(folder) / f"{n}.pixels", 0, (1, 3)) for n in range(3)]
    ...     for level, member in enumerate(members):
    ...         np.full((1, 3), level, ">f4").tofile(member.path)
    ...     combined = combine_biases(members, amplifiers=[amplifier])
    >>> print(combined.image, combined.uncertainty.round(3))
    [[1. 1. 1.]] [[1.732 1.732 1.732]]
    """
    options = {"mask": mask, "ceilings": ceilings}
    limits = {"threads": threads, "memory": memory, "dtype": dtype, "uncertainty": uncertainty}
    return _combine(members, amplifiers, recipe, (), options, limits, light=False)


def combine_darks(
    members,
    *,
    bias,
    amplifiers,
    recipe=None,
    mask=None,
    ceilings=None,
    flaws=None,
    threads=2,
    memory=DEFAULT_MEMORY,
    dtype=np.float32,
    uncertainty=True,
):
    """Combine reduced darks of one exposure, after subtracting the combined bias from each.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Reduced darks of one shape, type and exposure time.
    bias : ccdflow.combine.subtracted_masters.SubtractedMaster or None
        The combined bias; None only if a camera with overscan subtraction has none.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Region, gain and read noise of each. A read noise of None is measured.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
        Default: an average, clipped at 5 sigma, by noise for fewer than ten members, otherwise by
        MAD.
    mask, ceilings, flaws, threads, memory, dtype
        See `ccdflow.combine.stack.combine`.
    uncertainty : bool
        Whether to compute that by the noise model.

    Returns
    -------
    ccdflow.combine.stack.Combined
        `image` is in the members' unit, at their own exposure. `uncertainty` is that of the darks
        alone: if the dark is subtracted from a frame with the same bias, times k, the dark adds the
        square of (k `uncertainty`), and the bias that of (1 - k) ``shared["MBNOISE"]``.

    Raises
    ------
    UserError
        If `bias` is a dark, or of another shape; see also `ccdflow.combine.stack.combine`.
    FrameError
        See `ccdflow.combine.stack.combine`.
    """
    bias = checked_bias(bias, "darks")
    subtract = () if bias is None else (Subtracted(bias.pixels),)
    options = {"mask": mask, "ceilings": ceilings, "flaws": flaws}
    limits = {"threads": threads, "memory": memory, "dtype": dtype, "uncertainty": uncertainty}
    combined = _combine(members, amplifiers, recipe, subtract, options, limits, light=True)
    shared = {} if bias is None else {"MBNOISE": bias.rms(combined.sample_rows)}
    return replace(combined, shared=shared)


def _combine(members, amplifiers, recipe, subtract, options, limits, *, light):
    """Combine members that are prepared in the same way, with the noise measured on them."""
    members = list(members)
    check_members(members)
    threads, shape = limits["threads"], members[0].shape
    rows, sample = sample_members(members, subtract=subtract, threads=threads, **options)
    noise = measured_noise(amplifiers, shape, rows, sample, light=light, threads=threads)
    if light and len(rows):
        noise = replace(noise, expected=expected_light(noise, rows, sample))
    del sample
    combined = combine(
        members,
        recipe or CombineRecipe(),
        subtract=subtract,
        noise=noise,
        allow_empty=True,
        **limits | {"uncertainty": limits["uncertainty"] and "noise"},
        **options,
    )
    return replace(combined, mask=mask_of_combined(combined), shared={})
