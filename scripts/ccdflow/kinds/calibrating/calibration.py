"""One science frame and its masters: the sources of the calibrated frame, and its making."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from ccdflow.calibrate.applied_masters import MASTER_KINDS, DarkLimits, FrameMasters
from ccdflow.calibrate.blocks import ProductForm, calibrate_file
from ccdflow.calibrate.calibrated_header import FrameProvenance, Grading
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.master_store import MasterStore
from ccdflow.detector.cosmic_rays import cosmics
from ccdflow.errors import FrameError
from ccdflow.files import file_access
from ccdflow.files.fits_products import compressed_images
from ccdflow.frame.readout import AmplifierReduction, MeasuredReadout, readout_of
from ccdflow.kinds.calibrating import master_help, shutter_correction
from ccdflow.kinds.calibrating.detector_correction import DetectorCorrection
from ccdflow.kinds.masters import master_reading
from ccdflow.kinds.masters.member_masters import measured_read_noise
from ccdflow.kinds.matching import answers
from ccdflow.kinds.matching.match_sentences import missing_words
from ccdflow.kinds.matching.temperatures import dark_degrees_warmer
from ccdflow.kinds.measuring.noise_sentences import is_spectrum
from ccdflow.kinds.reducing.frame_sources import SOURCE_HEADER, oldest_header, recipe_and_images
from ccdflow.kinds.reducing.record_entries import (
    converter_ends_of,
    lacks_converter_ends,
    no_level_parts,
    plain_no_level_parts,
)
from ccdflow.mask_bits import SATURATED
from ccdflow.run import failures, job_records
from ccdflow.run.job_records import Record
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import digest

MASTER_STORE = MasterStore()
"""The masters that this process holds in memory."""


def _saturation_figures(images):
    """Return the record's entry with the number of saturated pixels; {} without a mask."""
    counts = [image["flags"][SATURATED] for image in images if "flags" in image]
    return {"saturated": sum(counts)} if counts else {}


class Calibration:
    """The calibration of one frame by those of its candidate masters that were made.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of one frame.

    Attributes
    ----------
    kind : ccdflow.kinds.calibrating.science.Science
        The kind of calibrated frames.
    settings : dict of str to object
        The block of the configuration for this kind.
    """

    def __init__(self, context, group):
        self.context = context
        self.group = group
        self.kind = context.chain.by_name("science")
        self.settings = self.kind.configuration(context)

    @cached_property
    def row(self):
        """The frame's row of the inventory."""
        return self.context.row(self.group.files[0])

    @cached_property
    def reduced_record(self):
        """The record of the reduced frame; None if it was not made."""
        return self.context.outcome(reduced_product(self.row.file))

    @cached_property
    def _answers(self):
        """The `ccdflow.kinds.matching.answers.Answer` of each step."""
        return answers.answers_of(self.context, self.group)

    @cached_property
    def uses(self):
        """The masters that are applied: {kind: `ccdflow.run.master_choices.Use`}."""
        return {each.kind: each.use for each in self._answers if each.use is not None}

    @cached_property
    def missing_masters(self):
        """Why masters are missing: {kind: `ccdflow.run.master_choices.Missing`}."""
        return {each.kind: each.missing_master for each in self._answers if each.missing_master}

    @property
    def _missing_words(self):
        """Why masters are missing, in words that name the existing ones: {kind: text}."""
        return {
            kind: missing_words(missing_master)
            for kind, missing_master in self.missing_masters.items()
        }

    def degrees_warmer(self, use):
        """Return the degrees by which a dark is warmer than the frame; None if unknown."""
        return dark_degrees_warmer(use, self.row)

    @property
    def grade(self):
        """The grade of the frame: A, B or C."""
        return "C" if self.detector.why_unlike else answers.grade_of(self._answers)

    @property
    def reasons(self):
        """The reasons for a grade below A, for the frame's header."""
        reasons = [f"no {kind}" for kind in self.missing_masters]
        reasons += [
            f"{each.kind} {answers.WHY_LEFT_OUT}" for each in self._answers if each.left_out
        ]
        reasons += [
            f"{kind} {text}" for kind, use in self.uses.items() for text in use.remark_texts
        ]
        return [*reasons, *filter(None, [self.detector.why_unlike, self.shutter.why_not])]

    @property
    def unneeded_steps(self):
        """The steps that the frame does not need, each with the reason: they lower no grade."""
        is_needed = {step.kind: step.is_needed for step in self.group.steps}
        steps = [f"{kind}: no step of this frame" for kind in MASTER_KINDS if kind not in is_needed]
        return steps + [f"{kind}: none is needed" for kind in is_needed if not is_needed[kind]]

    @cached_property
    def is_refused(self):
        """Whether the frame lacks a step, and the configuration refuses such frames."""
        return bool(self.missing_masters) and self.settings["missing"] == "refuse"

    def _record_of_master(self, kind):
        """Return the record of the master of a kind that is applied; None without one."""
        use = self.uses.get(kind)
        return None if use is None else self.context.outcome(use.product)

    @cached_property
    def detector(self):
        """The corrections by the measurements of the frame's detector."""
        flat = self._record_of_master("flat")
        return DetectorCorrection(self.context, self.group, self.row, self.settings, flat)

    @property
    def compression(self):
        """The compression of the frame's file: '' (none), lossless or quantised."""
        setting = self.settings["compress"]
        return compressed_images.LOSSLESS_FORM if setting is True else setting or ""

    @cached_property
    def shutter(self):
        """The correction of the frame's shutter."""
        flat = self._record_of_master("flat")
        return shutter_correction.ShutterCorrection(self.context, self.group, self.row, flat)

    @cached_property
    def basis(self):
        """The sources of the calibrated frame: the dict whose hash is its key.

        Further entries are there only for frames that they concern: all others keep their keys.
        """
        basis = {
            "arithmetic": self.kind.version,
            "frame": getattr(self.reduced_record, "key", ""),
            "masters": [
                [kind, use.product, self.context.outcome(use.product).key]
                for kind, use in self.uses.items()
            ],
            "how": [
                [kind, use.scale, use.lag, self.degrees_warmer(use), use.grade, use.remark_texts]
                for kind, use in self.uses.items()
            ],
            # Reasons change no pixel; only a refused frame shows them.
            "missing": self._missing_words if self.is_refused else sorted(self.missing_masters),
            "settings": self._settings_in_basis,
        }
        if self._measurement_basis:
            basis["detector"] = self._measurement_basis
        if self.settings["cosmic_rays"]:
            basis["search"] = cosmics.VERSION
        if parts_without_level := plain_no_level_parts(self.reduced_record):
            basis["without_level"] = parts_without_level
        # Known ends of the converter need no entry, because they follow from the raw file. The key
        # of the reduced frame depends on this file's fingerprint.
        if lacks_converter_ends(self.reduced_record):
            basis["converter"] = "not known"
        if self.unneeded_steps:
            basis["left_out"] = self.unneeded_steps
        return basis

    @property
    def _settings_in_basis(self):
        """The settings that the product depends on."""
        names = ["uncertainty", "mask"]
        if self.settings["cosmic_rays"]:
            names += ["cosmic_rays", "cosmic_sigma", "cosmic_contrast"]
        settings = {name: self.settings[name] for name in names}
        if self.compression:
            settings |= {"compress": self.compression, "tiles": compressed_images.TILE_VERSION}
        return settings

    @property
    def _measurement_basis(self):
        """Products and keys of the frame's measurements: frames of all filters have the same."""
        return self.context.kept_by_key(
            (OutcomeKey.BASIS_OF_MEASUREMENTS, self.group.measurements),
            lambda: self.detector.basis + self.shutter.basis,
        )

    @property
    def current_record(self):
        """The `Record` of the calibrated frame if its product is current, else None."""
        record = self.context.earlier_record(self.group.product)
        if record is None or record.status != job_records.MADE or record.key != digest(self.basis):
            return None
        path = self.context.results / record.product
        return record if file_access.stamp_of(path) == record.stamp else None

    def make(self):
        """Calibrate the frame; return its `ccdflow.run.job_records.Record`."""
        record = Record(self.group.product, self.kind.name, digest(self.basis), basis=self.basis)
        if self.reduced_record is None or self.reduced_record.status != job_records.MADE:
            return replace(record, status=job_records.REFUSED, reason="there is no reduced frame")
        if self.is_refused:
            reason = "; ".join(self._missing_words.values())
            return replace(record, status=job_records.REFUSED, reason=reason)
        try:
            calibrated, effects = self._calibrate(record.key)
        except FrameError as error:
            if failures.is_of_system(error):
                # The job fails, and the next run repeats it: a damaged product is then made again.
                raise
            return replace(record, status=job_records.REFUSED, reason=error.reason)
        return replace(
            record,
            stamp=file_access.stamp_of(self.context.results / record.product),
            content=calibrated.content,
            data={**self._data(calibrated), "helps": effects},
        )

    def _calibrate(self, key):
        """Calibrate the frame and write it; return its figures, and the effect of each master.

        Parameters
        ----------
        key : str
            Key of the calibrated frame.

        Returns
        -------
        calibrated : ccdflow.calibrate.blocks.Calibrated
        effects : dict of str to list of float
            As `ccdflow.kinds.calibrating.master_help.measure_effects` returns them.
        """
        context = self.context
        path = context.results / reduced_product(self.row.file)
        masters = {
            kind: master_reading.read_applied_master(
                context, MASTER_STORE, kind, use, path, self.degrees_warmer(use)
            )
            for kind, use in self.uses.items()
        }
        _, images = recipe_and_images(context, self.row)
        corrections = self.detector.frame_corrections([image.shape for image in images])
        if self.shutter.is_applied:
            flat = masters["flat"]
            masters["flat"] = replace(flat, master=self.shutter.corrected_flat(flat.master))
            corrections = replace(corrections, cards=(*corrections.cards, *self.shutter.cards))
        calibration = FrameCalibration(
            FrameMasters(**masters),
            self.readouts(),
            corrections,
            DarkLimits(self.settings["scale_up"], self.settings["temperature_tolerance"]),
        )
        grading = Grading(self.grade, self.reasons, self.unneeded_steps)
        calibrated = calibrate_file(
            path,
            context.results / self.group.product,
            calibration,
            provenance=FrameProvenance(key, grading),
            form=ProductForm(self.settings["uncertainty"], self.settings["mask"], self.compression),
            name=self.group.product,
        )
        effects = master_help.measure_effects(
            path,
            calibration,
            hdus=[image.hdu for image in images],
            unit=calibrated.unit,
            is_spectrum=is_spectrum(self.row),
            name=self.group.product,
        )
        return calibrated, effects

    def readouts(self):
        """Return the `Readout` of each amplifier of each image of the frame."""
        recipe, images = recipe_and_images(self.context, self.row)
        bias = self._record_of_master("bias")
        levels, flags = (self.reduced_record.data.get(name, {}) for name in ("levels", "flags"))
        without_level = no_level_parts(self.reduced_record)
        converters = converter_ends_of(self.reduced_record)

        def readout(amplifier):
            """Return the `Readout` of an amplifier, with the figures that were measured."""
            reduction = AmplifierReduction(
                level=levels.get(amplifier.name),
                is_dead=flags.get(amplifier.name) == "dead",
                without_level=without_level.get(amplifier.name, ()),
                converter=converters.get(amplifier.name),
            )
            measurements = MeasuredReadout(
                read_noise=measured_read_noise(bias, amplifier.name),
                gain=self.detector.gain(amplifier),
                photon_gain=self.detector.gain_of_noise(amplifier),
                full_well=self.detector.full_well(amplifier),
            )
            return readout_of(amplifier, recipe, reduction, measurements)

        return [[readout(amplifier) for amplifier in image.amplifiers] for image in images]

    def _data(self, calibrated):
        """Return the entries of the record of a calibrated frame."""
        figures = ("sky", "sky_rms", "sky_predicted")
        return {
            "header": self.kind.header_version,
            SOURCE_HEADER: oldest_header(self.context, self.group.files),
            "grade": self.grade,
            "reasons": self.reasons,
            "missing": sorted(self.missing_masters),
            "uncertain": calibrated.reason_without_uncertainty,
            "unit": calibrated.unit,
            "images": [{name: image.get(name) for name in figures} for image in calibrated.images],
            **_saturation_figures(calibrated.images),
        }
