"""The sentences on measured gains, read noises and full wells that header or profile contradict."""

from __future__ import annotations

import math

from ccdflow.pages.text_formatting import value_with_error
from ccdflow.run.products.product_names import reduced_product
from ccdflow.wording import amplifier_prefix

# A claimed gain or read noise gets a sentence if it is off by more than this fraction of the
# measured one. Chosen, not measured: with a gain that is 5 % off, errors of bright pixels are 2.5 %
# off.
_LEAST_DEPARTURE = 0.05
# The claim must also be off by more than this many standard errors of the measurement.
_DEPARTURE_ERRORS = 3.0
# A claimed saturation gets a sentence if it is at least this many times the measured one: with a
# lower one, full pixels are masked.
_LEAST_SATURATION_RATIO = 1.02


def sentences_on_claims(figures, *, has_several_amplifiers):
    """Return the sentences on a gain and read noise that differ from header or profile.

    Parameters
    ----------
    figures : dict of str to (str or float)
        Figures of an amplifier, as in
        `ccdflow.kinds.measuring.nights.night_findings.NightFindings`.
    has_several_amplifiers : bool
        Whether the detector has more than one amplifier.

    Returns
    -------
    list of str
    """
    prefix = amplifier_prefix(figures["amplifier"], has_others=has_several_amplifiers)
    remarks = []
    for name, unit in (("gain", "electrons per adu"), ("read_noise", "electrons")):
        value, error = figures[name], figures[f"{name}_error"]
        if not (math.isfinite(value) and math.isfinite(error)):
            continue
        value_used, header = figures[f"{name}_used"], figures[f"{name}_header"]
        claims = _wrong_claims(value, error, value_used, header)
        if claims:
            remarks.append(
                f"{prefix}{name.replace('_', ' ')} {value_with_error(value, error)} {unit} is"
                f" measured, {', '.join(claims)}"
            )
        if name == "gain" and not math.isfinite(value_used):
            # A profile without a gain for the amplifier takes precedence over the header.
            lack_words = (
                "the profile has no gain"
                if math.isfinite(header)
                else "neither profile nor header has a gain"
            )
            remarks.append(
                f"{prefix}{lack_words}: the measured {value_with_error(value, error)}"
                " electrons per adu is used"
            )
    return remarks


def _wrong_claims(value, error, value_used, header):
    """Return the claims of header and profile that a measured value contradicts, in words.

    Parameters
    ----------
    value, error : float
        The measured value and its standard error.
    value_used, header : float
        The value in use, of the profile or else of the header; that of the header. NaN for none.
    """
    claim = value_used if math.isfinite(value_used) else header
    limit = max(_LEAST_DEPARTURE * value, _DEPARTURE_ERRORS * error)
    is_of_header = math.isclose(claim, header, rel_tol=1e-3)
    claims = []
    if abs(value - claim) > limit:
        claims.append(f"the {'header' if is_of_header else 'profile'} has {claim:g}")
    if not is_of_header and abs(value - header) > limit:
        claims.append(f"the header has {header:g}")
        # The header's wrong value does no harm where the profile has the right one.
        if len(claims) == 1:
            claims.append("the profile has the right one")
    return claims


def sentences_on_full_pixels(night, amplifier, figures, *, has_several_amplifiers):
    """Return [a sentence on the level of full pixels], or [] if none is needed.

    None is needed if header or profile has this level or a lower one, or it was not measured.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    amplifier : ccdflow.camera.geometry.Amplifier
    figures : dict of str to (str or float)
        Figures of the amplifier, as for `sentences_on_claims`.
    has_several_amplifiers : bool
        Whether the detector has more than one amplifier.

    Returns
    -------
    list of str
    """
    well, saturation = figures["full_well"], amplifier.saturation
    levels = night.context.outcome(reduced_product(night.files[0])).data["levels"]
    if not math.isfinite(well) or amplifier.name not in levels:
        return []
    raw_level = well + levels[amplifier.name]
    if saturation is not None and saturation < _LEAST_SATURATION_RATIO * raw_level:
        return []
    prefix = amplifier_prefix(figures["amplifier"], has_others=has_several_amplifiers)
    claim_words = (
        "neither profile nor header has a saturation, and calibrated frames get bit 1 there"
        if saturation is None
        else f"profile or header say {saturation:g}"
    )
    return [f"{prefix}pixels are full at {raw_level:.0f} adu (raw) by their flats; {claim_words}"]
