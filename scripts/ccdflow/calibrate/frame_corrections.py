"""The masters and corrections of a frame: amplifiers, bad pixels, cosmic rays, shutter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ccdflow.calibrate.applied_masters import DarkLimits, FrameMasters
from ccdflow.calibrate.sparse_masks import SparseMask
from ccdflow.frame.readout import Readout


class CosmicHits(Protocol):
    """The result of a search for cosmic rays, a `ccdflow.detector.cosmic_rays.cosmics.Search`.

    Attributes
    ----------
    hits : numpy.ndarray of shape (ny, nx), bool
        True in pixels that a cosmic ray hit.
    is_kept : bool
        Whether the hits are real; False if too many pixels of stars were taken for hits.
    sigma, contrast, fwhm : float
        The arguments of the search, which the header names; ``fwhm`` in pixels.
    """

    hits: np.ndarray
    is_kept: bool
    sigma: float
    contrast: float
    fwhm: float


@dataclass(frozen=True)
class ImageCorrections:
    """The corrections of one image of a frame.

    Attributes
    ----------
    bad_pixels : ccdflow.calibrate.sparse_masks.SparseMask or None
        Bad pixels of the detector, with their bits.
    find_cosmics : callable or None
        Takes image, standard errors and mask, (ny, nx) each; returns `CosmicHits`.
    """

    bad_pixels: SparseMask | None = None
    find_cosmics: Callable[[np.ndarray, np.ndarray, np.ndarray], CosmicHits] | None = None


@dataclass(frozen=True)
class FrameCorrections:
    """The corrections of a frame beside its masters.

    Attributes
    ----------
    bad_pixels : tuple of ccdflow.calibrate.sparse_masks.SparseMask
        Bad pixels of each image; () for none.
    find_cosmics : callable or None
        See `ImageCorrections`.
    cards : tuple of (str, object, str)
        Keyword, value and comment of cards of the first HDU.
    """

    bad_pixels: tuple[SparseMask, ...] = ()
    find_cosmics: Callable[[np.ndarray, np.ndarray, np.ndarray], CosmicHits] | None = None
    cards: tuple[tuple[str, object, str], ...] = ()

    def for_image(self, number):
        """Return the `ImageCorrections` of an image, counted from 0."""
        pixels = self.bad_pixels[number] if number < len(self.bad_pixels) else None
        return ImageCorrections(pixels, self.find_cosmics)


@dataclass(frozen=True)
class FrameCalibration:
    """The masters of a frame, its amplifiers and its corrections.

    Attributes
    ----------
    masters : ccdflow.calibrate.applied_masters.FrameMasters
        From a `ccdflow.calibrate.master_store.MasterStore` that all threads share.
    readouts : sequence of sequence of ccdflow.frame.readout.Readout
        The readouts of the amplifiers of each image of the frame.
    corrections : FrameCorrections
        Bad pixels, the search for cosmic rays, the shutter.
    limits : ccdflow.calibrate.applied_masters.DarkLimits
        The dark is refused beyond them.
    """

    masters: FrameMasters
    readouts: Sequence[Sequence[Readout]]
    corrections: FrameCorrections = FrameCorrections()
    limits: DarkLimits = field(default_factory=DarkLimits)

    @property
    def all_readouts(self):
        """The readouts of all images, in one tuple."""
        return tuple(readout for image in self.readouts for readout in image)


def sparse_mask(pixels, shape):
    """Return a sparse mask of an image from a list of its pixels.

    Parameters
    ----------
    pixels : dict of str to numpy.ndarray of shape (k,), any integer type
        ``row``, ``column`` (from 0) and ``bits`` of each pixel.
    shape : (int, int)
        (ny, nx).

    Returns
    -------
    ccdflow.calibrate.sparse_masks.SparseMask
    """
    index = np.asarray(pixels["row"], np.int64) * shape[1] + pixels["column"]
    order = np.argsort(index, kind="stable")
    return SparseMask(index[order], np.asarray(pixels["bits"], np.int16)[order], shape[1])
