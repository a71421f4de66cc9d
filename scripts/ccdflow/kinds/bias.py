"""The combined bias of a group: which frames, what of them, and how good it is."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ccdflow import paths
from ccdflow.combine import header, stack
from ccdflow.combine.members import read_hdus
from ccdflow.detector import bias_figures, choosing, frame_figures, warnings
from ccdflow.errors import FrameError
from ccdflow.files import whole
from ccdflow.files.hdus import array_hdu, data_unit, hdu_header
from ccdflow.files.headertext import CardList, printable
from ccdflow.frame.products import product_images
from ccdflow.kinds.master import Master, members
from ccdflow.run import ledger
from ccdflow.run.context import Context
from ccdflow.run.inventory import digest
from ccdflow.run.ledger import Record

# What the process may hold where the system does not tell.
_PROCESS = 350e6
# What measuring and writing take beside what combining takes; measured with LFC frames.
_AFTERWARDS = 150e6
# Figures that only a combined bias has.
_OF_THE_COMBINED = (
    "combined_row_structure", "combined_column_structure", "combined_noise",
    "combined_noise_error", "predicted_noise", "root_n_noise", "clipped_fraction",
)  # fmt: skip
# The least part of the memory allowed that combining may have.
_LEAST = 0.3


class Bias(Master):
    """A combined bias."""

    name = "bias"
    rule = "combine"
    words = ("combined bias", "combined biases")
    counted = words
    short = "combined biases"
    stage = 2
    version = 3
    type = "bias"
    block = "combine"
    settings = ("minimum", "method", "clip", "iterations", "uncertainty", "count")
    table = paths.BIAS_QUALITY
    why_moved = "its biases are no such group any more"

    def make(self, context, job, *, threads):
        """Combine the biases of a group, or refuse it."""
        return combine_biases(context, job, threads=threads)

    def page_basis(self, context, night):
        """Return what a night's page depends on: its combined biases and those before it."""
        others = self.elsewhere(context, night)
        groups = self.lines(context, self.trend_groups(context, night))
        return {**({"elsewhere": others} if others else {}), "groups": groups}

    def index_basis(self, context):
        """Return what the overview depends on: all combined biases."""
        return {"groups": sorted(self.lines(context, self.groups(context)))}


BIAS = Bias()


class _Unlike(Exception):
    """Frames that turn out not to be like the others when their pixels are compared."""

    def __init__(self, left_out):
        super().__init__()
        self.left_out = left_out


@dataclass(frozen=True)
class _Job:
    """The members of a group that are combined, and how."""

    context: Context
    record: Record
    kept: list
    left_out: list
    threads: int

    @property
    def settings(self):
        return self.context.settings["combine"]

    @property
    def recipe(self):
        settings = self.settings
        return stack.Recipe(settings["method"], settings["clip"], settings["iterations"])

    @property
    def files(self):
        return [file for file, _ in self.kept]


def combine_biases(context, job, *, threads=2):
    """Combine the biases of a group, or say why that would make no good product.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    threads : int

    Returns
    -------
    ccdflow.run.ledger.Record
        ``refused`` with its reason where there are too few frames, they do not agree, or the memory
        allowed does not suffice.

    Raises
    ------
    OSError
        If the product cannot be written.
    ccdflow.errors.CcdflowError
        If a member cannot be read.
    """
    group = context.groups[job.product]
    found = members(context, group)
    selection = select_frames(context, found)
    while True:
        try:
            return _combine_selected(context, job, found, selection, threads)
        except _Unlike as error:
            selection = choosing.leave_out(selection, error.left_out)


def _combine_selected(context, job, found, selection, threads):
    group = context.groups[job.product]
    basis = BIAS.group_basis(context, group)
    kept = [found[index] for index in selection.kept]
    left_out = [(found[out.index][0], out) for out in selection.left_out]
    data = {
        "group": [group.night, group.camera, list(map(list, group.shared))],
        "left_out": [[file, o.text, o.figure, o.value, o.threshold] for file, o in left_out],
        "members": [file for file, _ in kept],
    }
    record = Record(job.product, job.kind, digest(basis), basis=basis, data=data)
    work = _Job(context, record, kept, left_out, threads)
    reason = _why_not(selection, len(found), context.settings["combine"]["minimum"])
    try:
        if not reason:
            return _make(work)
        if not selection.agrees and selection.kept:
            # What they disagree in is what their figures are there to show.
            work = replace(work, kept=found)
        data["quality"] = _measure_only(work) if len(work.kept) > 1 else []
    except stack.TooLittleMemory as error:
        memory, enough = work.settings["memory"], _least_limit(error.needed)
        reason = (
            f"{memory:g} MB of memory (combine: memory) are too little to combine"
            f" {len(work.kept)} frames; allowed: {enough} or more"
        )
        # Another setting may do; with this one there is no use in trying again.
        data |= {"quality": [], "memory": memory, "enough": enough}
    return replace(record, status=ledger.REFUSED, reason=reason, data=data)


def _why_not(selection, found, minimum):
    if not selection.agrees and not selection.kept:
        return selection.reason
    if not selection.agrees:
        return f"the frames do not agree: {selection.reason}"
    count = len(selection.kept)
    if count >= minimum:
        return ""
    what = f" of {found}" if count < found else ""
    frames = "frame" if count == found == 1 else "frames"
    return f"{count}{what} {frames}, fewer than the minimum of {minimum}"


def select_frames(context, found):
    """Decide which frames of a group to combine.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    found : list of (str, Record)
        As `ccdflow.kinds.master.members` returns them.

    Returns
    -------
    ccdflow.detector.choosing.Selection
    """
    flags = [record.data.get("flags", {}) for _, record in found]
    if not any(flags):
        return select([record.data.get("statistics") or [] for _, record in found])
    # What all frames have is the detector's; what some have is theirs.
    common = set.intersection(*map(set, flags))
    row = context.row_of(found[0][1].product)
    if common == {a.name for a in context.store.geometry(row.geometry).amplifiers}:
        words = " or ".join(sorted({word for each in flags for word in each.values()}))
        return choosing.Selection((), (), False, f"all of them are {words} throughout")
    left_out = {
        index: choosing.LeftOut(
            index, "flag", math.nan, math.nan, f"its amplifier {name} is {flag} throughout"
        )
        for index, each in enumerate(flags)
        for name, flag in each.items()
        if name not in common
    }
    good = [index for index in range(len(found)) if index not in left_out]
    statistics = [found[index][1].data.get("statistics") or [] for index in good]
    selection = select([[e for e in s if e["amplifier"] not in common] for s in statistics])
    left_out |= {good[o.index]: replace(o, index=good[o.index]) for o in selection.left_out}
    return replace(
        selection,
        kept=tuple(good[index] for index in selection.kept),
        left_out=tuple(left_out[index] for index in sorted(left_out)),
    )


def select(statistics):
    """Decide which frames to combine; one that is odd in any of its amplifiers is not.

    Parameters
    ----------
    statistics : list of list of dict
        For each frame the figures of each of its amplifiers, as the record of the frame has them;
        empty where the frames are too small to have any.

    Returns
    -------
    ccdflow.detector.choosing.Selection
    """
    count = len(statistics)
    by_name = [{entry["amplifier"]: entry for entry in frame} for frame in statistics]
    names = [name for name in (by_name or [{}])[0] if all(name in frame for frame in by_name)]
    if count < 2 or not names:
        return choosing.Selection(tuple(range(count)), (), True, "")
    left_out, reasons = {}, []
    for name in names:
        selection = choosing.select_members([_as_statistics(frame[name]) for frame in by_name])
        where = f"amplifier {name}: " if len(names) > 1 else ""
        for out in selection.left_out:
            left_out.setdefault(out.index, replace(out, text=f"{where}{out.text}"))
        if not selection.agrees:
            reasons.append(f"{where}{selection.reason}")
    return choosing.Selection(
        tuple(index for index in range(count) if index not in left_out),
        tuple(left_out[index] for index in sorted(left_out)),
        not reasons,
        "; ".join(reasons),
    )


def _as_statistics(entry):
    figures = {name: value for name, value in entry.items() if name != "amplifier"}
    return frame_figures.FrameStatistics(**{**figures, "shape": tuple(entry["shape"])})


# -- the product -----------------------------------------------------------------------------------


def _make(job):
    how, images = _images(job)
    found = _members(job, images)
    parts, figures, said, content = [], [], [], ""
    rejected = 0
    if images[0].hdu:
        primary = header.shared_cards([hdus[0] for hdus in found])
        _say_of_group(primary, job)
        parts += array_hdu(primary, None, primary=True)
    for image in images:
        hdus = [own[image.hdu] for own in found]
        combined = _combine(job, [hdu.member for hdu in hdus], how.dtype)
        _compare_pixels(job, combined, image.amplifiers, trimmed=how.trim)
        unit = header.unit_of(hdus[0])
        own = [_measure(job, combined, a, unit, trimmed=how.trim) for a in image.amplifiers]
        cards = header.shared_cards(hdus)
        if not parts:
            _say_of_group(cards, job)
        texts = _remarks(job, own, several=len(images) * len(own) > 1)
        if combined.empty:
            texts.append(f"{combined.empty} pixels have no value in any frame: they are NaN")
        header.say_of_image(cards, combined, own, texts, unit)
        name = header.extension_name(hdus[0])
        pixels, words = data_unit(combined.image)
        parts += [hdu_header(cards, combined.image, words, name=name, primary=not parts), *pixels]
        parts += _extensions(job, combined, image.suffix, unit)
        content = content or str(words)
        figures += own
        said += texts
        rejected += int(combined.clipped.sum())
    target = job.context.results / job.record.product
    whole.write_hdus(target, parts)
    data = {
        **job.record.data,
        "quality": figures,
        "remarks": said,
        "recipe": str(job.recipe),
        "rejected": rejected,
        "pixels": len(job.kept) * sum(math.prod(image.shape) for image in images),
    }
    return replace(job.record, stamp=ledger.stamp_of(target), content=content, data=data)


def _images(job):
    """Return the recipe of the members, and the images they have."""
    row = job.context.row_of(paths.reduced(job.files[0]))
    how = job.context.store.recipe(row.recipe)
    return how, product_images(job.context.store.geometry(row.geometry), how)


def _members(job, images):
    """Return [[HDU of a member]] as they stand in the files, as many as there are images."""
    count = images[-1].hdu + 1
    return [read_hdus(job.context.results / record.product, count) for _, record in job.kept]


def _say_of_group(cards, job):
    header.say_of_group(
        cards,
        key=job.record.key,
        recipe=job.recipe,
        members=job.files,
        dates=_dates(job),
        left_out=job.left_out,
    )


def _dates(job):
    """Return when the members were taken, '' where it is not known."""
    rows = (job.context.row_of(record.product) for _, record in job.kept)
    return [row.facts["date_obs"] or "" for row in rows]


def _combine(job, members, dtype):
    combined = stack.combine(
        members,
        job.recipe,
        threads=job.threads,
        memory=_memory(job.settings["memory"] * 1e6),
        dtype=np.dtype(dtype),
        uncertainty=job.settings["uncertainty"],
        allow_empty=True,
    )
    if combined.empty == combined.image.size:
        raise FrameError("no pixel has a value in any member", file=job.record.product)
    return combined


def _memory(limit):
    """Return the bytes that combining may take, so that the process stays below its limit."""
    return int(max(limit - _resident() - _AFTERWARDS, _LEAST * limit))


def _least_limit(needed):
    """Return the MB that `_memory` makes so many bytes of, rounded up to tens."""
    limit = min(needed / _LEAST, needed + _resident() + _AFTERWARDS)
    return math.ceil(limit / 1e7) * 10


def _resident():
    """Return the bytes of memory that this process holds at the moment."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _PROCESS
    return pages * os.sysconf("SC_PAGE_SIZE")


def _compare_pixels(job, combined, amplifiers, *, trimmed):
    """Raise `_Unlike` where a member has other structure than the rest, or another's pixels."""
    flags = job.kept[0][1].data.get("flags", {})
    found = {}
    for amplifier in amplifiers:
        if amplifier.name in flags:
            continue
        frames = _sampled(combined, amplifier, trimmed=trimmed)
        turned = frames.swapaxes(1, 2) if amplifier.along == "columns" else frames
        where = f"amplifier {amplifier.name}: " if len(amplifiers) > 1 else ""
        outs = [
            *choosing.same_pixels(frames, [printable(file) for file in job.files]),
            *choosing.unlike_the_rest(turned),
        ]
        for out in outs:
            found.setdefault(out.index, replace(out, text=where + out.text))
    if found:
        raise _Unlike([found[index] for index in sorted(found)])


def _sampled(combined, amplifier, *, trimmed):
    """Return what the sample of the members has of an amplifier, shape (n, k, nx)."""
    place = amplifier.place if trimmed else amplifier.data
    inside = (combined.sample_rows >= place.y0) & (combined.sample_rows < place.y1)
    return combined.sample[:, inside, place.x0 : place.x1]


def _extensions(job, combined, suffix, unit):
    """Return the HDUs with uncertainty and number of frames that the configuration asks for."""
    parts = []
    if job.settings["uncertainty"]:
        cards = CardList()
        cards.set("BUNIT", unit, "standard error of the pixels")
        parts += array_hdu(cards, combined.uncertainty, name=f"UNCERT{suffix}")
    if job.settings["count"]:
        cards = CardList()
        cards.add_comment("Number of frames behind each pixel")
        parts += array_hdu(cards, combined.count.astype(np.int16), name=f"COUNT{suffix}")
    return parts


def _remarks(job, figures, *, several):
    """Return sentences on what is not as it should be in an image of a combined bias."""
    # What is flagged is so in all members: others were left out.
    flags = job.kept[0][1].data.get("flags", {})
    said = []
    for each in figures:
        name = each["amplifier"]
        if name in flags:
            said.append(f"amplifier {name} is {flags[name]} throughout")
            continue
        where = f"amplifier {name}: " if several else ""
        said += [where + text for text in warnings.remarks(each, job.recipe)]
    return said


# -- figures -----------------------------------------------------------------------------------


def _measure_only(job):
    """Return what biases say of the detector that make no combined bias."""
    how, images = _images(job)
    found = _members(job, images)
    figures = []
    for image in images:
        combined = _combine(job, [own[image.hdu].member for own in found], how.dtype)
        unit = header.unit_of(found[0][image.hdu])
        figures += [_measure(job, combined, a, unit, trimmed=how.trim) for a in image.amplifiers]
    return [{**figure, **dict.fromkeys(_OF_THE_COMBINED, math.nan)} for figure in figures]


def _measure(job, combined, amplifier, unit, *, trimmed):
    """Return what the biases say of one amplifier: a row of the table, and what is drawn."""
    place = amplifier.place if trimmed else amplifier.data
    claim = amplifier.read_noise
    gain = 1.0 if header.is_electrons(unit) else amplifier.gain
    what = bias_figures.Amplifier(
        amplifier.name,
        (place.y0, place.y1, place.x0, place.x1),
        gain,
        claim if claim is not None else _claimed(job),
        amplifier.along,
    )
    hours = hours_of(_dates(job))
    frames = _sampled(combined, amplifier, trimmed=trimmed)
    subtracted = all(amplifier.name in record.data["levels"] for _, record in job.kept)
    if subtracted:
        levels = [record.data["levels"][amplifier.name] for _, record in job.kept]
    else:
        # The level is still in the pixels.
        levels = [_short(frame_figures.clipped_moments(frame).mean) for frame in frames]
    above = levels if subtracted else [0.0] * len(levels)
    noises = [record.data["noises"].get(amplifier.name, math.nan) for _, record in job.kept]
    overscan = float(np.median(noises))
    figures = asdict(bias_figures.measure_amplifier(combined, what, levels, hours, overscan))
    pairs = figures.pop("pair_noise")
    if amplifier.name in job.kept[0][1].data.get("flags", {}):
        # All frames are flagged, or this one would not be here: but a level, there is nothing.
        numbers = {name for name, value in figures.items() if isinstance(value, float)}
        figures |= dict.fromkeys(numbers - {"level", "level_span"}, math.nan)
        pairs = ()
    return {
        **{name: _short(value) for name, value in figures.items()},
        "gain": math.nan if gain is None else gain,
        "subtracted": subtracted,
        "cut_off": warnings.is_cut_off(frames, above, figures["read_noise"]),
        "levels": levels,
        "hours": [_short(hour) for hour in hours],
        "pairs": [_short(pair) for pair in pairs],
    }


def _claimed(job):
    """Return the read noise that the members' headers agree on, electrons, or None."""
    facts = (job.context.row_of(record.product).facts for _, record in job.kept)
    claims = {fact["rdnoise"] for fact in facts}
    claim = claims.pop() if len(claims) == 1 else ""
    return claim if isinstance(claim, int | float) else None


def _short(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def hours_of(dates):
    """Return hours since the first of some ISO dates and times (UT); NaN where there is no time."""
    times = np.array([_seconds(text) for text in dates], dtype=np.float64)
    known = times[np.isfinite(times)]
    return ((times - known.min()) / 3600 if known.size else times).tolist()


def _seconds(text):
    try:
        return (
            datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
            if "T" in text
            else math.nan
        )
    except ValueError:
        return math.nan
