"""The combined dark: darks of one exposure and temperature, each less the combined bias."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace

import numpy as np

from ccdflow import paths
from ccdflow.calibrate.chain import EXACT_PART, EXACT_SECONDS
from ccdflow.combine import combined_header
from ccdflow.combine.darks import combine_darks
from ccdflow.combine.member_noise import sample_members
from ccdflow.combine.preparation import Subtracted
from ccdflow.detector import benefit, choosing, choosing_light, dark_figures
from ccdflow.detector.frame_figures import BOXES, frame_statistics
from ccdflow.files.headertext import printable
from ccdflow.kinds.masters import selecting
from ccdflow.kinds.masters.combining import hours_of, short
from ccdflow.kinds.masters.light_masters import LightMasterKind
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.matching.association import why_missing
from ccdflow.kinds.matching.setups import about
from ccdflow.robust import median_of_each
from ccdflow.run.context import reduced
from ccdflow.run.nights import counts
from ccdflow.run.rawframes.rows import OK


class Dark(LightMasterKind):
    """A combined dark."""

    name = "dark"
    rule = "combine_darks"
    plans_some_nights = True
    words = ("combined dark", "combined darks")
    counted = words
    short = "combined darks"
    stage = 3
    version = 6
    type = "dark"
    block = "dark"
    settings = ("minimum", "method", "clip", "clip_by", "iterations", "count", "hot_rate")
    table = paths.DARK_QUALITY
    why_moved = "its darks are no such group any more"
    before = ("bias",)
    unnamed = ("part", "temperature")
    told_by_split = ("temperature",)

    def split(self, context, rows):
        """Yield the darks of each exposure time and temperature."""
        tolerance = context.settings["calibrate"]["temperature_tolerance"]
        timed = sorted(filter(counts.has_exposure, rows), key=lambda row: row.facts["exptime"])
        for part in _runs(timed, "exptime", lambda t: max(EXACT_SECONDS, EXACT_PART * t)):
            for own in _by_temperature(part, tolerance):
                common = about(context, own, self, night=own[0].night)
                degrees = common.set_temperature
                degrees = common.temperature if degrees is None else degrees
                shared = [("exptime", f"{common.exptime:.6g}")]
                shared += [] if degrees is None else [("temperature", f"{degrees:.6g}")]
                yield tuple(shared), sorted(own, key=lambda row: row.facts["date_obs"] or "")

    def name_part(self, name, value):
        """Return the exposure time as a name has it: as exact as its group."""
        if name != "exptime":
            return super().name_part(name, value)
        return f"{rounded(float(value)):g}s"

    def lacks(self, context, group):
        """Return why there is no bias: a dark with its bias in serves one exposure only."""
        return why_missing(context, group.steps[0])

    def select(self, context, group, found):
        """Return the darks that look alike: level, structure, noise, temperature."""
        if not found:
            return choosing.Selection((), (), True, "")
        if nothing := selecting.none_usable(context, found):
            return nothing
        return selecting.without_odd_flags(
            found, lambda good: self._select_alike(context, group, good)
        )

    def _select_alike(self, context, group, found):
        members = Members(context, group, found)
        statistics, saturated, copies = self._statistics(members)
        if copies:
            # Two copies of a frame have half the noise of a difference: neither would seem to
            # belong.
            again = {out.index for out in copies}
            rest = [index for index in range(len(found)) if index not in again]
            selection = self._select_alike(context, group, [found[index] for index in rest])
            return selecting.among(selection, rest, copies)

        def choose(stats):
            return choosing_light.select_darks(
                stats, temperatures=members.temperatures, saturated=saturated
            )

        return selecting.select(statistics, choose)

    def _statistics(self, members):
        """Return the figures of each amplifier in each dark, and the saturated part of each.

        Returns
        -------
        statistics : list of list of dict
        saturated : list of float
        copies : list of ccdflow.detector.choosing.LeftOut
            Those with another one's pixels.
        """
        row = members.rows[0]
        reduction, images = self.reduced_as(members.context, row)
        names = [printable(file) for file, _ in members.found]
        statistics, parts, copies = [[] for _ in members.found], [], []
        for image in images:
            bias = members.master("bias", image)
            rows, sample = sample_members(
                members.members(image),
                subtract=(Subtracted(bias.pixels),),
                **members.options(image, reduction),
            )
            copies = copies or choosing.same_pixels(sample, names)
            lost = members.lost_part(image, reduction)
            if lost == 1:
                continue
            parts.append(((sample != sample).mean(axis=(1, 2)) - lost) / (1 - lost))
            for amplifier in image.amplifiers:
                if amplifier.name in members.flags:
                    continue
                place = amplifier.place if reduction.trim else amplifier.data
                inside = sample[:, (rows >= place.y0) & (rows < place.y1), place.x0 : place.x1]
                if min(inside.shape[1:]) < BOXES:
                    continue
                for frame, entries, (_, record) in zip(
                    _without_pattern(inside), statistics, members.found, strict=True
                ):
                    level = record.data.get("levels", {}).get(amplifier.name)
                    own = frame_statistics(frame, [] if level is None else [level])
                    entries.append({"amplifier": amplifier.name, **asdict(own)})
        return statistics, [float(max(part)) for part in zip(*parts, strict=True)], copies

    def combined_images(self, work, found):
        """Yield each image of the combined dark, its hot pixels flagged."""
        members = self.of(work)
        for image in work.images:
            hdus = [own[image.hdu] for own in found]
            combined = combine_darks(
                [hdu.member for hdu in hdus],
                bias=members.master("bias", image),
                amplifiers=members.noises(image, work.reduction),
                recipe=self.recipe(work),
                threads=work.threads,
                memory=work.memory,
                dtype=work.reduction.dtype,
                **members.options(image, work.reduction),
            )
            mask = dark_figures.hot_mask(
                combined, seconds=self.seconds(work), hot_rate=work.settings["hot_rate"]
            )
            yield image, hdus, replace(combined, mask=mask)

    def seconds(self, work):
        """Return the exposure time of the members, their median."""
        return float(dict(work.group.shared)["exptime"])

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier by the darks: a row of the table."""
        measured = dark_figures.measure_dark(
            combined,
            seconds=self.seconds(work),
            hours=hours_of(work.dates),
            hot_rate=work.settings["hot_rate"],
        )
        benefits = benefit.of_amplifiers(combined)
        return [
            {
                **{name: short(value) for name, value in structure.items()},
                "amplifier": figures.amplifier,
                "frames": figures.frames,
                "seconds": figures.seconds,
                "unit": figures.unit,
                "rate": short(figures.rate.value),
                "rate_error": short(figures.rate.error),
                "rate_99": short(figures.percentiles[99]),
                "hot": figures.hot,
                "hot_limit": figures.hot_limit,
                "glow": short(figures.glow.value),
                "glow_error": short(figures.glow.error),
                "level_span": short(figures.drift.span),
                "noise_ratio": short(figures.noise_ratio.value),
                "noise_ratio_error": short(figures.noise_ratio.error),
                "said": dark_figures.remarks(figures, unit=unit),
            }
            for figures, structure in zip(measured, benefits, strict=True)
        ]

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write rate and hot pixels of an image into its header."""
        super().write_image_cards(cards, combined, figures, texts, unit)
        rates = [dark_figures.Estimate(each["rate"], each["rate_error"]) for each in figures]
        combined_header.write_dark_cards(
            cards,
            seconds=figures[0]["seconds"],
            rates=rates,
            hot=sum(each["hot"] for each in figures),
            hot_limit=figures[0]["hot_limit"],
            unit=figures[0]["unit"],
        )

    def more_data(self, work):
        """Return the record's further entry: the exposure of a combined dark's members."""
        return {**super().more_data(work), "seconds": self.seconds(work)}

    def flags(self, context, records):
        """Yield the flags of all masters, and darks in no group for want of an exposure time."""
        yield from super().flags(context, records)
        if not self.is_enabled(context):
            return
        for row in _without_exposure(context.store):
            yield reduced(row.file), f"in no combined dark: it has {_exposure_words(row)}"

    def closing(self, context, records):
        """Return the lines of all masters of light, and one on darks without an exposure time."""
        lines = super().closing(context, records)
        if not self.is_enabled(context):
            return lines
        rows = _without_exposure(counts.told_rows(context))
        darks = sorted((row for row in rows if not row.gone), key=lambda row: row.file)
        if not darks:
            return lines
        first, many = darks[0], f" (the first of {len(darks)} darks)" * (len(darks) > 1)
        return [
            *lines,
            f"in no combined dark: {printable(first.file)}{many}: it has {_exposure_words(first)};"
            f" allowed: above 0 s and below 2^31 s; correct its EXPTIME",
        ]


DARK = Dark()


def _without_exposure(store):
    """Return the good rows of darks that have no exposure time that can be one."""
    return [
        row
        for row in store.rows.values()
        if row.facts["type"] == "dark" and row.status == OK and not counts.has_exposure(row)
    ]


def _exposure_words(row):
    value = row.facts["exptime"]
    return "no exposure time" if value == "" else f"an exposure time of {value:g} s"


def _without_pattern(frames):
    """Return frames less the pattern that they share, hot pixels and glow; the level is kept.

    The result has shape (n, k, nx). The differences that are left show which of the frames belongs.
    """
    middle = median_of_each(frames)
    with warnings.catch_warnings():
        # Nothing but pixels that are masked in all of them.
        warnings.simplefilter("ignore", RuntimeWarning)
        return frames - (middle - np.nanmedian(middle))


def rounded(seconds):
    """Return an exposure time to as many digits as darks of one group share.

    >>> [rounded(value) for value in (300.062, 70.001, 7.04, 0.05)]
    [300.0, 70.0, 7.0, 0.1]
    """
    digits = 1 if EXACT_PART * seconds <= EXACT_SECONDS else 0
    return max(round(seconds, digits), EXACT_SECONDS)


def _runs(rows, name, reach):
    """Yield runs of rows sorted by a fact: the last of a run is within reach of its first."""
    part = []
    for row in rows:
        value = row.facts[name]
        if part and value - part[0].facts[name] > reach(part[0].facts[name]):
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _by_temperature(rows, tolerance):
    """Yield rows of one set point each; of one that is unknown the sensors decide."""
    known = [row for row in rows if isinstance(row.facts["set_temperature"], int | float)]
    known.sort(key=lambda row: row.facts["set_temperature"])
    yield from _runs(known, "set_temperature", lambda _: tolerance)
    others = [row for row in rows if not isinstance(row.facts["set_temperature"], int | float)]
    sensed = [row for row in others if isinstance(row.facts["temperature"], int | float)]
    sensed.sort(key=lambda row: row.facts["temperature"])
    part = []
    for row in sensed:
        # A sensor drifts by steps: a gap parts two settings.
        if part and row.facts["temperature"] - part[-1].facts["temperature"] > tolerance:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
    if rest := [row for row in others if row not in sensed]:
        yield rest
