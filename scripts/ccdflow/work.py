"""The job of one frame: the edge that reads, calls the arithmetic and writes."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache, partial

from ccdflow import fitsio, headers, ledger, reduction, rowio, streaming
from ccdflow.cameras import Amplifier, Geometry, Recipe
from ccdflow.combine import sampled_rows
from ccdflow.errors import FrameError
from ccdflow.ledger import Record
from ccdflow.quality import BOXES, frame_statistics
from ccdflow.sections import Region

# Rows of a bias that its statistics are taken from: of the LFC, 7 ms.
FRAME_ROWS = 64

# The header's size of a kind of frame, learnt from its first one: the pixels come before it.
_header_sizes = {}


def reduce_frame(context, job):
    """Reduce one raw frame, or set it aside.

    Parameters
    ----------
    context : ccdflow.plan.Context
    job : ccdflow.plan.Job

    Returns
    -------
    ccdflow.ledger.Record
        Its status says whether the product was made. Whatever stood under the product's name is
        untouched unless it was.

    Raises
    ------
    OSError
        If the product cannot be written.
    """
    record = Record(job.product, job.kind, job.key, basis=job.basis)
    row = context.row_of(job.product)
    path = context.raw / row.file
    try:
        layout = fitsio.read_layout(path, name=row.file)
        if layout.fingerprint != row.fingerprint:
            reason = "the raw file changed while the run went on; run again"
            return replace(record, status=ledger.GONE, reason=reason)
        memory = int(context.settings["limits"]["frame_memory"] * 1e6)
        geometry = geometry_of(context, row.geometry)
        recipe = recipe_of(context, row.recipe)
        fitsio.check_memory(layout.length, memory, row.file)
        target = context.results / job.product
        say = partial(
            headers.first_header, layout.headers, geometry, recipe,
            file=row.file, fingerprint=row.fingerprint, key=job.key,
        )  # fmt: skip
        done = None
        if streaming.can_stream(layout, geometry, recipe):
            done = _stream(path, layout, geometry, recipe, target, row, say)
        if done is None:
            done = _whole(path, layout, geometry, recipe, target, row, memory, job.key)
    except FrameError as error:
        return replace(record, status=ledger.SET_ASIDE, reason=error.reason)
    reduced, samples = done
    return replace(
        record,
        stamp=ledger.stamp_of(target),
        content=str(reduced.images[0].words),
        data=_figures(reduced, samples),
    )


def _stream(path, layout, geometry, recipe, target, row, say):
    """Reduce a frame of the usual kind; None if its header came out longer than foreseen."""
    kind = (row.geometry, row.recipe, len(layout.hdus[0].header), len(row.file))
    size = _header_sizes.get(kind)
    if size is None:
        return None
    hdu = layout.hdus[geometry.amplifiers[0].hdu]
    wanted = FRAME_ROWS if row.facts["type"] == "bias" else 0
    with fitsio.reading(row.file):
        raw = fitsio.open_raw(path)
    with raw as file, rowio.Writer(target, size) as writer:
        rows = rowio.RowStream(file, layout, hdu, row.file)
        streamed = streaming.stream_frame(rows, writer, geometry, recipe, sample=wanted)
        if not writer.finish(say(streamed.reduced)):
            return None
    return streamed.reduced, [streamed.sample]


def _whole(path, layout, geometry, recipe, target, row, memory, key):
    """Reduce a frame of any kind."""
    data = fitsio.read_bytes(path, layout, memory=memory, name=row.file)
    stored = {
        hdu: fitsio.array(data, layout.hdus[hdu], row.file)
        for hdu in sorted({amplifier.hdu for amplifier in geometry.amplifiers})
    }
    reduced = reduction.reduce_frame(stored, geometry, recipe)
    parts = headers.product_parts(
        layout.headers, geometry, recipe, reduced,
        file=row.file, fingerprint=row.fingerprint, key=key,
    )  # fmt: skip
    fitsio.write_hdus(target, parts)
    kind = (row.geometry, row.recipe, len(layout.hdus[0].header), len(row.file))
    _header_sizes[kind] = len(parts[0])
    samples = []
    if row.facts["type"] == "bias":
        samples = [_sampled(image.data) for image in reduced.images]
    return reduced, samples


def _figures(reduced, samples):
    """Return what others need to know of a reduced frame: levels, noises, flags, statistics."""
    overscans = {name: o for name, o in reduced.overscans.items() if o is not None}
    figures = {
        "levels": {name: float(f"{o.level:.6g}") for name, o in overscans.items()},
        "noises": {name: float(f"{o.noise:.6g}") for name, o in overscans.items()},
        "flags": reduced.flags,
    }
    levels = list(figures["levels"].values())
    samples = [sample for sample in samples if sample.size]
    if samples:
        figures["statistics"] = [
            asdict(frame_statistics(sample, levels))
            for sample in samples
            if min(sample.shape) >= BOXES
        ]
    return figures


def _sampled(image):
    """Return the rows that `frame_statistics` would take, in native byte order."""
    rows = sampled_rows(*image.shape, 1, wanted=FRAME_ROWS)
    return image[rows].astype(image.dtype.newbyteorder("="))


def geometry_of(context, name):
    """Return the `Geometry` that a store remembers under a name."""
    return _geometry(name, _Canonical(context.store.shared[name]))


def recipe_of(context, name):
    """Return the `Recipe` that a store remembers under a name."""
    return Recipe(**context.store.shared[name])


class _Canonical(dict):
    """A canonical form that takes no part in the cache's comparison: its name says it all."""

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return True


@lru_cache(maxsize=4096)
def _geometry(_name, canonical):
    amplifiers = tuple(
        Amplifier(
            name=a["name"],
            hdu=a["hdu"],
            data=Region.from_fits(a["data"]),
            overscan=tuple(Region.from_fits(strip) for strip in a["overscan"]),
            along=a["along"],
            place=Region.from_fits(a["place"]),
            flip_x=a["flip"][0],
            flip_y=a["flip"][1],
            gain=a["gain"],
            read_noise=a["read_noise"],
            saturation=a["saturation"],
        )
        for a in canonical["amplifiers"]
    )
    return Geometry(
        camera=canonical["camera"],
        shape=tuple(canonical["shape"]),
        amplifiers=amplifiers,
        layout=canonical["layout"],
        source=canonical["source"],
        raw_shapes=tuple((hdu, tuple(shape)) for hdu, shape in canonical["raw_shapes"]),
        extension_shapes=tuple((h, tuple(s)) for h, s in canonical["extension_shapes"]),
    )
