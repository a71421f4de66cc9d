"""The noise of a detector, from its profile and the headers of its frames."""

from __future__ import annotations

from ccdflow.kinds.matching.rule_values import WARMING_WITH_LEVEL, DetectorNoise
from ccdflow.kinds.matching.setups import is_level_subtracted, profile_of


def detector_noise_of(context, row):
    """Return the `rule_values.DetectorNoise` of a frame's detector.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    ccdflow.kinds.matching.rule_values.DetectorNoise
    """
    default_noise = DetectorNoise()
    amplifiers = context.store.shared[row.geometry]["amplifiers"]
    read_noises = [each["read_noise"] for each in amplifiers if each.get("read_noise")]
    gains = [each["gain"] for each in amplifiers if each.get("gain")]
    camera = profile_of(context, row.camera)
    noise_by_header = row.facts["rdnoise"]
    if not isinstance(noise_by_header, int | float) or noise_by_header <= 0:
        noise_by_header = default_noise.read_noise
    is_subtracted = is_level_subtracted(
        context.store.recipe(row.recipe), context.store.geometry(row.geometry).amplifiers
    )
    return DetectorNoise(
        read_noise=max(read_noises, default=noise_by_header),
        dark_rate=getattr(camera, "dark_rate", None) or 0.0,
        flat_level=default_noise.flat_level * (min(gains) if gains else 1.0),
        **({} if is_subtracted else {"bias_warming": WARMING_WITH_LEVEL})
        | _ageing_in_profile(camera),
    )


def _ageing_in_profile(camera):
    """Return the ageing and warming of masters in a profile, {field of `DetectorNoise`: number}."""
    if camera is None:
        return {}
    ageing = {f"{kind}_ageing": variance for kind, variance in camera.ageing}
    return ageing | {f"{kind}_warming": warming for kind, warming in camera.warming}
