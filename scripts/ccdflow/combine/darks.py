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
    options=None,
):
    """Combine reduced darks of one exposure, after subtracting the combined bias from each.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Reduced darks of one shape, type and exposure time.
    bias : ccdflow.combine.subtracted_masters.SubtractedMaster or None
        The combined bias; None only if a camera with overscan subtraction has none.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Region, gain and read noise of each amplifier. A read noise of None is measured.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
        Default: that of the class, a clipped average.
    masks, options
        See `ccdflow.combine.stack.combine`; the uncertainty is by the noise model.

    Returns
    -------
    ccdflow.combine.stack.Combined
        `image` is in the unit of the members, for their exposure time. `uncertainty` is that of the
        darks alone. A frame from which the same bias and k times this dark are subtracted gets the
        variance (k `uncertainty`)^2 from the dark, and ((1 - k) ``shared_noise["MBNOISE"]``)^2 from
        the bias.

    Raises
    ------
    UserError
        If `bias` is a dark, or of another shape; see also `ccdflow.combine.stack.combine`.
    FrameError
        See `ccdflow.combine.stack.combine`.
    """
    bias = checked_bias(bias, "darks")
    subtracted_terms = () if bias is None else (SubtractedTerm(bias.pixels),)
    combined = combine_measured(
        members,
        amplifiers,
        recipe,
        subtracted_terms=subtracted_terms,
        options=options,
        has_light=True,
        masks=masks,
    )
    shared_noise = {} if bias is None else {"MBNOISE": bias.rms(combined.sample_rows)}
    return replace(combined, shared_noise=shared_noise)
