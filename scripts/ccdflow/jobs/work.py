"""The job of one frame: the edge that reads, calls the arithmetic and writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ccdflow.camera.cameras import Recipe
from ccdflow.camera.geometry import Geometry
from ccdflow.combine.stack import sampled_rows
from ccdflow.detector.frame_figures import BOXES, frame_statistics
from ccdflow.errors import FrameError
from ccdflow.files import decoding, promised, rawfile, rowio, whole
from ccdflow.frame import headers, reduction, streaming
from ccdflow.frame.products import product_images
from ccdflow.jobs.remembered import geometry_of, recipe_of
from ccdflow.run import ledger, plan
from ccdflow.run.inventory import Row
from ccdflow.run.ledger import Record

# Rows of a bias that its statistics are taken from: of the LFC, 7 ms.
FRAME_ROWS = 64

# The header's size of a kind of frame, learnt from its first one: the pixels come before it.
_header_sizes = {}


@dataclass(frozen=True)
class _Frame:
    """One raw frame, and what is to be made of it."""

    row: Row
    raw: rawfile.RawFile
    target: Path
    layout: promised.RawLayout
    geometry: Geometry
    recipe: Recipe
    memory: int
    key: str

    @property
    def kind(self):
        """What headers of one size have in common."""
        header = self.layout.hdus[0].header
        return (self.row.geometry, self.row.recipe, len(header), len(self.row.file))

    def rows(self, shape):
        """Return which rows of an image of the product statistics are taken from."""
        if self.row.facts["type"] != "bias":
            return ()
        return sampled_rows(*shape, 1, wanted=FRAME_ROWS)

    def header(self, make, reduced):
        """Return what `headers.first_header` or `headers.product_parts` makes for this frame."""
        return make(
            self.layout,
            self.geometry,
            self.recipe,
            reduced,
            file=self.row.file,
            fingerprint=self.row.fingerprint,
            key=self.key,
        )


def reduce_frame(context, job):
    """Reduce one raw frame, or set it aside.

    Parameters
    ----------
    context : ccdflow.run.plan.Context
    job : ccdflow.run.plan.Job

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
    record = Record(job.product, job.kind, job.key, basis=plan.frame_basis(row))
    try:
        with rawfile.reading(row.file):
            raw = rawfile.open_raw(context.raw / row.file, row.file)
        with raw:
            target, reduced, figures = _reduce(context, job, row, raw)
    except (rawfile.Unreadable, rawfile.Changed) as error:
        # Nothing is known of what it holds: a product that is there stays.
        return replace(record, status=ledger.GONE, reason=error.reason)
    except FrameError as error:
        return replace(record, status=ledger.SET_ASIDE, reason=error.reason)
    return replace(
        record,
        stamp=ledger.stamp_of(target),
        content=str(reduced.images[0].words),
        data=figures,
    )


def _reduce(context, job, row, raw):
    """Reduce the frame of an open raw file; return where it is, what it became, its figures."""
    try:
        frame = _Frame(
            row,
            raw,
            context.results / job.product,
            _layout(row, raw),
            geometry_of(context, row.geometry),
            recipe_of(context, row.recipe),
            int(context.settings["limits"]["frame_memory"] * 1e6),
            job.key,
        )
        rawfile.check_memory(frame.layout.length, frame.memory, row.file)
        done = None
        if streaming.can_stream(frame.layout, frame.geometry, frame.recipe):
            done = _stream(frame)
        reduced, samples = done or _whole(frame)
    except FrameError:
        if row.stamp and row.stamp != raw.stamp:
            # It is not the file whose header was read.
            raise rawfile.Changed(row.file) from None
        raise
    return frame.target, reduced, _figures(frame, reduced, samples)


def _layout(row, raw):
    layout = raw.layout(whole=False)
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
        streamed = streaming.stream_frame(
            rows, writer, frame.geometry, frame.recipe, sample=frame.rows(frame.geometry.shape)
        )
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
    reduced = reduction.reduce_frame(stored, frame.geometry, frame.recipe)
    parts = frame.header(headers.product_parts, reduced)
    whole.write_hdus(frame.target, parts)
    _header_sizes[frame.kind] = len(parts[0])
    samples = [_native(image.data[list(frame.rows(image.data.shape))]) for image in reduced.images]
    return reduced, samples


def _figures(frame, reduced, samples):
    """Return what others need to know of a reduced frame: levels, noises, flags, statistics."""
    overscans = {name: o for name, o in reduced.overscans.items() if o is not None}
    figures = {
        "levels": {name: float(f"{o.level:.6g}") for name, o in overscans.items()},
        "noises": {name: float(f"{o.noise:.6g}") for name, o in overscans.items()},
        "flags": reduced.flags,
    }
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
            yield {"amplifier": amplifier.name, **asdict(frame_statistics(inside, level))}


def _native(image):
    return image.astype(image.dtype.newbyteorder("="))
