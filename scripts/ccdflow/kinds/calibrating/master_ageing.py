"""The ageing of masters that the archive shows, for the overview; no choice of masters uses it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ccdflow.calibrate.applied_masters import DARK, FLAT, MASTER_KINDS
from ccdflow.camera.profile_lines import yaml_number
from ccdflow.detector.ageing import MasterPair, fit_ageing, structure_function
from ccdflow.files.fits_products.stored_images import stored_image
from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.matching import match_sentences, setups
from ccdflow.kinds.matching.detector_noise import detector_noise_of
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.pages.contents import Picture, Section
from ccdflow.run.lookups import Lookup

VERSION = 2
"""Version of the figures of the section: the overview is made again when it changes."""

# Number of the newest masters of a series that are compared, each with each other: 66 pairs.
_MOST_MASTERS = 12
# Rows of each master that are read: 32,000 pixels with 2000 columns, whose scatter is known to 0.4
# %. With more rows reading takes longer; with fewer, the ageing of good masters is lost in this
# error. Chosen, not measured.
_ROWS_READ = 16
# At most this many series are shown, so that the section stays readable.
_MOST_SERIES = 8
# A series has at least this many nights: two make a single pair, which shows no trend.
_FEWEST_NIGHTS = 3
# An ageing is seen if it is more than this many of its standard errors above 0: chance makes 1 of
# 44.
_SEEN_ERRORS = 2

VARIANCE_UNITS = {"bias": "e2", "dark": "(e/s)2", "flat": "relative2"}
"""The unit of the variance that a master of each kind gains with age."""


@dataclass(frozen=True)
class MasterSeries:
    """Masters of one kind and setup, and the differences between them.

    Attributes
    ----------
    kind, name : str
    pairs : tuple of ccdflow.detector.ageing.MasterPair
    ageing_in_use : float
        The ageing with which masters are chosen, in the unit of `VARIANCE_UNITS` a day.
    """

    kind: str
    name: str
    pairs: tuple[MasterPair, ...]
    ageing_in_use: float

    def points(self):
        """Return (days, excess, error) of each pair."""
        return [(pair.days, pair.excess_variance, pair.variance_error) for pair in self.pairs]

    def cells(self):
        """Return the cells of the series in the table of the section."""
        slope, error = fit_ageing(self.pairs)
        lags = [pair.days for pair in self.pairs]
        degrees_between = [
            pair.degrees_between for pair in self.pairs if not math.isnan(pair.degrees_between)
        ]
        spread = f"{min(lags)} to {max(lags)} d"
        spread += (
            f", up to {max(degrees_between):.3g} C"
            if degrees_between and max(degrees_between) > 0
            else ""
        )
        if not math.isfinite(slope):
            return self.name, spread, "too few nights", "", f"{self.ageing_in_use:.3g}"
        unit = VARIANCE_UNITS[self.kind]
        value = f"{slope:.3g} ± {error:.2g} {unit} a day"
        is_seen = slope > _SEEN_ERRORS * error
        line = f"ageing: {{{self.kind}: {yaml_number(slope, 2)}}}" if is_seen else "none is seen"
        return self.name, spread, value, line, f"{self.ageing_in_use:.3g}"


def comparable_masters(context):
    """Return the newest masters that can be compared, oldest first, by kind and name of series.

    Parameters
    ----------
    context : ccdflow.run.context.Context

    Returns
    -------
    dict of (str, str) to list of ccdflow.run.job.Group
    """
    return context.lookup((Lookup.AGEING,), lambda: _comparable_groups(context))


def _comparable_groups(context):
    """Return the result of `comparable_masters`, computed anew."""
    groups_by_series, names_of_series = {}, {}
    for kind_name in MASTER_KINDS:
        kind = context.chain.by_name(kind_name)
        for group in kind.groups(context):
            if day_of(group.night_of_page) is not None:
                series_name = _name_in_cache(context, kind, group, names_of_series)
                groups_by_series.setdefault((kind_name, series_name), []).append(group)
    last_groups = {
        key: sorted(groups, key=lambda group: (group.night_of_page, group.product))[-_MOST_MASTERS:]
        for key, groups in groups_by_series.items()
        if len({group.night_of_page for group in groups}) >= _FEWEST_NIGHTS
    }
    first_keys = sorted(last_groups, key=lambda key: (MASTER_KINDS.index(key[0]), key[1]))
    return {key: last_groups[key] for key in first_keys[:_MOST_SERIES]}


def _name_in_cache(context, kind, group, names_of_series):
    """Return the name of a group's series, which is computed once for each setup.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind
    group : ccdflow.run.job.Group
    names_of_series : dict of tuple to str
        Names of series by kind, setup, epoch and shared values; a new name is added.
    """
    row = context.row(group.files[0])
    setup_key = (
        setups.setup_of(context, row, kind),
        setups.epoch_of(context, row.camera, group.night_of_page),
        group.shared,
    )
    if (kind.name, *setup_key) not in names_of_series:
        names_of_series[kind.name, *setup_key] = _series_name(context, kind, group, row)
    return names_of_series[kind.name, *setup_key]


def _series_name(context, kind, group, row):
    """Return the name of a series: kind, exposure or light, and setup.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : ccdflow.kinds.masters.master.MasterKind
    group : ccdflow.run.job.Group
    row : ccdflow.run.raw_frames.rows.Row
        Row of its first member.
    """
    setup = setups.observation_of(context, [row], kind, night=group.night_of_page).setup
    shared = dict(group.shared)
    traits = {"dark": (f"{float(shared.get('exptime', 0)):g} s",)}
    traits["flat"] = (shared.get("filter", ""), shared.get("grism", ""))
    return " ".join(
        filter(None, (kind.name, *traits.get(kind.name, ()), match_sentences.setup_words(setup)))
    )


def basis_of(context):
    """Return the sources of the section on ageing: the masters that are compared."""
    return [
        [
            kind,
            name,
            [
                [group.product, getattr(context.outcome(group.product), "key", "")]
                for group in groups
            ],
        ]
        for (kind, name), groups in comparable_masters(context).items()
    ]


def master_series(context):
    """Return the `MasterSeries` of the archive, by sampled rows of the newest masters."""
    all_series = []
    for (kind, name), groups in comparable_masters(context).items():
        samples = [_sample_of_master(context, kind, group) for group in groups]
        samples = [sample for sample in samples if sample is not None]
        if len(samples) < _FEWEST_NIGHTS:
            continue
        pairs = structure_function(
            [sample.rows for sample in samples],
            [sample.variance for sample in samples],
            [sample.day for sample in samples],
            [sample.temperature for sample in samples],
        )
        row = context.row(groups[-1].files[0])
        ageing_in_use = getattr(detector_noise_of(context, row), f"{kind}_ageing")
        if pairs:
            all_series.append(MasterSeries(kind, name, tuple(pairs), ageing_in_use))
    return all_series


def ageing_section(context):
    """Return the section on the ageing of masters; None where no series has a pair to compare.

    Parameters
    ----------
    context : ccdflow.run.context.Context

    Returns
    -------
    ccdflow.pages.contents.Section or None
    """
    all_series = master_series(context)
    if not all_series:
        return None
    png = drawing_module("ageing_picture").ageing_picture(
        [
            (series.name, VARIANCE_UNITS[series.kind], series.points(), series.ageing_in_use)
            for series in all_series
        ],
        title="How masters depart from one another",
        explanation="Each point is two masters: the variance of their difference beyond their"
        " noise. Dashed: the ageing that masters are chosen with.",
    )
    return Section(
        "ageing",
        "Ageing of masters",
        paragraphs=(
            "A value of the archive changes no choice by itself: write the value into the"
            " camera's profile if you agree with it.",
        ),
        headings=("Masters", "Between them", "A day adds", "For the profile", "In use"),
        rows=tuple(series.cells() for series in all_series),
        pictures=(Picture(png, "Difference of masters against the days between them"),),
    )


@dataclass(frozen=True)
class _MasterSample:
    """Some rows of a master, to be compared with the same rows of other masters.

    Attributes
    ----------
    rows : numpy.ndarray of shape (n, nx), float64
        Electrons of a bias, electrons a second of a dark; of a flat, relative to its level.
    variance : float
        Variance of the noise, in the square of the unit of the rows.
    day : int
        Day of the master's night.
    temperature : float
        Temperature in degrees Celsius; NaN where it is not known.
    """

    rows: np.ndarray = field(repr=False)
    variance: float
    day: int
    temperature: float


def _sample_of_master(context, kind, group):
    """Return the `_MasterSample` of a master; None if it was not made, or its noise is unknown."""
    record = context.made_record(group.product)
    path = context.results / group.product
    if record is None or not path.is_file():
        return None
    recipe, (image, *_) = recipe_and_images(context, context.row(group.files[0]))
    first_amplifier = image.amplifiers[0]
    figures = next(
        (each for each in record.data["quality"] if each["amplifier"] == first_amplifier.name), None
    )
    factor = _factor_to_unit(kind, group, first_amplifier)
    variance = _noise_variance(kind, figures, factor)
    if factor is None or variance is None:
        return None
    place = recipe.region_of(first_amplifier)
    row_slice, column_slice = place.slices
    row_numbers = np.unique(
        np.linspace(0, row_slice.stop - row_slice.start - 1, _ROWS_READ).round().astype(int)
    )
    pixels = stored_image(path, image.hdu)[row_numbers + row_slice.start, column_slice]
    rows = np.asarray(pixels, np.float64) * factor
    if kind != FLAT:
        # The level of a row is subtracted: it has the noise of its overscan, and is no structure
        # that ages.
        rows -= np.nanmedian(rows, axis=1, keepdims=True)
    temperature = float(dict(group.shared).get("temperature", math.nan))
    return _MasterSample(rows, variance, day_of(group.night_of_page), temperature)


def _factor_to_unit(kind, group, amplifier):
    """Return the factor from a master's pixels to the unit of its sample; None without a gain."""
    if kind == FLAT:
        return 1.0
    seconds = float(dict(group.shared).get("exptime", 0)) if kind == DARK else 1.0
    return amplifier.gain / seconds if amplifier.gain and seconds > 0 else None


def _noise_variance(kind, figures, factor):
    """Return the variance of a master's noise in the unit of its sample; None if it is not known.

    Parameters
    ----------
    kind : str
    figures : dict of str to object, or None
        Figures of the first amplifier.
    factor : float or None
        As `_factor_to_unit` returns it.
    """
    if figures is None or factor is None:
        return None
    if kind == FLAT:
        signal_to_noise = figures.get("signal_to_noise")
        return 1 / signal_to_noise**2 if signal_to_noise else None
    if kind == DARK:
        added_variance, seconds = figures.get("added"), figures.get("seconds")
        return added_variance / seconds**2 if added_variance is not None and seconds else None
    noise = figures.get("predicted_noise")
    return (noise * factor) ** 2 if noise and not math.isnan(noise) else None
