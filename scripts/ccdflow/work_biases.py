"""The jobs that make combined biases and the table of what they say about the detector."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import datetime

import numpy as np
import pandas as pd
from astropy.io import fits

from ccdflow import combine, fitsio, headers, ledger, paths, plan, quality
from ccdflow.errors import FrameError
from ccdflow.inventory import digest
from ccdflow.ledger import Record
from ccdflow.work import geometry_of, recipe_of

# What the process holds beside the arrays that combining asks for.
_PROCESS = 350e6


def combine_biases(context, job, *, threads=2):
    """Combine the biases of a group, or say why that would make no good product.

    Parameters
    ----------
    context : ccdflow.plan.Context
    job : ccdflow.plan.Job
    threads : int

    Returns
    -------
    ccdflow.ledger.Record
        ``refused`` with its reason where there are too few frames or they do not agree.

    Raises
    ------
    OSError
        If the product cannot be written.
    ccdflow.errors.CcdflowError
        If a member cannot be read, or the memory allowed does not suffice.
    """
    group = context.groups[job.product]
    found = plan.members(context, group)
    basis = plan.group_basis(context, group)
    record = Record(job.product, job.kind, digest(basis), basis=basis)
    minimum = context.settings["combine"]["minimum"]
    selection = _select(found)
    left_out = [] if selection is None else list(selection.left_out)
    kept = found if selection is None else [found[i] for i in selection.kept]
    data = {
        "group": [group.night, group.camera, list(map(list, group.shared))],
        "left_out": [[found[out.index][0], *_plain(out)] for out in left_out],
    }
    reason = ""
    if selection is not None and not selection.agrees:
        reason = f"the frames do not agree: {selection.reason}"
    elif len(kept) < minimum:
        what = f" of {len(found)}" if left_out else ""
        reason = f"{len(kept)}{what} frames, fewer than the minimum of {minimum}"
    if reason:
        data["members"] = [file for file, _ in kept]
        return replace(record, status=ledger.REFUSED, reason=reason, data=data)
    return _make(context, replace(record, data=data), group, kept, left_out, threads)


def _plain(out):
    return [out.text, out.figure, out.value, out.threshold]


def _select(found):
    """Return which frames look like their group, by the figures taken when they were reduced."""
    statistics = [record.data.get("statistics", []) for _, record in found]
    if len(found) < 2 or not all(statistics):
        return None
    return quality.select_members([_worst(entries) for entries in statistics])


def _worst(entries):
    """Return a frame's statistics; of several images the first."""
    first = {**entries[0], "shape": tuple(entries[0]["shape"])}
    return quality.FrameStatistics(**first)


def _make(context, record, group, kept, left_out, threads):
    settings = context.settings["combine"]
    recipe = combine.Recipe(settings["method"], settings["clip"], settings["iterations"])
    row = context.row_of(paths.reduced(kept[0][0]))
    geometry, how = geometry_of(context, row.geometry), recipe_of(context, row.recipe)
    files = [context.results / member.product for _, member in kept]
    memory = max(settings["memory"] * 1e6 - _PROCESS, settings["memory"] * 3e5)
    product_hdus = image_hdus(geometry, how)
    parts, figures, content = [], [], ""
    for raw_hdu, hdu in product_hdus:
        combined = combine.combine(
            [combine.locate(file, hdu=hdu) for file in files],
            recipe,
            threads=threads,
            memory=int(memory),
            dtype=np.dtype(how.dtype),
            uncertainty=settings["uncertainty"],
            allow_empty=True,
        )
        if combined.empty == combined.image.size:
            raise FrameError("no pixel has a value in any member", file=record.product)
        amplifiers = [a for a in geometry.amplifiers if raw_hdu in (None, a.hdu)]
        own = [_measured(context, combined, a, kept) for a in amplifiers]
        figures += own
        header = _header(files, hdu)
        if not parts:
            if hdu != 0:
                primary = _header(files, 0)
                _say(primary, record, kept, left_out, recipe, combined, own, context)
                parts += headers.array_hdu(primary, None, primary=True)
            else:
                _say(header, record, kept, left_out, recipe, combined, own, context)
        parts += headers.array_hdu(
            header, combined.image, primary=not parts, name=_name(files, hdu)
        )
        content = content or str(fitsio.sum_words(parts[-1]))
        tail = "" if len(product_hdus) == 1 else str(hdu)
        if settings["uncertainty"]:
            extra = fits.Header([("BUNIT", "adu", "standard error of the pixels")])
            parts += headers.array_hdu(extra, combined.uncertainty, name=f"UNCERT{tail}")
        if settings["count"]:
            extra = fits.Header([("BUNIT", "", "number of frames behind each pixel")])
            parts += headers.array_hdu(extra, combined.count.astype(np.int16), name=f"COUNT{tail}")
        rejected = int(combined.clipped.sum())
        record.data["rejected"] = record.data.get("rejected", 0) + rejected
        record.data["pixels"] = record.data.get("pixels", 0) + combined.image.size * len(kept)
    target = context.results / record.product
    fitsio.write_hdus(target, parts)
    record.data.update(members=[file for file, _ in kept], quality=figures, recipe=str(recipe))
    return replace(record, stamp=ledger.stamp_of(target), content=content)


def image_hdus(geometry, recipe):
    """Return [(raw HDU or None, HDU in the product)] of the images of a camera's products."""
    if recipe.trim and geometry.layout == "image":
        return [(None, 0)]
    raw = [
        hdu for hdu, _ in (geometry.raw_shapes if not recipe.trim else geometry.extension_shapes)
    ]
    if len(raw) == 1 and not (recipe.trim and geometry.layout == "extensions"):
        return [(raw[0], 0)]
    first = 0 if 0 in raw else 1
    return [(hdu, number) for number, hdu in enumerate(raw, start=first)]


def _name(files, hdu):
    with fits.open(files[0], memmap=True, lazy_load_hdus=True) as hdus:
        return hdus[hdu].header.get("EXTNAME")


def _header(files, hdu):
    """Return the cards that all members have with one value; what differs belongs to none."""
    every = []
    for file in files:
        with fits.open(file, memmap=True, lazy_load_hdus=True) as hdus:
            every.append(hdus[hdu].header.copy(strip=True))
    first, rest = every[0], every[1:]
    common = fits.Header()
    for card in first.cards:
        keyword = card.keyword
        if keyword in ("", "COMMENT", "HISTORY", "CHECKSUM", "DATASUM", "LONGSTRN", "EXTNAME"):
            continue
        if keyword == "EXTEND" or keyword.startswith(("PCOUNT", "GCOUNT", "OVRRMS", "BIASLV")):
            continue
        if all(other.get(keyword) == card.value for other in rest):
            common.append(card, bottom=True)
    return common


def _measured(context, combined, amplifier, kept):
    place = amplifier.place
    what = quality.Amplifier(
        amplifier.name,
        (place.y0, place.y1, place.x0, place.x1),
        amplifier.gain,
        amplifier.read_noise if amplifier.read_noise is not None else _claimed(context, kept),
    )
    levels = [record.data["levels"].get(amplifier.name, math.nan) for _, record in kept]
    hours = hours_of([context.row_of(record.product).facts["date_obs"] for _, record in kept])
    figures = asdict(quality.measure_amplifier(combined, what, levels, hours))
    inside = (combined.sample_rows >= place.y0) & (combined.sample_rows < place.y1)
    frames = combined.sample[:, inside, place.x0 : place.x1]
    pairs = [quality.read_noise(frames[i : i + 2]).value for i in range(len(frames) - 1)]
    figures = {name: _short(value) for name, value in figures.items()}
    return {
        **figures,
        "gain": math.nan if amplifier.gain is None else amplifier.gain,
        "levels": levels,
        "hours": [_short(hour) for hour in hours],
        "pairs": [_short(pair) for pair in pairs],
    }


def _claimed(context, kept):
    claims = {context.row_of(record.product).facts["rdnoise"] for _, record in kept}
    claim = claims.pop() if len(claims) == 1 else ""
    return claim if isinstance(claim, int | float) else None


def _short(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def hours_of(dates):
    """Return hours since the first of some ISO dates and times; NaN where there is no time."""
    times = []
    for text in dates:
        try:
            times.append(datetime.fromisoformat(text).timestamp() if "T" in text else math.nan)
        except ValueError:
            times.append(math.nan)
    known = [time for time in times if time == time]
    first = min(known) if known else math.nan
    return [(time - first) / 3600 for time in times]


def _say(header, record, kept, left_out, recipe, combined, figures, context):
    """Write how the combined bias was made and how good it is."""
    for keyword, value, comment in headers.versions():
        header[keyword] = (value, comment)
    header["BUNIT"] = ("adu", "unit of the pixels")
    header["CCDFKEY"] = (record.key, "what this product depends on")
    header["NCOMBINE"] = (len(kept), "frames combined")
    header["COMBMETH"] = (recipe.method, "how the values of a pixel became one")
    if recipe.clip is not None:
        header["CLIPSIG"] = (recipe.clip, "clipping limit, in sigma about the median")
        header["CLIPDEV"] = ("mad", "sigma from the median absolute deviation")
        header["CLIPITER"] = (recipe.iterations, "rounds of clipping at most")
    header["NREJECT"] = (int(combined.clipped.sum()), "values rejected, of all members")
    header["NINVALID"] = (
        int(combined.invalid.sum()),
        "values that were not finite, of all members",
    )
    header["NEMPTY"] = (int(combined.empty), "pixels without any value, NaN here")
    header["IMGLEVEL"] = (
        _short(float(np.nanmean(combined.image, dtype=np.float64))),
        "[adu] mean of this image",
    )
    for number, figure in enumerate(figures, start=1):
        tail = "" if len(figures) == 1 else f"{number:02d}"
        for keyword, short, name, comment in (
            ("BIASLVL", "BIASLV", "level", "[adu] mean level subtracted from the members"),
            ("RNOISE", "RNOISE", "read_noise", "[adu] read noise from pairs of members"),
            ("CNOISE", "CNOISE", "combined_noise", "[adu] noise of this image, measured"),
            ("CNOISPR", "CNOISP", "predicted_noise", "[adu] noise that the read noise predicts"),
        ):
            if math.isfinite(figure[name]):
                header[f"{short}{tail}" if tail else keyword] = (figure[name], comment)
    for number, (file, _) in enumerate(kept, start=1):
        header[_numbered("IMCOM", "IMC", number)] = headers.printable(file)
    for number, out in enumerate(left_out, start=1):
        header[_numbered("IMOUT", "IMO", number)] = headers.printable(
            _left_out_file(record, number)
        )
        header.add_history(f"left out: {headers.printable(out.text)}")
    headers.allow_long_strings(header)


def _left_out_file(record, number):
    return record.data["left_out"][number - 1][0]


def _numbered(long, short, number):
    return f"{long}{number:03d}" if number < 1000 else f"{short}{number:05d}"


# -- the table -------------------------------------------------------------------------------------

_COLUMNS = (
    "amplifier", "frames", "level", "level_error", "level_span", "drift_an_hour",
    "drift_an_hour_error", "read_noise", "read_noise_error", "gain", "read_noise_electrons",
    "header_read_noise_electrons", "row_structure", "row_structure_error", "column_structure",
    "column_structure_error", "combined_row_structure", "combined_column_structure",
    "combined_noise", "combined_noise_error", "predicted_noise", "root_n_noise",
    "clipped_fraction",
)  # fmt: skip


def quality_rows(context, groups):
    """Return the rows of the table for some groups: a dict for each amplifier."""
    rows = []
    for group in groups:
        record = context.outcome(group.product)
        if record is None:
            continue
        common = {"night": group.night, "camera": group.camera, "product": group.product}
        if record.status == ledger.REFUSED:
            rows.append({**common, "frames": 0, "note": record.reason})
            continue
        for figures in record.data.get("quality", ()):
            rows.append({**common, **{name: figures[name] for name in _COLUMNS}, "note": ""})
    return rows


def write_quality_table(context, job):
    """Write ``bias_quality.csv``: what the biases say, a row a night, camera and amplifier."""
    groups = sorted(context.groups.values(), key=lambda g: (g.night, g.product))
    columns = ["night", "camera", *_COLUMNS, "product", "note"]
    table = pd.DataFrame(quality_rows(context, groups), columns=columns)
    text = table.to_csv(index=False, lineterminator="\n")
    return write_text(context, job, plan.table_basis(context), text)


def write_text(context, job, basis, content):
    """Write a text or picture product and return its record."""
    target = context.results / job.product
    data = content.encode() if isinstance(content, str) else content
    fitsio.write_hdus(target, [data])
    return Record(
        job.product,
        job.kind,
        digest(basis),
        stamp=ledger.stamp_of(target),
        content=ledger.content_of(target),
        basis=basis,
    )
