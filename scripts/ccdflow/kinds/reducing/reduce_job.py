"""The job of a reduced frame: a raw file read, reduced, measured and written, or set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ccdflow.camera.geometry import Geometry
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.detector.frame_figures import COARSE_BOXES, FRAME_ROWS, frame_statistics
from ccdflow.errors import FrameError
from ccdflow.files import (
    atomic_write,
    checksum,
    decoding,
    file_errors,
    fits_structure,
    rawfile,
    rowio,
)
from ccdflow.frame import headers, reduction, streaming
from ccdflow.frame.checks import strip_light
from ccdflow.frame.checks.evenness import even_level
from ccdflow.frame.negatives import Negatives
from ccdflow.frame.products import product_images
from ccdflow.frame.small_images import SmallImage, small_image
from ccdflow.kinds.reducing.frame_sources import frame_basis
from ccdflow.kinds.reducing.small_pictures import is_drawn, rows_read, write_small_picture
from ccdflow.run import failures, job_records
from ccdflow.run.job_records import Record
from ccdflow.run.rawframes.rows import Row, RowMark

# Frames of these types have no light. A strip that seems lit is noisy, and the warning on its noise
# says so.
_DARK_TYPES = ("bias", "dark")

# Bytes of the header by the form of a frame: pixels are written first, behind the room for it.
_header_sizes = {}


@dataclass(frozen=True)
class _FrameJob:
    """One raw frame, and the reduced frame that is made of it.

    Attributes
    ----------
    row : ccdflow.run.rawframes.rows.Row
    raw : ccdflow.files.rawfile.RawFile
        The raw file, open.
    target : pathlib.Path
        The product.
    layout : ccdflow.files.fits_structure.RawLayout
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    memory : int
        Bytes that the frame may take.
    key : str
        Key of the job, for the header.
    is_sampled : bool
        Whether frames of its type are combined: its statistics are taken from some rows.
    write_small_picture : callable or None
        Takes a `ccdflow.frame.small_images.SmallImage`; None if no picture is wanted.
    """

    row: Row
    raw: rawfile.RawFile
    target: Path
    layout: fits_structure.RawLayout
    geometry: Geometry
    recipe: ReductionRecipe
    memory: int
    key: str
    is_sampled: bool
    write_small_picture: Callable[[SmallImage], None] | None

    @property
    def is_looked_at(self):
        """Whether a small image is made of it: for the contact sheet, or to see if it is a flat."""
        return self.write_small_picture is not None or self.row.facts["type"] == "science"

    def use_small_image(self, image):
        """Write the small picture, if it is wanted; return the level of an even science frame."""
        if self.write_small_picture is not None:
            self.write_small_picture(image)
        return even_level(image) if self.row.facts["type"] == "science" else None

    @property
    def header_form(self):
        """The key of headers of one form: geometry, recipe, lengths of header and file name."""
        header = self.layout.hdus[0].header
        return (self.row.geometry, self.row.recipe, len(header), len(self.row.file))

    def rows(self, shape):
        """Return the rows of an image of the product from which its statistics are taken."""
        if not self.is_sampled:
            return ()
        return sampled_rows(*shape, 1, rows_wanted=FRAME_ROWS)

    def header(self, make, reduced):
        """Return the result of `headers.first_header` or `headers.product_parts` for this frame."""
        origin = headers.ProductOrigin(self.row.file, self.row.fingerprint, self.key)
        return make(self.layout, self.geometry, self.recipe, reduced, origin)


def make_reduced_frame(context, job):
    """Reduce one raw frame, or set it aside.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job

    Returns
    -------
    ccdflow.run.job_records.Record
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
        with file_errors.raw_file_errors(row.file):
            raw = rawfile.open_raw(context.raw / row.file, row.file)
        with raw:
            target, content, figures = _reduce_raw_file(context, job, row, raw)
    except (file_errors.UnreadableRawFile, file_errors.ChangedRawFile) as error:
        # The content of the raw file is not known, so an existing product stays.
        data = failures.data_of_error(error)
        return replace(record, status=job_records.GONE, reason=error.reason, data=data)
    except FrameError as error:
        is_misread = isinstance(error, (file_errors.DamagedRawFile, file_errors.IncompleteRawFile))
        data = {"misread": True} if is_misread else {}
        if isinstance(error, strip_light.LitOverscan):
            data["lit_overscan"] = True
        return replace(record, status=job_records.SET_ASIDE, reason=error.reason, data=data)
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            # The fault is not the frame's: the job fails. An OSError without a number is astropy's,
            # for bytes that it cannot read.
            raise
        failures.write_raw_log(context.results, row.file, failures.raw_log_text(row.file, error))
        reason = file_errors.unforeseen_error(row.file, error).reason
        return replace(record, status=job_records.SET_ASIDE, reason=reason)
    return replace(
        record,
        stamp=atomic_write.stamp_of(target),
        content=content,
        data=figures,
    )


def _reduce_raw_file(context, job, row, raw):
    """Reduce the frame of an open raw file; return its place, its checksums, its figures.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    job : ccdflow.run.job.Job
    row : ccdflow.run.rawframes.rows.Row
    raw : ccdflow.files.rawfile.RawFile
        The raw file, open.
    """
    memory = int(context.settings["limits"]["frame_memory"] * 1e6)
    try:
        frame = _FrameJob(
            row=row,
            raw=raw,
            target=context.results / job.product,
            layout=_checked_layout(row, raw, memory),
            geometry=context.store.geometry(row.geometry),
            recipe=context.store.recipe(row.recipe),
            memory=memory,
            key=job.key,
            is_sampled=row.facts["type"] in context.chain.combined_types,
            write_small_picture=partial(write_small_picture, context, row, job)
            if is_drawn(context)
            else None,
        )
        streamed = None
        if streaming.can_stream(frame.layout, frame.geometry, frame.recipe):
            streamed = _reduce_by_rows(frame)
        reduced, written, samples, even = streamed or _reduce_any_frame(frame)
    except FrameError:
        if row.stamp and row.stamp != raw.stamp:
            # The open file is another than the one whose header was read.
            raise file_errors.ChangedRawFile(row.file) from None
        raise
    content = checksum.product_checksum(reduced.images[0].datasum, written)
    return frame.target, content, _figures_of_frame(frame, reduced, samples, even)


def _checked_layout(row, raw, memory):
    """Return the layout of a raw file; refuse a file other than the one whose header was read."""
    layout = raw.layout(memory=memory, reads_whole_file=False)
    if layout.fingerprint not in ("", row.fingerprint):
        raise file_errors.ChangedRawFile(row.file)
    return layout


class _WrittenFrame(NamedTuple):
    """A reduced frame in its place.

    Attributes
    ----------
    reduced : ccdflow.frame.reduction.Reduced
    headers : list of bytes
        Headers of the HDUs of its file.
    samples : list of numpy.ndarray of shape (k, nx), float32 or float64
        Some rows of each image.
    even : float or None
        Level of an even science frame, adu; None for all others.
    """

    reduced: reduction.Reduced
    headers: list[bytes]
    samples: list[np.ndarray]
    even: float | None


def _predicted_header_size(frame, hdu):
    """Return the bytes of the header of a `_FrameJob`'s product, by a frame with usual figures."""
    top = decoding.highest_value(hdu, frame.row.file)
    like_it = streaming.predicted_frame(frame.geometry, frame.recipe, top)
    return len(frame.header(headers.first_header, like_it))


def _reduce_by_rows(frame):
    """Reduce a frame of the usual kind to a `_WrittenFrame`.

    None if the size of its header is not as foreseen.
    """
    hdu = frame.layout.hdus[frame.geometry.amplifiers[0].hdu]
    size = _header_sizes.get(frame.header_form)
    if size is None:
        size = _header_sizes[frame.header_form] = _predicted_header_size(frame, hdu)
    with rowio.RowWriter(frame.target, size) as writer:
        fingerprint = frame.row.fingerprint
        rows = rowio.RowStream(frame.raw, frame.layout, hdu, frame.row.file, fingerprint)
        shape = frame.geometry.shape
        image_builder = SmallImage(shape, rows_read(frame.row)) if frame.is_looked_at else None
        streamed = streaming.stream_frame(
            rows,
            writer,
            frame.geometry,
            frame.recipe,
            sample_rows=frame.rows(shape),
            small_image=image_builder,
        )
        _refuse_lit_overscan(frame, streamed.reduced)
        # Done before the product: little should happen between its renaming and its record.
        even = None if image_builder is None else frame.use_small_image(image_builder.result())
        header = frame.header(headers.first_header, streamed.reduced)
        if not writer.finish(header):
            return None
    return _WrittenFrame(streamed.reduced, [header], [streamed.sample], even)


def _reduce_any_frame(frame):
    """Reduce a frame of any kind to a `_WrittenFrame`."""
    name, layout = frame.row.file, frame.layout
    fingerprint = frame.row.fingerprint
    content = frame.raw.read_all(layout, memory=frame.memory, fingerprint=fingerprint)
    stored = {
        hdu: decoding.stored_pixels(content, layout.hdus[hdu], name)
        for hdu in sorted({amplifier.hdu for amplifier in frame.geometry.amplifiers})
    }
    _refuse_negatives(frame, stored)
    tops = {
        hdu: decoding.highest_value(layout.hdus[hdu], name)
        for hdu, (values, _) in stored.items()
        if values.dtype.kind == "f"
    }
    reduced = reduction.reduce_frame(stored, frame.geometry, frame.recipe, tops=tops)
    _refuse_lit_overscan(frame, reduced)
    parts = frame.header(headers.product_parts, reduced)
    even = None
    if frame.is_looked_at:
        even = frame.use_small_image(small_image(reduced.images[0].data, rows_read(frame.row)))
    atomic_write.write_whole(frame.target, parts)
    _header_sizes[frame.header_form] = len(parts[0])
    samples = [
        _native_values(image.data[list(frame.rows(image.data.shape))]) for image in reduced.images
    ]
    return _WrittenFrame(reduced, checksum.headers_among(parts), samples, even)


def _refuse_lit_overscan(frame, reduced):
    """Refuse a flat whose overscan holds data: its columns would be lost.

    Only flats are refused: other frames may have no light, so that equal noise in both regions is
    read noise.
    """
    if frame.row.facts["type"] == "flat" and frame.row.facts["exptime"] != 0:
        for kind, problem in reduced.warnings:
            if kind == strip_light.DATA_FOR_OVERSCAN:
                remedy = strip_light.REMEDIES[kind]
                raise strip_light.LitOverscan(problem, file=frame.row.file, remedy=remedy)


def _refuse_negatives(frame, stored):
    """Raise `FrameError` for a frame with too many pixels below 0."""
    headers_of = frame.layout.headers
    for hdu, (values, _) in stored.items():
        negatives = Negatives(headers_of[hdu]["BITPIX"] < 0 and not frame.recipe.raw)
        regions = [a.data for a in frame.geometry.amplifiers if a.hdu == hdu]
        # The same rows count in a frame that is reduced while it is inflated.
        negatives.add(
            values[min(region.y0 for region in regions) : max(region.y1 for region in regions)]
        )
        negatives.check(frame.row.file)


def _figures_of_frame(frame, reduced, samples, even):
    """Return a reduced frame's figures for other products: levels, noises, flags, statistics.

    Parameters
    ----------
    frame : _FrameJob
    reduced : ccdflow.frame.reduction.Reduced
    samples : list of numpy.ndarray of shape (k, nx), float32 or float64
        Sampled rows of each image.
    even : float or None
        Level of an even science frame, adu; None for all others.
    """
    overscans = {name: o for name, o in reduced.overscans.items() if o is not None}
    figures = {
        "levels": {name: float(f"{o.level:.6g}") for name, o in overscans.items()},
        "noises": {name: float(f"{o.noise:.6g}") for name, o in overscans.items()},
        "flags": reduced.flags,
        "converter": _ends_of_converters(reduced),
    }
    if reduced.row_noises:
        figures["rows"] = {
            name: [float(f"{value:.4g}") for value in (rows.before, rows.after, rows.pixel_noise)]
            for name, rows in reduced.row_noises.items()
        }
    if reduced.without_level:
        figures["without_level"] = _plain_regions(reduced.without_level)
    if warnings := _warnings_that_count(frame, reduced):
        figures["warnings"] = warnings
    if _is_unstated(frame):
        # Other frames beside it may show that the strip in its profile is not an overscan.
        dark = [rows.is_strip_dark for rows in reduced.row_noises.values()]
        figures["strips"] = {"axis": _axis_of_strips(frame), "dark": bool(dark) and all(dark)}
    if even:
        figures["even"] = float(f"{even:.4g}")
    if any(map(np.size, samples)):
        figures["statistics"] = _statistics_of_frame(frame, samples, figures["levels"])
    return figures


def _statistics_of_frame(frame, samples, levels):
    """Return the figures of each amplifier of a frame from the sampled rows of its images."""
    images = product_images(frame.geometry, frame.recipe)
    return [
        statistics
        for image, sample in zip(images, samples, strict=True)
        for statistics in _amplifier_statistics(frame, image, sample, levels)
    ]


def _ends_of_converters(reduced):
    """Return the ends of the converters as JSON has them, by amplifier."""
    return {name: end.to_record() for name, end in reduced.converters.items()}


def _plain_regions(without_level):
    """Return the parts without a level as lists of numbers, by amplifier."""
    return {
        name: [[part.y0, part.y1, part.x0, part.x1] for part in parts]
        for name, parts in without_level.items()
    }


def _warnings_that_count(frame, reduced):
    """Return [kind, text] of each warning on a reduced frame."""
    is_dark = frame.row.facts["type"] in _DARK_TYPES
    remedies = strip_light.REMEDIES
    return [
        [kind, f"{text}; {remedies[kind]}" if kind in remedies else text]
        for kind, text in reduced.warnings
        if kind not in remedies or not is_dark
    ]


# Cards whose sections confirmed the profile's overscan when the header was read.
_SECTIONS = ("datasec", "biassec", "ccdsec")


def _is_unstated(frame):
    """Return whether no card says that the strips of the profile are an overscan."""
    has_strips = any(amplifier.overscan for amplifier in frame.geometry.amplifiers)
    is_counted = frame.geometry.source == "profile" and has_strips
    is_stated = any(frame.row.facts[name] for name in _SECTIONS)
    return is_counted and (not is_stated or frame.row.has(RowMark.LIT_STRIP_BY_CARD))


def _axis_of_strips(frame):
    """Return the number of the axis along which the overscan is counted, as in NAXIS1."""
    amplifier = next(a for a in frame.geometry.amplifiers if a.overscan)
    return 2 if amplifier.overscan[0].shares_columns(amplifier.data) else 1


def _amplifier_statistics(frame, image, sample, levels):
    """Yield the figures of each amplifier of an image from a sample of its rows.

    Parameters
    ----------
    frame : _FrameJob
    image : ccdflow.frame.products.ProductImage
    sample : numpy.ndarray of shape (rows, nx), float32
        Its sampled rows.
    levels : dict of str to object
        By the name of the amplifier.
    """
    rows = np.asarray(frame.rows(image.shape))
    for amplifier in image.amplifiers:
        place = frame.recipe.region_of(amplifier)
        pixels = sample[(rows >= place.y0) & (rows < place.y1), place.x0 : place.x1]
        if min(pixels.shape) >= COARSE_BOXES:
            level = [levels[amplifier.name]] if amplifier.name in levels else []
            yield {"amplifier": amplifier.name, **vars(frame_statistics(pixels, level))}


def _native_values(image):
    """Return a copy of an image in the byte order of the machine."""
    return image.astype(image.dtype.newbyteorder("="))
