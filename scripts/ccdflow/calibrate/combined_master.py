"""A combined bias, dark or flat as calibration takes it, and its reading from a file.

All pixels of a `Master` are finite: a pixel without a value gets a substitute, and a bit in the
mask. Variances are computed on first use, see `ccdflow.calibrate.master_noise`.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ccdflow import mask_bits
from ccdflow.calibrate.applied_masters import FLAT
from ccdflow.calibrate.master_noise import signal_of, variance_of
from ccdflow.calibrate.sparse_masks import SparseMask, bits_of_master
from ccdflow.errors import MAKE_AGAIN, DamagedProduct, FrameError
from ccdflow.files.cards import card_value
from ccdflow.files.fits_products.multi_image_products import read_rows, read_stored_hdus
from ccdflow.files.values import as_number

if TYPE_CHECKING:
    from ccdflow.files.fits_products.multi_image_products import StoredHdu

LEAST_FLAT = 1e-3
"""A pixel is divided by its flat only where the flat, of mean 1, is at least this. With a smaller
number noise is multiplied by more than 1,000; with a larger one pixels that a vignette leaves some
light are not divided. Chosen, not measured."""

# Rows of a master that are read at once: a few MB.
_READ_ROWS = 256
# A flat is refused if the median of its lit pixels is not between these two numbers; with a mask
# of its own, if their mean is not either. The two are far apart, because a flat has a mean of 1
# also if parts of it are unlit.
_LOWEST_MEDIAN, _HIGHEST_MEDIAN = 0.5, 2.0
# The lit pixels of a flat are judged in this many of its rows, or up to twice as many. More rows
# take longer; with few, a flat with bands of light is judged by the bands that they meet. Chosen,
# not measured.
_CHECKED_ROWS = 256
# A master keeps this many planes of a sort, one for each exposure: most nights have one or two.
_KEPT_PLANES = 2


@dataclass(frozen=True)
class Master:
    """A combined bias, dark or flat.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    images : tuple of MasterImage
        One for each image of the frames, in the order of the HDUs.
    name : str
        Path of the file, for cards and errors.
    key : str
        CCDFKEY of the file.
    frames : float or None
        Number of members; None if the header has none.
    exptime : float or None
        Exposure time, seconds; None if the header has none.
    bias_key : str
        CCDFKEY of the bias that was subtracted from its members, or the name of a bias without a
        key; '' if they still hold their bias.
    bias_noise : float
        Noise of that bias, adu; needed only if the frame gets another bias.
    is_level_subtracted : bool
        Whether the bias level of its members was subtracted, by overscan or by a combined bias.
    level : float or None
        Mean level of a member of a flat, adu.
    camera, unit : str
        CCDFCAM and BUNIT of the file.
    gains : tuple of float
        Electrons per adu of its amplifiers; () if the header has none.
    """

    kind: str
    images: tuple[MasterImage, ...]
    name: str = ""
    key: str = ""
    frames: float | None = None
    exptime: float | None = None
    bias_key: str = ""
    bias_noise: float = 0.0
    is_level_subtracted: bool = True
    level: float | None = None
    camera: str = ""
    unit: str = "adu"
    gains: tuple[float, ...] = ()

    @property
    def nbytes(self):
        """Bytes of memory in use."""
        return sum(image.nbytes for image in self.images)

    def cut(self, region):
        """Return the part of a master of one image in a `ccdflow.camera.sections.Region`.

        The part keeps the figures of the whole master; a flat is not normalised again.
        """
        (image,) = self.images
        return replace(self, images=(image.cut(region),))


@dataclass
class MasterImage:
    """One image of a master.

    Attributes
    ----------
    data : numpy.ndarray of shape (ny, nx), float32
        Native and finite: adu; of a flat, relative to its mean.
    flags : ccdflow.calibrate.sparse_masks.SparseMask
        Bad pixels, in the bits of a calibrated frame's mask.
    error : callable or None
        Returns the standard errors of the pixels in a new array, (ny, nx) float32, in the unit of
        ``data``; None if they are not known.
    is_error_measured : bool
        Whether the errors follow from the scatter of each pixel's values.
    number : int
        Number that no other image of this process has.
    """

    data: np.ndarray
    flags: SparseMask
    error: Callable[[], np.ndarray] | None = None
    is_error_measured: bool = True
    number: int = field(default_factory=itertools.count().__next__)
    _planes: dict[tuple[str, object], np.ndarray] = field(default_factory=dict, repr=False)
    _recent: OrderedDict = field(default_factory=OrderedDict, repr=False)
    _lock: AbstractContextManager[bool] = field(default_factory=threading.RLock, repr=False)

    @property
    def nbytes(self):
        """Bytes of memory in use."""
        planes = [self.data, *self._planes.values(), *self._recent.values()]
        return self.flags.nbytes + sum(getattr(plane, "nbytes", 0) for plane in planes)

    def cut(self, region):
        """Return a copy of the pixels of a `ccdflow.camera.sections.Region`."""
        error = self.error and (lambda: self.error()[region.slices].copy())
        flags = self.flags.cut(region)
        return MasterImage(self.data[region.slices].copy(), flags, error, self.is_error_measured)

    def variance(self, master, readouts):
        """Return the variance of each pixel: adu^2; of a flat, relative to its value squared.

        Parameters
        ----------
        master : Master
            The master of this image.
        readouts : tuple of ccdflow.frame.readout.Readout
            Readouts of the amplifiers of the image, with gain and read noise.

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float32
            Finite, above 0.
        """
        return self._plane(("variance", readouts), lambda: variance_of(self, master, readouts))

    def signal(self, master, readouts):
        """Return the expected signal of a dark's pixels, adu, without the noise of a single pixel.

        Parameters
        ----------
        master : Master
            The master that the image is of.
        readouts : tuple of ccdflow.frame.readout.Readout
            Readouts of the amplifiers of the image.

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float32
        """
        return self._plane(("signal", readouts), lambda: signal_of(self, master, readouts))

    def figure(self, name, make):
        """Return a figure of this image that is computed once.

        Parameters
        ----------
        name : hashable
        make : callable
            Computes it.

        Returns
        -------
        object
            The result of ``make()``.
        """
        return self._plane(name, make)

    def recent_plane(self, name, make):
        """Return a plane that depends on the frame as well, such as a scaled dark with its bias.

        Parameters
        ----------
        name : tuple of hashable
            The first entry is the sort of plane: the last few planes of each sort are kept.
        make : callable
            Computes the plane.

        Returns
        -------
        object
            The result of ``make()``.
        """
        with self._lock:
            if name not in self._recent:
                self._recent[name] = make()
            self._recent.move_to_end(name)
            names_of_sort = [other for other in self._recent if other[0] == name[0]]
            for oldest_name in names_of_sort[:-_KEPT_PLANES]:
                del self._recent[oldest_name]
            return self._recent[name]

    def forget(self, readouts):
        """Free the planes of variance and signal; they are computed again if needed."""
        with self._lock:
            for name in ("variance", "signal"):
                self._planes.pop((name, readouts), None)

    def _plane(self, name, make):
        """Return the figure or plane of this name, computed by ``make()`` once for all threads."""
        with self._lock:
            if name not in self._planes:
                self._planes[name] = make()
            return self._planes[name]


def read_master(path, kind, *, name=None):
    """Read a combined bias, dark or flat.

    Parameters
    ----------
    path : path-like
    kind : {'bias', 'dark', 'flat'}
    name : str, optional
        For cards and errors; default: the path.

    Returns
    -------
    Master

    Raises
    ------
    FrameError
        If it cannot be read, or a flat holds no lit pixel or is not normalised.
    """
    name = str(path) if name is None else name
    stored = _StoredMaster(path, kind, name, read_stored_hdus(path, name=name))
    indices = stored.image_indices
    if not indices:
        raise DamagedProduct(f"the combined {kind} holds no image", file=name, remedy=MAKE_AGAIN)
    with Path(path).open("rb", buffering=0) as file:
        images = tuple(stored.read_image(file.fileno(), index) for index in indices)
    header = stored.header(indices[-1])
    gains = sum((_gains_of(stored.hdus[index].header) for index in indices), ())
    # One image of a file may have its cards in the primary.
    return _master_of_header(kind, images, gains or _gains_of(header), header, name)


@dataclass(frozen=True)
class _StoredMaster:
    """The file of a combined bias, dark or flat.

    Attributes
    ----------
    path : path-like
    kind : {'bias', 'dark', 'flat'}
    name : str
        For errors.
    hdus : list of ccdflow.files.fits_products.multi_image_products.StoredHdu
    """

    path: Path
    kind: str
    name: str
    hdus: list[StoredHdu]

    @property
    def image_indices(self):
        """The indices of the HDUs that hold an image of the master."""
        return [
            index
            for index, hdu in enumerate(self.hdus)
            if hdu.shape is not None and not is_companion(hdu.name, index)
        ]

    def header(self, index):
        """Return the header of an image, with the cards of the primary that it lacks."""
        primary = self.hdus[0].header
        return primary if index == 0 else _merge_headers(primary, self.hdus[index].header)

    def read_image(self, descriptor, index):
        """Return the `MasterImage` of an HDU; its standard errors are read later.

        Raises
        ------
        FrameError
            As `master_image_of`.
        """
        mask, error = (self._companion(word, index) for word in ("MASK", "UNCERT"))
        header = self.header(index)
        return _master_image_of_own(
            _read_image(descriptor, self.hdus[index], self.name),
            self.kind,
            mask=None if mask is None else _read_image(descriptor, mask, self.name),
            error=None if error is None else _error_reader(self.path, error, self.name),
            # A header with these cards has an UNCERT that was predicted by a noise model.
            is_error_measured="MODRN" not in header and "MODRN01" not in header,
            name=self.name,
        )

    def _companion(self, word, index):
        """Return the last extension of this kind that belongs to an image: MASK, MASK2; or None."""
        name = f"{word}{index or ''}"
        extensions = (hdu for hdu in self.hdus[:0:-1] if hdu.shape is not None)
        return next((hdu for hdu in extensions if hdu.name == name), None)


def is_companion(name, index):
    """Return whether an HDU is an image's uncertainty, mask or count.

    Parameters
    ----------
    name : str
        EXTNAME of the HDU.
    index : int
        Number of the HDU, from 0; the first HDU is no companion.

    Returns
    -------
    bool
    """
    return index > 0 and name.rstrip("0123456789") in ("UNCERT", "MASK", "COUNT")


def _merge_headers(primary, extension):
    """Return the primary header with the cards of an extension, which take precedence."""
    merged = primary.copy()
    merged.update(extension)
    return merged


def _error_reader(path, hdu, name):
    """Return a function that reads standard errors: they are needed late, or never."""

    def read():
        """Return the standard errors."""
        with Path(path).open("rb", buffering=0) as file:
            return _read_image(file.fileno(), hdu, name)

    return read


def _read_image(descriptor, hdu, name):
    """Return an image in native byte order: float32, or integers for an integer image."""
    dtype = np.dtype(hdu.dtype)
    image = np.empty(hdu.shape, np.float32 if dtype.kind == "f" else dtype.newbyteorder("="))
    buffer = np.empty((min(_READ_ROWS, hdu.shape[0]), hdu.shape[1]), dtype)
    for first in range(0, hdu.shape[0], len(buffer)):
        block = buffer[: hdu.shape[0] - first]
        read_rows(descriptor, hdu, first, block, name=name)
        image[first : first + len(block)] = block
    return image


def _gains_of(header):
    """Return the gains of an image's amplifiers, in the order of their cards."""
    gains = (as_number(card_value(header, key)) for key in header if _is_gain_card(key))
    return tuple(gain for gain in gains if gain is not None)


def _master_of_header(kind, images, gains, header, name):
    """Return a `Master` with the values of its header that calibrating needs.

    Parameters
    ----------
    kind : str
        "bias", "dark" or "flat".
    images : sequence of MasterImage
        The images of the master.
    gains : tuple of float
        Gains of its amplifiers, electrons per adu.
    header : astropy.io.fits.Header
    name : str
        Name of the file.
    """

    def text(keyword):
        """Return the text of a card; '' without one."""
        return str(card_value(header, keyword) or "")

    bias_key = text("BIASKEY") or text("BIASIM")
    return Master(
        kind,
        images,
        name=name,
        key=text("CCDFKEY"),
        frames=as_number(card_value(header, "NCOMBINE")),
        exptime=as_number(card_value(header, "EXPTIME")),
        bias_key=bias_key,
        bias_noise=as_number(card_value(header, "MBNOISE")) or 0.0,
        is_level_subtracted=bool(bias_key) or is_overscan_subtracted(header),
        level=as_number(card_value(header, "FLATLVL")),
        camera=text("CCDFCAM"),
        unit=text("BUNIT") or "adu",
        gains=gains,
    )


def is_overscan_subtracted(header):
    """Return whether a header says that the overscan level was subtracted."""
    keywords = ("OVERSCAN", "OVERSC01", "BIASLVL", "BIASLV01")
    return any(keyword in header for keyword in keywords)


def _is_gain_card(keyword):
    """Return whether a keyword is AMPGAIN, or GAIN with the number of an amplifier."""
    return keyword == "AMPGAIN" or (keyword[:4] == "GAIN" and keyword[4:].isdigit())


def master_image_of(pixels, kind, *, mask=None, error=None, is_error_measured=True, name=""):
    """Return a `MasterImage` of an array.

    Parameters
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32 or float64
        Adu; of a flat, with mean 1. Pixels that are not finite are replaced and flagged.
    kind : {'bias', 'dark', 'flat'}
    mask : numpy.ndarray of shape (ny, nx), integers, optional
        Bits of `ccdflow.mask_bits`. Without it the pixels of a flat below
        `ccdflow.mask_bits.UNLIT_BELOW` are unlit.
    error : numpy.ndarray of shape (ny, nx), float32 or float64, or callable, optional
        Standard errors, or a function that returns them.
    is_error_measured : bool, optional
        See `MasterImage`.
    name : str, optional
        For errors.

    Returns
    -------
    MasterImage

    Raises
    ------
    FrameError
        If no pixel has a value, or a flat holds no lit pixel or is not normalised.
    """
    if error is not None and not callable(error):
        errors = error
        error = lambda: np.array(errors, np.float32)  # noqa: E731
    return _master_image_of_own(
        np.array(pixels, np.float32),
        kind,
        mask=mask,
        error=error,
        is_error_measured=is_error_measured,
        name=name,
    )


def _master_image_of_own(data, kind, *, mask, error, is_error_measured, name):
    """Return the `MasterImage` of an array that nothing else holds; raise as `master_image_of`.

    Parameters
    ----------
    data : numpy.ndarray of shape (ny, nx), float32
        In native byte order; changed, and kept by the image.
    kind : {'bias', 'dark', 'flat'}
    mask : numpy.ndarray of shape (ny, nx), int, or None
    error : callable or None
        Returns the standard errors.
    is_error_measured : bool
    name : str
        For errors.
    """
    flags = np.zeros(data.shape, np.int16) if mask is None else bits_of_master(mask)
    is_missing = ~np.isfinite(data)
    if is_missing.all():
        raise DamagedProduct(
            f"the combined {kind} holds no finite value", file=name, remedy=MAKE_AGAIN
        )
    flags[is_missing] |= mask_bits.UNCALIBRATED
    if kind == FLAT:
        if mask is None:
            # The mask of a combined flat has these pixels already, by the light of each amplifier.
            flags[~is_missing & (data < mask_bits.UNLIT_BELOW)] |= mask_bits.UNLIT
        _check_flat(data, flags, name, has_mask=mask is not None)
        # Almost no response is no divisor: the noise would become infinite.
        is_missing |= data < LEAST_FLAT
        flags[is_missing] |= mask_bits.UNCALIBRATED
        data[is_missing] = 1.0
    elif is_missing.any():
        data[is_missing] = np.median(data[~is_missing])
    return MasterImage(data, SparseMask.from_mask(flags), error, is_error_measured)


def _check_flat(data, flags, name, *, has_mask):
    """Raise `FrameError` for a flat without lit pixels, or whose lit pixels are far from 1.

    Parameters
    ----------
    data : numpy.ndarray of shape (ny, nx), float32
    flags : numpy.ndarray of shape (ny, nx), int16
    name : str
        Name of the file.
    has_mask : bool
        Whether the flat has a mask of its own, which flags its unlit pixels.
    """

    def lit_pixels(rows):
        """Return the lit pixels of some rows.

        A pixel that was saturated in all members has their highest level and no response.
        """
        return data[rows][flags[rows] & (mask_bits.UNCALIBRATED | mask_bits.UNLIT) == 0]

    # A sample of rows takes less time than all rows. If it has no lit pixel, all rows are searched.
    lit_values = lit_pixels(slice(None, None, max(1, data.shape[0] // _CHECKED_ROWS)))
    lit_values = lit_values if lit_values.size else lit_pixels(slice(None))
    if not lit_values.size:
        raise FrameError(
            "the flat holds no lit pixel",
            file=name,
            keyword="highest pixel",
            value=round(float(np.nanmax(data)), 3),
            allowed=f"a mean of 1, and pixels of at least {mask_bits.UNLIT_BELOW}",
            remedy="look at its members",
        )
    middle = float(np.median(lit_values))
    central_values = [middle]
    if has_mask:
        # A flat in adu of amplifiers with very unlike gains has the median of one amplifier, and
        # the mean of all.
        central_values.append(float(lit_values.mean(dtype=np.float64)))
    if not any(_LOWEST_MEDIAN < each < _HIGHEST_MEDIAN for each in central_values):
        raise FrameError(
            "the flat is not normalised",
            file=name,
            keyword="median",
            value=round(middle, 3),
            allowed=f"a median between {_LOWEST_MEDIAN:g} and {_HIGHEST_MEDIAN:g}",
            remedy="divide it by its mean",
        )
