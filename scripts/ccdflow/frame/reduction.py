"""Overscan subtraction and trimming: arrays in, arrays out.

The arithmetic is that of `ccdproc.subtract_overscan` and `ccdproc.trim_image`: the tests compare
the results bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow import mask_bits
from ccdflow.camera.sections import Region
from ccdflow.files.thread_buffers import thread_buffer
from ccdflow.frame import overscan, pixels, strip_samples
from ccdflow.frame.checks import flaws, subtraction_checks
from ccdflow.frame.converter_end import ConverterEnd, FullPixels, top_of_converter
from ccdflow.frame.products import product_images
from ccdflow.frame.saturated_lines import regions_without_level

PIXELS_VERSION = 1
"""Increase it when a change alters any pixel of a product: all frames are then reduced and combined
again. tests/combine/test_combined_biases.py compares it with known pixels."""

HEADER_VERSION = 7
"""Increase it when a change alters a product's cards and no pixel: an existing frame keeps its
header until the user requests a new one (`-R reduce`), and a run reports the number of such
frames."""


@dataclass(frozen=True)
class Image:
    """One image of a product.

    Attributes
    ----------
    data : numpy.ndarray of shape (ny, nx), float32 or float64
        Adu, big-endian; a view of a buffer that this thread reuses.
    datasum : int
        DATASUM of ``data``.
    mask : numpy.ndarray of shape (ny, nx), uint8, or None
        Bits of `ccdflow.mask_bits`; 0 is a good pixel; None if no mask is made.
    """

    data: np.ndarray
    datasum: int
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Reduced:
    """A reduced frame.

    Attributes
    ----------
    images : tuple of Image
        In the order of `ccdflow.frame.products.product_images`.
    overscans : dict of str to ccdflow.frame.overscan.Overscan or None
        By amplifier; None where no overscan is subtracted.
    flags : dict of str to str
        By amplifier, 'saturated' or 'dead', see `ccdflow.frame.checks.flaws.flag_of`; only for
        amplifiers without signal.
    row_noises : dict of str to ccdflow.frame.checks.subtraction_checks.RowNoise
        By amplifier, the effect of the overscan subtraction on the noise that a row shares.
    warnings : tuple of (str, str)
        Kind and text of each warning.
    without_level : dict of str to tuple of ccdflow.camera.sections.Region
        By amplifier, the regions of the product's image whose overscan is saturated; only for
        amplifiers with such regions.
    converters : dict of str to ccdflow.frame.converter_end.ConverterEnd
        By amplifier; only for amplifiers whose end is known.
    """

    images: tuple[Image, ...]
    overscans: dict[str, overscan.Overscan | None]
    flags: dict[str, str]
    row_noises: dict[str, subtraction_checks.RowNoise] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    without_level: dict[str, tuple[Region, ...]] = field(default_factory=dict)
    converters: dict[str, ConverterEnd] = field(default_factory=dict)


def reduce_frame(stored, geometry, recipe, *, tops=None):
    """Subtract the overscan of a frame and trim it.

    Parameters
    ----------
    stored : dict of int to (numpy.ndarray of shape (ny, nx), int)
        For each HDU of an amplifier, the stored pixels, of any integer or float type, and the
        offset to add, as `ccdflow.files.decoding.stored_pixels` returns them. Not changed.
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    tops : dict of int to (float or None), optional
        For HDUs whose integers were scaled to floats, the highest value that a pixel can have.

    Returns
    -------
    Reduced
        Its arrays are views of buffers that this thread reuses for its next frame.

    Raises
    ------
    FrameError
        If the overscan has no finite value for a row or column, or too few for the model, or if an
        amplifier has no finite value.

    Examples
    --------
    Two rows of two science pixels, and an overscan of two columns at their right:

    >>> import numpy as np
    >>> from ccdflow.camera.geometry import Amplifier, Geometry
    >>> from ccdflow.camera.reduction_recipe import ReductionRecipe
    >>> from ccdflow.camera.sections import Region
    >>> science, overscan = Region(0, 2, 0, 2), Region(0, 2, 2, 4)
    >>> amplifier = Amplifier("A", 0, science, (overscan,), along="rows", place=science)
    >>> geometry = Geometry(
    ...     "tiny", (2, 2), (amplifier,), "image", "profile", raw_shapes=((0, (2, 4)),)
    ... )
    >>> raw = np.array([[10, 12, 4, 4], [20, 22, 5, 5]], dtype=">i2")
    >>> reduced = reduce_frame({0: (raw, 0)}, geometry, ReductionRecipe())
    >>> print(reduced.images[0].data)
    [[ 6.  8.]
     [15. 17.]]
    """
    overscans, amplifier_flags, samples, not_finite = {}, {}, {}, {}
    for amplifier in geometry.amplifiers:
        values, offset = stored[amplifier.hdu]
        overscans[amplifier.name], sample = _measure_amplifier(values, offset, amplifier, recipe)
        if sample is not None:
            samples[amplifier.name] = sample
        not_finite[amplifier.name] = flaws.count_not_finite(values[amplifier.data.slices])
        sampled_pixels = values[flaws.sampling_slices(amplifier.data)]
        flag = flaws.flag_of(sampled_pixels, offset, amplifier)
        if flag:
            amplifier_flags[amplifier.name] = flag
    without_level = parts_without_level(
        geometry.amplifiers, recipe, overscans, samples, amplifier_flags
    )
    full_pixels = {}
    for amplifier in geometry.amplifiers:
        values, offset = stored[amplifier.hdu]
        top = (tops or {}).get(amplifier.hdu) or top_of_converter(values.dtype, offset)
        full_pixels[amplifier.name] = FullPixels(amplifier, top)
    images = tuple(
        _make_image(stored, product_image, overscans, recipe, without_level, full_pixels)
        for product_image in product_images(geometry, recipe)
    )
    row_noises, warnings = subtraction_checks.judge_subtraction(
        samples, geometry.amplifiers, recipe
    )
    warnings = [*warnings, *flaws.not_finite_warnings(not_finite, geometry.amplifiers)]
    converters = ends_of_converters(full_pixels, recipe, overscans)
    return Reduced(
        images, overscans, amplifier_flags, row_noises, tuple(warnings), without_level, converters
    )


def ends_of_converters(full_pixels, recipe, overscans):
    """Return the ends of the converters of a frame, by amplifier.

    Parameters
    ----------
    full_pixels : dict of str to ccdflow.frame.converter_end.FullPixels
        Pixels at the end of each amplifier's converter, by the name of the amplifier.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        Settings of the frame's reduction.
    overscans : dict of str to ccdflow.frame.overscan.Overscan or None
        Overscan of each amplifier by its name; None where none is subtracted.

    Returns
    -------
    dict of str to ccdflow.frame.converter_end.ConverterEnd
        Only for amplifiers whose end is known.
    """
    ends = {}
    for name, pixels_at_end in full_pixels.items():
        # A star that runs into the overscan of some rows would shift the mean of the levels.
        level = None if overscans[name] is None else float(np.median(overscans[name].levels))
        end = pixels_at_end.converter_end(recipe, level)
        if end is not None:
            ends[name] = end
    return ends


def parts_without_level(amplifiers, recipe, overscans, samples, flags):
    """Return the regions of a product whose overscan is saturated, by the amplifier's name.

    Parameters
    ----------
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    overscans : dict of str to ccdflow.frame.overscan.Overscan or None
    samples : dict of str to ccdflow.frame.strip_samples.Sample
        Samples of the amplifiers with an overscan.
    flags : dict of str to str
        Flags of the amplifiers without signal, which have no such regions.

    Returns
    -------
    dict of str to tuple of ccdflow.camera.sections.Region
        Only for amplifiers with such regions.
    """
    parts = {
        a.name: regions_without_level(overscans[a.name], a, recipe, samples[a.name].top)
        for a in amplifiers
        if a.name not in flags and a.name in samples and samples[a.name].n_full_lines
    }
    return {name: regions for name, regions in parts.items() if regions}


def _measure_amplifier(stored, offset, amplifier, recipe):
    """Return the `Overscan` of an amplifier and its `Sample`; both None if nothing is subtracted.

    Parameters
    ----------
    stored : numpy.ndarray of shape (ny, nx)
        Raw pixels, in the type of the file.
    offset : int
        To be added to the pixels.
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    """
    if not recipe.subtract or not amplifier.overscan:
        return None, None
    strips = [pixels.native_values(stored[strip.slices], offset) for strip in amplifier.overscan]
    measured_overscan = overscan.measure_overscan(strips, amplifier, recipe)
    lines = pixels.native_values(
        stored[strip_samples.sampled_lines(amplifier.data, amplifier.along)], offset
    )
    sample = strip_samples.sample_of_amplifier(lines, strips, measured_overscan, amplifier)
    return measured_overscan, sample


def _make_image(stored, product_image, overscans, recipe, without_level, full_pixels):
    """Return an image of the product from its amplifiers' reduced pixels.

    Parameters
    ----------
    stored : dict of int to (numpy.ndarray, int)
        See `reduce_frame`.
    product_image : ccdflow.frame.products.ProductImage
    overscans : dict of str to ccdflow.frame.overscan.Overscan or None
        By amplifier, see `_measure_amplifier`.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    without_level : dict of str to tuple of ccdflow.camera.sections.Region
        By amplifier, regions of the image whose overscan gives no level.
    full_pixels : dict of str to ccdflow.frame.converter_end.FullPixels
        By amplifier; the pixels at the end of the converter are added to them.
    """
    dtype = np.dtype(recipe.dtype)
    ny, nx = product_image.shape
    buffer = thread_buffer(("image", product_image.hdu), ny * nx * dtype.itemsize)
    pixels_of_image = np.frombuffer(buffer, dtype=dtype).reshape(product_image.shape)
    mask = np.full(product_image.shape, mask_bits.NO_DATA, dtype=np.uint8) if recipe.mask else None
    if not recipe.trim:
        _subtract_untrimmed(
            stored[product_image.raw_hdu], product_image.amplifiers, overscans, pixels_of_image
        )
    elif sum(amplifier.place.size for amplifier in product_image.amplifiers) < pixels_of_image.size:
        pixels_of_image[...] = np.nan
    for amplifier in product_image.amplifiers:
        hdu_values, offset = stored[amplifier.hdu]
        values = hdu_values[amplifier.data.slices]
        place = recipe.region_of(amplifier).slices
        target = pixels_of_image[place]
        if recipe.trim:
            target = _turned_view(target, amplifier)
            levels = _levels_to_subtract(overscans[amplifier.name], amplifier.along)
            pixels.subtract_blocks(values, offset, levels, target)
        full_pixels[amplifier.name].add(values, offset, target)
        if mask is not None:
            part = _turned_view(mask[place], amplifier) if recipe.trim else mask[place]
            part[...] = flaws.mask_of_amplifier(values, offset, amplifier)
            for region in without_level.get(amplifier.name, ()):
                mask[region.slices] |= mask_bits.NO_DATA
    datasum = pixels.swap_and_sum(pixels_of_image)
    return Image(pixels_of_image.view(dtype.newbyteorder(">")), datasum, mask)


def _subtract_untrimmed(raw, amplifiers, overscans, out):
    """Fill an image that is not trimmed; pixels without a level keep their raw values.

    Parameters
    ----------
    raw : (numpy.ndarray of shape (ny, nx), int)
        Raw pixels in the type of the file, and the offset to add.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier
    overscans : dict of str to ccdflow.frame.overscan.Overscan or None
        By amplifier; None where no overscan is subtracted.
    out : numpy.ndarray of shape (ny, nx), float32 or float64
        Filled in place.
    """
    values, offset = raw
    pixels.subtract_blocks(values, offset, None, out)
    for amplifier in amplifiers:
        levels = _levels_to_subtract(overscans[amplifier.name], amplifier.along)
        if levels is None:
            continue
        regions = [amplifier.data, *amplifier.overscan]
        if len(amplifiers) == 1:
            regions = [_levelled_region(amplifier, values.shape)]
        for region in regions:
            pixels.subtract_blocks(values[region.slices], offset, levels, out[region.slices])


def _levelled_region(amplifier, shape):
    """Return the region of the frame to which the levels of a single amplifier apply."""
    data, (ny, nx) = amplifier.data, shape
    if amplifier.along == "rows":
        return Region(data.y0, data.y1, 0, nx)
    if amplifier.along == "columns":
        return Region(0, ny, data.x0, data.x1)
    return Region(0, ny, 0, nx)


def _turned_view(part, amplifier):
    """Return a view of an amplifier's place in the image, in the orientation of its raw pixels."""
    return part[:: -1 if amplifier.is_flipped_y else 1, :: -1 if amplifier.is_flipped_x else 1]


def _levels_to_subtract(overscan_of_amplifier, along):
    """Return levels in a shape that can be subtracted from (ny, nx) pixels; None without levels."""
    if overscan_of_amplifier is None:
        return None
    return overscan_of_amplifier.levels.reshape((-1, 1) if along == "rows" else (1, -1))
