"""Tolerances of the cards of a combined frame, each with its reason (docs/verify.md)."""

MOST_FLOAT_STEPS = 2
"""Steps of float32 by which a combined pixel may differ: sums run in another order."""

TIME_TOLERANCE_SECONDS = 1e-3
"""Seconds by which times of frames may differ from their cards: cards have milliseconds."""

EXPOSURE_TOLERANCE = 1e-2
"""Relative: darks whose exposures differ by at most 1 % are one group, with one rounded
exposure."""

SHORT_EXPOSURE_TOLERANCE, LONG_EXPOSURE_TOLERANCE = 0.06, 0.6
"""Seconds, of exposures below and from 100 s: a little more than half of the 0.1 s and
of the 1 s of rounding."""

READ_NOISE_TOLERANCE = 5e-3
"""Relative, of a read noise in sampled rows: the workflow measures it by another statistic."""

ZERO_NOISE_TOLERANCE = 1e-3
"""Absolute, adu: the noise of frames without noise is near 0, and has no digits to compare."""

COMBINED_NOISE_TOLERANCE = 3e-2
"""Relative, of the noise of a combined frame, measured or predicted, by another statistic."""

CLIPPING_NOISE_TOLERANCE = 4e-2
"""Relative, of the noise that gives the limit of rejection, by differences of consecutive members.
Chosen: a small sample, 16 rows of 300 columns, gives this noise to 1 %."""

# Relative, of a noise model's factor: the workflow writes 1 for a factor within 1 %, or three
# standard errors, of 1.
_FACTOR_TOLERANCE = 0.02
# Relative, of a gain by pairs of flats: pairs in sampled rows scatter by this.
_GAIN_TOLERANCE = 0.03
# Standard errors by which a measured factor or gain may be off.
_MOST_SIGMA = 5

MASTER_NOISE_TOLERANCE = 2e-5
"""Relative, of the noise of masters: it is made of cards and standard errors of six digits."""

FLAT_SIGNAL_TOLERANCE = 2e-4
"""Relative, of FLATSN: the median of a ratio whose standard errors are made of cards of six
digits."""

FLAT_SCATTER_TOLERANCE = 1e-4
"""Relative, of FLATRMS: it is one over FLATSN, and both are rounded."""


def tolerance_of_factor(error):
    """Return the relative tolerance of a noise model's factor with this relative standard error."""
    return max(_FACTOR_TOLERANCE, _MOST_SIGMA * error)


def tolerance_of_gain(error):
    """Return the relative tolerance of a gain with this relative standard error."""
    return max(_GAIN_TOLERANCE, _MOST_SIGMA * error)
