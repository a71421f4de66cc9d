"""Nights of any detector by a plan: raw frames with headers, a camera profile, and the truth.

``truth.npz`` holds arrays; science pixels are counted from 0, ``<file>`` is a frame's path in the
folder, and n_amps the number of amplifiers.

====================== ============ ==============================================================
name                   shape        meaning, and unit
====================== ============ ==============================================================
structure              (ny, nx)     bias level above that of the overscan, adu
gain, read_noise       (n_amps,)    electrons per adu, electrons (rms)
amplifier              (ny, nx)     number of the amplifier that reads a pixel, from 0
dark_rate              (ny, nx)     dark current in the beginning of an exposure, hot pixels
                                    included, those that blink not, electrons per second
glow                   (ny, nx)     glow of the amplifier, electrons per second
dead_time              (ny, nx)     the part of an exposure that a pixel misses, seconds
defects                (ny, nx)     bits of bad pixels, `Detector.defects`
hot_pixels             (n, 3)       row, column, electrons per second above the dark current
filling_pixels         (n, 4)       row, column, electrons per second, electrons in the end
blinking_pixels        (n, 4)       row, column, electrons per second, part of the frames
low_pixels             (n, 3)       row, column, response relative to the neighbours'
traps                  (n, 3)       row, column, electrons
response/<filter>      (ny, nx)     relative response: pixels, dust, vignetting
incident/<file>        (ny, nx)     a perfect calibrated frame, mean electrons (flats, science)
light/<file>           (ny, nx)     light after response and shutter, mean electrons (as above)
dark/<file>            (ny, nx)     dark current and glow, mean electrons (not for biases)
cosmics/<file>         (n, 3)       row, column, electrons of each pixel that a cosmic ray hit
level/<file>           (n_amps, ny) bias level of each row, adu
saturated/<file>       (ny, nx)     bool: at the full well or at the converter's last step
====================== ============ ==============================================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate.chip import Detector
from ccdflow.simulate.exposing import expose
from ccdflow.simulate.files import make_folder, write_arrays, write_frame
from ccdflow.simulate.optics import Dust
from ccdflow.simulate.scene import Sky
from ccdflow.simulate.seeds import text_seed
from ccdflow.simulate.tracks import add_pixels
from ccdflow.simulate.truth import TRUTH_ARRAYS

# Values of IMAGETYP by image type.
_IMAGETYP_VALUES = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "OBJECT"}


@dataclass(frozen=True)
class Shot:
    """One exposure of a plan.

    Attributes
    ----------
    file : str
        Path in the night's folder, with ``/`` between folders; ``.gz`` at its end compresses it.
    image_type : {'bias', 'dark', 'flat', 'science'}
    start : datetime.datetime
        UT at which the shutter opens.
    exptime : float
        Seconds.
    filter : str, optional
    sky : Sky, optional
        As in `expose`.
    temperature : float, optional
        Temperature of the detector, degrees Celsius (default: the detector's own).
    set_temperature : float, optional
        Set point of the cooling, degrees Celsius (default: `temperature`).
    dust : tuple of Dust
    cosmic_ray_rate : float
        Per pixel and second.
    object : str
        Name of the target in the header.
    cards : dict of str to object
        Values of further or changed header cards by keyword; None leaves a card out.
    detector : Detector, optional
        The detector in another epoch (default: the detector of the night).
    """

    file: str
    image_type: str
    start: datetime
    exptime: float = 0.0
    filter: str | None = None
    sky: Sky | None = None
    temperature: float | None = None
    set_temperature: float | None = None
    dust: tuple[Dust, ...] = ()
    cosmic_ray_rate: float = 0.0
    object: str = ""
    cards: dict[str, object] = field(default_factory=dict)
    detector: Detector | None = None


def expose_night(folder, detector, shots, *, seed=1, instrument="SIMCAM", writes_truth=True):
    """Take the frames of a plan and write them.

    The seed of a frame follows from `seed` and its file name: a plan can grow without a change of
    existing frames.

    Parameters
    ----------
    folder : path-like
        Made if it is missing; frames of the same names are replaced.
    detector : Detector
    shots : sequence of Shot
    seed : int, optional
    instrument : str, optional
        Value of the INSTRUME card, which the profile recognises.
    writes_truth : bool, optional
        Whether ``truth.npz`` is written beside the frames.

    Returns
    -------
    dict of str to ccdflow.simulate.exposing.Exposure
        By file.

    Raises
    ------
    UserError
        If two frames have one name, or `expose` refuses a frame.
    """
    folder = Path(folder)
    files = [shot.file for shot in shots]
    if len(set(files)) < len(files):
        raise UserError(
            "two simulated frames have one name",
            keyword="file",
            value=max(files, key=files.count),
            allowed="one frame of each name",
            remedy="give each exposure of the plan a name of its own",
        )
    exposures = {}
    for shot in shots:
        exposed_detector = shot.detector or detector
        exposures[shot.file] = expose(
            exposed_detector,
            shot.image_type,
            shot.exptime,
            rng=np.random.default_rng([seed, text_seed(shot.file)]),
            filter=shot.filter,
            sky=shot.sky,
            temperature=shot.temperature,
            dust=shot.dust,
            cosmic_ray_rate=shot.cosmic_ray_rate,
        )
        path = folder / shot.file
        make_folder(path.parent)
        write_frame(
            path, exposures[shot.file].raw, _header_of_shot(shot, exposures[shot.file], instrument)
        )
    if writes_truth:
        _write_truth(folder, detector, exposures)
    return exposures


def _header_of_shot(shot, exposure, instrument):
    """Return the header cards of a shot, as a camera would write them."""
    ny, nx = exposure.raw.shape
    set_temperature = exposure.temperature if shot.set_temperature is None else shot.set_temperature
    cards = {
        "SIMPLE": True,
        "BITPIX": 16,
        "NAXIS": 2,
        "NAXIS1": nx,
        "NAXIS2": ny,
        # FITS stores unsigned numbers of 16 bits minus this offset.
        "BZERO": 32768.0,
        "BSCALE": 1.0,
        "INSTRUME": instrument,
        "OBJECT": shot.object or shot.image_type,
        "IMAGETYP": _IMAGETYP_VALUES[shot.image_type],
        "EXPTIME": float(shot.exptime),
        "DATE-OBS": shot.start.isoformat(timespec="milliseconds"),
        "FILTER": shot.filter,
        "SET-TEMP": float(set_temperature),
        "CCD-TEMP": float(exposure.temperature),
        "CCDSUM": "1 1",
    }
    cards |= shot.cards
    return [(key, value, "") for key, value in cards.items() if value is not None]


def profile(detector, *, instrument="SIMCAM", states_gain=True, states_read_noise=True):
    """Return the text of a camera profile (docs/cameras.md) for a detector.

    Parameters
    ----------
    detector : Detector
    instrument : str, optional
        Value of the INSTRUME card.
    states_gain, states_read_noise : bool, optional
        Whether the profile states the gain, and the read noise, of each amplifier.

    Returns
    -------
    str
        YAML.
    """
    lines = [f"recognise: {{INSTRUME: {json.dumps(instrument)}}}", "site: {longitude: 0.0}"]
    lines.append("amplifiers:")
    for number, amplifier in enumerate(detector.amplifiers):
        strip = detector.overscan(number)
        lines += [
            f"  - name: {chr(ord('A') + number)}",
            f'    data: {{python: "[:, {amplifier.columns[0]}:{amplifier.columns[1]}]"}}',
            f'    overscan: {{python: "[:, {strip.start}:{strip.stop}]"}}',
        ]
        lines += [f"    gain: {amplifier.gain}"] * states_gain + [
            f"    read_noise: {amplifier.read_noise}"
        ] * states_read_noise
        lines.append(f"    saturation: {detector.saturation}")
    return "\n".join(lines) + "\n"


def _write_truth(folder, detector, exposures):
    """Write the arrays of the truth on the detector and on each frame into one file."""
    arrays = _detector_arrays(detector)
    for file, exposure in exposures.items():
        arrays |= {f"{name}/{file}": array for name, array in _frame_arrays(exposure).items()}
    write_arrays(folder / TRUTH_ARRAYS, arrays)


def _detector_arrays(detector):
    """Return {name: array} of the truth about a detector."""
    names_of_lists = ("hot_pixels", "filling_pixels", "blinking_pixels", "low_pixels", "traps")
    amplifier_of_columns = np.repeat(
        np.arange(len(detector.amplifiers)),
        [a.columns[1] - a.columns[0] for a in detector.amplifiers],
    )
    dark_rate = np.full(detector.shape, detector.dark_current)
    for pixels in (detector.hot_pixels, detector.filling_pixels[:, :3]):
        add_pixels(dark_rate, pixels)
    images = {
        "structure": detector.structure,
        "amplifier": amplifier_of_columns.astype(np.int16),
        "dark_rate": dark_rate,
        "glow": detector.glow_charge(1.0),
        "dead_time": detector.dead_time,
        "defects": detector.defects(),
    }
    arrays = {name: np.broadcast_to(array, detector.shape) for name, array in images.items()}
    arrays |= {name: getattr(detector, name) for name in names_of_lists}
    for name in ("gain", "read_noise"):
        arrays[name] = np.array([getattr(a, name) for a in detector.amplifiers])
    return arrays | {f"response/{band}": detector.response(band) for band in detector.illumination}


def _frame_arrays(exposure):
    """Return {name: array} of the light, charge and hits in a frame."""
    arrays = {
        "cosmics": exposure.cosmics,
        "level": exposure.level,
        "saturated": exposure.is_saturated,
    }
    if exposure.image_type != "bias":
        arrays["dark"] = exposure.dark + exposure.glow
    if exposure.image_type in ("flat", "science"):
        arrays |= {"incident": exposure.incident, "light": exposure.light}
    return arrays


def read_night_truth(folder):
    """Return the arrays in ``truth.npz`` of a folder that `expose_night` wrote.

    Returns
    -------
    dict of str to numpy.ndarray of the shapes in the table of this module
        By the names in this table.

    Raises
    ------
    UserError
        If the file is missing.
    """
    path = Path(folder) / TRUTH_ARRAYS
    if not path.is_file():
        raise UserError(
            "no truth of simulated frames here",
            file=folder,
            remedy="give a folder that `expose_night` wrote",
        )
    with np.load(path) as arrays:
        return dict(arrays)
