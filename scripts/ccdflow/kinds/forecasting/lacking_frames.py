"""The frames that a night still lacks, while there is time to take them."""

from __future__ import annotations

from collections import Counter

from ccdflow.errors import UserError
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import forecast_sentences, night_forecast
from ccdflow.pages.text_formatting import light_words
from ccdflow.run.lines.night_lists import nights_in_words
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, SET_ASIDE
from ccdflow.wording import count, first_lines

# A list names at most this many frames that are set aside or incomplete.
_MOST_UNUSABLE = 5


def last_night(context):
    """Return the last dated night; the last one by name where no frame has a date.

    Raises
    ------
    UserError
        If there is no frame.
    """
    rows = context.store.rows.values()
    nights = {row.night for row in rows if not row.is_undated} or {row.night for row in rows}
    if not nights:
        raise UserError(
            "there is no frame that could be read",
            file=context.raw,
            remedy="check `raw`, and inventory.csv for the reasons",
        )
    return max(nights)


def lines_on_night(context, night):
    """Return the lines on a night: its frames, their masters, and the frames that are missing.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
        After the plan was made.
    night : str

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If there is no such night.
    """
    rows = context.rows_of(night)
    if not rows:
        nights = {row.night for row in context.store.rows.values()}
        raise UserError(
            "there is no frame of this night", keyword="night", value=night,
            allowed=nights_in_words(nights),
            remedy="give night=NIGHT as the folder nights/ of the results has it",
        )  # fmt: skip
    forecasts = night_forecast.forecasts_of_setups(context, night, foretells=True)
    lines = [_line_on_sound_frames(night, rows), *_lines_on_unusable_frames(rows)]
    for forecast in forecasts:
        lines += forecast_sentences.paragraph(forecast)
    return [*lines, *_last_lines(context, forecasts)]


def _line_on_sound_frames(night, rows):
    """Return the line on the sound frames of a night: their number by type, filter and exposure."""
    sound_rows = [row for row in rows if row.status == OK]
    counts_of_sorts = Counter(_sort_words(row) for row in sound_rows)
    counts_in_words = ", ".join(
        f"{number} {name}" for name, number in sorted(counts_of_sorts.items())
    )
    return f"night {night}: {count(len(sound_rows), 'frame')}: {counts_in_words}"


def _sort_words(row):
    """Return the sort of a frame in words: type, and its filter, exposure or both."""
    facts = row.facts
    seconds = facts["exptime"]
    exposure_in_words = f"{seconds:.4g} s" if isinstance(seconds, int | float) else ""
    light = light_words((facts["filter"], facts["grism"]))
    traits = {"bias": (), "dark": (exposure_in_words,), "flat": (light,)}.get(
        facts["type"], (light, exposure_in_words)
    )
    return " ".join(filter(None, (facts["type"], *traits)))


def _lines_on_unusable_frames(rows):
    """Return a line on each frame that is set aside or still being written; only the first ones."""
    unusable_rows = [row for row in rows if row.status in (SET_ASIDE, ARRIVING_STATUS)]
    lines = [f"{row.status}: {row.file}: {row.reason}" for row in unusable_rows]
    return [f"  {line}" for line in first_lines(lines, _MOST_UNUSABLE)]


def _last_lines(context, forecasts):
    """Return the last lines: the masters that are missing, that none is, or why none is needed."""
    if not SCIENCE.configuration(context)["enabled"]:
        return ["calibrating is switched off: `calibrate: enabled`"]
    if not forecasts:
        types_in_words = " or ".join(SCIENCE.configuration(context)["types"])
        return [f"no {types_in_words} frame yet: nothing needs a master"]
    missing_masters = [
        each for forecast in forecasts for each in forecast.masters if each.why_missing
    ]
    frames = {group.product for forecast in forecasts for group in forecast.groups}
    unlike_lines = [
        f"of grade C: {forecast_sentences.unlike_words(forecast)}"
        for forecast in forecasts
        if forecast.n_without_scale
    ]
    if not missing_masters:
        return unlike_lines or [_line_on_complete_frames(len(frames))]
    return _lines_on_missing_masters(missing_masters, len(frames)) + unlike_lines


def _lines_on_missing_masters(missing_masters, n_frames):
    """Return a line on the number of frames that lack a master, and one on each master."""
    frames = {group.product for master in missing_masters for group in master.groups}
    verb = "lacks" if len(frames) == 1 else "lack"
    verdict = f"missing: {len(frames)} of {count(n_frames, 'frame')} {verb} a master"
    return [verdict, *(f"  {master.why_missing}" for master in missing_masters)]


def _line_on_complete_frames(n_frames):
    """Return the last line where all frames have all masters."""
    all_have = f"all {n_frames} frames have every master that they need"
    one_has = "the frame has every master that it needs"
    return f"nothing is missing: {one_has if n_frames == 1 else all_have}"
