"""Combined biases and combined darks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.combine.masters import checked_bias, mask_of
from ccdflow.combine.measuring import expected_light, measured_noise, sample_members
from ccdflow.combine.recipe import CombineRecipe
from ccdflow.combine.stack import DEFAULT_MEMORY, Subtracted, check_members, combine


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
):
    """Combine reduced biases, clipped by their read noise where they are few.

    Parameters
    ----------
    members : sequence of ccdflow.combine.stack.Member
        Reduced biases of one shape and type.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Read noise and place of each; a read noise that is None is measured.
    recipe : ccdflow.combine.recipe.CombineRecipe, optional
        By default an average, clipped at 5 sigma: by noise below ten members, else by MAD.
    mask, ceilings, threads, memory, dtype
        As for `ccdflow.combine.stack.combine`.

    Returns
    -------
    ccdflow.combine.stack.Combined
        With uncertainty by the noise model, mask, and the measured noise.

    Raises
    ------
    UserError, FrameError
        As `ccdflow.combine.stack.combine` does.
    """
    options = {"mask": mask, "ceilings": ceilings}
    return _combine(members, amplifiers, recipe, (), options, threads, memory, dtype, light=False)


def combine_darks(
    members,
    *,
    bias,
    amplifiers,
    recipe=None,
    mask=None,
    ceilings=None,
    threads=2,
    memory=DEFAULT_MEMORY,
    dtype=np.float32,
):
    """Combine reduced darks of one exposure, each less the combined bias.

    Parameters
    ----------
    members : sequence of ccdflow.combine.stack.Member
        Reduced darks of one shape, type and exposure time.
    bias : ccdflow.combine.masters.MasterImage or None
        The combined bias; None only where there is none for a camera whose overscan was subtracted.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Gain, read noise and place of each. Read noise that is None is measured.
    recipe : ccdflow.combine.recipe.CombineRecipe, optional
        By default an average, clipped at 5 sigma: by noise below ten members, else by MAD.
    mask, ceilings, threads, memory, dtype
        As for `ccdflow.combine.stack.combine`.

    Returns
    -------
    ccdflow.combine.stack.Combined
        `image` in the members' unit at their own exposure. `uncertainty` is of the darks alone:
        subtracted from a frame with the same bias, times k, the bias enters with (1 - k)^2 times
        ``shared["MBNOISE"]``^2, and the dark with k^2 `uncertainty`^2.

    Raises
    ------
    UserError
        If `bias` is a dark, or of another shape; and as `ccdflow.combine.stack.combine` does.
    FrameError
        As `ccdflow.combine.stack.combine` does.
    """
    bias = checked_bias(bias, "darks")
    subtract = () if bias is None else (Subtracted(bias.pixels),)
    options = {"mask": mask, "ceilings": ceilings}
    combined = _combine(
        members, amplifiers, recipe, subtract, options, threads, memory, dtype, light=True
    )
    shared = {} if bias is None else {"MBNOISE": bias.rms(combined.sample_rows)}
    return replace(combined, shared=shared)


def _combine(members, amplifiers, recipe, subtract, options, threads, memory, dtype, *, light):
    members = list(members)
    check_members(members)
    rows, sample = sample_members(members, subtract=subtract, **options)
    noise = measured_noise(amplifiers, members[0].shape, rows, sample, light=light)
    if light and len(rows):
        noise = replace(noise, expected=expected_light(noise, rows, sample))
    del sample
    combined = combine(
        members,
        recipe or CombineRecipe(),
        subtract=subtract,
        noise=noise,
        uncertainty="noise",
        allow_empty=True,
        threads=threads,
        memory=memory,
        dtype=dtype,
        **options,
    )
    return replace(combined, mask=mask_of(combined), shared={})
