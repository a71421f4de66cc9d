"""Which calibrated frames are wanted, and with which masters: frames of a night share the answer.

Frames that agree in night, camera, set-up and filter take the same bias and flat, and the same
dark where exposure and temperature ask for the same one. All that such frames have in common is
found out once: a plan has a hundred thousand frames, and a few hundred different answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdflow.files.values import number_or_none
from ccdflow.kinds.calibrating import shutter_correction
from ccdflow.kinds.matching import association, measured_flats, setups, shelves
from ccdflow.kinds.matching.answers import answers_of
from ccdflow.kinds.measuring import measured_nights
from ccdflow.run.job import Group, Step
from ccdflow.run.rawframes.rows import canonical_text, digest, digest_of, picker

MAY_CHANGE = "a flat that competes is made again"
"""Reason to look at a frame again: it may take another flat, or stay as it is."""

# Frames of a night that agree in these take the same masters, but for the exposure of the dark.
_alike = picker(
    "type",
    *setups.IN_SETUP,
    "part",
    "setting",
    "filter",
    "grism",
    "optics",
    "datasec",
    "trimsec",
)
_degrees = picker(*setups.DEGREES)
# Exposures and temperatures of which the questions are kept: a sensor may have a million.
_MOST_EXPOSURES = 20_000
_exposure = picker("exptime", *setups.DEGREES)


def alike_of(row):
    """Return all that decides which masters a frame takes, but exposure and temperature."""
    return (row.night, row.camera, row.geometry, row.recipe, *_alike(row.facts))


class _Questions:
    """The questions that frames ask of some masters, by exposure and temperatures."""

    def __init__(self):
        self.known, self._same = {}, {}
        self._of_exposures, self._of_degrees = {}, {}

    def of(self, exposure, answers):
        """Return the questions of a frame to each of some `StepsAlike`: one object for equal ones.

        Parameters
        ----------
        exposure : tuple
            Exposure and temperatures as in the header.
        answers : sequence of ccdflow.kinds.matching.shelves.StepsAlike

        Returns
        -------
        tuple
        """
        seconds, *degrees = exposure
        degrees = tuple(degrees)
        if len(self.known) >= _MOST_EXPOSURES:
            for kept in (self.known, self._of_exposures, self._of_degrees):
                kept.clear()
        if seconds not in self._of_exposures:
            how = number_or_none(seconds)
            self._of_exposures[seconds] = tuple([a.of_exposure(how) for a in answers])
        if degrees not in self._of_degrees:
            how = _numbers(degrees)
            self._of_degrees[degrees] = tuple([a.of_degrees(*how) for a in answers])
        asked = self._of_exposures[seconds], self._of_degrees[degrees]
        self.known[exposure] = asked = self._same.setdefault(asked, asked)
        return asked


def _numbers(exposure):
    return tuple(map(number_or_none, exposure))


class StepsOfClass:
    """The masters of frames that are `alike_of` each other: by exposure and temperature.

    Parameters
    ----------
    context : ccdflow.run.context.Planning
    kinds : sequence of ccdflow.kinds.masters.master.MasterKind
        All their groups are known.
    row : ccdflow.run.rawframes.rows.Row
        Of one of the frames.
    """

    def __init__(self, context, kinds, row):
        ranked = context.lookup(
            ("shelves", *[kind.name for kind in kinds]),
            lambda: [association.shelves_of(context, kind) for kind in kinds],
        )
        self._answers = [shelf.steps_like(row) for shelf in ranked]
        # Frames of all nights ask the same questions of the same masters.
        asked_of = tuple(answer.asked_of for answer in self._answers)
        self._questions = context.planned(("questions", asked_of), _Questions)
        self._known, self._alike = {}, {}
        self._context = context

    def steps_of(self, row):
        """Return the `Step` tuple of a frame: the same object for all that have the same answer."""
        exposure = _exposure(row.facts)
        asked = self._questions.known.get(exposure)
        if asked is None:
            asked = self._questions.of(exposure, self._answers)
        steps = self._known.get(asked)
        if steps is None and (steps := self._known.get((*asked, exposure))) is None:
            how = _numbers(exposure)
            chosen = tuple(answer.step(*how) for answer in self._answers)
            # Steps of members are kept with them, so that their ids stay their own.
            paired = association.pair_masters(self._context, chosen, [row], row.night)
            steps = self._alike.setdefault(tuple(map(id, paired)), paired)
            self._known[asked if all(map(_is_for_all, chosen)) else (*asked, exposure)] = steps
        return steps


def _is_for_all(step):
    """Tell whether all frames with the same question have this step, whatever their exposure.

    A dark that is scaled has a scale for each exposure; where there is none, the reason has the
    frame's own temperature.
    """
    return not step.missing and all(use.scale == 1 for use in step.uses)


@dataclass(frozen=True, slots=True)
class _Way:
    """How frames with the same steps are calibrated.

    Attributes
    ----------
    steps, pixels, shared : tuple
        As `ccdflow.run.job.Group` has them.
    after : (tuple of str, tuple of str)
        The masters of this plan that come first, and those of them that are taken in the place of
        others.
    likewise : Likewise
    is_open : bool
        Whether flats that are made in this run may make them take another flat than planned.
    """

    steps: tuple[Step, ...]
    pixels: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]
    after: tuple[tuple[str, ...], tuple[str, ...]]
    likewise: Likewise
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class _Class:
    """Frames that differ in exposure and temperature alone.

    Attributes
    ----------
    steps : StepsOfClass
    pixels, shared : tuple
        As `ccdflow.run.job.Group` has them.
    ways : dict of int to _Way
        By the identity of their steps.
    """

    steps: StepsOfClass
    pixels: tuple[str, ...]
    shared: tuple[tuple[str, str], ...]
    ways: dict[int, _Way] = field(default_factory=dict)


class FramePlanner:
    """Wants calibrated frames.

    Parameters
    ----------
    planner : ccdflow.run.plan.Planner
    kind : ccdflow.kinds.science.Science
    calibration : type
        `ccdflow.kinds.calibrating.calibration.Calibration`.
    """

    def __init__(self, planner, kind, calibration):
        self._planner, self._context = planner, planner.context
        self._kind, self._calibration = kind, calibration
        self._classes, self._kinds = {}, {}

    def want(self, row, product, frame):
        """Want one calibrated frame.

        Parameters
        ----------
        row : ccdflow.run.rawframes.rows.Row
        product : str
        frame : ccdflow.run.ledger.Record
            Of the reduced frame.
        """
        alike = alike_of(row)
        class_ = self._classes.get(alike)
        if class_ is None:
            class_ = self._classes[alike] = self._class(row)
        steps = class_.steps.steps_of(row)
        way = class_.ways.get(id(steps))
        if way is None:
            way = class_.ways[id(steps)] = self._way(row, product, class_, steps)
        group = self._group(row, product, way)
        self._context.groups[product] = group
        degrees = way.likewise.degrees(row)
        more = self._open(product) if way.is_open else {}
        key = way.likewise.key(frame.key, degrees)
        self._planner.want(
            self._kind,
            product,
            group.night,
            lambda: {**way.likewise.basis(frame.key, degrees), **more},
            needs=(frame.product,),
            after=way.after,
            key=digest([key, more]) if more else key,
        )

    def _open(self, product):
        """Return the entry of the basis of a frame that may take another flat than it has."""
        is_forced = self._planner.is_forced(self._kind, product)
        is_new = product not in self._context.ledger
        return {} if is_new or is_forced else {MAY_CHANGE: True}

    def _class(self, row):
        """Return what all frames of a row's class share."""
        context, type_ = self._context, row.facts["type"]
        if type_ not in self._kinds:
            self._kinds[type_] = self._kind.steps_for(context, type_)
        measured = measured_nights.how_measured(context, row)
        pixels = measured_nights.pixels_for(context, row) + shutter_correction.map_for(context, row)
        return _Class(
            StepsOfClass(context, self._kinds[type_], row),
            pixels,
            (*measured, *shutter_correction.how_corrected(context, row)),
        )

    def _group(self, row, product, way):
        night = row.night
        return Group(
            product=product, night=night, camera=row.camera, shared=way.shared, files=(row.file,),
            nights=(night,), kind=self._kind.name, steps=way.steps, measurements=way.pixels,
        )  # fmt: skip

    def _way(self, row, product, class_, steps):
        """Return how frames of these steps are calibrated: needs, and the part of their key."""
        context, facts = self._context, row.facts
        way = _Way(steps, class_.pixels, class_.shared, ((), ()), None)
        needs, spare = context.planned(
            ("needs", *map(id, steps)), lambda: association.needs_of(context, steps)
        )
        after = self._planner.order_of((*needs, *class_.pixels), spare)
        group = self._group(row, product, way)
        # The key holds the masters that are taken, and nothing of those behind them: exposures that
        # differ by a thousandth change the scale of these alone. Frames of the same answers, camera
        # and recipe differ in their reduced frame and temperature.
        taken = [
            (answer.kind, answer.step.needed, answer.use, answer.missing, answer.left_out)
            for answer in answers_of(context, group)
        ]
        alike = ("calibration", row.camera, row.recipe, row.geometry, *taken)
        alike = (*alike, facts["readmode"], facts["gain"], class_.pixels)
        likewise = context.planned(alike, lambda: Likewise(self._calibration(context, group)))
        is_open = measured_flats.may_change(context, steps)
        return _Way(steps, class_.pixels, class_.shared, after, likewise, is_open)


class Likewise:
    """The sources of frames of the same steps, but for the reduced frame and its temperature.

    Parameters
    ----------
    calibration : ccdflow.kinds.calibrating.calibration.Calibration
        Of one of them.
    """

    _FRAME, _DEGREES = "\0", "\1"

    def __init__(self, calibration):
        self._dark = calibration.uses.get("dark")
        self._apart, self._ends = {}, {}
        self._basis = calibration.basis
        basis = self.basis(self._FRAME, self._DEGREES)
        text = canonical_text(basis)
        self._before, _, rest = text.partition(canonical_text(self._FRAME))
        self._between, _, self._after = rest.partition(canonical_text(self._DEGREES))

    def degrees(self, row):
        """Return by how many degrees the dark is warmer than a frame, None where unknown."""
        if self._dark is None:
            return None
        asked = _degrees(row.facts)
        if asked not in self._apart:
            self._apart[asked] = shelves.degrees_of_use(self._dark, row)
        return self._apart[asked]

    def basis(self, frame, degrees):
        """Return the basis of one whose reduced frame has a key.

        Parameters
        ----------
        frame : str
            Key of the reduced frame.
        degrees : float or None
            By which the dark is warmer than the frame.

        Returns
        -------
        dict
        """
        how = [_at(line, degrees) if line[0] == "dark" else line for line in self._basis["how"]]
        return {**self._basis, "frame": frame, "how": how}

    def key(self, frame, degrees):
        """Return the hash of that basis, as `ccdflow.run.rawframes.rows.digest` gives it.

        Parameters
        ----------
        frame : str
            Key of the reduced frame.
        degrees : float or None
            By which the dark is warmer than the frame.

        Returns
        -------
        str
        """
        # A key has hexadecimal digits only, so that quotes are all that JSON adds.
        text = f'{self._before}"{frame}"{self._between}'
        if self._dark is None:
            return digest_of(text)
        if degrees not in self._ends:
            self._ends[degrees] = f"{canonical_text(degrees)}{self._after}"
        return digest_of(text + self._ends[degrees])


def _at(how, degrees):
    kind, scale, lag, _, *rest = how
    return [kind, scale, lag, degrees, *rest]
