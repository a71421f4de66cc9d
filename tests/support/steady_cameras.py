"""Figures of simulated cameras by night: steady ones, and archives with one step."""

from __future__ import annotations

import numpy as np

SEASON = 365.25


def nights_of(rng, nights, *, fraction_taken=0.7, gap=60):
    """Return the days with frames: cloudy nights, and a gap of some weeks, have none."""
    days = np.arange(float(nights))
    is_taken = rng.random(nights) < fraction_taken
    if gap and nights > 2 * gap:
        first = int(rng.integers(30, nights - gap))
        is_taken[first : first + int(rng.integers(0, gap))] = False
    return days[is_taken]


def bad_nights(rng, count, *, fraction=0.02):
    """Return which nights are bad: single ones, and a quarter of the time two in a row."""
    bad = rng.random(count) < fraction
    bad[np.minimum(np.flatnonzero(bad)[::4] + 1, count - 1)] = True
    return bad


def correlated_noise(rng, count, correlation):
    """Return noise of unit variance with a correlation between successive values."""
    noise = rng.standard_normal(count)
    for place in range(1, count):
        noise[place] *= (1 - correlation**2) ** 0.5
        noise[place] += correlation * noise[place - 1]
    return noise


def steady_camera(rng, *, nights=365, series=20):
    """Yield (days, values) of the figures of a steady camera, with a scatter of about 1.

    Five sorts of figures repeat: noise with a correlation of 0, 0.3 and 0.6 between nights, noise
    with long tails, and counts. The first three change by up to 8 with the seasons and by up to 5 a
    year by ageing; half of their variance is common to all; bad nights differ by up to 50.
    """
    days = nights_of(rng, nights)
    bad, common = bad_nights(rng, days.size), rng.standard_normal(days.size)
    for number in range(series):
        kind = number % 5
        if kind == 3:
            yield days, rng.standard_t(4, days.size)
        elif kind == 4:
            yield days, rng.poisson(30, days.size).astype(float)
        else:
            values = 0.7 * correlated_noise(rng, days.size, 0.3 * kind) + 0.7 * common
            values += rng.uniform(0, 8) * np.sin(2 * np.pi * (days / SEASON + rng.random()))
            values += rng.uniform(-5, 5) * days / SEASON
            size = rng.choice([-1, 1], days.size) * rng.uniform(3, 50, days.size)
            yield days, np.where(bad, values + size, values)


def archive_with_step(rng, *, nights=60, scatter=0.01, step=0.2, margin=6, bad=0.02):
    """Return (days, values, first) of a figure that changes by a fraction from night `first` on.

    The figure drifts by up to 5 % with the seasons, and bad nights differ by 20 to 300 %. The first
    night of the new state is never bad.
    """
    days = np.sort(rng.choice(int(1.4 * nights), nights, replace=False)).astype(float)
    first = int(rng.integers(margin, nights - margin + 1))
    values = 100 * (1 + scatter * rng.standard_normal(nights))
    values *= 1 + rng.uniform(0, 0.05) * np.sin(2 * np.pi * (days / SEASON + rng.random()))
    values *= 1 + step * rng.choice([-1, 1]) * (np.arange(nights) >= first)
    is_bad = rng.random(nights) < bad
    is_bad[first] = False
    off = rng.choice([-1, 1], nights) * rng.uniform(0.2, 3, nights)
    return days, np.where(is_bad, values * (1 + off), values), first
