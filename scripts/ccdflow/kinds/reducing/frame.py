"""Reduced frames: raw frames minus their overscan, trimmed; or set aside with the reason."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
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
    night_frames_digest,
    nights_with_page,
    size_of_frame,
)
from ccdflow.kinds.reducing.reduce_job import make_reduced_frame
from ccdflow.run import job_records, ledger
from ccdflow.run.job import OF_A_FRAME
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.plan import WantedProduct
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.raw_names import copied_files, moved_files
from ccdflow.run.raw_frames.rows import (
    ARRIVING_STATUS,
    DELETED_OR_MOVED,
    OK,
    SET_ASIDE,
    RowMark,
    digest,
    unreadable_row,
)

# The entries of this kind in a closed night's summary.
_FRAMES_ENTRY, _WARNINGS_ENTRY = "frames", "warnings"


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
        """Plan each good frame of an enabled type; keep the products that cannot be made again."""
        context = planner.context
        planner.want_all(self, self._wanted_products(planner))
        new_files = None
        for product, record in context.ledger.items():
            # A product without a row is kept, because the notes on its raw file may be lost.
            if record.kind != self.name or product in context.products:
                continue
            # Only for reduced frames, because it takes a `stat` of the file.
            if product in planner.products_to_retire or not _may_exist(planner, product):
                continue
            if new_files is None:
                new_files = _files_by_fingerprint(context)
            if new_file := new_files.get(record.basis.get("fingerprint")):
                planner.products_to_retire.add(product)
                planner.moved_files[record.basis["file"]] = new_file
            else:
                planner.keep(product)

    def _wanted_products(self, planner):
        """Yield the `WantedProduct` of each good frame; keep or retire the products of others."""
        context, settings = planner.context, planner.context.settings
        earlier_record = context.earlier_record
        # Rows without their raw file come first: planning one may drop it, and only then are the
        # rows put in order.
        new_file_by_old = moved_files(
            row for row in context.store.rows.values() if is_of_enabled_type(row, settings)
        )
        for row in [row for row in context.store.rows.values() if row.gone]:
            product = reduced_product(row.file)
            if row.file in new_file_by_old:
                _retire_moved(planner, row, new_file_by_old[row.file])
            elif row.gone == DELETED_OR_MOVED and not _may_exist(planner, product):
                # Frames of its type are not reduced now, so that nothing takes its place.
                del context.store.rows[row.file]
            else:
                self._plan_other_row(planner, row)
        for row in context.rows_in_order():
            if row.gone:
                continue
            if row.status == OK and is_of_enabled_type(row, settings):
                product = reduced_product(row.file)
                # The basis only serves to show why an earlier product is out of date.
                basis = None if earlier_record(product) is None else partial(frame_basis, row)
                yield WantedProduct(product, row.night, basis, key=frame_key(row))
            else:
                self._plan_other_row(planner, row)

    def _plan_other_row(self, planner, row):
        """Keep or retire the product of a row that is not to be reduced."""
        context, product = planner.context, reduced_product(row.file)
        if row.gone:
            is_in_the_way = row.has(RowMark.PRODUCT_IN_THE_WAY)
            if not is_in_the_way and planner.keep_unless_damaged(product):
                return
            # The product cannot be made again: no job is planned.
            planner.products_to_retire.add(product)
            planner.dropped_rows[product] = context.store.rows.pop(row.file)
            if row.is_unreadable:
                # The row stays as an unread one: the next run tries to read its raw file.
                context.store.rows[row.file] = unreadable_row(row)
        elif row.status != SET_ASIDE:
            planner.keep(product)
        elif planner.stamps.stamp_of(product):
            planner.products_to_retire.add(product)

    def basis(self, context, job):
        """Return the sources of a reduced frame."""
        return frame_basis(context.row_of_product(job.product))

    @property
    def header_version(self):
        """The version of the header."""
        return reduction.HEADER_VERSION

    @property
    def versions(self):
        """The versions of pixels and header."""
        return [reduction.PIXELS_VERSION, self.header_version]

    def header_version_of(self, record):
        """Return the version of a reduced frame's header; 1 where its record does not tell."""
        return ledger.shared_basis(record).get("header", 1)

    def what_changed(self, earlier_basis, current_basis):
        """Return why a reduced frame is out of date."""
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
        return [context.row_of_product(job.product)], []

    def size(self, context, job):
        """Return the size of one frame."""
        return size_of_frame(context, context.row_of_product(job.product))

    def flags(self, context, records):
        """Yield (product, text) on copies, on amplifiers without signal, and of other warnings.

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
        for file, warnings in _warnings_and_open_files(context, records)[0].items():
            for text in frame_warnings.table_texts(warnings.texts):
                yield reduced_product(file), text

    def frame_reports(self, context, record):
        """Return type, filter, exposure, level and noise of a frame, or why it is set aside."""
        row = context.row_of_product(record.product)
        facts = row.facts
        exposure_in_words = (
            f"{facts['exptime']:.4g} s" if isinstance(facts["exptime"], float | int) else ""
        )
        words = [facts["type"], facts["filter"], exposure_in_words, facts["object"]]
        description = "  ".join(str(word) for word in words if word)
        if record.status != job_records.MADE:
            return [(row.file, description, [f"{record.status}: {record.reason}"])]
        figures = _figure_of_amplifiers("level", record.data["levels"], 1)
        figures += _figure_of_amplifiers("noise", record.data["noises"], 2)
        warnings = [f"warning: {text}" for text in row.warnings.splitlines()]
        warnings += [
            f"amplifier {name} is {flag} throughout" for name, flag in record.data["flags"].items()
        ]
        return [(row.file, "  ".join([description, *figures]), warnings)]

    def closing_lines(self, context, records):
        """Return the lines on frames with warnings.

        Raises
        ------
        NeedsWholePlan
            If frames of closed nights would get another warning.
        """
        return frame_warnings.lines_on_frames(_warnings_and_open_files(context, records)[0])

    def closing_lines_of_one(self, context, record):
        """Return the lines on one frame: why it is not reduced, or the warnings on it."""
        row = context.row_of_product(record.product)
        warnings = [f"warning: {row.file}: {text}" for text in row.warnings.splitlines()]
        return super().closing_lines_of_one(context, record) + warnings

    def products_on_page(self, context, night):
        """Return the reduced frames of a night and of enabled types; all kinds share the list."""

        def products_of_night():
            """Return the products of the good frames of a type that is enabled."""
            return [
                reduced_product(row.file)
                for row in context.rows_of(night)
                if row.status == OK and is_of_enabled_type(row, context.settings)
            ]

        return context.kept_by_key((OutcomeKey.REDUCED_FRAMES, night), products_of_night)

    def page_basis(self, context, night):
        """Return the sources of a night's page: its frames, their header values, verifications."""
        facts = [
            [row.camera, row.geometry, row.recipe, *row.facts.shown_values()]
            for row in context.rows_of(night)
            if row.status != ARRIVING_STATUS
        ]
        verification_basis = verification.page_basis(context, night)
        return {
            "frames": night_frames_digest(context, night),
            "facts": digest(facts),
            **verification_basis,
        }

    def section(self, context, night):
        """Return the section on verified products of a night, or None."""
        return verification.section(context, night)

    def overview_basis(self, context):
        """Return the basis of the overview: the frames of all nights."""
        nights = {night: night_frames_digest(context, night) for night in nights_with_page(context)}
        nights |= context.summaries(_FRAMES_ENTRY)
        return {"nights": [[night, nights[night]] for night in sorted(nights)]}

    # -- closed nights -----------------------------------------------------------------------------

    def summary(self, context, night, records):
        """Return the hash of a night's frames, and the warnings on them."""
        rows = [row for row in context.rows_of(night) if is_of_enabled_type(row, context.settings)]
        entries = frame_warnings.gather_warnings(
            rows,
            {record.product: record for record in records}.get,
            frame_warnings.separating_settings(context),
        )
        return {_FRAMES_ENTRY: night_frames_digest(context, night), _WARNINGS_ENTRY: entries}

    def facts_to_note(self, context):
        """Return the spellings of readout modes and filters, and warnings that need other nights.

        Raises
        ------
        NeedsWholePlan
            If frames of closed nights would get another warning.
        """
        records = [r for r in context.ledger.values() if r.kind == self.name]
        warnings, open_files = _warnings_and_open_files(context, records)
        return {
            "spelled": setups.spellings(context),
            "warnings": {file: warnings[file].texts for file in open_files if file in warnings},
        }

    def restore(self, context, noted_facts):
        """Restore the spellings of readout modes and filters."""
        setups.restore_spellings(context, noted_facts["spelled"])


FRAME = Frame()
"""The kind of reduced frames."""


def _may_exist(planner, product):
    """Return whether a product is there, or lies in a folder that cannot be read."""
    return bool(planner.stamps.stamp_of(product) or planner.context.problem_of(product))


def _files_by_fingerprint(context):
    """Return {fingerprint: raw file} of the frames that are reduced."""
    return {
        row.fingerprint: row.file
        for row in context.rows_in_order()
        if row.status == OK and not row.gone and is_of_enabled_type(row, context.settings)
    }


def _retire_moved(planner, row, new_file):
    """Retire the products of a missing raw file whose content has another path now.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    row : ccdflow.run.raw_frames.rows.Row
        The row of the missing file, which leaves the store.
    new_file : str
        The file that has the content now.
    """
    product = reduced_product(row.file)
    planner.products_to_retire.add(product)
    planner.moved_files[row.file] = new_file
    planner.dropped_rows[product] = replace(row, gone=f"it is now {new_file}")
    del planner.context.store.rows[row.file]


def _copies_within_nights(context, rows):
    """Yield (raw file, original) of the frames that are copies of another frame of their night.

    Copies among biases, darks and flats are left out, because their masters report them.
    """
    rows_by_night = defaultdict(list)
    for row in rows:
        if row.facts["type"] not in context.chain.combined_types:
            rows_by_night[row.night].append(row)
    for rows_of_night in rows_by_night.values():
        row_of_file = {row.file: row for row in rows_of_night}
        for file, original in copied_files(rows_of_night).items():
            if row_of_file[file].status == OK:
                yield file, original


def _warnings_and_open_files(context, records):
    """Return the warnings of all frames, and the files whose warnings depend on other nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of reduced frames.

    Returns
    -------
    warnings : dict of str to ccdflow.kinds.reducing.frame_warnings.FrameWarnings
        By raw file.
    open_files : list of str

    Raises
    ------
    NeedsWholePlan
        If frames of closed nights would get another warning.
    """
    rows, record_of = frame_warnings.rows_and_records(context, records)
    entries_of_open = frame_warnings.gather_warnings(
        rows, record_of, frame_warnings.separating_settings(context)
    )
    entries_of_closed = list(context.summaries(_WARNINGS_ENTRY).values())
    all_entries = [entries_of_open, *entries_of_closed]
    warnings = frame_warnings.join_warnings(all_entries)
    if entries_of_closed:
        noted_warnings = context.closed_nights.notes_of_kind(FRAME.name)["warnings"]
        for file in (file for entries in entries_of_closed for file in entries["open"]):
            texts = warnings[file].texts if file in warnings else []
            if list(map(list, texts)) != noted_warnings.get(file, []):
                raise NeedsWholePlan("warnings on frames of closed nights change")
    return warnings, [file for entries in all_entries for file in entries["open"]]


def _figure_of_amplifiers(name, values, digits):
    """Return [a figure of all amplifiers in words], adu; [] where none was measured.

    Examples
    --------
    >>> _figure_of_amplifiers("level", {"A": 1138.83, "B": 20.04}, 1)
    ['level 1138.8, 20.0 adu']
    >>> _figure_of_amplifiers("level", {}, 1)
    []
    """
    numbers = [f"{value:.{digits}f}" for value in values.values() if value is not None]
    return [f"{name} {', '.join(numbers)} adu"] if numbers else []
