"""One exposure of a detector, from light to adu, with the injected truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate import charge
from ccdflow.simulate.tracks import add_pixels, draw_cosmics
from ccdflow.simulate.user_values import check_number

IMAGE_TYPES = ("bias", "dark", "flat", "science")
"""The image types that can be exposed."""


@dataclass(frozen=True)
class Exposure:
    """A raw frame and its truth.

    Attributes
    ----------
    raw : numpy.ndarray of shape `ccdflow.simulate.chip.Detector.raw_shape`, uint16
        Adu.
    image_type, filter : str
    exptime, temperature : float
        Seconds, degrees Celsius.
    incident : numpy.ndarray of shape (ny, nx), float64
        Mean electrons of the light before any loss, for the nominal exposure time: those of a
        perfect calibrated frame.
    response : numpy.ndarray of shape (ny, nx), float64
        Response of each pixel; 1 where no light fell.
    light, dark, glow : numpy.ndarray of shape (ny, nx), float64
        Mean electrons: light after response and shutter, dark current, glow of the amplifier.
    cosmics : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons of each pixel that a cosmic ray hit.
    is_blinking_pixel_on : numpy.ndarray of shape (n,), bool
        Whether each of the blinking pixels is on.
    electrons : numpy.ndarray of shape (ny, nx), float64
        The drawn electrons, before traps, wells and amplifiers.
    is_saturated : numpy.ndarray of shape (ny, nx), bool
        At the full well, or at the converter's last step.
    level : numpy.ndarray of shape (number of amplifiers, ny), float64
        Bias level of each row, in adu.
    """

    raw: np.ndarray
    image_type: str
    filter: str
    exptime: float
    temperature: float
    incident: np.ndarray
    response: np.ndarray
    light: np.ndarray
    dark: np.ndarray
    glow: np.ndarray
    cosmics: np.ndarray
    is_blinking_pixel_on: np.ndarray
    electrons: np.ndarray
    is_saturated: np.ndarray
    level: np.ndarray


def expose(
    detector,
    image_type,
    exptime,
    *,
    rng,
    filter=None,
    sky=None,
    temperature=None,
    dust=(),
    cosmic_ray_rate=0.0,
    cosmics=None,
):
    """Return one raw frame and its truth.

    Photons and dark current have a Poisson distribution, read noise has a normal one, and the
    converter rounds.

    Parameters
    ----------
    detector : ccdflow.simulate.chip.Detector
    image_type : {'bias', 'dark', 'flat', 'science'}
    exptime : float
        Seconds; 0 for a bias.
    rng : numpy.random.Generator or int
        Generator of the random numbers, or its seed.
    filter : str, optional
        A filter of the detector; only flats and science frames have one.
    sky : ccdflow.simulate.scene.Sky, optional
        Light of lamp, twilight, night sky and stars; only flats and science frames have it.
    temperature : float, optional
        Temperature of the detector, degrees Celsius (default: the detector's own).
    dust : sequence of ccdflow.simulate.optics.Dust, optional
        Grains that lie on the window in this frame, beside those of the detector.
    cosmic_ray_rate : float, optional
        Per pixel and second.
    cosmics : numpy.ndarray of shape (n, 3), float64, optional
        Row, column, electrons of the hit pixels, in place of drawn cosmic rays.

    Returns
    -------
    Exposure

    Raises
    ------
    UserError
        If the image type is unknown, a bias or dark has light, a flat or science frame has none, or
        a bias has an exposure time.
    """
    _refuse_odd_frame(image_type, exptime, filter, sky)
    rng = np.random.default_rng(rng)
    temperature = detector.temperature if temperature is None else temperature
    incident, response, light = _mean_electrons(detector, exptime, filter, sky, dust)
    is_on = rng.random(len(detector.blinking_pixels)) < detector.blinking_pixels[:, 3]
    dark = detector.dark_charge(exptime, temperature=temperature, is_blinking_pixel_on=is_on)
    glow = detector.glow_charge(exptime)
    electrons = rng.poisson(light + dark + glow).astype(np.float64)
    if cosmics is None:
        cosmics = draw_cosmics(rng, detector.shape, exptime, cosmic_ray_rate)
    add_pixels(electrons, cosmics)
    raw, is_saturated, level = read_out(detector, electrons, rng=rng)
    return Exposure(
        raw=raw, image_type=image_type, filter=filter or "", exptime=exptime,
        temperature=temperature, incident=incident, response=response, light=light, dark=dark,
        glow=glow, cosmics=cosmics, is_blinking_pixel_on=is_on, electrons=electrons,
        is_saturated=is_saturated, level=level,
    )  # fmt: skip


def _refuse_odd_frame(image_type, exptime, filter, sky):
    """Raise unless these properties of a frame agree with each other.

    Parameters
    ----------
    image_type : str
    exptime : float
        Seconds.
    filter : str or None
    sky : ccdflow.simulate.scene.Sky or None
    """
    if image_type not in IMAGE_TYPES:
        raise UserError(
            "unknown image type",
            keyword="image_type",
            value=image_type,
            allowed=", ".join(IMAGE_TYPES),
            remedy="expose an arc or a test frame as one of these, of the same light",
        )
    check_number("exptime", exptime, least=0, most=0 if image_type == "bias" else None)
    has_light = image_type in ("flat", "science")
    if has_light != (sky is not None) or has_light != (filter is not None):
        raise UserError(
            f"a {image_type} has "
            f"{'light in a filter' if has_light else 'neither light nor a filter'}",
            keyword="sky, filter",
            value=(sky, filter),
            allowed="both" if has_light else "neither",
            remedy="give sky and filter together" if has_light else "give neither sky nor filter",
        )


def _mean_electrons(detector, exptime, filter, sky, dust):
    """Return incident light, response and detected light, (ny, nx); light in mean electrons.

    Parameters
    ----------
    detector : ccdflow.simulate.chip.Detector
    exptime : float
        Seconds.
    filter : str or None
    sky : ccdflow.simulate.scene.Sky or None
        None for a closed shutter.
    dust : sequence of ccdflow.simulate.optics.Dust
    """
    if sky is None:
        return np.zeros(detector.shape), np.ones(detector.shape), np.zeros(detector.shape)
    rate = sky.image(detector.shape)
    response = detector.response(filter, dust)
    return rate * exptime, response, rate * response * np.maximum(exptime - detector.dead_time, 0)


def read_out(detector, electrons, *, rng):
    """Return the raw frame that amplifiers and converter make of the charge in the pixels.

    Parameters
    ----------
    detector : ccdflow.simulate.chip.Detector
        Detector that is read out.
    electrons : numpy.ndarray of shape (ny, nx), float64
        Charge in each pixel at the end of the exposure.
    rng : numpy.random.Generator
        Generator of the noise.

    Returns
    -------
    raw : numpy.ndarray of shape `ccdflow.simulate.chip.Detector.raw_shape`, uint16
        Adu.
    is_saturated : numpy.ndarray of shape (ny, nx), bool
        At the full well, or at the converter's last step.
    level : numpy.ndarray of shape (number of amplifiers, ny), float64
        Bias level of each row, adu.
    """
    ny, nx = detector.shape
    charge_read = electrons.copy()
    charge.spill_charge(charge_read, detector.full_well)
    is_saturated = charge_read >= detector.full_well
    charge.hold_back_charge(charge_read, detector.traps)
    raw = np.empty(detector.raw_shape)
    level = np.empty((len(detector.amplifiers), ny))
    for number, amplifier in enumerate(detector.amplifiers):
        level[number] = amplifier.level + row_drift(rng, ny, amplifier.row_drift)
        columns = amplifier.slice
        signal = charge.measured_electrons(
            charge_read[:, columns], amplifier.nonlinearity, amplifier.full_scale
        )
        raw[:, columns] = signal / amplifier.gain
        raw[:, detector.overscan(number)] = 0
        for band in (columns, detector.overscan(number)):
            noise = rng.standard_normal((ny, band.stop - band.start))
            raw[:, band] += noise * (amplifier.read_noise / amplifier.gain)
            raw[:, band] += level[number][:, None]
    raw[:, :nx] += detector.structure
    raw = np.clip(np.rint(raw), 0, detector.saturation).astype(np.uint16)
    return raw, is_saturated | (raw[:, :nx] >= detector.saturation), level


def row_drift(rng, ny, rms):
    """Return a drift of the level over the rows: a random walk and some white noise, mean 0.

    Parameters
    ----------
    rng : numpy.random.Generator
    ny : int
    rms : float
        Standard deviation.

    Returns
    -------
    numpy.ndarray of shape (ny,), float64
        Values of standard deviation `rms`.
    """
    walk = np.cumsum(rng.standard_normal(ny))
    walk -= np.linspace(walk[0], walk[-1], ny)
    # Chosen: white noise makes neighbouring rows differ, as they do in real frames.
    drift = walk / max(walk.std(), 1e-9) + 0.3 * rng.standard_normal(ny)
    # The least divisor is for a single row, which has no drift.
    drift *= rms / max(drift.std(), 1e-9)
    return drift - drift.mean()
