"""The noise of a detector, from its profile and the headers of its frames."""

from __future__ import annotations

from ccdflow.kinds.matching.rule_values import WARMING_WITH_LEVEL, DetectorNoise
from ccdflow.kinds.matching.setups import profile_of


def detector_noise_of(context, row):
    """Return the `rule_values.DetectorNoise` of a frame's detector, from profile and header.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.

    Returns
    -------
    ccdflow.kinds.matching.rule_values.DetectorNoise
    """
    usual_noise = DetectorNoise()
    amplifiers = context.store.shared[row.geometry]["amplifiers"]
    noises = [a["read_noise"] for a in amplifiers if a.get("read_noise")]
    gains = [a["gain"] for a in amplifiers if a.get("gain")]
    camera = profile_of(context, row.camera)
    claimed_noise = row.facts["rdnoise"]
    if not isinstance(claimed_noise, int | float) or claimed_noise <= 0:
        claimed_noise = usual_noise.read_noise
    has_overscans = all(amplifier["overscan"] for amplifier in amplifiers)
    is_level_subtracted = context.store.recipe(row.recipe).subtract and has_overscans
    return DetectorNoise(
        read_noise=max(noises, default=claimed_noise),
        dark_rate=getattr(camera, "dark_rate", None) or 0.0,
        flat_level=usual_noise.flat_level * (min(gains) if gains else 1.0),
        **({} if is_level_subtracted else {"bias_warming": WARMING_WITH_LEVEL})
        | _ageing_in_profile(camera),
    )


def _ageing_in_profile(camera):
    """Return the ageing and warming of masters in a profile, {field of `DetectorNoise`: number}."""
    if camera is None:
        return {}
    ageing = {f"{kind}_ageing": age for kind, age in camera.ageing}
    return ageing | {f"{kind}_warming": part for kind, part in camera.warming}
