"""Reduced frames: each raw frame, overscan subtracted and trimmed, or set aside with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ccdflow.camera.geometry import Geometry
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.combine.stack import sampled_rows
from ccdflow.detector.frame_figures import BOXES, FRAME_ROWS, frame_statistics
from ccdflow.errors import FrameError
from ccdflow.files import decoding, promised, rawfile, rowio, whole
from ccdflow.frame import headers, reduction, streaming
from ccdflow.frame.evenness import even_level
from ccdflow.frame.negatives import Negatives
from ccdflow.frame.products import product_images
from ccdflow.frame.small_images import SmallImage, small_image
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.matching import setups
from ccdflow.kinds.sections import frame_warnings, verification
from ccdflow.kinds.sections.small_pictures import is_drawn, leave
from ccdflow.run import ledger, tracebacks
from ccdflow.run.context import is_of_enabled_type, reduced
from ccdflow.run.job import FRAMES, Size
from ccdflow.run.ledger import Record
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.rawframes.rows import ARRIVING, IN_THE_WAY, OK, SET_ASIDE, Row, digest


class Frame(Kind):
    """A reduced frame."""

    name = "frame"
    rule = "reduce"
    plans_some_nights = True
    words = ("frame", "frames")
    counted = ("reduced frame", "reduced frames")
    is_always_counted = True
    short = "frames"
    todo = "reduce"
    stage = 1
    place = "reduced/"
    reach = FRAMES
    reports_frames = True
    why_moved = "raw file missing, and the product is damaged or stands in the way of another"

    def has_name(self, product):
        """Tell whether a path is that of a reduced frame."""
        return product.startswith(self.place)

    def is_stray(self, context, product):
        """Return False: a reduced frame may be all that is left of a raw file."""
        return False

    def plan(self, planner):
        """Want each good frame of an enabled type; keep products that cannot be remade."""
        context = planner.context
        # Rows are dropped here, so nothing may look for rows by their products before.
        for row in sorted(context.store.rows.values(), key=lambda row: (row.night, row.file)):
            self._plan_row(planner, row)
        for product, record in context.ledger.items():
            # The notes on the raw file may be lost.
            has_lost_row = record.kind == self.name and product not in context.products
            may_be_there = planner.stamps.get(product) or context.problem_of(product)
            if has_lost_row and may_be_there and product not in planner.retire:
                planner.keep(product)

    def _plan_row(self, planner, row):
        context, product = planner.context, reduced(row.file)
        if row.status == OK and not row.gone and is_of_enabled_type(row, context.settings):
            planner.want(self, product, row.night, frame_basis(row), key=frame_key(row))
        elif row.gone == IN_THE_WAY or (row.gone and planner.is_damaged(product)):
            # It cannot be made again: no job is planned.
            planner.retire.add(product)
            planner.dropped[product] = context.store.rows.pop(row.file)
        elif row.status != SET_ASIDE or row.gone:
            planner.keep(product)
        elif product in planner.stamps:
            planner.retire.add(product)

    def basis(self, context, job):
        """Return the sources of a reduced frame."""
        return frame_basis(context.row_of(job.product))

    @property
    def header(self):
        """The version of the header."""
        return reduction.HEADER

    @property
    def versions(self):
        """The versions of pixels and header."""
        return [reduction.PIXELS, self.header]

    def header_of(self, record):
        """Return the version of the header that a frame was given."""
        return ledger.common(record).get("header", 1)

    def what_changed(self, before, now):
        """Say why a reduced frame is out of date."""
        if before.get("fingerprint") != now["fingerprint"]:
            return "raw changed"
        if before.get("file") != now["file"]:
            return "raw file has another name"
        if before.get("arithmetic") != now["arithmetic"]:
            return "new arithmetic"
        if before.get("camera") != now["camera"]:
            return f"camera {now['camera']} instead of {before.get('camera')}"
        return f"camera {now['camera']} edited"

    def make(self, context, job, *, threads):
        """Reduce a frame, or set it aside."""
        return reduce_frame(context, job)

    def carries(self, context, job):
        """Return the frame's own row."""
        return [context.row_of(job.product)], []

    def size(self, context, job):
        """Return the size of one frame."""
        pixels = raw_pixels(context, context.row_of(job.product))
        return Size(frames=1, largest=pixels, pixels=pixels)

    def flags(self, context, records):
        """Yield the amplifiers that hold no signal, and the other warnings on frames."""
        rows, record_of = frame_warnings.rows_and_records(context, records)
        for product in map(reduced, (row.file for row in rows)):
            record = record_of(product)
            for name, flag in record.data.get("flags", {}).items() if record else ():
                yield product, f"amplifier {name} is {flag} throughout"
        for file, warned in _judged(context, records)[0].items():
            for text in frame_warnings.table_texts(warned.texts):
                yield reduced(file), text

    def frame_reports(self, context, record):
        """Return type, filter, exposure, level and noise of a frame, or why it is set aside."""
        row = context.row_of(record.product)
        facts = row.facts
        seconds = f"{facts['exptime']:.4g} s" if isinstance(facts["exptime"], float | int) else ""
        words = [facts["type"], facts["filter"], seconds, facts["object"]]
        about = "  ".join(str(word) for word in words if word)
        if record.status != ledger.MADE:
            return [(row.file, about, [f"{record.status}: {record.reason}"])]
        figures = _of_amplifiers("level", record.data["levels"], 1)
        figures += _of_amplifiers("noise", record.data["noises"], 2)
        warnings = [f"warning: {text}" for text in row.warnings.splitlines()]
        warnings += [f"amplifier {a} is {f} throughout" for a, f in record.data["flags"].items()]
        return [(row.file, "  ".join([about, *figures]), warnings)]

    def closing(self, context, records):
        """Return the lines on frames in which something is not as it should be."""
        return frame_warnings.lines(_judged(context, records)[0])

    def shown(self, context, night):
        """Return the frames of a night that the configuration asks for."""
        return [
            reduced(row.file)
            for row in context.rows_of(night)
            if row.status == OK and is_of_enabled_type(row, context.settings)
        ]

    def page_basis(self, context, night):
        """Return the sources of a night's page: its frames, and the facts of their headers."""
        facts = [
            [row.camera, row.geometry, row.recipe, *row.facts.shown()]
            for row in context.rows_of(night)
            if row.status != ARRIVING
        ]
        verified = verification.page_basis(context, night)
        return {"frames": frames_digest(context, night), "facts": digest(facts), **verified}

    def section(self, context, night):
        """Return the section on verified products of a night, or None."""
        return verification.section(context, night)

    def index_basis(self, context):
        """Return the basis of the overview: the frames of all nights."""
        nights = {night: frames_digest(context, night) for night in shown_nights(context)}
        nights |= context.summaries(_DIGEST)
        return {"nights": [[night, nights[night]] for night in sorted(nights)]}

    # -- closed nights -----------------------------------------------------------------------------

    def summary(self, context, night, records):
        """Return the hash of a night's frames, and the findings in them."""
        rows = [row for row in context.rows_of(night) if is_of_enabled_type(row, context.settings)]
        gathered = frame_warnings.gather(rows, {r.product: r for r in records}.get)
        return {_DIGEST: frames_digest(context, night), _GATHERED: gathered}

    def kept(self, context):
        """Return the spellings of readout modes, and the warnings across nights."""
        records = [r for r in context.ledger.values() if r.kind == self.name]
        warned, open_files = _judged(context, records)
        return {
            "spelled": setups.spellings(context),
            "said": {file: warned[file].texts for file in open_files if file in warned},
        }

    def restore(self, context, kept):
        """Restore the spelling of readout modes."""
        setups.restore_spellings(context, kept["spelled"])


FRAME = Frame()


# The names under which these are noted of a closed night.
_DIGEST, _GATHERED = "frames", "warnings"


def _judged(context, records):
    """Return {raw file: `frame_warnings.Warned`}, and the files whose warnings need other nights.

    Raises
    ------
    NeedsWholePlan
        If frames of closed nights would get another flag in the table.
    """
    own = frame_warnings.gather(*frame_warnings.rows_and_records(context, records))
    closed = list(context.summaries(_GATHERED).values())
    warned = frame_warnings.judge([own, *closed])
    if closed:
        before = context.closed.first["kept"]["frame"]["said"]
        for file in (file for night in closed for file in night["open"]):
            texts = warned[file].texts if file in warned else []
            if list(map(list, texts)) != before.get(file, []):
                raise NeedsWholePlan("warnings on frames of closed nights change")
    return warned, [file for part in (own, *closed) for file in part["open"]]


# -- sources of a reduced frame --------------------------------------------------------------------


def frame_basis(row):
    """Return the sources of a reduced frame; the header names the raw file.

    The version of the header is no part of the key: see `ccdflow.frame.reduction.HEADER`.
    """
    return {
        "arithmetic": reduction.PIXELS,
        "header": reduction.HEADER,
        "camera": row.camera,
        "file": row.file,
        "fingerprint": row.fingerprint,
        "geometry": row.geometry,
        "recipe": row.recipe,
    }


def frame_key(row):
    """Return the key of a reduced frame: the hash of all that its pixels depend on."""
    values = (row.camera, row.file, row.fingerprint, row.geometry, row.recipe)
    return digest([reduction.PIXELS, *values])


def frames_basis(context, night):
    """Return [[file, status, reason, key]] of a night's frames as they turned out.

    A frame whose raw file is gone is as it was: its product stays, and nothing is made again.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    list of [str, str, str, str]
    """
    lines = []
    for row in context.rows_of(night):
        status, reason, key = row.status, row.reason, ""
        if status == OK:
            record = context.outcome(reduced(row.file))
            if record is not None and record.status in _NOT_MADE:
                status, reason = record.status, record.reason
            elif record is not None:
                key = record.key
        if status != ARRIVING:
            lines.append([row.file, status, reason, key])
    return lines


# Frames that this run could not make, as their page tells it.
_NOT_MADE = (ledger.SET_ASIDE, ledger.GONE, ledger.FAILED)


def frames_digest(context, night):
    """Return the hash of `frames_basis`.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    str
    """
    return context.planned(("frames", night), lambda: digest(frames_basis(context, night)))


def shown_nights(context):
    """Return the nights that have a page, sorted."""
    return sorted({row.night for row in context.store.rows.values() if row.status != ARRIVING})


def raw_pixels(context, row):
    """Return the number of pixels of a raw frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.

    Returns
    -------
    int
    """
    geometry = context.store.shared[row.geometry]
    return sum(math.prod(shape) for _, shape in geometry["raw_shapes"])


# -- the job ---------------------------------------------------------------------------------------

# The header's size of a kind of frame, learnt from its first one: the pixels come before it.
_header_sizes = {}


@dataclass(frozen=True)
class _Frame:
    """One raw frame, and the reduced frame that is made of it."""

    row: Row
    raw: rawfile.RawFile
    target: Path
    layout: promised.RawLayout
    geometry: Geometry
    recipe: ReductionRecipe
    memory: int
    key: str
    is_sampled: bool
    leave: object
    even: list

    @property
    def is_looked_at(self):
        """Whether a small image is made of it: for the contact sheet, or to see if it is a flat."""
        return self.leave is not None or self.row.facts["type"] == "science"

    def keep(self, small):
        """Leave the small picture, if it is wanted; note the level of an even science frame."""
        if self.row.facts["type"] == "science":
            self.even[:] = [even_level(small)]
        if self.leave is not None:
            self.leave(small)

    @property
    def kind(self):
        """The key of headers of one form: geometry, recipe, lengths of header and file name."""
        header = self.layout.hdus[0].header
        return (self.row.geometry, self.row.recipe, len(header), len(self.row.file))

    def rows(self, shape):
        """Return which rows of an image of the product statistics are taken from."""
        if not self.is_sampled:
            return ()
        return sampled_rows(*shape, 1, wanted=FRAME_ROWS)

    def header(self, make, made):
        """Return the result of `headers.first_header` or `headers.product_parts` for this frame."""
        return make(
            self.layout,
            self.geometry,
            self.recipe,
            made,
            file=self.row.file,
            fingerprint=self.row.fingerprint,
            key=self.key,
        )


def reduce_frame(context, job):
    """Reduce one raw frame, or set it aside.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job

    Returns
    -------
    ccdflow.run.ledger.Record
        Its status says whether the product was made. Whatever stood under the product's name is
        untouched unless it was.

    Raises
    ------
    OSError
        If the product cannot be written.
    """
    row = context.row_of(job.product)
    record = Record(job.product, job.kind, job.key, basis=frame_basis(row))
    try:
        with rawfile.reading(row.file):
            raw = rawfile.open_raw(context.raw / row.file, row.file)
        with raw:
            target, made, figures = _reduce(context, job, row, raw)
    except (rawfile.Unreadable, rawfile.Changed) as error:
        # Its content is not known: a product that is there stays.
        return replace(record, status=ledger.GONE, reason=error.reason)
    except FrameError as error:
        misread = isinstance(error, (rawfile.Damaged, rawfile.Incomplete))
        data = {"misread": True} if misread else {}
        return replace(record, status=ledger.SET_ASIDE, reason=error.reason, data=data)
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            # Not the frame's fault: the job fails. An OSError without a number is astropy's, for
            # bytes that it cannot read.
            raise
        tracebacks.write(context.results, row.file, error)
        reason = rawfile.unforeseen(row.file, error).reason
        return replace(record, status=ledger.SET_ASIDE, reason=reason)
    return replace(
        record,
        stamp=ledger.stamp_of(target),
        content=str(made.images[0].words),
        data=figures,
    )


def _reduce(context, job, row, raw):
    """Reduce the frame of an open raw file; return its place, the product, its figures."""
    memory = int(context.settings["limits"]["frame_memory"] * 1e6)
    try:
        frame = _Frame(
            row,
            raw,
            context.results / job.product,
            _layout(row, raw, memory),
            context.store.geometry(row.geometry),
            context.store.recipe(row.recipe),
            memory,
            job.key,
            is_sampled=row.facts["type"] in context.chain.combined_types,
            leave=partial(leave, context, row, job) if is_drawn(context) else None,
            even=[],
        )
        done = None
        if streaming.can_stream(frame.layout, frame.geometry, frame.recipe):
            done = _stream(frame)
        made, samples = done or _whole(frame)
    except FrameError:
        if row.stamp and row.stamp != raw.stamp:
            # It is not the file whose header was read.
            raise rawfile.Changed(row.file) from None
        raise
    return frame.target, made, _figures(frame, made, samples)


def _layout(row, raw, memory):
    layout = raw.layout(memory=memory, whole=False)
    if layout.fingerprint not in ("", row.fingerprint):
        raise rawfile.Changed(row.file)
    return layout


def _stream(frame):
    """Reduce a frame of the usual kind; None if the size of its header is not as foreseen."""
    size = _header_sizes.get(frame.kind)
    if size is None:
        return None
    hdu = frame.layout.hdus[frame.geometry.amplifiers[0].hdu]
    with rowio.Writer(frame.target, size) as writer:
        fingerprint = frame.row.fingerprint
        rows = rowio.RowStream(frame.raw, frame.layout, hdu, frame.row.file, fingerprint)
        shape = frame.geometry.shape
        small = SmallImage(shape) if frame.is_looked_at else None
        streamed = streaming.stream_frame(
            rows, writer, frame.geometry, frame.recipe, sample=frame.rows(shape), small=small
        )
        # Done before the product: little should happen between its renaming and its record.
        if small is not None:
            frame.keep(small.result())
        if not writer.finish(frame.header(headers.first_header, streamed.reduced)):
            return None
    return streamed.reduced, [streamed.sample]


def _whole(frame):
    """Reduce a frame of any kind."""
    name, layout = frame.row.file, frame.layout
    fingerprint = frame.row.fingerprint
    data = frame.raw.read_all(layout, memory=frame.memory, fingerprint=fingerprint)
    stored = {
        hdu: decoding.array(data, layout.hdus[hdu], name)
        for hdu in sorted({amplifier.hdu for amplifier in frame.geometry.amplifiers})
    }
    _refuse_negatives(frame, stored)
    made = reduction.reduce_frame(stored, frame.geometry, frame.recipe)
    parts = frame.header(headers.product_parts, made)
    if frame.is_looked_at:
        frame.keep(small_image(made.images[0].data))
    whole.write_hdus(frame.target, parts)
    _header_sizes[frame.kind] = len(parts[0])
    samples = [_native(image.data[list(frame.rows(image.data.shape))]) for image in made.images]
    return made, samples


def _refuse_negatives(frame, stored):
    headers_of = frame.layout.headers
    for hdu, (values, _) in stored.items():
        negatives = Negatives(headers_of[hdu]["BITPIX"] < 0 and not frame.recipe.raw)
        rows = [a.data for a in frame.geometry.amplifiers if a.hdu == hdu]
        # As many rows as are looked at when a frame is reduced while it is inflated.
        negatives.add(values[min(r.y0 for r in rows) : max(r.y1 for r in rows)])
        negatives.check(frame.row.file)


def _figures(frame, made, samples):
    """Return a reduced frame's figures for other products: levels, noises, flags, statistics."""
    overscans = {name: o for name, o in made.overscans.items() if o is not None}
    figures = {
        "levels": {name: float(f"{o.level:.6g}") for name, o in overscans.items()},
        "noises": {name: float(f"{o.noise:.6g}") for name, o in overscans.items()},
        "flags": made.flags,
    }
    if made.rows:
        figures["rows"] = {
            name: [float(f"{value:.4g}") for value in (rows.before, rows.after, rows.pixel)]
            for name, rows in made.rows.items()
        }
    if made.warnings:
        figures["warnings"] = [list(each) for each in made.warnings]
    if any(frame.even):
        figures["even"] = float(f"{frame.even[0]:.4g}")
    images = product_images(frame.geometry, frame.recipe)
    if any(map(np.size, samples)):
        figures["statistics"] = [
            statistics
            for image, sample in zip(images, samples, strict=True)
            for statistics in _statistics(frame, image, sample, figures["levels"])
        ]
    return figures


def _statistics(frame, image, sample, levels):
    """Yield the figures of each amplifier of an image from a sample of its rows."""
    rows = np.asarray(frame.rows(image.shape))
    for amplifier in image.amplifiers:
        place = amplifier.place if frame.recipe.trim else amplifier.data
        inside = sample[(rows >= place.y0) & (rows < place.y1), place.x0 : place.x1]
        if min(inside.shape) >= BOXES:
            level = [levels[amplifier.name]] if amplifier.name in levels else []
            yield {"amplifier": amplifier.name, **vars(frame_statistics(inside, level))}


def _native(image):
    return image.astype(image.dtype.newbyteorder("="))


def _of_amplifiers(name, values, digits):
    """Return a figure of all amplifiers in words, as a list; [] where none was measured.

    >>> _of_amplifiers("level", {"A": 1138.83, "B": 20.04}, 1), _of_amplifiers("level", {}, 1)
    (['level 1138.8, 20.0 adu'], [])
    """
    numbers = [f"{value:.{digits}f}" for value in values.values() if value is not None]
    return [f"{name} {', '.join(numbers)} adu"] if numbers else []
