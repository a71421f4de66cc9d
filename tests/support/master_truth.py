"""Small frames of two amplifiers with known bias, dark and flat, for tests of combined frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from ccdflow.combine.member_reader import member_of_file
from ccdflow.combine.noise import AmplifierNoise

SHAPE = (210, 340)
SPLIT = 120  # first column of the second amplifier
GAINS, NOISES = (1.3, 2.1), (5.0, 8.0)  # e-/adu, adu
DARK_SECONDS = 300.0


@dataclass(frozen=True)
class Truth:
    """The truth behind frames: bias (adu), dark rate (e-/s), flat (mean 1 in adu), gain, noise."""

    bias: np.ndarray
    rate: np.ndarray
    flat: np.ndarray
    gain: np.ndarray
    noise: np.ndarray


def regions(shape=SHAPE):
    """Return (y0, y1, x0, x1) of the two amplifiers."""
    ny, nx = shape
    return (0, ny, 0, SPLIT), (0, ny, SPLIT, nx)


def amplifiers(gains=GAINS, noises=NOISES, shape=SHAPE, **options):
    """Return the noise of the two amplifiers."""
    return tuple(
        AmplifierNoise(name, region, noise, gain, **options)
        for name, region, gain, noise in zip("AB", regions(shape), gains, noises, strict=True)
    )


def truth(*, hot=0, glow=0.0, seed=7, shape=SHAPE):
    """Return a drawn `Truth` with a number of hot pixels, and a glow in electrons a second."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    gain, noise = np.empty(shape), np.empty(shape)
    for (y0, y1, x0, x1), g, n in zip(regions(shape), GAINS, NOISES, strict=True):
        gain[y0:y1, x0:x1], noise[y0:y1, x0:x1] = g, n
    rate = 0.02 + glow * np.exp(-((x + 1) ** 2 + (y + 1) ** 2) / 0.3)
    places = rng.choice(shape[0] * shape[1], hot, replace=False)
    rate.ravel()[places] += rng.uniform(8, 100, hot)
    flat = (1 - 0.15 * (x**2 + y**2)) * rng.normal(1, 0.02, shape) / gain
    bias = 3 * np.sin(7 * x) + rng.normal(0, 2, shape)
    return Truth(bias, rate, flat / flat.mean(), gain, noise)


def expose(true_camera, light, seconds, rng, *, level_noise=0.0):
    """Return a reduced frame, adu, float32; `light` is adu, of shape (ny, nx) or a number."""
    electrons = light * true_camera.gain + true_camera.rate * seconds
    frame = (
        rng.poisson(np.broadcast_to(electrons, true_camera.rate.shape)) / true_camera.gain
        + true_camera.bias
    )
    frame = frame + rng.standard_normal(true_camera.rate.shape) * true_camera.noise
    return (frame + level_noise * rng.standard_normal((true_camera.rate.shape[0], 1))).astype(
        np.float32
    )


def darks(true_camera, n_frames, *, seconds=DARK_SECONDS, seed=1, **options):
    """Return drawn reduced darks, adu."""
    rng = np.random.default_rng(seed)
    return [expose(true_camera, 0.0, seconds, rng, **options) for _ in range(n_frames)]


def flats(true_camera, levels, *, seconds=5.0, seed=2, **options):
    """Return drawn reduced flats, adu, one of each level."""
    rng = np.random.default_rng(seed)
    return [
        expose(true_camera, level * true_camera.flat, seconds, rng, **options) for level in levels
    ]


def write(folder, stack, name="m"):
    """Write frames, and return them as members of a combination."""
    members = []
    for index, frame in enumerate(stack):
        path = folder / f"{name}{index:03}.fits"
        fits.writeto(path, frame, overwrite=True)
        members.append(member_of_file(path))
    return members


def parts(image):
    """Return the pixels of the two amplifiers."""
    return [image[y0:y1, x0:x1] for y0, y1, x0, x1 in regions(image.shape)]


def sums(image, size=10):
    """Return the sums of square boxes of pixels."""
    ny, nx = (side // size * size for side in image.shape)
    return image[:ny, :nx].reshape(ny // size, size, nx // size, size).sum(axis=(1, 3))
