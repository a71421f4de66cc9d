"""The plan of calibrated frames: frames of a night that take the same masters share one choice.

Frames of the same night, camera, setup and filter take the same bias and flat, and often the same
dark. Frames with the same masters share one choice of masters: a plan has a hundred thousand
frames, and a few hundred different choices.

Five objects hold these choices. Each contains the one above it, and adds something:

================ ==================================== ========================================
name             its frames                           it adds
================ ==================================== ========================================
`SetupChoice`    of a setup and filter, of all nights the masters of one kind, and the noise
`NightChoice`    of a setup, filter and night         the night; steps of each exposure
`WindowChoice`   the same                             cuts of masters of larger windows
`StepsChoice`    the same                             all kinds of masters
`_PlannedFrames` of a type, setup, filter and night   measurements of the detector; keys, needs
================ ==================================== ========================================

The first two are in `ccdflow.kinds.matching.rule`, the third one in
`ccdflow.kinds.matching.window_choices`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial

from ccdflow.calibrate.applied_masters import DARK
from ccdflow.files.values import number_or_none
from ccdflow.kinds.calibrating import shutter_correction
from ccdflow.kinds.matching import association, measured_flats, setups
from ccdflow.kinds.matching.answers import answers_of
from ccdflow.kinds.matching.association import first_use
from ccdflow.kinds.matching.temperatures import dark_degrees_warmer_than
from ccdflow.kinds.measuring import measured_nights
from ccdflow.run.job import Group
from ccdflow.run.lookups import Lookup, OutcomeKey
from ccdflow.run.master_choices import Step
from ccdflow.run.plan import Predecessors, WantedProduct
from ccdflow.run.raw_frames.rows import (
    canonical_text,
    digest,
    picker_of_facts,
    short_digest,
    value_picker,
)

MAY_CHANGE = "a flat that competes is made again"
"""The reason for a frame's job whose flat is not known yet: the frame may stay as it is."""

# Frames that agree in these facts and in their night take the same masters, except for darks.
_CHOICE_FACTS = (
    "type",
    *setups.READOUT_FACTS,
    "part",
    "setting",
    "filter",
    "grism",
    "optics",
    "datasec",
    "trimsec",
)
_choice_facts_of = value_picker("night", *_CHOICE_FACTS)
_choice_facts_but_night_of = picker_of_facts(*_CHOICE_FACTS)
# With this many ids of exposures and temperatures or more, all are forgotten before the next one: a
# sensor may have a million different temperatures.
_MOST_IDS = 20_000
_seconds_of, _temperatures_of = value_picker("exptime"), value_picker(*setups.TEMPERATURE_FACTS)
# Facts that distinguish the measurements of a detector, beside night, camera and geometry.
_readout_of = picker_of_facts(*setups.READOUT_FACTS, "part", "setting")
# Placeholders of a frame's own values in the text of a basis, which is cut there: control
# characters, because no basis has any.
_MARKS = _FRAME_MARK, _DEGREES_MARK, _MEASUREMENTS_MARK = "\0", "\1", "\2"
_FRAME_TEXT, _DEGREES_TEXT, _MEASUREMENTS_TEXT = map(canonical_text, _MARKS)


class ChoiceIds:
    """Ids of exposures and of temperatures: equal for those with the same choice of masters.

    Attributes
    ----------
    exposure_ids, temperature_ids : dict of hashable to int
        The ids by the exposure, and by the temperatures, as they are in headers.
    """

    def __init__(self):
        self.exposure_ids, self.temperature_ids = {}, {}
        self._ids_by_key = {}

    def ids_of(self, seconds, temperatures, window_choices):
        """Return the ids of a frame's exposure and temperatures for some choices.

        Parameters
        ----------
        seconds : float, int or str
            The frame's exposure, as in the header.
        temperatures : tuple of (float, int or str)
            The frame's temperatures, as in the header: set point and sensor.
        window_choices : sequence of ccdflow.kinds.matching.window_choices.WindowChoice

        Returns
        -------
        (int, int)
        """
        if len(self.exposure_ids) + len(self.temperature_ids) >= _MOST_IDS:
            # Both dictionaries may be emptied, because `_ids_by_key` gives the same ids again.
            self.exposure_ids.clear()
            self.temperature_ids.clear()
        if seconds not in self.exposure_ids:
            exposure = number_or_none(seconds)
            key = tuple([each.exposure_key(exposure) for each in window_choices])
            self.exposure_ids[seconds] = self._ids_by_key.setdefault(key, len(self._ids_by_key))
        if temperatures not in self.temperature_ids:
            temperature_values = tuple(map(number_or_none, temperatures))
            key = tuple([each.temperature_key(*temperature_values) for each in window_choices])
            self.temperature_ids[temperatures] = self._ids_by_key.setdefault(
                key, len(self._ids_by_key)
            )
        return self.exposure_ids[seconds], self.temperature_ids[temperatures]


def steps_choice_of(context, kinds, row):
    """Return the `StepsChoice` of the frames of one setup, filter and night, by one of them.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    kinds : sequence of ccdflow.kinds.masters.master.MasterKind
        Kinds whose groups are all planned.
    row : ccdflow.run.raw_frames.rows.Row
        Row of one of the frames.

    Returns
    -------
    StepsChoice
    """
    libraries = context.lookup(
        (Lookup.MASTER_LIBRARIES, *[kind.name for kind in kinds]),
        lambda: [association.library_of(context, kind) for kind in kinds],
    )
    window_choices = [library.window_choice_of(row) for library in libraries]
    candidates_key = tuple([each.candidates_key for each in window_choices])
    choice_ids = context.kept_by_key((OutcomeKey.CHOICE_IDS, candidates_key), ChoiceIds)
    return StepsChoice(context, window_choices, choice_ids)


class StepsChoice:
    """The choice of all kinds of masters for frames of one setup, filter and night.

    The frames differ in exposure and temperature alone, by which each takes its masters.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    window_choices : list of ccdflow.kinds.matching.window_choices.WindowChoice
        One for each kind of master.
    choice_ids : ChoiceIds
        The ids of the frames; frames of other nights with the same candidates share them.
    """

    def __init__(self, context, window_choices, choice_ids):
        self.choice_ids = choice_ids
        self._context, self._window_choices = context, window_choices
        # The steps of frames: by the ids of the single steps, and by the ids of a frame.
        self._equal_steps, self._steps_by_ids = {}, {}

    def choice_of_night(self, night):
        """Return the choice for the same setup and filter in another night of the epoch."""
        window_choices = [each.choice_of_night(night) for each in self._window_choices]
        return StepsChoice(self._context, window_choices, self.choice_ids)

    def ids_of(self, seconds, temperatures):
        """Return the ids of a frame's exposure and temperatures.

        Parameters
        ----------
        seconds : float, int or str
            The frame's exposure, as in the header.
        temperatures : tuple of (float, int or str)
            The frame's temperatures, as in the header: set point and sensor.

        Returns
        -------
        (int, int)
        """
        return self.choice_ids.ids_of(seconds, temperatures, self._window_choices)

    def choose(self, row, ids=None):
        """Return the steps of a frame; frames with equal steps get the same tuple.

        Parameters
        ----------
        row : ccdflow.run.raw_frames.rows.Row
        ids : (int, int), optional
            The frame's `ids_of`, where they are known.

        Returns
        -------
        tuple of ccdflow.run.master_choices.Step
        """
        values = row.facts.values()
        exposure_and_temperatures = (
            number_or_none(_seconds_of(values)),
            *map(number_or_none, _temperatures_of(values)),
        )
        steps_of_equals = self._steps_by_ids.get(ids)
        if steps_of_equals is None:
            steps = tuple([each.step(*exposure_and_temperatures) for each in self._window_choices])
            if ids is not None:
                self._steps_by_ids[ids] = steps
        else:
            # Two sorts of steps are made anew for each frame: frames with the same ids differ
            # in the scales of darks, and the reason for a missing master names the frame's own
            # temperature.
            steps = tuple(
                [
                    each.step(*exposure_and_temperatures)
                    if step.kind == DARK or step.missing_master
                    else step
                    for each, step in zip(self._window_choices, steps_of_equals, strict=True)
                ]
            )
        paired_steps = association.pair_masters(self._context, steps, [row], row.night)
        # The kept tuple holds the steps, so that no other step gets the ids of its key.
        return self._equal_steps.setdefault(tuple(map(id, paired_steps)), paired_steps)


def _own_values(steps, seconds, temperatures):
    """Return the values that two frames with the same ids must share to have the same steps.

    Frames with the same ids have the same masters. But a scaled dark has a scale for each
    exposure, and the reason for a missing master names the frame's own temperature.

    Parameters
    ----------
    steps : tuple of ccdflow.run.master_choices.Step
        Steps of the frame.
    seconds : float, int or str
        The frame's exposure, as in the header.
    temperatures : tuple of (float, int or str)
        The frame's temperatures, as in the header: set point and sensor.

    Returns
    -------
    tuple of object
        (), (seconds,) or (seconds, temperatures).
    """
    if any(step.missing_master for step in steps):
        return seconds, temperatures
    is_scaled = any(use.scale != 1 for step in steps for use in step.uses)
    return (seconds,) if is_scaled else ()


def _step_key(context, step):
    """Return the key of a step: frames whose steps have equal keys share a `_SharedCalibration`.

    Where a frame takes an exact dark, the second choices are scaled darks, with other scales for
    each exposure. Only the names of these darks count.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    step : ccdflow.run.master_choices.Step
        A step that the caller keeps as long as the key, so that no other step gets its id.

    Returns
    -------
    hashable
    """
    if step.kind != DARK or not step.uses or first_use(context, step) is not step.uses[0]:
        return id(step)
    return (step.uses[0], *[use.product for use in step.uses])


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has thousands.
@dataclass(slots=True)
class _SharedCalibration:
    """The calibration of frames with the same steps.

    Attributes
    ----------
    predecessors : ccdflow.run.plan.Predecessors
        The masters of this plan that are made before the frames, and which of them are substitutes.
    shared_basis : SharedBasis
        Basis and key of the frames.
    may_take_another_flat : bool
        Whether flats made in this run may be taken instead of the planned ones.
    """

    predecessors: Predecessors
    shared_basis: SharedBasis
    may_take_another_flat: bool


@dataclass(slots=True)
class _PlannedFrames:
    """The frames of one type, setup, filter and night, and the values that planning them needs.

    The frames differ in exposure and temperature alone.

    Attributes
    ----------
    night : str
    nights : (str,)
        The night, as `ccdflow.run.job.Group` has it.
    steps_choice : StepsChoice
    choice_ids : ChoiceIds
        ids of ``steps_choice``.
    measurements : tuple of str
        As `ccdflow.run.job.Group` has them.
    shared : tuple of (str, str)
        As `ccdflow.run.job.Group` has them.
    choices_by_ids : dict of tuple to (tuple of Step, _SharedCalibration)
        The steps of frames and their calibration. The key has the ids of exposure and
        temperatures, followed by the `_own_values` of the frames.
    shared_calibrations : dict of tuple to _SharedCalibration
        By the `_step_key` of their steps.
    """

    night: str
    nights: tuple[str, ...]
    steps_choice: StepsChoice
    choice_ids: ChoiceIds
    measurements: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]
    choices_by_ids: dict[tuple[object, ...], tuple[tuple[Step, ...], _SharedCalibration]] = field(
        default_factory=dict
    )
    shared_calibrations: dict[tuple[object, ...], _SharedCalibration] = field(default_factory=dict)


def _measurements_for(context, row):
    """Return the values of `_PlannedFrames.measurements` and `shared` for a frame."""
    pixels = measured_nights.bad_pixel_measurements_for(context, row)
    gain_choice = measured_nights.gain_choice_of(context, row)
    shutter_choice = shutter_correction.shutter_choice_of(context, row)
    return (*pixels, *shutter_correction.map_for(context, row)), (*gain_choice, *shutter_choice)


class FramePlanner:
    """Plans calibrated frames.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    kind : ccdflow.kinds.calibrating.science.Science
    calibration_class : type
        `ccdflow.kinds.calibrating.calibration.Calibration`.
    """

    def __init__(self, planner, kind, calibration_class):
        self._planner, self._context = planner, planner.context
        self._kind, self._calibration_class = kind, calibration_class
        self._planned_frames, self._kinds, self._measurements = {}, {}, {}
        self._choices_by_epoch = {}

    def want_all(self, frames):
        """Plan calibrated frames.

        Parameters
        ----------
        frames : iterable of (ccdflow.run.raw_frames.rows.Row, str, ccdflow.run.job_records.Record)
            The row of each frame, the product, and the record of its reduced frame.
        """
        self._planner.want_all(self._kind, self._wanted_products(frames))

    def _wanted_products(self, frames):
        """Yield the `WantedProduct` of each frame."""
        # The time of each line in this loop counts: it goes over all frames of an archive.
        context, kind, known_frames = self._context, self._kind.name, self._planned_frames
        groups = context.groups
        # Without closed nights all records are in the ledger, which is faster to ask.
        earlier_record = (
            context.ledger.get if context.other_nights is None else context.earlier_record
        )
        for row, product, reduced_record in frames:
            file, camera, values = row.file, row.camera, row.facts.values()
            choice_key = camera, row.geometry, row.recipe, _choice_facts_of(values)
            planned_frames = known_frames.get(choice_key)
            if planned_frames is None:
                planned_frames = known_frames[choice_key] = self._find_planned_frames(row)
            seconds, temperatures = _seconds_of(values), _temperatures_of(values)
            choice_ids = planned_frames.choice_ids
            ids = (
                choice_ids.exposure_ids.get(seconds),
                choice_ids.temperature_ids.get(temperatures),
            )
            steps_and_shared_calibration = planned_frames.choices_by_ids.get(ids)
            if steps_and_shared_calibration is None:
                steps_and_shared_calibration = self._choose(
                    row, product, planned_frames, seconds, temperatures
                )
            steps, shared_calibration = steps_and_shared_calibration
            night, shared_basis, basis = planned_frames.night, shared_calibration.shared_basis, None
            groups[product] = Group(
                product, night, camera, planned_frames.shared, (file,), planned_frames.nights, kind,
                steps, measurements=planned_frames.measurements,
            )  # fmt: skip
            key = shared_basis.key(reduced_record.key, temperatures)
            if earlier_record(product) is not None:
                open_entry = (
                    self._open_entry(product) if shared_calibration.may_take_another_flat else {}
                )
                key = digest([key, open_entry]) if open_entry else key
                basis = partial(shared_basis.basis, reduced_record.key, temperatures, open_entry)
            # Positional arguments in the order of the fields, because keywords are slower.
            yield WantedProduct(
                product,
                night,
                basis,
                (reduced_record.product,),
                (),
                shared_calibration.predecessors,
                key,
            )

    def _choose(self, row, product, planned_frames, seconds, temperatures):
        """Return the steps of a frame and their `_SharedCalibration`: shared by equal frames.

        Parameters
        ----------
        row : ccdflow.run.raw_frames.rows.Row
        product : str
        planned_frames : _PlannedFrames
            The planned frames of the same type, setup, filter and night.
        seconds : float, int or str
            The frame's exposure, as in the header.
        temperatures : tuple of (float, int or str)
            The frame's temperatures, as in the header: set point and sensor.
        """
        ids = planned_frames.steps_choice.ids_of(seconds, temperatures)
        for key in (ids, (*ids, seconds), (*ids, seconds, temperatures)):
            if key in planned_frames.choices_by_ids:
                return planned_frames.choices_by_ids[key]
        steps = planned_frames.steps_choice.choose(row, ids)
        step_keys = tuple([_step_key(self._context, step) for step in steps])
        shared_calibration = planned_frames.shared_calibrations.get(step_keys)
        if shared_calibration is None:
            shared_calibration = self._shared_calibration(row, product, planned_frames, steps)
            planned_frames.shared_calibrations[step_keys] = shared_calibration
        key = (*ids, *_own_values(steps, seconds, temperatures))
        planned_frames.choices_by_ids[key] = steps, shared_calibration
        return steps, shared_calibration

    def _open_entry(self, product):
        """Return the entry in the basis of an earlier frame that may take another flat.

        {} for a frame that is made in any case, because the user asked for it.
        """
        return {} if self._planner.is_forced(self._kind, product) else {MAY_CHANGE: True}

    def _find_planned_frames(self, row):
        """Return the `_PlannedFrames` of a row."""
        context, type_ = self._context, row.facts["type"]
        if type_ not in self._kinds:
            self._kinds[type_] = self._kind.steps_for(context, type_)
        # The setup is looked up once for an epoch, in all nights of which it is the same.
        epoch = setups.epoch_of(context, row.camera, row.night)
        epoch_key = (
            epoch,
            row.camera,
            row.geometry,
            row.recipe,
            *_choice_facts_but_night_of(row.facts),
        )
        if epoch_key not in self._choices_by_epoch:
            first_choice = steps_choice_of(context, self._kinds[type_], row)
            self._choices_by_epoch[epoch_key] = first_choice
        steps_choice = self._choices_by_epoch[epoch_key].choice_of_night(row.night)
        # Frames of all filters and types have the same measurements.
        key = (row.night, row.camera, row.geometry, *_readout_of(row.facts))
        if key not in self._measurements:
            self._measurements[key] = _measurements_for(context, row)
        measurements, shared = self._measurements[key]
        return _PlannedFrames(
            night=row.night,
            nights=(row.night,),
            steps_choice=steps_choice,
            choice_ids=steps_choice.choice_ids,
            measurements=measurements,
            shared=shared,
        )

    def _shared_calibration(self, row, product, planned_frames, steps):
        """Return the `_SharedCalibration` of frames of these steps.

        Parameters
        ----------
        row : ccdflow.run.raw_frames.rows.Row
        product : str
            Product of one of the frames.
        planned_frames : _PlannedFrames
        steps : tuple of ccdflow.run.master_choices.Step
        """
        context, facts = self._context, row.facts
        needs, spare_masters = association.needs_of(context, steps)
        predecessors = self._planner.predecessors_of(
            (*needs, *planned_frames.measurements), spare_masters
        )
        group = Group(
            product, planned_frames.night, row.camera, planned_frames.shared, (row.file,),
            planned_frames.nights, kind=self._kind.name, steps=steps,
            measurements=planned_frames.measurements,
        )  # fmt: skip
        # The answers have the masters that are taken, without second choices: the scales of second
        # choices differ even between exposures a thousandth apart. Frames with the same answers,
        # camera and recipe differ only in their reduced frame and temperature.
        answers = [
            (answer.kind, answer.step.is_needed, answer.use, answer.missing_master, answer.left_out)
            for answer in answers_of(context, group)
        ]
        sources = (OutcomeKey.SOURCES_ALIKE, row.camera, row.recipe, row.geometry, *answers)
        sources = (*sources, facts["readmode"], facts["gain"], planned_frames.measurements)
        shared_basis = context.kept_by_key(
            sources, lambda: SharedBasis(self._calibration_class(context, group))
        )
        return _SharedCalibration(
            predecessors, shared_basis, measured_flats.may_take_another(context, steps)
        )


class SharedBasis:
    """The sources of frames with the same steps, except for reduced frame and temperature.

    Parameters
    ----------
    calibration : ccdflow.kinds.calibrating.calibration.Calibration
        Calibration of one of the frames.
    """

    def __init__(self, calibration):
        self._dark = calibration.uses.get("dark")
        self._ends_by_degrees, self._ends_by_temperatures = {}, {}
        self._basis = calibration.basis
        marked_basis = self._basis_at(_FRAME_MARK, _DEGREES_MARK)
        if measurement_keys := self._basis.get("detector"):
            marked_basis["detector"] = _MEASUREMENTS_MARK
        text_before, _, text_after_frame = canonical_text(marked_basis).partition(_FRAME_TEXT)
        self._text_between, _, self._text_after = text_after_frame.partition(_DEGREES_TEXT)
        if measurement_keys:
            # Most of the text is on the detector's measurements, and precedes the frame's own
            # values.
            measurements = calibration.group.measurements
            text = calibration.context.kept_by_key(
                (OutcomeKey.TEXT_OF_MEASUREMENTS, measurements),
                lambda: canonical_text(measurement_keys),
            )
            text_before = text_before.replace(_MEASUREMENTS_TEXT, text)
        self._copy_of_hash = hashlib.sha256(f'{text_before}"'.encode()).copy

    def basis(self, frame_key, temperatures, open_entry):
        """Return the basis of one of the frames.

        Parameters
        ----------
        frame_key : str
            Key of the reduced frame.
        temperatures : tuple of (float, int or str)
            The frame's temperatures as in its header: set point and sensor.
        open_entry : dict of str to bool
            Further entries of the basis.

        Returns
        -------
        dict of str to object
        """
        return {**self._basis_at(frame_key, self._degrees_warmer(temperatures)), **open_entry}

    def _degrees_warmer(self, temperatures):
        """Return the degrees by which the dark is warmer than a frame, None where unknown."""
        if self._dark is None:
            return None
        return dark_degrees_warmer_than(self._dark, temperatures)

    def _basis_at(self, frame_key, degrees_warmer):
        """Return the basis with a reduced frame's key and the degrees of the dark.

        Parameters
        ----------
        frame_key : str
            Key of the reduced frame, or its placeholder.
        degrees_warmer : float, str or None
            Degrees by which the dark is warmer than the frame, or their placeholder.
        """
        lines = [
            _line_at_degrees(line, degrees_warmer) if line[0] == "dark" else line
            for line in self._basis["how"]
        ]
        return {**self._basis, "frame": frame_key, "how": lines}

    def key(self, frame_key, temperatures):
        """Return the hash of a frame's basis, as `ccdflow.run.raw_frames.rows.digest` gives it.

        Parameters
        ----------
        frame_key : str
            Key of the reduced frame.
        temperatures : tuple of (float, int or str)
            The frame's temperatures as in its header: set point and sensor.

        Returns
        -------
        str
        """
        end = self._ends_by_temperatures.get(temperatures)
        if end is None:
            end = self._ends_by_temperatures[temperatures] = self._end(temperatures)
        hashed = self._copy_of_hash()
        # The key's JSON text is the key in quotes, because it has hexadecimal digits only.
        hashed.update(frame_key.encode() + end)
        return short_digest(hashed)

    def _end(self, temperatures):
        """Return the text of the basis after the key of the reduced frame, encoded."""
        if self._dark is None:
            return f'"{self._text_between}'.encode()
        degrees_warmer = self._degrees_warmer(temperatures)
        if degrees_warmer not in self._ends_by_degrees:
            text = f'"{self._text_between}{canonical_text(degrees_warmer)}{self._text_after}'
            self._ends_by_degrees[degrees_warmer] = text.encode()
        return self._ends_by_degrees[degrees_warmer]


def _line_at_degrees(line, degrees_warmer):
    """Return the entry of a dark in a basis with the degrees by which it is warmer than a frame."""
    kind, scale, lag, _, *further_values = line
    return [kind, scale, lag, degrees_warmer, *further_values]
