"""Effects on charge on its way out: traps, the full well, bleeding, an amplifier's curve."""

from __future__ import annotations

import numpy as np


def hold_back_charge(electrons, traps):
    """Subtract from each pixel the charge that the traps on its way to row 0 hold back, in place.

    Parameters
    ----------
    electrons : numpy.ndarray of shape (ny, nx), float64
        Changed in place.
    traps : numpy.ndarray of shape (n, 3), float64
        Row, column, and electrons that the charge of this row and of all rows above it loses in
        the column, or all its electrons.
    """
    for row, column, depth in traps:
        passing_charge = electrons[int(row) :, int(column)]
        np.maximum(passing_charge - depth, 0, out=passing_charge)


def spill_charge(electrons, full_well):
    """Move charge above the full well along its column, half up and half down, in place.

    Parameters
    ----------
    electrons : numpy.ndarray of shape (ny, nx), float64
        Changed in place. Charge that runs over an edge is lost.
    full_well : float
        Electrons that one pixel holds.
    """
    overfull_columns = np.flatnonzero((electrons > full_well).any(axis=0))
    if not overfull_columns.size:
        return
    columns = electrons[:, overfull_columns]
    excess = np.maximum(columns - full_well, 0) / 2
    np.minimum(columns, full_well, out=columns)
    _carry_excess(columns, excess, full_well)
    _carry_excess(columns[::-1], excess[::-1], full_well)
    electrons[:, overfull_columns] = columns


def _carry_excess(columns, excess, full_well):
    """Add each pixel's excess to the next rows, up to the full well of each, in place."""
    carried_charge = np.zeros(columns.shape[1])
    for row, new_excess in zip(columns, excess, strict=True):
        charge_of_row = row + carried_charge
        carried_charge = np.maximum(charge_of_row - full_well, 0)
        row[:] = charge_of_row - carried_charge
        carried_charge += new_excess


def measured_electrons(electrons, nonlinearity, full_scale):
    """Return the electrons that a nonlinear amplifier measures of a charge.

    Large charges are measured too low.

    Parameters
    ----------
    electrons : numpy.ndarray of any shape, float64
    nonlinearity : float
        Fraction that is missing at `full_scale`; at half of it, half the fraction is missing.
    full_scale : float
        Electrons.

    Returns
    -------
    numpy.ndarray of the same shape, float64
        Electrons: divided by the gain, they are the signal in adu.
    """
    return electrons * (1 - nonlinearity * electrons / full_scale)
