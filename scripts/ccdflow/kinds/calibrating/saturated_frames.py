"""Frames that are saturated in more pixels than their stars explain."""

from __future__ import annotations

import math

from ccdflow.files.values import number_or_none
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.robust import median
from ccdflow.wording import count

UNUSUAL_SATURATED_FRACTION = 1e-3
"""A frame is marked if at least this fraction of its pixels is saturated.

The cores of bright stars saturate 1 pixel in 80,000 in the guide's night, and 1 in 22,000 in frames
of EFOSC2. With a lower limit, one bright star would mark every frame. A spectrum of ISIS that has
lost its brightest lines has 1 in 390."""

# A frame with at least this fraction of its pixels saturated is marked if frames alike have far
# fewer saturated pixels. Chosen: twice the pixels of the brightest stars of EFOSC2.
_LEAST_UNUSUAL_FRACTION = 1e-4
# A frame has far more saturated pixels than others above this many times their median. Chosen: the
# cores of stars grow and shrink by a factor of three with the seeing.
_FAR_ABOVE_FACTOR = 5.0
# Fewest frames alike: the median of fewer does not show how many pixels the field's stars saturate.
_FEWEST_OTHERS = 2
# Exposures that agree in this many digits count as the same, such as 300.014 and 300.062 s.
_EXPOSURE_DIGITS = 2
# Frames of the same field and light agree in these facts.
_ALIKE_FACTS = ("type", "object", "filter", "grism")


def number_of_pixels(context, row):
    """Return the number of pixels of a reduced or calibrated frame, in all of its images.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        Row of the raw frame.

    Returns
    -------
    int
    """
    _, images = recipe_and_images(context, row)
    return sum(math.prod(image.shape) for image in images)


def field_and_light(row):
    """Return the key under which frames of the same object, light and exposure are alike.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    tuple of (str or tuple)
        Hashable.
    """
    seconds = number_or_none(row.facts["exptime"])
    exposure = None if seconds is None else f"{seconds:.{_EXPOSURE_DIGITS}g}"
    return row.camera, row.geometry, (exposure, *(row.facts[name] for name in _ALIKE_FACTS))


def unusual_saturation(n_saturated, n_pixels, counts_alike=()):
    """Return in words why the number of saturated pixels of a frame is unusual; '' if it is not.

    Parameters
    ----------
    n_saturated, n_pixels : int
        Numbers of the saturated pixels and of all pixels of the frame.
    counts_alike : sequence of int, optional
        Number of the saturated pixels of each frame that is alike (`field_and_light`).

    Returns
    -------
    str

    Examples
    --------
    >>> unusual_saturation(5043, 1_979_817)
    '5043 pixels of it, 1 in 393'
    >>> unusual_saturation(900, 8_454_144, [79, 102])
    '900 pixels of it; 90 in the median of 2 frames alike'
    >>> unusual_saturation(79, 8_454_144, [0, 2])
    ''
    """
    if n_saturated >= UNUSUAL_SATURATED_FRACTION * n_pixels:
        return (
            f"{n_saturated} pixels of it, 1 in {n_pixels / n_saturated:.0f}" if n_saturated else ""
        )
    if len(counts_alike) < _FEWEST_OTHERS or n_saturated < _LEAST_UNUSUAL_FRACTION * n_pixels:
        return ""
    median_number = float(median(counts_alike))
    if n_saturated <= _FAR_ABOVE_FACTOR * median_number:
        return ""
    frames_in_words = count(len(counts_alike), "frame")
    return (
        f"{n_saturated} pixels of it; {median_number:.0f} in the median of {frames_in_words} alike"
    )
