"""The picture beside a proposed camera profile: image, levels, overscan; as PNG bytes."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ccdflow.pages.pictures.style import (
    FAINT_INK,
    HEADLINE_POINTS,
    INK,
    NUMBER_POINTS,
    PAPER,
    SERIES,
    WHITE,
)

# Colours of science pixels, of the section that the header claims, and of the used overscan.
_DATA_COLOUR, _CLAIM_COLOUR, _USED_COLOUR = SERIES[:3]
# The colour of columns of the overscan that are left out.
_LEFT_OUT_COLOUR = "#c0392b"

# Width of the picture, height of its headline and of a row, inches.
_WIDTH, _HEADLINE_HEIGHT, _ROW_HEIGHT = 13, 0.9, 4.3
# From the left of the picture to its headline, as a fraction of the width.
_HEADLINE_LEFT = 0.01
# Relative widths of the panels of image, levels and strip.
_PANEL_WIDTHS = (1.15, 1.2, 1.9)
# Sizes of letters, points: of names and sentences in panels, and of titles.
_NAME_POINTS, _TITLE_POINTS = 11, 9
# Widths of lines, points: grid, border of a region, curve, the header's section.
_GRID_LINE, _BORDER_LINE, _CURVE_LINE, _CLAIM_LINE = 0.5, 1.6, 0.8, 4
# Lengths of a dash and of a gap, in widths of the line.
_DASHES = (3, 2)
# Size of the mark of a column, points.
_COLUMN_MARK = 5
# Opacity of the overscan's colour in the panel of levels and in that of the strip.
_LEVELS_OPACITY, _STRIP_OPACITY = 0.25, 0.12
# The percentiles of an image between which its greys lie.
_GREY_PERCENTILES = (2, 97)
# The scale of levels is linear up to this many times the read noise, logarithmic beyond. With a
# smaller number the noise of the overscan fills the panel; with a larger one faint leaked light is
# not seen.
_LINEAR_SIGMA = 5
# The unit of room at the scale of the strip is the largest of three: a fraction of the range of its
# levels, a fraction of the read noise, and a number of adu.
_ROOM_FRACTION, _NOISE_FRACTION, _LEAST_ROOM = 0.12, 0.3, 1.0
# Units of room below the levels and above them; the legend is above.
_ROOMS_BELOW, _ROOMS_ABOVE = 2, 3
# Columns before and after the strips that the panel of the strip shows.
_COLUMNS_BEFORE, _COLUMNS_AFTER = 6, 7
# From a strip to its name above it, in units of room.
_NAME_ROOMS = 0.6
# Height of the header's section above the lower edge, as a fraction of the panel.
_CLAIM_HEIGHT = 0.03
# At most this many images are drawn: those of a file with more are alike.
_MOST_IMAGES = 4

# The drawn image has at least this many pixels along each side, if the image has as many.
_THUMBNAIL_PIXELS = 400


def proposal_picture(findings, images, *, title):
    """Return the picture of examined images: image, levels of columns, strips enlarged.

    Parameters
    ----------
    findings : sequence of ccdflow.camera.proposing.image_examination.ImageFindings
        The findings on each image that was examined.
    images : list of numpy.ndarray of shape (ny, nx), any integer or float type, or None
        The pixels of each HDU, adu; not changed.
    title : str

    Returns
    -------
    bytes
        A PNG.
    """
    images_shown = findings[:_MOST_IMAGES]
    figure = Figure(
        figsize=(_WIDTH, _HEADLINE_HEIGHT + _ROW_HEIGHT * len(images_shown)),
        facecolor=PAPER,
        layout="constrained",
    )
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, fontsize=HEADLINE_POINTS, x=_HEADLINE_LEFT, ha="left")
    grid = figure.add_gridspec(len(images_shown), 3, width_ratios=_PANEL_WIDTHS)
    for number, image_findings in enumerate(images_shown):
        axis = _axis_of(image_findings)
        panels = [figure.add_subplot(grid[number, column]) for column in range(3)]
        for panel in panels:
            _style_panel(panel)
        prefix = f"HDU {image_findings.hdu}: " if len(findings) > 1 else ""
        _draw_image(panels[0], images[image_findings.hdu], image_findings, prefix)
        _draw_levels(panels[1], axis)
        _draw_strip(panels[2], image_findings, axis)
    buffer = io.BytesIO()
    canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _axis_of(findings):
    """Return the axis whose levels are drawn: rows if they alone have strips, else columns."""
    has_strips_of_rows_alone = bool(findings.rows.strips) and not findings.columns.strips
    return findings.rows if has_strips_of_rows_alone else findings.columns


def _style_panel(panel):
    """Give a panel of matplotlib the colours and the thin grid of all pictures."""
    panel.set_facecolor(WHITE)
    panel.tick_params(colors=INK, labelsize=NUMBER_POINTS)
    panel.grid(color=FAINT_INK, linewidth=_GRID_LINE)
    panel.set_axisbelow(True)
    for side in panel.spines.values():
        side.set_color(FAINT_INK)


def _draw_image(panel, image, findings, prefix):
    """Draw an image with its amplifiers and strips.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    image : numpy.ndarray of shape (ny, nx)
        In the type of the file.
    findings : ccdflow.camera.proposing.image_examination.ImageFindings
        The amplifiers and strips.
    prefix : str
        Text before the title.
    """
    ny, nx = findings.shape
    thumbnail = image.reshape(findings.shape)[
        :: max(1, ny // _THUMBNAIL_PIXELS), :: max(1, nx // _THUMBNAIL_PIXELS)
    ].astype(float)
    finite_values = thumbnail[np.isfinite(thumbnail)]
    low, high = (
        np.percentile(finite_values, _GREY_PERCENTILES) if finite_values.size else (0.0, 1.0)
    )
    panel.imshow(
        thumbnail,
        origin="lower",
        cmap="Greys_r",
        vmin=low,
        vmax=max(high, low + 1),
        extent=(0.5, nx + 0.5, 0.5, ny + 0.5),
        aspect="auto",
        interpolation="nearest",
    )
    panel.grid(visible=False)
    for name, data, strips in findings.amplifiers:
        _draw_border(panel, data, _DATA_COLOUR)
        for strip in strips:
            _draw_border(panel, strip, _USED_COLOUR)
        middle = ((data.x0 + data.x1) / 2, (data.y0 + data.y1) / 2)
        panel.text(
            *middle,
            name,
            color=_DATA_COLOUR,
            ha="center",
            va="center",
            fontsize=_NAME_POINTS,
            weight="bold",
        )
    for keyword, region in findings.claimed_sections:
        if keyword == "BIASSEC":
            _draw_border(panel, region, _CLAIM_COLOUR, is_dashed=True)
    text = f"{prefix}data (blue), overscan (green)"
    if "BIASSEC" in dict(findings.claimed_sections):
        text += ", BIASSEC (dashed)"
    panel.set_title(text, fontsize=_TITLE_POINTS, color=INK, loc="left")
    panel.set_xlabel("column (pixels)", fontsize=NUMBER_POINTS, color=INK)
    panel.set_ylabel("row (pixels)", fontsize=NUMBER_POINTS, color=INK)


def _draw_border(panel, region, colour, *, is_dashed=False):
    """Draw the border of a region.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
        Gets the border.
    region : ccdflow.camera.sections.Region
    colour : str
    is_dashed : bool, optional
        Whether the line is dashed.
    """
    panel.add_patch(
        Rectangle(
            (region.x0 + 0.5, region.y0 + 0.5),
            region.x1 - region.x0,
            region.y1 - region.y0,
            fill=False,
            edgecolor=colour,
            linewidth=_BORDER_LINE,
            linestyle=(0, _DASHES) if is_dashed else "-",
        )
    )


def _draw_levels(panel, axis):
    """Draw the level of each column above the lowest level, on a scale for light and overscan."""
    base = min((strip.level for strip in axis.strips), default=float(np.min(axis.levels)))
    positions = np.arange(1, len(axis.levels) + 1)
    panel.plot(positions, axis.levels - base, color=INK, linewidth=_CURVE_LINE)
    panel.set_yscale("symlog", linthresh=max(_LINEAR_SIGMA * axis.read_noise, 1))
    for strip in axis.strips:
        panel.axvspan(
            strip.start + 0.5,
            strip.stop + 0.5,
            color=_USED_COLOUR,
            alpha=_LEVELS_OPACITY,
            linewidth=0,
        )
    panel.set_xlabel(f"{axis.name[:-1]} (pixels)", fontsize=NUMBER_POINTS, color=INK)
    panel.set_ylabel(f"adu above {base:.0f}", fontsize=NUMBER_POINTS, color=INK)
    panel.set_title(
        f"mean of the {axis.name}, log scale", fontsize=_TITLE_POINTS, color=INK, loc="left"
    )


def _draw_strip(panel, findings, axis):
    """Draw the levels of the strips and their surroundings, enlarged; without strips the reason."""
    if not axis.strips:
        _write_why_no_strip(panel, findings)
        return
    used_regions = [region for *_, regions in findings.amplifiers for region in regions]
    used_ends = {x for region in used_regions for x in axis.ends_of(region)}
    shown_range = start, stop = _range_near_strips(axis, used_ends)
    level = min(strip.level for strip in axis.strips)
    strips_shown = [strip for strip in axis.strips if strip.start >= start and strip.stop <= stop]
    levels = [strip.level - level for strip in strips_shown]
    for strip in strips_shown:
        levels += [strip.level + value - level for _, value in strip.left_out]
    low, high = min(levels), max(levels)
    room = max(_ROOM_FRACTION * (high - low), _NOISE_FRACTION * axis.read_noise, _LEAST_ROOM)
    panel.set_ylim(low - _ROOMS_BELOW * room, high + _ROOMS_ABOVE * room)
    _draw_points(panel, axis, shown_range, strips=strips_shown, used_ends=used_ends, level=level)
    _draw_claim(panel, findings, axis, shown_range)
    _name_strips(panel, findings, axis, level, room)
    panel.set_xlim(start + 0.5, stop + 0.5)
    panel.set_xlabel(f"{axis.name[:-1]} (pixels)", fontsize=NUMBER_POINTS, color=INK)
    panel.set_ylabel(f"adu above {level:.1f}", fontsize=NUMBER_POINTS, color=INK)
    panel.set_title("the overscan, enlarged", fontsize=_TITLE_POINTS, color=INK, loc="left")
    panel.legend(fontsize=NUMBER_POINTS, frameon=False, labelcolor=INK, loc="upper right", ncols=2)


def _write_why_no_strip(panel, findings):
    """Write the reason why no strip is drawn."""
    panel.set_axis_off()
    text = "No overscan was found:\nlight does not end abruptly at any columns or rows."
    if not findings.has_light:
        text = "There is too little light in this frame\nto tell overscan from science pixels."
    panel.text(0.5, 0.5, text, color=INK, ha="center", va="center", fontsize=_NAME_POINTS)


def _range_near_strips(axis, used_ends):
    """Return the half-open range of columns (or rows) of the panel: that of all strips.

    If they are far apart, it is that of the used strips, or of the first one if none is used.
    """
    positions = _ends_and_positions(axis.strips)
    # With strips on both sides of the image, its science pixels would fill the panel.
    if max(positions) - min(positions) > len(axis.levels) / 2:
        used_strips = [strip for strip in axis.strips if strip.start in used_ends]
        positions = _ends_and_positions(used_strips or axis.strips[:1])
    start, stop = min(positions) - _COLUMNS_BEFORE, max(positions) + _COLUMNS_AFTER
    return max(0, start), min(len(axis.levels), stop)


def _ends_and_positions(strips):
    """Return the ends of strips, and the positions of the columns that are left out of them."""
    return [
        x
        for strip in strips
        for x in (strip.start, strip.stop, *(column for column, _ in strip.left_out))
    ]


def _draw_points(panel, axis, shown_range, *, strips, used_ends, level):
    """Draw the levels of columns or rows: used, left out, and others.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    shown_range : (int, int)
        Columns (or rows) that are drawn, half-open.
    strips : list of ccdflow.camera.proposing.lit_columns.Strip
    used_ends : set of int
        Ends of the strips that become overscan.
    level : float
        adu: the zero of the scale.
    """
    start, stop = shown_range
    positions = np.arange(start, stop)
    used_strips = [strip for strip in strips if strip.start in used_ends]
    is_used = np.zeros(positions.size, bool)
    for strip in used_strips:
        is_used |= (positions >= strip.start) & (positions < strip.stop)
    is_left_out = np.isin(positions, [x for strip in strips for x, _ in strip.left_out])
    is_other = ~(is_used | is_left_out)
    values = axis.levels[start:stop] - level
    for flags, colour, label, marker in (
        (is_used, _USED_COLOUR, "used as overscan", "o"),
        (is_left_out, _LEFT_OUT_COLOUR, "left out", "X"),
        (is_other, _DATA_COLOUR, "science, or not used", "s"),
    ):
        low, high = panel.get_ylim()
        if (flags & (values > low) & (values < high)).any():
            panel.plot(
                positions[flags] + 1,
                values[flags],
                marker,
                color=colour,
                markersize=_COLUMN_MARK,
                label=label,
            )
    for strip in used_strips:
        panel.axvspan(
            strip.start + 0.5,
            strip.stop + 0.5,
            color=_USED_COLOUR,
            alpha=_STRIP_OPACITY,
            linewidth=0,
        )


def _name_strips(panel, findings, axis, level, room):
    """Write each amplifier's name at its strip, where there is more than one.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    findings : ccdflow.camera.proposing.image_examination.ImageFindings
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    level : float
        adu: the zero of the scale.
    room : float
        adu between a strip and its name.
    """
    if len(findings.amplifiers) < 2:
        return
    strips = {(strip.start, strip.stop): strip for strip in axis.strips}
    for name, _, regions in findings.amplifiers:
        for region in regions:
            strip = strips.get(axis.ends_of(region))
            if strip is None:
                continue
            panel.text(
                (strip.start + strip.stop + 1) / 2,
                strip.level - level + _NAME_ROOMS * room,
                name,
                color=_USED_COLOUR,
                ha="center",
                weight="bold",
                clip_on=True,
            )


def _draw_claim(panel, findings, axis, shown_range):
    """Draw the overscan section that the header claims, as a thick line.

    Parameters
    ----------
    panel : matplotlib.axes.Axes
    findings : ccdflow.camera.proposing.image_examination.ImageFindings
    axis : ccdflow.camera.proposing.lit_columns.AxisLevels
    shown_range : (int, int)
        Columns (or rows) that are drawn, half-open.
    """
    region = dict(findings.claimed_sections).get("BIASSEC")
    if region is None:
        return
    start, stop = axis.ends_of(region)
    shown_start, shown_stop = shown_range
    if stop <= shown_start or start >= shown_stop:
        return
    panel.plot(
        [max(start, shown_start) + 0.5, min(stop, shown_stop) + 0.5],
        [_CLAIM_HEIGHT, _CLAIM_HEIGHT],
        color=_CLAIM_COLOUR,
        linewidth=_CLAIM_LINE,
        solid_capstyle="butt",
        transform=panel.get_xaxis_transform(),
        label=f"header's BIASSEC {region.to_fits()}",
    )
