"""Calibrated frames: reduced frames minus bias and dark, over the flat; uncertainty and mask."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.calibrate.blocks import ARITHMETIC_VERSION
from ccdflow.kinds.calibrating import (
    calibrated_lines,
    calibration_plan,
    master_ageing,
    master_help,
    shutter_correction,
    wanted_frames,
)
from ccdflow.kinds.calibrating.calibration import MASTER_STORE, Calibration
from ccdflow.kinds.calibrating.calibration_plan import FramePlanner
from ccdflow.kinds.calibrating.saturated_frames import number_of_pixels
from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.masters.group_queries import candidate_masters
from ccdflow.kinds.measuring import noise_sentences
from ccdflow.kinds.reducing.frame_sources import CardsOfFrames, size_of_frame
from ccdflow.run import job_records
from ccdflow.run.job import OF_A_FRAME
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.raw_frames.rows import digest

# The entry of this kind in the summary of a closed night.
_SUMMARY_ENTRY = "calibrated"
# Why a calibrated frame is out of date, by the entry of its basis that differs.
_CHANGES_IN_WORDS = {
    "frame": "its reduced frame changed",
    "masters": "its masters changed",
    "how": "its masters changed",
    "missing": "another step is missing",
    "settings": "settings changed",
    "detector": "the figures of its detector changed",
}


class Science(CardsOfFrames, GroupedKind):
    """Calibrated frames: minus bias and dark, over the flat, with standard errors and mask."""

    name = "science"
    rule = "calibrate"
    plans_some_nights = True
    nouns = ("frame", "frames")
    counted_nouns = ("calibrated frame", "calibrated frames")
    progress_nouns = counted_nouns
    verb = "calibrate"
    is_report = False
    is_in_batches = True
    version = ARITHMETIC_VERSION
    header_version = 6
    path_prefix = f"{paths.CALIBRATED_FOLDER}/"
    reach = OF_A_FRAME
    reports_frames = True
    why_moved = "its reduced frame is not there any more"

    def has_name(self, product):
        """Return whether a path is that of a calibrated frame."""
        return product.startswith(self.path_prefix)

    def configuration(self, context):
        """Return this kind's block of the settings."""
        return context.settings["calibrate"]

    def free_memory(self, *, is_done=False):
        """Free the memory of masters that were not used lately; of all after the last frame."""
        if is_done:
            MASTER_STORE.clear()
        else:
            MASTER_STORE.free_idle()

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, planner):
        """Plan the calibrated frame of each reduced frame of the types that are asked for.

        The earlier ones are kept if none is asked for.
        """
        context = planner.context
        settings = self.configuration(context)
        if not settings["enabled"]:
            planner.keep_all_of(self)
            return
        frames = wanted_frames.frames_to_calibrate(planner, settings["types"])
        FramePlanner(planner, self, Calibration).want_all(frames)
        wanted_frames.keep_products_without_row(planner, self)

    def steps_for(self, context, frame_type):
        """Return the kinds of masters that frames of a type are calibrated with, in order.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        frame_type : str
            The image type.

        Returns
        -------
        list of ccdflow.kinds.masters.master.MasterKind
        """
        kinds = [kind for kind in MASTER_KINDS if kind in self.configuration(context)["steps"]]
        if frame_type in kinds:
            # A dark is calibrated without darks, and without the steps after them.
            kinds = kinds[: kinds.index(frame_type)]
        return [context.chain.by_name(kind) for kind in kinds]

    def basis(self, context, job):
        """Return the sources of a calibrated frame, with the masters that were made."""
        return Calibration(context, context.group(job.product)).basis

    def what_changed(self, earlier_basis, current_basis):
        """Return why a calibrated frame is out of date."""
        for name, words in _CHANGES_IN_WORDS.items():
            if earlier_basis.get(name) != current_basis.get(name):
                return words
        return (
            calibration_plan.MAY_CHANGE
            if calibration_plan.MAY_CHANGE in current_basis
            else "new arithmetic"
        )

    def may_stand(self, earlier_basis, current_basis):
        """Return True: no product is made from a calibrated frame, and pages show earlier ones."""
        return True

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Calibrate a frame, or refuse it."""
        calibration = Calibration(context, context.group(job.product))
        if (
            job.reason == calibration_plan.MAY_CHANGE
            and (earlier_record := calibration.current_record) is not None
        ):
            return earlier_record
        return calibration.make()

    def rows_and_groups(self, context, job):
        """Return the rows, and the groups of the frame, its masters and its measurements."""
        group = context.group(job.product)
        measurement_groups = [
            measurement
            for product in group.measurements
            if (measurement := context.find_group(product)) is not None
        ]
        masters = candidate_masters(context, group)
        rows = [context.row(group.files[0])]
        rows += shutter_correction.rows_needed(context, group)
        return rows, [group, *masters, *measurement_groups]

    def size(self, context, job):
        """Return the size of one frame."""
        return size_of_frame(context, context.row(context.group(job.product).files[0]))

    # -- the frames that are calibrated ------------------------------------------------------------

    def calibrated_groups(self, context):
        """Return the frames that are calibrated, as groups, sorted by product.

        Frames that this run has set aside are left out, because the next run does not plan them.
        Pages and tables with such frames would then be made again.

        Parameters
        ----------
        context : ccdflow.run.context.Context

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        return context.kept_by_key(
            (OutcomeKey.CALIBRATED_FRAMES,),
            lambda: context.without_set_aside(self.groups(context)),
        )

    def night_groups(self, context, night):
        """Return those of `calibrated_groups` that are of a night."""
        return context.kept_by_key(
            (OutcomeKey.CALIBRATED_FRAMES, night),
            lambda: context.without_set_aside(super(Science, self).night_groups(context, night)),
        )

    def night_records(self, context, night):
        """Return the frames of a night with their records, in a list that kinds share.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of (ccdflow.run.job.Group, ccdflow.run.job_records.Record or None)
            Sorted by product.
        """

        def groups_with_records():
            """Return [(group, its record)] of the night, sorted by product."""
            groups = self.night_groups(context, night)
            return [(group, context.outcome(group.product)) for group in groups]

        return context.kept_by_key((OutcomeKey.CALIBRATED_RECORDS, night), groups_with_records)

    # -- the lines of a run ------------------------------------------------------------------------

    def frame_reports(self, context, record):
        """Return sky, its noise and grade of a calibrated frame, or why they are missing."""
        file = context.group(record.product).files[0]
        n_pixels = number_of_pixels(context, context.row(file))
        return [calibrated_lines.report_on_frame(file, record, n_pixels)]

    def closing_lines(self, context, records):
        """Return the lines on frames that were not calibrated, or lack a step."""
        if not self.configuration(context)["enabled"]:
            return []
        summary = calibrated_lines.summary_of(context, records)
        return calibrated_lines.lines_on_calibration(
            [summary, *context.summaries(_SUMMARY_ENTRY).values()]
        )

    def closing_lines_of_one(self, context, record):
        """Return the lines on a frame that was not calibrated, or lacks a step."""
        summary = calibrated_lines.summary_of(context, [record])
        return calibrated_lines.lines_on_calibration([summary])

    # -- closed nights -----------------------------------------------------------------------------

    def can_close(self, context):
        """Return whether later nights cannot change the choice of masters for earlier ones."""
        settings = self.configuration(context)
        return not settings["enabled"] or settings["direction"] == "causal"

    def summary(self, context, night, records):
        """Return the values for the last lines of a run on a night's calibrated frames."""
        if not self.configuration(context)["enabled"]:
            return {}
        calibrated_records = [record for record in records if record.kind == self.name]
        return {_SUMMARY_ENTRY: calibrated_lines.summary_of(context, calibrated_records)}

    # -- pages -------------------------------------------------------------------------------------

    def page_basis(self, context, night):
        """Return the sources of a night's page: its frames, and the version of their sentences."""
        records = [record for _, record in self.night_records(context, night) if record is not None]
        # A frame that stays as it was because its job failed is made, and has a reason.
        keys = [
            [record.product, record.key, *filter(None, [record.reason])]
            if record.status == job_records.MADE
            else [record.product, record.key]
            for record in records
        ]
        return {self.name: keys, "noise of frames": noise_sentences.VERSION} if keys else {}

    def section(self, context, night):
        """Return the section on the effect of the masters on the frames of a night."""
        records = [context.outcome(group.product) for group in self.night_groups(context, night)]
        return master_help.section_on_effects(context, filter(None, records))

    def overview_basis(self, context):
        """Return the sources of the overview: the masters whose ageing it shows."""
        if not self.configuration(context)["enabled"]:
            return {}
        ageing = master_ageing.basis_of(context)
        if not ageing:
            return {}
        return {"ageing": [self.version, master_ageing.VERSION, digest(ageing)]}

    def overview(self, context):
        """Return the section on the ageing of masters, for a camera's profile; None for none."""
        return master_ageing.ageing_section(context) if self.overview_basis(context) else None


SCIENCE = Science()
"""The kind of calibrated frames."""
