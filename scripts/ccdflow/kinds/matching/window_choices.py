"""The choice of a master for frames of one setup and night, with cuts from larger windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ccdflow.camera.sections import Region
from ccdflow.kinds.matching import rule
from ccdflow.run.master_choices import Step


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has some for each night.
@dataclass(slots=True)
class WindowChoice:
    """The choice of one kind of master for frames of one setup and night, with cuts.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    choices : list of (ccdflow.kinds.matching.rule.NightChoice, Region or None)
        The choice of the frames' own window, with None; then the choices of larger windows, each
        with the region of the frames.
    choose_step : callable
        Takes ``choices``, exposure, set point and temperature, and returns the `Step`.
    choice_by_night : dict of str to WindowChoice
        The choices that exist for nights of the epoch; `choice_of_night` adds to them.
    """

    kind: str
    choices: list[tuple[rule.NightChoice, Region | None]]
    choose_step: Callable[..., Step]
    choice_by_night: dict[str, WindowChoice]

    def choice_of_night(self, night):
        """Return the `WindowChoice` of frames of this setup in another night of the epoch."""
        choice = self.choice_by_night.get(night)
        if choice is None:
            choices = [(each.choice_of_night(night), region) for each, region in self.choices]
            choice = WindowChoice(self.kind, choices, self.choose_step, self.choice_by_night)
            self.choice_by_night[night] = choice
        return choice

    @property
    def candidates_key(self):
        """The key of the candidate masters: hashable, equal for frames of all nights."""
        return tuple([each.candidates_key for each, _ in self.choices])

    def exposure_key(self, seconds):
        """Return the key of an exposure: frames with equal keys have the same masters."""
        return tuple([each.exposure_key(seconds) for each, _ in self.choices])

    def temperature_key(self, *temperatures):
        """Return the key of set point and sensor: frames with equal keys have the same masters."""
        return tuple([each.temperature_key(*temperatures) for each, _ in self.choices])

    def step(self, seconds, *temperatures):
        """Return the `Step` of a frame.

        Parameters
        ----------
        seconds : float or None
            Exposure of the frame.
        *temperatures : float or None
            Set point and sensor temperature of the frame, degrees Celsius.

        Returns
        -------
        ccdflow.run.master_choices.Step
        """
        return self.choose_step(self.choices, seconds, *temperatures)
