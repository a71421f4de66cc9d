"""The picture of a night's biases: level, noise and structure of each amplifier."""

from __future__ import annotations

import math
from dataclasses import replace

from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.masters import group_queries
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.product_writing import refused_record, write_text_product
from ccdflow.kinds.reporting import frame_pictures
from ccdflow.kinds.reporting.bias_sections import (
    COMBINING_OFF_NOTE,
    bias_sections,
    draw_combined_biases,
    trend_pictures,
)
from ccdflow.kinds.reporting.figures import amplifier_figures, names_of_groups
from ccdflow.kinds.reporting.night_products import NightPicture
from ccdflow.pages.bias_html import trend_section
from ccdflow.pages.contents import Section

# The trend on the overview has at most this many nights.
_MOST_NIGHTS = 366


class BiasPicture(NightPicture):
    """``bias_quality.png``: level, read noise, structure and combined noise of a night's biases."""

    name = "bias picture"
    rule = "quality_picture"
    plans_some_nights = True
    nouns = ("picture of biases", "pictures of biases")
    is_in_batches = True
    file = "bias_quality.png"

    def is_wanted(self, context, night):
        """Return whether a night has groups of biases."""
        return bool(self.drawn_groups(context, night))

    def drawn_groups(self, context, night):
        """Return the groups of biases of a night."""
        return BIAS_KIND.night_groups(context, night)

    def night_basis(self, context, night):
        """Return the sources of the picture of a night: its groups of biases."""
        groups = group_queries.basis_lines(BIAS_KIND, context, self.drawn_groups(context, night))
        return {"version": frame_pictures.PICTURES_VERSION, "groups": groups}

    def make(self, context, job, *, threads):
        """Draw the figures of a night's amplifiers, and keep pictures of its combined biases."""
        record = self._draw_figures(context, job)
        draw_combined_biases(context, job.night)
        return record

    def _draw_figures(self, context, job):
        """Draw the picture and return its record."""
        basis, groups = self.basis(context, job), self.drawn_groups(context, job.night)
        names = names_of_groups(groups)
        amplifiers = [
            _amplifier_night(figures, names[group.product])
            for group, figures in amplifier_figures(context, groups)
        ]
        if not amplifiers:
            return refused_record(job, basis, "there are not two biases to compare")
        draw = drawing_module("bias_picture").night_quality_picture
        png = draw(amplifiers, title=f"Figures of the biases: night {job.night}")
        return write_text_product(context, job, basis, png)

    def page_basis(self, context, night):
        """Return {}: the sources of the picture are in the page's basis already."""
        return {}

    def sections(self, context, night):
        """Return the sections on combined biases, on noise figures, and on the trend."""
        return bias_sections(context, night, self.product(night))

    def overview(self, context):
        """Return the section on the trend of the figures over the last nights."""
        groups = sorted(
            BIAS_KIND.groups(context), key=lambda group: (group.night_of_page, group.product)
        )
        nights = set(sorted({group.night_of_page for group in groups})[-_MOST_NIGHTS:])
        groups_shown = [group for group in groups if group.night_of_page in nights]
        section = trend_section(trend_pictures(context, groups_shown))
        if BIAS_KIND.configuration(context)["enabled"]:
            return section
        note = (f"{COMBINING_OFF_NOTE}.",)
        if section is not None:
            return replace(section, summary=note)
        return Section("trend", "Trend over the nights", note, note, order=80, name="Trend")


BIAS_PICTURE = BiasPicture()
"""The kind of a night's picture of the figures of its biases."""


def _amplifier_night(figures, name):
    """Return the figures of an amplifier for the picture of a night."""
    gain, claimed_noise = figures["gain"], figures["header_read_noise_electrons"]
    combined_noise = figures["combined_noise"]
    return drawing_module("bias_picture").AmplifierNight(
        amplifier=f"{name} {figures['amplifier']}",
        hours=tuple(figures["hours"]),
        levels=tuple(figures["levels"]),
        pair_noise=tuple(figures["pairs"]),
        claimed_noise=claimed_noise / gain if gain and not math.isnan(gain) else math.nan,
        row_structure=figures["row_structure"],
        column_structure=figures["column_structure"],
        row_error=figures["row_structure_error"],
        column_error=figures["column_structure_error"],
        combined_noise=() if math.isnan(combined_noise) else ((figures["frames"], combined_noise),),
    )
