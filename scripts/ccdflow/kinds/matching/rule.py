"""The master that calibrates a frame, and why: a pure function of inventory and profiles.

Nothing here opens a file. Night, exposure, temperature and number of frames of a master are known
before it is made, and predict the variance that it adds to a frame. The frame takes the master that
adds the least: the choice depends on the archive, not on earlier runs.
docs/calibration.md gives the rule in the user's words.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from ccdflow.calibrate.applied_masters import DARK, FLAT
from ccdflow.camera.exposures import is_same_exposure
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.master_columns import columns_of_masters, is_scaled_too_far
from ccdflow.kinds.matching.ranking import rank_masters, rescale_use, use_at
from ccdflow.kinds.matching.rule_values import DetectorNoise, Rules
from ccdflow.kinds.matching.temperatures import observation_degrees_warmer
from ccdflow.kinds.matching.terms import choice_key, exposure_key, temperature_key
from ccdflow.run.master_choices import Missing, MissingCause, Step


class MasterChoice:
    """The rule on some candidate masters: it takes the values of a frame, and returns its `Step`.

    Parameters
    ----------
    masters : iterable of ccdflow.kinds.matching.rule_values.CandidateMaster
    rules : Rules, optional
    noise : callable, optional
        Takes a setup and returns its `DetectorNoise`; by default all have the noise of a camera
        without a profile.

    Attributes
    ----------
    rules : ccdflow.kinds.matching.rule_values.Rules
        The rules of the choice.
    """

    def __init__(self, masters, rules=None, noise=None):
        self.rules = rules or Rules()
        self._noise = noise or (lambda setup: DetectorNoise())
        self._masters_by_kind = defaultdict(list)
        masters_by_setup = defaultdict(list)
        for master in sorted(masters, key=lambda master: master.product):
            self._masters_by_kind[master.kind].append(master)
            masters_by_setup[_setup_key(master.kind, master.observation)].append(master)
        self._columns = {
            key: columns_of_masters(masters_of_setup, self.rules)
            for key, masters_of_setup in masters_by_setup.items()
        }
        # {setup key: (SetupChoice, {night: NightChoice})}
        self._setup_choices = {}

    def choose(self, kind, frame):
        """Return the masters of a kind for a frame, the best first.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : ccdflow.kinds.matching.rule_values.Observation

        Returns
        -------
        ccdflow.run.master_choices.Step
        """
        choice = self.night_choice_of(kind, frame)
        return choice.choose(frame.exptime, frame.set_temperature, frame.temperature)

    def night_choice_of(self, kind, frame):
        """Return the `NightChoice` of a frame: one object for all frames of its night and setup.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : ccdflow.kinds.matching.rule_values.Observation

        Returns
        -------
        NightChoice
        """
        key = _setup_key(kind, frame)
        if key not in self._setup_choices:
            columns, noise = self._columns.get(key), self._noise(frame.setup)
            self._setup_choices[key] = SetupChoice(self, kind, columns, noise), {}
        setup_choice, night_choices = self._setup_choices[key]
        if frame.night not in night_choices:
            night_choices[frame.night] = NightChoice(setup_choice, frame, night_choices)
        return night_choices[frame.night]

    # -- refusals, in words ------------------------------------------------------------------------

    def refused_masters(self, kind, frame, nights):
        """Return the masters of some nights that a frame may not take, and why.

        Masters of other cameras are left out.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
            Kind of the master.
        frame : ccdflow.kinds.matching.rule_values.Observation
            Values of the frame.
        nights : set of str
            Nights of the masters.

        Returns
        -------
        list of (ccdflow.kinds.matching.rule_values.CandidateMaster, str)
        """
        refusals = []
        for master in self._masters_of_nights(kind, nights):
            if _are_of_one_camera(master, frame) and (reason := self.why_not(kind, frame, master)):
                refusals.append((master, reason))
        return refusals

    def masters_that_fit(self, kind, frame, nights):
        """Return the masters of some nights that a frame may take, whatever their number of frames.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
            Kind of the master.
        frame : ccdflow.kinds.matching.rule_values.Observation
            Values of the frame.
        nights : set of str
            Nights of the masters.

        Returns
        -------
        list of ccdflow.kinds.matching.rule_values.CandidateMaster
        """
        masters = self._masters_of_nights(kind, nights)
        return [master for master in masters if not self.why_not(kind, frame, master)]

    def _masters_of_nights(self, kind, nights):
        """Return the masters of a kind and of some nights, in the order of products."""
        # An archive has thousands of nights, and a caller names a few of them.
        masters_by_night = self._numbered_masters_by_night
        numbered_masters = [
            each for night in nights for each in masters_by_night.get((kind, night), ())
        ]
        return [master for _, master in sorted(numbered_masters, key=itemgetter(0))]

    @cached_property
    def _numbered_masters_by_night(self):
        """{(kind, night): [(number in the order of products, master)]}."""
        masters_by_night = defaultdict(list)
        for masters in self._masters_by_kind.values():
            for number, master in enumerate(masters):
                masters_by_night[master.kind, master.observation.night].append((number, master))
        return masters_by_night

    def why_not(self, kind, frame, master):
        """Return the criterion that a master does not meet, in a few words; '' if it meets all.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
            Kind of the master.
        frame : ccdflow.kinds.matching.rule_values.Observation
            Values of the frame.
        master : ccdflow.kinds.matching.rule_values.CandidateMaster
            Master that may fit.

        Returns
        -------
        str
        """
        observation = master.observation
        # An observer compares the filters of flats first, so a wrong filter is named first.
        reasons = ["other filter"] if kind == FLAT and observation.light != frame.light else []
        if observation.setup != frame.setup:
            return ", ".join([*reasons, match_sentences.differences_in_words(observation, frame)])
        if kind == DARK:
            reasons += [fault.own_words for fault in self._dark_faults(observation, frame)]
        return reasons[0] if reasons else ""

    def why_none(self, kind, frame, seconds=None):
        """Return why no master fits a frame: the criterion and the nearest masters, as `Missing`.

        Parameters
        ----------
        kind : {'bias', 'dark', 'flat'}
        frame : ccdflow.kinds.matching.rule_values.Observation
        seconds : float, optional
            The exposure that the reason names, where frames of about this exposure share it.

        Returns
        -------
        ccdflow.run.master_choices.Missing
        """
        # The criteria are compared with the frame's own exposure: a rounded one may meet them.
        named_frame = frame if seconds is None else replace(frame, exptime=seconds)
        masters_of_camera = [
            each for each in self._masters_by_kind[kind] if _are_of_one_camera(each, frame)
        ]
        if not masters_of_camera:
            extent = "of this camera" if self._masters_by_kind[kind] else "at all"
            return _none_fits(kind, named_frame, f"there is none {extent}")
        masters_of_setup, other_masters = _split_by_setup(kind, masters_of_camera, frame)
        phrases = []
        if masters_of_setup:
            phrases.append(self._words_on_own_setup(kind, masters_of_setup, frame))
        if other_masters and (kind == FLAT or not masters_of_setup):
            nearest = min(
                other_masters, key=lambda master: _distance_key(kind, master, named_frame)
            )
            words = match_sentences.master_in_words(nearest, kind)
            difference_words = match_sentences.differences_in_words(nearest.observation, frame)
            phrases.append(f"nearest {words} with {difference_words}")
        is_of_other_temperature = kind == DARK and any(
            self._degrees_beyond_tolerance(dark.observation, frame) is not None
            for dark in masters_of_setup
        )
        obstacles = "; ".join(phrases)
        return _none_fits(
            kind, named_frame, obstacles, is_of_other_temperature=is_of_other_temperature
        )

    def _words_on_own_setup(self, kind, masters, frame):
        """Return the masters of the frame's setup in words; of darks also the faults and limits."""
        if kind != DARK:
            return f"there are {match_sentences.masters_in_words(masters, kind)}"
        darks_by_faults = defaultdict(list)
        for dark in masters:
            faults = self._dark_faults(dark.observation, frame)
            darks_by_faults[" and ".join(fault.common_words for fault in faults)].append(dark)
        refusal_words = "; ".join(
            f"{match_sentences.masters_in_words(darks, kind)}, {faults}"
            for faults, darks in darks_by_faults.items()
        )
        most_scale = self.rules.scale_up
        limit_in_words = (
            f"scaled up {most_scale:g} times at most" if most_scale > 1 else "not scaled up"
        )
        return (
            f"there are {refusal_words}; allowed: {limit_in_words}, and a"
            f" temperature within {self.rules.temperature_tolerance:g} C"
        )

    def _dark_faults(self, observation, frame):
        """Return the `_DarkFault` of each criterion that a dark of a frame's setup does not meet.

        Parameters
        ----------
        observation : ccdflow.kinds.matching.rule_values.Observation
            Observation of the dark.
        frame : ccdflow.kinds.matching.rule_values.Observation

        Returns
        -------
        list of _DarkFault
        """
        faults = []
        degrees = self._degrees_beyond_tolerance(observation, frame)
        if degrees is not None:
            words = match_sentences.warmer_words(degrees)
            faults.append(_DarkFault("of another temperature", words))
        if frame.exptime is None or not observation.exptime:
            faults.append(_DarkFault("an exposure is unknown", "an exposure is unknown"))
        elif not is_same_exposure(observation.exptime, frame.exptime):
            scale = frame.exptime / observation.exptime
            if is_scaled_too_far(scale, self.rules.scale_up):
                faults.append(_DarkFault("too short", f"would be scaled up {scale:.2g} times"))
        return faults

    def _degrees_beyond_tolerance(self, observation, frame):
        """Return by how many degrees Celsius a dark is warmer than a frame, beyond the tolerance.

        None within the tolerance, and where it is unknown.
        """
        degrees = observation_degrees_warmer(observation, frame)
        is_beyond = degrees is not None and abs(degrees) > self.rules.temperature_tolerance
        return degrees if is_beyond else None


def _split_by_setup(kind, masters, frame):
    """Return the masters of a frame's setup, and those of other setups.

    Where flats of other setups have the frame's filter, the others are left out.
    """
    masters_of_setup = [each for each in masters if each.observation.setup == frame.setup]
    other_masters = [each for each in masters if each.observation.setup != frame.setup]
    masters_of_light = [each for each in other_masters if each.observation.light == frame.light]
    if kind == FLAT and masters_of_light:
        return masters_of_setup, masters_of_light
    return masters_of_setup, other_masters


class _DarkFault(NamedTuple):
    """A criterion that a dark of a frame's setup does not meet, in words.

    Attributes
    ----------
    common_words : str
        Words that fit all darks with this fault: ``too short``.
    own_words : str
        Words with the figure of this dark: ``would be scaled up 4.3 times``.
    """

    common_words: str
    own_words: str


class SetupChoice:
    """The choice of one kind of master for the frames of one setup and filter, in all nights.

    Parameters
    ----------
    master_choice : MasterChoice
        The rule on the candidates of all setups.
    kind : {'bias', 'dark', 'flat'}
    columns : ccdflow.kinds.matching.master_columns.MasterColumns or None
        The candidates of this setup; None where there is none.
    noise : DetectorNoise

    Attributes
    ----------
    unneeded_step : ccdflow.run.master_choices.Step
        The step of frames that need no master of the kind.
    """

    def __init__(self, master_choice, kind, columns, noise):
        self.master_choice = master_choice
        self.kind, self.columns, self.noise = kind, columns, noise
        self.unneeded_step = Step(kind, is_needed=False)


class NightChoice:
    """The choice of one kind of master for the frames of one setup, filter and night.

    These frames differ in exposure and temperature alone.

    Parameters
    ----------
    setup_choice : SetupChoice
    frame : ccdflow.kinds.matching.rule_values.Observation
        One of these frames.
    night_choices : dict of str to NightChoice
        The choices of the setup that exist, by night; `choice_of_night` adds to them.
    """

    def __init__(self, setup_choice, frame, night_choices):
        self.frame = frame
        self._setup_choice, self._night_choices = setup_choice, night_choices
        self._kind, self._columns = setup_choice.kind, setup_choice.columns
        self._noise = setup_choice.noise
        # {choice key: (Step, whether any of its darks is scaled)}
        self._steps = {}
        # {(choice key, exposure): Step whose darks are scaled for the exposure}
        self._rescaled_steps = {}
        # {(product, choice key): Use or None}
        self._single_uses = {}

    def frame_with(self, seconds, set_point, sensor):
        """Return a frame of this setup and night, with its exposure and temperatures.

        Parameters
        ----------
        seconds, set_point, sensor : float or None
            Exposure in seconds, and temperatures in degrees Celsius.

        Returns
        -------
        ccdflow.kinds.matching.rule_values.Observation
        """
        return self.frame.observation_at(self.frame.night, seconds, set_point, sensor)

    def choice_of_night(self, night):
        """Return the `NightChoice` of frames of this setup and filter in another night."""
        choices = self._night_choices
        if night not in choices:
            own_frame = self.frame
            frame = own_frame.observation_at(
                night, own_frame.exptime, own_frame.set_temperature, own_frame.temperature
            )
            choices[night] = NightChoice(self._setup_choice, frame, choices)
        return choices[night]

    @property
    def candidates_key(self):
        """The key of the candidate masters: kind, identity of their columns, and noise."""
        return self._kind, id(self._columns), self._noise

    def exposure_key(self, seconds):
        """Return the key of an exposure: frames with equal keys have the same choice.

        Parameters
        ----------
        seconds : float or None

        Returns
        -------
        tuple, float, bool or None
            False for a frame that needs no dark; None for biases and flats, and for a dark if the
            exposure is unknown.
        """
        if self._kind == DARK and not _needs_dark(seconds, self._noise):
            return False
        return exposure_key(self._columns, self._kind, seconds)[0]

    def temperature_key(self, set_point, sensor):
        """Return the key of the temperatures: frames with equal keys have the same choice.

        Parameters
        ----------
        set_point, sensor : float or None
            Degrees Celsius.

        Returns
        -------
        bytes
        """
        return temperature_key(self._columns, self._kind, (set_point, sensor))

    def choose(self, seconds, set_point, sensor):
        """Return the `Step` of a frame: one object for all frames with the same key.

        Steps with scaled darks are shared only by frames of exactly one exposure.

        Parameters
        ----------
        seconds, set_point, sensor : float or None
            Exposure in seconds, and temperatures in degrees Celsius.

        Returns
        -------
        ccdflow.run.master_choices.Step
        """
        if self._kind == DARK and not _needs_dark(seconds, self._noise):
            return self._setup_choice.unneeded_step
        key, rounded_seconds = choice_key(self._columns, self._kind, seconds, (set_point, sensor))
        if key not in self._steps:
            frame = self.frame_with(seconds, set_point, sensor)
            step = self._choose(frame, key, rounded_seconds)
            self._steps[key] = step, any(use.is_scaled for use in step.uses)
        step, has_scaled_darks = self._steps[key]
        if not has_scaled_darks:
            return step
        # The exposures of one key have the same darks, each with a scale of its own.
        if (key, seconds) not in self._rescaled_steps:
            rescaled_uses = [
                rescale_use(use, self._columns.exptime_of(use.product), seconds)
                for use in step.uses
            ]
            self._rescaled_steps[key, seconds] = Step(step.kind, tuple(rescaled_uses))
        return self._rescaled_steps[key, seconds]

    def uses(self, products, set_point, sensor):
        """Return the `Use` of each of some biases or flats that are among the candidates.

        Parameters
        ----------
        products : sequence of str
            Products of the biases or flats.
        set_point, sensor : float or None
            Degrees Celsius.

        Returns
        -------
        list of ccdflow.run.master_choices.Use
        """
        temperatures, single_uses = (set_point, sensor), self._single_uses
        key, _ = choice_key(self._columns, self._kind, None, temperatures)
        for product in products:
            if (product, key) not in single_uses:
                single_uses[product, key] = self._use(product, *temperatures)
        uses = [single_uses[product, key] for product in products]
        return [use for use in uses if use is not None]

    def _use(self, product, set_point, sensor):
        """Return the `Use` of one bias or flat; None where the candidates have no such master.

        The exposure of the frame does not matter: biases and flats are not scaled.
        """
        index = None if self._columns is None else self._columns.index_of(product)
        if index is None:
            return None
        frame = self.frame_with(None, set_point, sensor)
        return use_at(self._columns, index, self._kind, frame, self._noise)

    def _choose(self, frame, key, seconds):
        """Return the `Step` of a frame: its masters, the best first, or why it has none.

        A master is scaled and ranked for ``seconds``, the frame's exposure to three digits. Frames
        with one ``key`` share the step; their exposures are equal to three digits. The exact
        ``frame.exptime`` decides whether a dark is long enough; the key contains that decision.

        Parameters
        ----------
        frame : ccdflow.kinds.matching.rule_values.Observation
            With its own exposure, which is compared with the criteria.
        key : hashable
            Its `choice_key`.
        seconds : float or None
            The exposure that the masters are scaled for, and that a refusal names.

        Returns
        -------
        ccdflow.run.master_choices.Step
        """
        uses = {}
        if self._columns is not None:
            # A master of several nights competes once for each night: its best place counts.
            for use in rank_masters(
                self._columns, self._kind, frame, self._noise, seconds, key=key
            ):
                uses.setdefault(use.product, use)
        if uses:
            return Step(self._kind, tuple(uses.values()))
        missing_master = self._setup_choice.master_choice.why_none(self._kind, frame, seconds)
        return Step(self._kind, missing_master=missing_master)


def _none_fits(kind, frame, obstacles, *, is_of_other_temperature=False):
    """Return why a frame has no master of a kind: no candidate meets all criteria.

    Parameters
    ----------
    kind : {'bias', 'dark', 'flat'}
    frame : ccdflow.kinds.matching.rule_values.Observation
        With the exposure that the reason names.
    obstacles : str
        The masters that exist, and the obstacle to each of them: `Missing.obstacles`.
    is_of_other_temperature : bool, optional
        Whether the temperature keeps the frame from taking a dark.

    Returns
    -------
    ccdflow.run.master_choices.Missing
    """
    return Missing(
        kind,
        MissingCause.NONE_FITS,
        seconds=(frame.exptime,) if kind == DARK else (),
        light=frame.filter if kind == FLAT else "",
        setup=match_sentences.setup_words(frame.setup),
        obstacles=obstacles,
        is_of_other_temperature=is_of_other_temperature,
    )


def _distance_key(kind, master, frame):
    """Return the key that sorts masters of other setups by their distance from a frame.

    The number of criteria in which master and frame differ comes first, then the ratio of the
    exposures of darks, then the name of the product.
    """
    exposures = (master.observation.exptime, frame.exptime) if kind == DARK else ()
    # Darks are scaled, so that the ratio of two exposures is their distance.
    is_known = bool(exposures) and all(exposures)
    log_ratio = abs(math.log(exposures[0] / exposures[1])) if is_known else math.inf
    return match_sentences.count_differences(master.observation, frame), log_ratio, master.product


def _are_of_one_camera(master, frame):
    """Return whether a master and a frame are of one camera."""
    return dict(master.observation.setup).get("camera") == dict(frame.setup).get("camera")


def _setup_key(kind, observation):
    """Return the key of the columns that have the masters for an observation."""
    return kind, observation.setup, observation.light if kind == FLAT else ""


def _needs_dark(seconds, noise):
    """Return whether a frame is long enough for its dark current to matter.

    It matters where the electrons of the dark current are at least a tenth of the read noise. The
    tenth is chosen: with fewer electrons a dark would add more noise than it takes away. A frame of
    0 s is never long enough; one of unknown exposure or dark current always is.
    """
    if seconds is not None and seconds <= 0:
        return False
    if not noise.dark_rate or seconds is None:
        return True
    return seconds * noise.dark_rate >= noise.read_noise / 10
