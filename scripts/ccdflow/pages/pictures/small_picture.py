"""Small grey pictures of frames: PNG files that contain their key, unit and scale.

The grey of a pixel is asinh((value - centre) / scale), rounded to equal steps. It shows both the
noise of the sky and bright stars, and a page can convert it to a linear scale. The text chunk of
the file has the key of the frame, by which a run knows whether the picture is current.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from isal.isal_zlib import crc32

_FIELDS = ("key", "unit", "centre", "scale", "low", "high", "zscale", "rows")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"ccdflow\0"
# Step of the greys as a fraction of the noise. Chosen: finer steps only store noise, which cannot
# be compressed.
_STEP_OF_NOISE = 0.125
# Centre and scale are measured from this many sampled values to fewer than twice as many, and from
# all of a smaller image.
_SAMPLE_VALUES = 2000
# The zscale algorithm fits its line to this many sorted values to fewer than twice as many, and to
# all of fewer.
_ZSCALE_SAMPLE = 400
# Contrast of zscale: IRAF's default.
_CONTRAST = 0.25
# The noise from pixel to pixel is measured from this many rows to fewer than twice as many, or from
# all of fewer.
_NOISE_ROWS = 16


@dataclass(frozen=True)
class PictureValues:
    """The key, unit, scale and size of a small picture.

    Attributes
    ----------
    key : str
        Key of the frame that the picture shows.
    unit : str
        Unit of the values.
    centre, scale : float
        The value at the zero of the asinh scale, and the difference of values that is its unit.
    low, high : float
        asinh of the values that are black and white.
    zscale : (float, float)
        Lower and upper end of the linear scale by IRAF's zscale.
    rows : int or None
        Rows that were read of each square of the frame's pixels, which is one pixel of the picture;
        None if the file does not have the number.
    width, height : int
        Pixels of the picture.
    """

    key: str
    unit: str = "adu"
    centre: float = 0.0
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    zscale: tuple[float, float] = (0.0, 1.0)
    rows: int | None = None
    width: int = field(default=0, compare=False)
    height: int = field(default=0, compare=False)


def draw_small_picture(image, *, key, unit="adu", rows=None):
    """Return the small picture of a frame.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
        The first row is drawn at the bottom. NaN is transparent.
    key : str
        Key of the frame.
    unit : str, optional
        Unit of the values.
    rows : int, optional
        Rows that were read of each square of the frame's pixels; as of `PictureValues`.

    Returns
    -------
    bytes
        A PNG.
    """
    centre, scale, zscale = _centre_scale_and_limits(image)
    with np.errstate(invalid="ignore", over="ignore"):
        values = _asinh(image, centre, scale)
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    is_finite = None if math.isfinite(high - low) else np.isfinite(values)
    if is_finite is not None:
        finite_values = values[is_finite]
        low, high = (
            (float(finite_values.min()), float(finite_values.max()))
            if finite_values.size
            else (0.0, 1.0)
        )
    high = max(high, low + _STEP_OF_NOISE)
    # A byte has 256 values: 0 is transparent, and 1 is the darkest grey.
    steps = min(254, math.ceil((high - low) / (_STEP_OF_NOISE * _relative_noise(image, scale))))
    values -= np.float32(low)
    values *= np.float32(steps / (high - low))
    # The darkest grey is 1, and half a step more rounds the values, which become whole numbers
    # below.
    values += np.float32(1.5)
    if is_finite is not None:
        values[~is_finite] = 0
    # Each line begins with the number of its PNG filter: 0 is none.
    lines = np.zeros((image.shape[0], image.shape[1] + 1), np.uint8)
    lines[:, 1:] = values[::-1]
    rounded = [float(f"{value:.6g}") for value in (centre, scale, low, high, *zscale)]
    picture_values = PictureValues(key, unit, *rounded[:4], (rounded[4], rounded[5]), rows)
    return _png_bytes(
        lines.tobytes().translate(_greys_of_steps(steps)), image.shape, picture_values
    )


def _relative_noise(image, scale):
    """Return the noise from pixel to pixel over the scale, from 1e-3 to 1.

    In the spectrum of a lamp the scale is that of the light of the lamp: steps of its size would be
    seen as bands.
    """
    rows = image[:: max(1, image.shape[0] // _NOISE_ROWS)]
    differences = np.abs(np.diff(rows, axis=1)).ravel()
    differences = differences[np.isfinite(differences)]
    if not differences.size:
        return 1.0
    # The median of |a - b| of two values of the same noise is 0.954 of it.
    noise = float(np.partition(differences, differences.size // 2)[differences.size // 2]) / 0.954
    return min(1.0, max(noise / scale, 1e-3))


def _asinh(image, centre, scale):
    """Return asinh((image - centre) / scale), float32, in a third of the time of numpy's asinh."""
    values = image - np.float32(centre)
    values *= np.float32(1 / scale)
    size = np.abs(values)
    square = size * size
    square += 1
    root = np.sqrt(square, out=square)
    root += size
    logarithm = np.log(root, out=root)
    return np.copysign(logarithm, values, out=logarithm)


# There are at most 254 numbers of steps, with a table of 256 bytes each.
@lru_cache(maxsize=256)
def _greys_of_steps(steps):
    """Return a table with the grey of each step: 1 is the darkest, 0 is transparent."""
    # Steps become greys from 1 to 255.
    greys = np.rint(np.arange(-1, 255) * np.float32(254 / steps)).clip(-1, 254) + 1
    return greys.astype(np.uint8).tobytes()


def _centre_scale_and_limits(image):
    """Return the centre, the scale and the limits of zscale of an image, from a sample."""
    values = image.ravel()
    sample = np.sort(values[:: max(1, values.size // _SAMPLE_VALUES)])
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0, (0.0, 1.0)
    # Three quantiles: of normal values the median, and one standard deviation to each side. Stars
    # hardly change them.
    low, centre, high = (float(sample[int(part * (sample.size - 1))]) for part in (0.16, 0.5, 0.84))
    # The least scale is for a frame without noise.
    scale = max((high - low) / 2, 1e-6 * abs(centre), 1e-6)
    return centre, scale, _zscale(sample[:: max(1, sample.size // _ZSCALE_SAMPLE)], centre)


def _zscale(values, middle):
    """Return the limits of IRAF's zscale for sorted values, by the slope about their median."""
    powers = _powers_of_places(values.size).copy()
    x, y = powers[1], values - middle
    powers[2], powers[4], powers[5] = y, x * y, y * y
    weights, slope, n_last = powers[0], 0.0, 0.0
    # IRAF also fits at most 5 times, and to at least 5 values and half of all.
    for _ in range(5):
        count, x1, y1, x2, xy, y2 = (powers @ weights).tolist()
        if count < max(5, values.size // 2):
            return float(values[0]), float(values[-1])
        if count == n_last:
            break
        slope, n_last = (xy - x1 * y1 / count) / (x2 - x1 * x1 / count), count
        # The variance of the values about the line; their mean deviation from it is 0.
        variance = (y2 - y1 * y1 / count - slope * (xy - x1 * y1 / count)) / count
        residuals = y - slope * x
        residuals -= (y1 - slope * x1) / count
        # 2.5 is IRAF's KREJ.
        weights = (np.abs(residuals) <= 2.5 * math.sqrt(max(0.0, variance))).astype(float)
    reach = slope / _CONTRAST * (values.size - 1) / 2
    low, high = max(float(values[0]), middle - reach), min(float(values[-1]), middle + reach)
    return (low, high) if high > low else (float(values[0]), float(values[-1]))


# Pictures of one size have samples of one size, fewer than twice `_ZSCALE_SAMPLE`: 5 kB for each
# 100 values. A camera has a few sizes of frames.
@lru_cache(maxsize=8)
def _powers_of_places(size):
    """Return 1, x, 0, x^2, 0 and 0 for the positions x of values about their middle, (6, size)."""
    x = np.arange(size) - (size - 1) / 2
    return np.stack([np.ones_like(x), x, 0 * x, x * x, 0 * x, 0 * x])


def _png_bytes(lines, shape, picture_values):
    """Return the bytes of a grey PNG, with a text chunk of its `PictureValues`.

    The lines are not compressed: noise shrinks only to 70 %, and in the job of a frame compression
    would take longer than all else.
    """
    height, width = shape
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    fields = {name: getattr(picture_values, name) for name in _FIELDS}
    text = _KEYWORD + json.dumps(fields, separators=(",", ":")).encode("ascii")
    contents_of_chunks = (
        (b"IHDR", head),
        (b"tEXt", text),
        (b"tRNS", b"\0\0"),
        (b"IDAT", zlib.compress(lines, 0)),
        (b"IEND", b""),
    )
    return _PNG_SIGNATURE + b"".join(
        len(data).to_bytes(4, "big") + kind + data + crc32(kind + data).to_bytes(4, "big")
        for kind, data in contents_of_chunks
    )


def read_picture_values(content):
    """Return the `PictureValues` of a small picture; None for another or a damaged file.

    Parameters
    ----------
    content : bytes
        Content of the file.

    Returns
    -------
    PictureValues or None
    """
    parts = dict(chunks(content))
    if not content.startswith(_PNG_SIGNATURE) or b"IEND" not in parts:
        return None
    text, head = parts.get(b"tEXt", b""), parts[b"IHDR"]
    if not text.startswith(_KEYWORD):
        return None
    values = json.loads(text.removeprefix(_KEYWORD))
    size = {"width": int.from_bytes(head[:4], "big"), "height": int.from_bytes(head[4:8], "big")}
    # Older results: their pictures have no ``rows``, and the default of `PictureValues` is None.
    return PictureValues(**{**values, "zscale": tuple(values["zscale"]), **size})


def chunks(content):
    """Yield the kind and data of each chunk of a PNG, up to the first damaged one."""
    place = len(_PNG_SIGNATURE)
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        body, checksum = (
            content[place + 4 : place + 8 + size],
            content[place + 8 + size : place + 12 + size],
        )
        if len(checksum) < 4 or crc32(body) != int.from_bytes(checksum, "big"):
            return
        yield body[:4], body[4:]
        place += 12 + size
