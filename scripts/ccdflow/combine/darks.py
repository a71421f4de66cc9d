"""Combined darks."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.combine.measured_stack import combine_measured
from ccdflow.combine.preparation import SubtractedTerm
from ccdflow.combine.subtracted_masters import checked_bias


def combine_darks(
    members,
    *,
    bias,
    amplifiers,
    recipe=None,
    masks=None,
    limits=None,
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
    masks, limits
        See `ccdflow.combine.stack.combine`; the uncertainty is by the noise model.

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
    subtract = () if bias is None else (SubtractedTerm(bias.pixels),)
    combined = combine_measured(
        members,
        amplifiers,
        recipe,
        subtract=subtract,
        limits=limits,
        has_light=True,
        masks=masks,
    )
    shared = {} if bias is None else {"MBNOISE": bias.rms(combined.sample_rows)}
    return replace(combined, shared=shared)
