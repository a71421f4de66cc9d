"""Figures of simulated cameras over the nights: steady ones, and archives with one step."""

from __future__ import annotations

import numpy as np

SEASON = 365.25


def nights_of(rng, nights, *, taken=0.7, gap=60):
    """Return days with frames: some nights are cloudy, and none has any in a gap."""
    days = np.arange(float(nights))
    is_taken = rng.random(nights) < taken
    if gap and nights > 2 * gap:
        first = int(rng.integers(30, nights - gap))
        is_taken[first : first + int(rng.integers(0, gap))] = False
    return days[is_taken]


def bad_nights(rng, count, *, part=0.02):
    """Return which nights are bad: some alone, a quarter of them two in a row."""
    bad = rng.random(count) < part
    bad[np.minimum(np.flatnonzero(bad)[::4] + 1, count - 1)] = True
    return bad


def correlated_noise(rng, count, correlation):
    """Return noise of unit variance of which each value resembles the one before."""
    noise = rng.standard_normal(count)
    for place in range(1, count):
        noise[place] *= (1 - correlation**2) ** 0.5
        noise[place] += correlation * noise[place - 1]
    return noise


def steady_camera(rng, *, nights=365, series=20):
    """Yield (days, values) of the figures of a steady camera, their scatter about 1.

    Five figures of four amplifiers: with noise that resembles the night before (0, 0.3, 0.6), with
    long tails, and counts. The seasons move them by up to 8, ageing by up to 5 a year; half of the
    scatter is common to all; bad nights are off by up to 50.
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
    """Return (days, values, first) of a figure that changes by a part with one of its nights.

    Drift is up to 5 % with the seasons; bad nights are off by 20 to 300 %. The first night of the
    new state is not bad: a bad night has no state.
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
