"""Effects on charge on its way out: traps, the full well, bleeding, an amplifier's curve."""

from __future__ import annotations

import numpy as np


def trap(electrons, traps):
    """Take from each pixel the charge that the traps below it hold back.

    Parameters
    ----------
    electrons : numpy.ndarray of shape (ny, nx), float64
        Changed in place.
    traps : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons. The charge of this row and of all above it in the column passes the
        trap on its way to row 0 and loses that charge, or all it has.
    """
    for row, column, depth in traps:
        passing_charge = electrons[int(row) :, int(column)]
        np.maximum(passing_charge - depth, 0, out=passing_charge)


def spill(electrons, full_well):
    """Let charge above the full well run along its column, half up and half down.

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
    """Carry each pixel's excess to the rows that follow, until it has found room."""
    carried = np.zeros(columns.shape[1])
    for row, added in zip(columns, excess, strict=True):
        moving = row + carried
        carried = np.maximum(moving - full_well, 0)
        row[:] = moving - carried
        carried += added


def electrons_read(electrons, nonlinearity, full_scale):
    """Return an amplifier's reading of a charge: less than in proportion where it is large.

    Parameters
    ----------
    electrons : numpy.ndarray of any shape, float64
    nonlinearity : float
        Part that is missing at `full_scale`; half of it is missing at half of that.
    full_scale : float
        Electrons.

    Returns
    -------
    numpy.ndarray of the same shape, float64
        In electrons; divided by the gain it is the reading in adu.
    """
    return electrons * (1 - nonlinearity * electrons / full_scale)
