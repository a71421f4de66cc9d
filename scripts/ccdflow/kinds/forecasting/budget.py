"""The parts of a calibrated pixel's noise, and the further frames that would lower it most.

Pure functions of numbers: electrons in a pixel of a typical response. docs/masters.md has the
formulas in the user's words, docs/calibration.md the one that they follow from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT

# A wish multiplies the frames of a master by at most this: four times the frames halve its noise.
_FRAMES_FACTOR = 4
# A wish is for at most this many further frames.
_MOST_FURTHER_FRAMES = 20
# A first master is to have this many frames.
_FIRST_FRAMES = {BIAS: 10, DARK: 5, FLAT: 5}
# A wish gains at least this part of the variance.
_LEAST_GAIN = 0.01
_PARTS = ("photons", "dark current", "read noise", "overscan", "bias", "dark", "flat")
_OF_READING = ("dark current", "read noise", "overscan", "bias", "dark")


@dataclass(frozen=True)
class Applied:
    """A master applied to a frame.

    Attributes
    ----------
    frames : int
        Members.
    scale : float
        The factor of a dark.
    exptime : float
        Of a dark, seconds.
    noise : float or None
        Of a single member: of a flat relative to its level; None for the prediction (a bias or
        dark).
    ageing : float
        Variance for the days between: electrons^2; of a flat, relative.
    is_own : bool
        Whether it is of the frame's own night, so that further frames would join it.
    """

    frames: int
    scale: float = 1.0
    exptime: float = 0.0
    noise: float | None = None
    ageing: float = 0.0
    is_own: bool = True


@dataclass(frozen=True)
class BudgetedFrame:
    """A frame whose noise is budgeted.

    Attributes
    ----------
    exptime : float
        Seconds.
    read_noise : float
        Electrons.
    dark_rate : float
        Electrons a second.
    level_share : float
        Variance of the level of a row, in units of the read noise squared; 0 without overscan.
    sky : float or None
        Electrons in a pixel; None if it is not known.
    response : float
        Of the flat in a median pixel; 1 without a flat, and where it is not known.
    masters : dict of str to Applied
        By kind; a kind without a master is absent.
    needed : tuple of str
        The kinds of masters that the frame should have.
    is_bias_in_dark : bool
        Whether the dark's members had the frame's own bias subtracted.
    other_bias : Applied or None
        The bias that they had subtracted, where it is another one.
    """

    exptime: float
    read_noise: float
    dark_rate: float = 0.0
    level_share: float = 0.0
    sky: float | None = None
    response: float = 1.0
    masters: dict[str, Applied] = field(default_factory=dict)
    needed: tuple[str, ...] = (BIAS, DARK, FLAT)
    is_bias_in_dark: bool = True
    other_bias: Applied | None = None


@dataclass(frozen=True)
class Budget:
    """The variance of a calibrated pixel, electrons^2, in its parts.

    Attributes
    ----------
    parts : dict of str to float
        photons, dark current, read noise, overscan, bias, dark, flat.
    """

    parts: dict[str, float]

    @property
    def total(self):
        """The sum of all parts."""
        return sum(self.parts.values())

    @property
    def noise(self):
        """The standard error of a pixel, electrons."""
        return math.sqrt(self.total)

    @property
    def of_reading(self):
        """The variance that is there without light: of reading and of the dark."""
        return sum(self.parts[name] for name in _OF_READING)

    @property
    def cap(self):
        """The largest part, by name."""
        return max(_PARTS, key=self.parts.get)


@dataclass(frozen=True)
class Wish:
    """Further frames, and the variance that they would take away.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    frames : int
        How many.
    has_more : bool
        Whether they join frames of the same night; else they make a master of their own.
    gain : float
        Part of the whole variance that they take away; 0 where the master is missing.
    gain_of_reading : float
        Part of the variance of reading and dark.
    is_missing : bool
        Whether the frame has no such master.
    """

    kind: str
    frames: int
    has_more: bool
    gain: float
    gain_of_reading: float
    is_missing: bool = False


def budget_of(frame):
    """Return the `Budget` of a frame.

    Parameters
    ----------
    frame : BudgetedFrame

    Returns
    -------
    Budget

    Notes
    -----
    Of S' = (R - B - k (D - B)) / F: a bias enters with (1 - k)^2 if the dark had the same bias
    subtracted, else both biases add, that of the dark times k^2; the dark with k^2; the flat with
    the signal squared. The level of each row of the masters was measured on their members, and
    adds to that of the frame.
    """
    masters = frame.masters
    read = frame.read_noise**2
    bias, dark, flat = (masters.get(kind) for kind in (BIAS, DARK, FLAT))
    sky = max(frame.sky or 0.0, 0.0)
    share = 1.0 - dark.scale if dark is not None and frame.is_bias_in_dark else 1.0
    parts = dict.fromkeys(_PARTS, 0.0)
    rows = 1.0
    if bias is not None:
        parts["bias"] = share**2 * added_by(BIAS, bias, frame)
        rows += share**2 / bias.frames
    if dark is not None:
        parts["dark"] = added_by(DARK, dark, frame)
        rows += dark.scale**2 / dark.frames
        if (other_bias := frame.other_bias) is not None and not frame.is_bias_in_dark:
            parts["bias"] += dark.scale**2 * added_by(BIAS, other_bias, frame)
            rows += dark.scale**2 / other_bias.frames
    if flat is not None:
        parts["flat"] = sky**2 * (flat.noise**2 / flat.frames + flat.ageing)
    parts["photons"] = sky
    parts["dark current"] = frame.dark_rate * frame.exptime
    parts["read noise"] = read
    parts["overscan"] = frame.level_share * read * rows
    # A pixel of a low response collects less light, and its noise is divided by the response.
    parts["photons"] *= frame.response
    parts["flat"] *= frame.response**2
    return Budget({name: value / frame.response**2 for name, value in parts.items()})


def added_by(kind, master, frame):
    """Return the variance that a bias or dark adds to a pixel of response 1, electrons^2.

    Parameters
    ----------
    kind : {'bias', 'dark'}
    master : Applied
    frame : BudgetedFrame

    Returns
    -------
    float
        Of a bias as if none of it cancelled.
    """
    of_one_frame = frame.read_noise**2
    if kind == DARK:
        of_one_frame += frame.dark_rate * master.exptime
    return master.scale**2 * of_one_frame / master.frames + master.ageing


def flat_noise(flat):
    """Return the relative noise of a pixel of a combined flat.

    >>> round(flat_noise(Applied(3, noise=1 / 20_170**0.5)), 4)
    0.0041
    """
    return math.sqrt(flat.noise**2 / flat.frames + flat.ageing)


def wishes(frame):
    """Return which further frames would gain most, the best first: missing masters lead.

    Parameters
    ----------
    frame : BudgetedFrame

    Returns
    -------
    list of Wish
    """
    now, masters = budget_of(frame), frame.masters
    ranked = []
    for kind in frame.needed:
        master = masters.get(kind)
        if master is None:
            ranked.append(
                Wish(
                    kind,
                    _FIRST_FRAMES[kind],
                    has_more=False,
                    gain=0.0,
                    gain_of_reading=0.0,
                    is_missing=True,
                )
            )
            continue
        factor = _FRAMES_FACTOR - (1 if master.is_own else 0)
        further_frames = min(factor * master.frames, _MOST_FURTHER_FRAMES)
        then = budget_of(_with_more(frame, kind, further_frames))
        wish = Wish(
            kind,
            further_frames,
            master.is_own,
            _gain(now.total, then.total),
            _gain(now.of_reading, then.of_reading),
        )
        if wish.gain >= _LEAST_GAIN:
            ranked.append(wish)
    return sorted(ranked, key=lambda wish: (not wish.is_missing, -wish.gain))


def _with_more(frame, kind, further_frames):
    """Return a frame with further frames in a master of its own night, or with a new master."""
    master = frame.masters[kind]
    if master.is_own:
        better = replace(master, frames=master.frames + further_frames)
    else:
        better = replace(master, frames=further_frames, ageing=0.0)
    frame = replace(frame, masters={**frame.masters, kind: better})
    if kind != DARK or master.is_own:
        return frame
    # New darks are of the frame's own exposure, and take its own bias.
    exact = replace(better, scale=1.0, exptime=frame.exptime)
    return replace(
        frame,
        masters={**frame.masters, DARK: exact},
        is_bias_in_dark=True,
        other_bias=None,
    )


def _gain(now, then):
    """Return the part of a variance that a change takes away."""
    return (now - then) / now if now > 0 else 0.0
