"""The making of a combined flat from its members."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ccdflow.camera.filters import is_open
from ccdflow.combine import combined_header
from ccdflow.combine.flats import (
    FlatSubtraction,
    ScaledDark,
    amplifier_ratios,
    combine_image_of_flats,
    flat_levels,
    normalise_flat,
)
from ccdflow.combine.member_noise import sample_members
from ccdflow.detector import dark_flat_selection, flat_figures, flat_shapes, member_selection
from ccdflow.detector.photons.one_exposure import select_flats_of_one_exposure
from ccdflow.files.header_text import printable_text
from ccdflow.files.values import short_number
from ccdflow.kinds.masters import selecting
from ccdflow.kinds.masters.makers.exposed_maker import ExposedMasterMaker
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.reducing.frame_sources import recipe_and_images


class FlatMaker(ExposedMasterMaker):
    """The making of a combined flat."""

    def select(self, context, group, members):
        """Return the selection of the flats that agree, are bright enough, and are not saturated.

        If flats of several exposures do not agree, only those of one exposure are selected.
        """
        if not members:
            return member_selection.Selection((), (), agrees=True, reason="")
        if refusal := selecting.refusal_without_signal(context, members):
            return refusal
        return selecting.select_without_odd_flags(
            members,
            lambda sound_members: self._select_alike(
                context, Members(context, group, sound_members)
            ),
        )

    def _select_alike(self, context, members):
        """Return the selection of the flats that agree, or else of flats of one exposure."""
        reduction, images = recipe_and_images(context, members.rows[0])
        flags = members.flags
        first_image_with_signal = next(
            image
            for image in images
            if any(amplifier.name not in flags for amplifier in image.amplifiers)
        )
        image = first_image_with_signal
        rows, sample = self._sample(members, image, reduction)
        noises = [noise for noise in members.noises(image, reduction) if noise.name not in flags]
        lost_pixels = members.lost_pixels(image, reduction, rows, sample)
        gain, read_noise = flat_figures.bring_to_one_gain(sample, rows, noises)
        statistics = [
            flat_figures.member_flat_figures(
                frame, gain=gain, read_noise=read_noise, lost=lost_part
            )
            for frame, lost_part in zip(sample, lost_pixels, strict=True)
        ]
        selection = dark_flat_selection.select_flats(statistics)
        if selection.agrees or None in members.seconds:
            return selection
        minimum = context.settings["flat"]["minimum"]
        return select_flats_of_one_exposure(statistics, members.seconds, minimum) or selection

    def _sample(self, members, image, reduction):
        """Return the indices of sampled rows of an image, (k,), and these rows of each flat.

        The rows are minus the masters of the flats, and have shape (n, k, nx).
        """
        frames = members.frames_of(image)
        return sample_members(
            frames,
            subtracted_terms=_subtraction_of_image(members, image).terms(len(frames)),
            masks=members.masks(image, reduction),
        )

    def combined_images(self, work, hdus_of_members):
        """Yield each image of the combined flat; the mean of all of them together is 1."""
        members = work.members
        levels = self._levels(members, work)
        images = []
        for image in work.images:
            hdus = [hdus_of_member[image.hdu] for hdus_of_member in hdus_of_members]
            combined = combine_image_of_flats(
                [hdu.member for hdu in hdus],
                _subtraction_of_image(members, image),
                amplifiers=members.noises(image, work.reduction),
                scale=levels,
                recipe=self.recipe(work),
                options=work.combine_options(),
                masks=members.masks(image, work.reduction),
            )
            images.append(self._flat_with_ratios_of_light(work, image, combined))
        normalised = normalise_flat(
            images, has_ratios_of_light=bool(_gain_factors(work)), is_in_place=True
        )
        for image, combined in zip(work.images, normalised, strict=True):
            yield image, [hdus_of_member[image.hdu] for hdus_of_member in hdus_of_members], combined

    def _levels(self, members, work):
        """Return the level of each flat, (n,), by which all of its images are divided."""
        levels = []
        for image in work.images:
            levels.append(
                flat_levels(
                    members.frames_of(image),
                    _subtraction_of_image(members, image),
                    masks=members.masks(image, work.reduction),
                )
            )
        return np.median(levels, axis=0)

    def _flat_with_ratios_of_light(self, work, image, combined):
        """Return a flat whose amplifiers have the ratios of their light, not of their gains.

        A frame is in electrons where every gain is known; so is the flat that divides it.
        """
        factors = _gain_factors(work)
        return _multiply_amplifiers(work, image, combined, factors) if factors else combined

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier by the flats: a row of the table."""
        # Levels and noise are measured in the scale of the members, which are in adu.
        factors = _gain_factors(work)
        inverse_factors = {name: 1 / factor for name, factor in factors.items()}
        flat_in_adu_scale = (
            _multiply_amplifiers(work, image, combined, inverse_factors) if factors else combined
        )
        figures_by_flats = flat_figures.measure_flat(flat_in_adu_scale, hours=work.hours)
        is_in_electrons = combined_header.is_electrons(unit)
        gains = [1.0 if is_in_electrons else amplifier.gain for amplifier in image.amplifiers]
        ratios = amplifier_ratios(combined, combined.noise.amplifiers)
        warnings_on_shape = _shape_warnings(work, combined, image)
        return [
            {
                "amplifier": figures.amplifier,
                "frames": figures.frames,
                "unit": figures.unit,
                "level": short_number(figures.level),
                "lowest": short_number(figures.lowest),
                "highest": short_number(figures.highest),
                "signal_to_noise": short_number(figures.signal_to_noise),
                "aperture_cap": short_number(figures.aperture_cap),
                "lamp_drift": short_number(figures.lamp_drift.value),
                "lamp_drift_error": short_number(figures.lamp_drift.error),
                "ratio": short_number(ratios[figures.amplifier]),
                "unlit": figures.unlit,
                "noise_ratio": short_number(figures.noise_ratio.value),
                "noise_ratio_error": short_number(figures.noise_ratio.error),
                "gain": math.nan if gain is None else gain,
                "measured_gain": short_number(figures.measured_gain.value),
                "measured_gain_error": short_number(figures.measured_gain.error),
                "warnings": _light_warnings(figures)
                + _gain_warnings(gain, figures.measured_gain, unit)
                + warnings_on_shape.get(figures.amplifier, []),
            }
            for figures, gain in zip(figures_by_flats, gains, strict=True)
        ]

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write level, signal to noise and ratios of an image into its header."""
        super().write_image_cards(cards, combined, figures, texts, unit)
        least_signal_to_noise = min(
            (each["signal_to_noise"] for each in figures if each["signal_to_noise"] > 0),
            default=math.nan,
        )
        combined_header.write_flat_cards(
            cards,
            levels=combined.levels,
            signal_to_noise=least_signal_to_noise,
            ratios=amplifier_ratios(combined, combined.noise.amplifiers),
        )
        combined_header.write_gain_cards(cards, [each["measured_gain"] for each in figures], unit)

    def write_group_cards(self, work, cards):
        """Write the cards of the group, and the factor on the dark of each flat."""
        super().write_group_cards(work, cards)
        combined_header.write_factor_cards(cards, self._dark_factors(work))

    def _dark_factors(self, work):
        """Return the factor on the dark of each flat; () where none is subtracted."""
        members = work.members
        dark = _subtraction_of_image(members, work.images[0]).dark
        return () if dark is None else dark.factors


def _subtraction_of_image(members, image):
    """Return the bias and dark that are subtracted from one image of the flats.

    Parameters
    ----------
    members : Members
    image : ccdflow.frame.products.ProductImage
    """
    bias = members.master("bias", image)
    if bias is None:
        return FlatSubtraction()
    dark = members.master("dark", image)
    if dark is None or None in members.seconds:
        return FlatSubtraction(bias)
    scale_up = members.context.settings["calibrate"]["scale_up"]
    return FlatSubtraction(bias, ScaledDark(dark, members.seconds, scale_up))


def _gain_factors(work):
    """Return {amplifier: its gain over the mean gain}; {} if all are equal, or one is unknown."""
    amplifiers = [amplifier for image in work.images for amplifier in image.amplifiers]
    gains = {amplifier.name: amplifier.gain for amplifier in amplifiers}
    if None in gains.values() or len(set(gains.values())) == 1:
        return {}
    mean_gain = float(np.mean(list(gains.values())))
    return {name: gain / mean_gain for name, gain in gains.items()}


def _multiply_amplifiers(work, image, combined, factors):
    """Return a flat with each amplifier multiplied by a factor.

    Parameters
    ----------
    work : ccdflow.kinds.masters.combining.CombineWork
    image : ccdflow.frame.products.ProductImage
    combined : ccdflow.combine.stack.Combined
        The flat, not changed.
    factors : dict of str to float
        By the name of the amplifier.
    """
    arrays = [combined.image.copy(), combined.uncertainty.copy(), combined.sample.copy()]
    for amplifier in image.amplifiers:
        region = work.region_of(amplifier)
        is_inside = (combined.sample_rows >= region.y0) & (combined.sample_rows < region.y1)
        factor = factors[amplifier.name]
        for array in arrays[:2]:
            array[region.slices] *= array.dtype.type(factor)
        arrays[2][:, is_inside, region.x0 : region.x1] *= arrays[2].dtype.type(factor)
    pixels, uncertainty, sample = arrays
    return replace(combined, image=pixels, uncertainty=uncertainty, sample=sample)


def _shape_warnings(work, combined, image):
    """Return {amplifier: [sentence]} on a flat of another shape; {} where all are alike.

    The amplifier is the one in which the shape exceeds its limit most. Flats of spectra are not
    compared.
    """
    grisms = [row.facts["grism"] for row in work.members.rows]
    if any(grism and not is_open(grism) for grism in grisms):
        return {}
    odd_shapes = {}
    for amplifier in image.amplifiers:
        odd_shape = None
        if amplifier.name not in work.flags:
            odd_shape = flat_shapes.find_odd_shape(work.sampled_rows_of(combined, amplifier))
        if odd_shape is not None:
            odd_shapes[amplifier.name] = odd_shape
    if not odd_shapes:
        return {}
    name = max(odd_shapes, key=lambda name: odd_shapes[name].distance / odd_shapes[name].limit)
    odd_shape = odd_shapes[name]
    sentence = (
        f"the shape of {printable_text(work.files[odd_shape.index])} differs by"
        f" {100 * odd_shape.distance:.2g} % from that of the other flats (rms in 8 x 8 boxes,"
        f" slopes taken off), more than {100 * odd_shape.limit:.2g} %, and it is combined with"
        " them: another filter than its card says, or another light: look at it"
    )
    return {name: [sentence]}


def _light_warnings(figures):
    """Return [a sentence] on an amplifier without light, such as a dead one; [] on others."""
    if math.isfinite(figures.level) or not figures.unlit:
        return []
    return ["no pixel has light in any frame, and nothing is calibrated there: look at the flats"]


def _gain_warnings(gain, measured_gain, unit):
    """Return [a sentence] on a gain that the flats contradict; [] on others."""
    if gain is None or not flat_figures.gain_differs(
        gain, measured_gain.value, measured_gain.error
    ):
        return []
    return [
        f"the flats show a gain of {measured_gain.value:.4g} +- {measured_gain.error:.2g}"
        f" electrons per {unit}, profile or header say {gain:.4g}: UNCERT is made with what"
        " the flats show; if you trust it, write `gain:` into the camera's profile"
    ]
