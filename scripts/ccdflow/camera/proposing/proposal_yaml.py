"""The text of a proposed profile."""

from __future__ import annotations

import textwrap
from collections import defaultdict

from ccdflow.camera.profile_lines import pattern_of, yaml_text
from ccdflow.files.cards import first_value_of_cards
from ccdflow.files.header_text import printable_text


def profile_text(headers, camera, images_seen, findings, file, *, is_needless):
    """Return a profile in YAML, with the findings as comments.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    camera : ccdflow.camera.cameras.Camera
        The generic camera that the frame belongs to.
    images_seen : list of ccdflow.camera.proposing.image_examination.ImageFindings
        The findings, with the regions, on each image of the frame.
    findings : list of str
        Sentences that become comments.
    file : str
        Path of the raw file relative to the raw folder; named in errors.
    is_needless : bool
        Whether the header alone gives the amplifiers that were found.

    Returns
    -------
    str
    """
    facts = camera.describe(headers, file=file)
    lines = [f"# Proposed from {printable_text(file)}. Findings:"]
    lines += [f"#   {line}" for finding in findings for line in _wrapped_text(finding)]
    lines += ["# Look at the picture, and at each line below.", ""]
    lines += _recognition_lines(headers, images_seen)
    lines += _comments_on_missing(facts, headers, camera)
    has_strips = any(strips for image in images_seen for *_, strips in image.amplifiers)
    if has_strips and is_needless:
        lines.append(
            "# No amplifiers: the header's own sections hold, and follow window and binning."
        )
    elif not has_strips and all(image.has_light for image in images_seen):
        lines.append("overscan: none")
    else:
        if not has_strips:
            lines.append("# Not known from this frame: give a flat, or fill in `overscan`.")
        lines += [*_size_lines(images_seen), "amplifiers:", *_amplifier_lines(images_seen)]
    return "\n".join(lines) + "\n"


def _amplifier_lines(images_seen):
    """Return the amplifiers as lines of YAML: one entry for all HDUs with the same regions."""
    hdus_of_regions = defaultdict(list)
    for image in images_seen:
        key = (image.shape, tuple((n, d, strips[:1]) for n, d, strips in image.amplifiers))
        hdus_of_regions[key].append(image.hdu)
    lines = []
    for (shape, amplifiers), hdus in hdus_of_regions.items():
        for name, data, strips in amplifiers:
            entry_name = f"{name}-{hdus[0]}" if len(hdus) == 1 else name
            if len(hdus) > 1 and len(hdus_of_regions) > 1:
                entry_name = f"{name}{list(hdus_of_regions.values()).index(hdus) + 1}"
            lines.append(f"  - name: {entry_name if len(images_seen) > 1 else name}")
            if len(hdus) == len(images_seen) > 1:
                lines.append('    hdu: "*"  # an amplifier in each image')
            elif len(images_seen) > 1:
                lines.append(f"    hdu: {hdus[0] if len(hdus) == 1 else hdus}")
            lines.append(f"    data: {_text_of_region(data, shape)}")
            lines += [f"    overscan: {_text_of_region(strip, shape)}" for strip in strips]
    return lines


def _wrapped_text(text, width=92):
    """Return a text in lines of at most ``width`` characters; a longer word has its own line."""
    return textwrap.wrap(
        " ".join(text.split()), width, break_long_words=False, break_on_hyphens=False
    )


def _recognition_lines(headers, images_seen):
    """Return the lines with the cards by which frames of this camera are recognised."""
    lines = ["recognise:"]
    for keyword in ("INSTRUME", "DETECTOR", "TELESCOP"):
        value = next(
            (header[keyword] for header in headers if isinstance(header.get(keyword), str)), ""
        ).strip()
        if value and len(lines) < 3:
            lines.append(f"  {keyword}: {yaml_text(pattern_of(value))}")
    if len(lines) == 1:
        nx = images_seen[0].shape[1]
        lines.append(f"  NAXIS1: {nx}  # there is no INSTRUME: choose a card that is this camera's")
    return [*lines, ""]


def _size_lines(images_seen):
    """Return the lines with the size that the amplifiers are for; [] if images differ in size."""
    (ny, nx), *other_shapes = [image.shape for image in images_seen]
    if any(shape != (ny, nx) for shape in other_shapes):
        return []
    has_all_rows = all(
        d.y0 == 0 and d.y1 == ny for image in images_seen for _, d, _ in image.amplifiers
    )
    rows_text = f"null]  # any number of rows, {ny} here" if has_all_rows else f"{ny}]"
    return [f"size: [{nx}, {rows_text}", ""]


def _comments_on_missing(facts, headers, camera):
    """Return the comment lines on values that the header lacks."""
    lines = []
    if not facts.type:
        lines += [f"# {line}" for line in _wrapped_text(facts.reason)]
        lines += ["# types:", "#   - {type: bias, exptime: {max: 0}}"]
    missing_names = [
        name
        for name, value in (
            ("exptime", facts.exptime),
            ("filter", facts.filter),
            ("date", facts.date_obs),
        )
        if value in (None, "")
    ]
    if missing_names:
        advice = "; a camera without filters needs none" if "filter" in missing_names else ""
        lines.append(f"# No card was found for {', '.join(missing_names)}: name it here{advice}.")
        lines.append("# keywords:")
        lines += [f"#   {name}: KEYWORD" for name in missing_names]
    cards = dict(camera.cards)
    order = range(len(headers))
    if first_value_of_cards(headers, cards["longitude"] + cards["sidereal"], order) is None:
        lines.append("# site: {longitude: 0.0}  # degrees, east positive: it decides the night")
    return [*lines, ""] if lines else []


def _text_of_region(region, shape):
    """Return a region as a Python slice with open ends, followed by the FITS section."""
    ny, nx = shape
    rows = ":" if (region.y0, region.y1) == (0, ny) else f"{region.y0}:{region.y1}"
    columns = ":" if (region.x0, region.x1) == (0, nx) else f"{region.x0}:{region.x1}"
    return f'{{python: "[{rows}, {columns}]"}}  # FITS {region.to_fits()}'
