"""The table of each calibrated frame's masters, with the reasons and the second choices."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.files import file_access
from ccdflow.files.text_files import tables
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.calibrating.calibration import Calibration
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.forecasting import (
    awaited_masters,
    coverage,
    forecast_sentences,
    night_forecast,
    planned_masters,
)
from ccdflow.kinds.matching import association, master_library
from ccdflow.kinds.matching.answers import answers_of, has_reasons_of_its_own, reasons_of
from ccdflow.kinds.matching.association import first_use
from ccdflow.kinds.product_writing import record_of_text, write_text_product
from ccdflow.pages.contents import Picture, Section
from ccdflow.run import job_records
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.products.product_names import calibrated_product, reduced_product
from ccdflow.run.raw_frames.rows import digest
from ccdflow.wording import count, first_lines, first_named

# A dry run has a paragraph on at most this many nights.
_MOST_NIGHTS = 3
# The overview names at most this many nights and sorts of frames without a master, and the closing
# lines at most this many harmful darks.
_MOST_NAMED = 8

COLUMNS = (
    "frame", "night", "step", "master", "rank", "lag", "scale", "predicted_variance", "runner_up",
    "runner_up_variance", "variance_is", "reason", "grade", "calibrated",
)  # fmt: skip
"""The columns of associations.csv."""

# Raised when a change alters the section on masters of a night's page, or the overview's matrix:
# all pages are then made again. The version of the table makes only the table again.
_SECTIONS_VERSION = 9

# The name of this kind's values in the summary of a closed night.
_SUMMARY = "associations"
_USUAL_RULE = (
    "Among the masters of the same setup, of this night and earlier ones, that of the"
    " least predicted variance is taken; a later one only where there is no other."
)


class Associations(ArchiveProduct):
    """``associations.csv``: the masters of each frame, the second choices, and the reasons."""

    name = "associations"
    rule = "associations_table"
    plans_some_nights = True
    version = 6
    nouns = ("table of masters", "tables of masters")
    progress_nouns = ("table", "tables")
    path_prefix = paths.ASSOCIATIONS_FILE

    @property
    def versions(self):
        """The versions of the table and of the sections on it."""
        return [self.version, _SECTIONS_VERSION]

    def is_enabled(self, context):
        """Return whether the configuration asks for calibrated frames, which have masters."""
        return SCIENCE.configuration(context)["enabled"]

    def needs(self, context):
        """Return the calibrated frames, and the masters that they may take."""
        groups = SCIENCE.calibrated_groups(context)
        return [group.product for group in groups] + _masters_for_frames(context, groups)

    def is_wanted(self, context, needs):
        """Return whether any frame of the archive is calibrated, even one of a closed night."""
        return _has_frames(context)

    def may_change(self, context):
        """Return whether a source of the table is still to be made.

        If this run refuses a master, its frames take another one or none.
        """
        return bool(context.jobs) and any(map(context.will_be_made, _source_products(context)))

    def basis(self, context, job):
        """Return the sources of the table: the hash of all its lines."""
        nights = SCIENCE.groups_by_night(context)
        hashes = {night: text for night in nights if (text := _hash_of_lines(context, night))}
        for night, summary in context.summaries(_SUMMARY).items():
            if summary["lines"]:
                hashes[night] = summary["lines"]
        return {"version": self.version, "nights": digest(sorted(hashes.items()))}

    def make(self, context, job, *, threads):
        """Write the whole table; while nights are closed, replace only the lines of the others."""
        line_of_cells = tables.TableLines(lambda cells: cells)
        lines_by_frame = {}
        for cells in table_lines(context):
            lines_by_frame.setdefault(cells[0], []).append(line_of_cells(cells))
        basis, target = self.basis(context, job), context.results / job.product
        if context.closed_nights is None:
            head = line_of_cells(COLUMNS)
            return write_text_product(
                context, job, basis, b"".join([head, *chain(*lines_by_frame.values())])
            )
        for row in context.store.rows.values():
            # No line remains of a frame that is no longer calibrated.
            lines_by_frame.setdefault(calibrated_product(row.file), [])
        tables.update_table(target, lines_by_frame)
        return record_of_text(context, job, basis)

    # -- closed nights -----------------------------------------------------------------------------

    def can_close(self, context):
        """Return whether nights can be closed: the table has one line for each step, and headings.

        True also without a table to check: calibration is off, no frame has a step, or this run
        copies the lines of closed nights.
        """
        if not self.is_enabled(context) or context.closed_nights is not None:
            return True
        n_steps = sum(len(group.steps) for group in SCIENCE.calibrated_groups(context))
        path = context.results / self.path_prefix
        return not n_steps or (path.is_file() and tables.count_line_breaks(path) == n_steps + 1)

    def summary(self, context, night, records):
        """Return a night's values for the table, the overview and the closing lines."""
        if not self.is_enabled(context):
            return {}
        groups = SCIENCE.night_groups(context, night)
        frames_by_dark = _frames_by_harmful_dark(context, groups)
        return {
            _SUMMARY: {
                "lines": _hash_of_lines(context, night),
                "harm": {dark: len(frames) for dark, frames in frames_by_dark.items()},
            },
            awaited_masters.AWAITED_NOTE: awaited_masters.masters_awaited(
                context, night, groups, _masters_of_night(context, night)
            ),
            coverage.COVERAGE_NOTE: coverage.night_coverage(context, night),
        }

    def nights_to_open(self, context, new_groups):
        """Return the closed nights with a frame that waits for one of the new masters.

        The last night with calibrated frames is among them, because a dry run has lines on it.

        Raises
        ------
        NeedsWholePlan
            If somebody has changed the table, from which the lines of closed nights are copied.
        """
        if not self.is_enabled(context):
            return set()
        summaries = context.summaries(_SUMMARY)
        closed_nights = [night for night in summaries if summaries[night]["lines"]]
        record = context.earlier_record(self.path_prefix)
        stamp = file_access.stamp_of(context.results / self.path_prefix)
        if closed_nights and (record is None or record.stamp != stamp):
            raise NeedsWholePlan("associations.csv is not as it was written")
        last_night = max((group.night for group in SCIENCE.calibrated_groups(context)), default="")
        last_closed = max(closed_nights, default="")
        nights = {last_closed} if last_closed > last_night else set()
        return nights | awaited_masters.nights_waiting_for(context, new_groups)

    # -- lines, sections, flags --------------------------------------------------------------------

    def dry_run_lines(self, context):
        """Return a paragraph for each of the last nights that this run calibrates.

        Where it calibrates none, the paragraph is on the last night with calibrated frames.
        """
        all_groups = SCIENCE.calibrated_groups(context)
        groups = [group for group in all_groups if context.will_be_made(group.product)]
        if not groups:
            last_night = max((group.night for group in all_groups), default="")
            groups = [group for group in all_groups if group.night == last_night]
        nights = {}
        for group in groups:
            nights.setdefault(group.night, []).append(group)
        return forecast_sentences.paragraphs(context, nights, most_nights=_MOST_NIGHTS)

    def closing_lines(self, context, records):
        """Return the lines on darks that do more harm than good."""
        if not self.is_enabled(context):
            return []
        frames_by_dark = _frames_by_harmful_dark(context, SCIENCE.calibrated_groups(context))
        n_by_dark = Counter({dark: len(frames) for dark, frames in frames_by_dark.items()})
        for summary in context.summaries(_SUMMARY).values():
            n_by_dark.update(summary["harm"])
        is_left_out = SCIENCE.configuration(context)["skip_harmful"]
        lines = [
            f"dark does harm: {dark}: {_harm_words(context, dark)}; "
            f"{count(number, 'frame')} {'without' if is_left_out else 'with'} it"
            for dark, number in sorted(n_by_dark.items())
        ]
        return first_lines(lines, _MOST_NAMED, "more such darks")

    def products_on_page(self, context, night):
        """Return the masters that frames of a night may take: the page names second choices."""
        if not self.is_enabled(context):
            return []
        return _masters_for_frames(context, SCIENCE.night_groups(context, night))

    def page_basis(self, context, night):
        """Return the sources of the section on a night's masters: the hash of all choices."""
        if not self.is_enabled(context):
            return {}
        groups = SCIENCE.night_groups(context, night)
        hashes = hashes_by_steps(context, groups, planned_masters.plain_step)
        choices = [[group.product, *hashes[id(group.steps)]] for group in groups]
        words = _rule_words(context)
        choices += [words] if choices and words != _USUAL_RULE else []
        return {"associations": [_SECTIONS_VERSION, digest(choices)]} if choices else {}

    def overview_basis(self, context):
        """Return the sources of the overview's matrix, and of the grades in its calendar."""
        if not self.is_enabled(context) or not _has_frames(context):
            return {}
        coverage_now = digest(_coverage_of_archive(context).values())
        grades = getattr(context.outcome(self.path_prefix), "key", "")
        return {"coverage": [_SECTIONS_VERSION, coverage_now], "grades": grades}

    def overview(self, context):
        """Return the section on the frames of each night, and on missing masters; None for none."""
        if not self.overview_basis(context):
            return None
        matrix = _coverage_of_archive(context)
        if not matrix.nights:
            # All frames are undated.
            return None
        sentence = _coverage_words(matrix)
        png = drawing_module("coverage_picture").coverage_picture(
            list(matrix.nights),
            list(matrix.labels),
            matrix.cells,
            title=f"Frames of {_nights_in_words(matrix)}",
            explanation=_coverage_notes(matrix),
        )
        return Section(
            "coverage", "Coverage", (sentence,), pictures=(Picture(png, f"Coverage: {sentence}"),)
        )

    def section(self, context, night):
        """Return the section on the masters and the noise of a night's frames; None for none."""
        forecasts = (
            night_forecast.forecasts_of_setups(context, night) if self.is_enabled(context) else []
        )
        if not forecasts:
            return None
        has_several_setups = len(forecasts) > 1
        wishes = [
            f"{forecast.setup}: {text}" if has_several_setups else text
            for forecast in forecasts
            for text in forecast_sentences.wish_lines(forecast)
        ]
        wish_sentence = f"To gain most: {', '.join(wishes[:3])}." if wishes else ""
        unlike_sentences = [
            f"{forecast.setup}: {forecast_sentences.unlike_words(forecast)}: grade C."
            for forecast in forecasts
            if forecast.n_without_scale
        ]
        noises = [
            (f"{forecast.setup} {name}" if has_several_setups else name, text)
            for forecast in forecasts
            for name, text in forecast_sentences.noise_entries(forecast)
        ]
        headings, rows = forecast_sentences.table(forecasts)
        return Section(
            "choices",
            "Which master, and the terms of the noise",
            (*unlike_sentences, *([wish_sentence] if wish_sentence else [])),
            (
                *_harm_sentences(context, night),
                _rule_words(context),
                *([f"Further frames that would gain most: {'; '.join(wishes)}."] if wishes else []),
            ),
            facts=tuple(noises),
            headings=headings,
            rows=rows,
        )


ASSOCIATIONS = Associations()
"""The kind of associations.csv."""


def _rule_words(context):
    """Return the rule by which masters are chosen, in a sentence or two."""
    rules = master_library.rules_of(context)
    rule_sentence = _USUAL_RULE
    if rules.direction == "nearest":
        rule_sentence = (
            "Among the masters of the same setup, of earlier and later nights, that of the least"
            " predicted variance is taken."
        )
    return (
        f"{rule_sentence} One of the frame's own night goes first."
        if rules.prefers_own_night
        else rule_sentence
    )


def _has_frames(context):
    """Return whether the plan calibrates any frame of the archive, closed nights included."""
    closed_summaries = context.summaries(_SUMMARY).values()
    return bool(SCIENCE.calibrated_groups(context)) or any(
        notes["lines"] for notes in closed_summaries
    )


def _hash_of_lines(context, night):
    """Return the hash of the table's lines on the frames of a night; '' without frames."""
    records = SCIENCE.night_records(context, night)
    hashes = hashes_by_steps(context, [group for group, _ in records], table_cells)
    lines = [
        [group.product, night, _is_refused(context, group, record), *hashes[id(group.steps)]]
        for group, record in records
    ]
    return digest(lines) if lines else ""


def _masters_of_night(context, night):
    """Return the groups of the masters of a night."""
    kinds = map(context.chain.by_name, MASTER_KINDS)
    return [group for kind in kinds for group in kind.night_groups(context, night)]


def _coverage_of_archive(context):
    """Return the `ccdflow.kinds.forecasting.coverage.Coverage`, computed once for all sections."""
    return context.kept_by_key((OutcomeKey.COVERAGE,), lambda: coverage.coverage_of(context))


def _nights_in_words(matrix):
    """Return the nights of a coverage in words: the name of a single night, else the number."""
    if len(matrix.nights) == 1:
        return f"night {matrix.nights[0]}"
    return f"the last {len(matrix.nights)} nights"


def _coverage_words(matrix):
    """Return the sentence on the missing masters of a coverage."""
    cells_without_master = matrix.cells_of_state(coverage.NO_MASTERS)
    if not cells_without_master:
        return f"No frame of {_nights_in_words(matrix)} lacks a master."
    names = [f"{label} ({night})" for label, night in cells_without_master]
    return f"Missing: {first_named(names, _MOST_NAMED)}."


def _coverage_notes(matrix):
    """Return the sentences below the picture of a coverage."""
    notes = [
        "A number: frames of the night. o: none; its frames took a master of another night. x:"
        " none, and no other night has one that fits."
    ]
    if any(number and state == coverage.NO_MASTERS for number, state in matrix.cells.values()):
        notes.append("x beside a number: none that fits some frames of the night.")
    if matrix.n_earlier:
        notes.append(f"{matrix.n_earlier} nights before them are not shown.")
    if matrix.n_left_out:
        notes.append(f"{matrix.n_left_out} rarer kinds of frames are left out.")
    return " ".join(notes)


def _frames_by_harmful_dark(context, groups):
    """Return {dark: frames} of the darks that do more harm than good, with the frames that lose."""
    does_harm_by_masters, frames_by_dark = {}, {}
    for group in groups:
        uses = {step.kind: first_use(context, step) for step in group.steps}
        dark, bias = uses.get("dark"), uses.get("bias")
        if dark is None:
            continue
        masters = dark.product, dark.scale, getattr(bias, "product", "")
        if masters not in does_harm_by_masters:
            does_harm_by_masters[masters] = association.dark_harms(context, uses)
        if does_harm_by_masters[masters]:
            frames_by_dark.setdefault(dark.product, []).append(group.product)
    return frames_by_dark


def _harm_words(context, dark):
    """Return in words the noise that a dark adds, the structure that it removes, and the remedy."""
    figures = context.outcome(dark).data["quality"]
    added_variance = max(each["added"] for each in figures)
    structure = max(0.0, *(each["structure"] for each in figures))
    unit = "e2" if figures[0]["unit"] == "electron" else "adu2"
    is_left_out = SCIENCE.configuration(context)["skip_harmful"]
    remedy = "it was left out" if is_left_out else "`calibrate: skip_harmful: true` leaves it out"
    return (
        f"it adds {added_variance:.3g} {unit} of noise a pixel and takes {structure:.2g} of"
        f" structure away; {remedy}, more darks make it useful"
    )


def _harm_sentences(context, night):
    """Return a sentence for each dark that does harm to calibrated frames of a night."""
    frames_by_dark = _frames_by_harmful_dark(context, SCIENCE.night_groups(context, night))
    return [
        f"The dark {dark} does harm: {_harm_words(context, dark)}."
        for dark in sorted(frames_by_dark)
    ]


def _masters_for_frames(context, groups):
    """Return the masters that frames may take; [] in a run that makes nothing."""
    return association.candidates_of(groups) if context.jobs else []


def _source_products(context):
    """Yield the reduced frames and masters of all calibrated frames."""
    for group in SCIENCE.calibrated_groups(context):
        yield from map(reduced_product, group.files)
    yield from association.candidates_of(SCIENCE.calibrated_groups(context))


def _is_refused(context, group, record):
    """Return whether calibrating a frame was refused, by its record, or will be, by the plan."""
    if record is None or record.status == job_records.REFUSED:
        return record is not None
    if record.content or context.settings["calibrate"]["missing"] != "refuse":
        return False
    # During planning the frame is not calibrated yet: its masters in the plan decide.
    return Calibration(context, group).is_refused


def hashes_by_steps(context, groups, values_of):
    """Return the hashes of the values of each answer of some frames.

    Frames that share one tuple of steps (of one `StepsChoice`) have equal answers.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : sequence of ccdflow.run.job.Group
        Calibrated frames.
    values_of : callable
        Takes context and `ccdflow.kinds.matching.answers.Answer`, and returns the values to hash.

    Returns
    -------
    dict of int to list of str
        By the id of the frames' tuple of steps: a hash for each step.
    """
    group_by_steps = {}
    for group in groups:
        # Thousands of groups share one tuple of steps: its answers are hashed once.
        group_by_steps.setdefault(id(group.steps), group)
    return {
        steps: [
            _hash_of_answer(context, values_of, answer) for answer in answers_of(context, group)
        ]
        for steps, group in group_by_steps.items()
    }


def _hash_of_answer(context, values_of, answer):
    """Return the hash of an answer's values, computed once for frames with equal answers."""
    key_objects = (answer,)
    if answer.use is not None and has_reasons_of_its_own(answer):
        # Page and table also name the next candidate. Further candidates have other scales
        # for each exposure, and do not change the values.
        key_objects = answer.use, planned_masters.rival_of(context, answer)[0]
    return context.kept_by_identity(
        OutcomeKey.STEP_LINE,
        key_objects,
        lambda: digest(values_of(context, answer)),
        values_of.__name__,
    )


def table_lines(context):
    """Yield the cells of each line of the table: a line for each frame and step."""
    for group in SCIENCE.calibrated_groups(context):
        record = context.outcome(group.product)
        calibrated_cell = "no" if _is_refused(context, group, record) else "yes"
        for answer in answers_of(context, group):
            yield [group.product, group.night, *table_cells(context, answer), calibrated_cell]


def table_cells(context, answer):
    """Return the cells of a step in a line of ``associations.csv``: those after frame and night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    answer : ccdflow.kinds.matching.answers.Answer

    Returns
    -------
    list of (str, int or float)
    """
    step, use = answer.step, answer.use
    if use is None:
        return [step.kind, "", "", "", "", "", "", "", "", answer.why_none, answer.grade]
    index = step.uses.index(use)
    rival, _ = planned_masters.rival_of(context, answer)
    return [
        step.kind,
        use.product,
        index + 1,
        "" if use.lag is None else use.lag,
        float(f"{use.scale:.6g}"),
        float(f"{use.variance:.6g}"),
        "" if rival is None else rival.product,
        "" if rival is None else float(f"{rival.variance:.6g}"),
        "measured" if use.is_measured else "nominal",
        "; ".join(reasons_of(answer, master_library.rules_of(context))),
        use.grade,
    ]
