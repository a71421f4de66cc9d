"""The choice of a master, and of cuts from larger windows, for frames of one setup and night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ccdflow.camera.sections import Region
from ccdflow.kinds.matching import rule
from ccdflow.run.master_choices import Step


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has some for each night.
@dataclass(slots=True)
class WindowChoice:
    """The choice of one kind of master, and cuts of it, for frames of one setup and night.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    choices : list of (ccdflow.kinds.matching.rule.NightChoice, ccdflow.camera.sections.Region)
        The choice of the window itself, with None; then those of larger windows, with the region
        there.
    choose_step : callable
        Takes ``choices``, exposure, set point and temperature, and returns the `Step`.
    nights : dict of str to WindowChoice
        The choices so far for nights of their epoch.
    """

    kind: str
    choices: list[tuple[rule.NightChoice, Region | None]]
    choose_step: Callable[..., Step]
    nights: dict[str, WindowChoice]

    def choice_of_night(self, night):
        """Return the choice of the same frames in another night of their epoch."""
        choice = self.nights.get(night)
        if choice is None:
            choices = [(each.choice_of_night(night), cut) for each, cut in self.choices]
            choice = WindowChoice(self.kind, choices, self.choose_step, self.nights)
            self.nights[night] = choice
        return choice

    @property
    def choice_basis(self):
        """The masters of the choice: hashable, the same for frames of all nights."""
        return tuple([each.choice_basis for each, _ in self.choices])

    def exposure_key(self, seconds):
        """Return all of an exposure that the choice depends on, but for scales."""
        return tuple([each.exposure_key(seconds) for each, _ in self.choices])

    def temperature_key(self, *degrees):
        """Return all of set point and temperature that the choice depends on."""
        return tuple([each.temperature_key(*degrees) for each, _ in self.choices])

    def step(self, seconds, *degrees):
        """Return the `Step` of a frame.

        Parameters
        ----------
        seconds : float or None
            Its exposure.
        *degrees : float or None
            Its set point and its temperature.

        Returns
        -------
        ccdflow.run.master_choices.Step
        """
        return self.choose_step(self.choices, seconds, *degrees)
