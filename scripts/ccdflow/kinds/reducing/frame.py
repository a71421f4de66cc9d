"""Reduced frames: each raw frame, overscan subtracted and trimmed, or set aside with its reason."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

from ccdflow import paths
from ccdflow.frame import reduction
from ccdflow.kinds import verification
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.matching import setups
from ccdflow.kinds.reducing import frame_warnings
from ccdflow.kinds.reducing.frame_sources import (
    frame_basis,
    frame_key,
    frames_digest,
    shown_nights,
    size_of_frame,
)
from ccdflow.kinds.reducing.reduce_job import make_reduced_frame
from ccdflow.run import job_records, ledger
from ccdflow.run.job import OF_A_FRAME
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.plan import WantedProduct
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.rawframes.enabled_types import is_of_enabled_type
from ccdflow.run.rawframes.rawnames import copied_files
from ccdflow.run.rawframes.rows import (
    ARRIVING_STATUS,
    OK,
    SET_ASIDE,
    RowMark,
    digest,
    unreadable_row,
)

# The keys of a closed night's summary.
_DIGEST, _GATHERED_WARNINGS = "frames", "warnings"


class Frame(Kind):
    """Reduced frames: each raw frame minus its overscan, trimmed to its science pixels."""

    name = "frame"
    rule = "reduce"
    plans_some_nights = True
    nouns = ("frame", "frames")
    counted_nouns = ("reduced frame", "reduced frames")
    is_always_counted = True
    progress_nouns = nouns
    verb = "reduce"
    is_report = False
    is_in_batches = True
    path_prefix = f"{paths.REDUCED_FOLDER}/"
    reach = OF_A_FRAME
    reports_frames = True
    why_moved = "raw file missing, and the product is damaged or stands in the way of another"

    def has_name(self, product):
        """Return whether a path is that of a reduced frame."""
        return product.startswith(self.path_prefix)

    def is_stray(self, context, product):
        """Return False: a reduced frame may be all that is left of a raw file."""
        return False

    def plan(self, planner):
        """Plan each good frame if its type is enabled; keep products that cannot be remade."""
        context = planner.context
        planner.want_all(self, self._wanted_products(planner))
        for product, record in context.ledger.items():
            # The notes on the raw file may be lost: a product without a row is kept.
            if record.kind != self.name or product in context.products:
                continue
            # This comes after the check of the kind: each look is a `stat`, and masters have
            # records as well.
            may_be_there = planner.stamps.stamp_of(product) or context.problem_of(product)
            if may_be_there and product not in planner.products_to_retire:
                planner.keep(product)

    def _wanted_products(self, planner):
        """Yield the `WantedProduct` of each good frame; keep the others, or move them away."""
        context, settings = planner.context, planner.context.settings
        earlier_record = context.earlier_record
        # Planning such a row may drop it, so rows are looked up by night and product afterwards.
        for row in [row for row in context.store.rows.values() if row.gone]:
            self._plan_other_row(planner, row)
        for row in context.rows_in_order():
            if row.gone:
                continue
            if row.status == OK and is_of_enabled_type(row, settings):
                product = reduced_product(row.file)
                # The sources are needed only for the words on a change.
                basis = None if earlier_record(product) is None else partial(frame_basis, row)
                yield WantedProduct(product, row.night, basis, key=frame_key(row))
            else:
                self._plan_other_row(planner, row)

    def _plan_other_row(self, planner, row):
        """Keep the product of a row that is not to be reduced, or have it moved away."""
        context, product = planner.context, reduced_product(row.file)
        if row.gone:
            is_in_the_way = row.has(RowMark.PRODUCT_IN_THE_WAY)
            if not is_in_the_way and planner.keep_unless_damaged(product):
                return
            # The product cannot be made again: no job is planned.
            planner.products_to_retire.add(product)
            planner.dropped[product] = context.store.rows.pop(row.file)
            if row.is_unreadable:
                # The next run finds the row unread and without a product.
                context.store.rows[row.file] = unreadable_row(row)
        elif row.status != SET_ASIDE:
            planner.keep(product)
        elif planner.stamps.stamp_of(product):
            planner.products_to_retire.add(product)

    def basis(self, context, job):
        """Return the sources of a reduced frame."""
        return frame_basis(context.row_of(job.product))

    @property
    def header_version(self):
        """The version of the header."""
        return reduction.HEADER_VERSION

    @property
    def versions(self):
        """The versions of pixels and header."""
        return [reduction.PIXELS_VERSION, self.header_version]

    def header_version_of(self, record):
        """Return the version of the header that a frame was given."""
        return ledger.common_basis(record).get("header", 1)

    def what_changed(self, earlier_basis, current_basis):
        """Say why a reduced frame is out of date."""
        if earlier_basis.get("fingerprint") != current_basis["fingerprint"]:
            return "raw changed"
        if earlier_basis.get("file") != current_basis["file"]:
            return "raw file has another name"
        if earlier_basis.get("arithmetic") != current_basis["arithmetic"]:
            return "new arithmetic"
        if earlier_basis.get("camera") != current_basis["camera"]:
            return f"camera {current_basis['camera']} instead of {earlier_basis.get('camera')}"
        return f"camera {current_basis['camera']} edited"

    def make(self, context, job, *, threads):
        """Reduce a frame, or set it aside."""
        return make_reduced_frame(context, job)

    def rows_and_groups(self, context, job):
        """Return the frame's own row, and no group."""
        return [context.row_of(job.product)], []

    def size(self, context, job):
        """Return the size of one frame."""
        return size_of_frame(context, context.row_of(job.product))

    def flags(self, context, records):
        """Yield the amplifiers that hold no signal, and the other warnings on frames.

        Raises
        ------
        NeedsWholePlan
            If frames of closed nights would get another warning.
        """
        rows, record_of = frame_warnings.rows_and_records(context, records)
        for file, original in _copies_within_nights(context, rows):
            yield reduced_product(file), f"the same frame as {original}: use one of the two"
        for product in map(reduced_product, (row.file for row in rows)):
            record = record_of(product)
            for name, flag in record.data.get("flags", {}).items() if record else ():
                yield product, f"amplifier {name} is {flag} throughout"
        for file, warned in _warnings_of_frames(context, records)[0].items():
            for text in frame_warnings.table_texts(warned.texts):
                yield reduced_product(file), text

    def frame_reports(self, context, record):
        """Return type, filter, exposure, level and noise of a frame, or why it is set aside."""
        row = context.row_of(record.product)
        facts = row.facts
        seconds = f"{facts['exptime']:.4g} s" if isinstance(facts["exptime"], float | int) else ""
        words = [facts["type"], facts["filter"], seconds, facts["object"]]
        description = "  ".join(str(word) for word in words if word)
        if record.status != job_records.MADE:
            return [(row.file, description, [f"{record.status}: {record.reason}"])]
        figures = _figure_of_amplifiers("level", record.data["levels"], 1)
        figures += _figure_of_amplifiers("noise", record.data["noises"], 2)
        warnings = [f"warning: {text}" for text in row.warnings.splitlines()]
        warnings += [f"amplifier {a} is {f} throughout" for a, f in record.data["flags"].items()]
        return [(row.file, "  ".join([description, *figures]), warnings)]

    def closing(self, context, records):
        """Return the lines on frames with warnings.

        Raises
        ------
        NeedsWholePlan
            If frames of closed nights would get another warning.
        """
        return frame_warnings.lines_on_frames(_warnings_of_frames(context, records)[0])

    def closing_of_one(self, context, record):
        """Return the lines on one frame: why it is not reduced, or the warnings on it."""
        row = context.row_of(record.product)
        warnings = [f"warning: {row.file}: {text}" for text in row.warnings.splitlines()]
        return super().closing_of_one(context, record) + warnings

    def products_on_page(self, context, night):
        """Return the frames of a night that the configuration asks for: one list for all kinds."""

        def products_of_night():
            """Return the products of the good frames of a type that is enabled."""
            return [
                reduced_product(row.file)
                for row in context.rows_of(night)
                if row.status == OK and is_of_enabled_type(row, context.settings)
            ]

        return context.kept_by_key((OutcomeKey.REDUCED_FRAMES, night), products_of_night)

    def page_basis(self, context, night):
        """Return the sources of a night's page: its frames, and the facts of their headers."""
        facts = [
            [row.camera, row.geometry, row.recipe, *row.facts.shown_values()]
            for row in context.rows_of(night)
            if row.status != ARRIVING_STATUS
        ]
        verified = verification.page_basis(context, night)
        return {"frames": frames_digest(context, night), "facts": digest(facts), **verified}

    def section(self, context, night):
        """Return the section on verified products of a night, or None."""
        return verification.section(context, night)

    def index_basis(self, context):
        """Return the basis of the overview: the frames of all nights."""
        nights = {night: frames_digest(context, night) for night in shown_nights(context)}
        nights |= context.summaries(_DIGEST)
        return {"nights": [[night, nights[night]] for night in sorted(nights)]}

    # -- closed nights -----------------------------------------------------------------------------

    def summary(self, context, night, records):
        """Return the hash of a night's frames, and the findings in them."""
        rows = [row for row in context.rows_of(night) if is_of_enabled_type(row, context.settings)]
        gathered = frame_warnings.gather(
            rows,
            {record.product: record for record in records}.get,
            frame_warnings.separating_settings(context),
        )
        return {_DIGEST: frames_digest(context, night), _GATHERED_WARNINGS: gathered}

    def facts_to_note(self, context):
        """Return the spellings of readout modes and filters, and the warnings across nights.

        Raises
        ------
        NeedsWholePlan
            If frames of closed nights would get another warning.
        """
        records = [r for r in context.ledger.values() if r.kind == self.name]
        warned, warned_files = _warnings_of_frames(context, records)
        return {
            "spelled": setups.spellings(context),
            "warnings": {file: warned[file].texts for file in warned_files if file in warned},
        }

    def restore(self, context, noted_facts):
        """Restore the spellings of readout modes and filters."""
        setups.restore_spellings(context, noted_facts["spelled"])


FRAME = Frame()
"""The kind of reduced frames."""


def _copies_within_nights(context, rows):
    """Yield the frames that are copies of another of their night, and the other.

    Copies among biases, darks and flats are reported with their masters.
    """
    nights = defaultdict(list)
    for row in rows:
        if row.facts["type"] not in context.chain.combined_types:
            nights[row.night].append(row)
    for rows_of_night in nights.values():
        row_of_file = {row.file: row for row in rows_of_night}
        for file, original in copied_files(rows_of_night).items():
            if row_of_file[file].status == OK:
                yield file, original


def _warnings_of_frames(context, records):
    """Return {raw file: `frame_warnings.Warned`}, and the files whose warnings need other nights.

    Raises
    ------
    NeedsWholePlan
        If frames of closed nights would get another flag in the table.
    """
    rows, record_of = frame_warnings.rows_and_records(context, records)
    warned_of_open = frame_warnings.gather(
        rows, record_of, frame_warnings.separating_settings(context)
    )
    gathered_of_closed = list(context.summaries(_GATHERED_WARNINGS).values())
    warned = frame_warnings.frames_with_warning([warned_of_open, *gathered_of_closed])
    if gathered_of_closed:
        noted_warnings = context.closed_nights.notes_of_kind(FRAME.name)["warnings"]
        for file in (file for night in gathered_of_closed for file in night["open"]):
            texts = warned[file].texts if file in warned else []
            if list(map(list, texts)) != noted_warnings.get(file, []):
                raise NeedsWholePlan("warnings on frames of closed nights change")
    return warned, [file for part in (warned_of_open, *gathered_of_closed) for file in part["open"]]


def _figure_of_amplifiers(name, values, digits):
    """Return a figure of all amplifiers in words, as a list; [] where none was measured.

    Examples
    --------
    >>> _figure_of_amplifiers("level", {"A": 1138.83, "B": 20.04}, 1)
    ['level 1138.8, 20.0 adu']
    >>> _figure_of_amplifiers("level", {}, 1)
    []
    """
    numbers = [f"{value:.{digits}f}" for value in values.values() if value is not None]
    return [f"{name} {', '.join(numbers)} adu"] if numbers else []
