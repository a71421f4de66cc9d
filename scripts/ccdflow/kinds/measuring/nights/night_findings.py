"""The findings of a night on the pixels and amplifiers of a detector."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.detector.pixels.response import WeakPixels


@dataclass
class BadPixelsOfImage:
    """The findings of a night on the pixels of an image.

    Attributes
    ----------
    masks : dict of str to numpy.ndarray of shape (ny, nx), int16
        Masks by `ccdflow.detector.pixels.history.SOURCES`.
    weak : ccdflow.detector.pixels.response.WeakPixels or None
        The pixels that are low in the flats, bad or not; None where the flats show none reliably.
    """

    masks: dict[str, np.ndarray]
    weak: WeakPixels | None = None


@dataclass(frozen=True)
class NightFindings:
    """The findings of a night on a detector.

    Attributes
    ----------
    images : list of BadPixelsOfImage
    figures : list of dict
        Figures of each amplifier: gain, read noise, linearity, full well, counts of bad pixels.
    sources_used : list of str
        Those of `ccdflow.detector.pixels.history.SOURCES` that could show bad pixels.
    remarks : list of str
        Sentences on the detector, for the last lines of a run and the page of the night.
    """

    images: list[BadPixelsOfImage]
    figures: list[dict[str, object]]
    sources_used: list[str]
    remarks: list[str] = field(default_factory=list)
