"""Calibration of a reduced frame on disk, in one pass over blocks of rows.

The frame is never held whole in memory: a block is read, calibrated and written while it is in the
processor's cache. All threads share one copy of the masters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ccdflow import mask_bits
from ccdflow.calibrate import calibrated_header
from ccdflow.calibrate.applied_masters import check_masters, is_level_removed, is_noise_known
from ccdflow.calibrate.arithmetic import ImageCalibration
from ccdflow.calibrate.buffers import Buffers
from ccdflow.calibrate.combined_master import is_companion
from ccdflow.calibrate.image_figures import ImageFigures, ImageSample
from ccdflow.errors import MAKE_AGAIN, DamagedProduct, FrameError
from ccdflow.files import checksum, header_text
from ccdflow.files.cards import card_value
from ccdflow.files.fits_products import compressed_images
from ccdflow.files.fits_products.multi_image_products import Plane, read_rows, read_stored_hdus
from ccdflow.frame import saturation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ccdflow.files.fits_products.multi_image_products import StoredHdu

ARITHMETIC_VERSION = 8
"""Raise it when a change alters any pixel or any card of a calibrated frame."""

# A strip has at most this many pixels, in an even number of rows, or else two rows. Pixels with
# signal are looked for by the least variance of each strip.
_STRIP_PIXELS = 1 << 16
# Strips of a block, which is read, calibrated and written at once. Smaller blocks spend their time
# on calls; larger ones leave the processor's cache.
_STRIPS_OF_A_BLOCK = 4
# Cards by which other programs note a step that they have done, and the step.
_DONE_CARDS = (("ZEROCOR", "bias"), ("DARKCOR", "dark"), ("FLATCOR", "flat"))


@dataclass(frozen=True)
class ProductForm:
    """The extensions of a calibrated frame, and their compression.

    Attributes
    ----------
    has_uncertainty, has_mask : bool
        Extensions to make. Without gain or read noise there is no uncertainty.
    compress : {'', 'lossless', 'quantised'}
        Whether the product is of compressed tiles, see
        `ccdflow.files.fits_products.compressed_images`.
    """

    has_uncertainty: bool = True
    has_mask: bool = True
    compress: str = ""


@dataclass(frozen=True)
class Calibrated:
    """The result of calibrating a frame.

    Attributes
    ----------
    images : tuple of ccdflow.calibrate.image_figures.ImageFigures
        Figures of each image.
    unit : str
        'electron', 'adu', or the unit of the frame.
    content : str
        Checksums of the product, see `ccdflow.files.checksum.product_checksum`.
    reason_without_uncertainty : str
        The reason for a missing uncertainty that was requested; '' if none is missing.
    """

    images: tuple[ImageFigures, ...]
    unit: str
    content: str
    reason_without_uncertainty: str = ""


def calibrate_file(path, target, calibration, *, provenance=None, form=None, name=None):
    """Calibrate one reduced frame into a product: image, UNCERT, MASK.

    Parameters
    ----------
    path, target : path-like
        Paths of the reduced frame and of the product. The product gets its name once it is whole.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
    provenance : ccdflow.calibrate.calibrated_header.FrameProvenance, optional
        The key and grade for its header; default: no key, grade A.
    form : ProductForm, optional
        Default: all extensions, not compressed.
    name : str, optional
        Name of the frame, for errors.

    Returns
    -------
    Calibrated

    Raises
    ------
    FrameError
        If the frame is damaged, or the masters cannot be applied to it.
    OSError
        If the product cannot be written; an earlier file is untouched.

    Examples
    --------
    Without masters a frame is multiplied by the gain, and gets an uncertainty and a mask:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from astropy.io import fits
    >>> from ccdflow.calibrate.applied_masters import FrameMasters
    >>> from ccdflow.calibrate.frame_corrections import FrameCalibration
    >>> from ccdflow.camera.sections import Region
    >>> from ccdflow.frame.readout import Readout
    >>> readout = Readout(Region(0, 4, 0, 4), gain=2.0, read_noise=3.0, rounding_variance=0.0)
    >>> calibration = FrameCalibration(FrameMasters(), [[readout]])
    >>> header = fits.Header({"BUNIT": "adu", "EXPTIME": 10.0})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     reduced, product = Path(folder) / "reduced.fits", Path(folder) / "product.fits"
    ...     fits.writeto(reduced, np.full((4, 4), 32.0, np.float32), header)
    ...     _ = calibrate_file(reduced, product, calibration)
    ...     with fits.open(product, memmap=False) as hdus:
    ...         print([hdu.name for hdu in hdus], hdus[0].header["BUNIT"])
    ...         print(hdus[0].data[0, 0], hdus["UNCERT"].data[0, 0], hdus["MASK"].data[0, 0])
    ['PRIMARY', 'UNCERT', 'MASK'] electron
    64.0 10.0 0
    """
    name = str(path) if name is None else name
    provenance, form = provenance or calibrated_header.FrameProvenance(), form or ProductForm()
    hdus = read_stored_hdus(path, name=name)
    indices = _image_indices(hdus, calibration.readouts, name)
    unit = _checked_unit(hdus, indices[0], calibration, name)
    reason = _reason_for_no_uncertainty(calibration) if form.has_uncertainty else ""
    if reason:
        provenance = provenance.with_reason(reason)
    primary = calibrated_header.primary_cards(
        hdus[0], calibration.masters, provenance, calibration.corrections
    )
    extensions = replace(form, has_uncertainty=form.has_uncertainty and not reason)
    with Path(path).open("rb", buffering=0) as file:
        frame = _OpenFrame(file.fileno(), hdus, name)
        images = [
            _calibrated_image(frame, index, number, calibration, unit, extensions)
            for number, index in enumerate(indices)
        ]
        headers = _write_product(target, images, primary, form.compress)
    return Calibrated(
        tuple(image.figures for image in images),
        images[0].calibration.unit,
        checksum.product_checksum(images[0].planes["image"].word_sum, headers),
        reason,
    )


def _calibrated_image(frame, index, number, calibration, unit, form):
    """Return the `CalibratedImage` of one image of a frame.

    Parameters
    ----------
    frame : _OpenFrame
    index, number : int
        Index of its HDU, and its number among the images.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
    unit : str
        Unit of the frame.
    form : ProductForm
        The extensions that are made.
    """
    image_calibration = ImageCalibration(
        frame.hdus[index].shape,
        calibration,
        index=number,
        unit=unit,
        needs_noise=form.has_uncertainty,
        name=frame.name,
    )
    corrections = calibration.corrections.for_image(number)
    return CalibratedImage(frame, index, image_calibration, corrections, has_mask=form.has_mask)


def _write_product(target, images, primary, compress):
    """Write the planes of all images of a product; return the headers as they were written.

    Parameters
    ----------
    target : path-like
    images : sequence of CalibratedImage
    primary : ccdflow.files.header_text.CardList
        Cards of the primary HDU.
    compress : {'', 'lossless', 'quantised'}
    """
    planes = _planes_of_product(images, primary)
    with compressed_images.product_writer(target, planes, compress=compress) as writer:
        for image in images:
            image.run(writer)
        return writer.finish()


def _image_indices(hdus, readouts, name):
    """Return the indices of the HDUs with the frame's images; raise for another number of these."""
    indices = [
        number
        for number, hdu in enumerate(hdus)
        if hdu.shape is not None and not is_companion(hdu.name, number)
    ]
    if not indices or len(indices) != len(readouts):
        raise DamagedProduct(
            "the reduced frame has another number of images than its camera",
            file=name,
            keyword="images",
            value=len(indices),
            allowed=str(len(readouts)),
            remedy=MAKE_AGAIN,
        )
    return indices


def _checked_unit(hdus, first_index, calibration, name):
    """Return the unit of a frame; raise `FrameError` if its masters cannot be applied to it.

    Parameters
    ----------
    hdus : sequence of ccdflow.files.fits_products.multi_image_products.StoredHdu
    first_index : int
        Index of the HDU with the first image.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
    name : str
        Name of the frame, for errors.
    """
    unit = str(card_value(hdus[first_index].header, "BUNIT") or "adu")
    camera = str(card_value(hdus[0].header, "CCDFCAM") or "")
    _check_steps_not_done(hdus, calibration.masters, name)
    check_masters(
        calibration.masters,
        calibration.all_readouts,
        camera=camera,
        unit=unit,
        limits=calibration.limits,
        name=name,
    )
    return unit


def _check_steps_not_done(hdus, masters, name):
    """Raise `FrameError` if the frame's header shows that a step was done already."""
    for keyword, kind in _DONE_CARDS:
        if getattr(masters, kind) is None:
            continue
        for hdu in hdus:
            value = card_value(hdu.header, keyword)
            if value is not None and value is not False:
                raise FrameError(
                    f"the frame's header says that its {kind} was corrected already",
                    file=name,
                    keyword=keyword,
                    value=value,
                    allowed="no such card",
                    remedy="reduce the raw frame, or calibrate it without this step",
                )


def _reason_for_no_uncertainty(calibration):
    """Return the reason why no uncertainty can be predicted; '' if it can."""
    readouts = calibration.all_readouts
    if not is_noise_known(readouts):
        return "no UNCERT: gain or read noise of an amplifier is unknown"
    if not is_level_removed(calibration.masters, readouts):
        return "no UNCERT: the bias level is still in the pixels"
    return ""


def _planes_of_product(images, primary):
    """Return the planes of the product, in the order of its HDUs."""
    image_of_hdu = {image.index: image for image in images}
    planes = []
    for number in range(max(image_of_hdu) + 1):
        image = image_of_hdu.get(number)
        if image is not None:
            planes.append(image.plane(primary if number == 0 else None))
        elif number == 0:
            planes.append(_plane_without_image(primary))
    for image in images:
        planes += image.uncertainty_planes()
    for image in images:
        planes += image.mask_planes()
    return planes


def _plane_without_image(cards):
    """Return the plane of a primary HDU that has cards alone."""

    def header(datasum):
        """Return the header of the HDU, in bytes."""
        return calibrated_header.image_header_bytes(cards, None, datasum, is_primary=True)

    return Plane(header)


class _OpenFrame(NamedTuple):
    """The file of a reduced frame that is being calibrated.

    Attributes
    ----------
    descriptor : int
        Descriptor of the open file.
    hdus : sequence of ccdflow.files.fits_products.multi_image_products.StoredHdu
    name : str
        For errors.
    """

    descriptor: int
    hdus: Sequence[StoredHdu]
    name: str


class CalibratedImage:
    """One image of a frame that is being calibrated.

    Parameters
    ----------
    frame : _OpenFrame
    index : int
        Index of the image's HDU.
    calibration : ccdflow.calibrate.arithmetic.ImageCalibration
        Standard errors are made if it predicts the noise.
    corrections : ccdflow.calibrate.frame_corrections.ImageCorrections
        The cosmic rays, bad pixels and shutter of this image.
    has_mask : bool
        Whether a mask is made.

    Attributes
    ----------
    hdu, mask_hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The HDU of the image, and that of the frame's own mask or None.
    planes : dict of str to ccdflow.files.fits_products.multi_image_products.Plane
        The planes of the product, by their content.
    has_errors : bool
        Whether standard errors are made.
    background : ccdflow.calibrate.signal.Background or None
        The smooth part of the image; None without standard errors.
    figures : dict of str to object
        The `ImageFigures`; those of the mask are added while it is made.
    """

    def __init__(self, frame, index, calibration, corrections, *, has_mask):
        self.index = index
        self.hdu = frame.hdus[index]
        self.calibration = calibration
        self.planes = {}
        self._descriptor, self._name = frame.descriptor, frame.name
        self.has_errors = calibration.pixel_variance is not None
        self.has_mask = has_mask
        self._corrections = corrections
        self._suffix = str(index) if index else ""
        masks = (hdu for hdu in frame.hdus[1:] if hdu.name == f"MASK{self._suffix}")
        self.mask_hdu = next((hdu for hdu in masks if hdu.shape == self.hdu.shape), None)
        self._sample = ImageSample(
            self._descriptor, self.hdu, calibration, name=self._name, has_errors=self.has_errors
        )
        self.background = self._sample.background
        self.figures = self._sample.figures()
        if has_mask:
            self.figures["flags"] = dict.fromkeys(mask_bits.MEANINGS, 0)
            if corrections.find_cosmics is not None and self.has_errors:
                self.figures |= {"keeps_cosmics": True, "cosmics_search": (0.0, 0.0, 0.0)}

    # -- planes ------------------------------------------------------------------------------------

    def plane(self, primary):
        """Return the plane of the pixels.

        Parameters
        ----------
        primary : ccdflow.files.header_text.CardList or None
            Cards of the primary HDU; None if the image is an extension.

        Returns
        -------
        ccdflow.files.fits_products.multi_image_products.Plane
        """
        names = None
        cards = primary
        if primary is None:
            cards, names = calibrated_header.extension_cards(self.hdu)

        def header(datasum):
            """Return the header of the image with the figures so far, in bytes."""
            product_cards = header_text.CardList(cards)
            calibrated_header.write_calibrated_cards(product_cards, self.calibration, self.figures)
            return calibrated_header.image_header_bytes(
                product_cards, self.hdu.shape, datasum, name=names, is_primary=primary is not None
            )

        self.planes["image"] = Plane(header, self.hdu.shape)
        return self.planes["image"]

    def uncertainty_planes(self):
        """Return a list with the plane of the standard errors; [] without standard errors."""
        if not self.has_errors:
            return []
        cards = calibrated_header.uncertainty_cards(self.calibration.unit)
        return self._extension_planes("uncertainty", cards, f"UNCERT{self._suffix}", ">f4")

    def mask_planes(self):
        """Return a list with the plane of the mask; [] without a mask."""
        if not self.has_mask:
            return []
        return self._extension_planes(
            "mask", calibrated_header.mask_cards(), f"MASK{self._suffix}", ">i2"
        )

    def _extension_planes(self, content, cards, name, dtype):
        """Return a list with the plane of an extension beside the image.

        Parameters
        ----------
        content : str
            The content of the plane: ``"uncertainty"`` or ``"mask"``.
        cards : ccdflow.files.header_text.CardList
        name : str
            EXTNAME of the extension.
        dtype : str
            Type of the pixels, big-endian.
        """
        shape = self.hdu.shape

        def header(datasum):
            """Return the header of the extension, in bytes."""
            return calibrated_header.image_header_bytes(
                cards, shape, datasum, dtype=dtype, name=name
            )

        self.planes[content] = Plane(header, shape, dtype)
        return [self.planes[content]]

    # -- the pass ----------------------------------------------------------------------------------

    def run(self, writer):
        """Calibrate all rows and write them.

        Parameters
        ----------
        writer : ccdflow.files.fits_products.multi_image_products.PlanesWriter
            Or a `ccdflow.files.fits_products.compressed_images.PackedWriter`.

        Raises
        ------
        DamagedProduct
            If the pixels of the reduced frame do not have its checksum.
        """
        ny, nx = self.hdu.shape
        strip = max(2, _STRIP_PIXELS // nx // 2 * 2)
        step = strip * _STRIPS_OF_A_BLOCK
        buffers = Buffers(self, min(step, ny))
        with np.errstate(invalid="ignore", over="ignore"):
            for start in range(0, ny, step):
                rows = slice(start, min(start + step, ny))
                self._calibrate_block(rows, strip, buffers)
                count = rows.stop - rows.start
                edge = buffers.image[count : count + 2].copy()
                writer.write(self.planes["image"], buffers.image[1 : 1 + count])
                if self.has_errors:
                    writer.write(self.planes["uncertainty"], buffers.errors[:count])
                # Writing has made the rows of the block big-endian; the next block begins with
                # native copies of the last two.
                buffers.image[:2] = edge
        self._check_datasum(buffers)
        if self.has_mask:
            self._finish_mask(writer, buffers.mask, step)

    def _finish_mask(self, writer, mask, step):
        """Flag pixels by the whole image, count the flags and write the mask."""

        def pixels(first, stop, content="image"):
            """Return rows of a plane that was written already."""
            return writer.read(self.planes[content], first, stop)

        saturation.flag_neighbours(mask, pixels)
        if "keeps_cosmics" in self.figures:
            ny = self.hdu.shape[0]
            cosmics = self._corrections.find_cosmics(
                pixels(0, ny), pixels(0, ny, "uncertainty"), mask
            )
            mask[cosmics.hits] |= mask_bits.COSMIC
            search = cosmics.sigma, cosmics.contrast, cosmics.fwhm
            self.figures |= {"keeps_cosmics": cosmics.are_stars_spared, "cosmics_search": search}
        self.figures |= self._sample.sky_of_good_pixels(mask)
        flags = []
        for start in range(0, len(mask), step):
            part = mask[start : start + step]
            flags.append(part.reshape(-1)[mask_bits.flagged_indices(part)])
            writer.write(self.planes["mask"], part)
        self._count_flags(np.concatenate(flags))

    def _calibrate_block(self, rows, strip, buffers):
        """Calibrate one block of rows; standard errors are made ``strip`` rows at a time.

        With standard errors the row after the block is calibrated as well, because the signal of a
        pixel is estimated from its neighbours.
        """
        ny = self.hdu.shape[0]
        stop = min(rows.stop + int(self.has_errors), ny)
        self._calibrate_rows(slice(buffers.rows_done, stop), rows.start, buffers)
        if not self.has_errors:
            return
        image, count = buffers.image, rows.stop - rows.start
        if rows.start == 0:
            image[0] = image[1]
        if rows.stop == ny:
            image[count + 1] = image[count]
        variance, scratch = buffers.errors[:count], buffers.scratch_of(count + 2)
        rows_around = image[: count + 2]
        self.calibration.pixel_variance.write(
            rows,
            rows_around,
            background=self.background,
            out=variance,
            scratch=scratch,
            flags=buffers.flags_around(rows),
            strip=strip,
        )
        if self.has_mask:
            self.calibration.mask_extrapolated(rows, variance, buffers.mask[rows])
        np.sqrt(variance, out=buffers.errors[:count])

    def _calibrate_rows(self, rows, start, buffers):
        """Read, flag and calibrate rows of the reduced frame, and add them to its checksum.

        The calibrated rows go into the buffer of the block that begins at row ``start``.
        """
        stored = buffers.stored[: rows.stop - rows.start]
        read_rows(self._descriptor, self.hdu, rows.start, stored, name=self._name)
        values = buffers.image[rows.start - start + 1 : rows.stop - start + 1]
        np.copyto(values, stored)
        buffers.add_to_checksum(values)
        if self.has_mask or self.has_errors:
            flags = buffers.mask[rows]
            self.calibration.mask(rows, values, self._stored_mask(rows, buffers), flags)
            if self._corrections.bad_pixels is not None:
                self._corrections.bad_pixels.put(rows.start, flags)
        self.calibration.apply(rows, values)
        buffers.rows_done = rows.stop

    def _count_flags(self, flags):
        """Count the pixels of each bit; ``flags`` has the bits of each flagged pixel, (n,)."""
        values, counts = np.unique(flags, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            for bit in mask_bits.MEANINGS:
                if value & bit:
                    self.figures["flags"][bit] += count

    def _stored_mask(self, rows, buffers):
        """Return some rows of the reduced frame's own mask, or None if it has none."""
        if self.mask_hdu is None:
            return None
        stored = buffers.stored_mask[: rows.stop - rows.start]
        read_rows(self._descriptor, self.mask_hdu, rows.start, stored, name=self._name)
        return stored

    def _check_datasum(self, buffers):
        """Raise `DamagedProduct` if the pixels' checksum differs from the frame's DATASUM."""
        claimed = card_value(self.hdu.header, "DATASUM")
        if claimed is None or self.hdu.dtype != ">f4":
            return
        total = checksum.fits_sum_of(buffers.word_sum)
        if not str(claimed).isdigit() or total % 0xFFFFFFFF != int(claimed) % 0xFFFFFFFF:
            raise DamagedProduct(
                "the reduced frame's pixels do not agree with its checksum",
                file=self._name,
                keyword="DATASUM",
                value=claimed,
                remedy=MAKE_AGAIN,
            )
