"""The overview of all nights."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields

from ccdflow import paths
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.product_writing import write_text_product
from ccdflow.kinds.reducing.frame_sources import nights_with_page
from ccdflow.kinds.reporting import night_page
from ccdflow.kinds.reporting.night_frames import page_frames
from ccdflow.kinds.reporting.night_page import software_versions
from ccdflow.pages import page
from ccdflow.pages.contents import REDUCED, SET_ASIDE, ShownFrame
from ccdflow.run import job_records

# The name of this kind's values in the summary of a closed night.
_SUMMARY = "overview"


class Overview(ArchiveProduct):
    """``report.html``: a calendar of all nights, links to their pages, trends of the detectors."""

    name = "index"
    rule = "index_page"
    plans_some_nights = True
    nouns = ("overview of all nights", "overviews")
    path_prefix = paths.REPORT_PAGE

    def needs(self, context):
        """Return all groups and pages, and the table with the grades for the calendar."""
        pages = map(paths.night_page, nights_with_page(context))
        return [*context.groups, *pages, paths.ASSOCIATIONS_FILE]

    def basis(self, context, job):
        """Return the sources of the overview: those of each kind's part, and the failed jobs."""
        basis = {"version": night_page.PAGES_VERSION}
        for kind in context.chain:
            basis |= kind.overview_basis(context)
        # An overview that was made without some products is made again when these exist.
        needs = set() if job is None else set(job.needs)
        failed = sorted(
            product
            for product, planned_job in context.jobs.items()
            if planned_job.kind != self.name
            and _has_failed(
                context.outcome(product),
                is_shown=product in needs and not context.chain.by_name(planned_job.kind).is_report,
            )
        )
        return basis | ({"failed": failed} if failed else {})

    def summary(self, context, night, records):
        """Return the line of a night in the overview, and its frames that are set aside."""
        return {_SUMMARY: _summary_of(context, night)}

    def make(self, context, job, *, threads):
        """Write the overview."""
        nights = {row.night for row in context.store.rows.values()}
        summaries = {night: _summary_of(context, night) for night in nights}
        summaries |= context.summaries(_SUMMARY)
        lines = [line_of_note(summaries[night]["line"]) for night in sorted(summaries)]
        frames_set_aside = [
            _shown_frame(frame)
            for night in sorted(summaries)
            for frame in summaries[night]["aside"]
        ]
        content = page.index_page_html(
            page.IndexContent(
                nights=tuple(reversed(lines)),
                aside=tuple(frames_set_aside),
                sections=tuple(s for kind in context.chain if (s := kind.overview(context))),
                provenance=software_versions(),
                last_run=paths.LAST_RUN,
            )
        )
        return write_text_product(context, job, self.basis(context, job), content)


OVERVIEW = Overview()
"""The kind of the page of all nights."""


def _has_failed(record, *, is_shown):
    """Return whether a job failed or waits, by its record.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
    is_shown : bool
        Whether the overview counts the product. Such a job has ended: without a record it failed.
        Other jobs without a record may still be at work.
    """
    if record is None:
        return is_shown
    return not record.key or (record.status == job_records.MADE and bool(record.reason))


def _summary_of(context, night):
    """Return the note of a night for the overview: its line, and its frames set aside."""
    frames = page_frames(context, night, ".")
    statuses = Counter(frame.status for frame in frames)
    products = [group.product for group in SCIENCE.night_groups(context, night)]
    records = list(filter(None, map(context.made_record, products)))
    grades = Counter(record.data["grade"] for record in records)
    line = page.NightLine(
        night=night,
        page=paths.night_page(night),
        cameras=tuple(sorted({frame.camera for frame in frames if frame.camera})),
        types=tuple(sorted(Counter(each.image_type for each in frames if each.image_type).items())),
        n_reduced=statuses[REDUCED],
        n_set_aside=statuses[SET_ASIDE],
        n_other=len(frames) - statuses[REDUCED] - statuses[SET_ASIDE],
        combined=tuple(_combined_groups(context, night)),
        grades=tuple(sorted(grades.items())),
        n_uncalibrated=len(products) - len(records),
    )
    frames_set_aside = [asdict(frame) for frame in frames if frame.status == SET_ASIDE]
    return {"line": note_of_line(line), "aside": frames_set_aside}


def _combined_groups(context, night):
    """Yield image type, number of combined groups and of all groups of each kind of master."""
    for kind in (BIAS_KIND, DARK_KIND, FLAT_KIND):
        groups = kind.night_groups(context, night)
        n_made = sum(context.made_record(group.product) is not None for group in groups)
        if groups:
            yield kind.type, n_made, len(groups)


def note_of_line(line):
    """Return the values of a night's line for its note, where counts have no ``n_``."""
    return {name.removeprefix("n_"): value for name, value in asdict(line).items()}


def line_of_note(note):
    """Return the line of a night from its note: JSON has lists where the line has tuples."""
    values = {field.name: note[field.name.removeprefix("n_")] for field in fields(page.NightLine)}
    for name in ("types", "combined", "grades"):
        values[name] = tuple(map(tuple, values[name]))
    return page.NightLine(**{**values, "cameras": tuple(values["cameras"])})


def _shown_frame(note):
    """Return a frame of the overview from its note: JSON has lists where the frame has tuples."""
    tuples = {name: tuple(note[name]) for name in ("levels", "noises")}
    return ShownFrame(**{**note, **tuples})
