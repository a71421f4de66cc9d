"""Simulated raw frames of the CCD guide's camera, with the injected truth kept beside them.

A frame is built as a detector builds it: electrons (light, dark current) with Poisson noise, the
amplifier's read noise, an offset that drifts from row to row, a fixed gradient over the columns,
and digitisation to 16 bits. The overscan columns hold the same offset and read noise, and light
that leaks into those nearest to the science pixels.

Everything follows from the seed: the same parameters give the same files, byte for byte.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date as Date
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from isal import igzip

from ccdflow.errors import UserError

# Goes into truth.json: a folder made by an older simulator is not taken for one made by this one.
SIMULATOR_VERSION = 1
TRUTH_FILE = "truth.json"
TRUTH_ARRAYS = "truth.npz"

SATURATION = 65535  # adu, the converter's last step
_BLOCK_ROWS = 256  # rows rendered at once: small enough to stay in the processor's cache
_FITS_BLOCK = 2880
_MAX_FRAMES_PER_NIGHT = 2000  # one every 20 s from 01:00 to 12:07 UT
_LATITUDE, _LONGITUDE = 33.4, -116.9  # of Palomar, degrees, east positive
_JD_OF_ORDINAL_ZERO = 1721424.5  # Julian date at 0 h of the day before 0001-01-01


@dataclass(frozen=True)
class Camera:
    """A simulated camera of one amplifier.

    Parameters
    ----------
    instrument : str
        Value of the INSTRUME card.
    nx, ny : int
        Science columns and rows, in pixels.
    n_overscan : int
        Overscan columns, in pixels.
    n_leaked : int
        How many overscan columns, counted from the science pixels, hold leaked light.
    overscan_side : {'right', 'left'}
        On which side of the science pixels the overscan is.
    sound_header : bool
        Whether BIASSEC is the overscan that can be used. Where false (the LFC), it is one row
        short of the frame and includes the leaked columns.
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons (rms).
    level : float
        Bias level, in adu.
    gradient : float
        Excess of the bias level in the first science column, in adu.
    gradient_scale : float
        Distance over which that excess falls to 1/e, as a fraction of nx.
    leak, leak_fraction : float
        Light in the first overscan column: adu in every frame, and the part of the mean exposed
        signal that comes on top. Each further column holds `leak_ratio` of the one before.
    leak_ratio : float
        See `leak`.
    row_drift : float
        Row-to-row drift of the level, in adu (rms).
    dark_current : float
        Electrons per second and pixel.
    """

    instrument: str = "LFC"
    nx: int = 2048
    ny: int = 4128
    n_overscan: int = 32
    n_leaked: int = 7
    overscan_side: str = "right"
    sound_header: bool = False
    gain: float = 1.1
    read_noise: float = 11.0
    level: float = 1140.0
    gradient: float = 240.0
    gradient_scale: float = 0.045
    leak: float = 40.0
    leak_fraction: float = 0.02
    leak_ratio: float = 0.75
    row_drift: float = 2.0
    dark_current: float = 0.01

    def __post_init__(self):
        if self.overscan_side not in ("right", "left"):
            raise UserError(
                "unknown side of the overscan",
                keyword="overscan_side",
                value=self.overscan_side,
                allowed="right, left",
            )
        if min(self.nx, self.ny) < 8:
            raise UserError(
                "the simulated frame is too small",
                keyword="(ny, nx)",
                value=(self.ny, self.nx),
                allowed="at least 8 science pixels along each axis",
            )
        if not 0 <= self.n_leaked < self.n_overscan:
            raise UserError(
                "no overscan column is left without leaked light",
                keyword="n_leaked",
                value=self.n_leaked,
                allowed=f"0 to {self.n_overscan - 1}",
            )

    def scaled(self, scale):
        """Return the same camera with `scale` times the rows and columns (overscan unchanged)."""
        if not 0 < scale <= 1:
            raise UserError(
                "the scale of a simulated frame is out of range",
                keyword="scale",
                value=scale,
                allowed="above 0, up to 1",
            )
        return replace(self, nx=round(self.nx * scale), ny=round(self.ny * scale))

    @property
    def naxis1(self):
        """Columns of the raw frame."""
        return self.nx + self.n_overscan

    @property
    def read_noise_adu(self):
        """Read noise in adu, before digitisation (which adds 1/sqrt(12) adu in quadrature)."""
        return self.read_noise / self.gain

    @property
    def data_columns(self):
        """Science columns as a slice (zero-based, end exclusive)."""
        first = 0 if self.overscan_side == "right" else self.n_overscan
        return slice(first, first + self.nx)

    @property
    def overscan_columns(self):
        """All overscan columns as a slice."""
        first = self.nx if self.overscan_side == "right" else 0
        return slice(first, first + self.n_overscan)

    @property
    def leaked_columns(self):
        """Indices of the overscan columns with leaked light, nearest to the science first."""
        if self.overscan_side == "right":
            return np.arange(self.nx, self.nx + self.n_leaked)
        return np.arange(self.n_overscan - 1, self.n_overscan - 1 - self.n_leaked, -1)

    @property
    def usable_overscan_columns(self):
        """The overscan columns without leaked light, as a slice."""
        whole = self.overscan_columns
        if self.overscan_side == "right":
            return slice(whole.start + self.n_leaked, whole.stop)
        return slice(whole.start, whole.stop - self.n_leaked)

    def section(self, columns, *, rows=None):
        """Return a slice of columns as a FITS section over `rows` rows (default: all)."""
        return f"[{columns.start + 1}:{columns.stop},1:{self.ny if rows is None else rows}]"

    @property
    def biassec(self):
        """The BIASSEC card, as wrong as the camera's headers are."""
        if self.sound_header:
            return self.section(self.usable_overscan_columns)
        return self.section(self.overscan_columns, rows=self.ny - 1)


LFC = Camera()


@dataclass(frozen=True)
class Frame:
    """What the observer asked for: one line of the observing log.

    `file` is relative to the night's folder with ``/`` between folders; `exptime` in seconds;
    `start` is the UT at which the shutter opened.
    """

    file: str
    number: int
    imagetyp: str
    object: str
    filter: str
    exptime: float
    start: datetime

    @property
    def since_noon(self):
        """Mean local time of the start, counted from the last local noon: (night, hours)."""
        shifted = self.start + timedelta(hours=_LONGITUDE / 15 - 12)
        return shifted.date(), shifted.hour + shifted.minute / 60 + shifted.second / 3600


# Electrons per second and pixel from the flat-field lamp and from the night sky.
_LAMP = {"g'": 330.0, "i'": 3300.0}
_SKY = {"g'": 1.5, "i'": 5.0}
# Relative illumination towards the corners of the frame: another one in each filter.
_VIGNETTING = {"g'": 0.06, "i'": 0.04}

# number, IMAGETYP, OBJECT, FILTER, EXPTIME (s), UT
_GUIDE_FRAMES = (
    *((n, "BIAS", "bias", "i'", 0.0, f"00:{51 + n}:10") for n in range(1, 7)),
    (14, "FLATFIELD", "flat_g", "g'", 70.001, "04:17:28"),
    (15, "FLATFIELD", "flat_g", "g'", 70.011, "04:20:11"),
    (16, "FLATFIELD", "flat_g", "g'", 70.001, "04:22:54"),
    (17, "FLATFIELD", "flat_i", "i'", 7.0, "04:28:02"),
    (18, "FLATFIELD", "flat_i", "i'", 7.0, "04:29:41"),
    (19, "FLATFIELD", "flat_i", "i'", 7.0, "04:31:20"),
    (37, "OBJECT", "field_1", "g'", 300.062, "06:48:31"),
    (43, "OBJECT", "field_2", "i'", 300.014, "08:41:05"),
)
_GUIDE_DARKS = (
    (2, "BIAS", "bias", "i'", 0.0, "12:58:10"),
    (13, "DARK", "dark", "i'", 300.0, "13:08:20"),
    (14, "DARK", "dark", "i'", 300.0, "13:14:53"),
    (15, "DARK", "dark", "i'", 300.0, "13:21:26"),
    (17, "DARK", "dark", "i'", 70.0, "13:31:40"),
    (18, "DARK", "dark", "i'", 70.0, "13:34:23"),
    (19, "DARK", "dark", "i'", 70.0, "13:37:06"),
    (23, "DARK", "dark", "i'", 7.0, "13:45:12"),
    (24, "DARK", "dark", "i'", 7.0, "13:46:51"),
    (25, "DARK", "dark", "i'", 7.0, "13:48:30"),
)
_FIELDS = {"field_1": ("08:26:40.00", "+28:10:00.0"), "field_2": ("09:10:00.00", "+50:20:00.0")}


def _parse_date(text):
    try:
        return Date.fromisoformat(str(text))
    except ValueError:
        raise UserError(
            "not a date", keyword="date", value=text, allowed="YYYY-MM-DD, a UT date"
        ) from None


def guide_frames(*, date="2016-01-16", darks_date=None):
    """Return the guide's 14 frames and the 10 of its ``darks`` folder.

    Parameters
    ----------
    date, darks_date : str
        UT dates of the frames and of those in ``darks`` (default: the same date).

    Returns
    -------
    tuple of Frame
    """
    tables = (("", date, _GUIDE_FRAMES), ("darks/", darks_date or date, _GUIDE_DARKS))
    return tuple(
        Frame(
            f"{folder}ccd.{number:03d}.0.fits.gz",
            number,
            imagetyp,
            target,
            band,
            exptime,
            datetime.fromisoformat(f"{_parse_date(day)}T{ut}"),
        )
        for folder, day, table in tables
        for number, imagetyp, target, band, exptime, ut in table
    )


# ---------------------------------------------------------------------------------------------
# What is drawn: the detector's fixed properties, and those of one frame


@dataclass(frozen=True)
class Detector:
    """What is the same in every frame of a camera.

    `structure` is the bias level of each science column above that of the overscan, float64 of
    shape (nx,) in adu. `hot_pixels` is of shape (n, 3): row, column (zero-based, among the
    science pixels), dark current in electrons per second.
    """

    structure: np.ndarray
    hot_pixels: np.ndarray


@dataclass(frozen=True)
class Realisation:
    """What was drawn for one frame, but for the noise of its pixels.

    `level` is the mean of the bias level in adu; `drift` that of each row less `level`, float64
    of shape (ny,); `signal` the light in electrons in a pixel of response 1; `stars` of shape
    (n, 3): row, column (zero-based, among the science pixels) and electrons; `leak` the light in
    each leaked column in adu, nearest to the science first.
    """

    seed: tuple
    level: float
    drift: np.ndarray
    signal: float
    stars: np.ndarray
    leak: np.ndarray


def _generator(*entropy):
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


def _hash(text):
    return zlib.crc32(text.encode())


def make_detector(camera, *, seed):
    """Draw the fixed properties of a camera: gradient, column pattern, hot pixels.

    Returns
    -------
    Detector
    """
    rng = _generator(seed, _hash(camera.instrument), 1)
    x = np.arange(camera.nx)
    gradient = camera.gradient * np.exp(-x / (camera.gradient_scale * camera.nx))
    pattern = rng.normal(0.0, 0.3, camera.nx)
    count = max(1, camera.nx * camera.ny // 5000)
    hot = np.column_stack(
        [
            rng.integers(0, camera.ny, count),
            rng.integers(0, camera.nx, count),
            rng.exponential(1.0, count),
        ]
    )
    return Detector(gradient + pattern, hot)


def flat_response(camera, band, *, seed):
    """Return the relative response of each science pixel in one filter.

    Parameters
    ----------
    camera : Camera
    band : str
        The filter: ``g'`` or ``i'``. Pixel-to-pixel response (1 % rms) and dust do not depend on
        it, the illumination does.
    seed : int
        The night's seed.

    Returns
    -------
    numpy.ndarray
        float32, shape (ny, nx), about 1.
    """
    rng = _generator(seed, _hash(camera.instrument), 2)
    ny, nx = camera.ny, camera.nx
    response = rng.standard_normal((ny, nx), dtype=np.float32)
    response *= 0.01
    response += 1.0
    for _ in range(8):
        _add_dust(response, rng.uniform(0, ny), rng.uniform(0, nx), radius=max(2.0, 0.015 * nx))
    y = np.linspace(-1, 1, ny, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, nx, dtype=np.float32)[None, :]
    response *= 1 - _VIGNETTING[band] * (x**2 + y**2)
    return response


def _box(y, x, radius, shape):
    """Return the part of a square about (y, x) that lies in an array, as two slices."""
    return tuple(
        slice(max(0, int(centre - radius)), min(size, int(centre + radius) + 2))
        for centre, size in zip((y, x), shape, strict=True)
    )


def _add_dust(response, y, x, *, radius):
    """Darken a ring, the shadow of a dust grain on the window."""
    rows, columns = _box(y, x, 2 * radius, response.shape)
    distance = np.hypot(
        np.arange(rows.start, rows.stop)[:, None] - y, np.arange(columns.start, columns.stop) - x
    )
    response[rows, columns] *= 1 - 0.05 * np.exp(-(((distance - radius) / (0.3 * radius)) ** 2))


def realise(camera, frame, *, seed):
    """Draw what distinguishes one frame, but for the noise of its pixels.

    Parameters
    ----------
    camera : Camera
    frame : Frame
    seed : int
        The night's seed. With the frame's file name, its time and the camera's name it is the
        frame's own seed.

    Returns
    -------
    Realisation
    """
    own = (seed, _hash(camera.instrument), _hash(frame.file), _hash(frame.start.isoformat()))
    rng = _generator(*own, 3)
    level = _night_level(camera, frame, seed) + rng.normal(0.0, 0.3)
    walk = np.cumsum(rng.standard_normal(camera.ny))
    walk -= np.linspace(walk[0], walk[-1], camera.ny)
    drift = walk / max(walk.std(), 1e-9) + 0.3 * rng.standard_normal(camera.ny)
    drift *= camera.row_drift / drift.std()
    drift -= drift.mean()
    signal = _light(frame)
    stars = _draw_stars(camera, rng) if frame.imagetyp == "OBJECT" else np.empty((0, 3))
    leak = (camera.leak + camera.leak_fraction * signal / camera.gain) * (
        camera.leak_ratio ** np.arange(camera.n_leaked)
    )
    return Realisation(own, level, drift, signal, stars, leak)


def _night_level(camera, frame, seed):
    """Return the level at the time of a frame: another one each night, and sinking through it."""
    night, hours = frame.since_noon
    offset = _generator(seed, night.toordinal()).normal(0.0, 1.0)
    return camera.level + offset - 0.1 * hours


def _light(frame):
    """Return the electrons that lamp or sky leave in a pixel of response 1."""
    rates = {"FLATFIELD": _LAMP, "OBJECT": _SKY}
    return rates[frame.imagetyp][frame.filter] * frame.exptime if frame.imagetyp in rates else 0.0


def _draw_stars(camera, rng):
    count = max(6, round(400 * camera.nx * camera.ny / (2048 * 4128)))
    return np.column_stack(
        [
            rng.uniform(0, camera.ny - 1, count),
            rng.uniform(0, camera.nx - 1, count),
            np.minimum(3e3 * (1 + rng.pareto(0.7, count)), 5e6),
        ]
    )


# ---------------------------------------------------------------------------------------------
# Pixels


def render(camera, detector, frame, drawn, *, response=None):
    """Make the pixels of one raw frame.

    Parameters
    ----------
    camera : Camera
    detector : Detector
    frame : Frame
    drawn : Realisation
    response : numpy.ndarray, optional
        `flat_response` in the frame's filter; needed where light fell on the detector.

    Returns
    -------
    numpy.ndarray
        uint16, shape (ny, naxis1), in adu. Saturates at 65535.

    Notes
    -----
    Photon and read noise are drawn as one normal deviate of variance (electrons + read noise^2):
    the Poisson distribution is as good as normal where the sum counts, as the read noise alone
    is worth more than a hundred electrons.
    """
    offset = np.zeros(camera.naxis1, dtype=np.float32)
    offset[camera.data_columns] = detector.structure
    electrons = _electrons(camera, detector, frame, drawn, response)
    rng = _generator(*drawn.seed, 4)
    raw = np.empty((camera.ny, camera.naxis1), dtype=np.uint16)
    noise = np.empty((min(_BLOCK_ROWS, camera.ny), camera.naxis1), dtype=np.float32)
    row_level = (drawn.level + drawn.drift).astype(np.float32)
    for start in range(0, camera.ny, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, camera.ny))
        block = noise[: rows.stop - rows.start]
        rng.standard_normal(out=block, dtype=np.float32)
        if electrons is None:
            _add_leak_only(camera, block, drawn.leak)
        else:
            light = electrons[rows]
            block *= np.sqrt(light + np.float32(camera.read_noise**2))
            block += light
            block *= np.float32(1 / camera.gain)
        block += offset
        block += row_level[rows, None]
        np.clip(np.rint(block, out=block), 0, SATURATION, out=block)
        raw[rows] = block
    return raw


def _add_leak_only(camera, block, leak):
    """Scale deviates to adu for a frame whose only light is what leaks into the overscan."""
    block *= np.float32(camera.read_noise_adu)
    columns = camera.leaked_columns
    photon = np.sqrt(camera.read_noise**2 + leak * camera.gain) / camera.read_noise
    block[:, columns] = block[:, columns] * photon.astype(np.float32) + leak.astype(np.float32)


def _electrons(camera, detector, frame, drawn, response):
    """Return the mean electrons of each pixel, float32 (ny, naxis1); None for a bias."""
    if frame.exptime == 0:
        return None
    electrons = np.zeros((camera.ny, camera.naxis1), dtype=np.float32)
    science = electrons[:, camera.data_columns]
    if drawn.signal:
        science += np.float32(drawn.signal)
        fwhm = max(2.5, 6.0 * camera.nx / 2048)
        for y, x, total in drawn.stars:
            _add_star(science, y, x, total, sigma=fwhm / 2.3548)
        science *= response
    science += np.float32(camera.dark_current * frame.exptime)
    rows, columns = detector.hot_pixels[:, :2].astype(int).T
    np.add.at(science, (rows, columns), detector.hot_pixels[:, 2] * frame.exptime)
    electrons[:, camera.leaked_columns] += (drawn.leak * camera.gain).astype(np.float32)
    return electrons


def _add_star(image, y, x, total, *, sigma):
    rows, columns = _box(y, x, 6 * sigma, image.shape)
    profile_y = np.exp(-(((np.arange(rows.start, rows.stop) - y) / sigma) ** 2) / 2)
    profile_x = np.exp(-(((np.arange(columns.start, columns.stop) - x) / sigma) ** 2) / 2)
    image[rows, columns] += total / (2 * np.pi * sigma**2) * np.outer(profile_y, profile_x)


# ---------------------------------------------------------------------------------------------
# Header and file


def _card(keyword, value, comment=""):
    """Return one FITS card of 80 characters.

    Written here and not by astropy, which takes ten times as long as the pixels of a tiny frame.
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        escaped = value.replace("'", "''")
        text = f"'{escaped:<8}'".ljust(20)
    else:
        text = f"{value!r:>20}"
    card = f"{keyword:<8}= {text}"
    return (f"{card} / {comment}" if comment else card)[:80].ljust(80)


def _sexagesimal(hours, *, signed=False):
    """Return hours (or degrees) as dd:mm:ss.ss."""
    hundredths = round(abs(hours) * 360000)
    minutes, rest = divmod(hundredths, 6000)
    sign = ("-" if hours < 0 else "+") if signed else ""
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}:{rest / 100:05.2f}"


def _from_sexagesimal(text):
    first, minutes, seconds = text.split(":")
    size = abs(float(first)) + float(minutes) / 60 + float(seconds) / 3600
    return -size if first.startswith("-") else size


def _pointing(frame, jd):
    """Return RA, DEC, HA, ST as text and the airmass; calibrations are taken at the zenith.

    Mean sidereal time after Meeus, Astronomical Algorithms, equation 12.4, to the first order.
    """
    st = ((280.46061837 + 360.98564736629 * (jd - 2451545.0) + _LONGITUDE) / 15) % 24
    if frame.object not in _FIELDS:
        zenith = _sexagesimal(_LATITUDE, signed=True)
        return _sexagesimal(st), zenith, _sexagesimal(0.0, signed=True), _sexagesimal(st), 1.0
    ra, dec = _FIELDS[frame.object]
    ha = (st - _from_sexagesimal(ra) + 12) % 24 - 12
    declination, latitude = math.radians(_from_sexagesimal(dec)), math.radians(_LATITUDE)
    sine = math.sin(latitude) * math.sin(declination)
    sine += math.cos(latitude) * math.cos(declination) * math.cos(math.radians(15 * ha))
    # No object is observed below the horizon: on an odd date the card says so by a large value.
    airmass = round(1 / max(sine, 0.02), 3)
    return ra, dec, _sexagesimal(ha, signed=True), _sexagesimal(st), airmass


def header_cards(camera, frame, *, seed):
    """Return the header of a raw frame: the LFC's cards, in its order.

    Returns
    -------
    list of (str, object, str)
        Keyword, value, comment.
    """
    start = frame.start
    day_fraction = (start - datetime.combine(start.date(), datetime.min.time())) / timedelta(days=1)
    jd = start.toordinal() + _JD_OF_ORDINAL_ZERO + day_fraction
    ra, dec, ha, st, airmass = _pointing(frame, jd)
    return [
        ("SIMPLE", True, "conforms to FITS standard"),
        ("BITPIX", 16, "array data type"),
        ("NAXIS", 2, "number of array dimensions"),
        ("NAXIS1", camera.naxis1, ""),
        ("NAXIS2", camera.ny, ""),
        ("BZERO", 32768.0, "pixels are unsigned 16 bit"),
        ("BSCALE", 1.0, ""),
        ("DATE", f"{start:%Y-%m-%d}", "date the file was written"),
        ("ORIGIN", "California Institute of Technology", ""),
        ("LATITUDE", _LATITUDE, "degrees"),
        ("LONGITUD", _LONGITUDE, "degrees, east positive"),
        ("TELESCOP", "Hale 5m Telescope", ""),
        ("FRATIO", 7.5, ""),
        ("INSTRUME", camera.instrument, ""),
        ("DETECTOR", "SITe SI002 x 6", ""),
        ("FRAME", frame.number, ""),
        ("CCDPICNO", frame.number, ""),
        ("OBJECT", frame.object, ""),
        ("IMAGETYP", frame.imagetyp, ""),
        ("EXPTIME", frame.exptime, "seconds"),
        ("DARKTIME", round(frame.exptime + 0.672, 3), "seconds"),
        ("DATE-OBS", f"{start:%Y-%m-%d}", "UT date of the start"),
        ("UT", f"{start:%H:%M:%S}.00", "UT of the start"),
        ("JD", round(jd, 6), ""),
        ("RA", ra, "hours"),
        ("DEC", dec, "degrees"),
        ("EQUINOX", 2000.0, ""),
        ("EPOCH", 2000.0, ""),
        ("HA", ha, "hours"),
        ("ST", st, "hours"),
        ("AIRMASS", airmass, ""),
        ("FILTER", frame.filter, ""),
        ("GAIN", camera.gain, "electrons per adu"),
        ("SECPIX1", 0.182, "arcsec per pixel"),
        ("SECPIX2", 0.182, "arcsec per pixel"),
        ("CCDBIN1", 1, ""),
        ("CCDBIN2", 1, ""),
        ("ROTANGLE", 0.0, "degrees"),
        ("DATASEC", camera.section(camera.data_columns), ""),
        ("CCDSEC", f"[1:{camera.nx},1:{camera.ny}]", ""),
        ("BIASSEC", camera.biassec, ""),
        ("LOGINFO", f"simulated by ccdflow, seed {seed}", ""),
        ("CHIPID", 0, ""),
    ]


def frame_bytes(raw, cards):
    """Return a FITS file of one 16-bit image.

    Parameters
    ----------
    raw : numpy.ndarray
        uint16, shape (ny, naxis1), in adu.
    cards : list of (str, object, str)
        The whole header, with BZERO 32768 and without END.

    Returns
    -------
    bytes
    """
    header = "".join(_card(*card) for card in cards) + "END".ljust(80)
    header = header.ljust(-(-len(header) // _FITS_BLOCK) * _FITS_BLOCK)
    # Subtracting BZERO = 2^15 from an unsigned number is the same as flipping its highest bit.
    stored = np.bitwise_xor(raw, np.uint16(0x8000)).astype(">u2")
    return b"".join((header.encode("ascii"), stored, bytes(-stored.nbytes % _FITS_BLOCK)))


def _write_whole(path, content):
    """Write a file that is never seen half-written under its own name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_frame(path, camera, detector, frame, drawn, *, seed, response=None):
    raw = render(camera, detector, frame, drawn, response=response)
    content = frame_bytes(raw, header_cards(camera, frame, seed=seed))
    if path.suffix == ".gz":
        # No time and no name in the gzip header: the same frame is the same bytes.
        content = igzip.compress(content, 1, mtime=0)
    _write_whole(path, content)


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder for simulated frames ({error.strerror})",
            file=folder,
            remedy="choose another folder",
        ) from None


# ---------------------------------------------------------------------------------------------
# Truth


@dataclass(frozen=True)
class Truth:
    """What was injected into a simulated folder.

    Parameters
    ----------
    parameters : dict
        What the simulator was called with.
    camera : dict
        Scalars of the camera, and its true regions as FITS sections: `overscan` (usable), `data`,
        `leaked` (columns, counted from 1).
    frames : dict of str to dict
        By file relative to the folder: `imagetyp`, `filter`, `exptime` (s), `start`
        (UT), `night` (local date of the evening), `level` (adu), `leak` (adu, each leaked
        column), `signal` (electrons in a pixel of response 1), `stars` (number), `seed`.
    structure : numpy.ndarray
        Shape (nx,): what each science column lies above the overscan, in adu.
    hot_pixels : numpy.ndarray
        Shape (n, 3): row, column, electrons per second.
    drift : dict of str to numpy.ndarray
        By file, shape (ny,): bias level of each row less the frame's `level`, in adu.
    stars : dict of str to numpy.ndarray
        By file, shape (n, 3): row, column, electrons.
    """

    parameters: dict
    camera: dict
    frames: dict
    structure: np.ndarray
    hot_pixels: np.ndarray
    drift: dict
    stars: dict


def read_truth(folder):
    """Read what was injected into a simulated folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Truth

    Raises
    ------
    UserError
        Where the folder holds no finished simulation.
    """
    folder = Path(folder)
    stated = _read_truth_file(folder)
    whole = stated is not None and stated["complete"] and (folder / TRUTH_ARRAYS).exists()
    if not whole:
        raise UserError(
            "no finished simulation here", file=folder, remedy="run scripts/simulate.py on it"
        )
    with np.load(folder / TRUTH_ARRAYS) as arrays:
        by_kind = {
            kind: {name: arrays[f"{kind}/{name}"] for name in stated["frames"]}
            for kind in ("drift", "stars")
        }
        structure, hot_pixels = arrays["structure"], arrays["hot_pixels"]
    return Truth(
        stated["parameters"],
        stated["camera"],
        stated["frames"],
        structure,
        hot_pixels,
        by_kind["drift"],
        by_kind["stars"],
    )


def _read_truth_file(folder):
    path = folder / TRUTH_FILE
    if not path.exists():
        return None
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return {key: stated[key] for key in ("complete", "parameters", "camera", "frames")}
    except (ValueError, TypeError, KeyError):
        raise UserError(
            "not a truth file of the simulator", file=path, remedy="choose another folder"
        ) from None


def _camera_truth(camera):
    return {
        "instrument": camera.instrument,
        "naxis1": camera.naxis1,
        "naxis2": camera.ny,
        "data": camera.section(camera.data_columns),
        "overscan": camera.section(camera.usable_overscan_columns),
        "leaked": [int(column) + 1 for column in camera.leaked_columns],
        "biassec": camera.biassec,
        "gain": camera.gain,
        "read_noise": camera.read_noise,
        "read_noise_adu": camera.read_noise_adu,
        "level": camera.level,
        "gradient": camera.gradient,
        "dark_current": camera.dark_current,
    }


def _frame_truth(frame, drawn):
    return {
        "imagetyp": frame.imagetyp,
        "filter": frame.filter,
        "exptime": frame.exptime,
        "start": frame.start.isoformat(),
        "night": frame.since_noon[0].isoformat(),
        "level": drawn.level,
        "leak": drawn.leak.tolist(),
        "signal": drawn.signal,
        "stars": len(drawn.stars),
        "seed": list(drawn.seed),
    }


def _write_truth_file(folder, *, complete, parameters, camera, frames):
    content = {
        "complete": complete,
        "parameters": parameters,
        "camera": _camera_truth(camera),
        "frames": frames,
    }
    _write_whole(folder / TRUTH_FILE, (json.dumps(content, indent=1) + "\n").encode())


def _write_truth_arrays(folder, detector, drawn):
    arrays = {"structure": detector.structure, "hot_pixels": detector.hot_pixels}
    for frame, one in drawn.items():
        arrays[f"drift/{frame.file}"] = one.drift
        arrays[f"stars/{frame.file}"] = one.stars
    temporary = folder / f".{TRUTH_ARRAYS}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)
        temporary.replace(folder / TRUTH_ARRAYS)
    finally:
        temporary.unlink(missing_ok=True)


def _check_folder(folder, frames, parameters, *, overwrite):
    """Refuse to write over anyone's own frames, or to mix two simulations.

    Raises
    ------
    UserError
        Where frames are there that this simulation did not write.
    """
    stated = _read_truth_file(folder)
    if overwrite or (stated is not None and stated["parameters"] == parameters):
        return
    if stated is not None:
        changed = [k for k, v in parameters.items() if stated["parameters"].get(k) != v]
        raise UserError(
            f"this folder holds a simulation with other parameters ({', '.join(changed)})",
            file=folder,
            remedy="choose another folder, or --overwrite",
        )
    present = next((f.file for f in frames if (folder / f.file).exists()), None)
    if present is not None:
        raise UserError(
            "a file of this name is there that the simulator did not write",
            file=folder / present,
            remedy="choose another folder, or --overwrite",
        )


# ---------------------------------------------------------------------------------------------
# Folders of frames


def _check_number(keyword, value, *, least, most=None):
    if value < least or (most is not None and value > most):
        raise UserError(
            "out of range",
            keyword=keyword,
            value=value,
            allowed=f"{least} or more" if most is None else f"{least} to {most}",
        )


def simulate_night(
    folder,
    *,
    seed=2016,
    scale=1.0,
    camera=LFC,
    date="2016-01-16",
    darks_date=None,
    overwrite=False,
    workers=2,
):
    """Write the guide's LFC night: 14 frames, 10 in ``darks``, and what lies about beside them.

    Frames that are there already, from the same parameters, are left as they are.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.
    seed : int
        The same seed gives the same bytes.
    scale : float
        Science rows and columns as a fraction of the camera's; the overscan stays 32 columns
        wide. 1/16 makes frames of 160 x 258.
    camera : Camera
    date, darks_date : str
        UT date (YYYY-MM-DD) of the frames, and of those in ``darks`` (default: the same).
    overwrite : bool
        Write every frame, also over another simulation and over frames of the same names.
    workers : int
        Threads.

    Returns
    -------
    Truth
        What was injected, as `read_truth` gives it.

    Raises
    ------
    UserError
        A parameter out of range, or a folder with frames that are not this simulation's.
    """
    frames = guide_frames(date=date, darks_date=darks_date)
    folder = Path(folder)
    truth = _simulate_frames(
        folder, frames, camera.scaled(scale), seed=seed, overwrite=overwrite, workers=workers
    )
    _write_bystanders(folder, [frame for frame in frames if "/" not in frame.file])
    return truth


def simulate_biases(
    folder,
    count,
    *,
    seed=2016,
    scale=1.0,
    camera=LFC,
    date="2016-01-16",
    overwrite=False,
    workers=2,
):
    """Write a run of biases, ``bias.0001.fits.gz`` and on, one every 20 s; each one different.

    Parameters and errors as in `simulate_night`; `count` is at most 2000, which fills the night.

    Returns
    -------
    Truth
    """
    _check_number("count", count, least=1, most=_MAX_FRAMES_PER_NIGHT)
    first = datetime.fromisoformat(f"{_parse_date(date)}T01:00:00")
    frames = tuple(
        Frame(
            f"bias.{n:04d}.fits.gz", n, "BIAS", "bias", "i'", 0.0, first + n * timedelta(seconds=20)
        )
        for n in range(1, count + 1)
    )
    return _simulate_frames(
        Path(folder), frames, camera.scaled(scale), seed=seed, overwrite=overwrite, workers=workers
    )


def _simulate_frames(folder, frames, camera, *, seed, overwrite, workers):
    _check_number("seed", seed, least=0)
    _check_number("workers", workers, least=1)
    parameters = {
        "simulator": SIMULATOR_VERSION,
        "seed": seed,
        "camera": asdict(camera),
        "frames": {frame.file: frame.start.isoformat() for frame in frames},
    }
    _check_folder(folder, frames, parameters, overwrite=overwrite)
    stated = _read_truth_file(folder)
    keep = not overwrite and stated is not None
    missing = [f for f in frames if not keep or not (folder / f.file).exists()]
    if not missing and stated["complete"] and (folder / TRUTH_ARRAYS).exists():
        return read_truth(folder)
    _make_folder(folder)
    say = partial(_write_truth_file, folder, parameters=parameters, camera=camera)
    say(complete=False, frames={})
    detector = make_detector(camera, seed=seed)
    drawn = {frame: realise(camera, frame, seed=seed) for frame in frames}
    _write_frames(folder, missing, camera, detector, drawn, seed=seed, workers=workers)
    _write_truth_arrays(folder, detector, drawn)
    say(complete=True, frames={f.file: _frame_truth(f, one) for f, one in drawn.items()})
    return read_truth(folder)


def _write_frames(folder, frames, camera, detector, drawn, *, seed, workers):
    bands = {frame.filter for frame in frames if drawn[frame].signal}
    responses = {band: flat_response(camera, band, seed=seed) for band in sorted(bands)}
    for parent in {(folder / frame.file).parent for frame in frames}:
        _make_folder(parent)

    def write(frame):
        response = responses[frame.filter] if drawn[frame].signal else None
        path = folder / frame.file
        _write_frame(path, camera, detector, frame, drawn[frame], seed=seed, response=response)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, frames))


def _write_bystanders(folder, frames):
    """Write what lies about in an observer's folder and is no frame."""
    lines = ["frame,file,object,imagetyp,filter,exptime,ut"]
    lines += [
        f"{f.number},{f.file},{f.object},{f.imagetyp},{f.filter},{f.exptime},{f.start:%H:%M:%S}"
        for f in frames
    ]
    bystanders = {
        "observing_log.csv": ("\n".join(lines) + "\n").encode(),
        ".DS_Store": b"\0\0\0\x01Bud1" + bytes(6140),
    }
    for name, content in bystanders.items():
        if not (folder / name).exists():
            _write_whole(folder / name, content)


ARCHIVE_CAMERA = Camera(nx=64, ny=48)
_ARCHIVE_FILE = "archive.json"


def archive_frames(night, count):
    """Return the first `count` frames of one night of an archive.

    Of each hundred, the first 10 are biases, then 10 flats and 5 darks; the rest are objects. The
    n-th frame is the same whatever the count, so that a night can grow.

    Parameters
    ----------
    night : datetime.date
        Local date of the evening. The UT date is the next.
    count : int

    Returns
    -------
    tuple of Frame
        Their files are ``YYYY-MM-DD/ccd.NNN.0.fits.gz``, the folder being the night.
    """
    first = datetime.combine(night + timedelta(days=1), datetime.min.time()) + timedelta(hours=1)
    return tuple(_archive_frame(night, n, first + n * timedelta(seconds=20)) for n in range(count))


def _archive_frame(night, n, start):
    kinds = ((10, "BIAS", "bias", 0.0), (20, "FLATFIELD", "flat_g", 7.0), (25, "DARK", "dark", 7.0))
    kind = next((kind for kind in kinds if n % 100 < kind[0]), (100, "OBJECT", "field_1", 10.0))
    _, imagetyp, target, exptime = kind
    number = n + 1
    file = f"{night.isoformat()}/ccd.{number:03d}.0.fits.gz"
    return Frame(file, number, imagetyp, target, "g'", exptime, start)


def simulate_archive(
    folder,
    *,
    nights,
    frames_per_night,
    first_date="2016-01-16",
    seed=2016,
    camera=ARCHIVE_CAMERA,
    workers=2,
):
    """Write many nights of tiny frames, a folder a night, one day apart.

    What is there already stays as it is: the same call with more nights or more frames a night
    adds those and nothing else. No truth of single frames is written; `realise` gives it again.

    Parameters
    ----------
    folder : path-like
    nights, frames_per_night : int
        At most 2000 frames a night.
    first_date : str
        UT date (YYYY-MM-DD) of the first night's frames: the day after its evening.
    seed : int
    camera : Camera
    workers : int
        Processes.

    Returns
    -------
    int
        How many frames were written.

    Raises
    ------
    UserError
        A number out of range, or a folder that holds frames of another origin.
    """
    _check_number("nights", nights, least=1)
    _check_number("frames_per_night", frames_per_night, least=1, most=_MAX_FRAMES_PER_NIGHT)
    _check_number("workers", workers, least=1)
    _check_number("seed", seed, least=0)
    folder = Path(folder)
    evenings = [_parse_date(first_date) + timedelta(days=n - 1) for n in range(nights)]
    _claim_archive(folder, camera, seed)
    write = partial(_write_archive_night, folder, frames_per_night, camera, seed)
    if workers == 1 or nights == 1:
        return sum(map(write, evenings))
    # Spawned, as the caller may be a process with threads (pytest, Snakemake), unsafe to fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, nights), mp_context=context) as pool:
        return sum(pool.map(write, evenings, chunksize=-(-nights // (8 * workers))))


def _claim_archive(folder, camera, seed):
    """Note whose archive this is, and refuse to mix it with anything else."""
    parameters = {"simulator": SIMULATOR_VERSION, "seed": seed, "camera": asdict(camera)}
    path = folder / _ARCHIVE_FILE
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != parameters:
            raise UserError(
                "this folder holds an archive with other parameters",
                file=path,
                remedy="choose another folder",
            )
        return
    _make_folder(folder)
    if any(folder.iterdir()):
        raise UserError(
            "this folder holds files that the simulator did not write",
            file=folder,
            remedy="choose an empty or a new folder",
        )
    _write_whole(path, (json.dumps(parameters, indent=1) + "\n").encode())


def _write_archive_night(folder, count, camera, seed, night):
    frames = archive_frames(night, count)
    present = set()
    if (folder / night.isoformat()).is_dir():
        present = {entry.name for entry in (folder / night.isoformat()).iterdir()}
    missing = [frame for frame in frames if Path(frame.file).name not in present]
    detector = make_detector(camera, seed=seed)
    drawn = {frame: realise(camera, frame, seed=seed) for frame in missing}
    _write_frames(folder, missing, camera, detector, drawn, seed=seed, workers=1)
    return len(missing)
