"""The fraction of the light that each pixel detects: response, vignetting, shadows of dust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.simulate.seeds import generator, text_seed

# Fraction of light that vignetting takes half-way along an edge of the guide's frames, by filter.
_VIGNETTING = {"g'": 0.06, "i'": 0.04}


@dataclass(frozen=True)
class Dust:
    """The shadow of a grain of dust: a ring with less light.

    Attributes
    ----------
    y, x : float
        Row and column of the centre, zero-based among the science pixels.
    radius : float
        Radius of the ring's middle, in pixels. 0 makes a spot, darkest in its centre.
    width : float
        Distance from the ring's middle at which the depth falls to 1/e, in pixels.
    depth : float
        Fraction of the light that is lost in the ring's middle. The default is chosen: each flat
        shows the grain.
    """

    y: float
    x: float
    radius: float
    width: float
    depth: float = 0.05


def box_about(y, x, radius, shape):
    """Return the slices of a square about (y, x), cut at the edges of an array.

    Parameters
    ----------
    y, x : float
        Centre, pixels.
    radius : float
        Half the side of the square, pixels.
    shape : (int, int)
        Shape of the array.

    Returns
    -------
    (slice, slice)
    """
    return tuple(
        slice(max(0, int(centre - radius)), max(0, min(size, int(centre + radius) + 2)))
        for centre, size in zip((y, x), shape, strict=True)
    )


def add_dust(response, dust):
    """Multiply a response by the shadow of one grain, in place.

    Parameters
    ----------
    response : numpy.ndarray of shape (ny, nx), float32 or float64
        Changed in place.
    dust : Dust
    """
    reach = 2 * dust.radius if dust.radius else 4 * dust.width
    rows, columns = box_about(dust.y, dust.x, reach, response.shape)
    distance = np.hypot(
        np.arange(rows.start, rows.stop)[:, None] - dust.y,
        np.arange(columns.start, columns.stop) - dust.x,
    )
    shadow = dust.depth * np.exp(-(((distance - dust.radius) / dust.width) ** 2))
    response[rows, columns] *= 1 - shadow


def relative_coordinates(shape):
    """Return y, shape (ny, 1), and x, shape (1, nx): float32, -1 to 1 from edge to edge."""
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
    return y[:, None], x[None, :]


def vignetting(shape, loss):
    """Return the relative illumination: 1 in the centre, less towards the edges.

    Parameters
    ----------
    shape : (int, int)
    loss : float
        Fraction of the light that is lost half-way along an edge; in a corner it is twice that.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
    """
    y, x = relative_coordinates(shape)
    return 1 - loss * (x**2 + y**2)


def flat_response(camera, band, *, seed):
    """Return the relative response of each science pixel of the guide's camera in one filter.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    band : str
        The filter: ``g'`` or ``i'``. Vignetting depends on it; pixel-to-pixel response (1 % rms)
        and dust do not.
    seed : int
        The night's seed.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
        About 1.
    """
    rng = generator(seed, text_seed(camera.instrument), 2)
    ny, nx = camera.ny, camera.nx
    deviates = rng.standard_normal((ny, nx), dtype=np.float32)
    contrast = np.multiply(deviates, 0.01, out=deviates)
    response = np.add(contrast, 1.0, out=contrast)
    # Chosen: eight grains, whose rings each flat shows.
    radius = max(2.0, 0.015 * nx)
    for _ in range(8):
        add_dust(response, Dust(rng.uniform(0, ny), rng.uniform(0, nx), radius, 0.3 * radius))
    response *= vignetting((ny, nx), _VIGNETTING[band])
    return response
