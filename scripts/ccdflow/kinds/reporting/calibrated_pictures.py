"""Pictures of a night: combined darks and flats, and frames before and after calibrating."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from ccdflow import paths
from ccdflow.files.fits_products.stored_images import stored_image
from ccdflow.kinds.calibrating.calibration import Calibration
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.masters.group_queries import texts_on_left_out
from ccdflow.kinds.masters.master_names import master_names
from ccdflow.kinds.product_writing import refused_record, write_text_product
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.kinds.reducing.small_pictures import wants_pictures
from ccdflow.kinds.reporting import frame_pictures
from ccdflow.kinds.reporting.night_products import NightPicture, file_picture
from ccdflow.pages.contents import NamedFile, Section
from ccdflow.pages.text_formatting import (
    EMPTY_CELL,
    figure_text,
    light_words,
    short_unit,
    value_with_error,
)
from ccdflow.run import job_records
from ccdflow.run.lookups import OutcomeKey
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import value_picker
from ccdflow.wording import count

_LEVEL_OF_FLATS = (
    "The level of a flat is the mean of its good pixels, without bias and dark; the strip of time"
    " has the median of each flat."
)
_HOT_PIXELS_OF_DARKS = (
    "A pixel of a combined dark is hot if it is above its neighbours, and the median of its"
    " amplifier, by the rate beside the number and by five errors: a glow is not counted."
)
_light_of = value_picker("filter", "grism")
# A picture has at most this many rows, so that it stays readable.
_MOST_ROWS = 8


class CalibrationPicture(NightPicture):
    """A picture of some products of a night, with a row of two images for each.

    Attributes
    ----------
    title, explanation, alt : str
        Title and explanation in the picture, and the text for readers who cannot see it.
    scale : {'linear', 'asinh'}
        Scale of the images.
    """

    is_in_batches = True
    title = explanation = alt = ""
    scale = "linear"

    def row(self, context, group, name):
        """Return the `ccdflow.pages.pictures.image_rows.ImageRow` of a product.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group
        name : str
            Name of the product in the picture.
        """
        raise NotImplementedError(f"kind {self.name} must define row()")

    def is_wanted(self, context, night):
        """Return whether a night has products for the picture, and pictures are enabled."""
        return bool(wants_pictures(context) and self.drawn_groups(context, night))

    def night_basis(self, context, night):
        """Return the sources of the picture: its version, and the keys of the products drawn."""
        made_groups = self._made_groups(context, night)
        return {
            "version": frame_pictures.PICTURES_VERSION + self.version - 1,
            "products": [
                [group.product, context.outcome(group.product).key] for group in made_groups
            ],
        }

    def _made_groups(self, context, night):
        """Return the groups of a night that have a row in the picture: those that were made.

        A product that was refused or failed has no pixels, and leaves its row to another one.
        """
        groups = self.drawn_groups(context, night)
        return [group for group in groups if context.made_record(group.product) is not None][
            :_MOST_ROWS
        ]

    def make(self, context, job, *, threads):
        """Draw the picture of a night."""
        basis, groups = self.basis(context, job), self._made_groups(context, job.night)
        if not groups:
            return refused_record(job, basis, "none was made")
        names = master_names(groups, night=job.night)
        png = drawing_module("image_rows").image_rows(
            (self.row(context, group, names[group.product]) for group in groups),
            title=f"{self.title}: night {job.night}",
            explanation=self.explanation,
            scale=self.scale,
        )
        return write_text_product(context, job, basis, png)

    def pictures(self, context, night):
        """Return the picture for the page; () where it was not made.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        tuple of ccdflow.pages.contents.Picture
        """
        if not self.is_wanted(context, night):
            return ()
        return file_picture(context, self.product(night), self.alt)


class MastersPicture(CalibrationPicture):
    """The picture of a night's combined darks and flats; its section lists their figures."""

    name = "masters picture"
    rule = "masters_picture"
    plans_some_nights = True
    nouns = ("picture of darks and flats", "pictures of darks and flats")
    file = "masters.png"
    title = "Combined darks and flats"
    explanation = (
        "Left: the master; a dark in adu at its own exposure, a flat with mean 1. Right: the"
        " standard error of each pixel."
    )
    alt = "Combined darks and flats of the night, each with its standard error"

    def drawn_groups(self, context, night):
        """Return the darks and flats of a night."""
        return [*DARK_KIND.night_groups(context, night), *FLAT_KIND.night_groups(context, night)]

    def row(self, context, group, name):
        """Return the row of a master: its image, and its standard error."""
        image = _first_image(context, group)
        pixels = _read_pixels_later(context, group.product, image.hdu)
        error = _read_pixels_later(context, group.product, f"UNCERT{image.suffix}")
        unit = "adu" if group.kind == DARK_KIND.name else ""
        return _image_row(
            name,
            (pixels, unit, f"Combined {group.kind}"),
            (error, unit, "Standard error"),
        )

    def page_basis(self, context, night):
        """Return the key of the picture, and why masters were made without a bias or dark."""
        groups = self.drawn_groups(context, night)
        reasons_by_product = [
            [group.product, reason]
            for group in groups
            if (reason := _missing_masters(context, group))
        ]
        entry = {"without": reasons_by_product} if reasons_by_product else {}
        return super().page_basis(context, night) | entry

    def section(self, context, night):
        """Return the section on a night's darks and flats; None for none."""
        groups = self.drawn_groups(context, night)
        if not groups:
            return None
        names = master_names(groups, prefix=paths.FROM_NIGHT, night=night)
        lines = [
            line for group in groups for line in _master_lines(context, group, names[group.product])
        ]
        return Section(
            "darks-and-flats",
            "Combined darks and flats",
            (
                " and ".join(
                    _count_groups(groups, kind)
                    for kind in (DARK_KIND, FLAT_KIND)
                    if _has_kind(groups, kind)
                )
                + _frames_words(context, groups),
            ),
            (_HOT_PIXELS_OF_DARKS,) * _has_kind(groups, DARK_KIND)
            + (_LEVEL_OF_FLATS,) * _has_kind(groups, FLAT_KIND),
            headings=(
                "Product",
                "Frames",
                "Amplifier",
                "Figures",
                "Noise measured / predicted",
                "",
            ),
            rows=tuple(lines),
            pictures=self.pictures(context, night),
        )


class SciencePicture(CalibrationPicture):
    """The picture of frames before and after calibrating; its section lists all frames."""

    name = "calibrated picture"
    rule = "calibrated_picture"
    plans_some_nights = True
    nouns = ("picture of calibrated frames", "pictures of calibrated frames")
    file = "calibrated.png"
    version = 4
    scale = "asinh"
    title = "Before and after calibrating"
    explanation = (
        "Left: the reduced frame. Right: minus bias and dark, over the flat. Each has an asinh"
        " scale of its own, so that faint structure and bright stars are seen."
    )
    alt = "One frame of each filter, reduced and calibrated"

    def drawn_groups(self, context, night):
        """Return the first frames of each camera and filter, in the number that is configured."""
        return context.kept_by_key(
            (OutcomeKey.DRAWN_FRAMES, self.name, night),
            lambda: self._first_of_each_light(context, night),
        )

    def _first_of_each_light(self, context, night):
        """Return `drawn_groups`, without looking for an earlier result."""
        most_drawn = context.settings["pictures"]["per_type"]
        drawn_groups, n_drawn = [], Counter()
        for group in SCIENCE.night_groups(context, night):
            camera_and_light = group.camera, _light_of(context.row(group.files[0]).facts.values())
            if most_drawn == "all" or n_drawn[camera_and_light] < most_drawn:
                n_drawn[camera_and_light] += 1
                drawn_groups.append(group)
        return drawn_groups

    def row(self, context, group, name):
        """Return the row of a frame: the reduced image, and the calibrated one."""
        image = _first_image(context, group)
        record, row = context.outcome(group.product), context.row(group.files[0])
        reduced_pixels = _read_pixels_later(context, reduced_product(group.files[0]), image.hdu)
        calibrated_pixels = _read_pixels_later(context, group.product, image.hdu)
        light = light_words((row.facts["filter"], row.facts["grism"]))
        headline = f"{row.file}: {light}, grade {record.data['grade']}"
        return _image_row(
            headline,
            (reduced_pixels, "adu", "Reduced"),
            (calibrated_pixels, record.data["unit"], "Calibrated"),
        )

    def section(self, context, night):
        """Return the section on a night's calibrated frames; None for none."""
        groups = SCIENCE.night_groups(context, night)
        if not groups:
            return None
        records = [r for group in groups if (r := context.made_record(group.product)) is not None]
        grades = Counter(record.data["grade"] for record in records)
        counts_in_words = ", ".join(
            f"{number} of grade {grade}" for grade, number in sorted(grades.items())
        )
        sentence = count(sum(grades.values()), "calibrated frame")
        units = {short_unit(record.data["unit"]) for record in records}
        unit = " or ".join(sorted(units)) or "e-"
        return Section(
            "calibrated",
            "Calibrated frames",
            (f"{sentence}: {counts_in_words}." if counts_in_words else f"{sentence}.",),
            (
                "A: every step, with masters of the same night; B: every step, but a master is of"
                " another night or cut from a larger window, a dark is scaled down or of another or"
                " unknown temperature, or one that does harm is left out; C: a step is missing, a"
                " dark is scaled up, or the scales of the amplifiers differ.",
            ),
            headings=(
                "Frame", "Grade", "Bias", "Dark", "Flat", f"Sky ({unit})", f"Noise ({unit})",
                f"Predicted ({unit})", "Saturated (pixels)", "",
            ),
            rows=tuple(_frame_lines(context, groups, night)),
            pictures=self.pictures(context, night),
        )  # fmt: skip


MASTERS_PICTURE, SCIENCE_PICTURE = MastersPicture(), SciencePicture()
"""The kinds of the pictures of a night's masters and of its calibrated frames."""


def _image_row(headline, *images):
    """Return an `ImageRow` of its module, which is slow to load and therefore loaded here."""
    return drawing_module("image_rows").ImageRow(headline, images)


def _first_image(context, group):
    """Return the first image of a group's product, which the picture shows."""
    _, images = recipe_and_images(context, context.row(group.files[0]))
    return images[0]


def _read_pixels_later(context, product, hdu):
    """Return an image whose pixels are read only when it is drawn."""
    return stored_image(context.results / product, hdu)


def _has_kind(groups, kind):
    """Return whether any of some groups is of a kind."""
    return any(group.kind == kind.name for group in groups)


def _count_groups(groups, kind):
    """Return the number of groups of a kind with the noun: ``2 combined darks``."""
    number = sum(group.kind == kind.name for group in groups)
    return f"{number} {kind.nouns[number != 1]}"


def _frames_words(context, groups):
    """Return in words how many of the frames were combined; '' where none was left out."""
    data = [r.data for group in groups if (r := context.outcome(group.product)) is not None]
    n_left_out = sum(len(each.get("left_out", ())) for each in data)
    n_members = sum(len(each.get("members", ())) for each in data)
    return f", of {n_members} of {n_members + n_left_out} frames" if n_left_out else ""


def _figure_text(value, digits=4):
    """Return a figure with some significant digits as text; a dash where it is unknown."""
    is_known = isinstance(value, int | float) and math.isfinite(value)
    return figure_text(value, digits) if is_known else EMPTY_CELL


def _master_lines(context, group, name):
    """Yield the cells of a line for each amplifier of a master."""
    record = context.outcome(group.product)
    if record is None or record.status != job_records.MADE:
        yield str(name), str(len(group.files)), "", "", "", getattr(record, "reason", "not made")
        return
    words_on_missing = [
        f"without {kind}: {reason}" for kind, reason in _missing_masters(context, group).items()
    ]
    names = [each["amplifier"] for each in record.data["quality"]]
    for number, figures in enumerate(record.data["quality"]):
        ratio = value_with_error(figures["noise_ratio"], figures["noise_ratio_error"])
        notes = _remarks_on(figures["amplifier"], names, record.data)
        if number == 0:
            # A master that stays as it was, because its job failed, has a reason.
            notes = [*filter(None, [record.reason]), *words_on_missing, *notes]
            notes += texts_on_left_out(record.data)
        cells = (
            name,
            str(figures["frames"]),
            figures["amplifier"],
            _figures_in_words(group, figures),
            ratio,
        )
        yield *cells, "; ".join(notes)


def _remarks_on(amplifier, names, data):
    """Return the remarks on an amplifier; with those on the whole master for its first amplifier.

    Examples
    --------
    >>> data = {"remarks": ["amplifier A: dark", "few frames"], "remarks_on": ["A", ""]}
    >>> _remarks_on("A", ["A", "B"], data), _remarks_on("B", ["A", "B"], data)
    (['amplifier A: dark', 'few frames'], [])
    """
    remarks = data.get("remarks", ())
    subjects = data.get("remarks_on") or [_subject_formerly(text, names) for text in remarks]
    subjects_shown = (amplifier, "") if amplifier == names[0] else (amplifier,)
    return [text for text, name in zip(remarks, subjects, strict=True) if name in subjects_shown]


def _subject_formerly(remark, names):
    """Return the amplifier that a remark of an older record names; '' for none.

    Examples
    --------
    >>> _subject_formerly("amplifier B is dead", ["A", "B"]), _subject_formerly("few", ["A", "B"])
    ('B', '')
    """
    # Older results: their records have no `remarks_on`.
    starts = {name: (f"amplifier {name}:", f"amplifier {name} ") for name in names}
    return next((name for name in names if remark.startswith(starts[name])), "")


def _missing_masters(context, group):
    """Return {kind: why} of the masters that the members of a dark or flat lacked."""
    return context.chain.by_name(group.kind).why_without(context, group)


def _figures_in_words(group, figures):
    """Return the figures of an amplifier of a combined dark or flat in words."""
    unit = short_unit(figures["unit"])
    if group.kind == DARK_KIND.name:
        return (
            f"{value_with_error(figures['rate'], figures['rate_error'])} {unit}/s,"
            f" {figures['hot']} hot pixels ({figures['hot_limit']:g} {unit}/s above neighbours),"
            f" glow {_figure_text(figures['glow'], 3)} {unit}/s"
        )
    return (
        f"level {_figure_text(figures['level'])} {unit} ({_figure_text(figures['lowest'])} to"
        f" {_figure_text(figures['highest'])}), signal to noise"
        f" {_figure_text(figures['signal_to_noise'])} a pixel"
    )


def _frame_lines(context, groups, night):
    """Yield the `_FrameLine` of each frame that is to be calibrated."""
    uses_by_frame = {
        group.product: Calibration(context, group).uses
        for group in groups
        if context.made_record(group.product) is not None
    }
    products = dict.fromkeys(
        use.product
        for uses_of_frame in uses_by_frame.values()
        for use in uses_of_frame.values()
        if use
    )
    groups_of_masters = map(context.find_group, products)
    master_groups = [group for group in groups_of_masters if group is not None]
    names = master_names(master_groups, prefix=paths.FROM_NIGHT, night=night)
    for group in groups:
        yield _frame_line(context, group, uses_by_frame.get(group.product), names)


class _FrameLine(NamedTuple):
    """The cells of a calibrated frame in the table of a night.

    Attributes
    ----------
    file : str or ccdflow.pages.contents.NamedFile
    grade : str
    bias, dark, flat : str or ccdflow.pages.contents.NamedFile
        Name of each master, or why there is none.
    sky, sky_rms, sky_predicted : str
        Level of the sky, noise of a sky pixel as measured, and as predicted.
    saturated : str
        Number of saturated pixels.
    remarks : str
        Reasons for the grade.
    """

    file: str | NamedFile
    grade: str = ""
    bias: str | NamedFile = ""
    dark: str | NamedFile = ""
    flat: str | NamedFile = ""
    sky: str = ""
    sky_rms: str = ""
    sky_predicted: str = ""
    saturated: str = ""
    remarks: str = ""


def _frame_line(context, group, uses, names):
    """Return the `_FrameLine` of a frame; with the reason alone where it was not calibrated.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    group : ccdflow.run.job.Group
    uses : dict of str to ccdflow.run.master_choices.Use, or None
        By kind of master; None where the frame was not calibrated.
    names : dict of str to ccdflow.pages.contents.NamedFile
        Names of the masters with their links, by product.
    """
    file, record = group.files[0], context.outcome(group.product)
    if uses is None:
        return _FrameLine(file, remarks=getattr(record, "reason", "not made"))
    masters = [_master_cell(uses.get(kind), names) for kind in ("bias", "dark", "flat")]
    image = record.data["images"][0]
    sky = [_figure_text(image[name]) for name in ("sky", "sky_rms", "sky_predicted")]
    words_on_missing = [f"without {kind}" for kind in record.data["missing"]]
    remarks = [f"{kind}: {each}" for kind, use in uses.items() if use for each in use.remark_texts]
    linked_file = NamedFile(file, path=f"{paths.FROM_NIGHT}/{group.product}", file=group.product)
    # Frames without a mask have no number of saturated pixels.
    saturated = str(record.data.get("saturated", EMPTY_CELL))
    # A frame that stays as it was, because its job failed, has a reason.
    words = "; ".join([*filter(None, [record.reason]), *words_on_missing, *remarks])
    return _FrameLine(linked_file, record.data["grade"], *masters, *sky, saturated, words)


def _master_cell(use, names):
    """Return the cell of a master in the table: its short name with a link, if there is one."""
    if use is None:
        return EMPTY_CELL
    stem = Path(use.product).stem
    return names.get(use.product) or NamedFile(
        stem, path=f"{paths.FROM_NIGHT}/{use.product}", file=use.product
    )
