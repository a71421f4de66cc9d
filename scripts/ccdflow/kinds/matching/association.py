"""Which masters belong to a frame: the inventory and the plan, as `matching` asks for them.

The choice is made once, while planning, from the whole archive, and goes with the group or frame
(`ccdflow.run.job.Step`), so that a job on another machine does not choose anew. While a run goes
on, a master may turn out to be refused: the first one that was made is taken then.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median

from ccdflow.camera import identity
from ccdflow.detector import benefit
from ccdflow.kinds.matching import match_words, rule, windows
from ccdflow.kinds.matching.candidates import LEVEL_IN
from ccdflow.run import ledger
from ccdflow.run.job import Step, Use
from ccdflow.run.rawframes.rows import digest

STEPS = (rule.BIAS, rule.DARK, rule.FLAT)

# Properties of an amplifier that tell its noise, and not its place.
_NOT_LAYOUT = ("read_noise", "saturation")
# Values of a header in which a frame and its masters must agree, if masters are grouped by them.
IN_SETUP = ("ccdsum", "window", "readmode", "gain")
DEGREES = ("set_temperature", "temperature")

# -- the frame -------------------------------------------------------------------------------------


def setup_of(context, row, kind):
    """Return everything in which a frame and a master of a kind must agree.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
    kind : ccdflow.kinds.masters.master.MasterKind

    Returns
    -------
    tuple of (str, str)
    """
    facts = row.facts
    own = tuple(facts[name] for name in (*IN_SETUP, "part", *_optics(kind)))
    return context.lookup(
        ("setup", kind.name, row.camera, row.geometry, row.recipe, own),
        lambda: _setup(context, row, kind),
    )


def _setup(context, row, kind):
    by = kind.configuration(context)["group_by"]
    geometry = context.store.shared[row.geometry]
    values = [
        ("camera", row.camera),
        ("size", "{1}x{0}".format(*geometry["shape"])),
        *((name, spelled(context, name, row.facts[name])) for name in IN_SETUP if name in by),
        *((name, row.facts[name]) for name in _optics(kind) if row.facts[name]),
        ("part", row.facts["part"]),
        ("layout", _layout(context, row)),
    ]
    return tuple((name, "" if value == "None" else value) for name, value in values)


def _optics(kind):
    return ("optics",) if kind.name == rule.FLAT else ()


def spelled(context, name, value):
    """Return a value in the spelling that the first night of the archive has for it.

    Programs write ``Slow`` and ``SLOW`` for one mode; a night that is added renames nothing.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    name : str
        The fact, such as ``readmode``.
    value : object
        As in the header.

    Returns
    -------
    str
    """
    text = " ".join(str(value).split())
    if name != "readmode" or not text:
        return text

    def make():
        rows = sorted(context.store.rows.values(), key=lambda row: (row.night, row.file))
        texts = dict.fromkeys(" ".join(str(row.facts[name]).split()) for row in rows)
        return {each.casefold(): each for each in reversed(texts)}

    return context.lookup(("spelled", name), make).get(text.casefold(), text)


def _layout(context, row):
    """Return a text that frames share whose amplifiers lie alike and are reduced alike."""

    def make():
        geometry = dict(context.store.shared[row.geometry])
        geometry.pop("source", None)
        geometry["amplifiers"] = [
            {name: value for name, value in amplifier.items() if name not in _NOT_LAYOUT}
            for amplifier in geometry["amplifiers"]
        ]
        return digest([geometry, context.store.shared[row.recipe]])

    return context.lookup(("layout", row.geometry, row.recipe), make)


def epoch_of(context, camera, night):
    """Return the night with which the epoch of a camera began, '' where it has had one only.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    camera : str
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    str
    """
    profile = context.lookup(
        ("profile", camera), lambda: next((c for c in context.cameras if c.name == camera), None)
    )
    return "" if profile is None else profile.epoch_of(night)


def about(context, rows, kind, *, night):
    """Return the `rule.ToCalibrate` of a frame, or of a group by its members' shared values.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    rows : sequence of ccdflow.run.rawframes.rows.Row
        Of the frame, or of the group's members.
    kind : ccdflow.kinds.kind.Kind
        Of the master that is looked for.
    night : str
        Of the frame or group.
    """
    first = rows[0]
    setup = setup_of(context, first, kind)
    if epoch := epoch_of(context, first.camera, night):
        setup = (*setup, (match_words.EPOCH, epoch))
    return rule.ToCalibrate(
        setup=setup,
        night=night,
        exptime=_middle(rows, "exptime"),
        filter=" ".join(filter(None, (first.facts["filter"], first.facts["grism"]))),
        set_temperature=_middle(rows, "set_temperature"),
        temperature=_middle(rows, "temperature"),
    )


def _middle(rows, name):
    """Return the median of a fact of rows, None where none has it."""
    values = [value for row in rows if (value := number_of(row.facts[name])) is not None]
    if len(values) <= 1:
        return values[0] if values else None
    return float(median(values))


def number_of(value):
    """Return the value of a row as a number, None where it is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _longest(rows):
    """Return the longest exposure time of some rows, None where none says any."""
    values = [value for row in rows if (value := number_of(row.facts["exptime"])) is not None]
    return max(values, default=None)


# -- the masters -----------------------------------------------------------------------------------


def rules(context):
    """Return the `rule.Rules` of the configuration."""
    own = context.settings["calibrate"]
    names = ("direction", "same_night", "scale_up", "temperature_tolerance")
    return rule.Rules(**{name: own[name] for name in names})


class _Shelves:
    """The masters of a kind that there are in the plan, and how noisy their detector is."""

    def __init__(self, context, kind):
        self.kind = kind
        self._context = context
        self._noises, self._steps = {}, {}
        masters, few = [], []
        self.groups = {group.product: group for group in kind.groups(context)}
        self._telling, self._common = self._cards_that_tell()
        self._chips = windows.Chips()
        self.minimum = kind.configuration(context)["minimum"]
        for group in self.groups.values():
            rows = [context.store.rows[file] for file in group.files]
            self._chips.add(rows[0], setup_of(context, rows[0], kind))
            found = masters if len(rows) >= self.minimum else few
            for night in group.nights or (group.night,):
                what = self._about(rows, night)
                found.append(rule.OfferedMaster(group.product, kind.name, what, len(rows)))
        self._masters = rule.Masters(masters, rules(context), self._noises.get)
        self._few = rule.Masters(few, rules(context), self._noises.get)

    def _cards_that_tell(self):
        """Return the cards in which masters differ, and those in which a frame must agree.

        A card that all have alike tells no master from another, whatever it says; the temperature
        is compared within its tolerance.

        Returns
        -------
        telling : dict of tuple to list of str
            Keywords by setup.
        common : dict of tuple to dict of str to str
            Cards that all have alike, by setup.
        """
        texts = {}
        for group in self.groups.values():
            for file in group.files:
                row = self._context.store.rows[file]
                setup = setup_of(self._context, row, self.kind)
                texts.setdefault(setup, {})[row.facts["setting"]] = None
        by = self.kind.configuration(self._context)["group_by"]
        telling, common = {}, {}
        for setup, own in texts.items():
            differing = identity.differing(own)
            telling[setup] = [n for n in differing if not identity.is_of(n, ("temperature",))]
            common[setup] = {
                name: value
                for name, value in identity.cards_of(next(iter(own))).items()
                if name not in differing and identity.is_decisive(name, by)
            }
        return telling, common

    def _of_larger_windows(self, frame, row):
        """Return [(the frame as one of a larger window, its region there)], smallest first."""
        own, found = setup_of(self._context, row, self.kind), []
        for setup, cut in self._chips.larger(self._context, row, own, self.kind.name):
            rest = (each for each in frame.setup[len(own) :] if each[0] == match_words.EPOCH)
            more = self._more(setup, row.facts["setting"], is_cut=True)
            found.append((replace(frame, setup=(*setup, *rest, *more)), cut))
        return found

    def _about(self, rows, night):
        """Return the setup of a frame or master, with the settings that tell masters apart."""
        frame = about(self._context, rows, self.kind, night=night)
        setup, setting = setup_of(self._context, rows[0], self.kind), rows[0].facts["setting"]
        more = self._context.lookup(
            ("telling", self.kind.name, setup, setting), lambda: self._more(setup, setting)
        )
        return replace(frame, setup=(*frame.setup, *more)) if more else frame

    def _more(self, setup, setting, *, is_cut=False):
        """Return the entries of a frame's cards for its setup, without the place of a cut one."""
        cards = identity.cards_of(setting)
        said = [f"{name} {cards.get(name, 'absent')}" for name in self._telling.get(setup, ())]
        more = ((identity.SETTING, ", ".join(said)),) if said else ()
        for name, value in self._common.get(setup, {}).items():
            if is_cut and identity.is_of(name, ("place", "section")):
                continue
            if cards.get(name, value) != value:
                more += ((f"{name} {value}", cards[name]),)
        return more

    def step(self, rows, night):
        """Return the `Step` of the members of a master."""
        # A dark that is long enough for the longest member is for all of them.
        frame = replace(self._about(rows, night), exptime=_longest(rows))
        return self._step(frame, rows[0])

    def steps_like(self, row):
        """Return what gives the `Step` of frames like one, by exposure, set point, temperature."""
        like = self._about([row], row.night)
        if like.setup not in self._noises:
            self._noises[like.setup] = noise_of(self._context, row)
        alike = self._alike((like, None), *self._of_larger_windows(like, row))
        return lambda *how: self._chosen(alike, *how)

    def _step(self, frame, row):
        """Return the `Step` of a frame; one object for all frames that have the same answer."""
        if frame.setup not in self._noises:
            self._noises[frame.setup] = noise_of(self._context, row)
        alike = self._alike((frame, None), *self._of_larger_windows(frame, row))
        return self._chosen(alike, frame.exptime, frame.set_temperature, frame.temperature)

    def _alike(self, *of):
        """Return [(frames alike, region of theirs in a larger window)] of [(frame, region)]."""
        first = of[0][0].setup
        for frame, _ in of:
            self._noises.setdefault(frame.setup, self._noises[first])
        return [(self._masters.alike(self.kind.name, frame), cut) for frame, cut in of]

    def _chosen(self, alike, *how):
        (own, _), *larger = alike
        choice = own.choose(*how)
        found = [(each.choose(*how), cut) for each, cut in larger] if choice.needed else []
        found = [(other, cut) for other, cut in found if other.candidates]
        missing = "" if found or choice.candidates else self._why_missing(own.one(*how), choice)
        name = (id(choice), missing, *[(id(other), cut) for other, cut in found])
        if name not in self._steps:
            uses = {}
            for other, cut in ((choice, None), *found):
                for candidate in other.candidates:
                    uses.setdefault(candidate.master.product, _use(candidate, cut))
            some = tuple(uses.values())[: rule.MOST_CANDIDATES]
            step = Step(self.kind.name, some, choice.needed, missing)
            # The choices are kept, so that their ids stay their own.
            self._steps[name] = step, choice, found
        return self._steps[name][0]

    def _why_missing(self, frame, choice):
        few = self._few.choose(self.kind.name, frame) if choice.needed else choice
        if not few.candidates:
            return choice.missing
        product, count = few.best.master.product, few.best.master.frames
        frames = "frame" if count == 1 else "frames"
        return (
            f"no {self.kind.name}: {product} would be of {count} {frames},"
            f" fewer than the minimum of {self.minimum}"
        )

    def passed_over(self, rows, night, nights):
        """Return [(master, why)] of the masters of some nights that a frame may not take."""
        frame, name = self._about(rows, night), self.kind.name
        larger = {each.setup: each for each, _ in self._of_larger_windows(frame, rows[0])}
        found = []
        for master, why in self._masters.passed_over(name, frame, nights):
            cut = larger.get(master.about.setup)
            why = why if cut is None else self._masters.why_not(name, cut, master)
            found += [(master, why)] if why else []
        return found


def noise_of(context, row):
    """Return the `rule.DetectorNoise` of a frame's detector, from profile and header.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.

    Returns
    -------
    ccdflow.kinds.matching.rule.DetectorNoise
    """
    usual = rule.DetectorNoise()
    amplifiers = context.store.shared[row.geometry]["amplifiers"]
    noises = [a["read_noise"] for a in amplifiers if a.get("read_noise")]
    gains = [a["gain"] for a in amplifiers if a.get("gain")]
    camera = next((camera for camera in context.cameras if camera.name == row.camera), None)
    claimed = row.facts["rdnoise"]
    claimed = claimed if isinstance(claimed, int | float) and claimed > 0 else usual.read_noise
    own = {} if camera is None else {f"{kind}_ageing": age for kind, age in camera.ageing}
    if not (context.store.recipe(row.recipe).subtract and all(a["overscan"] for a in amplifiers)):
        own["bias_warming"] = LEVEL_IN
    own |= {} if camera is None else {f"{kind}_warming": part for kind, part in camera.warming}
    return rule.DetectorNoise(
        read_noise=max(noises, default=claimed),
        dark_rate=getattr(camera, "dark_rate", None) or 0.0,
        flat_level=usual.flat_level * (min(gains) if gains else 1.0),
        **own,
    )


def degrees_apart(use, row):
    """Return by how many degrees a dark is warmer than a frame, None where nobody knows.

    Parameters
    ----------
    use : ccdflow.run.job.Use
        Of a dark.
    row : ccdflow.run.rawframes.rows.Row
        Of the frame.

    Returns
    -------
    float or None
    """
    if not use.degrees:
        return None
    return rule.degrees_apart(use.degrees, [number_of(row.facts[name]) for name in DEGREES])


def _use(candidate, cut):
    """Return the `Use` of a candidate; ``cut`` is the region that is used of it, None for all."""
    about = candidate.master.about
    is_dark = candidate.master.kind == rule.DARK
    section = "" if cut is None else cut.to_fits()
    remarks, grade = candidate.remarks, candidate.grade
    if section:
        remarks, grade = (*remarks, f"cut to its pixels {section}"), max(grade, "B")
    return Use(
        candidate.master.product,
        candidate.lag,
        candidate.scale,
        candidate.variance,
        grade,
        remarks,
        (about.set_temperature, about.temperature) if is_dark else (),
        section,
        candidate.warmer,
    )


def step_of(context, kind, rows, night):
    """Return the masters of a kind for the members of a master, the best one first.

    Parameters
    ----------
    context : ccdflow.run.context.Planning
    kind : ccdflow.kinds.masters.master.MasterKind
        All its groups are known.
    rows : sequence of ccdflow.run.rawframes.rows.Row
    night : str

    Returns
    -------
    ccdflow.run.job.Step
    """
    return shelves_of(context, kind).step(rows, night)


def shelves_of(context, kind):
    """Return the masters of a kind, to be asked which of them a frame takes.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : MasterKind
    """
    return context.lookup(("shelf", kind.name), lambda: _Shelves(context, kind))


def passed_over(context, name, group, nights):
    """Return [(`rule.OfferedMaster`, why)] of masters that a frame may not take.

    Parameters
    ----------
    context : ccdflow.run.context.Planning
        After the plan was made.
    name : {'bias', 'dark', 'flat'}
    group : ccdflow.run.job.Group
        A frame.
    nights : set of str
    """
    kind = context.chain.by_name(name)
    rows = [context.store.rows[file] for file in group.files]
    return shelves_of(context, kind).passed_over(rows, group.night, nights)


# -- the masters that are taken --------------------------------------------------------------------


def taken(context, step):
    """Return the `Use` of the first master of a step that is there or will be; None for none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.job.Step

    Returns
    -------
    ccdflow.run.job.Use or None
    """
    # The step is kept beside its answer, so that its id stays its own.
    return context.planned(("taken", id(step)), lambda: (step, _taken(context, step)))[1]


def _taken(context, step):
    for use in step.uses:
        record = context.outcome(use.product)
        if record is not None and record.status == ledger.MADE:
            return use
    return None


def harms(context, uses):
    """Tell whether the dark of a frame adds more noise than it takes structure away.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    uses : dict of str to ccdflow.run.job.Use or None
        The masters that the frame takes.

    Returns
    -------
    bool
        False where it is not known, as before the dark is made.
    """
    dark = uses.get(rule.DARK)
    record = None if dark is None else context.outcome(dark.product)
    if record is None or record.status != ledger.MADE:
        return False
    return benefit.harms(
        record.data.get("quality", ()), scale=dark.scale, bias_variance=_of_bias(context, uses)
    )


def _of_bias(context, uses):
    """Return the variance of the combined bias of a frame, electrons^2 (adu^2 without a gain)."""
    bias = uses.get(rule.BIAS)
    record = None if bias is None else context.outcome(bias.product)
    quality = record.data.get("quality", ()) if record is not None else ()
    found = [
        (each["predicted_noise"] * (gain if (gain := each["gain"]) == gain and gain else 1.0)) ** 2
        for each in quality
        if each["predicted_noise"] == each["predicted_noise"]
    ]
    return max(found, default=0.0)


def needs_of(context, steps):
    """Return the masters that are made before their user, and those taken in their place.

    Parameters
    ----------
    context : ccdflow.run.context.Planning
    steps : iterable of ccdflow.run.job.Step

    Returns
    -------
    needs, spare : list of str
    """
    needs, spare = [], []
    for step in steps:
        chosen = taken(context, step)
        found = needs
        for use in step.uses:
            found.append(use.product)
            if use is chosen:
                found = spare
            is_sure = not context.will_be_made(use.product)
            if found is spare and is_sure and context.outcome(use.product) is not None:
                break
    return needs, spare


def keys_of(context, steps):
    """Return [[kind, product, key]] of the masters that are taken, for the basis of a product.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    steps : iterable of ccdflow.run.job.Step

    Returns
    -------
    list of [str, str, str]
    """
    found = []
    for step in steps:
        use = taken(context, step)
        if use is not None:
            found.append([step.kind, use.product, context.outcome(use.product).key])
    return found


def why_missing(context, step):
    """Return in words why a step has no master, '' where it has one or needs none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    step : ccdflow.run.job.Step

    Returns
    -------
    str
    """
    if not step.needed or taken(context, step) is not None:
        return ""
    if not step.uses:
        return step.missing
    reasons = []
    for use in step.uses:
        record = context.outcome(use.product)
        why = record.reason if record is not None else "it was not made"
        reasons.append(f"{use.product}: {why}")
    return f"no {step.kind} could be made: {'; '.join(reasons)}"
