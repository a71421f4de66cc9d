"""Small frames with known truth for the tests of calibrating: two amplifiers, dust, masters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.calibrate.applied_masters import AppliedMaster, FrameMasters
from ccdflow.calibrate.combined_master import Master, master_image_of
from ccdflow.camera.sections import Region
from ccdflow.frame.readout import Readout, median_rounding, median_variance

SHAPE = (300, 410)
SEAM = 210
GAINS = (1.3, 2.1)  # electrons per adu
NOISES = (6.0, 4.0)  # adu, before rounding
OVERSCAN = 24  # columns
FRAMES = {"bias": 12, "dark": 5, "flat": 9}
DARK_TIME, FLAT_LEVEL = 300.0, 20_000.0  # seconds, adu
LEVEL = 1000.37  # adu; no whole number, so that its rounding shows


@dataclass(frozen=True)
class Sky:
    """The true bias (adu), dark (adu in `DARK_TIME`) and flat (mean 1) of a camera."""

    bias: np.ndarray
    dark: np.ndarray
    flat: np.ndarray

    @classmethod
    def of(cls, shape=SHAPE, seed=1, *, hot=200):
        """Return a drawn `Sky` with a number of hot pixels."""
        random = np.random.default_rng(seed)
        y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        bias = 4 * np.sin(9 * x) + 2 * y + random.normal(0, 1.5, shape[1])
        dark = 12 + 40 * np.exp(-((x + 1) ** 2 + (y + 1) ** 2) / 0.05)
        dark.ravel()[random.integers(0, dark.size, hot)] += 10 ** random.uniform(2, 3.5, hot)
        flat = (1 - 0.1 * (x**2 + y**2)) * random.normal(1, 0.02, shape).clip(0.8, 1.2)
        for _ in range(6):
            place = random.uniform(-0.8, 0.8, 2)
            away = np.hypot((x - place[0]) * shape[1], (y - place[1]) * shape[0])
            flat *= 1 - 0.15 * (np.abs(away - 14) < 6)
        return cls(bias, dark, flat / flat.mean())


def columns(shape=SHAPE):
    """Return the columns of the two amplifiers as slices."""
    seam = min(SEAM, shape[1] // 2 + 5)
    return slice(0, seam), slice(seam, shape[1])


def expose(electrons, bias, random, *, overscan=OVERSCAN):
    """Return a reduced frame, adu, for the expected electrons of each pixel (ny, nx)."""
    image = np.empty(electrons.shape)
    for amplifier, gain, noise in zip(columns(electrons.shape), GAINS, NOISES, strict=True):
        part = electrons[:, amplifier]
        pixels = random.poisson(part) / gain + random.normal(LEVEL, noise, part.shape)
        pixels = np.rint(pixels + bias[:, amplifier])
        strip = np.full((len(part), 1), LEVEL)
        if overscan:
            strip = np.rint(random.normal(LEVEL, noise, (len(part), overscan)))
        image[:, amplifier] = pixels - np.median(strip, axis=1, keepdims=True)
    return image.astype(np.float32)


def combine(electrons, bias, random, count, *, overscan=OVERSCAN):
    """Return the mean of `count` frames of `expose` and its standard error, adu, by one draw.

    A sum of Poisson numbers has a Poisson distribution, and a sum of normal numbers a normal one.
    The variance of a pixel over the frames has a chi-square distribution.
    """
    mean, error = np.empty(electrons.shape), np.empty(electrons.shape)
    for amplifier, gain, noise in zip(columns(electrons.shape), GAINS, NOISES, strict=True):
        part = electrons[:, amplifier]
        rounded_noise, level_error = (noise**2 + 1 / 12) ** 0.5, np.zeros((len(part), 1))
        variance = part / gain**2 + rounded_noise**2
        if overscan:
            strips = np.rint(random.normal(LEVEL, noise, (count, len(part), overscan)))
            level_error = np.median(strips, axis=2).mean(axis=0)[:, np.newaxis] - LEVEL
            variance = variance + median_variance(overscan) * rounded_noise**2
        mean[:, amplifier] = random.poisson(count * part) / (count * gain) + bias[:, amplifier]
        mean[:, amplifier] += random.normal(0, rounded_noise / count**0.5, part.shape) - level_error
        scatter = random.chisquare(count - 1, part.shape) / (count - 1)
        error[:, amplifier] = np.sqrt(variance * scatter / count)
    return mean, error


def readouts(shape=SHAPE, *, overscan=OVERSCAN, **options):
    """Return the two readouts of the frames of `expose`."""
    relative_variance = median_variance(overscan) if overscan else 0.0
    return tuple(
        Readout(
            Region(0, shape[0], part.start, part.stop),
            name,
            gain=gain,
            read_noise=noise,
            level_variance=relative_variance * (noise**2 + 1 / 12)
            + (median_rounding(overscan, noise) if overscan else 0),
            **options,
        )
        for part, name, gain, noise in zip(
            columns(shape), ("left", "right"), GAINS, NOISES, strict=True
        )
    )


def gain_map(shape=SHAPE):
    """Return the gain of each pixel, electrons per adu."""
    image = np.empty(shape)
    for part, gain in zip(columns(shape), GAINS, strict=True):
        image[:, part] = gain
    return image


def masters(sky, random, *, frames=None, overscan=OVERSCAN, k_flat=5 / DARK_TIME):
    """Return a combined bias, dark and flat of simulated frames, with standard errors."""
    frames = FRAMES | (frames or {})
    shape, gain = sky.bias.shape, gain_map(sky.bias.shape)

    def master_of(electrons, kind):
        """Return the mean and standard error of the frames of a kind, adu."""
        return combine(electrons, sky.bias, random, frames[kind], overscan=overscan)

    bias = master_of(np.zeros(shape), "bias")
    dark, dark_error = master_of(sky.dark * gain, "dark")
    dark = dark - bias[0], dark_error
    light, light_error = master_of((FLAT_LEVEL * sky.flat + k_flat * sky.dark) * gain, "flat")
    light = light - bias[0] - k_flat * dark[0]
    flat = light / light.mean(), light_error / light.mean()
    masters_by_kind = {}
    for kind, (data, error) in (("bias", bias), ("dark", dark), ("flat", flat)):
        masters_by_kind[kind] = Master(
            kind,
            (master_image_of(data, kind, error=error),),
            name=f"combined/{kind}.fits",
            key=f"{kind}-key",
            frames=frames[kind],
            exptime=DARK_TIME if kind == "dark" else None,
            bias_key="" if kind == "bias" else "bias-key",
            level=FLAT_LEVEL if kind == "flat" else None,
        )
    return masters_by_kind


def chain(masters_by_kind, *, k=1.0, without=()):
    """Return the `FrameMasters` of some masters; `k` is the factor of the dark."""
    uses = {
        kind: AppliedMaster(master, k if kind == "dark" else 1.0)
        for kind, master in masters_by_kind.items()
        if kind not in without
    }
    return FrameMasters(**uses)
