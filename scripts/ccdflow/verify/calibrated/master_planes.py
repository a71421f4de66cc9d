"""The masters of a calibrated frame as they are applied: pixels, masks and standard errors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.io import fits

from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.detector.photon_light import SmoothLight, edges_of_tiles
from ccdflow.verify.reading.restated_numbers import (
    LEAST_FLAT,
    LEAST_LIT_RESPONSE,
    MOST_BELOW_ZERO,
    NO_DATA,
    NOT_FINITE,
    SATURATED,
    UNCALIBRATED,
    UNLIT,
)
from ccdflow.verify.reading.verdict import SOURCE_REPLACED, CannotRemake

# Bits for the reasons why a master has no value in a pixel. A frame's mask gets UNCALIBRATED
# instead of them.
_NO_VALUE_BITS = SATURATED | NOT_FINITE | NO_DATA
# Standard errors by which a pixel's own light stands out: calibrate/master_noise.py.
_OWN_SIGNAL_SIGMA = 4.0
# Rows whose light is computed at once: their arrays in double precision stay small.
_LIGHT_ROWS = 64
# Rows and columns of the tiles of a dark.
_DARK_TILE_SIDE = 24


@dataclass(frozen=True)
class MasterPlane:
    """An image of a master.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    data : numpy.ndarray of shape (ny, nx), float32
        Finite pixels: those that are not applied are filled.
    flags : numpy.ndarray of shape (ny, nx), int16
        The bits that the master adds to the mask of a frame.
    errors : numpy.ndarray of shape (ny, nx), float32, or None
        UNCERT; of shape (0,) for a bias that has UNCERT.
    header, first_header : astropy.io.fits.Header
        Headers of the image and of the first HDU.
    light_by_place : dict of str to numpy.ndarray of shape (k, m), float32
        Expected light of a dark by the `repr` of an amplifier's place; `expected_dark_light` fills
        it.
    """

    kind: str
    data: np.ndarray
    flags: np.ndarray
    errors: np.ndarray | None
    header: fits.Header
    first_header: fits.Header
    light_by_place: dict[str, np.ndarray]

    @property
    def n_frames(self):
        """Number of frames that were combined."""
        return max(int(self.first_header.get("NCOMBINE", 1)), 1)

    @property
    def is_modelled(self):
        """Whether UNCERT follows from a noise model, by its card MODRN."""
        return self.errors is not None and any(k in self.header for k in ("MODRN", "MODRN01"))


def plane_of(path, hdu, kind, cut=None):
    """Return the `MasterPlane` of a master's image, or of a part; the last ones stay in memory.

    Parameters
    ----------
    path : pathlib.Path
        Path of the master.
    hdu : int
        Index of the image's HDU.
    kind : {'bias', 'dark', 'flat'}
    cut : (slice, slice), optional
        Rows and columns of a part; without it the whole image is read.

    Returns
    -------
    MasterPlane

    Raises
    ------
    CannotRemake
        If the master has no pixel with a value.
    """
    status = path.stat()
    section = None if cut is None else tuple((each.start, each.stop) for each in cut)
    return _read_plane(
        path, hdu, kind=kind, section=section, size=status.st_size, time=status.st_mtime_ns
    )


# An image needs up to three planes, and the next frames need the same ones. A plane takes 10 bytes
# a pixel, 0.17 GB for 4096 x 4096: more entries would keep the planes of nights that are done.
@lru_cache(maxsize=4)
def _read_plane(path, hdu, kind, section, size, time):
    """Return the `MasterPlane` of a file that has this size and time.

    Parameters
    ----------
    path : pathlib.Path
    hdu : int
    kind : {'bias', 'dark', 'flat'}
    section : ((int, int), (int, int)) or None
        Rows and columns of the part, half-open; None for all.
    size, time : int
        Size and time of the file: a file that was replaced is read again.
    """
    part = tuple(slice(*ends) for ends in section or ((None, None), (None, None)))
    with fits.open(path) as hdus:
        names = [each.name for each in hdus]
        mask_name, error_name = extension_name("MASK", hdu), extension_name("UNCERT", hdu)
        data = np.array(hdus[hdu].data, np.float32)
        mask = errors = None
        if mask_name in names:
            mask = np.array(hdus[mask_name].data, np.int16)
        if error_name in names:
            # The errors of a bias are not compared one by one: an empty array shows that there are
            # some (`standard_errors.variance_terms_of`).
            errors = np.empty(0, np.float32)
            if kind != "bias":
                errors = np.array(hdus[error_name].data[part], np.float32)
        first_header, header = hdus[0].header.copy(), hdus[hdu].header.copy()
    if not np.isfinite(data).any():
        reason = f"its {kind} {path.name} has no pixel with a value"
        raise CannotRemake(reason, SOURCE_REPLACED)
    flags = _fill_master(data, kind, mask)
    return MasterPlane(
        kind=kind,
        data=data[part],
        flags=flags[part],
        errors=errors,
        header=header,
        first_header=first_header,
        light_by_place={},
    )


def _fill_master(data, kind, mask):
    """Fill the pixels of a master that are not applied, in place, and return its flags.

    Parameters
    ----------
    data : numpy.ndarray of shape (ny, nx), float32
        Changed in place.
    kind : {'bias', 'dark', 'flat'}
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        Mask of the master.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), int16
        The bits that the master adds to the mask of a frame.
    """
    flags = np.zeros(data.shape, np.int16)
    if mask is not None:
        flags |= mask & ~np.int16(_NO_VALUE_BITS)
        flags[mask & _NO_VALUE_BITS != 0] |= UNCALIBRATED
    is_absent = ~np.isfinite(data)
    flags[is_absent] |= UNCALIBRATED
    if kind == "flat":
        if mask is None:
            flags[~is_absent & (data < np.float32(LEAST_LIT_RESPONSE))] |= UNLIT
        is_low = ~is_absent & (data < np.float32(LEAST_FLAT))
        flags[is_low] |= UNCALIBRATED
        data[is_absent | is_low] = 1.0
    elif is_absent.any():
        data[is_absent] = np.median(data[~is_absent])
    return flags


def expected_dark_light(plane, place):
    """Return the expected light of a dark in an amplifier: (ny, nx).

    A pixel has the light of its surroundings, or its own where that is far from theirs.

    Parameters
    ----------
    plane : MasterPlane
    place : (slice, slice)

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
        In the unit of the dark; at least minus `MOST_BELOW_ZERO` times its standard error.
    """
    key = repr(place)
    if key not in plane.light_by_place:
        errors = plane.errors[place]
        values = plane.data[place].astype(np.float64)
        level = 0.0 if plane.first_header.get("BIASKEY") else float(np.median(values[::4]))
        values -= level
        sampled_rows = np.concatenate(edges_of_tiles(len(values), _DARK_TILE_SIDE)[1])
        surroundings = SmoothLight(values[sampled_rows], len(values), _DARK_TILE_SIDE)
        light = np.empty(values.shape, np.float32)
        for low in range(0, len(values), _LIGHT_ROWS):
            rows = slice(low, min(low + _LIGHT_ROWS, len(values)))
            smooth = surroundings.rows(rows.start, rows.stop)
            error = errors[rows].astype(np.float64)
            is_outlier = (values[rows] - smooth) ** 2 > _OWN_SIGNAL_SIGMA**2 * error**2
            light[rows] = np.maximum(
                np.where(is_outlier, values[rows], smooth), -MOST_BELOW_ZERO * error
            )
        plane.light_by_place[key] = light
    return plane.light_by_place[key]
