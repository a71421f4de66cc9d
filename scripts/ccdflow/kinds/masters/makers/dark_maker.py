"""The making of a combined dark from its members."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from ccdflow.combine import combined_header
from ccdflow.combine.darks import combine_darks
from ccdflow.combine.member_noise import sample_members
from ccdflow.combine.preparation import SubtractedTerm
from ccdflow.detector import (
    benefit,
    dark_figures,
    dark_flat_selection,
    dark_warnings,
    frame_figures,
    member_selection,
)
from ccdflow.detector.frame_figures import COARSE_BOXES, frame_statistics
from ccdflow.detector.threaded_map import threaded_map
from ccdflow.files.header_text import printable_text
from ccdflow.files.values import short_number
from ccdflow.kinds.masters import selecting
from ccdflow.kinds.masters.makers.exposed_maker import ExposedMasterMaker
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.robust import median_of_each_pixel


class DarkMaker(ExposedMasterMaker):
    """The making of a combined dark."""

    def select(self, context, group, members):
        """Return the selection of the darks that agree in level, structure, noise, temperature."""
        if not members:
            return member_selection.Selection((), (), agrees=True, reason="")
        if refusal := selecting.refusal_without_signal(context, members):
            return refusal
        return selecting.select_without_odd_flags(
            members, lambda sound_members: self._select_alike(context, group, sound_members)
        )

    def _select_alike(self, context, group, records):
        """Return the selection of the darks that agree, after copies are left out."""
        members = Members(context, group, records)
        statistics, lost_pixels, copies = self._statistics(members)
        if copies:
            # The difference of two copies has no noise, so both would seem unlike the others.
            indices_of_copies = {each.index for each in copies}
            originals = [index for index in range(len(records)) if index not in indices_of_copies]
            selection = self._select_alike(context, group, [records[index] for index in originals])
            return selecting.widen_selection(selection, originals, copies)

        def choose(statistics):
            """Return the selection by the statistics of one amplifier in all darks."""
            return dark_flat_selection.select_darks(
                statistics, temperatures=members.temperatures, lost_pixels=lost_pixels
            )

        return selecting.select_by_statistics(statistics, choose)

    def _statistics(self, members):
        """Return the figures of each amplifier in each dark, lost pixels, and copies.

        Returns
        -------
        statistics : list of list of dict
            For each dark the figures of each amplifier that has signal, and at least
            `COARSE_BOXES` columns and sampled rows.
        lost_pixels : list of ccdflow.detector.lost_pixels.LostPixels
            For each dark the fraction of lost pixels, in the image that has lost most.
        copies : list of ccdflow.detector.member_selection.LeftOut
            Darks with the pixels of an earlier dark.
        """
        row = members.rows[0]
        reduction, images = recipe_and_images(members.context, row)
        names = [printable_text(file) for file, _ in members.records_of_files]
        statistics, parts_of_images, copies = [[] for _ in members.records_of_files], [], []
        for image in images:
            bias = members.master("bias", image)
            rows, sample = sample_members(
                members.frames_of(image),
                subtracted_terms=(SubtractedTerm(bias.pixels),),
                masks=members.masks(image, reduction),
            )
            copies = copies or member_selection.find_copies(sample, names)
            parts_of_images.append(members.lost_pixels(image, reduction, rows, sample))
            for amplifier in image.amplifiers:
                if amplifier.name in members.flags:
                    continue
                region = reduction.region_of(amplifier)
                is_in_rows = (rows >= region.y0) & (rows < region.y1)
                pixels = sample[:, is_in_rows, region.x0 : region.x1]
                if min(pixels.shape[1:]) < COARSE_BOXES:
                    continue
                for frame, entries, (_, record) in zip(
                    _subtract_pattern(pixels), statistics, members.records_of_files, strict=True
                ):
                    level = record.data.get("levels", {}).get(amplifier.name)
                    figures = frame_statistics(frame, [] if level is None else [level])
                    entries.append({"amplifier": amplifier.name, **figures.to_record()})
        lost_pixels = [
            max(parts_of_member, key=lambda lost_part: lost_part.fraction)
            for parts_of_member in zip(*parts_of_images, strict=True)
        ]
        return statistics, lost_pixels, copies

    def combined_images(self, work, hdus_of_members):
        """Yield each image of the combined dark, with its hot pixels, trails and others flagged."""
        members = work.members
        for image in work.images:
            hdus = [hdus_of_member[image.hdu] for hdus_of_member in hdus_of_members]
            combined = combine_darks(
                [hdu.member for hdu in hdus],
                bias=members.master("bias", image),
                amplifiers=members.noises(image, work.reduction),
                recipe=self.recipe(work),
                options=work.combine_options(),
                masks=members.masks(image, work.reduction),
            )
            mask = dark_figures.hot_mask(
                combined, seconds=_seconds_of(work.group), hot_rate=work.settings["hot_rate"]
            )
            dark_figures.flag_trails(combined, mask)
            members.flag_not_linear(image, work.reduction, combined.image, mask)
            yield image, hdus, replace(combined, mask=mask)

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier by the darks: a row of the table."""

        def measure_rates():
            """Return the figures of each amplifier's dark current."""
            return dark_figures.measure_dark(
                combined,
                seconds=_seconds_of(work.group),
                hours=work.hours,
                hot_rate=work.settings["hot_rate"],
                mask=combined.mask,
            )

        # Threads may share the pixels, because both measurements only read them.
        rate_figures, benefit_figures = threaded_map(
            lambda measure: measure(),
            (measure_rates, lambda: benefit.figures_of_dark(combined)),
            work.threads,
        )
        return [
            {
                **{name: short_number(value) for name, value in structure.items()},
                "amplifier": figures.amplifier,
                "frames": figures.frames,
                "seconds": figures.seconds,
                "unit": figures.unit,
                "rate": short_number(figures.rate.value),
                "rate_error": short_number(figures.rate.error),
                "rate_99": short_number(figures.high_rate),
                "hot": figures.hot,
                "hot_limit": figures.hot_limit,
                "glow": short_number(figures.glow.value),
                "glow_error": short_number(figures.glow.error),
                "level_span": short_number(figures.drift.span),
                "noise_ratio": short_number(figures.noise_ratio.value),
                "noise_ratio_error": short_number(figures.noise_ratio.error),
                "warnings": dark_warnings.warnings_on_dark(figures, unit=unit),
            }
            for figures, structure in zip(rate_figures, benefit_figures, strict=True)
        ]

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write rate and hot pixels of an image into its header."""
        super().write_image_cards(cards, combined, figures, texts, unit)
        rates = [frame_figures.Estimate(each["rate"], each["rate_error"]) for each in figures]
        combined_header.write_dark_cards(
            cards,
            seconds=figures[0]["seconds"],
            rates=rates,
            hot_pixels=sum(each["hot"] for each in figures),
            hot_limit=figures[0]["hot_limit"],
            units=[each["unit"] for each in figures],
        )

    def more_data(self, work):
        """Return the record's further entry: the exposure of a combined dark's members."""
        return {**super().more_data(work), "seconds": _seconds_of(work.group)}


def _seconds_of(group):
    """Return the median exposure of the members of a group of darks, seconds."""
    return float(dict(group.shared)["exptime"])


def _subtract_pattern(frames):
    """Return frames minus the pattern that they share, such as hot pixels and glow; levels stay.

    The result has shape (n, k, nx). The remaining differences show which frames are alike.
    """
    median_frame = median_of_each_pixel(frames)
    with warnings.catch_warnings():
        # numpy warns if all pixels of the median are masked.
        warnings.simplefilter("ignore", RuntimeWarning)
        return frames - (median_frame - np.nanmedian(median_frame))
