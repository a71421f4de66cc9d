"""Sections on the biases of a night, and their trend over the nights."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ccdflow.kinds.drawn_pictures import draw_ahead, draw_once, drawing_module
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.group_queries import later_nights_with_members, trend_groups
from ccdflow.kinds.masters.master_names import master_names
from ccdflow.kinds.reducing.small_pictures import mapped_image_of
from ccdflow.kinds.reporting.figures import amplifier_figures, names_of_groups
from ccdflow.kinds.reporting.night_products import file_picture
from ccdflow.pages import contents
from ccdflow.pages.bias_html import combined_section, noise_section, trend_section
from ccdflow.paths import FROM_NIGHT, reduced_frame
from ccdflow.run import job_records

CLAIM_TOLERANCE = 0.15
"""A read noise is reported if it differs from the header's by more than this fraction. With a
smaller fraction there are sentences on headers that round to whole electrons; with a larger one
none on noise that makes errors of dark pixels 15 % wrong. Chosen, not measured."""

# The values that members share, as a page names them. With some cameras the gain of the header is a
# setting without a unit.
_SHARED_VALUE_WORDS = {
    "readmode": "readout mode",
    "epoch": "taken from",
    "gain": "the header's gain",
}


def bias_sections(context, night, picture):
    """Return the sections on combined biases, on noise figures, and on the trend.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    picture : str
        The product with the picture of the figures.

    Returns
    -------
    list of ccdflow.pages.contents.Section
        [] for a night without biases, and without a trend over other nights.
    """
    groups = BIAS_KIND.night_groups(context, night)
    n_biases = sum(row.facts["type"] == "bias" for row in context.rows_of(night))
    section_on_trend = trend_section(
        trend_pictures(context, trend_groups(BIAS_KIND, context, night), night)
    )
    if not groups and not n_biases:
        return [section_on_trend] if section_on_trend else []
    names, absence = names_of_groups(groups), _absence_of_combined_biases(context, night)
    names_of_masters = master_names(groups, prefix=FROM_NIGHT, night=night)
    alt = "Level through the night, read noise, structure, and noise of the combined bias"
    sections = [
        combined_section(
            [_combined_bias(context, group, names_of_masters[group.product]) for group in groups],
            absence=absence,
            n_biases=n_biases,
        ),
        noise_section(
            [
                _figures_for_page(figures, names[group.product])
                for group, figures in amplifier_figures(context, groups)
            ],
            file_picture(context, picture, alt),
            absence=absence,
            summary=_sentences_on_claims(context, groups),
        ),
        section_on_trend,
    ]
    return [section for section in sections if section is not None]


COMBINING_OFF_NOTE = "Combining biases is switched off in the configuration"
"""The sentence where biases are not combined."""


def _absence_of_combined_biases(context, night):
    """Return why the page of a night lacks combined biases of its frames; '' if it does not."""
    if not any(row.facts["type"] == "bias" for row in context.rows_of(night)):
        return ""
    if not BIAS_KIND.configuration(context)["enabled"]:
        return f"{COMBINING_OFF_NOTE}; earlier combined biases stay, and are not shown here."
    nights = later_nights_with_members(BIAS_KIND, context, night)
    if not nights:
        return ""
    return (
        "The biases of this night are combined with those of other nights: see "
        f"{'night' if len(nights) == 1 else 'nights'} {', '.join(nights)}."
    )


def _combined_bias(context, group, name):
    """Return a group of biases with its figures, as the section on combined biases has it."""
    record = context.outcome(group.product)
    data = {} if record is None else record.data
    is_made = record is not None and record.status == job_records.MADE
    figures = data.get("quality", [])
    return contents.CombinedBias(
        name=f"combined {name}",
        file=Path(group.product).name,
        hint=name.hint,
        camera=group.camera,
        product=f"{FROM_NIGHT}/{group.product}" if is_made else "",
        members=tuple(data.get("members", ())),
        left_out=tuple(
            contents.LeftOutBias(file, text, figure=figure, value=value, threshold=threshold)
            for file, text, figure, value, threshold in data.get("left_out", ())
        ),
        remarks=(*_reasons_for_earlier_version(record), *data.get("remarks", ())),
        not_made="" if is_made else getattr(record, "reason", ""),
        recipe=data.get("recipe", ""),
        group=", ".join(_shared_words(name, value) for name, value in group.shared if value),
        noises=tuple(each["combined_noise"] for each in figures),
        predicted_noises=tuple(each["predicted_noise"] for each in figures),
        n_rejected=data.get("rejected", -1),
        n_pixels=data.get("pixels", 0),
        pictures=_combined_picture(context, group, record, name) if is_made else (),
    )


def _reasons_for_earlier_version(record):
    """Return [the reason] of a combined bias that is an earlier version; [] of others."""
    if record is None or record.status != job_records.MADE or not record.reason:
        return []
    return [record.reason]


def _shared_words(name, value):
    """Return in words a value that all members of a group share.

    Examples
    --------
    >>> _shared_words("ccdsum", "2 2"), _shared_words("part", "CRVAL1U 0")
    ('binning 2x2', 'part of the detector (CRVAL1U 0)')
    >>> _shared_words("gain", "1.1")
    "the header's gain 1.1"
    """
    if name == "ccdsum":
        return f"binning {'x'.join(value.split())}"
    if name == "part":
        return f"part of the detector ({value})"
    return f"{_SHARED_VALUE_WORDS.get(name, name)} {value}"


def _combined_picture(context, group, record, name):
    """Return the picture of a combined bias, drawn once for all pages that show it.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    group : ccdflow.run.job.Group
    record : ccdflow.run.job_records.Record
    name : str
        Name of the combined bias, for its title.
    """
    png = draw_once(*_key_and_drawing(context, group, record, name))
    return (contents.Picture(png, f"The combined {name}: image, profiles, distribution"),)


def draw_combined_biases(context, night):
    """Draw and keep the pictures of a night's combined biases before its page is made.

    The page is one of the last products of a run: with kept pictures it is made sooner.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    night : str
    """
    groups = BIAS_KIND.night_groups(context, night)
    names = master_names(groups, prefix=FROM_NIGHT, night=night)
    for group in groups:
        record = context.made_record(group.product)
        if record is not None:
            draw_ahead(*_key_and_drawing(context, group, record, names[group.product]))


def _key_and_drawing(context, group, record, name):
    """Return the key of a combined bias's picture, and the function that draws it.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    group : ccdflow.run.job.Group
    record : ccdflow.run.job_records.Record
    name : str
        Name of the combined bias, for the title of the picture.
    """
    key = (record.product, record.key, record.content, name)
    return key, lambda: _draw_combined(context, group, record.data, name)


def _draw_combined(context, group, data, name):
    """Return the picture of a combined bias.

    Parameters
    ----------
    context : ccdflow.run.context.PageContext
    group : ccdflow.run.job.Group
    data : mapping of str to object
        Data of the record.
    name : str
        Name of the combined bias, for its title.
    """
    row = context.row_of_product(reduced_frame(data["members"][0]))
    image = np.asarray(mapped_image_of(context, row, group.product))
    pictures = drawing_module("combined_picture")
    return pictures.combined_bias_picture(
        pictures.CombinedBiasValues(
            name,
            image,
            n_members=len(data["members"]),
            noises=tuple(each["combined_noise"] for each in data["quality"]),
            predicted_noises=tuple(each["predicted_noise"] for each in data["quality"]),
            rejected_fraction=(
                data["rejected"] / data["pixels"] if data.get("pixels") else math.nan
            ),
            recipe=data["recipe"],
        ),
        title=f"Combined {name}: night {group.night_of_page}",
    )


def _figures_for_page(figures, name):
    """Return the figures of an amplifier by its biases, as the section on noise has them."""
    error = figures["drift_an_hour_error"]
    return contents.AmplifierFigures(
        camera=name,
        amplifier=figures["amplifier"],
        n_biases=figures["frames"],
        level=figures["level"],
        span=figures["level_span"],
        # Two levels give a slope without an error: it is not shown.
        drift=math.nan if math.isnan(error) else figures["drift_an_hour"],
        drift_error=error,
        read_noise=figures["read_noise"],
        read_noise_error=figures["read_noise_error"],
        gain=figures["gain"],
        claimed_read_noise=figures["header_read_noise_electrons"],
        row_structure=figures["row_structure"],
        column_structure=figures["column_structure"],
        combined_noise=figures["combined_noise"],
        predicted_noise=figures["predicted_noise"],
    )


def trend_pictures(context, groups, highlight=None):
    """Return the picture with the trend of some groups' figures; () for a single night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : iterable of ccdflow.run.job.Group
        Groups of combined biases.
    highlight : str, optional
        The night that is marked.

    Returns
    -------
    tuple of ccdflow.pages.contents.Picture
    """
    group_figures = list(amplifier_figures(context, groups))
    if len({group.night_of_page for group, _ in group_figures}) < 2:
        return ()
    pictures = drawing_module("trend_picture")
    names = names_of_groups(groups)
    points = [
        pictures.TrendPoint(
            night=group.night_of_page,
            camera=names[group.product],
            amplifier=figures["amplifier"],
            level=figures["level"],
            read_noise=figures["read_noise"],
            noise_ratio=_ratio_or_nan(figures["combined_noise"], figures["predicted_noise"]),
        )
        for group, figures in group_figures
    ]
    png = draw_once(
        ("trend", repr(points), highlight),
        lambda: pictures.trend_picture(points, highlight=highlight),
    )
    return (contents.Picture(png, "Bias level, read noise and combined noise over the nights"),)


def _ratio_or_nan(value, expected_value):
    """Return a value over an expected value; NaN where the expected value is not above 0."""
    return value / expected_value if expected_value > 0 else math.nan


def _sentences_on_claims(context, groups):
    """Return sentences on amplifiers whose measured read noise is not that of their header."""
    sentences = []
    for group, figures in amplifier_figures(context, groups):
        measured_noise = figures["read_noise_electrons"]
        claimed_noise = figures["header_read_noise_electrons"]
        if (
            not (measured_noise > 0 and claimed_noise > 0)
            or abs(measured_noise / claimed_noise - 1) <= CLAIM_TOLERANCE
        ):
            continue
        percentage = f"{100 * abs(measured_noise / claimed_noise - 1):.0f} %"
        sentences.append(
            f"{group.camera} {figures['amplifier']}: the read noise is {measured_noise:.3g}"
            f" electrons, {percentage} {'more' if measured_noise > claimed_noise else 'less'} than"
            f" the {claimed_noise:.3g} that are claimed; this, or the gain of {figures['gain']:.3g}"
            " electrons per adu, is wrong."
        )
    return sentences
