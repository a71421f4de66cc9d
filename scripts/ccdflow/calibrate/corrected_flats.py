"""Flats that also correct a frame for its shutter."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from ccdflow.calibrate.combined_master import MasterImage

# Number of flats that are kept: the frames of a night have few exposure times.
_MOST_FLATS = 2


@dataclass
class CorrectedImage(MasterImage):
    """One image of a flat, divided by the factor that corrects a frame for its shutter.

    A frame divided by this image is corrected for flat and shutter. A calibrated frame times this
    image is the light that reached the pixel: the noise is predicted from it.

    Attributes
    ----------
    flat : MasterImage or None
        The flat itself.
    factor_variance : numpy.ndarray of shape (ny, nx), float32, or None
        Relative variance of the factor.
    """

    flat: MasterImage | None = None
    factor_variance: np.ndarray | None = None

    @property
    def nbytes(self):
        """Bytes of memory in use beside the flat's."""
        return super().nbytes + self.factor_variance.nbytes

    def variance(self, master, readouts):
        """Return the sum of the relative variances of flat and factor, (ny, nx)."""

        def summed_variance():
            """Return the relative variances of flat and factor, added."""
            return self.flat.variance(master, readouts) + self.factor_variance

        return self._plane(("variance", readouts), summed_variance)


def correct_flat_for_shutter(master, factors):
    """Return a flat that also corrects a frame for its shutter.

    Parameters
    ----------
    master : ccdflow.calibrate.combined_master.Master
        The flat.
    factors : sequence of (numpy.ndarray, numpy.ndarray) of shape (ny, nx), float32
        For each image, the factor on the calibrated frame and its relative variance.

    Returns
    -------
    ccdflow.calibrate.combined_master.Master
    """
    images = tuple(
        CorrectedImage(image.data / factor, image.flags, flat=image, factor_variance=variance)
        for image, (factor, variance) in zip(master.images, factors, strict=True)
    )
    return replace(master, images=images)


class CorrectedFlats:
    """The flats that threads share, corrected for the exposures of their frames."""

    def __init__(self):
        self._lock = threading.Lock()
        self._flats = OrderedDict()

    def get(self, key, make):
        """Return the flat of a key; it is made if it is not among the last few.

        Parameters
        ----------
        key : hashable
            Names the flat, the map of the shutter and the exposure time.
        make : callable
            Returns the flat of the key.

        Returns
        -------
        ccdflow.calibrate.combined_master.Master
        """
        with self._lock:
            if key not in self._flats:
                self._flats[key] = make()
                while len(self._flats) > _MOST_FLATS:
                    self._flats.popitem(last=False)
            self._flats.move_to_end(key)
            return self._flats[key]
