"""Values of a simulated detector's amplifiers, for each of its columns."""

import numpy as np


def values_by_column(detector, name):
    """Return a value of the amplifiers, such as ``"gain"``, for each science column: (nx,)."""
    return np.concatenate([
        np.full(amplifier.columns[1] - amplifier.columns[0], getattr(amplifier, name))
        for amplifier in detector.amplifiers
    ])  # fmt: skip
