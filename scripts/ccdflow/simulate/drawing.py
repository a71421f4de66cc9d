"""Detectors drawn from a seed: the guide's, one with faults of every kind, and a later epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate.chip import Detector, Glow, SimulatedAmplifier
from ccdflow.simulate.optics import Dust, add_dust, vignetting
from ccdflow.simulate.seeds import generator, text_seed


def draw_guide_detector(camera, *, seed):
    """Return a drawn detector of the guide's camera: gradient, column pattern, hot pixels, glow.

    Parameters
    ----------
    camera : ccdflow.simulate.camera.SimulatedCamera
    seed : int

    Returns
    -------
    Detector
        Its `structure` has the shape (nx,). It has no `illumination`: `flat_response` has it.
    """
    rng = generator(seed, text_seed(camera.instrument), 1)
    # Chosen: columns differ by 0.3 adu, and one pixel in 5,000 is hot, by 1 electron a second on
    # average.
    x = np.arange(camera.nx)
    gradient = camera.gradient * np.exp(-x / (camera.gradient_scale * camera.nx))
    pattern = rng.normal(0.0, 0.3, camera.nx)
    n_hot_pixels = max(1, camera.nx * camera.ny // 5000)
    hot_pixels = np.column_stack(
        [
            rng.integers(0, camera.ny, n_hot_pixels),
            rng.integers(0, camera.nx, n_hot_pixels),
            rng.exponential(1.0, n_hot_pixels),
        ]
    )
    amplifier = SimulatedAmplifier(
        (0, camera.nx), camera.gain, camera.read_noise, camera.level, camera.row_drift
    )
    return Detector(
        shape=(camera.ny, camera.nx),
        amplifiers=(amplifier,),
        n_overscan=camera.n_overscan,
        structure=gradient + pattern,
        dark_current=camera.dark_current,
        hot_pixels=hot_pixels,
        glow=Glow(camera.glow, camera.glow_scale * camera.nx) if camera.glow else None,
    )


def split_columns(nx, n_amplifiers):
    """Return (first, after last) of the columns of amplifiers that share `nx` columns evenly.

    Parameters
    ----------
    nx : int
    n_amplifiers : int

    Returns
    -------
    tuple of (int, int)
    """
    edges = [round(nx * n / n_amplifiers) for n in range(n_amplifiers + 1)]
    return tuple(pairwise(edges))


@dataclass(frozen=True)
class FaultCounts:
    """The number of faults of each kind that a drawn detector has.

    The defaults are chosen: several of each kind among the 10,000 pixels of a test's detector.

    Attributes
    ----------
    hot, filling, blinking, low, dead : int
        Hot pixels, pixels that fill up in the dark, pixels that are hot in some frames, pixels of
        low response, pixels without response.
    dead_columns, traps : int
        Columns without response, and columns with a trap.
    dust : int
        Grains, the same for all filters.
    """

    hot: int = 20
    filling: int = 4
    blinking: int = 3
    low: int = 6
    dead: int = 4
    dead_columns: int = 1
    traps: int = 1
    dust: int = 4

    @property
    def pixel_counts(self):
        """The numbers of hot, filling, blinking, low and dead pixels."""
        return self.hot, self.filling, self.blinking, self.low, self.dead


def draw_detector(
    shape=(101, 103),
    *,
    seed=1,
    amplifiers=2,
    filters=("g", "r"),
    faults=None,
    hot_rates=(0.1, 100.0),
    shutter=0.02,
    nonlinearity=0.0,
    full_well=120_000.0,
):
    """Return a drawn detector with faults of every kind; no pixel has two faults.

    The defaults are chosen: a detector small enough for tests, with unlike and odd sides, two
    amplifiers, and hot pixels from rates below `hot_rate` to those that fill in twenty minutes.

    Parameters
    ----------
    shape : (int, int), optional
        Science pixels (ny, nx).
    seed : int, optional
    amplifiers : int or sequence of SimulatedAmplifier, optional
        Amplifiers, or the number of drawn ones with unlike gain, read noise and level.
    filters : sequence of str, optional
        Each filter has another vignetting, 4 to 10 % half-way along an edge; all have the same
        dust.
    faults : FaultCounts, optional
        The number of faults of each kind.
    hot_rates : (float, float), optional
        Electrons per second of the weakest and strongest hot pixel; the others lie evenly between
        them in logarithm.
    shutter : float, optional
        Dead time in the corners, in seconds; 0 in the centre.
    nonlinearity : float, optional
        As in `SimulatedAmplifier`, where `amplifiers` is a number.
    full_well : float, optional
        Electrons.

    Returns
    -------
    Detector

    Raises
    ------
    UserError
        If there are more faults than pixels.
    """
    faults = faults or FaultCounts()
    rng = np.random.default_rng([seed, 1])
    ny, nx = shape
    if isinstance(amplifiers, int):
        amplifiers = _unlike_amplifiers(nx, amplifiers, nonlinearity)
    bad_columns = _draw_columns(rng, nx, faults.dead_columns + faults.traps)
    dead_columns = bad_columns[: faults.dead_columns]
    trap_columns = bad_columns[faults.dead_columns :]
    hot_places, filling_places, blinking_places, low_places, dead_places = _draw_places(
        rng, shape, faults.pixel_counts, bad_columns
    )
    responses = np.r_[rng.uniform(0.3, 0.8, faults.low), np.zeros(faults.dead)]
    low_pixels = np.column_stack([np.vstack([low_places, dead_places]), responses])
    response = _draw_response(rng, shape, low_pixels, dead_columns)
    traps = _draw_traps(rng, ny, trap_columns)
    rates = np.exp(np.linspace(*np.log(hot_rates), faults.hot))
    return Detector(
        shape=tuple(shape),
        amplifiers=tuple(amplifiers),
        structure=_draw_structure(rng, shape),
        dark_current=0.05,
        hot_pixels=np.column_stack([hot_places, rates]),
        filling_pixels=_draw_filling_pixels(rng, filling_places),
        blinking_pixels=np.column_stack(
            [blinking_places, rng.uniform(3, 20, faults.blinking), np.full(faults.blinking, 0.5)]
        ),
        glow=Glow(5.0, 0.08 * nx),
        pixel_response=response,
        low_pixels=low_pixels,
        dead_columns=dead_columns,
        traps=traps,
        illumination=_draw_illumination(rng, shape, filters, faults.dust),
        dead_time=shutter * (vignetting(shape, 0.0) - vignetting(shape, 0.5)).astype(float),
        full_well=full_well,
    )


def _draw_response(rng, shape, low_pixels, dead_columns):
    """Return the response of each pixel: 1 with 1 % of scatter, less in low pixels and columns.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        (ny, nx).
    low_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column and response of each.
    dead_columns : sequence of int
    """
    response = 1 + 0.01 * rng.standard_normal(shape, dtype=np.float32)
    response[tuple(low_pixels[:, :2].astype(int).T)] *= low_pixels[:, 2]
    response[:, list(dead_columns)] = 0
    return response


def _unlike_amplifiers(nx, n_amplifiers, nonlinearity):
    """Return amplifiers of equal width whose gains, read noises and levels differ."""
    return tuple(
        SimulatedAmplifier(
            columns,
            gain=1.2 + 0.35 * n,
            read_noise=5.0 + 1.5 * n,
            level=1000.0 + 40 * n,
            nonlinearity=nonlinearity,
        )
        for n, columns in enumerate(split_columns(nx, n_amplifiers))
    )


def _draw_columns(rng, nx, n_columns):
    """Return columns for faults, none next to another one or to an edge."""
    candidates = np.arange(2, nx - 2, 3)
    _check_room(n_columns, candidates.size, "columns")
    return tuple(int(c) for c in rng.choice(candidates, n_columns, replace=False))


def _draw_places(rng, shape, counts, bad_columns):
    """Return (row, column) of different pixels, an array of shape (n, 2) for each count n.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        (ny, nx).
    counts : sequence of int
        Number of pixels of each sort.
    bad_columns : sequence of int
        Columns without such pixels.
    """
    is_free = np.ones(shape, dtype=bool)
    is_free[:, list(bad_columns)] = False
    free_pixels = np.flatnonzero(is_free)
    _check_room(sum(counts), free_pixels.size, "pixels")
    places = rng.choice(free_pixels, sum(counts), replace=False)
    pixels = np.column_stack(np.unravel_index(places, shape)).astype(float)
    return np.split(pixels, np.cumsum(counts)[:-1])


def _check_room(n_faults, n_candidates, noun):
    """Raise if there are more faults than pixels or columns for them."""
    if n_faults > n_candidates:
        raise UserError(
            f"more faults than {noun}",
            keyword="faults",
            value=n_faults,
            allowed=f"{n_candidates} at most",
            remedy="give fewer faults, or a larger frame",
        )


def _draw_traps(rng, ny, columns):
    """Return the row, column and electrons of a trap in each of some columns, shape (n, 3)."""
    traps = [(rng.integers(ny // 4, ny // 2), column, rng.uniform(100, 400)) for column in columns]
    return np.array(traps, dtype=float).reshape(-1, 3)


def _draw_filling_pixels(rng, places):
    """Return row, column, initial electrons per second and final electrons, shape (n, 4)."""
    n_pixels = len(places)
    return np.column_stack(
        [places, rng.uniform(20, 60, n_pixels), rng.uniform(500, 2000, n_pixels)]
    )


def _draw_structure(rng, shape):
    """Return a bias structure in adu: a gradient at the left, columns, and a slope along rows."""
    ny, nx = shape
    columns = 60 * np.exp(-np.arange(nx) / (0.05 * nx)) + rng.normal(0, 0.5, nx)
    return columns + np.linspace(-1, 1, ny)[:, None]


def _draw_illumination(rng, shape, filters, n_grains):
    """Return the drawn relative light of a lamp, at most 1, as {filter: (ny, nx) float32}.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (int, int)
        (ny, nx).
    filters : sequence of str
    n_grains : int
        Number of grains.
    """
    size = min(shape)
    grains = []
    for _ in range(n_grains):
        y, x = (rng.uniform(0, n) for n in shape)
        radius = rng.uniform(0.04, 0.08) * size
        grains.append(Dust(y, x, radius, 0.3 * radius, rng.uniform(0.03, 0.08)))
    light = {}
    for band in filters:
        light[band] = vignetting(shape, rng.uniform(0.04, 0.1)).astype(np.float32)
        for grain in grains:
            add_dust(light[band], grain)
    return light


def later_detector(detector, *, seed, dark_factor=1.0, n_new_hot=0, hot_rates=(1.0, 100.0)):
    """Return the detector in a later epoch, with more dark current and more hot pixels.

    Parameters
    ----------
    detector : Detector
    seed : int
    dark_factor : float, optional
        Factor by which the dark current and the charge of hot pixels have grown.
    n_new_hot : int, optional
        Number of pixels that have become hot.
    hot_rates : (float, float), optional
        Limits of the new hot pixels, electrons per second, between which they lie at random in
        logarithm; by default all are above `hot_rate`.

    Returns
    -------
    Detector
    """
    rng = np.random.default_rng([seed, 2])
    is_defect = detector.defects() != 0
    places = rng.choice(np.flatnonzero(~is_defect), n_new_hot, replace=False)
    new_pixels = np.column_stack(
        [
            *np.unravel_index(places, detector.shape),
            np.exp(rng.uniform(*np.log(hot_rates), n_new_hot)),
        ]
    )
    old_pixels = detector.hot_pixels * (1, 1, dark_factor)
    return replace(
        detector,
        dark_current=detector.dark_current * dark_factor,
        hot_pixels=np.vstack([old_pixels, new_pixels]),
    )
