"""The pixels of a frame without a value: their fraction, and its causes in words."""

from __future__ import annotations

from dataclasses import dataclass

SATURATED_WORDS = "saturated"
"""The words for pixels at the upper end of the converter, or masked."""

NOT_FINITE_WORDS = "not finite (NaN or infinite)"
"""The words for pixels without a number in the raw frame."""

NO_LEVEL_WORDS = "without a level (the overscan of their rows is saturated)"
"""The words for pixels whose level is not known."""


@dataclass(frozen=True)
class LostPixels:
    """The pixels of a frame without a value.

    Attributes
    ----------
    fraction : float
        Their fraction among the pixels of amplifiers with signal, 0 to 1.
    causes : tuple of str
        The causes in words, the most frequent one first.

    Examples
    --------
    >>> LostPixels(0.1).figure
    'saturated fraction'
    >>> LostPixels(0.1, (NOT_FINITE_WORDS, SATURATED_WORDS)).figure
    'fraction of pixels that are not finite (NaN or infinite) or saturated'
    """

    fraction: float
    causes: tuple[str, ...] = (SATURATED_WORDS,)

    @property
    def figure(self):
        """The name of the figure by which a frame is left out."""
        if self.causes == (SATURATED_WORDS,):
            return "saturated fraction"
        return f"fraction of pixels that are {' or '.join(self.causes)}"


NONE_LOST = LostPixels(0.0)
"""All pixels have a value."""
