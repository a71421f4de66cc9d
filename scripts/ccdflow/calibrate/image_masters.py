"""The masters that are applied to one image of frames, and the units of its pixels."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.calibrate.applied_masters import ELECTRON_UNITS, unit_of_calibrated
from ccdflow.errors import FrameError


class ImageMasters:
    """One image of frames: its amplifiers, its unit, and the images of its masters.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx) of the image.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
        Its masters have passed `ccdflow.calibrate.applied_masters.check_masters`.
    index : int, optional
        Index of the image among those of the frame, and of each master.
    unit : str, optional
        BUNIT of the reduced frame.
    name : str, optional
        Name of the frame, for errors.

    Attributes
    ----------
    readouts : tuple of ccdflow.frame.readout.Readout
        The image's amplifiers.
    is_covered : bool
        Whether each pixel belongs to an amplifier.
    masters : ccdflow.calibrate.applied_masters.FrameMasters
        The masters of the frame.
    unit : str
        The unit of the calibrated pixels.
    is_converted : bool
        Whether gains turn the pixels into electrons.
    is_in_electrons : bool
        Whether the reduced pixels are in electrons.

    Raises
    ------
    FrameError
        If a master has no image of this index, or one of another shape.
    """

    def __init__(self, shape, calibration, *, index=0, unit="adu", name=None):
        self.shape = shape
        self.readouts = tuple(calibration.readouts[index])
        area = sum(readout.region.size for readout in self.readouts)
        self.is_covered = area == shape[0] * shape[1]
        self.masters = calibration.masters
        self.unit = unit_of_calibrated(unit, self.readouts)
        is_in_electrons = unit.lower() in ELECTRON_UNITS
        self.is_converted = self.unit == "electron" and not is_in_electrons
        self.is_in_electrons = is_in_electrons
        self._images = {
            applied.master.kind: self._image_of_applied(applied, index, name)
            for applied in self.masters.applied_masters
        }

    @property
    def images(self):
        """The image of each master, a list of `ccdflow.calibrate.combined_master.MasterImage`."""
        return list(self._images.values())

    def _image_of_applied(self, applied, index, name):
        """Return the image of a master that is applied to this image; raise for another shape."""
        images = applied.master.images
        if index >= len(images) or images[index].data.shape != self.shape:
            shape = "no such image" if index >= len(images) else images[index].data.shape[::-1]
            raise FrameError(
                f"the {applied.master.kind} has another shape than the frame",
                file=name,
                keyword="NAXIS1, NAXIS2",
                value=f"{shape} in {applied.master.name}",
                allowed=str(self.shape[::-1]),
                remedy="combine frames of this window and binning",
            )
        return images[index]

    def master_image(self, kind):
        """Return a master's `ccdflow.calibrate.combined_master.MasterImage`, or None."""
        return self._images.get(kind)

    def unit_factor(self, readout):
        """Return one unit of the reduced frame in units of the product."""
        return readout.gain if self.is_converted else 1.0

    def photon_variance(self, readout):
        """Return the variance of photons over their signal, in units of the product."""
        if self.is_in_electrons:
            return 1.0
        # The noise follows from a measured gain, if there is one; the pixels are multiplied by the
        # gain of profile or header.
        return self.unit_factor(readout) / readout.photon_gain

    def pieces(self, rows):
        """Yield (readout, slices in the block, slices in the image) of amplifiers in these rows.

        Parameters
        ----------
        rows : slice

        Yields
        ------
        (ccdflow.frame.readout.Readout, (slice, slice), (slice, slice))
        """
        for readout in self.readouts:
            region = readout.region
            low, high = max(region.y0, rows.start), min(region.y1, rows.stop)
            if low < high:
                columns = slice(region.x0, region.x1)
                block_slices = (slice(low - rows.start, high - rows.start), columns)
                yield readout, block_slices, (slice(low, high), columns)

    @property
    def lines_without_level(self):
        """Regions whose level is not known, and whether they are rows: for `fill_lines`.

        A region at the first or last row of the image includes the copy of that row beside it.
        """
        return [
            (
                replace(part, y0=part.y0 or -1, y1=part.y1 + (part.y1 == self.shape[0])),
                (part.x0, part.x1) == (readout.region.x0, readout.region.x1),
            )
            for readout in self.readouts
            for part in readout.without_level
        ]
