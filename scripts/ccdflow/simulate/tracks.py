"""Cosmic rays: straight tracks of electrons."""

from __future__ import annotations

import numpy as np

# Points per pixel that share the charge of a track evenly.
_POINTS_PER_PIXEL = 4
# Mean length of a track, pixels.
_MEAN_LENGTH = 6.0
# Median charge of a track, electrons per pixel of its length.
_MEDIAN_CHARGE = 900.0
# Standard deviation of the natural logarithm of a track's charge per pixel.
_CHARGE_SPREAD = 0.6


def draw_cosmics(rng, shape, exptime, rate, *, charge=_MEDIAN_CHARGE):
    """Return the pixels that drawn cosmic rays hit in one exposure.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        Science pixels (ny, nx).
    exptime : float
        Seconds.
    rate : float
        Cosmic rays per pixel and second.
    charge : float, optional
        Median of the rays' electrons per pixel of track.

    Returns
    -------
    numpy.ndarray of shape (n, 3), float64
        Row, column and electrons of each hit pixel, once each, in the order of rows.
    """
    ny, nx = shape
    tracks = [_points_of_track(rng, charge) for _ in range(rng.poisson(rate * ny * nx * exptime))]
    if not tracks:
        return np.empty((0, 3))
    positions = [np.array([rng.uniform(0, ny), rng.uniform(0, nx)]) for _ in tracks]
    y, x = np.concatenate(
        [np.floor(t[:, :2] + p) for t, p in zip(tracks, positions, strict=True)]
    ).T
    electrons = np.concatenate([track[:, 2] for track in tracks])
    is_inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
    point_pixels = (y[is_inside] * nx + x[is_inside]).astype(np.int64)
    hit_pixels, hit_numbers = np.unique(point_pixels, return_inverse=True)
    return np.column_stack(
        [hit_pixels // nx, hit_pixels % nx, np.bincount(hit_numbers, electrons[is_inside])]
    )


def _points_of_track(rng, charge):
    """Return points along a track that begins at (0, 0): row, column, electrons."""
    length = 0.5 + rng.exponential(_MEAN_LENGTH)
    angle = rng.uniform(0, 2 * np.pi)
    total = charge * np.exp(_CHARGE_SPREAD * rng.standard_normal()) * length
    distances = np.linspace(0, length, max(2, round(_POINTS_PER_PIXEL * length)))
    electrons = np.full(distances.size, total / distances.size)
    return np.column_stack([distances * np.sin(angle), distances * np.cos(angle), electrons])


def add_pixels(image, pixels):
    """Add electrons to some pixels of an image, in place.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        Electrons, or electrons per second; changed in place.
    pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, and the number to add; a pixel may occur more than once.
    """
    rows, columns = pixels[:, :2].astype(int).T
    np.add.at(image, (rows, columns), pixels[:, 2])
