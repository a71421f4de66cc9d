"""A camera profile from the pixels of a frame (`light`), and the findings in words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ccdflow.camera.cameras import WIDE_ENOUGH, generic_camera
from ccdflow.camera.geometry import array_shape, binning, image_hdus
from ccdflow.camera.light import (
    NARROWEST,
    NOISIEST,
    AxisLevels,
    agreeing,
    column_means,
    column_noises,
    complement,
    filled,
    quietest,
    see_axis,
    strip_of,
    tolerance,
    widest_of,
    without_drift,
)
from ccdflow.camera.sections import Region, parse_fits
from ccdflow.errors import FrameError, UserError
from ccdflow.files.cards import find_first

BRIGHT = (
    "This frame is bright, {level:.0f} adu with the noise of light, and that ends nowhere "
    "abruptly: no overscan shows in it. The values below are the header's."
)
# A frame with more than this, adu, and this noise holds light: no bias is so.
_BRIGHT, _NOISE_OF_LIGHT = 3000.0, 15.0
BLANK = (
    "All or most of this image is at one value: it is saturated, or dead. Nothing can be seen in "
    "it; what follows is the header's."
)
SAME = "The header alone gives the same: this camera needs no amplifiers in a profile."
TOO_FAINT = (
    "There is no light in this frame, or too little next to any dark columns or rows, to tell "
    "where the overscan is: better give a flat as well. The values below are the header's."
)


@dataclass(frozen=True)
class ImageFindings:
    """Findings in the image of one HDU.

    Parameters
    ----------
    hdu : int
    shape : (int, int)
        (ny, nx).
    columns, rows : AxisLevels
    amplifiers : tuple of (str, Region, tuple of Region)
        Name, data and overscan of each.
    claimed : tuple of (str, Region)
        The header's sections that lie in the frame, by card.
    findings : tuple of str
        Sentences for the user.
    has_light : bool
        Whether the frame shows light at all.
    """

    hdu: int
    shape: tuple[int, int]
    columns: AxisLevels
    rows: AxisLevels
    amplifiers: tuple[tuple[str, Region, tuple[Region, ...]], ...]
    claimed: tuple[tuple[str, Region], ...]
    findings: tuple[str, ...]
    has_light: bool


@dataclass(frozen=True)
class Proposal:
    """A proposed camera profile.

    Parameters
    ----------
    name : str
        For the profile's file.
    yaml : str
        The profile.
    findings : tuple of str
        The findings, a sentence each.
    seen : tuple of ImageFindings
        One for each image HDU.
    """

    name: str
    yaml: str
    findings: tuple[str, ...]
    seen: tuple[ImageFindings, ...]


def propose(headers, arrays, *, other=None, file):
    """Propose a camera profile from one frame, or from a bias and a flat.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU of the first frame.
    arrays : list of numpy.ndarray or None
        The pixels of each HDU, shape (ny, nx), adu; not changed.
    other : list of numpy.ndarray, optional
        The pixels of a second frame of the same camera: of the two the brighter counts as the flat.
    file : str
        Named in the profile and in errors.

    Returns
    -------
    Proposal

    Raises
    ------
    FrameError
        If the file has no two-dimensional image.
    UserError
        If the two frames are not of the same size.
    """
    images = image_hdus(headers)
    if not images:
        raise FrameError("the file holds no image", file=file)
    camera = generic_camera(headers)
    kind = "flat" if other is not None else camera.describe(headers, file=file).type
    geometry, refusal = _header_geometry(camera, headers, file)
    seen = []
    for index in images:
        shape = array_shape(headers[index], file=file)
        one, two = (_image(of and of[index], shape, file) for of in (arrays, other))
        dark, flat = _by_light(one, two)
        ours = [a for a in geometry.amplifiers if a.hdu == index] if geometry else []
        seen.append(look(headers, index, flat, dark=dark, kind=kind, said=tuple(ours)))
    findings = _together(seen) + _against_header(geometry, refusal, seen)
    same = findings[-1] == SAME
    text = _yaml(headers, camera, seen if same else _alike(seen), findings, file, same=same)
    return Proposal(camera.name.replace("-", "_"), text, tuple(findings), tuple(seen))


def _header_geometry(camera, headers, file):
    """The geometry by the header alone or None, and the error or None."""
    try:
        return camera.geometry(headers, file=file, layout="extensions"), None
    except FrameError as error:
        return None, error


def look(headers, index, flat, *, dark=None, kind="", said=()):
    """Examine the pixels of one image.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    index : int
        The HDU.
    flat : numpy.ndarray
        Shape (ny, nx), adu: the frame with most light.
    dark : numpy.ndarray, optional
        A bias of the same camera.
    kind : str
        The type of frame that `flat` is, as far as known.
    said : tuple of ccdflow.camera.geometry.Amplifier
        The geometry by the header alone for this HDU.

    Returns
    -------
    Seen
    """
    flat = filled(flat)
    dark = None if dark is None else filled(dark)
    claimed = _claimed(headers, index, flat.shape)
    read_noise = None if dark is None else max(float(np.median(column_noises(dark))), 0.3)
    columns = see_axis(flat, "columns", read_noise=read_noise)
    if not np.median(columns.noises):
        return _blank(index, flat, columns, claimed, said)
    lit = widest_of(columns.lit)
    steady, error = flat, 0.0
    if columns.strips:
        strip = widest_of([(strip.start, strip.stop) for strip in columns.strips])
        steady, error = without_drift(flat, strip, columns.read_noise)
    upright = steady[:, lit[0] : lit[1]].T
    least = min(columns.read_noise, quietest(column_noises(upright)))
    rows = see_axis(upright, "rows", read_noise=read_noise or least, level_error=error)
    lit = widest_of(rows.lit)
    if rows.strips:
        # Once more without the rows that no light reaches: they dilute the signal of a column.
        columns = see_axis(flat[lit[0] : lit[1]], "columns", read_noise=read_noise or least)
    if read_noise is None and not columns.strips and not rows.strips:
        # Nothing is known to be dark, so nothing is known to have faded.
        columns, rows = replace(columns, faded=False), replace(rows, faded=False)
    findings = []
    has_light = _has_light(columns, rows, kind)
    if has_light:
        columns, rows = _without_unlit((columns, rows), headers, index, claimed, findings)
    strip = _said_strip(said, claimed)
    if not has_light or _is_missed(strip, columns, rows, flat.shape):
        has_light = False
        level = float(np.median(columns.levels))
        findings.append(BRIGHT.format(level=level) if _is_bright(columns, kind) else TOO_FAINT)
        columns, rows = _from_header(flat, columns, rows, strip)
        amplifiers = _as_said(said, _amplifiers(columns, rows, dark, findings))
    else:
        amplifiers = _kept(_amplifiers(columns, rows, dark, findings), claimed)
        if len(said) > len(amplifiers) and _are_dark(flat, said, columns.read_noise):
            findings.append(
                f"The header's {len(said)} amplifiers are used: their strips are dark, but light "
                "does not show where one of them ends."
            )
            amplifiers = _as_said(said, amplifiers)
    findings += _sentences(columns, rows, amplifiers, claimed, has_light=has_light)
    return ImageFindings(
        index, flat.shape, columns, rows, amplifiers, claimed, tuple(findings), has_light
    )


def _image(image, shape, file):
    """The pixels of an HDU without axes of length 1; None where there are none."""
    if image is None:
        return None
    if np.size(image) != shape[0] * shape[1]:
        raise UserError(
            "the two frames are not of the same size",
            file=file,
            value=f"{np.shape(image)} and {shape}",
        )
    return np.reshape(image, shape)


def _blank(index, flat, columns, claimed, said):
    """The finding on an image that is saturated or dead throughout."""
    rows = see_axis(flat.T, "rows")
    columns, rows = (replace(axis, strips=(), faded=False) for axis in (columns, rows))
    whole = Region(0, flat.shape[0], 0, flat.shape[1])
    amplifiers = _as_said(said, (("A", whole, ()),))
    if len(said) == 1:
        amplifiers = (("A", said[0].data, said[0].overscan),)
    return ImageFindings(
        index, flat.shape, columns, rows, amplifiers, claimed, (BLANK,), has_light=False
    )


def _are_dark(flat, said, read_noise):
    """Whether the header's amplifiers all have strips, and no light is in them."""
    strips = [strip for amplifier in said for strip in amplifier.overscan]
    noises = [np.median(column_noises(flat[strip.slices])) for strip in strips if strip.size > 1]
    return all(a.overscan for a in said) and all(n <= NOISIEST * read_noise for n in noises)


def _has_light(columns, rows, kind):
    """Whether the frame shows light: by strips next to lit pixels, its type, or its noise."""
    if kind in ("bias", "dark"):
        return False
    if columns.strips or rows.strips or kind == "flat":
        return True
    return np.median(columns.noises) > 1.5 * columns.read_noise or _is_bright(columns, kind)


def _is_bright(columns, kind):
    """Whether an image is so bright and noisy all over that it must hold light."""
    level, noise = np.median(columns.levels), np.median(columns.noises)
    return kind not in ("bias", "dark") and level > _BRIGHT and noise > _NOISE_OF_LIGHT


# Overscan is at most this part of an axis; on rows, which few cameras read beyond, of less.
_MOST_OF_AXIS = {"columns": 0.3, "rows": 0.1}
# Cards with the number of columns and of rows that the chip has.
_CHIP = {"columns": ("DNAXIS1", "ESO DET CHIP1 NX"), "rows": ("DNAXIS2", "ESO DET CHIP1 NY")}


def _without_unlit(axes, headers, index, claimed, findings):
    """The axes without dark ranges that must be detector which no light reaches, as beside a slit.

    That are ranges that take more of the axis than overscan does, and those on an axis that has no
    more pixels than the chip, as far as cards tell; but not where the header's data leave them out.
    """
    kept = []
    for axis, factor in zip(axes, binning(headers, index)[::-1], strict=True):
        length = len(axis.levels)
        chip = _chip_length(headers, index, axis.name)
        dark = length - sum(stop - start for start, stop in axis.lit)
        why = ""
        if _are_left_out(axis, claimed):
            pass
        elif axis.strips and chip and length * factor <= chip:
            why = f"the chip has {chip} {axis.name}, and the frame {length * factor} of them"
        elif axis.strips and dark > _MOST_OF_AXIS[axis.name] * length:
            why = f"{dark} of {length} {axis.name} are more than an overscan has"
        if why:
            findings.append(
                f"{_ranges(axis)} hold the level alone, but {why}: unlit detector, as beside a "
                "slit, and no overscan. Should it be one all the same, write it under `overscan:`."
            )
            axis = replace(axis, strips=(), lit=((0, length),))
        kept.append(axis)
    return tuple(kept)


def _are_left_out(axis, claimed):
    """Whether the header's data section shares nothing with any strip."""
    section = dict(claimed).get("TRIMSEC") or dict(claimed).get("DATASEC")
    if section is None:
        return False
    start, stop = _ends(axis, section)
    return all(strip.stop <= start or strip.start >= stop for strip in axis.strips)


def _ranges(axis):
    parts = [f"{strip.start + 1} to {strip.stop}" for strip in axis.strips]
    return f"{axis.name.capitalize()} {' and '.join(parts)}"


def _chip_length(headers, index, name):
    """The unbinned columns or rows of the chip, None where no card tells."""
    for header in (headers[index], headers[0]):
        for keyword in ("DETSIZE", "CCDSIZE"):
            text = header.get(keyword)
            if isinstance(text, str) and len(headers) <= 2:
                # Of a mosaic it is the size of all its chips.
                try:
                    shape = parse_fits(text, keyword=keyword).region.shape
                except FrameError:
                    continue
                return shape[name == "columns"]
        for keyword in _CHIP[name]:
            if isinstance(header.get(keyword), int) and header[keyword] > 0:
                return header[keyword]
    return None


def _said_strip(said, claimed):
    """The one strip that the header tells of, from its geometry or from BIASSEC; or None."""
    if len(said) == 1 and said[0].overscan:
        return said[0].overscan[0]
    return None if said else dict(claimed).get("BIASSEC")


def _is_missed(strip, columns, rows, shape):
    """Whether the header's strip is dark, but light was too faint to show where it ends."""
    if strip is None:
        return False
    axis = columns if _is_upright(strip, shape) else rows
    start, stop = _ends(axis, strip)
    if any(one.start < stop and start < one.stop for one in axis.strips):
        return False
    return float(np.median(axis.noises[start:stop])) <= NOISIEST * axis.read_noise


def _from_header(flat, columns, rows, strip):
    """The axes with the header's strip, of which what stands apart is left out."""
    columns, rows = replace(columns, strips=()), replace(rows, strips=())
    if strip is None:
        return columns, rows
    if _is_upright(strip, flat.shape):
        return _with_claim(columns, strip.x0, strip.x1, flat.shape[0]), rows
    return columns, _with_claim(rows, strip.y0, strip.y1, flat.shape[1])


def _as_said(said, amplifiers):
    """The amplifiers as the header has them; a single one with the strip that was looked at."""
    if len(said) > 1:
        return tuple((a.name, a.data, a.overscan) for a in said)
    if len(said) == 1 and len(amplifiers) == 1:
        ((name, _, strips),) = amplifiers
        return ((name, said[0].data, strips),)
    return amplifiers


def _is_upright(region, shape):
    """Whether a region is a strip of columns rather than of rows."""
    return region.shape[0] / shape[0] >= region.shape[1] / shape[1]


def _with_claim(axis, start, stop, count):
    error = max(axis.read_noise / np.sqrt(count), 1e-3)
    groups = agreeing(axis.levels, start, stop, tolerance(axis.read_noise, error))
    strips = tuple(strip_of(axis.levels, group, (start, stop), groups) for group in groups)
    lit = tuple(complement([(start, stop)], len(axis.levels)))
    return replace(axis, strips=strips, lit=lit) if strips and lit else axis


# -- amplifiers -------------------------------------------------------------------------------


def _amplifiers(columns, rows, dark, findings):
    """Name, data and overscan of each amplifier, from the strips along one of the axes."""
    axis, across = (columns, rows) if columns.strips or not rows.strips else (rows, columns)
    if axis is rows and dark is not None:
        dark = dark.T
    side = widest_of(across.lit)
    blocks = [block for block in axis.lit if block[1] - block[0] >= _least_block(axis)]
    found = []
    if not axis.strips:
        found = [("A", widest_of(axis.lit), [])]
    elif len(blocks) == 1:
        found = _of_one_block(blocks[0], axis, dark, findings)
    else:
        for number, block in enumerate(blocks):
            strip = min(axis.strips, key=lambda s, b=block: _distance(s, b))
            found.append((f"A{number + 1}", block, [strip]))
    return tuple(
        (
            name,
            _region(axis, block, side),
            tuple(_region(axis, (strip.start, strip.stop), side) for strip in strips),
        )
        for name, block, strips in found
    )


def _least_block(axis):
    """The least number of columns that count as the data of an amplifier."""
    return max(NARROWEST, len(axis.levels) // 20)


def _kept(amplifiers, claimed):
    """The amplifiers with the header's science section where it is a little inside of what is lit.

    The observatory may know of a bad row at the edge; but a section that cuts off more, or is not
    inside, is not used.
    """
    if len(amplifiers) != 1:
        return amplifiers
    ((name, data, strips),) = amplifiers
    for keyword in ("TRIMSEC", "DATASEC"):
        section = dict(claimed).get(keyword)
        if section is not None and data.contains(section) and section.size >= 0.98 * data.size:
            return ((name, section, strips),)
    return amplifiers


def _distance(strip, block):
    """How far a strip is from a block; of strips as near, that with more columns is nearer."""
    gap = max(strip.start - block[1], block[0] - strip.stop)
    return gap, -(strip.stop - strip.start)


def _region(axis, along, across):
    if axis.name == "columns":
        return Region(*across, *along)
    return Region(*along, *across)


def _of_one_block(block, axis, dark, findings):
    """One amplifier, or several that share each row and have their strips one after the other."""
    # Of strips as wide, that farthest from the data has the least of what trails behind them.
    widest = max(
        axis.strips,
        key=lambda s: (s.stop - s.start, max(s.start - block[1], block[0] - s.stop)),
    )
    beside = [s for s in axis.strips if (s.start >= block[1]) == (widest.start >= block[1])]
    wide = widest.stop - widest.start
    agreed = sum(s.stop - s.start for s in beside)
    unlit = agreed + sum(len(s.left_out) for s in beside)
    if agreed < 0.5 * unlit:
        findings.append(
            f"Only {agreed} of {unlit} {axis.name} without light agree: light trails into them, "
            "and the level is not sure."
        )
    beside = [s for s in beside if s.stop - s.start >= 0.7 * wide]
    steps = np.diff([strip.level for strip in beside])
    if len(beside) < 2 or np.abs(steps).min() < axis.read_noise:
        return _of_both_sides(block, axis, dark, findings) or [("A", block, [widest])]
    count = len(beside)
    edges = np.linspace(*block, count + 1).round().astype(int).tolist()
    if dark is not None:
        for number, step in enumerate(steps, 1):
            at, seen = _step_at(column_means(dark), block, edges[number])
            if abs(seen - step) > 0.3 * abs(step):
                findings.append(
                    f"The strips at {beside[number - 1].level:.0f} and {beside[number].level:.0f} "
                    f"adu are no two amplifiers: the data of the bias do not step alike."
                )
                return [("A", block, [widest])]
            edges[number] = at
    else:
        findings.append(
            f"{count} strips of different levels: taken for {count} amplifiers that divide the "
            f"{axis.name} evenly; a bias as well would show where one ends."
        )
    pairs = pairwise(edges)
    return [
        (f"A{number + 1}", pair, [strip])
        for number, (pair, strip) in enumerate(zip(pairs, beside, strict=True))
    ]


def _of_both_sides(block, axis, dark, findings):
    """Two amplifiers that read out to either side, each with its strip there; or None."""
    sides = [[s for s in axis.strips if (s.start >= block[1]) == after] for after in (False, True)]
    if not all(sides):
        return None
    left, right = (max(side, key=lambda s: s.stop - s.start) for side in sides)
    step = right.level - left.level
    if abs(step) < axis.read_noise:
        return None
    if dark is None:
        findings.append(
            f"The strips on either side of the data differ by {abs(step):.1f} adu: if each is of "
            "an amplifier of its own, a bias as well would show where one ends."
        )
        return None
    at, seen = _step_at(column_means(dark), block, (block[0] + block[1]) // 2)
    if abs(seen - step) > 0.3 * abs(step):
        return None
    return [("A1", (block[0], at), [left]), ("A2", (at, block[1]), [right])]


def _step_at(levels, block, near):
    """Where the levels of a bias step most, within a quarter of the block, and by how much."""
    reach = max(8, (block[1] - block[0]) // 4)
    span = 8
    first, last = max(block[0] + span, near - reach), min(block[1] - span, near + reach)
    steps = [
        np.median(levels[x : x + span]) - np.median(levels[x - span : x])
        for x in range(first, last)
    ]
    best = int(np.argmax(np.abs(steps)))
    # The widest difference of medians is reached on several columns: the steepest is the place.
    around = range(max(first, first + best - span // 2), min(last, first + best + span // 2))
    at = max(around, key=lambda x: abs(levels[x] - levels[x - 1]))
    return at, float(steps[best])


# -- findings in words -----------------------------------------------------------------------------


def _claimed(headers, index, shape):
    """The header's sections that lie in the frame, by card."""
    found = []
    for keyword in ("BIASSEC", "TRIMSEC", "DATASEC"):
        text = headers[index].get(keyword)
        if isinstance(text, str) and text.strip():
            try:
                region = parse_fits(text, shape=shape, keyword=keyword).region
            except FrameError:
                continue
            if region.within(shape):
                found.append((keyword, region))
    return tuple(found)


def _sentences(columns, rows, amplifiers, claimed, *, has_light):
    said = []
    used = [strip for *_, strips in amplifiers for strip in strips]
    for axis in (columns, rows):
        for strip in axis.strips:
            within = [region for region in used if _is_of(axis, region, strip)]
            said.append(_about(axis, strip, within))
            said += _about_left_out(axis, strip)
        if axis.faded and has_light:
            said.append(
                f"At an edge the light fades over {axis.name}: unlit detector, no overscan."
            )
        if axis.strips and has_light:
            said += [
                f"{_named(axis, start, stop)} not clean; not kept."
                for start, stop in axis.lit
                if stop - start < _least_block(axis)
            ]
    if not used and has_light:
        said.append(
            "No columns or rows were found at which light ends abruptly: there is no overscan, or "
            "it is of no use. (A well lit flat, and a bias beside it, show it best.)"
        )
    narrow = [strip for strip in used if min(strip.shape) < WIDE_ENOUGH]
    if narrow:
        count = min(min(strip.shape) for strip in narrow)
        said.append(
            f"A strip of {count} is too narrow for a level of its own for each row or column: the "
            f"level along it is smoothed (`reduction: {{model: null}}` would not do so, and add "
            f"{100 * np.sqrt(np.pi / 2 / count):.0f} % of a pixel's noise to each row)."
        )
    said += _about_claims(amplifiers, claimed, has_light=has_light)
    return said


def _is_of(axis, region, strip):
    start, stop = _ends(axis, region)
    return strip.start <= start and stop <= strip.stop


def _named(axis, start, stop):
    """'Columns 3 to 5 are', or 'Column 3 is'."""
    if stop - start == 1:
        return f"{axis.name[:-1].capitalize()} {stop} is"
    return f"{axis.name.capitalize()} {start + 1} to {stop} are"


def _ends(axis, region):
    return (region.x0, region.x1) if axis.name == "columns" else (region.y0, region.y1)


def _about(axis, strip, used):
    """The finding on a strip: its level and noise, and the part that the overscans `used` take."""
    text = (
        f"{axis.name.capitalize()} {strip.start + 1} to {strip.stop} hold the level alone: "
        f"{strip.level:.1f} adu, noise {np.median(axis.noises[strip.start : strip.stop]):.1f} adu"
    )
    if not used:
        return text + "; not used, and not kept."
    parts = {_ends(axis, region) for region in used}
    if parts == {(strip.start, strip.stop)}:
        return text + ": used as overscan."
    listed = " and ".join(f"{start + 1} to {stop}" for start, stop in sorted(parts))
    return text + f": {listed} used as overscan."


def _about_left_out(axis, strip):
    said = []
    for first, last in _runs_of([x for x, _ in strip.left_out]):
        values = [value for x, value in strip.left_out if first <= x < last]
        extreme = max(values, key=abs)
        near_data = any(first == stop or last == start for start, stop in axis.lit)
        why = ": light leaks in" if near_data and extreme > 0 else ""
        word = axis.name if last - first > 1 else axis.name[:-1]
        name = f"{word.capitalize()} {first + 1}" + (f" to {last}" if last - first > 1 else "")
        verb = "stand" if last - first > 1 else "stands"
        by = f"up to {abs(extreme):.1f}" if last - first > 1 else f"{abs(extreme):.1f}"
        said.append(
            f"{name} {verb} {by} adu {'above' if extreme > 0 else 'below'} it{why}; left out."
        )
    return said


def _runs_of(numbers):
    """Ranges (start, stop) of consecutive numbers."""
    runs = []
    for x in sorted(numbers):
        if runs and runs[-1][1] == x:
            runs[-1] = (runs[-1][0], x + 1)
        else:
            runs.append((x, x + 1))
    return runs


def _about_claims(amplifiers, claimed, *, has_light):
    said = []
    claims = dict(claimed)
    strips = [strip for *_, overscan in amplifiers for strip in overscan]
    data = [region for _, region, _ in amplifiers]
    bias = claims.get("BIASSEC")
    if bias is not None and strips:
        wrong = _wrong(bias, strips, data)
        text = f"The header's BIASSEC {bias.to_fits()} "
        said.append(text + ("is wrong: " + "; ".join(wrong) + "." if wrong else "agrees."))
    keyword = "TRIMSEC" if "TRIMSEC" in claims else "DATASEC"
    if keyword in claims and len(data) == 1 and has_light:
        kept = claims[keyword]
        end = "agrees." if kept == data[0] else f"is not where the light is, {data[0].to_fits()}."
        said.append(f"The header's {keyword} {kept.to_fits()} {end}")
    return said


def _wrong(bias, strips, data):
    """The problem of a BIASSEC, in words."""
    wrong = []
    beside = [strip for strip in strips if strip.overlaps(bias)]
    if not beside:
        return ["it shares no pixel with the overscan that is seen"]
    columns = beside[0].x0 >= data[0].x1 or beside[0].x1 <= data[0].x0
    one, other = ((bias.y0, bias.y1), (data[0].y0, data[0].y1))
    span, wide = ((bias.x0, bias.x1), (min(s.x0 for s in strips), max(s.x1 for s in strips)))
    if not columns:
        one, other = (bias.x0, bias.x1), (data[0].x0, data[0].x1)
        span, wide = (bias.y0, bias.y1), (min(s.y0 for s in strips), max(s.y1 for s in strips))
    along, across = ("rows", "columns") if columns else ("columns", "rows")
    short = (other[1] - other[0]) - max(0, min(one[1], other[1]) - max(one[0], other[0]))
    if short:
        wrong.append(f"it is {short} of {other[1] - other[0]} {along} too short")
    for first, last in ((span[0], min(wide[0], span[1])), (max(wide[1], span[0]), span[1])):
        if last > first:
            name = (
                f"{across} {first + 1} to {last}" if last - first > 1 else f"{across[:-1]} {last}"
            )
            wrong.append(f"{name} of it do not hold the level alone")
    return wrong


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _together(seen):
    """The findings of all HDUs; those that differ in their numbers only are one."""
    if len(seen) == 1:
        return list(seen[0].findings)
    kinds = defaultdict(list)
    for one in seen:
        for finding in one.findings:
            kinds[_NUMBER.sub("#", finding)].append((one.hdu, finding))
    found = []
    for those in kinds.values():
        hdus = list(dict.fromkeys(hdu for hdu, _ in those))
        texts = [finding for hdu, finding in those if hdu == hdus[0]]
        where = f"HDU {', '.join(_spans(hdus))}"
        alike = len({finding for _, finding in those}) <= len(texts)
        found += [f"{where}: {text}" for text in texts[:-1]]
        found.append(f"{where}: {texts[-1]}" + ("" if alike else f" (So HDU {hdus[0]}.)"))
    return found


def _spans(numbers):
    """Whole numbers as '1 to 4', '7'."""
    return [
        f"{first + 1} to {stop}" if stop - first > 1 else str(stop)
        for first, stop in _runs_of([number - 1 for number in numbers])
    ]


# The regions of amplifiers that are alike may differ by so many pixels at each end.
_SLACK = 3


def _alike(seen):
    """The images with one set of regions for those that differ by a few pixels only.

    The part that all of them have is what holds in each.
    """
    groups = defaultdict(list)
    for one in seen:
        groups[one.shape, tuple(len(strips[:1]) for *_, strips in one.amplifiers)].append(one)
    changed = {}
    for those in groups.values():
        numbers = range(len(those[0].amplifiers))
        data = [_common([one.amplifiers[i][1] for one in those]) for i in numbers]
        strips = [_common([s for one in those for s in one.amplifiers[i][2][:1]]) for i in numbers]
        if len(those) < 2 or None in data:
            continue
        if any(strip is None and those[0].amplifiers[i][2] for i, strip in enumerate(strips)):
            continue
        for one in those:
            changed[one.hdu] = replace(
                one,
                amplifiers=tuple(
                    (name, data[i], (strips[i],) if strips[i] else ())
                    for i, (name, *_) in enumerate(one.amplifiers)
                ),
            )
    return [changed.get(one.hdu, one) for one in seen]


def _common(regions):
    """The common region, None where there is none or they differ by more than a few pixels."""
    if not regions:
        return None
    ends = np.array([[r.y0, r.y1, r.x0, r.x1] for r in regions])
    if (np.ptp(ends, axis=0) > _SLACK).any():
        return None
    low, high = ends.max(axis=0).tolist(), ends.min(axis=0).tolist()
    region = Region(low[0], high[1], low[2], high[3])
    return region if min(region.shape) > 0 else None


def _against_header(geometry, refusal, seen):
    """The finding on the frame without a profile."""
    if refusal is not None:
        return [f"Without a profile the frame is set aside: {refusal.reason}."]
    ours = {(one.hdu, data, strips) for one in seen for _, data, strips in one.amplifiers}
    theirs = {(a.hdu, a.data, a.overscan) for a in geometry.amplifiers}
    if ours == theirs:
        return [SAME]
    counts = Counter(
        f"data {a.data.to_fits()}, overscan "
        + (" ".join(strip.to_fits() for strip in a.overscan) or "none")
        for a in geometry.amplifiers
    )
    listed = "; ".join(
        text + (f" ({count} amplifiers)" if count > 1 else "") for text, count in counts.items()
    )
    return [f"Without a profile the header would give {listed}."]


# -- the profile ------------------------------------------------------------------------------


def _yaml(headers, camera, seen, findings, file, *, same):
    facts = camera.describe(headers, file=file)
    lines = [f"# Proposed from {file}. What was found:"]
    lines += [f"#   {line}" for finding in findings for line in _wrapped(finding)]
    lines += ["# Look at the picture, and at each line below.", ""]
    lines += _recognition(headers, seen)
    lines += _gaps(facts, headers, camera)
    if same and any(strips for one in seen for *_, strips in one.amplifiers):
        lines.append(
            "# No amplifiers: the header's own sections hold, and follow window and binning."
        )
        return "\n".join(lines) + "\n"
    if not any(strips for one in seen for *_, strips in one.amplifiers):
        if all(one.has_light for one in seen):
            return "\n".join([*lines, "overscan: none"]) + "\n"
        lines.append("# Not known from this frame: give a flat, or fill in `overscan`.")
    return "\n".join([*lines, *_size(seen), "amplifiers:", *_entries(seen)]) + "\n"


def _entries(seen):
    """The amplifiers as lines of YAML: one entry for all the HDUs that are alike."""
    alike = defaultdict(list)
    for one in seen:
        key = (one.shape, tuple((n, d, strips[:1]) for n, d, strips in one.amplifiers))
        alike[key].append(one.hdu)
    lines = []
    for (shape, amplifiers), hdus in alike.items():
        for name, data, strips in amplifiers:
            several = f"{name}-{hdus[0]}" if len(hdus) == 1 else name
            if len(hdus) > 1 and len(alike) > 1:
                several = f"{name}{list(alike.values()).index(hdus) + 1}"
            lines.append(f"  - name: {several if len(seen) > 1 else name}")
            if len(hdus) == len(seen) > 1:
                lines.append('    hdu: "*"  # an amplifier in each image')
            elif len(seen) > 1:
                lines.append(f"    hdu: {hdus[0] if len(hdus) == 1 else hdus}")
            lines.append(f"    data: {_written(data, shape)}")
            lines += [f"    overscan: {_written(strip, shape)}" for strip in strips]
    return lines


def _wrapped(text, width=92):
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def _recognition(headers, seen):
    """Cards that only this camera has, as far as one frame can tell."""
    lines = ["recognise:"]
    for keyword in ("INSTRUME", "DETECTOR", "TELESCOP"):
        value = next((h[keyword] for h in headers if isinstance(h.get(keyword), str)), "").strip()
        if value and len(lines) < 3:
            lines.append(f"  {keyword}: {_quoted(value)}")
    if len(lines) == 1:
        nx = seen[0].shape[1]
        lines.append(f"  NAXIS1: {nx}  # there is no INSTRUME: choose a card that is this camera's")
    return [*lines, ""]


def _size(seen):
    """The size that the amplifiers are for, where all images have the same."""
    (ny, nx), *others = [one.shape for one in seen]
    if any(shape != (ny, nx) for shape in others):
        return []
    whole = all(d.y0 == 0 and d.y1 == ny for one in seen for _, d, _ in one.amplifiers)
    rows = f"null]  # any number of rows, {ny} here" if whole else f"{ny}]"
    return [f"size: [{nx}, {rows}", ""]


def _quoted(text):
    """A value in YAML; characters of a glob pattern are escaped."""
    plain = "".join(f"[{c}]" if c in "*?[" else c for c in text)
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _gaps(facts, headers, camera):
    """Comments for values that the header lacks."""
    lines = []
    if not facts.type:
        lines += [f"# {line}" for line in _wrapped(facts.reason)]
        lines += ["# types:", "#   - {type: bias, exptime: {max: 0}}"]
    missing = [
        name
        for name, value in (
            ("exptime", facts.exptime),
            ("filter", facts.filter),
            ("date", facts.date_obs),
        )
        if value in (None, "")
    ]
    if missing:
        lines.append(f"# No card was found for {', '.join(missing)}: name it here.")
        lines.append("# keywords:")
        lines += [f"#   {name}: KEYWORD" for name in missing]
    cards = dict(camera.cards)
    order = range(len(headers))
    if find_first(headers, cards["longitude"] + cards["sidereal"], order) is None:
        lines.append("# site: {longitude: 0.0}  # degrees, east positive: it decides the night")
    return [*lines, ""] if lines else []


def _written(region, shape):
    """A region as a Python slice with open ends, with the FITS section behind it."""
    ny, nx = shape
    rows = ":" if (region.y0, region.y1) == (0, ny) else f"{region.y0}:{region.y1}"
    columns = ":" if (region.x0, region.x1) == (0, nx) else f"{region.x0}:{region.x1}"
    return f'{{python: "[{rows}, {columns}]"}}  # FITS {region.to_fits()}'


def _by_light(one, other):
    """The two frames as (bias or None, the brighter)."""
    if other is None:
        return None, one
    brightness = [np.percentile(filled(image), 99) for image in (one, other)]
    return (one, other) if brightness[0] <= brightness[1] else (other, one)
