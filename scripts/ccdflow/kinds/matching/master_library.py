"""The masters of a plan as plain values for the rule, with those of larger windows."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT
from ccdflow.camera import identity
from ccdflow.camera.exposures import is_same_exposure
from ccdflow.files.values import number_or_none
from ccdflow.kinds.matching import match_sentences, rule, windows
from ccdflow.kinds.matching.detector_noise import detector_noise_of
from ccdflow.kinds.matching.rule_values import (
    EPOCH,
    MOST_CANDIDATES,
    CandidateMaster,
    Rules,
)
from ccdflow.kinds.matching.setups import (
    READOUT_FACTS,
    epoch_of,
    medians_of,
    observation_of_members,
    setup_of,
)
from ccdflow.kinds.matching.window_choices import WindowChoice
from ccdflow.run.lookups import Lookup
from ccdflow.run.master_choices import Missing, MissingCause, Remark, RemarkKind, Step
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.raw_frames.rows import digest, picker_of_facts

# The facts by which masters are chosen, besides night, exposure and temperature; flats are chosen
# by their light as well.
_settings_of = picker_of_facts(*READOUT_FACTS, "part", "setting", "datasec", "trimsec", "rdnoise")
_light_of = picker_of_facts("filter", "grism", "optics")
_sections_of = picker_of_facts("datasec", "trimsec", "ccdsum")


def rules_of(context):
    """Return the `rule_values.Rules` of the configuration: one object for equal settings."""
    calibrate = context.settings["calibrate"]
    return _shared_rules(
        calibrate["direction"],
        calibrate["same_night"],
        calibrate["scale_up"],
        calibrate["temperature_tolerance"],
    )


# A process has one configuration, a watch a further one after each change: the last eight are kept.
@lru_cache(maxsize=8, typed=True)
def _shared_rules(*values):
    """Return the `Rules` of some settings: one object, because it is a part of keys."""
    return Rules(*values)


def name_of_member_notes(kind):
    """Return the name of the notes with the `values_of_members` of a kind in closed nights."""
    return f"members of {kind.name}"


def values_of_members(context, group):
    """Return the values of a group's members by which masters are chosen.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    list of (list or float)
        `setups.medians_of` the members; a list of their settings, each once; and the variance of
        the bias that the members of a dark had subtracted, electrons^2.
    """
    rows = [context.row(file) for file in group.files]
    bias = _bias_of(group)
    variance = 0.0 if bias is None else bias.variance
    return [medians_of(rows), list(dict.fromkeys(row.facts["setting"] for row in rows)), variance]


def _bias_of(group):
    """Return the `Use` of the bias that the members of a dark had subtracted, or None."""
    steps = group.steps if group.kind == DARK else ()
    uses = [use for step in steps if step.kind == BIAS for use in step.uses[:1]]
    return uses[0] if uses else None


class MasterLibrary:
    """The masters of a kind in the plan: it takes the rows of frames, and returns their steps.

    `rule.MasterChoice` chooses. The library gives it the setups and the noise of detectors, and
    adds the masters of larger windows.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind

    Attributes
    ----------
    groups : dict of str to ccdflow.run.job.Group
        The groups of the kind, by product.
    noises : dict of tuple to ccdflow.kinds.matching.rule_values.DetectorNoise
        The noise of the detector of each setup that a frame has had so far.
    minimum : int
        Number of frames that a master needs.
    """

    def __init__(self, context, kind):
        self.kind = kind
        self._context = context
        self.noises = context.lookup((Lookup.NOISES, kind.name), dict)
        self._steps_with_cuts, self._ageing_by_camera = {}, {}
        self._window_choices, self._larger_windows_by_key = {}, {}
        self._biases_of_darks = {}
        self.groups = {group.product: group for group in kind.groups(context)}
        self._member_values = self._members_of_groups()
        # An archive of years has thousands of masters: each row and setup is looked up once.
        first_members = {}
        for product, group in self.groups.items():
            first_member = context.row(group.files[0])
            first_members[product] = first_member, setup_of(context, first_member, kind)
        self._distinguishing_cards, self._common_cards = self._compare_cards(first_members)
        self._chips = windows.ChipWindows(context)
        for first_member, setup in first_members.values():
            self._chips.add(first_member, setup)
        self.minimum = kind.configuration(context)["minimum"]
        masters = list(self._candidates(first_members))
        self._is_causal = rules_of(context).is_causal
        self._choice = self._choice_among(
            master for master in masters if master.n_members >= self.minimum
        )
        self._choice_below_minimum = self._choice_among(
            master for master in masters if master.n_members < self.minimum
        )

    def _candidates(self, first_members):
        """Yield the `CandidateMaster` of each group: one for each night that the group has.

        Parameters
        ----------
        first_members : dict of str to (ccdflow.run.raw_frames.rows.Row, tuple)
            The first member of each master, and its setup.
        """
        for product, group in self.groups.items():
            first_member, setup = first_members[product]
            medians, _, bias_variance = self._member_values[product]
            for night in group.nights or (group.night,):
                observation = self._observation_with_settings(first_member, medians, night, setup)
                yield CandidateMaster(
                    product, self.kind.name, observation, len(group.files), bias_variance
                )

    def _choice_among(self, masters):
        """Return the `rule.MasterChoice` among some masters, by the rules of the run."""
        return rule.MasterChoice(masters, rules_of(self._context), self.noises.get)

    def _members_of_groups(self):
        """Return {product: its `values_of_members`}; closed nights have them in their notes."""
        members_by_product = {}
        for notes_of_night in self._context.summaries(name_of_member_notes(self.kind)).values():
            members_by_product |= notes_of_night
        for product, group in self.groups.items():
            if product not in members_by_product:
                members_by_product[product] = values_of_members(self._context, group)
        return members_by_product

    @property
    def card_hashes(self):
        """{hash of a setup: hash of the cards that distinguish masters or must agree}."""
        return {
            digest(setup): digest([keywords, sorted(self._common_cards[setup].items())])
            for setup, keywords in self._distinguishing_cards.items()
        }

    def _compare_cards(self, first_members):
        """Return the cards in which masters differ, and those in which a frame must agree.

        A card that all masters have alike distinguishes none of them. The temperature is no such
        card: it is compared within its tolerance.

        Parameters
        ----------
        first_members : dict of str to (ccdflow.run.raw_frames.rows.Row, tuple)
            The first member of each master, and its setup.

        Returns
        -------
        distinguishing_keywords : dict of tuple to list of str
            Keywords by setup.
        common_cards : dict of tuple to dict of str to str
            Cards that all masters of a setup have alike, by setup.
        """
        settings_by_setup = {}
        for product, (_, setup) in first_members.items():
            settings = dict.fromkeys(self._member_values[product][1])
            settings_by_setup.setdefault(setup, {}).update(settings)
        group_by = self.kind.configuration(self._context)["group_by"]
        distinguishing_keywords, common_cards = {}, {}
        for setup, settings in settings_by_setup.items():
            differing_keywords = identity.differing_keywords(settings)
            distinguishing_keywords[setup] = [
                keyword
                for keyword in differing_keywords
                if identity.tells_apart(keyword, group_by)
                and not identity.has_meaning(keyword, ("temperature",))
            ]
            common_cards[setup] = {
                keyword: value
                for keyword, value in identity.cards_of(next(iter(settings))).items()
                if keyword not in differing_keywords and identity.is_decisive(keyword, group_by)
            }
        return distinguishing_keywords, common_cards

    def _larger_windows(self, frame, row):
        """Return [(the frame as if read out in a larger window, its region)], smallest first."""
        setup, facts = setup_of(self._context, row, self.kind), row.facts
        window_key = (setup, row.geometry, row.recipe, facts["setting"], *_sections_of(facts))
        if window_key not in self._larger_windows_by_key:
            larger_windows = self._chips.larger_windows(row, setup, self.kind.name)
            self._larger_windows_by_key[window_key] = [
                (
                    larger_setup,
                    self._card_entries(larger_setup, facts["setting"], larger_setting),
                    region,
                )
                for larger_setup, larger_setting, region in larger_windows
            ]
        epoch = [pair for pair in frame.setup[len(setup) :] if pair[0] == EPOCH]
        return [
            (replace(frame, setup=(*larger_setup, *epoch, *entries)), region)
            for larger_setup, entries, region in self._larger_windows_by_key[window_key]
        ]

    def _observation_with_settings(self, first_row, medians, night, setup=None):
        """Return the `Observation` of a frame or master, with the deciding cards in its setup.

        Parameters
        ----------
        first_row : ccdflow.run.raw_frames.rows.Row
            Row of the frame, or of the first member.
        medians : list of (float or None)
            As `setups.medians_of` returns them: exposure, set point and sensor temperature.
        night : str
            Night of the frame or master.
        setup : tuple of (str, str), optional
            Setup of the first member without these cards, if the caller has it.

        Returns
        -------
        ccdflow.kinds.matching.rule_values.Observation
        """
        setting = first_row.facts["setting"]
        setup = setup_of(self._context, first_row, self.kind) if setup is None else setup
        entries = self._context.lookup(
            (Lookup.DISTINGUISHING_CARDS, self.kind.name, setup, setting),
            lambda: self._card_entries(setup, setting),
        )
        return observation_of_members(
            self._context, first_row, medians, self.kind, night=night, setup=setup, entries=entries
        )

    def _card_entries(self, setup, setting, larger_setting=None):
        """Return the entries that a frame's cards add to its setup.

        With ``larger_setting`` the frame has the place of that larger window.
        """
        cards = identity.cards_of(setting)
        if larger_setting is not None:
            cards = windows.cards_in_larger_window(cards, identity.cards_of(larger_setting))
        texts = [
            f"{keyword} {cards.get(keyword, 'absent')}"
            for keyword in self._distinguishing_cards.get(setup, ())
        ]
        entries = ((identity.SETTING_NAME, ", ".join(texts)),) if texts else ()
        for keyword, value in self._common_cards.get(setup, {}).items():
            if cards.get(keyword, value) != value:
                entries += ((f"{keyword} {value}", cards[keyword]),)
        return entries

    def step(self, rows, night):
        """Return the `Step` of the members of a master.

        Parameters
        ----------
        rows : sequence of ccdflow.run.raw_frames.rows.Row
        night : str

        Returns
        -------
        ccdflow.run.master_choices.Step

        Raises
        ------
        NeedsWholePlan
            If two frames of one setup differ in their noise, and some nights are closed.
        """
        exposures = [number_or_none(row.facts["exptime"]) for row in rows]
        known_exposures = [seconds for seconds in exposures if seconds is not None]
        # A dark that is long enough for the longest member serves all members.
        longest = max(known_exposures, default=None)
        frame = self._observation_with_settings(rows[0], medians_of(rows), night)
        step = self._choose_step(
            self._night_choices(frame, rows[0]),
            longest,
            frame.set_temperature,
            frame.temperature,
        )
        if step.missing_master is None or not step.missing_master.seconds:
            return step
        shortest = min(known_exposures, default=None)
        if shortest is None or is_same_exposure(shortest, longest):
            return step
        missing_master = replace(step.missing_master, seconds=(shortest, longest))
        return replace(step, missing_master=missing_master)

    def bias_of(self, product):
        """Return the `Use` of the bias that the members of a dark had subtracted, or None.

        It is the first bias of the plan, even if that bias was refused later: the outcome of a run
        changes no choice.

        Parameters
        ----------
        product : str
            Product of the dark. Other masters have no such bias: None.

        Returns
        -------
        ccdflow.run.master_choices.Use or None
        """
        if product not in self._biases_of_darks:
            self._biases_of_darks[product] = _bias_of(self.groups[product])
        return self._biases_of_darks[product]

    def uses_for(self, products, rows, night):
        """Return the `Use` of those of some biases or flats that frames may take.

        Parameters
        ----------
        products : sequence of str
            Biases or flats.
        rows : sequence of ccdflow.run.raw_frames.rows.Row
            Rows of the frames, which are of one setup.
        night : str
            Night of the frames.

        Returns
        -------
        list of ccdflow.run.master_choices.Use
        """
        if not products:
            return []
        frame = self._observation_with_settings(rows[0], medians_of(rows), night)
        night_choice = self._choice.night_choice_of(self.kind.name, frame)
        return night_choice.uses(products, frame.set_temperature, frame.temperature)

    def ageing(self, row):
        """Return the variance that a day between bias and frame adds, electrons^2."""
        if row.camera not in self._ageing_by_camera:
            noise = detector_noise_of(self._context, row)
            self._ageing_by_camera[row.camera] = noise.bias_ageing
        return self._ageing_by_camera[row.camera]

    def window_choice_of(self, row):
        """Return the `WindowChoice` of a frame: one object for all frames of its setup and night.

        Raises
        ------
        NeedsWholePlan
            If two frames of one setup differ in their noise, and some nights are closed.
        """
        light = _light_of(row.facts) if self.kind.name == FLAT else ()
        settings = (row.camera, row.geometry, row.recipe, *_settings_of(row.facts), *light)
        # With these settings all frames of an epoch have the same setup.
        key = settings, epoch_of(self._context, row.camera, row.night)
        if key not in self._window_choices:
            self._window_choices[key] = self._find_window_choice(row)
        return self._window_choices[key].choice_of_night(row.night)

    def _find_window_choice(self, row):
        """Return a new `WindowChoice` for the night of a frame."""
        frame = self._observation_with_settings(row, medians_of([row]), row.night)
        return WindowChoice(self.kind.name, self._night_choices(frame, row), self._choose_step, {})

    def _note_noise(self, setup, row):
        """Note the detector's noise of a setup: that of its first frame."""
        known_noise = self.noises.get(setup)
        if known_noise is None:
            self.noises[setup] = detector_noise_of(self._context, row)
        elif self._context.closed_nights is not None and known_noise != detector_noise_of(
            self._context, row
        ):
            raise NeedsWholePlan("frames of one setup have two noises: the first counts")

    def _night_choices(self, frame, row):
        """Return [(`NightChoice` of a frame, its region)], for its own window and larger ones.

        The own window is the first entry, and its region is None.
        """
        self._note_noise(frame.setup, row)
        frames_and_regions = [(frame, None), *self._larger_windows(frame, row)]
        for frame_in_window, _ in frames_and_regions:
            self.noises.setdefault(frame_in_window.setup, self.noises[frame.setup])
        return [
            (self._choice.night_choice_of(self.kind.name, frame_in_window), region)
            for frame_in_window, region in frames_and_regions
        ]

    def _choose_step(self, choices, seconds, *temperatures):
        """Return the `Step` of a frame, from masters of its window and of larger ones."""
        (window_choice, _), *larger_choices = choices
        step = window_choice.choose(seconds, *temperatures)
        if step.uses and not larger_choices:
            # Most frames return here: they need no part of a larger window.
            return step
        cuts = []
        if step.is_needed:
            cuts = [
                (choice.choose(seconds, *temperatures), region) for choice, region in larger_choices
            ]
            cuts = [(larger_step, region) for larger_step, region in cuts if larger_step.uses]
        missing_master = None
        if not cuts and not step.uses:
            missing_master = self._missing_master(
                window_choice.frame_with(seconds, *temperatures), step
            )
        key = (id(step), missing_master, *[(id(larger), region) for larger, region in cuts])
        if key not in self._steps_with_cuts:
            uses = self._uses_with_cuts(step.uses, cuts)
            step_with_cuts = Step(step.kind, uses, step.is_needed, missing_master)
            # The steps of the key are kept: while they exist, no other object has their ids.
            self._steps_with_cuts[key] = step_with_cuts, step, cuts
        return self._steps_with_cuts[key][0]

    def _uses_with_cuts(self, uses, cuts):
        """Return the masters of a window, followed by those that are cut from larger ones.

        Parameters
        ----------
        uses : tuple of ccdflow.run.master_choices.Use
        cuts : list of (ccdflow.run.master_choices.Step, ccdflow.camera.sections.Region)
            The masters of each larger window, and the region that is used of them.
        """
        if not cuts:
            return uses
        use_of_product = {use.product: use for use in uses}
        for step, region in cuts:
            for use in step.uses:
                if use.product not in use_of_product:
                    use_of_product[use.product] = _cut_use(use, region)
        uses_in_order = list(use_of_product.values())
        if self._is_causal:
            # A later master of the frame's window comes after an earlier master of a larger one:
            # a night that is added changes no frame that had a master.
            uses_in_order.sort(key=match_sentences.is_later)
        return tuple(uses_in_order[:MOST_CANDIDATES])

    def _missing_master(self, frame, step):
        """Return the `Missing` of a frame.

        Where a group would fit, but has too few frames, the result names this group.
        """
        step_below_minimum = step
        if step.is_needed:
            step_below_minimum = self._choice_below_minimum.choose(self.kind.name, frame)
        if not step_below_minimum.uses:
            return step.missing_master and _missing_with_values_of(step.missing_master, frame)
        products_of_night = (use.product for use in step_below_minimum.uses if use.lag == 0)
        product = next(products_of_night, step_below_minimum.uses[0].product)
        group = self.groups[product]
        return Missing(
            self.kind.name,
            MissingCause.TOO_FEW,
            product=product,
            night=group.night,
            n_frames=len(group.files),
            minimum=self.minimum,
        )

    def refused_masters(self, rows, night, nights):
        """Return the masters of some nights that a frame may not take, and why.

        Parameters
        ----------
        rows : sequence of ccdflow.run.raw_frames.rows.Row
            Rows of the frame, or of members that take one master.
        night : str
            Night of the frame.
        nights : set of str
            Nights of the masters.

        Returns
        -------
        list of (CandidateMaster, str)
        """
        frame = self._observation_with_settings(rows[0], medians_of(rows), night)
        kind = self.kind.name
        frames_in_larger = {
            frame_in_larger.setup: frame_in_larger
            for frame_in_larger, _ in self._larger_windows(frame, rows[0])
        }
        refusals = []
        for master, reason in self._choice.refused_masters(kind, frame, nights):
            frame_in_larger = frames_in_larger.get(master.observation.setup)
            if frame_in_larger is not None:
                reason = self._choice.why_not(kind, frame_in_larger, master)
            refusals += [(master, reason)] if reason else []
        reason = f"fewer than the minimum of {self.minimum}"
        too_small_masters = self._choice_below_minimum.masters_that_fit(kind, frame, nights)
        return refusals + [(master, reason) for master in too_small_masters]


def _missing_with_values_of(missing_master, frame):
    """Return why a frame has no master, with its own exposure and temperature.

    Frames of about the same exposure share a `Missing`. The temperature is named only where a dark
    has another one.
    """
    seconds = missing_master.seconds
    if seconds and frame.exptime is not None:
        seconds = (frame.exptime,)
    words = (
        match_sentences.temperature_words(frame) if missing_master.is_of_other_temperature else ""
    )
    return replace(missing_master, seconds=seconds, temperature_in_words=words)


def _cut_use(use, region):
    """Return the `Use` of a master of a larger window: only a region of the master is applied."""
    section = region.to_fits()
    return replace(
        use,
        grade=max(use.grade, "B"),
        remarks=(*use.remarks, Remark(RemarkKind.CUT, f"cut to its pixels {section}")),
        cut=section,
    )
