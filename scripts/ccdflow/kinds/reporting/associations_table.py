"""The table of each calibrated frame's masters: the reasons, and the cost of the next ones."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.files import atomic_write
from ccdflow.files.text_files import tables
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.calibrating.calibration import Calibration
from ccdflow.kinds.calibrating.science import SCIENCE
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
from ccdflow.kinds.product_writing import drawing_module, record_of_text, write_text_product
from ccdflow.pages.contents import Picture, Section
from ccdflow.run import job_records
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.products.product_names import calibrated_product, reduced_product
from ccdflow.run.rawframes.rows import digest
from ccdflow.wording import count, first_lines, first_named

# A dry run has a paragraph for this many nights.
_MOST_NIGHTS = 3
# The overview names this many frames without masters, the last lines this many harmful darks.
_MOST_NAMED = 8

COLUMNS = (
    "frame", "night", "step", "master", "rank", "lag", "scale", "predicted_variance", "runner_up",
    "runner_up_variance", "variance_is", "reason", "grade", "calibrated",
)  # fmt: skip
"""The columns of associations.csv."""

# Increase it when the section on masters of a night's page, or the overview's matrix, changes: all
# pages are then made again. The table's own version makes again the table alone.
_SECTIONS_VERSION = 9

# The key of a closed night's summary.
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
        """Return whether the configuration asks for calibrated frames."""
        return SCIENCE.configuration(context)["enabled"]

    def needs(self, context):
        """Return the frames that are calibrated, and the masters that they may take."""
        groups = SCIENCE.calibrated_groups(context)
        return [group.product for group in groups] + _masters_for_frames(context, groups)

    def is_wanted(self, context, needs):
        """Return whether any frame of the archive is calibrated, even one of a closed night."""
        return _has_frames(context)

    def is_open(self, context):
        """Return whether a source is still to be made.

        Where a master is refused during the run, another one or no master takes its place.
        """
        return bool(context.jobs) and any(map(context.will_be_made, _source_products(context)))

    def basis(self, context, job):
        """Return the basis of the table: each line of it."""
        nights = SCIENCE.groups_by_night(context)
        digests = {night: text for night in nights if (text := _digest_of(context, night))}
        for night, summary in context.summaries(_SUMMARY).items():
            if summary["lines"]:
                digests[night] = summary["lines"]
        return {"version": self.version, "nights": digest(sorted(digests.items()))}

    def make(self, context, job, *, threads):
        """Write the table, or the lines of some nights among the lines of the others."""
        line = tables.TableLines(lambda cells: cells)
        lines = {}
        for cells in table_lines(context):
            lines.setdefault(cells[0], []).append(line(cells))
        basis, target = self.basis(context, job), context.results / job.product
        if context.closed_nights is None:
            head = line(COLUMNS)
            return write_text_product(
                context, job, basis, b"".join([head, *chain(*lines.values())])
            )
        for row in context.store.rows.values():
            # A frame that is no longer calibrated has no line.
            lines.setdefault(calibrated_product(row.file), [])
        tables.update_table(target, lines)
        return record_of_text(context, job, basis)

    # -- closed nights -----------------------------------------------------------------------------

    def can_close(self, context):
        """Return whether each line of the table is one line of its file."""
        if not self.is_enabled(context) or context.closed_nights is not None:
            return True
        steps = sum(len(group.steps) for group in SCIENCE.calibrated_groups(context))
        path = context.results / self.path_prefix
        return not steps or (path.is_file() and tables.count_line_breaks(path) == steps + 1)

    def summary(self, context, night, records):
        """Return a night's part of the table, the overview and the last lines."""
        if not self.is_enabled(context):
            return {}
        groups = SCIENCE.night_groups(context, night)
        darks = _harmful_darks(context, groups)
        return {
            _SUMMARY: {
                "lines": _digest_of(context, night),
                "harm": {dark: len(frames) for dark, frames in darks.items()},
            },
            awaited_masters.AWAITED_NOTE: awaited_masters.masters_awaited(
                context, night, groups, _masters_of(context, night)
            ),
            coverage.COVERAGE_NOTE: coverage.night_coverage(context, night),
        }

    def nights_to_open(self, context, new_groups):
        """Return the closed nights with a frame that awaits one of the new masters.

        The last calibrated night is among them: a dry run has a line on it.

        Raises
        ------
        NeedsWholePlan
            If the table is not as it was written: it would lose the lines of closed nights.
        """
        if not self.is_enabled(context):
            return set()
        summaries = context.summaries(_SUMMARY)
        closed_nights = [night for night in summaries if summaries[night]["lines"]]
        record = context.earlier_record(self.path_prefix)
        stamp = atomic_write.stamp_of(context.results / self.path_prefix)
        if closed_nights and (record is None or record.stamp != stamp):
            raise NeedsWholePlan("associations.csv is not as it was written")
        last_night = max((group.night for group in SCIENCE.calibrated_groups(context)), default="")
        last_closed = max(closed_nights, default="")
        nights = {last_closed} if last_closed > last_night else set()
        return nights | awaited_masters.waiting_for(context, new_groups)

    # -- lines, sections, flags --------------------------------------------------------------------

    def dry_run_lines(self, context):
        """Return a paragraph for each of the last nights whose frames are calibrated.

        These are the nights of this run, or the last night where nothing is to be calibrated.
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

    def closing(self, context, records):
        """Return the lines on darks that do more harm than good."""
        if not self.is_enabled(context):
            return []
        harmful = _harmful_darks(context, SCIENCE.calibrated_groups(context))
        frames = Counter({dark: len(products) for dark, products in harmful.items()})
        for summary in context.summaries(_SUMMARY).values():
            frames.update(summary["harm"])
        is_out = SCIENCE.configuration(context)["skip_harmful"]
        lines = [
            f"dark does harm: {dark}: {_harm_words(context, dark)}; "
            f"{count(number, 'frame')} {'without' if is_out else 'with'} it"
            for dark, number in sorted(frames.items())
        ]
        return first_lines(lines, _MOST_NAMED, "more such darks")

    def products_on_page(self, context, night):
        """Return the masters that frames of a night may take: its page shows which comes next."""
        if not self.is_enabled(context):
            return []
        return _masters_for_frames(context, SCIENCE.night_groups(context, night))

    def page_basis(self, context, night):
        """Return the sources of the section on a night's masters: the choices."""
        if not self.is_enabled(context):
            return {}
        groups = SCIENCE.night_groups(context, night)
        digests = digests_by_steps(context, groups, planned_masters.plain_step)
        choices = [[group.product, *digests[id(group.steps)]] for group in groups]
        words = _rule_words(context)
        choices += [words] if choices and words != _USUAL_RULE else []
        return {"associations": [_SECTIONS_VERSION, digest(choices)]} if choices else {}

    def index_basis(self, context):
        """Return the basis of the overview's matrix, and of the grades in its calendar."""
        if not self.is_enabled(context) or not _has_frames(context):
            return {}
        coverage_now = digest(_kept_coverage(context).values())
        grades = getattr(context.outcome(self.path_prefix), "key", "")
        return {"coverage": [_SECTIONS_VERSION, coverage_now], "grades": grades}

    def overview(self, context):
        """Return the section on the frames of each night and type, and on the missing ones."""
        if not self.index_basis(context):
            return None
        matrix = _kept_coverage(context)
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
        """Return the section on which master each frame of a night took, and on its noise."""
        blocks = night_forecast.blocks_of(context, night) if self.is_enabled(context) else []
        if not blocks:
            return None
        has_several_blocks = len(blocks) > 1
        wishes = [
            f"{block.setup}: {text}" if has_several_blocks else text
            for block in blocks
            for text in forecast_sentences.wish_lines(block)
        ]
        to_gain = f"To gain most: {', '.join(wishes[:3])}." if wishes else ""
        unlike = [
            f"{block.setup}: {forecast_sentences.unlike_words(block)}: grade C."
            for block in blocks
            if block.n_unlike
        ]
        noises = [
            (f"{block.setup} {name}" if has_several_blocks else name, text)
            for block in blocks
            for name, text in forecast_sentences.noise_entries(block)
        ]
        headings, rows = forecast_sentences.table(blocks)
        return Section(
            "choices",
            "Which master, and the terms of the noise",
            (*unlike, *([to_gain] if to_gain else [])),
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
    rules = master_library.rules(context)
    rule_sentence = _USUAL_RULE
    if rules.direction == "nearest":
        rule_sentence = (
            "Among the masters of the same setup, of earlier and later nights, that of the least"
            " predicted variance is taken."
        )
    return (
        f"{rule_sentence} One of the frame's own night goes first."
        if rules.same_night
        else rule_sentence
    )


def _has_frames(context):
    """Return whether any frame of the archive is calibrated."""
    closed_summaries = context.summaries(_SUMMARY).values()
    return bool(SCIENCE.calibrated_groups(context)) or any(
        notes["lines"] for notes in closed_summaries
    )


def _digest_of(context, night):
    """Return the hash of the lines of the frames of a night; '' without frames."""
    records = SCIENCE.night_records(context, night)
    digests = digests_by_steps(context, [group for group, _ in records], table_cells)
    lines = [
        [group.product, night, _is_refused(context, group, record), *digests[id(group.steps)]]
        for group, record in records
    ]
    return digest(lines) if lines else ""


def _masters_of(context, night):
    """Return the masters of a night."""
    kinds = map(context.chain.by_name, MASTER_KINDS)
    return [group for kind in kinds for group in kind.night_groups(context, night)]


def _kept_coverage(context):
    """Return the `ccdflow.kinds.forecasting.coverage.Coverage`, made once for several sections."""
    return context.kept_by_key((OutcomeKey.COVERAGE,), lambda: coverage.coverage_of(context))


def _nights_in_words(matrix):
    """Return the nights of a coverage in words: the name of a single one, else their number."""
    if len(matrix.nights) == 1:
        return f"night {matrix.nights[0]}"
    return f"the last {len(matrix.nights)} nights"


def _coverage_words(matrix):
    """Return sentences on the holes of a `ccdflow.kinds.forecasting.coverage.Coverage`."""
    cells_without_master = matrix.holes(coverage.NO_MASTERS)
    if not cells_without_master:
        return f"No frame of {_nights_in_words(matrix)} lacks a master."
    names = [f"{label} ({night})" for label, night in cells_without_master]
    return f"Missing: {first_named(names, _MOST_NAMED)}."


def _coverage_notes(matrix):
    """Return the sentences below the picture of a `ccdflow.kinds.forecasting.coverage.Coverage`."""
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


def _harmful_darks(context, groups):
    """Return {dark: frames} of the darks that do more harm than good to some frames."""
    answers, frames_by_dark = {}, {}
    for group in groups:
        uses = {step.kind: first_use(context, step) for step in group.steps}
        dark, bias = uses.get("dark"), uses.get("bias")
        if dark is None:
            continue
        masters = dark.product, dark.scale, getattr(bias, "product", "")
        if masters not in answers:
            answers[masters] = association.dark_harms(context, uses)
        if answers[masters]:
            frames_by_dark.setdefault(dark.product, []).append(group.product)
    return frames_by_dark


def _harm_words(context, dark):
    """Return the noise that a dark adds, the structure that it takes away, and the remedy."""
    figures = context.outcome(dark).data["quality"]
    added_variance = max(each["added"] for each in figures)
    structure = max(0.0, *(each["structure"] for each in figures))
    unit = "e2" if figures[0]["unit"] == "electron" else "adu2"
    is_out = SCIENCE.configuration(context)["skip_harmful"]
    remedy = "it was left out" if is_out else "`calibrate: skip_harmful: true` leaves it out"
    return (
        f"it adds {added_variance:.3g} {unit} of noise a pixel and takes {structure:.2g} of"
        f" structure away; {remedy}, more darks make it useful"
    )


def _harm_sentences(context, night):
    """Return a sentence for each dark that does harm to science frames of a night."""
    darks = _harmful_darks(context, SCIENCE.night_groups(context, night))
    return [f"The dark {dark} does harm: {_harm_words(context, dark)}." for dark in sorted(darks)]


def _masters_for_frames(context, groups):
    """Return the masters that frames may take; [] in a run that makes nothing."""
    return association.candidates_of(groups) if context.jobs else []


def _source_products(context):
    """Yield the reduced frames and masters of all calibrated frames."""
    for group in SCIENCE.calibrated_groups(context):
        yield from map(reduced_product, group.files)
    yield from association.candidates_of(SCIENCE.calibrated_groups(context))


def _is_refused(context, group, record):
    """Return whether a frame is not calibrated, by its record; without one, by the plan."""
    if record is None or record.status == job_records.REFUSED:
        return record is not None
    if record.content or context.settings["calibrate"]["missing"] != "refuse":
        return False
    # During planning nobody has tried to calibrate the frame: the plan's answer counts.
    return Calibration(context, group).is_refused


def digests_by_steps(context, groups, values_of):
    """Return the hashes of the values of each answer of some frames.

    Frames that share the object of their steps (of one `StepsChoice`) have the same answers.

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
        By the identity of the frames' steps: a hash for each step.
    """
    first_groups = {}
    for group in groups:
        # Thousands of groups share one object of steps: each is looked at once.
        first_groups.setdefault(id(group.steps), group)
    return {
        steps: [
            _digest_of_answer(context, values_of, answer) for answer in answers_of(context, group)
        ]
        for steps, group in first_groups.items()
    }


def _digest_of_answer(context, values_of, answer):
    """Return the hash of an answer's values; frames of the same answer share it."""
    key_objects = (answer,)
    if answer.use is not None and has_reasons_of_its_own(answer):
        # Page and table name the next candidate as well. Later candidates are scaled anew for each
        # exposure, and change nothing.
        key_objects = answer.use, planned_masters.rival_of(context, answer)[0]
    return context.kept_by_identity(
        OutcomeKey.STEP_LINE,
        key_objects,
        lambda: digest(values_of(context, answer)),
        values_of.__name__,
    )


def table_lines(context):
    """Yield the cells of each line of the table: of each frame and step."""
    for group in SCIENCE.calibrated_groups(context):
        record = context.outcome(group.product)
        is_calibrated = "no" if _is_refused(context, group, record) else "yes"
        for answer in answers_of(context, group):
            yield [group.product, group.night, *table_cells(context, answer), is_calibrated]


def table_cells(context, answer):
    """Return the cells of a step in ``associations.csv``, behind frame and night.

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
        "; ".join(reasons_of(answer, master_library.rules(context))),
        use.grade,
    ]
