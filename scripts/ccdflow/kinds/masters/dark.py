"""The combined dark: darks of one exposure and temperature, each minus the combined bias."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.camera.exposures import EXACT_FRACTION, EXACT_SECONDS
from ccdflow.files.header_text import printable_text
from ccdflow.kinds.masters.exposed_masters import ExposedMasterKind
from ccdflow.kinds.masters.makers.dark_maker import DarkMaker
from ccdflow.kinds.matching.association import why_missing
from ccdflow.kinds.matching.setups import observation_of
from ccdflow.run.nights import archive_counts
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import OK


class Dark(ExposedMasterKind):
    """Combined darks: minus the bias, of one exposure and temperature; hot pixels in the mask."""

    name = "dark"
    rule = "combine_darks"
    plans_some_nights = True
    nouns = ("combined dark", "combined darks")
    counted_nouns = nouns
    progress_nouns = nouns
    is_in_batches = True
    version = 10
    type = "dark"
    block = "dark"
    pixel_settings = ("minimum", "method", "clip", "clip_by", "iterations", "count", "hot_rate")
    table = paths.DARK_QUALITY
    why_moved = "its darks no longer form this group"
    applied_kinds = ("bias",)
    maker = DarkMaker()
    not_in_name = ("part", "temperature")
    split_by_tolerance = ("temperature",)

    def split(self, context, rows):
        """Yield the darks of each exposure time and temperature."""
        tolerance = context.settings["calibrate"]["temperature_tolerance"]
        rows_with_exposure = sorted(
            filter(archive_counts.has_exposure, rows), key=lambda row: row.facts["exptime"]
        )
        for rows_of_exposure in _runs_of_close_values(
            rows_with_exposure, "exptime", lambda t: max(EXACT_SECONDS, EXACT_FRACTION * t)
        ):
            for rows_alike in _split_by_temperature(rows_of_exposure, tolerance):
                common_values = observation_of(context, rows_alike, self, night=rows_alike[0].night)
                temperature = common_values.set_temperature
                if temperature is None:
                    temperature = common_values.temperature
                shared_values = [("exptime", f"{common_values.exptime:.6g}")]
                if temperature is not None:
                    shared_values.append(("temperature", f"{temperature:.6g}"))
                yield (
                    tuple(shared_values),
                    sorted(rows_alike, key=lambda row: row.facts["date_obs"] or ""),
                )

    def name_part(self, name, value):
        """Return the part of a name on a value; an exposure has the digits that a group shares."""
        if name != "exptime":
            return super().name_part(name, value)
        text = f"{rounded_exposure(float(value)):.12f}".rstrip("0").rstrip(".")
        return f"{text}s"

    def why_lacking(self, context, group):
        """Return why there is no bias; '' where there is one.

        Without a bias a dark cannot be scaled to another exposure.
        """
        return why_missing(context, group.steps[0])

    def flags(self, context, records):
        """Yield the flags of all masters, and darks in no group for lack of an exposure time."""
        yield from super().flags(context, records)
        if not self.is_enabled(context):
            return
        for row in _rows_without_exposure(context.store):
            yield reduced_product(row.file), f"in no combined dark: it has {_exposure_words(row)}"

    def closing_lines(self, context, records):
        """Return the lines of all exposed masters, and one on darks without an exposure time."""
        lines = super().closing_lines(context, records)
        if not self.is_enabled(context):
            return lines
        rows = _rows_without_exposure(archive_counts.store_for_lines(context))
        darks = sorted((row for row in rows if not row.gone), key=lambda row: row.file)
        if not darks:
            return lines
        first = darks[0]
        count_words = f" (the first of {len(darks)} darks)" if len(darks) > 1 else ""
        return [
            *lines,
            f"in no combined dark: {printable_text(first.file)}{count_words}:"
            f" it has {_exposure_words(first)};"
            f" allowed: above 0 s and below 2^31 s; correct its EXPTIME",
        ]


DARK_KIND = Dark()
"""The kind of combined darks."""


def _rows_without_exposure(store):
    """Return the good rows of darks whose exposure time is absent or impossible."""
    return [
        row
        for row in store.rows.values()
        if row.facts["type"] == "dark" and row.status == OK and not archive_counts.has_exposure(row)
    ]


def _exposure_words(row):
    """Return the absent or impossible exposure of a frame in words."""
    value = row.facts["exptime"]
    return "no exposure time" if value == "" else f"an exposure time of {value:g} s"


def rounded_exposure(seconds):
    """Return an exposure time, seconds, rounded to the digits that darks of one group share.

    At least two digits stay.

    Examples
    --------
    >>> [rounded_exposure(value) for value in (300.062, 70.001, 7.04, 0.05, 0.253, 1e-5)]
    [300.0, 70.0, 7.0, 0.05, 0.25, 1e-05]
    """
    if seconds < 1:
        return float(f"{seconds:.2g}")
    digits = 1 if EXACT_FRACTION * seconds <= EXACT_SECONDS else 0
    return round(seconds, digits)


def _runs_of_close_values(rows, name, tolerance_at):
    """Yield runs of rows in which a fact is close to its value in the first row.

    Parameters
    ----------
    rows : list of ccdflow.run.raw_frames.rows.Row
        Sorted by the fact.
    name : str
        Name of the fact.
    tolerance_at : callable
        Takes the value of the first row; returns the largest difference of the others from it.
    """
    run = []
    for row in rows:
        value = row.facts[name]
        if run and value - run[0].facts[name] > tolerance_at(run[0].facts[name]):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _runs_without_gap(rows, gap):
    """Yield runs of rows in which the sensor's temperature never steps by more than a gap.

    Parameters
    ----------
    rows : list of ccdflow.run.raw_frames.rows.Row
        Sorted by the sensor's temperature.
    gap : float
        Degrees Celsius.
    """
    run = []
    for row in rows:
        if run and row.facts["temperature"] - run[-1].facts["temperature"] > gap:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _has_number(row, name):
    """Return whether a fact of a row is a number."""
    return isinstance(row.facts[name], int | float)


def _sorted_by_number(rows, name):
    """Return the rows in which a fact is a number, sorted by this number."""
    return sorted((row for row in rows if _has_number(row, name)), key=lambda row: row.facts[name])


def _split_by_temperature(rows, tolerance):
    """Return lists of rows of one temperature: the set point, or else that of the sensor.

    Darks of unknown temperature join the others if these have a single temperature: level, noise
    and structure then show whether they belong there. Beside darks of several temperatures they are
    a group of their own.
    """
    rows_with_set_point = _sorted_by_number(rows, "set_temperature")
    row_groups = list(
        _runs_of_close_values(rows_with_set_point, "set_temperature", lambda _: tolerance)
    )
    rows_without_set_point = [row for row in rows if not _has_number(row, "set_temperature")]
    # A sensor drifts in small steps, so only a gap separates two settings.
    row_groups += _runs_without_gap(
        _sorted_by_number(rows_without_set_point, "temperature"), tolerance
    )
    rows_without_temperature = [
        row for row in rows_without_set_point if not _has_number(row, "temperature")
    ]
    if rows_without_temperature and len(row_groups) == 1:
        row_groups[0] += rows_without_temperature
    elif rows_without_temperature:
        row_groups.append(rows_without_temperature)
    return row_groups
