"""Calibrated frames: reduced frames less bias and dark, over the flat; uncertainty and mask."""

from __future__ import annotations

from operator import attrgetter

from ccdflow import paths
from ccdflow.calibrate.blocks import ARITHMETIC_VERSION
from ccdflow.kinds.calibrating import calibration_plan, master_help, shutter_correction
from ccdflow.kinds.calibrating.calibration import MASTER_STORE, Calibration
from ccdflow.kinds.calibrating.calibration_plan import FramePlanner
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.masters.group_queries import masters_carried
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.association import MASTER_KINDS
from ccdflow.kinds.matching.match_sentences import MissingWords, words_on_missing
from ccdflow.kinds.measuring import noise_sentences
from ccdflow.kinds.product_writing import drawing_module
from ccdflow.kinds.reducing.frame_sources import raw_pixels
from ccdflow.kinds.reporting import master_ageing
from ccdflow.pages.contents import Picture, Section
from ccdflow.run import ledger
from ccdflow.run.context import calibrated_product, reduced_product, type_is_enabled
from ccdflow.run.job import OF_A_FRAME, Size
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.rawframes.rows import OK, SET_ASIDE, digest, value_picker

# The end of a run names at most this many frames.
_MOST_LINES = 10
# The name under which this is noted of a closed night.
_SUMMARY = "calibrated"
_type_of = value_picker("type")


class Science(Kind):
    """Calibrated frames: less bias and dark, over the flat, with standard errors and mask."""

    name = "science"
    rule = "calibrate"
    plans_some_nights = True
    nouns = ("frame", "frames")
    counted_nouns = ("calibrated frame", "calibrated frames")
    progress_noun = "calibrated frames"
    verb = "calibrate"
    is_report = False
    stage = 6
    version = ARITHMETIC_VERSION
    header_version = 5
    path_prefix = "calibrated/"
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
        """Free the masters that no frame has been calibrated with lately; all after the last."""
        if is_done:
            MASTER_STORE.clear()
        else:
            MASTER_STORE.free_idle()

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, planner):
        """Plan the calibrated frame of each reduced one, if its type is asked for."""
        context = planner.context
        settings = self.configuration(context)
        if not settings["enabled"]:
            planner.keep_all_of(self)
            return
        FramePlanner(planner, self, Calibration).want_all(self._frames(planner))
        self._keep_products_without_row(planner)

    def _frames(self, planner):
        """Yield row, product and record of the reduced frame of each frame that is wanted."""
        context, types = planner.context, {}
        settings, outcome = self.configuration(context), context.outcome
        for row in context.rows_in_order():
            type_, status, file = _type_of(row.facts.values()), row.status, row.file
            is_wanted = types.get(type_)
            if is_wanted is None:
                is_enabled = type_is_enabled(context.settings, type_)
                is_wanted = types[type_] = is_enabled and type_ in settings["types"]
            if status == SET_ASIDE and not row.gone:
                # The product of the raw file as it was is moved away.
                continue
            if status != OK or not is_wanted:
                # A product that is not wanted, or whose frame is being copied, is not touched.
                planner.keep(calibrated_product(file))
            elif row.geometry:
                frame = outcome(reduced_product(file))
                if frame is not None and frame.status == ledger.MADE:
                    yield row, calibrated_product(file), frame

    def _keep_products_without_row(self, planner):
        """Keep products whose raw file has no row: the notes on it may be lost."""
        context = planner.context
        records = [each for each in context.ledger.values() if each.kind == self.name]
        products = {calibrated_product(file) for file in context.store.rows} if records else ()
        for record in records:
            if record.product not in products:
                planner.keep(record.product)

    def steps_for(self, context, frame_type):
        """Return the kinds of masters that frames of a type are calibrated with, in order.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        frame_type : str
            The image type.

        Returns
        -------
        list of MasterKind
        """
        kinds = [kind for kind in MASTER_KINDS if kind in self.configuration(context)["steps"]]
        if frame_type in kinds:
            # A dark is calibrated without a dark and the steps after it.
            kinds = kinds[: kinds.index(frame_type)]
        return [context.chain.by_name(kind) for kind in kinds]

    def basis(self, context, job):
        """Return the sources of a calibrated frame, as they turned out."""
        return Calibration(context, context.group(job.product)).basis

    def what_changed(self, before, now):
        """Say why a calibrated frame is out of date."""
        if before.get("frame") != now["frame"]:
            return "its reduced frame changed"
        if before.get("masters") != now["masters"] or before.get("how") != now["how"]:
            return "its masters changed"
        if before.get("missing") != now["missing"]:
            return "another step is missing"
        if before.get("settings") != now["settings"]:
            return "settings changed"
        if before.get("detector") != now.get("detector"):
            return "the figures of its detector changed"
        return (
            calibration_plan.MAY_CHANGE if calibration_plan.MAY_CHANGE in now else "new arithmetic"
        )

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Calibrate a frame, or refuse it."""
        calibration = Calibration(context, context.group(job.product))
        if (
            job.why == calibration_plan.MAY_CHANGE
            and (before := calibration.made_before) is not None
        ):
            return before
        return calibration.make()

    def rows_and_groups(self, context, job):
        """Return the frame's row, its steps, and the groups of the masters that it may take."""
        group = context.group(job.product)
        before = [own for p in group.measurements if (own := context.find_group(p)) is not None]
        masters = masters_carried(context, group)
        rows = [context.row(group.files[0])]
        rows += shutter_correction.rows_needed(context, group)
        return rows, [group, *masters, *before]

    def size(self, context, job):
        """Return the size of one frame."""
        row = context.row(context.group(job.product).files[0])
        pixels = raw_pixels(context, row)
        return Size(frames=1, largest=pixels, pixels=pixels)

    # -- lines, sections, flags --------------------------------------------------------------------

    def calibrated_groups(self, context):
        """Return the frames that are calibrated, as groups, sorted by product.

        A frame that a job of this run has set aside is none of them, as in the next run: pages and
        tables that showed it would be made anew then.

        Parameters
        ----------
        context : ccdflow.run.context.Context

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        return context.kept_by_key(
            (OutcomeKey.CALIBRATED_FRAMES,),
            lambda: context.without_set_aside(_all_groups(context)),
        )

    def night_groups(self, context, night):
        """Return those of `calibrated_groups` that are of a night.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        return context.kept_by_key(
            (OutcomeKey.CALIBRATED_FRAMES, night),
            lambda: context.without_set_aside(_groups_by_night(context).get(night, ())),
        )

    def nights(self, context):
        """Return the nights that have frames to calibrate: a set of str."""
        return set(_groups_by_night(context))

    def night_records(self, context, night):
        """Return the frames of a night with their records: the sheet, the page and tables ask.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of (ccdflow.run.job.Group, ccdflow.run.ledger.Record or None)
            Sorted by product.
        """

        def make():
            groups = self.night_groups(context, night)
            return [(group, context.outcome(group.product)) for group in groups]

        return context.kept_by_key((OutcomeKey.CALIBRATED_RECORDS, night), make)

    def products_on_page(self, context, night):
        """Return the calibrated frames of a night."""
        return [group.product for group in self.night_groups(context, night)]

    def frame_reports(self, context, record):
        """Return sky, its noise and grade of a calibrated frame, or why they are missing."""
        file = context.group(record.product).files[0]
        if record.status != ledger.MADE:
            return [(file, "", [f"not calibrated: {record.reason}"])]
        data, figures = record.data, []
        for image in data["images"]:
            if image["sky"] is not None:
                figures.append(f"sky {image['sky']:.4g} {data['unit']}")
            if image["sky_rms"] is not None:
                figures.append(f"noise {image['sky_rms']:.3g}")
            if image["sky_predicted"] is not None:
                figures.append(f"(predicted {image['sky_predicted']:.3g})")
        reasons = "; ".join(filter(None, [*data["reasons"], data["uncertain"]]))
        grade = f"grade {data['grade']}" + (f": {reasons}" if reasons else "")
        saturated = data.get("saturated", 0)
        warnings = [f"{saturated} pixels saturated"] * (saturated > 0)
        return [(file, "  ".join([*figures, grade]), warnings)]

    def closing(self, context, records):
        """Return the lines on frames that were not calibrated, or lack a step."""
        if not self.configuration(context)["enabled"]:
            return []
        nights = [_summary_of(context, records), *context.summaries(_SUMMARY).values()]
        refused = sorted(file for night in nights for file in night["refused"])
        lines = [f"not calibrated: {product}: {reason}" for product, reason in refused]
        lines = lines[:_MOST_LINES] + _line_on_unnamed(lines)
        made = sum(night["made"] for night in nights)
        for step in (*MASTER_KINDS, "UNCERT"):
            lines += _lacking(step, made, [night["without"].get(step, {}) for night in nights])
        # Older results: notes of closed nights lack these entries.
        noisy = noise_sentences.sentences_on_noise(
            entry for night in nights for entry in night.get("noise", ())
        )
        lines += [f"warning: {text}" for text in noisy[:_MOST_LINES]] + _line_on_unnamed(noisy)
        return lines + master_help.lines_on_harm([night["helps"] for night in nights])

    # -- closed nights -----------------------------------------------------------------------------

    def can_close(self, context):
        """Return whether a later night changes no choice of masters."""
        settings = self.configuration(context)
        return not settings["enabled"] or settings["direction"] == "causal"

    def summary(self, context, night, records):
        """Return the values of a night's calibrated frames in the last lines."""
        if not self.configuration(context)["enabled"]:
            return {}
        return {_SUMMARY: _summary_of(context, [r for r in records if r.kind == self.name])}

    def page_basis(self, context, night):
        """Return the sources of a night's page: its frames, and the version of words on them."""
        records = [record for _, record in self.night_records(context, night) if record is not None]
        keys = [[record.product, record.key] for record in records]
        return {self.name: keys, "noise of frames": noise_sentences.VERSION} if keys else {}

    def section(self, context, night):
        """Return the section on the effect of the masters on the frames of a night."""
        records = [context.outcome(group.product) for group in self.night_groups(context, night)]
        return master_help.section_on_effects(context, filter(None, records))

    def index_basis(self, context):
        """Return the sources of the overview: the masters whose ageing it shows."""
        if not self.configuration(context)["enabled"]:
            return {}
        ageing = master_ageing.basis_of(context)
        return {"ageing": [self.version, digest(ageing)]} if ageing else {}

    def overview(self, context):
        """Return the section on the ageing of masters, with the line for a camera's profile."""
        ageing = master_ageing.master_series(context) if self.index_basis(context) else []
        if not ageing:
            return None
        draw = drawing_module("ageing_picture").ageing_picture
        png = draw(
            [
                (
                    master.name,
                    master_ageing.VARIANCE_UNITS[master.kind],
                    master.points(),
                    master.in_use,
                )
                for master in ageing
            ],
            title="How masters depart from one another",
            explanation="Each point is two masters: the variance of their difference beyond their"
            " noise. Dashed: the ageing that masters are chosen with.",
        )
        return Section(
            "ageing",
            "Ageing of masters",
            paragraphs=(
                "A value of the archive changes no choice by itself: write the value into the"
                " camera's profile if you agree with it.",
            ),
            headings=("Masters", "Between them", "A day adds", "For the profile", "In use"),
            rows=tuple(master.cells() for master in ageing),
            pictures=(Picture(png, "Difference of masters against the days between them"),),
        )


SCIENCE = Science()
"""The kind of calibrated frames."""


def _all_groups(context):
    """Return all frames of the plan that are calibrated, sorted by product."""

    def make():
        own = (group for group in context.groups.values() if group.kind == Science.name)
        return sorted(own, key=attrgetter("product"))

    return context.lookup((Lookup.GROUPS, Science.name), make)


def _groups_by_night(context):
    """Return {night: its groups of calibrated frames, sorted by product}."""

    def make():
        by_night = {}
        for group in _all_groups(context):
            by_night.setdefault(group.night, []).append(group)
        return by_night

    return context.lookup((Lookup.CALIBRATED_BY_NIGHT,), make)


def _is_of_set_aside(context, record):
    """Return whether a calibrated frame was refused because its raw frame is set aside.

    Another line reports the raw frame, and the next run plans no such product.
    """
    group = context.find_group(record.product)
    return group is not None and context.is_set_aside(group.files[0])


def _summary_of(context, records):
    """Return the values of some calibrated frames in the last lines.

    Returns
    -------
    dict
        ``refused``: [product, reason]; ``made``: how many were made; ``without``: what they lack,
        the reason, and [how many, the first, the parts of the reason]; ``helps``: their
        `master_help.sums_of_effects`;
        ``noise``: `noise_sentences.nights_off` of the images.
    """
    without, made, why = {}, 0, _why_missing(context)
    for record in records:
        if record.status != ledger.MADE:
            continue
        made += 1
        product, missing, uncertain = _lacks(record)
        reasons = {kind: words_on_missing(each) for kind, each in why(product, missing).items()}
        reasons |= {"UNCERT": MissingWords(uncertain)} if uncertain else {}
        for step, words in reasons.items():
            of_step, text = without.setdefault(step, {}), "".join(words)
            count_and_first = of_step.setdefault(text, [0, product, words])
            count_and_first[0] += 1
            count_and_first[1] = min(count_and_first[1], product)
    refused = [
        [record.product, record.reason]
        for record in records
        if record.status == ledger.REFUSED and not _is_of_set_aside(context, record)
    ]
    helps = master_help.sums_of_effects(records)
    noise = noise_sentences.nights_off(context, records, spectra=False)
    return {"refused": refused, "made": made, "without": without, "helps": helps, "noise": noise}


def _line_on_unnamed(lines):
    unnamed = len(lines) - _MOST_LINES
    return [f"... and {unnamed} more, see {paths.ASSOCIATIONS_FILE}"] if unnamed > 0 else []


def _lacks(record):
    """Return (product, kinds of masters that it lacks, why it has no uncertainty)."""
    # The data are JSON text until they are read: once.
    data = dict(record.data.items())
    return record.product, data["missing"], data["uncertain"]


def _why_missing(context):
    """Return the function to {kind: why a calibrated frame lacks it}; many share their steps.

    The reasons name other products and change with them: a frame's own record names the kinds.
    """
    known = {}

    def why(product, missing):
        """Return {kind: `ccdflow.run.job.Missing`} of a product, {} where nothing is missing."""
        group = context.find_group(product)
        if group is None or not missing:
            return {}
        row = context.row(group.files[0])
        alike = (row.recipe, row.geometry, *map(id, group.steps))
        if alike not in known:
            known[alike] = Calibration(context, group).missing
        return known[alike]

    return why


def _lacking(step, made, nights):
    """Return a line on how many frames lack something, with the reason of the first, or none."""
    reasons = [
        (first, text, count, words)
        for night in nights
        for text, (count, first, words) in night.items()
    ]
    if not reasons:
        return []
    number = f"{sum(count for _, _, count, _ in reasons)} of {made} calibrated frames"
    of_frames = (words for *_, count, words in sorted(reasons) for _ in range(count))
    return [f"calibrated without {step}: {number}: {match_sentences.reasons_words(of_frames)}"]
