"""Truth of the guide's folders: the injected values, written beside the frames and read back.

``truth.json`` holds parameters, the camera, and the drawn values of each frame. ``truth.npz`` holds
arrays; science pixels are counted from 0, and ``<file>`` is a frame's path in the folder.

=================== ============== ===============================================================
name                shape          meaning, and unit
=================== ============== ===============================================================
structure           (nx,)          bias level of a column above the overscan, adu
hot_pixels          (n, 3)         row, column, electrons per second (above the dark current)
glow                (ny, nx)       glow of the amplifier, electrons per second; not where all
                                   frames are biases
response/<filter>   (ny, nx)       relative response: pixels, dust, vignetting; only where a frame
                                   has light in this filter
drift/<file>        (ny,)          bias level of a row minus the frame's level, adu
stars/<file>        (n, 3)         row, column, electrons (before response)
cosmics/<file>      (n, 3)         row, column, electrons of each pixel that a cosmic ray hit
=================== ============== ===============================================================
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.simulate.chip import Glow
from ccdflow.simulate.files import write_arrays
from ccdflow.simulate.guide import add_light
from ccdflow.simulate.tracks import add_pixels

SIMULATOR_VERSION = 2
"""Version of the simulator in truth.json: a folder with another version has older frames."""

TRUTH_FILE = "truth.json"
"""The file with the numbers of a folder's truth."""

TRUTH_ARRAYS = "truth.npz"
"""The file with the arrays of a folder's truth."""


@dataclass(frozen=True)
class Truth:
    """The injected truth of a simulated folder.

    Attributes
    ----------
    parameters : dict of str to object
        The arguments of the simulator.
    camera : dict of str to object
        Scalars of the camera, and its true regions as FITS sections: `overscan` (usable), `data`,
        `leaked` (columns, counted from 1).
    frames : dict of str to dict
        By file, relative to the folder: `imagetyp`, `filter`, `exptime` (s), `start` (UT), `night`
        (local date of the evening), `level` (adu), `leak` (adu, of each leaked column), `signal`
        (electrons in a pixel of response 1), numbers of `stars` and `cosmics`, `seed`.
    structure : numpy.ndarray of shape (nx,), float64
        Level of each science column above the overscan, in adu.
    hot_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons per second.
    folder : pathlib.Path
    drift : dict of str to numpy.ndarray of shape (ny,), float64
        By file: bias level of each row minus the frame's `level`, in adu.
    stars : dict of str to numpy.ndarray of shape (n, 3), float64
        By file: row, column, electrons (before response).
    cosmics : dict of str to numpy.ndarray of shape (n, 3), float64
        By file: row, column, electrons of each pixel that a cosmic ray hit.
    """

    parameters: dict[str, object]
    camera: dict[str, object]
    frames: dict[str, dict[str, object]]
    structure: np.ndarray
    hot_pixels: np.ndarray
    folder: Path
    drift: dict[str, np.ndarray]
    stars: dict[str, np.ndarray]
    cosmics: dict[str, np.ndarray]

    @cached_property
    def glow(self):
        """Glow of the amplifier, electrons per second: float32, shape (ny, nx).

        A folder that has only biases has none.
        """
        return self._array("glow")

    @cached_property
    def dark_rate(self):
        """Dark current, hot pixels and glow, electrons per second: float32, shape (ny, nx)."""
        rate = self.glow + np.float32(self.camera["dark_current"])
        add_pixels(rate, self.hot_pixels)
        return rate

    def response(self, band):
        """Return the relative response in a filter: float32, shape (ny, nx)."""
        return self._array(f"response/{band}")

    def incident(self, file):
        """Return the light of a frame before any response: that of a perfect calibrated frame.

        Parameters
        ----------
        file : str

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float32
            Mean electrons.
        """
        image = np.zeros(self.glow.shape, dtype=np.float32)
        add_light(image, self.frames[file]["signal"], self.stars[file])
        return image

    def _array(self, name):
        """Return an array of the truth by its name."""
        with np.load(self.folder / TRUTH_ARRAYS) as arrays:
            return arrays[name]


def read_truth(folder):
    """Return the injected truth of a simulated folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Truth

    Raises
    ------
    UserError
        If the folder has no finished simulation.
    """
    folder = Path(folder)
    content = read_truth_file(folder)
    is_finished = content is not None and content["complete"] and (folder / TRUTH_ARRAYS).exists()
    if not is_finished:
        raise UserError(
            "no finished simulation here", file=folder, remedy="run scripts/simulate.py on it"
        )
    with np.load(folder / TRUTH_ARRAYS) as arrays:
        arrays_by_name = {
            array_name: {file: arrays[f"{array_name}/{file}"] for file in content["frames"]}
            for array_name in ("drift", "stars", "cosmics")
        }
        structure, hot_pixels = arrays["structure"], arrays["hot_pixels"]
    return Truth(
        parameters=content["parameters"],
        camera=content["camera"],
        frames=content["frames"],
        structure=structure,
        hot_pixels=hot_pixels,
        folder=folder,
        **arrays_by_name,
    )


def read_truth_file(folder):
    """Return the content of ``truth.json``; None if the file is missing.

    Raises
    ------
    UserError
        If the simulator did not write the file.
    """
    path = folder / TRUTH_FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("complete", "parameters", "camera", "frames")}
    except (ValueError, TypeError, KeyError):
        raise UserError(
            "not a truth file of the simulator", file=path, remedy="choose another folder"
        ) from None


def _camera_truth(camera):
    """Return the properties of a camera for truth.json."""
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
        "cosmic_rays": camera.cosmic_ray_rate,
    }


def frame_truth(frame, realisation):
    """Return the part of ``truth.json`` on one frame.

    Parameters
    ----------
    frame : ccdflow.simulate.observing_log.LogLine
    realisation : ccdflow.simulate.guide.Realisation

    Returns
    -------
    dict of str to object
    """
    return {
        "imagetyp": frame.imagetyp,
        "filter": frame.filter,
        "exptime": frame.exptime,
        "start": frame.start.isoformat(),
        "night": frame.night_and_hours[0].isoformat(),
        "level": realisation.level,
        "leak": realisation.leak.tolist(),
        "signal": realisation.signal,
        "stars": len(realisation.stars),
        "cosmics": len(realisation.cosmics),
        "seed": list(realisation.seed),
    }


def write_truth_file(folder, *, is_complete, parameters, camera, frames):
    """Write ``truth.json``.

    Parameters
    ----------
    folder : pathlib.Path
    is_complete : bool
        Whether all frames and arrays are written.
    parameters : dict of str to object
        The arguments of the simulator.
    camera : ccdflow.simulate.camera.SimulatedCamera
    frames : dict of str to dict
        By file: the values of `frame_truth`.
    """
    content = {
        "complete": is_complete,
        "parameters": parameters,
        "camera": _camera_truth(camera),
        "frames": frames,
    }
    atomic_write.write_text(folder / TRUTH_FILE, json.dumps(content, indent=1) + "\n")


def write_truth_arrays(folder, detector, realisations, responses):
    """Write ``truth.npz`` of a guide's folder.

    Parameters
    ----------
    folder : pathlib.Path
    detector : ccdflow.simulate.chip.Detector
    realisations : dict of object to ccdflow.simulate.guide.Realisation
        By `ccdflow.simulate.observing_log.LogLine`.
    responses : dict of str to numpy.ndarray of shape (ny, nx), float32
        By filter.
    """
    arrays = {"structure": detector.structure, "hot_pixels": detector.hot_pixels}
    if any(frame.exptime for frame in realisations):
        arrays["glow"] = (detector.glow or Glow(0.0, 1.0)).image(detector.shape)
    arrays |= {f"response/{band}": response for band, response in responses.items()}
    for frame, realisation in realisations.items():
        arrays[f"drift/{frame.file}"] = realisation.drift
        arrays[f"stars/{frame.file}"] = realisation.stars
        arrays[f"cosmics/{frame.file}"] = realisation.cosmics
    write_arrays(folder / TRUTH_ARRAYS, arrays)


def check_simulation_folder(folder, frames, parameters, *, overwrites):
    """Raise if a folder has a user's own frames, or another simulation.

    Parameters
    ----------
    folder : pathlib.Path
    frames : iterable of ccdflow.simulate.observing_log.LogLine
        The frames to write.
    parameters : dict of str to object
        The arguments of the simulator.
    overwrites : bool
        Whether another simulation is replaced.

    Raises
    ------
    UserError
        If frames are there that this simulation did not write.
    """
    content = read_truth_file(folder)
    if overwrites or (content is not None and content["parameters"] == parameters):
        return
    if content is not None:
        changed_parameters = [k for k, v in parameters.items() if content["parameters"].get(k) != v]
        origin = f"with other parameters ({', '.join(changed_parameters)})"
        if "simulator" in changed_parameters:
            origin = "made by another version of the simulator"
        raise UserError(
            f"this folder holds a simulation {origin}",
            file=folder,
            remedy="choose another folder, or --overwrite",
        )
    foreign_file = next((frame.file for frame in frames if (folder / frame.file).exists()), None)
    if foreign_file is not None:
        raise UserError(
            "a file of this name is there that the simulator did not write",
            file=folder / foreign_file,
            remedy="choose another folder, or --overwrite",
        )
