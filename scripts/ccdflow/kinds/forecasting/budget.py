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
_LEAST_VARIANCE_PART = 0.01
_PARTS = ("photons", "dark current", "read noise", "overscan", "bias", "dark", "flat")
_PARTS_WITHOUT_LIGHT = ("dark current", "read noise", "overscan", "bias", "dark")


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
        Exposure time of a dark, seconds.
    noise : float or None
        Noise of a single member: of a flat relative to its level; None for the prediction (a bias
        or dark).
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
class SmallGroup:
    """Frames of a frame's own night that a few more would make into a master.

    Attributes
    ----------
    frames : int
        Number of frames there are.
    minimum : int
        Number of frames that a master needs.
    exptime : float or None
        Exposure time of a dark, seconds.
    is_preferred : bool
        Whether a master of them is taken whatever its noise: it is of the own night, and the frame
        has one of a later night.
    """

    frames: int
    minimum: int
    exptime: float | None = None
    is_preferred: bool = False

    @property
    def lacking(self):
        """The number of further frames that are needed."""
        return self.minimum - self.frames


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
    rounding : float
        Variance of rounding to whole adu, electrons^2; 0 where the read noise includes it.
    level_share : float
        Variance of the level of a row, in units of that of read noise and rounding; 0 without
        overscan.
    sky : float or None
        Electrons in a pixel; None if it is not known.
    response : float
        Response of the flat in a median pixel; 1 without a flat, and where it is not known.
    masters : dict of str to Applied
        By kind; a kind without a master is absent.
    needed_kinds : tuple of str
        The kinds of masters that the frame should have.
    is_bias_in_dark : bool
        Whether the dark's members had the frame's own bias subtracted.
    other_bias : Applied or None
        The bias that they had subtracted, where it is another one.
    small_groups : dict of str to SmallGroup
        By kind: frames of the night that would be a better master, or the one that is absent.
    """

    exptime: float
    read_noise: float
    dark_rate: float = 0.0
    rounding: float = 0.0
    level_share: float = 0.0
    sky: float | None = None
    response: float = 1.0
    masters: dict[str, Applied] = field(default_factory=dict)
    needed_kinds: tuple[str, ...] = (BIAS, DARK, FLAT)
    is_bias_in_dark: bool = True
    other_bias: Applied | None = None
    small_groups: dict[str, SmallGroup] = field(default_factory=dict)

    @property
    def unlit(self):
        """The variance of a pixel of one frame without light and dark current, electrons^2."""
        return self.read_noise**2 + self.rounding


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
    def variance_without_light(self):
        """The variance that is there without light: of reading and of the dark."""
        return sum(self.parts[name] for name in _PARTS_WITHOUT_LIGHT)

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
        Number of these frames.
    has_more : bool
        Whether they join frames of the same night; else they make a master of their own.
    gain : float
        Part of the whole variance that they take away; 0 where the master is missing.
    gain_without_light : float
        Part of the variance of reading and dark.
    is_missing : bool
        Whether the frame has no such master.
    completes : SmallGroup or None
        The frames of the night that become a master by them.
    """

    kind: str
    frames: int
    has_more: bool
    gain: float
    gain_without_light: float
    is_missing: bool = False
    completes: SmallGroup | None = None


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
    read_variance = frame.unlit
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
    parts["read noise"] = read_variance
    parts["overscan"] = frame.level_share * read_variance * rows
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
        The bias or dark.
    frame : BudgetedFrame
        Frame that takes it.

    Returns
    -------
    float
        The variance; that of a bias counts as if none of it cancelled.
    """
    variance_of_member = frame.unlit
    if kind == DARK:
        variance_of_member += frame.dark_rate * master.exptime
    return master.scale**2 * variance_of_member / master.frames + master.ageing


def flat_noise(flat):
    """Return the relative noise of a pixel of a combined flat.

    Examples
    --------
    >>> round(flat_noise(Applied(3, noise=1 / 20_170**0.5)), 4)
    0.0041
    """
    return math.sqrt(flat.noise**2 / flat.frames + flat.ageing)


def frames_wished(frame):
    """Return which further frames would gain most, the best first.

    Missing masters lead, then the few frames that complete a master of the night.

    Parameters
    ----------
    frame : BudgetedFrame

    Returns
    -------
    list of Wish
    """
    wishes_of_frame = []
    for kind in frame.needed_kinds:
        small_group, master = frame.small_groups.get(kind), frame.masters.get(kind)
        if master is None:
            frames = small_group.lacking if small_group else _FIRST_FRAMES[kind]
            wishes_of_frame.append(
                Wish(
                    kind,
                    frames,
                    has_more=False,
                    gain=0.0,
                    gain_without_light=0.0,
                    is_missing=True,
                    completes=small_group,
                )
            )
            continue
        wishes_of_frame += [
            wish
            for wish in _wishes_of(frame, kind)
            if wish.gain >= _LEAST_VARIANCE_PART or (wish.completes and wish.completes.is_preferred)
        ]
    return sorted(
        wishes_of_frame, key=lambda wish: (not wish.is_missing, wish.completes is None, -wish.gain)
    )


def _wishes_of(frame, kind):
    """Yield the wishes for further frames of a master that a frame has, also of little gain."""
    current_budget, master, small_group = (
        budget_of(frame),
        frame.masters[kind],
        frame.small_groups.get(kind),
    )

    def wish(frames, budget_then, *, joins=True, completes=None):
        gain = _saved_part(current_budget.total, budget_then.total)
        gain_without_light = _saved_part(
            current_budget.variance_without_light, budget_then.variance_without_light
        )
        return Wish(kind, frames, joins, gain, gain_without_light, completes=completes)

    if small_group is not None:
        budget_then = budget_of(_with_new(frame, kind, small_group.minimum))
        yield wish(small_group.lacking, budget_then, completes=small_group)
    if master.is_own:
        further_frames = min((_FRAMES_FACTOR - 1) * master.frames, _MOST_FURTHER_FRAMES)
        larger_master = replace(master, frames=master.frames + further_frames)
        budget_then = budget_of(replace(frame, masters={**frame.masters, kind: larger_master}))
        yield wish(further_frames, budget_then)
        return
    frames = min(_FRAMES_FACTOR * master.frames, _MOST_FURTHER_FRAMES)
    # Frames that are there count: further ones join them.
    frames_there = 0 if small_group is None else small_group.frames
    if small_group is None or frames > small_group.minimum:
        budget_then = budget_of(_with_new(frame, kind, frames))
        yield wish(frames - frames_there, budget_then, joins=frames_there > 0)


def _with_new(frame, kind, frames):
    """Return a frame with a master of its own night in the place of the one that it has."""
    new_master = replace(frame.masters[kind], frames=frames, ageing=0.0)
    if kind != DARK:
        return replace(frame, masters={**frame.masters, kind: new_master})
    # New darks have the frame's own exposure, and take its own bias.
    exact_dark = replace(new_master, scale=1.0, exptime=frame.exptime)
    return replace(
        frame, masters={**frame.masters, DARK: exact_dark}, is_bias_in_dark=True, other_bias=None
    )


def _saved_part(variance_now, variance_then):
    """Return the part of a variance that a change takes away."""
    return (variance_now - variance_then) / variance_now if variance_now > 0 else 0.0
