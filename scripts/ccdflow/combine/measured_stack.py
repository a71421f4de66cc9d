"""The combination of frames after their noise is measured on some of their rows."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_noise import expected_light, measure_noise_model, sample_members
from ccdflow.combine.stack import CombineLimits, check_members, combine
from ccdflow.combine.subtracted_masters import mask_of_combined


def combine_measured(
    members, amplifiers, recipe=None, *, subtract=(), masks=None, limits=None, has_light
):
    """Combine members with a noise model that is measured on some of their rows.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
    subtract : sequence of ccdflow.combine.preparation.SubtractedTerm, optional
        Masters to subtract from every member.
    masks : ccdflow.combine.preparation.MemberMasks, optional
    limits : ccdflow.combine.stack.CombineLimits, optional
    has_light : bool
        Whether the members have a signal with photon noise: darks have, biases have not.

    Returns
    -------
    ccdflow.combine.stack.Combined
    """
    members, limits = list(members), limits or CombineLimits()
    check_members(members)
    threads, shape = limits.threads, members[0].shape
    sample = sample_members(members, subtract=subtract, masks=masks, threads=threads)
    noise = measure_noise_model(amplifiers, shape, sample, has_light=has_light, threads=threads)
    if has_light and len(sample.rows):
        noise = replace(noise, expected_light=expected_light(noise, sample))
    del sample
    combined = combine(
        members,
        recipe or CombineRecipe(),
        subtract=subtract,
        masks=masks,
        noise=noise,
        allows_empty=True,
        limits=limits.with_noise_model,
    )
    return replace(combined, mask=mask_of_combined(combined), shared_noise={})
