"""The guide's frames: random values and pixels, fast enough for whole nights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.simulate.camera import SATURATION
from ccdflow.simulate.exposing import row_drift
from ccdflow.simulate.optics import box_about
from ccdflow.simulate.seeds import generator, text_seed
from ccdflow.simulate.tracks import add_pixels, draw_cosmics

# Rows that are rendered at once: few enough for the processor's cache.
_BLOCK_ROWS = 256

# Full width at half maximum over sigma of a Gaussian, to five digits: with more digits the bytes of
# frames would change.
_FWHM_OVER_SIGMA_SHORT = 2.3548
# Electrons a second in a pixel by filter, of the flat-field lamp and of the night sky.
_LAMP_RATES = {"g'": 330.0, "i'": 3300.0}
_SKY_RATES = {"g'": 1.5, "i'": 5.0}
# Standard deviation of the nights' bias levels, adu: that of the guide's nights.
_NIGHT_SCATTER = 1.0
# Standard deviation of the frames' bias levels in a night, adu.
_FRAME_SCATTER = 0.3
# Adu an hour by which the level falls during a night, because the electronics warm up.
_SINKING_RATE = 0.1
# Stars in a frame of the guide's camera; a smaller frame has the same density.
_STAR_COUNT = 400
# (ny, nx) of the guide's frame with `_STAR_COUNT` stars.
_STARS_SHAPE = (4128, 2048)
# Stars in the smallest frame: a picture shows some of them.
_LEAST_STARS = 6
# Electrons of the faintest star: one frame shows it.
_FAINTEST_STAR = 3e3
# Exponent of the Pareto distribution of fluxes, that of star counts: many faint, few bright.
_FLUX_EXPONENT = 0.7
# Electrons of the brightest star: it saturates and does not fill the frame.
_BRIGHTEST_STAR = 5e6


@dataclass(frozen=True)
class Realisation:
    """The random values of one frame, without the noise of its pixels.

    Attributes
    ----------
    seed : tuple of int
        Seed of all other values.
    level : float
        Mean bias level, adu.
    drift : numpy.ndarray of shape (ny,), float64
        Bias level of each row less ``level``, adu.
    signal : float
        Light in a pixel of response 1, electrons.
    stars : numpy.ndarray of shape (n, 3), float64
        Row, column (zero-based, among the science pixels) and electrons.
    leak : numpy.ndarray of shape (k,), float64
        Light in each leaked column, adu; the first is next to the science pixels.
    cosmics : numpy.ndarray of shape (n, 3), float64
        Row, column and electrons of each pixel that a cosmic ray hit.
    """

    seed: tuple[int, ...]
    level: float
    drift: np.ndarray
    signal: float
    stars: np.ndarray
    leak: np.ndarray
    cosmics: np.ndarray


def realise(camera, frame, *, seed):
    """Return drawn random values of one frame, without the noise of its pixels.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    frame : ccdflow.simulate.observing_log.LogLine
    seed : int
        Seed of the night. It makes the seed of the frame together with file name, time and
        instrument.

    Returns
    -------
    Realisation
    """
    names = (camera.instrument, frame.file, frame.start.isoformat())
    frame_seed = (seed, *map(text_seed, names))
    # The last number distinguishes the random streams of a night: 1 is that of the detector, 2 that
    # of its flat field. A frame has 3 for level, drift and stars, 4 for the noise (`render`), and 5
    # for cosmic rays.
    rng = generator(*frame_seed, 3)
    level = _night_level(camera, frame, seed) + rng.normal(0.0, _FRAME_SCATTER)
    drift = row_drift(rng, camera.ny, camera.row_drift)
    signal = _electrons_of_frame(frame)
    stars = _draw_stars(camera, rng) if frame.imagetyp == "OBJECT" else np.empty((0, 3))
    leak = (camera.leak + camera.leak_fraction * signal / camera.gain) * (
        camera.leak_ratio ** np.arange(camera.n_leaked)
    )
    cosmics = draw_cosmics(
        generator(*frame_seed, 5), (camera.ny, camera.nx), frame.exptime, camera.cosmic_ray_rate
    )
    return Realisation(
        seed=frame_seed,
        level=level,
        drift=drift,
        signal=signal,
        stars=stars,
        leak=leak,
        cosmics=cosmics,
    )


def _night_level(camera, frame, seed):
    """Return the level at the time of a frame, adu: it differs by night, and falls during it."""
    night, hours = frame.night_and_hours
    offset = generator(seed, night.toordinal()).normal(0.0, _NIGHT_SCATTER)
    return camera.level + offset - _SINKING_RATE * hours


def _electrons_of_frame(frame):
    """Return the electrons of lamp or sky in a pixel of response 1."""
    rates = {"FLATFIELD": _LAMP_RATES, "OBJECT": _SKY_RATES}
    return rates[frame.imagetyp][frame.filter] * frame.exptime if frame.imagetyp in rates else 0.0


def _draw_stars(camera, rng):
    """Return row, column and electrons of stars, (n, 3), in the density of `_STAR_COUNT`."""
    area_fraction = camera.nx * camera.ny / (_STARS_SHAPE[0] * _STARS_SHAPE[1])
    n_stars = max(_LEAST_STARS, round(_STAR_COUNT * area_fraction))
    return np.column_stack(
        [
            rng.uniform(0, camera.ny - 1, n_stars),
            rng.uniform(0, camera.nx - 1, n_stars),
            np.minimum(_FAINTEST_STAR * (1 + rng.pareto(_FLUX_EXPONENT, n_stars)), _BRIGHTEST_STAR),
        ]
    )


def render(camera, detector, frame, realisation, *, response=None):
    """Return the pixels of one raw frame.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    detector : ccdflow.simulate.chip.Detector
    frame : ccdflow.simulate.observing_log.LogLine
    realisation : Realisation
    response : numpy.ndarray of shape (ny, nx), float32, optional
        `flat_response` in the frame's filter; a frame with light needs it.

    Returns
    -------
    numpy.ndarray of shape (ny, naxis1), uint16
        Adu, `SATURATION` at most.

    Notes
    -----
    Photon and read noise are drawn as one normal deviate of variance (electrons + read noise^2).
    The sum is close to normal because the read noise alone has the variance of a hundred electrons.
    `expose` draws both separately. Charge of a cosmic ray gets photon noise, which real charge of a
    cosmic ray does not have.
    """
    structure_of_columns = np.zeros(camera.naxis1, dtype=np.float32)
    structure_of_columns[camera.data_columns] = detector.structure
    electrons = _electrons_of_pixels(camera, detector, frame, realisation, response)
    rng = generator(*realisation.seed, 4)
    raw = np.empty((camera.ny, camera.naxis1), dtype=np.uint16)
    noise_buffer = np.empty((min(_BLOCK_ROWS, camera.ny), camera.naxis1), dtype=np.float32)
    row_level = (realisation.level + realisation.drift).astype(np.float32)
    for start in range(0, camera.ny, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, camera.ny))
        block = noise_buffer[: rows.stop - rows.start]
        rng.standard_normal(out=block, dtype=np.float32)
        if electrons is None:
            _add_leak_only(camera, block, realisation.leak)
        else:
            light = electrons[rows]
            block *= np.sqrt(light + np.float32(camera.read_noise**2))
            block += light
            block *= np.float32(1 / camera.gain)
        block += structure_of_columns
        block += row_level[rows, None]
        np.clip(np.rint(block, out=block), 0, SATURATION, out=block)
        raw[rows] = block
    return raw


def _add_leak_only(camera, block, leak):
    """Scale deviates to adu, in place, for a frame whose only light leaks into the overscan."""
    block *= np.float32(camera.read_noise_adu)
    columns = camera.leaked_columns
    noise_growth = np.sqrt(camera.read_noise**2 + leak * camera.gain) / camera.read_noise
    block[:, columns] = block[:, columns] * noise_growth.astype(np.float32) + leak.astype(
        np.float32
    )


def _electrons_of_pixels(camera, detector, frame, realisation, response):
    """Return the mean electrons of each pixel, float32 (ny, naxis1); None for a bias.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    detector : ccdflow.simulate.chip.Detector
    frame : ccdflow.simulate.observing_log.LogLine
    realisation : Realisation
    response : numpy.ndarray of shape (ny, nx), float32, or None
        Flat field of the frame's filter; None for a frame without light.
    """
    if frame.exptime == 0:
        return None
    electrons = np.zeros((camera.ny, camera.naxis1), dtype=np.float32)
    science = electrons[:, camera.data_columns]
    if realisation.signal:
        add_light(science, realisation.signal, realisation.stars)
        science *= response
    science += np.float32(camera.dark_current * frame.exptime)
    add_pixels(science, detector.hot_pixels * (1, 1, frame.exptime))
    add_pixels(science, realisation.cosmics)
    if detector.glow is not None:
        rows, columns, glow = detector.glow.corner(detector.shape)
        science[rows, columns] += glow * np.float32(frame.exptime)
    electrons[:, camera.leaked_columns] += (realisation.leak * camera.gain).astype(np.float32)
    return electrons


def add_light(image, signal, stars):
    """Add the light of sky or lamp and of stars, before any response, to an image in place.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
    signal : float
        Electrons in each pixel.
    stars : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons.
    """
    image += np.float32(signal)
    # Pixels: 6 in the guide's frame of 2048 columns, fewer in a narrower one. With at least 2.5 a
    # star is wider than a cosmic ray.
    fwhm = max(2.5, 6.0 * image.shape[1] / 2048)
    for y, x, electrons in stars:
        _add_star(image, y, x, electrons, sigma=fwhm / _FWHM_OVER_SIGMA_SHORT)


def _add_star(image, y, x, electrons, *, sigma):
    """Add a star of Gaussian profile to an image, in place.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
        Electrons; changed in place.
    y, x : float
        The centre, pixels from 0.
    electrons : float
        Electrons of the star.
    sigma : float
        Sigma of the profile, pixels.
    """
    rows, columns = box_about(y, x, 6 * sigma, image.shape)
    profile_y = np.exp(-(((np.arange(rows.start, rows.stop) - y) / sigma) ** 2) / 2)
    profile_x = np.exp(-(((np.arange(columns.start, columns.stop) - x) / sigma) ** 2) / 2)
    image[rows, columns] += electrons / (2 * np.pi * sigma**2) * np.outer(profile_y, profile_x)
