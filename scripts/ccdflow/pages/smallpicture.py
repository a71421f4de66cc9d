"""Small pictures of frames: PNG files that say what they show, and how bright it is.

The grey of a pixel is asinh((value - centre) / scale), cut into equal steps: noise about the sky
and stars of any brightness are seen at once, and a page makes linear scales of it. The
text of the file has the key of the frame, so that a file is known to be of this frame or of another
state of it.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import asdict, dataclass, field

import numpy as np
from isal import isal_zlib

_HEAD = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"ccdflow\0"
# Of the noise; steps that are finer only make noise that cannot be packed.
_FINEST = 0.125
# Values of the sorted sample that limits are taken from.
_SAMPLE = 4000
_ZSCALE_SAMPLE = 600
_CONTRAST = 0.25


@dataclass(frozen=True)
class Shown:
    """What a small picture shows.

    Attributes
    ----------
    key : str
        Of the frame that it was made of.
    unit : str
        Unit of the values.
    centre, scale : float
        The value that lies at 0, and the unit of length, of the asinh scale.
    low, high : float
        asinh of the values that are drawn black and white.
    zscale : (float, float)
        Values between which the linear scale of IRAF's zscale goes.
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
    width: int = field(default=0, compare=False)
    height: int = field(default=0, compare=False)


def small_picture(image, *, key, unit="adu"):
    """Draw a small image.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx), float32; the first row is drawn at the bottom. NaN is left transparent.
    key : str
        Of the frame.
    unit : str, optional
        Unit of its values.

    Returns
    -------
    bytes
        A PNG.
    """
    centre, scale, zscale = _limits(image)
    with np.errstate(invalid="ignore"):
        size = np.abs((image - np.float32(centre)) / np.float32(scale))
        values = np.copysign(np.log(size + np.sqrt(size * size + 1)), image - np.float32(centre))
    finite = np.isfinite(values)
    is_whole = finite.all()
    known = values if is_whole else values[finite]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    high = max(high, low + _FINEST)
    steps = min(254, math.ceil((high - low) / _FINEST))
    with np.errstate(invalid="ignore"):
        grey = np.rint((values - np.float32(low)) * np.float32(steps / (high - low)))
        grey = np.rint(grey * np.float32(254 / steps)) + 1
    grey = grey if is_whole else np.where(finite, grey, 0)
    lines = np.zeros((image.shape[0], image.shape[1] + 1), np.uint8)
    lines[:, 1:] = grey[::-1]
    rounded = [float(f"{value:.6g}") for value in (centre, scale, low, high, *zscale)]
    shown = Shown(key, unit, *rounded[:4], (rounded[4], rounded[5]))
    return _png(lines, shown)


def _limits(image):
    """Return centre, scale and the limits of zscale, from a sample of the values."""
    flat = image.ravel()
    sample = np.sort(flat[:: max(1, flat.size // _SAMPLE)])
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0, (0.0, 1.0)
    low, centre, high = (float(sample[int(part * (sample.size - 1))]) for part in (0.16, 0.5, 0.84))
    # Of a frame that is even, whatever is not lies far off.
    scale = max((high - low) / 2, 1e-6 * abs(centre), 1e-6)
    return centre, scale, _zscale(sample[:: max(1, sample.size // _ZSCALE_SAMPLE)], centre)


def _zscale(values, middle):
    """Return the limits of IRAF's zscale for sorted values: the slope about their median."""
    places = np.arange(values.size) - (values.size - 1) / 2
    good = np.ones(values.size, bool)
    slope = 0.0
    for _ in range(5):
        x, y = places[good], values[good] - middle
        if x.size < max(5, values.size // 2):
            return float(values[0]), float(values[-1])
        offset, x0 = y.mean(), x.mean()
        slope = float(((x - x0) * (y - offset)).sum() / ((x - x0) ** 2).sum())
        rest = values - middle - offset - slope * (places - x0)
        limit = 2.5 * rest[good].std()
        last, good = good, np.abs(rest) <= limit
        if (last == good).all():
            break
    reach = slope / _CONTRAST * (values.size - 1) / 2
    low, high = max(float(values[0]), middle - reach), min(float(values[-1]), middle + reach)
    return (low, high) if high > low else (float(values[0]), float(values[-1]))


def _png(lines, shown):
    height, width = lines.shape[0], lines.shape[1] - 1
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    own = {name: value for name, value in asdict(shown).items() if name not in ("width", "height")}
    text = _KEYWORD + json.dumps(own, separators=(",", ":")).encode("ascii")
    chunks = (
        (b"IHDR", head),
        (b"tEXt", text),
        (b"tRNS", b"\0\0"),
        (b"IDAT", isal_zlib.compress(lines.tobytes(), 1)),
        (b"IEND", b""),
    )
    return _HEAD + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in chunks
    )


def read_shown(content):
    """Return what a small picture says of itself, or None for any other or a damaged file.

    Parameters
    ----------
    content : bytes
        All of the file.

    Returns
    -------
    Shown or None
    """
    chunks = dict(_chunks(content))
    if not content.startswith(_HEAD) or b"IEND" not in chunks:
        return None
    text, head = chunks.get(b"tEXt", b""), chunks[b"IHDR"]
    if not text.startswith(_KEYWORD):
        return None
    values = json.loads(text.removeprefix(_KEYWORD))
    size = {"width": int.from_bytes(head[:4], "big"), "height": int.from_bytes(head[4:8], "big")}
    return Shown(**{**values, "zscale": tuple(values["zscale"]), **size})


def _chunks(content):
    """Yield kind and data of the chunks of a PNG, up to the first that is not whole."""
    at = len(_HEAD)
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        body, check = content[at + 4 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        if len(check) < 4 or zlib.crc32(body) != int.from_bytes(check, "big"):
            return
        yield body[:4], body[4:]
        at += 12 + size
