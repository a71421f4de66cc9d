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
    file_access,
    file_errors,
    fits_structure,
    raw_files,
    row_files,
)
from ccdflow.frame import headers, reduction, streaming
from ccdflow.frame.checks import strip_light
from ccdflow.frame.checks.evenness import even_level
from ccdflow.frame.float_pixels import FloatPixels
from ccdflow.frame.products import product_images
from ccdflow.frame.small_images import SmallImage, small_image
from ccdflow.kinds.reducing.frame_sources import frame_basis
from ccdflow.kinds.reducing.small_pictures import (
    n_rows_of_square,
    wants_pictures,
    write_small_picture,
)
from ccdflow.run import failures, job_records
from ccdflow.run.job_records import Record
from ccdflow.run.raw_frames import raw_verdicts
from ccdflow.run.raw_frames.rows import Row, RowMark

# Frames of these types have no light. A strip that seems lit is only noisy, and gets the warning on
# noise.
_DARK_TYPES = ("bias", "dark")

# Bytes of the header, by `_FrameJob.header_form`. Pixels are written first, after as many bytes of
# free room for the header.
_header_sizes = {}


@dataclass(frozen=True)
class _FrameJob:
    """One raw frame, and the reduced frame that is made of it.

    Attributes
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    raw : ccdflow.files.raw_files.RawFile
        The raw file, open.
    target : pathlib.Path
        The product.
    layout : ccdflow.files.fits_structure.RawLayout
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    memory : int
        Bytes of memory that the job may take.
    key : str
        Key of the job, for the header.
    is_sampled : bool
        Whether frames of its type are combined. Their statistics, of sampled rows, select members.
    write_small_picture : callable or None
        Takes the small image of the frame, (ny, nx) float32; None if no picture is wanted.
    """

    row: Row
    raw: raw_files.RawFile
    target: Path
    layout: fits_structure.RawLayout
    geometry: Geometry
    recipe: ReductionRecipe
    memory: int
    key: str
    is_sampled: bool
    write_small_picture: Callable[[np.ndarray], None] | None

    @property
    def needs_small_image(self):
        """Whether a small image is needed: for the contact sheet, or to see if it is a flat."""
        return self.write_small_picture is not None or self.row.facts["type"] == "science"

    def use_small_image(self, image):
        """Write the small picture, if one is wanted; return the level if this is an even frame.

        Parameters
        ----------
        image : numpy.ndarray of shape (ny, nx), float32
            The small image, adu.

        Returns
        -------
        float or None
            Adu; None for an uneven frame, and for any that is not a science frame.
        """
        if self.write_small_picture is not None:
            self.write_small_picture(image)
        return even_level(image) if self.row.facts["type"] == "science" else None

    @property
    def header_form(self):
        """The values on which the size of the product's header depends."""
        header = self.layout.hdus[0].header
        return (self.row.geometry, self.row.recipe, len(header), len(self.row.file))

    def statistics_rows(self, shape):
        """Return the indices of the rows of an image that give its statistics; () for none."""
        if not self.is_sampled:
            return ()
        return sampled_rows(*shape, 1, rows_wanted=FRAME_ROWS)

    def header(self, make_header, reduced):
        """Return the result of `headers.first_header` or `headers.product_parts` for this frame.

        Parameters
        ----------
        make_header : callable
            One of the two functions.
        reduced : ccdflow.frame.reduction.Reduced

        Returns
        -------
        bytes or list of bytes
        """
        origin = headers.ProductOrigin(self.row.file, self.row.fingerprint, self.key)
        return make_header(self.layout, self.geometry, self.recipe, reduced, origin)


def make_reduced_frame(context, job):
    """Reduce one raw frame, or set it aside.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job

    Returns
    -------
    ccdflow.run.job_records.Record
        Its status shows whether the product was made. If it was not, an existing file of the
        product's name is not touched.

    Raises
    ------
    OSError
        If the product cannot be written.
    MemoryError
        If the memory does not suffice. The frame is not at fault in either case.
    """
    row = context.row_of_product(job.product)
    record = Record(job.product, job.kind, job.key, basis=frame_basis(row))
    try:
        with file_errors.raw_file_errors(row.file):
            raw = raw_files.open_raw(context.raw / row.file, row.file)
        with raw:
            target, content, figures = _reduce_raw_file(context, job, row, raw)
    except (file_errors.UnreadableRawFile, file_errors.ChangedRawFile) as error:
        # The content of the raw file is not known, so an existing product stays.
        raw_away = raw_verdicts.data_of_raw_away(context, error, row.file)
        data = {**failures.data_of_error(error), **raw_away}
        return replace(record, status=job_records.GONE, reason=error.reason, data=data)
    except FrameError as error:
        is_misread = isinstance(error, (file_errors.DamagedRawFile, file_errors.IncompleteRawFile))
        data = {"misread": True} if is_misread else {}
        if isinstance(error, strip_light.LitOverscan):
            data["lit_overscan"] = True
        return replace(record, status=job_records.SET_ASIDE, reason=error.reason, data=data)
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            # The frame is not at fault, so the job fails. astropy raises an OSError without a
            # number for bytes that it cannot read.
            raise
        failures.write_raw_log(context.results, row.file, failures.raw_log_text(row.file, error))
        reason = file_errors.unforeseen_error(row.file, error).reason
        return replace(record, status=job_records.SET_ASIDE, reason=reason)
    return replace(
        record,
        stamp=file_access.stamp_of(target),
        content=content,
        data=figures,
    )


def _reduce_raw_file(context, job, row, raw):
    """Reduce the frame of an open raw file, and write the product.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    job : ccdflow.run.job.Job
    row : ccdflow.run.raw_frames.rows.Row
    raw : ccdflow.files.raw_files.RawFile
        The raw file, open.

    Returns
    -------
    target : pathlib.Path
        The product.
    content : str
        Checksums of the product, for the record.
    figures : dict of str to object
        As `_figures_of_frame` returns them.
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
            if wants_pictures(context)
            else None,
        )
        written_frame = None
        if streaming.can_stream(frame.layout, frame.geometry, frame.recipe):
            written_frame = _reduce_by_rows(frame)
        if written_frame is None:
            written_frame = _reduce_in_memory(frame)
    except FrameError:
        if row.stamp and row.stamp != raw.stamp:
            # The file was replaced after its header was read.
            raise file_errors.ChangedRawFile(row.file) from None
        raise
    datasum = written_frame.reduced.images[0].datasum
    content = checksum.product_checksum(datasum, written_frame.headers)
    return frame.target, content, _figures_of_frame(frame, written_frame)


def _checked_layout(row, raw, memory):
    """Return the layout of a raw file.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    raw : ccdflow.files.raw_files.RawFile
    memory : int
        Bytes of memory that the job may take.

    Raises
    ------
    ccdflow.files.file_errors.ChangedRawFile
        If the file is not the one whose header was read.
    """
    layout = raw.layout(memory=memory, reads_whole_file=False)
    if layout.fingerprint not in ("", row.fingerprint):
        raise file_errors.ChangedRawFile(row.file)
    return layout


class _WrittenFrame(NamedTuple):
    """A reduced frame whose product is written.

    Attributes
    ----------
    reduced : ccdflow.frame.reduction.Reduced
    headers : list of bytes
        Headers of the HDUs of its file.
    samples : list of numpy.ndarray of shape (k, nx), float32 or float64
        The rows of each image from which its statistics are computed.
    level_if_even : float or None
        Level of an even science frame, adu; None for all others.
    """

    reduced: reduction.Reduced
    headers: list[bytes]
    samples: list[np.ndarray]
    level_if_even: float | None


def _predicted_header_size(frame, hdu):
    """Return the size in bytes that a product's header will have, by predicted figures.

    Parameters
    ----------
    frame : _FrameJob
    hdu : ccdflow.files.fits_structure.Hdu
        HDU of the raw pixels.
    """
    highest_value = decoding.highest_value(hdu, frame.row.file)
    predicted_frame = streaming.predicted_frame(frame.geometry, frame.recipe, highest_value)
    return len(frame.header(headers.first_header, predicted_frame))


def _reduce_by_rows(frame):
    """Reduce a frame row by row while its file is read; return the `_WrittenFrame`.

    None if the size of the header is not the predicted one: no product is written.
    """
    hdu = frame.layout.hdus[frame.geometry.amplifiers[0].hdu]
    size = _header_sizes.get(frame.header_form)
    if size is None:
        size = _header_sizes[frame.header_form] = _predicted_header_size(frame, hdu)
    with row_files.RowWriter(frame.target, size) as writer:
        fingerprint = frame.row.fingerprint
        rows = row_files.RowStream(frame.raw, frame.layout, hdu, frame.row.file, fingerprint)
        shape = frame.geometry.shape
        image_builder = None
        if frame.needs_small_image:
            image_builder = SmallImage(shape, n_rows_of_square(frame.row))
        streamed = streaming.stream_frame(
            rows,
            writer,
            frame.geometry,
            frame.recipe,
            sample_rows=frame.statistics_rows(shape),
            small_image=image_builder,
        )
        _refuse_lit_overscan(frame, streamed.reduced)
        # Before the product is finished: little should happen between its renaming and its record.
        level_if_even = None
        if image_builder is not None:
            level_if_even = frame.use_small_image(image_builder.result())
        header = frame.header(headers.first_header, streamed.reduced)
        if not writer.finish(header):
            return None
    return _WrittenFrame(streamed.reduced, [header], [streamed.sample], level_if_even)


def _reduce_in_memory(frame):
    """Reduce a frame of any geometry after all its pixels are read; return the `_WrittenFrame`."""
    name, layout = frame.row.file, frame.layout
    fingerprint = frame.row.fingerprint
    content = frame.raw.read_all(layout, memory=frame.memory, fingerprint=fingerprint)
    stored = {
        hdu: decoding.stored_pixels(content, layout.hdus[hdu], name)
        for hdu in sorted({amplifier.hdu for amplifier in frame.geometry.amplifiers})
    }
    _refuse_float_pixels(frame, stored)
    highest_values = {
        hdu: decoding.highest_value(layout.hdus[hdu], name)
        for hdu, (values, _) in stored.items()
        if values.dtype.kind == "f"
    }
    reduced = reduction.reduce_frame(stored, frame.geometry, frame.recipe, tops=highest_values)
    _refuse_lit_overscan(frame, reduced)
    parts = frame.header(headers.product_parts, reduced)
    level_if_even = None
    if frame.needs_small_image:
        image = small_image(reduced.images[0].data, n_rows_of_square(frame.row))
        level_if_even = frame.use_small_image(image)
    atomic_write.write_whole(frame.target, parts)
    _header_sizes[frame.header_form] = len(parts[0])
    samples = [
        _native_values(image.data[list(frame.statistics_rows(image.data.shape))])
        for image in reduced.images
    ]
    return _WrittenFrame(reduced, checksum.headers_among(parts), samples, level_if_even)


def _refuse_lit_overscan(frame, reduced):
    """Raise `LitOverscan` for an exposed flat whose overscan holds data, which trimming would lose.

    Only flats are refused. Other frames may have no light, and the same read noise in the overscan
    as in the data.
    """
    if frame.row.facts["type"] == "flat" and frame.row.facts["exptime"] != 0:
        for topic, problem in reduced.warnings:
            if topic == strip_light.DATA_FOR_OVERSCAN:
                remedy = strip_light.REMEDIES[topic]
                raise strip_light.LitOverscan(problem, file=frame.row.file, remedy=remedy)


def _refuse_float_pixels(frame, stored):
    """Raise `FrameError` for a frame with pixels that no converter gives."""
    headers_of = frame.layout.headers
    for hdu, (values, _) in stored.items():
        float_pixels = FloatPixels(
            counts_negatives=headers_of[hdu]["BITPIX"] < 0 and not frame.recipe.raw
        )
        regions = [
            amplifier.data for amplifier in frame.geometry.amplifiers if amplifier.hdu == hdu
        ]
        # `streaming.stream_frame` counts the same rows.
        float_pixels.add(
            values[min(region.y0 for region in regions) : max(region.y1 for region in regions)]
        )
        float_pixels.check(frame.row.file)


def _figures_of_frame(frame, written_frame):
    """Return a reduced frame's figures for other products: levels, noises, flags, statistics.

    An entry that is empty for most frames is there only where it is not empty.

    Parameters
    ----------
    frame : _FrameJob
    written_frame : _WrittenFrame
    """
    reduced, level = written_frame.reduced, written_frame.level_if_even
    overscans = {name: each for name, each in reduced.overscans.items() if each is not None}
    levels = {name: float(f"{each.level:.6g}") for name, each in overscans.items()}
    figures = {
        "levels": levels,
        "noises": {name: float(f"{each.noise:.6g}") for name, each in overscans.items()},
        "flags": reduced.flags,
        "converter": _ends_of_converters(reduced),
    }
    other_figures = {
        "rows": _row_figures(reduced),
        "without_level": _plain_regions(reduced.without_level),
        "warnings": _warnings_that_count(frame, reduced),
        "strips": _figures_of_strips(frame, reduced),
        "even": float(f"{level:.4g}") if level else None,
    }
    figures |= {name: figure for name, figure in other_figures.items() if figure}
    if any(map(np.size, written_frame.samples)):
        figures["statistics"] = _statistics_of_frame(frame, written_frame.samples, levels)
    return figures


def _row_figures(reduced):
    """Return the scatter of rows before and after subtraction, and of pixels, by amplifier."""
    return {
        name: [
            float(f"{value:.4g}")
            for value in (row_noise.before, row_noise.after, row_noise.pixel_noise)
        ]
        for name, row_noise in reduced.row_noises.items()
    }


def _figures_of_strips(frame, reduced):
    """Return the axis of an overscan that no card confirms, and whether it is dark; else None.

    Other frames of the night may show that such a strip is no overscan (`strip_sizes`).
    """
    if not _has_unconfirmed_overscan(frame):
        return None
    flags_of_dark = [row_noise.is_strip_dark for row_noise in reduced.row_noises.values()]
    is_dark = bool(flags_of_dark) and all(flags_of_dark)
    return {"axis": _axis_of_strips(frame), "dark": is_dark}


def _statistics_of_frame(frame, samples, levels):
    """Return the figures of each amplifier of a frame from sampled rows of its images.

    Parameters
    ----------
    frame : _FrameJob
    samples : list of numpy.ndarray of shape (k, nx), float32 or float64
        Sampled rows of each image.
    levels : dict of str to float
        Overscan levels, adu, by amplifier.
    """
    images = product_images(frame.geometry, frame.recipe)
    return [
        statistics
        for image, sample in zip(images, samples, strict=True)
        for statistics in _amplifier_statistics(frame, image, sample, levels)
    ]


def _ends_of_converters(reduced):
    """Return {amplifier: end of its converter}, as JSON values."""
    return {name: end.to_record() for name, end in reduced.converters.items()}


def _plain_regions(without_level):
    """Return {amplifier: its parts without a level}, each as a list of four numbers."""
    return {
        name: [[part.y0, part.y1, part.x0, part.x1] for part in parts]
        for name, parts in without_level.items()
    }


def _warnings_that_count(frame, reduced):
    """Return [topic, text] of each warning, except those on lit strips in biases and darks."""
    is_dark = frame.row.facts["type"] in _DARK_TYPES
    remedies = strip_light.REMEDIES
    return [
        [topic, f"{text}; {remedies[topic]}" if topic in remedies else text]
        for topic, text in reduced.warnings
        if topic not in remedies or not is_dark
    ]


# Cards whose sections confirm the profile's overscan, if a header has any.
_SECTION_FACTS = ("datasec", "biassec", "ccdsec")


def _has_unconfirmed_overscan(frame):
    """Return whether only the profile tells that strips of a frame are an overscan.

    True also where a card contradicts the profile.
    """
    has_strips = any(amplifier.overscan for amplifier in frame.geometry.amplifiers)
    is_of_profile = frame.geometry.source == "profile" and has_strips
    has_sections = any(frame.row.facts[name] for name in _SECTION_FACTS)
    return is_of_profile and (not has_sections or frame.row.has(RowMark.LIT_STRIP_BY_CARD))


def _axis_of_strips(frame):
    """Return the FITS axis, 1 or 2, along which the overscan follows the data or precedes it."""
    amplifier = next(a for a in frame.geometry.amplifiers if a.overscan)
    return 2 if amplifier.overscan[0].shares_columns(amplifier.data) else 1


def _amplifier_statistics(frame, image, sample, levels):
    """Yield the statistics of each amplifier of an image from a sample of its rows.

    Parameters
    ----------
    frame : _FrameJob
    image : ccdflow.frame.products.ProductImage
    sample : numpy.ndarray of shape (rows, nx), float32
        The sampled rows of the image.
    levels : dict of str to float
        Overscan levels, adu, by amplifier.
    """
    rows = np.asarray(frame.statistics_rows(image.shape))
    for amplifier in image.amplifiers:
        place = frame.recipe.region_of(amplifier)
        pixels = sample[(rows >= place.y0) & (rows < place.y1), place.x0 : place.x1]
        if min(pixels.shape) >= COARSE_BOXES:
            level = [levels[amplifier.name]] if amplifier.name in levels else []
            yield {"amplifier": amplifier.name, **frame_statistics(pixels, level).to_record()}


def _native_values(image):
    """Return a copy of an image in the byte order of the machine."""
    return image.astype(image.dtype.newbyteorder("="))
