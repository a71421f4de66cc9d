"""The page of a night, from the sections of all kinds of products."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ccdflow import paths
from ccdflow.files.fits_products.hdus import version_cards
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.measuring import noise_sentences
from ccdflow.kinds.product_writing import write_text_product
from ccdflow.kinds.reducing import frame_warnings
from ccdflow.kinds.reporting import frame_pictures
from ccdflow.kinds.reporting.frame_pictures import level_statistic_in_words
from ccdflow.kinds.reporting.night_frames import UNMADE_STATUS_WORDS, members_left_out, page_frames
from ccdflow.kinds.reporting.night_products import NightPicture, NightProduct
from ccdflow.pages import page
from ccdflow.pages.frame_html import aside_section, frames_section, provenance_section
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, digest

PAGES_VERSION = 19
"""Raised when a change alters any page or the overview: all of them are then written again."""

# A sentence names at most this many files.
_MOST_NAMED = 3
# The way in which a level is subtracted, by `Amplifier.along`.
_DIRECTION_WORDS = {
    "rows": "row by row",
    "columns": "column by column",
    "frame": "from all pixels alike",
}


class NightPage(NightProduct):
    """``nights/<night>/report.html``: the sections that all kinds have on the night."""

    name = "page"
    rule = "page"
    plans_some_nights = True
    nouns = ("night's page", "nights' pages")
    file = paths.REPORT_PAGE

    @property
    def versions(self):
        """The versions of pages and pictures."""
        return [PAGES_VERSION, frame_pictures.PICTURES_VERSION]

    def needs(self, context, night):
        """Return all products that the page of a night shows."""
        return [need for kind in context.chain for need in kind.products_on_page(context, night)]

    def night_basis(self, context, night):
        """Return the sources of the page of a night: those of each kind's part, and more."""
        basis = {"version": self.versions}
        if frames_left_out := list(members_left_out(context, night)):
            basis["left out"] = digest(frames_left_out)
        if products_undrawn := _undrawn_products(context, night):
            basis["undrawn"] = products_undrawn
        for kind in context.chain:
            basis |= kind.page_basis(context, night)
        return basis

    def make(self, context, job, *, threads):
        """Write the page of a night."""
        night = job.night
        sections = [section for kind in context.chain for section in kind.sections(context, night)]
        content = page.night_page_html(
            page.NightContent(
                night=night,
                cameras=tuple(_cameras_of_night(context, night)),
                sections=tuple(sections),
                notes=(
                    *_sentences_on_amplifiers(context, night),
                    *_sentences_on_undrawn(context, night),
                    *_sentences_on_left_out(context, night),
                    *_sentences_on_odd_frames(context, night),
                    *_sentences_on_calibration(context, night),
                ),
                index="../../" + paths.REPORT_PAGE,
            )
        )
        return write_text_product(context, job, self.basis(context, job), content)

    def sections(self, context, night):
        """Return the sections on frames, on frames set aside, and on recipes and versions."""
        frames = page_frames(context, night, paths.FROM_NIGHT)
        cameras = _cameras_of_night(context, night)
        recipes = [(camera, _recipe_in_words(context, night, camera)) for camera in cameras]
        sections = [
            frames_section(frames),
            aside_section(frames),
            provenance_section(recipes, software_versions()),
        ]
        return [section for section in sections if section is not None]


NIGHT_PAGE = NightPage()
"""The kind of a night's page."""


def _undrawn_products(context, night):
    """Return [[product, why]] of the pictures that this run could not draw."""
    products = [
        product
        for kind in context.chain
        if isinstance(kind, NightPicture)
        for product in kind.products_on_page(context, night)
    ]
    records = filter(None, map(context.outcome, products))
    return [
        [record.product, record.reason]
        for record in records
        if record.status in UNMADE_STATUS_WORDS
    ]


def _cameras_of_night(context, night):
    """Return the cameras of a night's frames, without frames that still arrive."""
    rows = context.rows_of(night)
    return sorted({row.camera for row in rows if row.camera and row.status != ARRIVING_STATUS})


def _sentences_on_amplifiers(context, night):
    """Return sentences on amplifiers that hold no signal."""
    files_by_flag = defaultdict(list)
    for row in context.rows_of(night):
        record = context.outcome(paths.reduced_frame(row.file))
        flags = record.data.get("flags", {}) if record is not None else {}
        for amplifier, flag in flags.items():
            files_by_flag[row.camera, amplifier, flag].append(row.file)
    return [
        f"{camera}: amplifier {amplifier} is {flag} throughout in {_few_names(files_of_flag)}."
        for (camera, amplifier, flag), files_of_flag in sorted(files_by_flag.items())
    ]


def _sentences_on_undrawn(context, night):
    """Return sentences on pictures that are missing from the page."""
    return [
        f"The picture {Path(product).name} could not be drawn: {reason}. The next run draws it."
        for product, reason in _undrawn_products(context, night)
    ]


def _sentences_on_left_out(context, night):
    """Return a sentence for each reason for which frames are not in the master of their group."""
    files_by_reason = defaultdict(list)
    for camera, file, text in members_left_out(context, night):
        files_by_reason[camera, text].append(file)
    return [
        f"{camera}: {_few_names(files_of_reason)}: {text}."
        for (camera, text), files_of_reason in files_by_reason.items()
    ]


def _sentences_on_odd_frames(context, night):
    """Return sentences on the warnings on frames."""
    rows = {row.file: row for row in context.rows_of(night) if row.status != ARRIVING_STATUS}
    warnings_by_file = frame_warnings.warnings_of_frames(
        rows.values(), context.outcome, frame_warnings.separating_settings(context)
    )
    return frame_warnings.sentences_on_warnings(warnings_by_file)


def _sentences_on_calibration(context, night):
    """Return sentences on calibrated frames with an odd noise, or with lines of a lamp."""
    groups = SCIENCE.night_groups(context, night)
    records = [r for group in groups if (r := context.outcome(group.product)) is not None]
    return [
        f"{text}."
        for sentences in (noise_sentences.sentences_of_records, noise_sentences.lamp_sentences)
        for text in sentences(context, records)
    ]


def _few_names(files):
    """Return the names of a few files; of more files their number and the first names."""
    if len(files) <= _MOST_NAMED:
        return ", ".join(files)
    return f"{len(files)} frames ({', '.join(files[:_MOST_NAMED])} ...)"


def _recipe_in_words(context, night, camera):
    """Return a sentence on the reduction of a camera's frames."""
    row = next((r for r in context.rows_of(night) if r.camera == camera and r.geometry), None)
    if row is None:
        return "No frame could be reduced."
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    sentences = []
    amplifiers = [a for a in geometry.amplifiers if a.overscan and recipe.subtract]
    if amplifiers:
        strips_text = "; ".join(
            " and ".join(strip.to_fits() for strip in amplifier.overscan)
            for amplifier in amplifiers
        )
        direction = _DIRECTION_WORDS[amplifiers[0].along]
        sentences.append(
            f"The {level_statistic_in_words(recipe)} of the overscan {strips_text} was subtracted"
            f" {direction}"
        )
    else:
        sentences.append("No overscan was subtracted")
    if recipe.trim:
        sections_kept = "; ".join(a.data.to_fits() for a in geometry.amplifiers)
        sentences.append(f"the pixels {sections_kept} were kept")
    else:
        sentences.append("the frame was left whole")
    return ", and ".join(sentences) + f" (sections from the {geometry.source})."


def software_versions():
    """Return names and versions of the software that made the products."""
    names = {"CCDFLOW": "ccdflow", "CCDPVER": "ccdproc", "ASTRPVER": "astropy", "NUMPYVER": "numpy"}
    return tuple((names[keyword], text) for keyword, text, _ in version_cards())
