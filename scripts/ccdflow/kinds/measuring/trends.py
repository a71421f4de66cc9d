"""The steps in the figures of detectors over the nights: their table, lines, and picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from ccdflow import paths
from ccdflow.camera.profile_lines import yaml_text
from ccdflow.detector.trend_steps import FEWEST_NIGHTS_A_SIDE, LEAST_STEP_SIGMA, TRENDS
from ccdflow.files.values import short_number
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.group_queries import basis_lines
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.kinds.matching.setups import profile_of
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.trend_series import (
    DARKS_ENTRY,
    darks_of_measurement,
    figure_series,
    groups_with_figures,
)
from ccdflow.kinds.product_writing import csv_text, write_text_product
from ccdflow.pages.contents import Picture, Section
from ccdflow.pages.text_formatting import figure_text, unique_names
from ccdflow.run import job_records
from ccdflow.run.job import Group
from ccdflow.run.raw_frames.rows import digest
from ccdflow.wording import count, listing

COLUMNS = (
    "night", "night_before", "camera", "setup", "amplifier", "figure", "unit", "before", "after",
    "change", "change_error", "sigma", "epoch",
)  # fmt: skip
"""The columns of events.csv."""

# Steps of figures within this many days are one event: the flats or biases of some nights may be
# missing, or dated a night off. With more days two events become one; with fewer, one event has a
# line for its biases and another for its flats. Chosen, not measured.
_SAME_EVENT_DAYS = 3

RECENT_NIGHTS = 30
"""The last lines of a run name the events within this many newest nights of a camera: a month."""

# The picture has at most this many of the newest nights: a year of them.
_PICTURE_NIGHTS = 366
# At most this many cameras have a picture.
_MOST_CAMERAS = 6
# The overview names this many newest events; the table has all.
_MOST_EVENTS = 20


class Trends(ArchiveProduct):
    """``events.csv``: the nights on which a figure of a detector changed for good."""

    name = "trends"
    rule = "trends"
    plans_some_nights = True
    nouns = ("table of steps", "tables of steps")
    progress_nouns = ("table", "tables")
    version = 2
    path_prefix = paths.EVENTS_FILE

    def is_enabled(self, context):
        """Return whether the configuration asks for measurements."""
        return DETECTOR.is_enabled(context)

    def needs(self, context):
        """Return all biases and measurements with figures of a detector."""
        return [group.product for groups in groups_with_figures(context) for group in groups]

    def plan(self, planner):
        """Plan the table if any night has figures of a detector."""
        context = planner.context
        if self.is_enabled(context) and self.needs(context):
            # The overview shows the steps, and waits for all groups: the table is one of these.
            context.groups[self.path_prefix] = Group(
                self.path_prefix, "", "", (), (), kind=self.name
            )
        super().plan(planner)

    def basis(self, context, job):
        """Return the sources of the table: biases, measurements, epochs, and a tolerance."""
        biases, measurements = groups_with_figures(context)
        lines = basis_lines(BIAS_KIND, context, biases)
        outcomes = [(group.product, context.outcome(group.product)) for group in measurements]
        lines += [[product, r.key, r.status] for product, r in outcomes if r is not None]
        return {
            "version": self.version,
            "nights": digest(sorted(lines)),
            "epochs": {
                name: days for name, days in sorted(_epochs_by_camera(context).items()) if days
            },
            "tolerance": context.settings["calibrate"]["temperature_tolerance"],
        }

    def summary(self, context, night, records):
        """Return the temperature and exposures of the darks of each of a night's measurements."""
        groups = DETECTOR.night_groups(context, night)
        return {
            DARKS_ENTRY: {group.product: darks_of_measurement(context, group) for group in groups}
        }

    def what_changed(self, earlier_basis, current_basis):
        """Return why the table is out of date."""
        return (
            "other epochs"
            if earlier_basis["epochs"] != current_basis["epochs"]
            else "its nights changed"
        )

    def make(self, context, job, *, threads):
        """Find the steps, and write them: a row for each amplifier and figure."""
        rows = _step_rows(context)
        text = csv_text(rows, COLUMNS)
        record = write_text_product(context, job, self.basis(context, job), text)
        return replace(record, data={"events": _recorded_events(context, rows)})

    def closing_lines(self, context, records):
        """Return a line for each step of the last nights, with the epoch to put into a profile."""
        if not DETECTOR.is_enabled(context):
            return []
        return [
            f"trends: {_event_words(event)}: {_profile_line(context, event, has_whole_path=True)}"
            for record in records
            if record.status == job_records.MADE
            for event in record.data["events"]
            if event["after"] <= RECENT_NIGHTS
        ]

    def overview_basis(self, context):
        """Return the sources of the overview: the key of the table, which covers all nights."""
        record = context.outcome(self.path_prefix) if DETECTOR.is_enabled(context) else None
        return {} if record is None else {"trends": record.key}

    def overview(self, context):
        """Return the section on steps: pictures of the last nights, and a table; None for none."""
        record = context.made_record(self.path_prefix) if self.is_enabled(context) else None
        if record is None:
            return None
        groups = [
            group for groups_of_kind in groups_with_figures(context) for group in groups_of_kind
        ]
        nights = sorted({group.night for group in groups})[-_PICTURE_NIGHTS:]
        if len(nights) < 2:
            return None
        events = record.data["events"]
        pictures = _camera_pictures(context, figure_series(context, first_night=nights[0]), events)
        if not pictures and not events:
            return None
        return _overview_section(context, events, pictures)


TRENDS_TABLE = Trends()
"""The kind of events.csv."""


def _epochs_by_camera(context):
    """Return {camera: the nights with which its epochs begin}."""
    return {camera.name: list(camera.epochs) for camera in context.cameras}


def _step_rows(context):
    """Return the rows of the table, sorted: a dict for each step, by the names in `COLUMNS`.

    The night of the most significant step of an event is the `epoch` of all its steps.
    """
    epochs, rows = _epochs_by_camera(context), []
    for series in figure_series(context):
        (trend,) = (trend for trend in TRENDS if trend.name == series.figure)
        for nights, event in series.events(epochs.get(series.camera, ())):
            rows.append(
                {
                    "night": nights[event.first],
                    "night_before": nights[event.last_before],
                    "camera": series.camera,
                    "setup": series.setup,
                    "amplifier": series.amplifier,
                    "figure": series.figure,
                    "unit": trend.unit,
                    "before": short_number(event.before),
                    "after": short_number(event.after),
                    "change": short_number(event.size),
                    "change_error": short_number(event.error),
                    "sigma": round(event.sigma, 1),
                }
            )
    rows.sort(key=lambda row: [row[name] for name in ("camera", "night", "setup", "amplifier")])
    for event_rows in rows_of_events(rows):
        night = max(event_rows, key=lambda row: (row["sigma"], row["night"]))["night"]
        for row in event_rows:
            row["epoch"] = night
    return sorted(rows, key=lambda row: [row[name] for name in ("epoch", *COLUMNS[:6])])


def rows_of_events(rows):
    """Yield the rows of each event: steps of one camera, each few days after the one before it.

    Parameters
    ----------
    rows : list of dict of str to object
        Rows of the table, sorted by camera and night.

    Yields
    ------
    list of dict of str to object
        The rows of an event.
    """
    rows_of_event = []
    for row in rows:
        if rows_of_event and not _is_of_one_event(rows_of_event[-1], row):
            yield rows_of_event
            rows_of_event = []
        rows_of_event.append(row)
    if rows_of_event:
        yield rows_of_event


def _is_of_one_event(row, next_row):
    """Return whether two steps are of one camera and at most `_SAME_EVENT_DAYS` apart."""
    if row["camera"] != next_row["camera"]:
        return False
    return day_of(next_row["night"]) - day_of(row["night"]) <= _SAME_EVENT_DAYS


def _recorded_events(context, rows):
    """Return the events as the record has them: night, camera, number of nights since, steps."""
    nights_by_camera = {}
    for groups in groups_with_figures(context):
        for group in groups:
            nights_by_camera.setdefault(group.camera, set()).add(group.night)
    steps_by_epoch = {}
    for row in rows:
        steps_by_epoch.setdefault((row["epoch"], row["camera"]), []).append(row)
    return [
        {
            "night": night,
            "camera": camera,
            "after": sum(each >= night for each in nights_by_camera[camera]),
            "steps": steps,
        }
        for (night, camera), steps in steps_by_epoch.items()
    ]


# -- words -----------------------------------------------------------------------------------------


def _event_words(event):
    """Return an event in words: camera, night, the figures that changed, and both their values."""
    steps_by_figure = {}
    for step in event["steps"]:
        steps_by_figure.setdefault(step["figure"], []).append(step)
    phrases = []
    for trend in TRENDS:
        if steps := steps_by_figure.get(trend.name):
            largest_step = max(steps, key=lambda step: step["sigma"])
            amplifiers = unique_names(step["amplifier"] for step in steps)
            amplifier_words = f" of {listing(amplifiers)}" if amplifiers else ""
            phrases.append(f"{trend.words}{amplifier_words} {_change_in_words(largest_step)}")
    return f"{event['camera']}: a step with night {event['night']}: {'; '.join(phrases)}"


def _change_in_words(step):
    """Return both values of a step, and its change in percent where the percentage has a meaning.

    A bias level has an arbitrary zero point, and a figure of 0 has no percentage.
    """
    text = f"{figure_text(step['before'], 3)} to {figure_text(step['after'], 3)} {step['unit']}"
    if step["figure"] == "level" or not step["before"] > 0:
        return text
    return f"{text} ({100 * step['change'] / step['before']:+.0f} %)"


def _profile_line(context, event, *, has_whole_path=False):
    """Return the advice to put an event's night into the profile, with the line to write there.

    A page gives the profile's name without its folder, which may move.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    event : dict of str to object
        As `_recorded_events` returns it.
    has_whole_path : bool, optional
        Whether the profile's path has its folder.
    """
    camera = profile_of(context, event["camera"])
    epochs = sorted({event["night"], *(camera.epochs if camera else ())})
    line = "epochs: [" + ", ".join(map(yaml_text, epochs)) + "]"
    if camera is None or not camera.path:
        return f"if the camera was changed then, write a profile for it, with the line {line}"
    path = camera.path if has_whole_path else PurePath(camera.path).name
    return f"if the camera was changed then, put into {path} the line {line}"


def _step_cells(step):
    """Return the cells of a step in the table of the overview."""
    return (
        step["night"],
        " ".join(filter(None, (step["camera"], step["amplifier"], step["setup"]))),
        next(trend.words for trend in TRENDS if trend.name == step["figure"]),
        f"{figure_text(step['before'])} {step['unit']}",
        f"{figure_text(step['after'])} {step['unit']}",
        f"{step['sigma']:g}",
    )


def _overview_section(context, events, pictures):
    """Return the section of the overview: the meaning of a step, the newest events, their table.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    events : list of dict of str to object
        As `_recorded_events` returns them.
    pictures : list of ccdflow.pages.contents.Picture
    """
    events_shown = list(reversed(events[-_MOST_EVENTS:]))
    rows = [_step_cells(step) for event in events_shown for step in event["steps"]]
    recent_events = [event for event in events if event["after"] <= RECENT_NIGHTS]
    n_earlier = len(events) - len(events_shown)
    headings = ("First night", "Amplifier", "Figure", "Before", "After", "Errors")
    return Section(
        "steps",
        "Steps in the detector",
        tuple(f"{_event_words(event)}." for event in recent_events),
        (
            f"A step is a change that stays for {FEWEST_NIGHTS_A_SIDE} nights or more,"
            f" {LEAST_STEP_SIGMA:g} standard errors beyond drift and scatter. If the camera was"
            " changed then, the night belongs into `epochs:` of its profile: the detector counts"
            " as another one from then on, and the step is no longer shown.",
            *([] if events else ["No step is seen."]),
            *(f"{_event_words(event)}: {_profile_line(context, event)}." for event in events_shown),
            *([f"The {n_earlier} before them are in {paths.EVENTS_FILE}."] if n_earlier else []),
        ),
        headings=headings if rows else (),
        rows=tuple(rows),
        pictures=tuple(pictures),
        order=81,
        name="Steps",
    )


# -- the picture -----------------------------------------------------------------------------------


def _camera_pictures(context, series, events):
    """Return a picture for each of the first cameras that have series of several nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    series : list of ccdflow.kinds.measuring.trend_series.FigureSeries
        Series of all cameras.
    events : list of dict of str to object
        As `_recorded_events` returns them.
    """
    pictures = []
    for camera in sorted({each.camera for each in series})[:_MOST_CAMERAS]:
        long_series = [each for each in series if each.camera == camera and len(each.points) > 1]
        if long_series:
            steps = [s for event in events if event["camera"] == camera for s in event["steps"]]
            epochs = _epochs_by_camera(context).get(camera, ())
            pictures.append(_picture_of_camera(camera, long_series, steps, epochs))
    return pictures


def _names_of_series(series):
    """Return {key: name} of a camera's series: the amplifier, with its setup if it has several."""
    setups = {(each.figure, each.amplifier): set() for each in series}
    for each in series:
        setups[each.figure, each.amplifier].add(each.setup)
    return {
        each.key: each.name if len(setups[each.figure, each.amplifier]) > 1 else each.amplifier
        for each in series
    }


def _values_by_night(series):
    """Return {night: value} of the points of a series, without their errors."""
    return {night: value for night, (value, *_) in series.points.items()}


def _picture_of_camera(camera, series, steps, epochs):
    """Return the picture of one camera's figures over the nights, a panel for each.

    Parameters
    ----------
    camera : str
    series : sequence of ccdflow.kinds.measuring.trend_series.FigureSeries
    steps : sequence of dict of str to object
        Rows of the table of steps.
    epochs : sequence of str
        Nights with which the camera's epochs begin.
    """
    nights = sorted({night for each in series for night in each.points})
    steps = [step for step in steps if step["night"] >= nights[0]]
    figures = {each.figure for each in series}
    panels = [_panel_of_trend(t, series, steps) for t in TRENDS if t.name in figures]
    epochs = [night for night in epochs if night >= nights[0]]
    png = drawing_module("step_picture").step_picture(
        panels, title=f"{camera}: figures over the nights", epochs=epochs
    )
    steps_in_words = [
        f"{panel.words} with {listing(panel.steps)}" if panel.steps else f"{panel.words}, no step"
        for panel in panels
    ]
    alt = f"Figures of {camera} over {count(len(nights), 'night')}, {nights[0]} to {nights[-1]}."
    return Picture(png, f"{alt} Steps: {'; '.join(steps_in_words)}.")


def _panel_of_trend(trend, series, steps):
    """Return the panel of one figure: a line for each of its series, and its steps.

    Parameters
    ----------
    trend : ccdflow.detector.trend_steps.Trend
    series : sequence of ccdflow.kinds.measuring.trend_series.FigureSeries
        All series of a camera.
    steps : sequence of dict of str to object
        Rows of the table of steps.
    """
    draw, names = drawing_module("step_picture"), _names_of_series(series)
    lines = tuple(
        draw.AmplifierLine(names[each.key], _values_by_night(each))
        for each in series
        if each.figure == trend.name
    )
    marks = tuple(unique_names(step["night"] for step in steps if step["figure"] == trend.name))
    return draw.FigurePanel(trend.words, trend.unit, lines, marks, is_level=trend.is_level)
