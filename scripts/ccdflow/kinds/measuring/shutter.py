"""The map of a shutter's dead time, from a night's flats of several exposures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ccdflow import paths
from ccdflow.detector import dead_time, member_selection
from ccdflow.files.values import short_number
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.matching.association import first_use
from ccdflow.kinds.matching.match_sentences import setup_words
from ccdflow.kinds.matching.setups import profile_of
from ccdflow.kinds.measuring import measurement_cards, pixel_tables
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import (
    detector_setup_of,
    names_of_setups,
    pixel_facts_of,
    setups_in_words,
)
from ccdflow.kinds.measuring.measurement_kind import (
    MeasurementKind,
    masters_by_setup,
    step_of_masters,
)
from ccdflow.kinds.measuring.member_rows import MemberRows, whole_image
from ccdflow.kinds.measuring.nights.night_masters import NightMasters, exposure_of
from ccdflow.kinds.product_writing import refused_record
from ccdflow.pages.contents import Section
from ccdflow.pages.text_formatting import figure_text, value_with_error
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.rows import digest

# The longest exposure of flats that measure a shutter is at least this many times the shortest: the
# two show at least a fifth of the effect in the shortest. With a larger ratio fewer nights have a
# measurement; with a smaller one its error grows. Chosen, not measured.
_LEAST_EXPOSURE_RATIO = 1.25
# The shortest exposure of flats that measure a shutter is at most this long, seconds: in a longer
# one, a dead time of milliseconds is too small a fraction.
_MOST_SECONDS = 60.0
# A measurement needs this many flats.
_LEAST_FLATS = 3
# A map is refused if the variance of the flats about their lines is more than this many times the
# variance of the noise: its errors, which follow from this scatter, would then be twice as large.
_MOST_CHI2 = 4.0
# A sentence names the frames in which the shutter causes more than this relative error. With a
# smaller number it names frames whose photometry nothing else allows to be so good; with a larger
# one it passes over errors that standard stars show. Chosen, not measured.
_LEAST_RELATIVE_ERROR = 1e-3
# Rows of all flats that are in memory at once: 0.5 MB of each flat with 2000 columns. More rows
# take more memory; with fewer, there are more reads of each file.
_ROWS_AT_ONCE = 64
_EXPLANATION = (
    "A pixel is exposed for the exposure time less the dead time of the shutter there, which flats"
    " of several exposures show. Least and largest are those of cells, beside the mean; the error"
    " is a cell's. The mean needs a steady lamp."
)
_HEADINGS = (
    "Flats of (s)",
    "Least (ms)",
    "Largest (ms)",
    "Error (ms)",
    "Mean (ms)",
    "Scatter, chi² per degree of freedom",
)


def can_measure_shutter(seconds):
    """Return whether flats of these exposures determine the dead time even if any one is left out.

    A single flat of another exposure may differ from the others for another reason. Three flats are
    the fewest, so that none of these can be left out.

    Parameters
    ----------
    seconds : sequence of float
        Exposures; NaN where one is unknown.

    Returns
    -------
    bool
    """
    if len(seconds) < _LEAST_FLATS or not all(map(math.isfinite, seconds)):
        return False
    times = sorted(seconds)
    if len(times) == _LEAST_FLATS:
        shortest, ratio = times[0], times[-1] / times[0]
    else:
        # The shortest flat is left out, then the longest.
        shortest, ratio = times[1], min(times[-1] / times[1], times[-2] / times[0])
    return ratio >= _LEAST_EXPOSURE_RATIO and shortest <= _MOST_SECONDS


_TOO_FEW_FLATS = (
    f"too few usable flats of one filter: it takes {_LEAST_FLATS} or more, one of them"
    f" of {_MOST_SECONDS:g} s at most, whose longest exposure is at least"
    f" {_LEAST_EXPOSURE_RATIO:g} times the shortest (of more than {_LEAST_FLATS}, also without"
    " any one of them); flats that are saturated, faint or left out of their combined"
    " flat do not count"
)


class Shutter(MeasurementKind):
    """The dead time of a shutter, as a night's flats show it."""

    name = "shutter"
    rule = "map_shutter"
    plans_some_nights = True
    nouns = ("map of a shutter", "maps of shutters")
    progress_nouns = nouns
    version = 3
    header_version = 3
    why_moved = "there are no flats of several exposures any more"

    def has_name(self, product):
        """Return whether a path is that of a map of a night."""
        return paths.is_measurement_of_night(product, paths.SHUTTER_START)

    # -- planning ----------------------------------------------------------------------------------

    def is_wanted(self, context):
        """Return whether the configuration asks for measurements and for flats."""
        return DETECTOR.is_enabled(context) and FLAT_KIND.is_enabled(context)

    def new_groups(self, context):
        """Return the groups of flats of several exposures of one detector and night."""
        flats_by_setup = masters_by_setup(context, [FLAT_KIND])
        groups, names = [], names_of_setups(flats_by_setup)
        for (night, setup), all_flats in flats_by_setup.items():
            flats = _flats_of_several_exposures(context, all_flats)
            if flats:
                product = paths.shutter_map(dict(setup)["camera"], night, names[night, setup])
                steps = (step_of_masters(FLAT_KIND, flats),)
                files = [file for flat in flats for file in flat.files]
                groups.append(self.group_of_masters(context, product, night, setup, steps, files))
        return groups

    def group_basis(self, context, group):
        """Return the sources of a map: key and status of each combined flat, and the version."""
        flats = [
            [record.product, record.key, record.status]
            for use in group.steps[0].uses
            if (record := context.outcome(use.product)) is not None
        ]
        return {"arithmetic": self.version, "flats": flats}

    def what_changed(self, earlier_basis, current_basis):
        """Return why a map is out of date."""
        return (
            "its flats changed"
            if earlier_basis["flats"] != current_basis["flats"]
            else "new arithmetic"
        )

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Measure the dead time from the flats of a night."""
        group = context.group(job.product)
        basis = self.group_basis(context, group)
        night = NightMasters(context, group, flats=_usable_flats(context, group))
        flats_and_series = [
            (flats, one_series)
            for flats in _group_by_light(context, night.flats)
            if can_measure_shutter([t for flat in flats for t in night.exposures_of(flat)])
            and (one_series := _flat_series(night, flats)) is not None
        ]
        series = [one_series for _, one_series in flats_and_series]
        if not series:
            return refused_record(job, basis, _TOO_FEW_FLATS)
        dead_times = dead_time.measure_dead_time(series)
        if dead_times.reduced_chi2 > _MOST_CHI2:
            reason = (
                f"its flats scatter about straight lines in 1/t with {dead_times.reduced_chi2:.3g}"
                f" times the variance of noise (allowed: {_MOST_CHI2:g}): something else than a"
                " shutter changes them; take flats of two exposures of a steady lamp, in turn"
            )
            return refused_record(job, basis, reason)
        data = {
            **_record_entries(group, night, series, dead_times),
            "header": self.header_version,
        }
        record = job_records.Record(job.product, self.name, digest(basis), basis=basis, data=data)
        cards = _header_cards(group, record.data)
        cards += measurement_cards.cards_of_shutter(night, [flats for flats, _ in flats_and_series])
        images = _images_of_map(night, dead_times)
        return pixel_tables.write_product(context, record, cards, images)

    # -- lines and sections ------------------------------------------------------------------------

    def made_maps(self, context, night=None):
        """Return (group, record) of the maps that were made, of one night or of all.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str, optional
            YYYY-MM-DD; all nights if absent.

        Returns
        -------
        list of (ccdflow.run.job.Group, ccdflow.run.job_records.Record)
        """
        groups = self.groups(context) if night is None else self.night_groups(context, night)
        return [
            (group, record)
            for group in groups
            if (record := context.made_record(group.product)) is not None
        ]

    def closing_lines(self, context, records):
        """Return a line for each setup with uncorrected frames in its newest night with a map."""
        newest = {group.shared: (group, record) for group, record in self.made_maps(context)}
        names = setups_in_words(newest)
        return [
            f"shutter: {names[group.shared]} of {group.night}: {text}"
            for group, record in newest.values()
            if not corrects_shutter(context, group.camera)
            and (text := self._sentence_on_frames(context, group, record))
        ]

    def _sentence_on_frames(self, context, group, record):
        """Return a sentence on the night's frames with a noticeable error by the shutter, or ''."""
        times_and_errors = sorted(
            (time, error)
            for time in _exposures_to_calibrate(context, group)
            if (error := _relative_error(record.data, time)) > _LEAST_RELATIVE_ERROR
        )
        if not times_and_errors:
            return ""
        affected_times = [time for time, _ in times_and_errors]
        largest_error = max(error for _, error in times_and_errors)
        times_in_words = f"of {_span_of_times(affected_times)} s"
        exposures_of_flats, words_on_flats = record.data["exposures"], ""
        if record.data["inverse"] > 1 / affected_times[0]:
            words_on_flats = f", because their flats are of {_span_of_times(exposures_of_flats)} s"
        remedy = (
            "they are corrected"
            if corrects_shutter(context, group.camera)
            else "`shutter: measured` in the camera's profile corrects them"
        )
        frames = "frame" if len(affected_times) == 1 else "frames"
        return (
            f"{len(affected_times)} {frames} of its night, {times_in_words}, would be off by up to"
            f" {100 * largest_error:.2g} % between parts of the image{words_on_flats}: {remedy}"
        )

    def page_basis(self, context, night):
        """Return the sources of a night's page: its maps, their epochs, and the frames' exposures.

        Whether the frames are corrected is among them.
        """
        basis = super().page_basis(context, night)
        for group in self.groups(context) if basis else ():
            if group.night == night:
                seconds = sorted(_exposures_to_calibrate(context, group))
                values_shown = [
                    seconds,
                    corrects_shutter(context, group.camera),
                    *_epoch_shown(group),
                ]
                basis[group.product] = values_shown
        return basis

    def section(self, context, night):
        """Return the section of a night's page on the dead time; None without a map."""
        maps = self.made_maps(context, night)
        if not maps:
            return None
        texts = [
            text
            for group, record in maps
            if (text := self._sentence_on_frames(context, group, record))
        ]
        return Section(
            "shutter", "The shutter", tuple(f"The shutter: {text}." for text in texts),
            (_EXPLANATION,),
            headings=("Detector", *_HEADINGS), rows=tuple(_table_cells(g, r) for g, r in maps),
        )  # fmt: skip

    def overview_basis(self, context):
        """Return the sources of the overview: all maps, and their epochs."""
        keys = [
            [group.product, record.key, *_epoch_shown(group)]
            for group, record in self.made_maps(context)
        ]
        return {self.name: digest(keys)} if keys else {}

    def overview(self, context):
        """Return the section of the overview on the dead time in all nights; None without a map."""
        maps = self.made_maps(context)
        if not maps:
            return None
        rows = tuple((group.night, *_table_cells(group, record)) for group, record in maps)
        return Section(
            "shutter", "The shutter", (), (_EXPLANATION,),
            headings=("Night", "Detector", *_HEADINGS), rows=rows,
        )  # fmt: skip


SHUTTER = Shutter()
"""The kind of a night's map of the shutter's dead time."""


def _epoch_shown(group):
    """Return the epoch that the line of a map names, as a list: [] where its camera had one only.

    The name of the map has all other values of its setup. The epoch changes no pixel of the map, so
    that the map's key does not depend on it.
    """
    epoch = dict(group.shared)["epoch"]
    return [epoch] if epoch else []


def _relative_error(data, seconds):
    """Return the error of a frame by the shutter, relative to its light.

    Parameters
    ----------
    data : dict of str to object
        Data of a map's record: "sure" is the relative error of a frame of 1 s, "inverse" the mean
        of 1/t over the combined flats.
    seconds : float
        Exposure of the frame.
    """
    return data["sure"] * abs(1 / seconds - data["inverse"])


def _table_cells(group, record):
    """Return the cells of a map's row in the table of maps."""
    data = record.data
    exposures = data["exposures"]
    return (
        setup_words(group.shared),
        _span_of_times(sorted(exposures)),
        *(figure_text(1e3 * data[name], 3) for name in ("least", "largest", "error")),
        ""
        if data["mean"] is None
        else value_with_error(1e3 * data["mean"], 1e3 * data["mean_error"]),
        figure_text(data["chi2"], 3),
    )


def _usable_flats(context, group):
    """Return the records of the group's flats, with all usable flats as members.

    Flats that were left out for their exposure are included: they show most. Flats that were left
    out for another reason are not, because no shutter makes them unlike the others.
    """
    usable_records = []
    for use in group.steps[0].uses:
        record = context.outcome(use.product)
        if record is None or "members" not in record.data:
            continue
        unusable = {
            file
            for file, _, reason_figure, *_ in record.data["left_out"]
            if reason_figure != member_selection.OTHER_EXPOSURE
        }
        members = [
            file
            for file in context.group(use.product).files
            if file not in unusable
            and (frame := context.made_record(reduced_product(file))) is not None
            and "saturated" not in frame.data.get("flags", {}).values()
        ]
        if members:
            usable_records.append(replace(record, data={**record.data, "members": members}))
    return usable_records


def _flats_of_several_exposures(context, flats):
    """Return the combined flats of each light whose exposures determine the dead time."""
    flats_by_light = {}
    for flat in flats:
        flats_by_light.setdefault(_light_of(flat), []).append(flat)
    chosen_flats = []
    for flats_of_light in flats_by_light.values():
        rows = [context.row(file) for flat in flats_of_light for file in flat.files]
        if can_measure_shutter(list(map(exposure_of, rows))):
            chosen_flats += flats_of_light
    return chosen_flats


def _light_of(flat):
    """Return all shared values of a group of flats but the exposure."""
    return tuple(pair for pair in flat.shared if pair[0] != "exptime")


def _group_by_light(context, records):
    """Return a list for each light with the records of its flats, of all exposures."""
    records_by_light = {}
    for record in records:
        records_by_light.setdefault(_light_of(context.group(record.product)), []).append(record)
    return list(records_by_light.values())


def _images_of_map(night, dead_times):
    """Return (EXTNAME, pixels) of the images of a map: dead time and error of each image."""
    images = []
    for image, excess, error in zip(night.images, dead_times.excess, dead_times.error, strict=True):
        images.append((f"EXCESS{image.suffix}", excess.astype(np.float32)))
        images.append((f"ERROR{image.suffix}", error.astype(np.float32)))
    return images


def _record_entries(group, night, series, dead_times):
    """Return the entries of a map's record.

    Parameters
    ----------
    group : ccdflow.run.job.Group
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    series : list of ccdflow.detector.dead_time.FlatSeries
        The flats of each light.
    dead_times : ccdflow.detector.dead_time.DeadTime
    """
    excess = np.concatenate([cells.ravel() for cells in dead_times.excess])
    error = np.concatenate([cells.ravel() for cells in dead_times.error])
    seconds = [float(t) for flats in series for t in flats.seconds]
    is_known = math.isfinite(dead_times.mean) and math.isfinite(dead_times.mean_error)
    return {
        "night": group.night,
        "shapes": [list(image.shape) for image in night.images],
        "exposures": sorted(set(seconds)),
        "flats": len(seconds),
        "least": short_number(float(np.nanmin(excess))),
        "largest": short_number(float(np.nanmax(excess))),
        "error": short_number(float(np.nanmedian(error))),
        "sure": short_number(dead_times.effect(1.0)),
        "inverse": short_number(_mean_inverse_exposure(night)),
        "mean": short_number(dead_times.mean) if is_known else None,
        "mean_error": short_number(dead_times.mean_error) if is_known else None,
        "chi2": short_number(dead_times.reduced_chi2),
    }


def _mean_inverse_exposure(night):
    """Return the mean of one over the exposures of the flats that were combined, 1/s; 0 for none.

    The shutter's effect at this mean is in the combined flat, and division by it removes it.
    """
    outcomes = [night.context.outcome(flat.product) for flat in night.flats]
    seconds = [
        t
        for record in outcomes
        if record.status == job_records.MADE
        for t in night.exposures_of(record)
        if math.isfinite(t)
    ]
    return float(np.mean([1 / t for t in seconds])) if seconds else 0.0


def _header_cards(group, data):
    """Return the cards of the first HDU of a map."""
    cards = [
        ("CCDFCAM", group.camera, "camera"),
        ("NIGHT", group.night, "night of its flats"),
        ("BUNIT", "s", "dead time less its mean, a pixel is a cell"),
        ("NFLATS", data["flats"], "flats"),
        ("EXPMIN", min(data["exposures"]), "[s] shortest exposure of the flats"),
        ("EXPMAX", max(data["exposures"]), "[s] longest exposure of the flats"),
        ("CHI2", data["chi2"], "reduced chi square of lines in 1/t"),
    ]
    if data["mean"] is not None:
        cards += [
            ("SHUTMEAN", data["mean"], "[s] mean dead time"),
            ("SHUTMERR", data["mean_error"], "[s] standard error of SHUTMEAN"),
        ]
    return cards


def _exposures_to_calibrate(context, group):
    """Return the exposures in seconds of the frames that are calibrated, of a map's night."""
    types = context.settings["calibrate"]["types"]
    pixels = pixel_facts_of(group.shared)
    seconds = [
        exposure_of(row)
        for row in context.rows_of(group.night)
        if row.facts["type"] in types
        and row.geometry
        and pixel_facts_of(detector_setup_of(context, row)) == pixels
        and is_of_enabled_type(row, context.settings)
    ]
    return [time for time in seconds if math.isfinite(time)]


def _flat_series(night, flats):
    """Return the `dead_time.FlatSeries` of combined flats of one light.

    None if the bias level is still in an amplifier, or no cell has a pixel.
    """
    amplifiers = [amplifier for image in night.images for amplifier in image.amplifiers]
    if not all(
        night.is_level_removed(flat, amplifier) for flat in flats for amplifier in amplifiers
    ):
        return None
    seconds = np.array([t for flat in flats for t in night.exposures_of(flat)])
    values_of_images = [_cell_means(night, flats, image) for image in night.images]
    means, variances, counts = (list(values) for values in zip(*values_of_images, strict=True))
    if not sum(count.sum() for count in counts):
        return None
    return dead_time.FlatSeries(seconds, means, variances, counts)


def _cell_means(night, flats, image):
    """Return the means of an image's cells, adu, their variances, and their numbers of pixels.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    flats : list of ccdflow.run.job_records.Record
        Combined flats of one light.
    image : ccdflow.frame.products.ProductImage

    Returns
    -------
    means, variances : numpy.ndarray of shape (n, rows of cells, cells in a row), float64
        Means of the cells in each member of the flats, adu, and their variances, adu^2.
    counts : numpy.ndarray of shape (rows of cells, cells in a row), float64
    """
    stacks = [MemberRows(night, flat, image) for flat in flats]
    darks = [_SubtractedDark(night, flat, image) for flat in flats]
    sums, counts = 0.0, 0.0
    for first_row in range(0, image.shape[0], _ROWS_AT_ONCE):
        rows = slice(first_row, min(first_row + _ROWS_AT_ONCE, image.shape[0]))
        values = []
        for stack, dark in zip(stacks, darks, strict=True):
            with stack:
                values.append(dark.subtract(stack.read(np.arange(rows.start, rows.stop)), rows))
        sums_of_rows, count = dead_time.cell_sums(np.concatenate(values), rows, image.shape)
        sums, counts = sums + sums_of_rows, counts + count
    amplifier = image.amplifiers[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / counts
        # Only the ratios of these variances count: the scatter of the cells about their lines
        # scales them.
        photon_variances = np.maximum(means, 1) / (amplifier.gain or 1.0)
        variances = (photon_variances + night.read_noise(amplifier)[0] ** 2) / counts
    return means, variances, counts


class _SubtractedDark:
    """The dark that was subtracted from the members of a combined flat.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    flat : ccdflow.run.job_records.Record
        Record of the combined flat.
    image : ccdflow.frame.products.ProductImage
    """

    def __init__(self, night, flat, image):
        context = night.context
        steps = {step.kind: step for step in context.group(flat.product).steps}
        uses = {kind: first_use(context, step) for kind, step in steps.items()}
        self._pixels = None
        if uses.get("dark") is not None and uses.get("bias") is not None:
            record = context.outcome(uses["dark"].product)
            self._pixels = whole_image(context.results / record.product, image.hdu)
            self._factors = [t / record.data["seconds"] for t in night.exposures_of(flat)]

    def subtract(self, values, rows):
        """Subtract the dark from some rows of the members, (n, k, nx), in place; return them."""
        if self._pixels is not None:
            for values_of_member, factor in zip(values, self._factors, strict=True):
                values_of_member -= np.float32(factor) * self._pixels[rows]
        return values


def corrects_shutter(context, camera):
    """Return whether the profile of a camera asks for the correction of its frames.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    camera : str

    Returns
    -------
    bool
    """
    profile = profile_of(context, camera)
    return profile is not None and profile.measures_shutter


def _span_of_times(seconds):
    """Return sorted exposure times as a span, rounded to three digits.

    Examples
    --------
    >>> _span_of_times([119.999, 180.009]), _span_of_times([3.3005]), _span_of_times([1200.0])
    ('120 to 180', '3.3', '1200')
    """
    ends = (f"{seconds[0]:.3g}", f"{seconds[-1]:.3g}")
    return " to ".join(dict.fromkeys(f"{float(end):g}" for end in ends))
