"""The members of darks and flats: their masks and noises, and the masters subtracted from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ccdflow.combine.member_reader import member_of_file
from ccdflow.combine.noise import AmplifierNoise
from ccdflow.combine.preparation import MemberMasks, open_image
from ccdflow.combine.subtracted_masters import SubtractedMaster
from ccdflow.detector.flat_figures import gain_differs
from ccdflow.detector.lost_pixels import (
    NO_LEVEL_WORDS,
    NOT_FINITE_WORDS,
    SATURATED_WORDS,
    LostPixels,
)
from ccdflow.files.fits_products.stored_images import StoredImage
from ccdflow.files.header_text import printable_text
from ccdflow.files.values import number_or_none
from ccdflow.frame.readout import ROUNDING_VARIANCE, level_variance
from ccdflow.kinds.masters import master_reading, selecting
from ccdflow.kinds.matching import association
from ccdflow.kinds.reducing.record_entries import converter_ends_of, no_level_parts
from ccdflow.mask_bits import DEAD, NO_DATA, NOT_LINEAR, SATURATED
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group
from ccdflow.run.job_records import Record
from ccdflow.run.products.product_names import reduced_product

# The mask bit of all pixels of an amplifier that is saturated or dead throughout, by its flag.
_BIT_OF_FLAG = {"dead": DEAD, "saturated": SATURATED}


# Up to this fraction of lost pixels no cause is searched: the limits are 0.01 of a dark and 0.05 of
# a flat (`ccdflow.detector.dark_flat_selection`).
_LEAST_LOST_FRACTION = 0.005
# A cause is named if more than this fraction of the pixels without a value has it. With a smaller
# fraction a sentence names causes of a few pixels; with a larger one a second cause that matters is
# not named. Chosen, not measured.
_LEAST_CAUSE_FRACTION = 0.02


@dataclass(frozen=True)
class Members:
    """Reduced frames of a group: its members, or candidates among which members are selected.

    Attributes
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
    records_of_files : list of (str, ccdflow.run.job_records.Record)
        Raw file and record of each frame.
    """

    context: JobContext
    group: Group
    records_of_files: list[tuple[str, Record]]

    @property
    def rows(self):
        """The members' rows of the inventory."""
        return [self.context.row_of_product(record.product) for _, record in self.records_of_files]

    @property
    def seconds(self):
        """Exposure times, seconds; None where not known."""
        return [number_or_none(row.facts["exptime"]) for row in self.rows]

    @property
    def temperatures(self):
        """Temperatures of the sensor, degrees C; NaN where not known."""
        values = [number_or_none(row.facts["temperature"]) for row in self.rows]
        return [math.nan if value is None else value for value in values]

    def use(self, kind):
        """Return the `Use` of the master of a kind that is applied, or None."""
        for step in self.group.steps:
            if step.kind == kind:
                return association.first_use(self.context, step)
        return None

    def record(self, kind):
        """Return the record of the master of a kind that is applied, or None."""
        use = self.use(kind)
        return None if use is None else self.context.outcome(use.product)

    def frames_of(self, image):
        """Return one image of each frame, as a `ccdflow.combine.member_reader.Member`."""
        results = self.context.results
        return [
            member_of_file(results / reduced_product(file), hdu=image.hdu)
            for file, _ in self.records_of_files
        ]

    def masks(self, image, reduction):
        """Return the masks, saturation ceilings and flaws of one image of each member.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        reduction : ccdflow.camera.reduction_recipe.ReductionRecipe

        Returns
        -------
        MemberMasks
        """
        planes = self._planes_without_level(image)
        if reduction.mask:
            results = self.context.results
            name = f"MASK{image.suffix}"
            planes = [
                member_of_file(results / reduced_product(file), hdu=name, is_mask=True)
                for file, _ in self.records_of_files
            ]
        else:
            planes = self._planes_with_full_pixels(image, planes)
        ceilings = [saturation_ceiling(image, record) for _, record in self.records_of_files]
        return MemberMasks(
            planes=planes,
            ceilings=None if set(ceilings) == {None} else ceilings,
            flaws=self._flaws(image, reduction),
        )

    def _planes_without_level(self, image):
        """Return a mask of each member's pixels without an overscan level, None for sound members.

        None instead of a list where all members are sound.
        """
        names = {amplifier.name for amplifier in image.amplifiers}
        planes = []
        for _, record in self.records_of_files:
            regions = [
                region
                for name, regions_of_amplifier in no_level_parts(record).items()
                if name in names
                for region in regions_of_amplifier
            ]
            planes.append(np.zeros(image.shape, np.uint8) if regions else None)
            for region in regions:
                planes[-1][region.slices] = NO_DATA
        return None if all(plane is None for plane in planes) else planes

    def _planes_with_full_pixels(self, image, planes):
        """Return masks to which the full pixels in lines of an unusual overscan level are added.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        planes : list of (numpy.ndarray of shape (ny, nx), uint8, or None), or None
            As `_planes_without_level` returns them; changed in place.
        """
        for index, ((_, record), member) in enumerate(
            zip(self.records_of_files, self.frames_of(image), strict=True)
        ):
            ends = converter_ends_of(record)
            regions_and_ends = [
                (region, ends[amplifier.name])
                for amplifier in image.amplifiers
                if amplifier.name in ends
                for region, _ in ends[amplifier.name].parts
            ]
            if not regions_and_ends:
                continue
            planes = planes or [None] * len(self.records_of_files)
            if planes[index] is None:
                planes[index] = np.zeros(image.shape, np.uint8)
            stored = open_image(member)
            for region, end in regions_and_ends:
                y, x = region.slices
                values = np.asarray(stored[np.arange(y.start, y.stop)])[:, x]
                is_full = end.full_pixels(values, y.start, x.start)
                planes[index][region.slices][is_full] |= SATURATED
        return planes

    @property
    def flags(self):
        """The amplifiers without signal in all members: {name: 'saturated' or 'dead'}."""
        return selecting.common_flags(self.records_of_files)

    def lost_pixels(self, image, reduction, rows, sample):
        """Return the fraction of each member's pixels without a value, with its causes.

        Only amplifiers with signal count. The overscan of frames that were not trimmed, and gaps
        between amplifiers, do not.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        reduction : ccdflow.camera.reduction_recipe.ReductionRecipe
        rows : numpy.ndarray of shape (k,), int64
            Rows of the image that the sample has.
        sample : numpy.ndarray of shape (n, k, nx), float32 or float64
            See `ccdflow.combine.member_noise.sample_members`.

        Returns
        -------
        list of LostPixels
            Of each member; a fraction of 0 where no amplifier has signal.
        """
        is_inside = np.zeros(sample.shape[1:], bool)
        for amplifier in image.amplifiers:
            if amplifier.name not in self.flags:
                region = reduction.region_of(amplifier)
                is_in_rows = (rows >= region.y0) & (rows < region.y1)
                is_inside[is_in_rows, region.x0 : region.x1] = True
        is_lost, n_inside = np.isnan(sample) & is_inside, max(np.count_nonzero(is_inside), 1)
        counts = np.count_nonzero(is_lost, axis=(1, 2))
        planes = self._planes_without_level(image) or [None] * len(sample)
        return [
            LostPixels(count / n_inside)
            if count <= _LEAST_LOST_FRACTION * n_inside
            else LostPixels(
                count / n_inside, self._causes(image, index, rows, is_lost[index], plane)
            )
            for index, (count, plane) in enumerate(zip(counts.tolist(), planes, strict=True))
        ]

    def _causes(self, image, index, rows, is_lost, plane):
        """Return why sampled pixels of a member have no value, in words, the main cause first.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        index : int
            Index of the member.
        rows : numpy.ndarray of shape (k,), int64
        is_lost : numpy.ndarray of shape (k, nx), bool
            True for the sampled pixels without a value.
        plane : numpy.ndarray of shape (ny, nx), uint8, or None
            Mask of the pixels without a level.
        """
        member = self.frames_of(image)[index]
        stored_pixels = StoredImage(member.path, member.offset, member.dtype, member.shape)
        is_empty = ~np.isfinite(np.asarray(stored_pixels[rows]))
        has_no_level = np.zeros(is_lost.shape, bool) if plane is None else plane[rows] != 0
        masks_by_words = {
            NOT_FINITE_WORDS: is_empty,
            NO_LEVEL_WORDS: has_no_level & ~is_empty,
            SATURATED_WORDS: ~has_no_level & ~is_empty,
        }
        counts = {
            words: int(np.count_nonzero(is_lost & is_of_cause))
            for words, is_of_cause in masks_by_words.items()
        }
        fewest_pixels = _LEAST_CAUSE_FRACTION * max(np.count_nonzero(is_lost), 1)
        causes = sorted(
            (words for words in counts if counts[words] > fewest_pixels), key=counts.get
        )
        return tuple(reversed(causes))

    def _flaws(self, image, reduction):
        """Return the bits of the amplifiers without signal, (ny, nx) int16; None without any."""
        amplifiers_lost = [
            amplifier for amplifier in image.amplifiers if amplifier.name in self.flags
        ]
        if not amplifiers_lost:
            return None
        flaws = np.zeros(image.shape, np.int16)
        for amplifier in amplifiers_lost:
            region = reduction.region_of(amplifier)
            flaws[region.slices] = _BIT_OF_FLAG[self.flags[amplifier.name]]
        return flaws

    def noises(self, image, reduction):
        """Return the known noise of each amplifier of an image, adu.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        reduction : ccdflow.camera.reduction_recipe.ReductionRecipe

        Returns
        -------
        list of AmplifierNoise
        """
        record = self.record("bias")
        return [
            amplifier_noise(amplifier, reduction, measured_read_noise(record, amplifier.name))
            for amplifier in image.amplifiers
        ]

    def flag_not_linear(self, image, reduction, pixels, mask):
        """Flag in a mask the pixels of a combined dark whose members are beyond the linear range.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        reduction : ccdflow.camera.reduction_recipe.ReductionRecipe
        pixels : numpy.ndarray of shape (ny, nx), float32
            The combined dark, minus its bias.
        mask : numpy.ndarray of shape (ny, nx), int16
            Changed in place: these pixels get the bit `NOT_LINEAR`, unless they have the bit
            `SATURATED`.
        """
        bias = self.master("bias", image)
        for amplifier in image.amplifiers:
            if amplifier.linear is None:
                continue
            slices = reduction.region_of(amplifier).slices
            levels = [
                record.data.get("levels", {}).get(amplifier.name, 0.0)
                for _, record in self.records_of_files
            ]
            reduced_pixels = pixels[slices]
            if bias is not None:
                reduced_pixels = reduced_pixels + np.asarray(open_image(bias.pixels)[slices])
            with np.errstate(invalid="ignore"):
                is_beyond = reduced_pixels > amplifier.linear - np.median(levels)
            mask[slices][is_beyond & (mask[slices] & SATURATED == 0)] |= NOT_LINEAR

    def master(self, kind, image):
        """Return the master of a kind that is subtracted from an image, or None.

        Parameters
        ----------
        kind : {'bias', 'dark'}
        image : ccdflow.frame.products.ProductImage

        Returns
        -------
        ccdflow.combine.subtracted_masters.SubtractedMaster or None
        """
        use = self.use(kind)
        if use is None:
            return None
        path, record = self.context.results / use.product, self.record(kind)
        pixels = master_reading.cut_pixels(member_of_file(path, hdu=image.hdu), use)
        if kind == "bias":
            return SubtractedMaster(pixels, _noise_of_bias(record, image), file=path)
        return SubtractedMaster(
            pixels,
            master_reading.cut_pixels(member_of_file(path, hdu=f"UNCERT{image.suffix}"), use),
            seconds=record.data["seconds"],
            is_bias_subtracted=True,
            file=path,
        )

    def write_master_cards(self, cards):
        """Write into a master's header the masters that were subtracted from its members."""
        for kind in (step.kind for step in self.group.steps):
            use = self.use(kind)
            if use is None:
                continue
            cards.set(
                f"{kind.upper()}IM", printable_text(use.product), f"combined {kind} subtracted"
            )
            cards.set(f"{kind.upper()}KEY", self.record(kind).key, "its CCDFKEY")
            if use.lag is not None:
                cards.set(f"{kind.upper()}DT", int(use.lag), "[d] nights from it to these frames")
            if use.cut:
                cards.set(f"{kind.upper()}CUT", use.cut, "section of it that these frames have")


def saturation_ceiling(image, record):
    """Return the lowest reduced value at which a pixel may be saturated, or None.

    Parameters
    ----------
    image : ccdflow.frame.products.ProductImage
    record : ccdflow.run.job_records.Record
        Record of the reduced frame.

    Returns
    -------
    float or None
        Adu; None if it is unknown for an amplifier, or if no pixel can be saturated.
    """
    levels, flags = (record.data.get(name, {}) for name in ("levels", "flags"))
    ends, ceilings = converter_ends_of(record), []
    for amplifier in image.amplifiers:
        if amplifier.name in flags:
            continue
        end = ends.get(amplifier.name)
        if amplifier.saturation is not None:
            ceilings.append(amplifier.saturation - levels.get(amplifier.name, 0.0))
        elif end is None:
            return None
        if end is not None and end.least is not None:
            ceilings.append(end.least)
    return min(ceilings, default=None)


def measured_read_noise(record, name):
    """Return the read noise of an amplifier from pairs of biases, adu; None if it is not known.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of a combined bias.
    name : str
        Name of the amplifier.

    Returns
    -------
    float or None
    """
    for figures in record.data.get("quality", ()) if record is not None else ():
        if figures["amplifier"] == name and number_or_none(figures["read_noise"]):
            return figures["read_noise"]
    return None


def gain_from_flats(record, amplifier):
    """Return an amplifier's gain by the flats of a combined flat, unless its known gain agrees.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of the combined flat.
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    float or None
        Electrons per adu; None where the flats confirm the gain of profile or header, or show none.
    """
    for figures in record.data.get("quality", ()) if record is not None else ():
        measured_gain = number_or_none(figures.get("measured_gain"))
        if figures["amplifier"] != amplifier.name or not measured_gain:
            continue
        error = figures["measured_gain_error"]
        if amplifier.gain is None or gain_differs(amplifier.gain, measured_gain, error):
            return measured_gain
    return None


def _noise_of_bias(record, image):
    """Return the predicted noise of an image of a combined bias, adu; None if not known.

    It is the root mean square over the amplifiers.
    """
    names = {amplifier.name for amplifier in image.amplifiers}
    variances = [
        noise**2
        for figures in record.data.get("quality", ())
        if figures["amplifier"] in names and (noise := number_or_none(figures["predicted_noise"]))
    ]
    return float(np.sqrt(np.mean(variances))) if variances else None


def amplifier_noise(amplifier, reduction, measured_noise=None):
    """Return the noise of an amplifier, by a measured read noise or else that of the amplifier.

    Parameters
    ----------
    amplifier : ccdflow.camera.geometry.Amplifier
    reduction : ccdflow.camera.reduction_recipe.ReductionRecipe
    measured_noise : float, optional
        Read noise from pairs of biases, adu.

    Returns
    -------
    ccdflow.combine.noise.AmplifierNoise
    """
    noise = measured_noise
    if noise is None and amplifier.read_noise and amplifier.gain:
        noise = amplifier.read_noise / amplifier.gain
    level_noise = 0.0
    if noise is not None and amplifier.overscan and reduction.subtract:
        # A measured read noise contains that of the rounding to whole adu.
        pixel_variance = noise**2 + (0.0 if measured_noise else ROUNDING_VARIANCE)
        level_noise = math.sqrt(level_variance(amplifier, reduction, pixel_variance))
    return AmplifierNoise(
        amplifier.name, reduction.region_of(amplifier), noise, amplifier.gain, level_noise
    )
