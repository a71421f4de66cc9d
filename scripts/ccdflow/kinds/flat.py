"""The combined flat: flats of one filter, less bias and dark, each over its own level; mean 1."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np

from ccdflow import paths
from ccdflow.camera.imagetypes import light_of
from ccdflow.combine import combined_header
from ccdflow.combine.flats import (
    amplifier_ratios,
    combine_flats,
    flat_levels,
    normalised,
)
from ccdflow.combine.member_noise import sample_members
from ccdflow.combine.preparation import Subtracted
from ccdflow.combine.subtracted_masters import dark_factors
from ccdflow.detector import choosing, choosing_light, flat_figures
from ccdflow.detector.photons.one_exposure import select_flats_of_one_exposure
from ccdflow.kinds.masters import selecting
from ccdflow.kinds.masters.combining import hours_of, short
from ccdflow.kinds.masters.light_masters import LightMasterKind
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.matching.association import taken, why_missing

# The keyword of a card: HIERARCH ones are of several words.
_KEYWORD = re.compile(r"ESO (?:[\w-]+ )+?(?:NAME|ID|NO|ST|POS|MODE|WID|LEN|ENC|TYPE) |\S+ ")


class Flat(LightMasterKind):
    """A combined flat."""

    name = "flat"
    rule = "combine_flats"
    plans_some_nights = True
    words = ("combined flat", "combined flats")
    counted = words
    short = "combined flats"
    stage = 4
    version = 5
    type = "flat"
    block = "flat"
    settings = ("minimum", "method", "clip", "clip_by", "iterations", "count")
    table = paths.FLAT_QUALITY
    why_moved = "its flats are no such group any more"
    before = ("bias", "dark")
    always = ("filter", "grism", "optics")

    def name_part(self, name, value):
        """Return the part of a name; of cards of the optics the values only."""
        if name != "optics":
            return super().name_part(name, value)
        return "_".join(_KEYWORD.sub("", part) for part in value.split(", "))

    def split(self, context, rows):
        """Yield flats of the sky and those of a lamp where there are both: their shapes differ."""
        lights = {}
        for row in rows:
            light = light_of(row.facts["imagetyp"], row.facts["object"])
            lights.setdefault(light, []).append(row)
        if len(lights) == 1 or not {"sky", "lamp"} <= set(lights):
            yield (), rows
            return
        for light, part in lights.items():
            yield ((("light", light),) if light else ()), part

    def lacks(self, context, group):
        """Return why there is no bias for flats whose bias level is still in them, or ''."""
        row = context.store.rows[group.files[0]]
        recipe, images = self.reduced_as(context, row)
        amplifiers = [amplifier for image in images for amplifier in image.amplifiers]
        if recipe.subtract and all(amplifier.overscan for amplifier in amplifiers):
            return ""
        return why_missing(context, group.steps[0])

    def group_basis(self, context, group):
        """Return the sources of a combined flat, and the limit to a dark's scaling up."""
        basis = super().group_basis(context, group)
        if self._dark_use(context, group) is not None:
            basis["scale_up"] = context.settings["calibrate"]["scale_up"]
        if len({context.store.rows[file].facts["exptime"] for file in group.files}) > 1:
            # Flats of one exposure are combined where all together do not agree.
            basis["exposures"] = "one where all do not agree"
        return basis

    def _dark_use(self, context, group):
        """Return the dark that is taken; none without the bias that it had taken off."""
        bias, dark = (taken(context, step) for step in group.steps)
        return None if bias is None else dark

    def masters_of(self, members, image):
        """Return the bias and the dark that are subtracted from the flats, or None for each.

        Parameters
        ----------
        members : Members
        image : ccdflow.frame.products.ProductImage

        Returns
        -------
        (bias, dark)
            Each a `ccdflow.combine.subtracted_masters.SubtractedMaster`, or None.
        """
        bias = members.master("bias", image)
        if bias is None:
            return None, None
        dark = members.master("dark", image)
        if dark is not None and None in members.seconds:
            dark = None
        return bias, dark

    def select(self, context, group, found):
        """Return the flats that look alike, bright enough and not saturated.

        Where those of several exposures do not, those of one.
        """
        if not found:
            return choosing.Selection((), (), True, "")
        if nothing := selecting.none_usable(context, found):
            return nothing
        return selecting.without_odd_flags(
            found, lambda good: self._select_alike(context, Members(context, group, good))
        )

    def _select_alike(self, context, members):
        reduction, images = self.reduced_as(context, members.rows[0])
        # The first image of which an amplifier has signal.
        flags = members.flags
        image = next(i for i in images if any(a.name not in flags for a in i.amplifiers))
        sample = self._sample(members, image, reduction)
        noises = [n for n in members.noises(image, reduction) if n.name not in flags]
        lost = members.lost_part(image, reduction)
        stats = [
            flat_figures.flat_statistics(
                frame,
                gain=noises[0].gain,
                read_noise=noises[0].read_noise or 0.0,
                saturated=(float(np.isnan(frame).mean()) - lost) / (1 - lost),
            )
            for frame in sample
        ]
        whole = choosing_light.select_flats(stats)
        if whole.agrees or None in members.seconds:
            return whole
        least = self.configuration(context)["minimum"]
        return select_flats_of_one_exposure(stats, members.seconds, least) or whole

    def _sample(self, members, image, reduction):
        """Return some rows of an image of each flat, less bias and dark."""
        bias, dark = self.masters_of(members, image)
        subtract = [] if bias is None else [Subtracted(bias.pixels)]
        if dark is not None:
            factors = dark_factors(dark, members.seconds, scale_up=self._scale_up(members))
            subtract.append(Subtracted(dark.pixels, factors, is_charge=True))
        options = members.options(image, reduction)
        return sample_members(members.members(image), subtract=tuple(subtract), **options)[1]

    def _scale_up(self, members):
        return members.context.settings["calibrate"]["scale_up"]

    def combined_images(self, work, found):
        """Yield each image of the combined flat; the mean of all of them together is 1."""
        members = self.of(work)
        levels = self._levels(members, work)
        images = []
        for image in work.images:
            hdus = [own[image.hdu] for own in found]
            bias, dark = self.masters_of(members, image)
            combined = combine_flats(
                [hdu.member for hdu in hdus],
                bias=bias,
                dark=dark,
                amplifiers=members.noises(image, work.reduction),
                scale=levels,
                seconds=members.seconds if dark is not None else None,
                scale_up=self._scale_up(members),
                recipe=self.recipe(work),
                normalise=False,
                threads=work.threads,
                memory=work.memory,
                dtype=work.reduction.dtype,
                **members.options(image, work.reduction),
            )
            images.append(self._in_electrons(work, image, combined))
        for image, combined in zip(work.images, normalised(images), strict=True):
            yield image, [own[image.hdu] for own in found], combined

    def _levels(self, members, work):
        """Return one level of each flat for all of its images."""
        levels = []
        for image in work.images:
            bias, dark = self.masters_of(members, image)
            levels.append(
                flat_levels(
                    members.members(image),
                    bias=bias,
                    dark=dark,
                    seconds=members.seconds if dark is not None else None,
                    scale_up=self._scale_up(members),
                    **members.options(image, work.reduction),
                )
            )
        return np.median(levels, axis=0)

    def _in_electrons(self, work, image, combined):
        """Return a flat whose amplifiers have the ratios of their light, not of their gains.

        A frame is in electrons where every gain is known; so is the flat that divides it.
        """
        factors = self._gain_factors(work)
        return self._times(work, image, combined, factors) if factors else combined

    def _gain_factors(self, work):
        """Return {amplifier: its gain over the mean of all}; {} where there is nothing to do."""
        gains = {a.name: a.gain for one in work.images for a in one.amplifiers}
        if None in gains.values() or len(set(gains.values())) == 1:
            return {}
        mean = float(np.mean(list(gains.values())))
        return {name: gain / mean for name, gain in gains.items()}

    def _times(self, work, image, combined, factors):
        """Return a flat with each amplifier multiplied by a factor."""
        arrays = [combined.image.copy(), combined.uncertainty.copy(), combined.sample.copy()]
        for amplifier in image.amplifiers:
            place = work.place(amplifier)
            inside = (combined.sample_rows >= place.y0) & (combined.sample_rows < place.y1)
            factor = factors[amplifier.name]
            for array in arrays[:2]:
                array[place.slices] *= array.dtype.type(factor)
            arrays[2][:, inside, place.x0 : place.x1] *= arrays[2].dtype.type(factor)
        pixels, uncertainty, sample = arrays
        return replace(combined, image=pixels, uncertainty=uncertainty, sample=sample)

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier by the flats: a row of the table."""
        # Levels and noise are those of the members, which are in adu.
        factors = self._gain_factors(work)
        inverse = {name: 1 / factor for name, factor in factors.items()}
        members = self._times(work, image, combined, inverse) if factors else combined
        measured = flat_figures.measure_flat(members, hours=hours_of(work.dates))
        in_electrons = combined_header.is_electrons(unit)
        gains = [1.0 if in_electrons else amplifier.gain for amplifier in image.amplifiers]
        ratios = amplifier_ratios(combined, combined.noise.amplifiers)
        return [
            {
                "amplifier": figures.amplifier,
                "frames": figures.frames,
                "unit": figures.unit,
                "level": short(figures.level),
                "lowest": short(figures.lowest),
                "highest": short(figures.highest),
                "signal_to_noise": short(figures.signal_to_noise),
                "aperture_cap": short(figures.aperture_cap),
                "lamp_drift": short(figures.lamp_drift.value),
                "lamp_drift_error": short(figures.lamp_drift.error),
                "ratio": short(ratios[figures.amplifier]),
                "unlit": figures.unlit,
                "noise_ratio": short(figures.noise_ratio.value),
                "noise_ratio_error": short(figures.noise_ratio.error),
                "gain": math.nan if gain is None else gain,
                "measured_gain": short(figures.measured_gain.value),
                "measured_gain_error": short(figures.measured_gain.error),
                "said": _gain_warnings(gain, figures.measured_gain, unit),
            }
            for figures, gain in zip(measured, gains, strict=True)
        ]

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write level, signal to noise and ratios of an image into its header."""
        super().write_image_cards(cards, combined, figures, texts, unit)
        worst = min(
            (each["signal_to_noise"] for each in figures if each["signal_to_noise"] > 0),
            default=math.nan,
        )
        combined_header.write_flat_cards(
            cards,
            levels=combined.levels,
            signal_to_noise=worst,
            ratios=amplifier_ratios(combined, combined.noise.amplifiers),
        )
        combined_header.write_gain_cards(cards, [each["measured_gain"] for each in figures], unit)

    def write_group_cards(self, work, cards):
        """Write the cards of the group, and the factor on the dark of each flat."""
        super().write_group_cards(work, cards)
        combined_header.write_factor_cards(cards, self._dark_factors(work))

    def _dark_factors(self, work):
        """Return the factor on the dark of each flat; () where none is subtracted."""
        members = self.of(work)
        _, dark = self.masters_of(members, work.images[0])
        if dark is None:
            return ()
        return dark_factors(dark, members.seconds, scale_up=self._scale_up(members))


FLAT = Flat()


def _gain_warnings(gain, measured, unit):
    """Return the sentences on a gain that the flats contradict."""
    if gain is None or not flat_figures.gain_differs(gain, measured.value, measured.error):
        return []
    return [
        f"the flats show a gain of {measured.value:.4g} +- {measured.error:.2g} electrons per"
        f" {unit}, profile or header say {gain:.4g}: UNCERT is made with what the flats show; if"
        " you trust it, write `gain:` into the camera's profile"
    ]
