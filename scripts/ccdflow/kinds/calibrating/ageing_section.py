"""The section of the overview on the ageing of masters."""

from __future__ import annotations

from ccdflow.kinds.calibrating import master_ageing
from ccdflow.kinds.product_writing import drawing_module
from ccdflow.pages.contents import Picture, Section


def ageing_section(context):
    """Return the section on the ageing of masters; None where no two masters can be compared.

    Parameters
    ----------
    context : ccdflow.run.context.Context

    Returns
    -------
    ccdflow.pages.contents.Section or None
    """
    series = master_ageing.master_series(context)
    if not series:
        return None
    png = drawing_module("ageing_picture").ageing_picture(
        [
            (
                master.name,
                master_ageing.VARIANCE_UNITS[master.kind],
                master.points(),
                master.ageing_in_use,
            )
            for master in series
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
        rows=tuple(master.cells() for master in series),
        pictures=(Picture(png, "Difference of masters against the days between them"),),
    )
