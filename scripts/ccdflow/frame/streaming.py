"""Reduction of frames while they are inflated: by blocks of rows, never whole in memory.

A block is inflated, reduced and written while it is in the processor's cache; no array of a frame's
size is held. The arithmetic is that of `reduction` and gives the same bytes; the tests compare the
two. `reduction` itself reduces the frames that `can_stream` refuses: untrimmed ones, and those of
several HDUs, levels of columns, models, flips, masks, or compressed tiles, among others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.files import checksum, decoding, fits_structure
from ccdflow.files.thread_buffers import thread_buffer
from ccdflow.frame import overscan, pixels, strip_samples
from ccdflow.frame.checks import flaws, subtraction_checks
from ccdflow.frame.converter_end import ConverterEnd, FullPixels, top_of_converter
from ccdflow.frame.float_pixels import FloatPixels
from ccdflow.frame.overscan import Overscan
from ccdflow.frame.reduction import Image, Reduced, ends_of_converters, parts_without_level

BLOCK_PIXELS = 1 << 18
"""Pixels of a block: 126 rows of the LFC. With half as many, calls take 3 ms more for a frame; four
times as many do not fit into the processor's cache."""


@dataclass(frozen=True)
class Streamed:
    """A reduced frame whose pixels have been written to its file.

    Attributes
    ----------
    reduced : ccdflow.frame.reduction.Reduced
        Its image has shape, type and DATASUM, but only a placeholder for the pixels.
    sample : numpy.ndarray of shape (k, nx), float32 or float64, native byte order
        Some rows of the product, as selected by `ccdflow.combine.row_sample.sampled_rows`.
    """

    reduced: Reduced
    sample: np.ndarray


def can_stream(layout, geometry, recipe):
    """Return whether a frame can be reduced by blocks of rows.

    Parameters
    ----------
    layout : ccdflow.files.fits_structure.RawLayout
        HDUs of the raw file.
    geometry : ccdflow.camera.geometry.Geometry
        Geometry of the frame.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        Settings of its reduction.

    Returns
    -------
    bool
    """
    amplifiers = geometry.amplifiers
    hdus = {amplifier.hdu for amplifier in amplifiers}
    if len(hdus) != 1 or recipe.mask or not recipe.trim or geometry.layout != "image":
        return False
    if recipe.model is not None or not decoding.is_plain(layout.hdus[amplifiers[0].hdu]):
        return False
    ny, nx = geometry.shape
    fills_image = sum(amplifier.place.size for amplifier in amplifiers) == ny * nx
    # Each row of the raw frame is a row of the image, the same one in all amplifiers.
    row_shifts = {amplifier.data.y0 - amplifier.place.y0 for amplifier in amplifiers}
    has_whole_rows = all(amplifier.data.shape[0] == ny for amplifier in amplifiers)
    has_streamable_amplifiers = all(map(_is_streamable, amplifiers))
    return fills_image and has_streamable_amplifiers and has_whole_rows and len(row_shifts) == 1


def _is_streamable(amplifier):
    """Return whether an amplifier has levels of rows or none, strips beside the data, no flip."""
    are_strips_beside = all(
        (strip.y0, strip.y1) == (amplifier.data.y0, amplifier.data.y1)
        for strip in amplifier.overscan
    )
    is_flipped = amplifier.is_flipped_x or amplifier.is_flipped_y
    return amplifier.along in ("rows", "none") and are_strips_beside and not is_flipped


def predicted_frame(geometry, recipe, top=None):
    """Return a frame without figures whose header is as long as that of the reduced frame.

    Parameters
    ----------
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        `can_stream` is true of geometry and recipe.
    top : float, optional
        Raw value at the end of the converter, adu; None if it is not known.

    Returns
    -------
    ccdflow.frame.reduction.Reduced
        Levels and noises are 0.
    """
    no_levels = np.zeros(0)
    overscans = {
        a.name: Overscan(no_levels, 0.0, 0.0, no_levels)
        if _is_level_subtracted(a, recipe)
        else None
        for a in geometry.amplifiers
    }
    ends = {} if top is None else {a.name: ConverterEnd(top) for a in geometry.amplifiers}
    return Reduced((_image_without_pixels(geometry, recipe, 0),), overscans, {}, converters=ends)


def _is_level_subtracted(amplifier, recipe):
    """Return whether a level is subtracted from each row of an amplifier."""
    return bool(recipe.subtract and amplifier.overscan and amplifier.along == "rows")


def _image_without_pixels(geometry, recipe, datasum):
    """Return an image of the product's shape and type, with a placeholder for the pixels."""
    dtype = np.dtype(recipe.dtype).newbyteorder(">")
    return Image(np.broadcast_to(np.zeros((), dtype), geometry.shape), datasum)


def stream_frame(rows, writer, geometry, recipe, *, sample_rows=(), small_image=None):
    """Reduce a frame by blocks of rows, and write them to its file.

    Parameters
    ----------
    rows : ccdflow.files.row_files.RowStream
    writer : ccdflow.files.row_files.RowWriter
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        `can_stream` is true of geometry and recipe.
    sample_rows : sequence of int, optional
        Rows of the product that are sampled for statistics, in order.
    small_image : ccdflow.frame.small_images.SmallImage, optional
        All rows of the product are added to it.

    Returns
    -------
    Streamed

    Raises
    ------
    FrameError
        If the raw file is damaged, the overscan of a row or a whole amplifier has no finite value,
        or the frame was reduced already (`ccdflow.frame.float_pixels`).
    """
    reduction = _FrameReduction(rows, geometry, recipe, sample_rows, small_image)
    size = max(1, BLOCK_PIXELS // rows.shape[1])
    for first, stored in rows.blocks(size):
        block = reduction.reduce(first, stored)
        if block is not None:
            writer.write(block)
    writer.write(b"\0" * (-reduction.bytes_written % fits_structure.FITS_BLOCK_BYTES))
    return reduction.result()


class _FrameReduction:
    """The reduction of a frame by blocks, with the values that are collected block by block.

    Parameters
    ----------
    rows, geometry, recipe, sample_rows, small_image
        See `stream_frame`.

    Attributes
    ----------
    bytes_written : int
        Bytes of reduced pixels so far.
    """

    def __init__(self, rows, geometry, recipe, sample_rows, small_image):
        self._offset = rows.offset
        self._dtype = rows.dtype
        self._geometry = geometry
        self._recipe = recipe
        self._out_dtype = np.dtype(recipe.dtype)
        self._datasum = 0
        self.bytes_written = 0
        self._data = geometry.amplifiers[0].data
        self._strips = {a.name: [] for a in geometry.amplifiers}
        self._levels = {a.name: [] for a in geometry.amplifiers}
        self._flag_samples = {a.name: [] for a in geometry.amplifiers}
        self._lines = {a.name: [] for a in geometry.amplifiers}
        self._n_not_finite = dict.fromkeys(self._flag_samples, 0)
        top = top_of_converter(self._dtype, self._offset)
        self._full_pixels = {a.name: FullPixels(a, top) for a in geometry.amplifiers}
        self._sample_rows = np.asarray(sample_rows, dtype=int)
        self._sampled_blocks = []
        self._small_image = small_image
        # A median of whole numbers is a whole number or a half, and always finite.
        self._has_simple_levels = (
            self._dtype.kind in "iu" and self._dtype.itemsize <= 2 and recipe.statistic == "median"
        )
        self._sampling_slices = {
            a.name: (
                *strip_samples.sampled_lines(a.data, "rows"),
                *flaws.sampling_slices(a.data),
            )
            for a in geometry.amplifiers
        }
        self._float_pixels = FloatPixels(counts_negatives=not recipe.raw)

    def reduce(self, first, stored):
        """Reduce a block of raw rows; return the bytes of its product rows, or None without one."""
        start, stop = max(first, self._data.y0), min(first + len(stored), self._data.y1)
        if start >= stop:
            return None
        stored = stored[start - first : stop - first]
        self._float_pixels.add(stored)
        shape = (stop - start, self._geometry.shape[1])
        size = shape[0] * shape[1] * self._out_dtype.itemsize
        buffer = thread_buffer("product rows", size)
        out = np.frombuffer(buffer, dtype=self._out_dtype).reshape(shape)
        for amplifier in self._geometry.amplifiers:
            self._reduce_amplifier(amplifier, start, stored, out)
        row = start - self._data.y0
        rows_in_block = self._sample_rows[
            (self._sample_rows >= row) & (self._sample_rows < row + shape[0])
        ]
        if rows_in_block.size:
            self._sampled_blocks.append(out[rows_in_block - row])
        if self._small_image is not None:
            self._small_image.add(row, out)
        self._datasum = checksum.fits_sum_of(self._datasum, pixels.swap_and_sum(out))
        self.bytes_written += size
        return buffer

    def _reduce_amplifier(self, amplifier, start, stored, out):
        """Reduce rows of an amplifier, and keep the values on which the frame is judged.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier
        start : int
            The first of the rows, in the raw frame.
        stored : numpy.ndarray of shape (k, nx)
            Raw pixels of the rows, in the type of the file.
        out : numpy.ndarray of shape (k, nx of the product), float32 or float64
            The reduced rows, filled in place.
        """
        data, place, name = amplifier.data, amplifier.place, amplifier.name
        rows, columns, *flag_slices = self._sampling_slices[name]
        level = None
        if _is_level_subtracted(amplifier, self._recipe):
            strips = [
                pixels.native_values(stored[:, strip.x0 : strip.x1], self._offset)
                for strip in amplifier.overscan
            ]
            levels = overscan.levels_along(strips, "rows", self._recipe)
            if not self._has_simple_levels:
                overscan.check_levels(levels, amplifier)
            # Values of one byte may be views of the buffer, which the next block overwrites.
            self._strips[name].append([
                strip.copy() if np.may_share_memory(strip, stored) else strip for strip in strips
            ])  # fmt: skip
            self._levels[name].append(levels)
            level = levels.reshape(-1, 1)
        values, target = stored[:, data.x0 : data.x1], out[:, place.x0 : place.x1]
        is_exact = self._has_simple_levels or pixels.is_subtraction_exact(self._dtype, level)
        pixels.subtract_level(values, self._offset, level, target, is_exact=is_exact)
        self._full_pixels[name].add(values, self._offset, target, start - data.y0)
        if level is not None and rows.start < start + len(stored) and rows.stop > start:
            rows_sampled = slice(max(0, rows.start - start), rows.stop - start)
            self._lines[name].append(stored[rows_sampled, columns].copy())
        self._n_not_finite[name] += flaws.count_not_finite(values)
        flag_rows, flag_columns = flag_slices
        first = -(start - data.y0) % flag_rows.step
        self._flag_samples[name].append(stored[first :: flag_rows.step, flag_columns].copy())

    def result(self):
        """Return the reduced frame and its sample, after all blocks are reduced."""
        self._float_pixels.check()
        overscans, amplifier_flags, samples = {}, {}, {}
        for amplifier in self._geometry.amplifiers:
            name = amplifier.name
            overscans[name] = None
            if self._levels[name]:
                levels = np.concatenate(self._levels[name])
                strips = [np.concatenate(parts) for parts in zip(*self._strips[name], strict=True)]
                noise = overscan.noise_about_levels(strips, "rows")
                top = flaws.saturation_of(strips[0].dtype, 0, amplifier)
                level = overscan.mean_level(levels, levels, top)
                overscans[name] = Overscan(levels, level, noise, levels)
                lines = pixels.native_values(np.concatenate(self._lines[name]), self._offset)
                samples[name] = strip_samples.sample_of_amplifier(
                    lines, strips, overscans[name], amplifier
                )
            flag_sample = np.concatenate(self._flag_samples[name])
            flag = flaws.flag_of(flag_sample, self._offset, amplifier)
            if flag:
                amplifier_flags[name] = flag
        image = _image_without_pixels(self._geometry, self._recipe, self._datasum)
        sample = np.zeros((0, 0), self._out_dtype)
        if self._sampled_blocks:
            sample = np.concatenate(self._sampled_blocks)
        row_noises, warnings = subtraction_checks.judge_subtraction(
            samples, self._geometry.amplifiers, self._recipe
        )
        warnings = [
            *warnings, *flaws.not_finite_warnings(self._n_not_finite, self._geometry.amplifiers)
        ]  # fmt: skip
        without_level = parts_without_level(
            self._geometry.amplifiers, self._recipe, overscans, samples, amplifier_flags
        )
        converters = ends_of_converters(self._full_pixels, self._recipe, overscans)
        reduced = Reduced(
            (image,),
            overscans,
            amplifier_flags,
            row_noises,
            tuple(warnings),
            without_level,
            converters,
        )
        return Streamed(reduced, sample)
