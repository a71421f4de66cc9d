"""The making of a combined bias, and the measurement of the detector by the members."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np

from ccdflow.combine import combined_header, moments
from ccdflow.combine.member_noise import measure_noise_model, sample_members
from ccdflow.detector import bias_figures, bias_warnings
from ccdflow.files.values import short_number
from ccdflow.kinds.masters.combining import claimed_read_noise
from ccdflow.kinds.masters.makers.master_maker import MasterMaker
from ccdflow.kinds.masters.member_masters import amplifier_noise


class BiasMaker(MasterMaker):
    """The making of a combined bias."""

    figures_of_masters_only = (
        "combined_row_structure", "combined_column_structure", "combined_noise",
        "combined_noise_error", "predicted_noise", "root_n_noise", "clipped_fraction",
    )  # fmt: skip

    def recipe(self, work):
        """Return the recipe for the number of biases: few biases give no deviations to clip by."""
        n_members, recipe = len(work.records_of_files), super().recipe(work)
        if n_members > 1:
            return recipe.resolve_with_noise(n_members)
        # A single bias shows no noise, and has nothing to reject.
        return replace(recipe, clip_by="mad")

    def noise(self, work, image, members):
        """Return the noise model by which biases are clipped, None where they are not."""
        recipe = self.recipe(work)
        if recipe.clip is None or recipe.clip_by != "noise":
            return None
        sample = sample_members(members, threads=work.threads)
        amplifiers = [amplifier_noise(amplifier, work.reduction) for amplifier in image.amplifiers]
        return measure_noise_model(
            amplifiers, members[0].shape, sample, has_light=False, threads=work.threads
        )

    def measure(self, work, combined, amplifier, unit):
        """Return the figures of one amplifier by the biases: a row of the table, and its lists.

        The lists, with a value for each member, are for the picture of biases.
        """
        frames = work.sampled_rows_of(combined, amplifier)
        claimed_noise = amplifier.read_noise
        if claimed_noise is None:
            claimed_noise = claimed_read_noise(work)
        gain = 1.0 if combined_header.is_electrons(unit) else amplifier.gain
        values = bias_figures.AmplifierValues(
            amplifier.name, work.region_of(amplifier), gain, claimed_noise, amplifier.along
        )
        hours = work.hours
        is_subtracted = all(
            amplifier.name in record.data["levels"] for _, record in work.records_of_files
        )
        levels = _levels_of_members(work, amplifier, frames, is_subtracted=is_subtracted)
        noises = [
            record.data["noises"].get(amplifier.name, math.nan)
            for _, record in work.records_of_files
        ]
        overscan_noise = float(np.median(noises))
        figures = asdict(
            bias_figures.measure_amplifier(
                combined, values, levels, hours, overscan_noise, threads=work.threads
            )
        )
        pair_noises = figures.pop("pair_noise")
        if amplifier.name in work.flags:
            # The amplifier is saturated or dead in all members: only its level is known.
            figures |= dict.fromkeys(_unknown_without_signal(figures), math.nan)
            pair_noises = ()
        levels_above_zero = levels if is_subtracted else [0.0] * len(levels)
        return {
            **{name: short_number(value) for name, value in figures.items()},
            "gain": math.nan if gain is None else gain,
            "subtracted": is_subtracted,
            "cut_off": bias_warnings.is_cut_off(frames, levels_above_zero, figures["read_noise"]),
            "levels": levels,
            "hours": [short_number(hour) for hour in hours],
            "pairs": [short_number(noise) for noise in pair_noises],
        }

    def warnings_of(self, work, figures):
        """Return a sentence for each warning on an amplifier."""
        return bias_warnings.warnings_on_bias(figures, self.recipe(work))

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write the figures of one image, and the noise by which it was clipped."""
        super().write_image_cards(cards, combined, figures, texts, unit)
        if combined.noise is not None:
            noises = [
                amplifier.variance_without_light**0.5 for amplifier in combined.noise.amplifiers
            ]
            combined_header.write_clipping_noise_cards(cards, noises, unit)


def _unknown_without_signal(figures):
    """Return the names of the figures that an amplifier without signal lacks: floats but levels."""
    float_names = {name for name, value in figures.items() if isinstance(value, float)}
    return float_names - {"level", "level_span"}


def _levels_of_members(work, amplifier, frames, *, is_subtracted):
    """Return the bias level of an amplifier in each member, adu, as a list of float.

    Parameters
    ----------
    work : ccdflow.kinds.masters.combining.CombineWork
    amplifier : ccdflow.camera.geometry.Amplifier
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Sampled rows of the members.
    is_subtracted : bool
        Whether the overscan level was subtracted from them.
    """
    if is_subtracted:
        return [record.data["levels"][amplifier.name] for _, record in work.records_of_files]
    # The level is still in the pixels.
    return [short_number(moments.clipped_moments(frame).mean) for frame in frames]
