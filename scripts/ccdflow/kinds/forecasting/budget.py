"""The parts of a calibrated pixel's noise, and the further frames that would lower it most.

Pure functions of numbers: electrons in a pixel of a typical response. docs/masters.md has the
formulas in the user's words, docs/calibration.md the one that they follow from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT

# A wish multiplies the frames of a master by at most this factor: four times as many frames halve
# its noise.
_FRAMES_FACTOR = 4
# A wish is for at most this many further frames. Chosen: a night has time for them; with fewer,
# most wishes for a master of many frames save too little to be named.
_MOST_FURTHER_FRAMES = 20
# A wish for a missing master has this many frames. Chosen: ten biases take a minute.
_FIRST_FRAMES = {BIAS: 10, DARK: 5, FLAT: 5}
# A wish saves at least this fraction of a pixel's variance, or it is not named. Chosen: 1 % of the
# variance is 0.5 % of the noise, and with a smaller fraction wishes have no visible effect; with
# 0.1 those that lower the noise by 5 % would not be named.
_LEAST_SAVED_FRACTION = 0.01
_PARTS = ("photons", "dark current", "read noise", "overscan", "bias", "dark", "flat")
_PARTS_WITHOUT_LIGHT = ("dark current", "read noise", "overscan", "bias", "dark")


@dataclass(frozen=True)
class BudgetedMaster:
    """The values of a master on which the noise of a frame that takes it depends.

    Attributes
    ----------
    n_frames : int
        Number of members.
    scale : float
        The factor by which a dark is multiplied.
    exptime : float
        Exposure time of a dark, seconds.
    noise : float or None
        Noise of a pixel of a single flat, relative to its level; None for a bias or dark.
    ageing_variance : float
        Variance for the days between master and frame: electrons^2; of a flat, relative to the
        signal^2.
    takes_further_frames : bool
        Whether further frames of the night would become members of it.
    """

    n_frames: int
    scale: float = 1.0
    exptime: float = 0.0
    noise: float | None = None
    ageing_variance: float = 0.0
    takes_further_frames: bool = True


@dataclass(frozen=True)
class SmallGroup:
    """Frames of a frame's night that are too few for a master; a few more would suffice.

    Attributes
    ----------
    n_frames : int
        Number of these frames.
    minimum : int
        Number of frames that a master needs.
    exptime : float or None
        Exposure time of a dark, seconds.
    is_preferred : bool
        Whether the frame would take their master whatever its noise, as in the place of a master
        of a later night.
    """

    n_frames: int
    minimum: int
    exptime: float | None = None
    is_preferred: bool = False

    @property
    def n_lacking(self):
        """The number of further frames that a master needs."""
        return self.minimum - self.n_frames


@dataclass(frozen=True)
class BudgetedFrame:
    """The values of a frame on which the noise of its calibrated pixels depends.

    Attributes
    ----------
    exptime : float
        Seconds.
    read_noise : float
        Electrons.
    dark_rate : float
        Electrons a second.
    rounding_variance : float
        Variance of the rounding to whole adu, electrons^2; 0 where the read noise includes it.
    level_share : float
        Variance of the overscan level of a row, as a fraction of `read_variance`; 0 without
        overscan.
    sky : float or None
        Electrons of the sky in a pixel; None where it is not known.
    response : float
        Value of the flat in a median pixel; 1 without a flat, and where it is not known.
    masters : dict of str to BudgetedMaster
        The masters applied, by kind; a kind without a master is absent.
    needed_kinds : tuple of str
        The kinds of masters that the frame should have.
    is_bias_in_dark : bool
        Whether the dark's members had the frame's own bias subtracted.
    other_bias : BudgetedMaster or None
        The bias that the dark's members had subtracted, where it is not the frame's own.
    small_groups : dict of str to SmallGroup
        By kind: frames of the night that would make a better master, or the missing one.
    """

    exptime: float
    read_noise: float
    dark_rate: float = 0.0
    rounding_variance: float = 0.0
    level_share: float = 0.0
    sky: float | None = None
    response: float = 1.0
    masters: dict[str, BudgetedMaster] = field(default_factory=dict)
    needed_kinds: tuple[str, ...] = (BIAS, DARK, FLAT)
    is_bias_in_dark: bool = True
    other_bias: BudgetedMaster | None = None
    small_groups: dict[str, SmallGroup] = field(default_factory=dict)

    @property
    def read_variance(self):
        """The variance of read noise and rounding of a pixel, electrons^2."""
        return self.read_noise**2 + self.rounding_variance


@dataclass(frozen=True)
class Budget:
    """The variance of a calibrated pixel, as the sum of its parts.

    Attributes
    ----------
    parts : dict of str to float
        Variances, electrons^2, of photons, dark current, read noise, overscan, bias, dark, flat.
    """

    parts: dict[str, float]

    @property
    def total(self):
        """The sum of all parts, electrons^2."""
        return sum(self.parts.values())

    @property
    def noise(self):
        """The square root of the total, electrons."""
        return math.sqrt(self.total)

    @property
    def variance_without_light(self):
        """The variance that needs no light: all parts but photons and flat, electrons^2."""
        return sum(self.parts[name] for name in _PARTS_WITHOUT_LIGHT)

    @property
    def largest_part(self):
        """The name of the largest part, which limits the noise."""
        return max(_PARTS, key=self.parts.get)


@dataclass(frozen=True)
class Wish:
    """Further frames of one kind, and the fraction of the variance that they would save.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    n_frames : int
        Number of further frames.
    joins_frames : bool
        Whether they join frames of the same night; otherwise they make a master by themselves.
    saved_fraction : float
        Fraction of the whole variance that they save; 0 where the master is missing.
    saved_fraction_without_light : float
        Fraction of `Budget.variance_without_light` that they save; 0 where the master is missing.
    is_missing : bool
        Whether the frame has no such master.
    small_group : SmallGroup or None
        The frames of the night that make a master together with them; None where they need none.
    """

    kind: str
    n_frames: int
    joins_frames: bool
    saved_fraction: float
    saved_fraction_without_light: float
    is_missing: bool = False
    small_group: SmallGroup | None = None


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
    The calibrated value is S' = (R - B - k (D - B')) / F. If the bias B' of the dark is the bias B
    of the frame, the variance of B counts (1 - k)^2 times. Otherwise the variance of B counts once,
    and that of B' k^2 times. The variance of the dark counts k^2 times, that of the flat times the
    signal squared. The level of each row of a master was measured on its members: its variance adds
    to that of the frame's level.
    """
    masters = frame.masters
    bias, dark, flat = (masters.get(kind) for kind in (BIAS, DARK, FLAT))
    sky = max(frame.sky or 0.0, 0.0)
    bias_fraction = 1.0 - dark.scale if dark is not None and frame.is_bias_in_dark else 1.0
    parts = dict.fromkeys(_PARTS, 0.0)
    # The variances of the levels of frame and masters, in units of that of the frame's level.
    level_variances = 1.0
    if bias is not None:
        parts["bias"] = bias_fraction**2 * variance_added_by(BIAS, bias, frame)
        level_variances += bias_fraction**2 / bias.n_frames
    if dark is not None:
        parts["dark"] = variance_added_by(DARK, dark, frame)
        level_variances += dark.scale**2 / dark.n_frames
        if (other_bias := frame.other_bias) is not None and not frame.is_bias_in_dark:
            parts["bias"] += dark.scale**2 * variance_added_by(BIAS, other_bias, frame)
            level_variances += dark.scale**2 / other_bias.n_frames
    if flat is not None:
        parts["flat"] = sky**2 * (flat.noise**2 / flat.n_frames + flat.ageing_variance)
    parts["photons"] = sky
    parts["dark current"] = frame.dark_rate * frame.exptime
    parts["read noise"] = frame.read_variance
    parts["overscan"] = frame.level_share * frame.read_variance * level_variances
    # A pixel of a low response collects less light, and its noise is divided by the response.
    parts["photons"] *= frame.response
    parts["flat"] *= frame.response**2
    return Budget({name: value / frame.response**2 for name, value in parts.items()})


def variance_added_by(kind, master, frame):
    """Return the variance that a bias or dark adds to a pixel that the flat does not change.

    Parameters
    ----------
    kind : {'bias', 'dark'}
    master : BudgetedMaster
        The bias or dark.
    frame : BudgetedFrame
        The frame that takes it.

    Returns
    -------
    float
        Electrons^2; of a bias, as if none of it cancelled in the dark.
    """
    variance_of_member = frame.read_variance
    if kind == DARK:
        variance_of_member += frame.dark_rate * master.exptime
    return master.scale**2 * variance_of_member / master.n_frames + master.ageing_variance


def flat_noise(flat):
    """Return the relative noise of a pixel of a combined flat.

    Examples
    --------
    >>> round(flat_noise(BudgetedMaster(3, noise=1 / 20_170**0.5)), 4)
    0.0041
    """
    return math.sqrt(flat.noise**2 / flat.n_frames + flat.ageing_variance)


def wishes_of(frame):
    """Return the wishes for further frames that would save most variance, the best first.

    Missing masters go first, then the frames that complete a master of the night. A wish that would
    save less than 1 % is left out, unless the frame would prefer the new master for its night.

    Parameters
    ----------
    frame : BudgetedFrame

    Returns
    -------
    list of Wish
    """
    wishes = []
    for kind in frame.needed_kinds:
        small_group, master = frame.small_groups.get(kind), frame.masters.get(kind)
        if master is None:
            n_frames = small_group.n_lacking if small_group else _FIRST_FRAMES[kind]
            wishes.append(
                Wish(
                    kind,
                    n_frames,
                    joins_frames=False,
                    saved_fraction=0.0,
                    saved_fraction_without_light=0.0,
                    is_missing=True,
                    small_group=small_group,
                )
            )
            continue
        wishes += [
            wish
            for wish in _wishes_for_master(frame, kind)
            if wish.saved_fraction >= _LEAST_SAVED_FRACTION
            or (wish.small_group and wish.small_group.is_preferred)
        ]
    return sorted(
        wishes,
        key=lambda wish: (not wish.is_missing, wish.small_group is None, -wish.saved_fraction),
    )


def _wishes_for_master(frame, kind):
    """Yield all wishes for further frames of a master of a frame, however little they save."""
    current_budget, master = budget_of(frame), frame.masters[kind]
    small_group = frame.small_groups.get(kind)

    def wish(n_frames, budget_then, *, joins_frames=True, small_group=None):
        """Return the `Wish` for a number of frames, by the budget of the frame with them."""
        return Wish(
            kind,
            n_frames,
            joins_frames,
            _saved_fraction(current_budget.total, budget_then.total),
            _saved_fraction(
                current_budget.variance_without_light, budget_then.variance_without_light
            ),
            small_group=small_group,
        )

    if small_group is not None:
        budget_then = budget_of(_frame_with_new_master(frame, kind, small_group.minimum))
        yield wish(small_group.n_lacking, budget_then, small_group=small_group)
    if master.takes_further_frames:
        n_further = min((_FRAMES_FACTOR - 1) * master.n_frames, _MOST_FURTHER_FRAMES)
        larger_master = replace(master, n_frames=master.n_frames + n_further)
        budget_then = budget_of(replace(frame, masters={**frame.masters, kind: larger_master}))
        yield wish(n_further, budget_then)
        return
    n_members = min(_FRAMES_FACTOR * master.n_frames, _MOST_FURTHER_FRAMES)
    # The existing frames of the night become members of a new master as well.
    n_existing = 0 if small_group is None else small_group.n_frames
    if small_group is None or n_members > small_group.minimum:
        budget_then = budget_of(_frame_with_new_master(frame, kind, n_members))
        yield wish(n_members - n_existing, budget_then, joins_frames=n_existing > 0)


def _frame_with_new_master(frame, kind, n_frames):
    """Return a frame with a master of its own night in the place of the one that it has."""
    new_master = replace(frame.masters[kind], n_frames=n_frames, ageing_variance=0.0)
    if kind != DARK:
        return replace(frame, masters={**frame.masters, kind: new_master})
    # New darks have the frame's exposure, and their members have the frame's bias subtracted.
    exact_dark = replace(new_master, scale=1.0, exptime=frame.exptime)
    return replace(
        frame, masters={**frame.masters, DARK: exact_dark}, is_bias_in_dark=True, other_bias=None
    )


def _saved_fraction(variance_now, variance_then):
    """Return the fraction of a variance that a change saves."""
    return (variance_now - variance_then) / variance_now if variance_now > 0 else 0.0
