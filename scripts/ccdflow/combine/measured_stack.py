"""The combination of frames after their noise is measured on some of their rows."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_noise import expected_light, measure_noise_model, sample_members
from ccdflow.combine.stack import CombineOptions, check_members, combine
from ccdflow.combine.subtracted_masters import mask_of_combined


def combine_measured(
    members, amplifiers, recipe=None, *, subtracted_terms=(), masks=None, options=None, has_light
):
    """Combine members with a noise model that is measured on some of their rows.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
    subtracted_terms : sequence of ccdflow.combine.preparation.SubtractedTerm, optional
        Masters to subtract from every member.
    masks : ccdflow.combine.preparation.MemberMasks, optional
    options : ccdflow.combine.stack.CombineOptions, optional
    has_light : bool
        Whether the members have a signal with photon noise: darks have, biases have not.

    Returns
    -------
    ccdflow.combine.stack.Combined
    """
    members, options = list(members), options or CombineOptions()
    check_members(members)
    threads, shape = options.threads, members[0].shape
    sample = sample_members(
        members, subtracted_terms=subtracted_terms, masks=masks, threads=threads
    )
    noise = measure_noise_model(amplifiers, shape, sample, has_light=has_light, threads=threads)
    if has_light and len(sample.rows):
        noise = replace(noise, expected_light=expected_light(noise, sample))
    del sample
    combined = combine(
        members,
        recipe or CombineRecipe(),
        subtracted_terms=subtracted_terms,
        masks=masks,
        noise=noise,
        allows_empty=True,
        options=options.with_noise_model,
    )
    return replace(combined, mask=mask_of_combined(combined), shared_noise={})
