"""The forecast of a night in words: the paragraph of a dry run, and the table of a night's page."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from ccdflow.calibrate.applied_masters import DARK, FLAT
from ccdflow.detector.flat_figures import APERTURE_PIXELS
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import budget, night_forecast
from ccdflow.kinds.forecasting.planned_masters import name_and_night
from ccdflow.kinds.matching.answers import WHY_UNNEEDED, answers_of, grade_of
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.pages.text_formatting import light_words, plural
from ccdflow.run.lines.night_lists import undated_first
from ccdflow.run.master_choices import MissingCause
from ccdflow.run.raw_frames.rows import is_dated
from ccdflow.wording import count, first_named

# A paragraph names at most this many exposures, noises and wishes.
_MOST_NAMED = 6
# A page, which has more room than a paragraph, names at most this many exposures and noises.
_MOST_ON_A_PAGE = 30
_UNIT = "e2"


def paragraphs(context, groups_by_night, *, most_nights):
    """Return the lines of a plan: counts of the earlier nights, and paragraphs on the last ones.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    groups_by_night : dict of str to list of ccdflow.run.job.Group
        The frames that are calibrated.
    most_nights : int
        At most this number of nights, the last ones, get paragraphs: one for each setup.

    Returns
    -------
    list of str
    """
    lines, nights = [], undated_first(groups_by_night)
    earlier_groups = [group for night in nights[:-most_nights] for group in groups_by_night[night]]
    if earlier_groups:
        grades = _count_grades(context, earlier_groups)
        is_refusing = SCIENCE.configuration(context)["missing"] == "refuse"
        words = {"C": "not calibrated"} if is_refusing else {}
        counts_in_words = ", ".join(
            f"{grades[grade]} {words.get(grade, f'of grade {grade}')}" for grade in sorted(grades)
        )
        nights_words = count(len(nights) - most_nights, "earlier night")
        frames_words = count(len(earlier_groups), "frame")
        dates = [night for night in nights if is_dated(night)]
        first = f", from {dates[0]}" if dates else ""
        lines.append(f"plan of {nights_words}{first}: {frames_words}, {counts_in_words}")
    for night in nights[-most_nights:]:
        for forecast in night_forecast.forecasts_of_setups(context, night, foretells=True):
            lines += paragraph(forecast)
    return lines


def _count_grades(context, groups):
    """Return the number of frames of each grade, a Counter."""
    # Thousands of frames share one tuple of steps, and therefore their answers.
    group_by_steps_id = {id(group.steps): group for group in groups}
    counts, grades = Counter(id(group.steps) for group in groups), Counter()
    for steps_id, group in group_by_steps_id.items():
        grade = grade_of(answers_of(context, group))
        is_unlike = grade != "C" and night_forecast.lacks_scale(context, group)
        grades["C" if is_unlike else grade] += counts[steps_id]
    return grades


def paragraph(forecast):
    """Return the lines of a `ccdflow.kinds.forecasting.night_forecast.SetupForecast`."""
    types_in_words = ", ".join(f"{number} {name}" for name, number in forecast.n_by_type)
    lines = [
        f"night {forecast.night}  {forecast.setup}",
        f"  {types_in_words}  {_counts_of_exposures(forecast)}",
    ]
    if forecast.n_refused:
        lines.append(
            f"  not calibrated: {forecast.n_refused} of {len(forecast.groups)}, as `calibrate:"
            " missing: refuse` wants whole frames only"
        )
    if forecast.n_without_scale:
        lines.append(f"  {unlike_words(forecast)}   grade C")
    for planned_master in forecast.masters:
        master_in_words = master_words(planned_master)
        application = application_words(planned_master, forecast)
        name = _frames_of_planned_master(planned_master, forecast)
        end = f"   grade {planned_master.grade}" if planned_master.grade != "A" else ""
        # Even a long name of a filter is followed by two blanks.
        lines.append(
            f"  {planned_master.kind:<5} {f'{master_in_words} ':<30} {name}{application}{end}"
        )
    entries = noise_entries(forecast, _MOST_NAMED)
    lines += [f"  noise {name}: {text}" if text else f"  noise {name}" for name, text in entries]
    if forecast.refused_masters:
        words = ", ".join(f"{name}: {reason}" for name, reason in forecast.refused_masters)
        lines.append(f"  not used: {words}")
    if words := wish_lines(forecast):
        lines.append(f"  to gain most: {', '.join(words[:_MOST_NAMED])}")
    return lines


def unlike_words(forecast):
    """Return the words on the frames of a setup whose amplifiers will differ in their scale."""
    frames_words = count(forecast.n_without_scale, "frame")
    return (
        f"{frames_words} of amplifiers of unlike scales: a gain is unknown, and no flat is"
        " applied; write `gain:` of each amplifier into the camera's profile, or take two flats of"
        " one exposure, which show the gains"
    )


def _counts_of_exposures(forecast):
    """Return the number of frames of each filter and exposure of a setup, in words."""
    parts = [
        f"{number} x {name}" if number > 1 else name for name, number in forecast.n_by_exposure
    ]
    return first_named(parts, _MOST_NAMED)


def _frames_of_planned_master(planned_master, forecast):
    """Return the frames of a planned master in words, with a colon; '' where they are clear."""
    if len(planned_master.groups) == len(forecast.groups):
        return ""
    if planned_master.kind == FLAT:
        masters = [master_words(each) for each in forecast.masters if each.kind == FLAT]
        if planned_master.use is None or masters.count(master_words(planned_master)) == 1:
            # The filter alone distinguishes the flats.
            return ""
    products = {group.product for group in planned_master.groups}
    names = dict.fromkeys(
        noise.name for noise in forecast.noises if products >= set(noise.products)
    )
    if names and sum(dict(forecast.n_by_exposure)[name] for name in names) == len(products):
        return f"{', '.join(names)}: "
    return f"{night_forecast.files_words(planned_master.groups)}: "


# -- masters ---------------------------------------------------------------------------------------


# Days: a date at most this far from the frame's is written without its year.
_HALF_A_YEAR = 180


def master_words(planned_master):
    """Return a master in words: ``3 x 300 s of 03-13``."""
    if planned_master.use is None:
        return "not needed" if planned_master.is_unneeded else "none"
    if planned_master.master is None:
        return Path(planned_master.use.product).stem
    n_frames = planned_master.n_frames or len(planned_master.master.files)
    level = planned_master.level_in_words
    return _words_on_use(
        planned_master.master, planned_master.use, n_frames, f" x {level}" if level else ""
    )


def _rival_words(planned_master):
    """Return the second choice in words; the name of its file where the first has equal words."""
    if planned_master.rival is None:
        return "-"
    if planned_master.rival_master is None:
        return name_and_night(planned_master.rival.product)
    words = _words_on_use(
        planned_master.rival_master, planned_master.rival, len(planned_master.rival_master.files)
    )
    needs_name = planned_master.master is not None and words == _words_on_use(
        planned_master.master, planned_master.use, len(planned_master.master.files)
    )
    return name_and_night(planned_master.rival.product) if needs_name else words


def _words_on_use(group, use, n_frames, level=""):
    """Return a used master in words: its number of frames, traits and date.

    Parameters
    ----------
    group : ccdflow.run.job.Group
    use : ccdflow.run.master_choices.Use
    n_frames : int
        Number of frames combined.
    level : str, optional
        Level of a flat, in words.
    """
    shared_values, night = dict(group.shared), group.night_of_page
    is_near = use.lag is not None and abs(use.lag) <= _HALF_A_YEAR
    date = night[5:] if is_near and day_of(night) is not None else night
    if group.kind == DARK:
        return f"{n_frames} x {float(shared_values['exptime']):g} s of {date}"
    if group.kind == FLAT:
        names = (shared_values.get("filter"), shared_values.get("grism"))
        # The light distinguishes flats of the sky from those of a lamp.
        light = f"{light_words(names)} {shared_values.get('light', '')}".strip()
        return f"{light} {n_frames}{level} of {date}".strip()
    return f"{n_frames} of {date}"


def application_words(planned_master, forecast=None):
    """Return how near a master is, how it is applied, and the noise that it adds, in words.

    Without a master the words are the reason for none.

    Parameters
    ----------
    planned_master : ccdflow.kinds.forecasting.planned_masters.PlannedMaster
        The master of a step.
    forecast : ccdflow.kinds.forecasting.night_forecast.SetupForecast, optional
        The forecast of its frames: the words do not repeat its setup.

    Returns
    -------
    str
    """
    if planned_master.use is None:
        if planned_master.is_unneeded:
            return WHY_UNNEEDED
        setup = f" of {forecast.setup}" if forecast is not None else ""
        return (planned_master.why_missing or planned_master.answer.why_none).replace(setup, "", 1)
    words = list(planned_master.reasons)
    if planned_master.bias_fractions[1] == 0:
        words.append("cancels in the dark")
    if planned_master.n_unmeasured:
        levels = "level" if planned_master.n_unmeasured == 1 else "levels"
        words.append(f"chosen by number, {planned_master.n_unmeasured} {levels} not known yet")
    return f"{', '.join(words)}{_words_on_added_variance(planned_master, forecast)}"


def _words_on_added_variance(planned_master, forecast):
    """Return the words on the noise that a master adds, with the sign before them; '' for none."""
    if planned_master.bias_fractions[1] == 0:
        return ""
    if planned_master.kind != FLAT:
        variance = _variance_of_master(planned_master, forecast)
        variances = dict.fromkeys(
            _variance_text(variance * fraction**2) for fraction in planned_master.bias_fractions
        )
        return f"; adds {' to '.join(variances)} {_UNIT} a pixel"
    noise = _flat_noise(planned_master, forecast)
    qualifier = "" if planned_master.level_in_words else "about "
    pixel_limit, aperture_limit = 1 / noise, math.sqrt(APERTURE_PIXELS) / noise
    return (
        f": {qualifier}{100 * noise:.2g} % a pixel; limits S/N to"
        f" {_two_digits(pixel_limit)} a pixel,"
        f" {_two_digits(aperture_limit)} in an aperture of {APERTURE_PIXELS} pixels"
    )


def budgeted_frame_with_master(planned_master, forecast):
    """Return the first budgeted frame that takes a master; None if no frame takes it.

    Parameters
    ----------
    planned_master : ccdflow.kinds.forecasting.planned_masters.PlannedMaster
    forecast : ccdflow.kinds.forecasting.night_forecast.SetupForecast or None

    Returns
    -------
    ccdflow.kinds.forecasting.budget.BudgetedFrame or None
    """
    products = {group.product for group in planned_master.groups}
    frames = [
        noise.frame
        for noise in (forecast.noises if forecast is not None else ())
        if products & set(noise.products)
    ]
    # The budget is that of one frame of its filter and exposure, which may lack this master.
    return next((each for each in frames if planned_master.kind in each.masters), None)


def _variance_of_master(planned_master, forecast):
    """Return the variance that a bias or dark adds, electrons^2: by the budget, else predicted."""
    frame = budgeted_frame_with_master(planned_master, forecast)
    if frame is None:
        return planned_master.use.variance
    return budget.variance_added_by(planned_master.kind, frame.masters[planned_master.kind], frame)


def _flat_noise(planned_master, forecast):
    """Return the noise of a flat, relative to the signal: by the budget, else predicted."""
    frame = budgeted_frame_with_master(planned_master, forecast)
    if frame is None:
        return math.sqrt(planned_master.use.variance)
    return budget.flat_noise(frame.masters[FLAT])


def _variance_text(value):
    """Return a variance as text: two digits below 10, else a whole number with commas."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _two_digits(value):
    """Return a number as text, rounded to two digits; a whole number below 10.

    Examples
    --------
    >>> _two_digits(345.2), _two_digits(2440.0), _two_digits(71.3), _two_digits(7.13)
    ('350', '2,400', '71', '7')
    """
    digits = max(0, math.floor(math.log10(value)) - 1) if value > 0 else 0
    return f"{round(value, -digits):,.0f}"


# -- noise and wishes ------------------------------------------------------------------------------


def noise_entries(forecast, most_lines=_MOST_ON_A_PAGE):
    """Return the name and the noise of each filter and exposure: ("g' 300 s", "sky 432 e-, ...").

    Parameters
    ----------
    forecast : ccdflow.kinds.forecasting.night_forecast.SetupForecast
    most_lines : int, optional
        Number of filters and exposures that are named; the others are counted.

    Returns
    -------
    list of (str, str)
        The last entry may be the number of the others, without a noise.
    """
    names = [
        f"{noise.name} ({noise.files})" if noise.files else noise.name for noise in forecast.noises
    ]
    entries = [
        (name, noise_words(noise))
        for name, noise in zip(names, forecast.noises[:most_lines], strict=False)
    ]
    n_unnamed = len(forecast.noises) - most_lines
    return entries + ([(f"and {n_unnamed} more", "")] if n_unnamed > 0 else [])


def noise_words(noise):
    """Return the parts of a pixel's variance in words, and the largest part."""
    frame_budget = noise.budget
    total_variance = frame_budget.total
    # A smaller part would be written as 0 %.
    percentages = [
        f"{name} {100 * value / total_variance:.0f} %"
        for name, value in sorted(frame_budget.parts.items(), key=lambda item: -item[1])
        if value >= 0.005 * total_variance
    ]
    remark = f"; read noise {noise.frame.read_noise:.3g} e- is not measured yet"
    remark = "" if noise.is_read_noise_measured else remark
    if noise.frame.sky is None:
        return (
            f"without light {frame_budget.noise:.3g} e- a pixel ({', '.join(percentages)});"
            f" the sky is not measured yet{remark}"
        )
    sky = "sky" if noise.is_sky_measured else "sky predicted"
    # With a bias of another night the sky may be below 0: the budget then counts no light.
    return (
        f"{sky} {max(noise.frame.sky, 0.0):.4g} e-, noise {frame_budget.noise:.3g} e- a pixel"
        f" ({', '.join(percentages)}); limited by {frame_budget.largest_part}{remark}"
    )


def wish_lines(forecast):
    """Return the wishes for further frames of a setup in words, the best first."""
    ranks_and_savings = {}
    for noise in forecast.noises:
        for wish in noise.wishes:
            missing_master = _missing_master(wish, noise, forecast)
            if missing_master is not None and missing_master.cause is MissingCause.NO_BIAS:
                # Further frames would not help: the master could not be made without a bias.
                continue
            wish_in_words = _wish_in_words(wish, noise, forecast, missing_master)
            rank = (wish.is_missing, wish.small_group is not None, wish.saved_fraction)
            if wish_in_words not in ranks_and_savings or rank > ranks_and_savings[wish_in_words][0]:
                ranks_and_savings[wish_in_words] = (rank, _saving_words(wish, missing_master))
    wishes_in_order = sorted(ranks_and_savings.items(), key=lambda item: item[1][0], reverse=True)
    return [
        f"{wish_in_words}{saving and f' ({saving})'}"
        for wish_in_words, (_, saving) in wishes_in_order
    ]


def _wish_in_words(wish, noise, forecast, missing_master):
    """Return the frames of a wish in words: ``9 more darks of 300 s``.

    Parameters
    ----------
    wish : ccdflow.kinds.forecasting.budget.Wish
    noise : ccdflow.kinds.forecasting.night_noise.GroupNoise
        Noise of the frames that would take the master.
    forecast : ccdflow.kinds.forecasting.night_forecast.SetupForecast
    missing_master : ccdflow.run.master_choices.Missing or None
        Why the frames have no master now; None where they have one.
    """
    small_group = wish.small_group
    joins_frames = wish.joins_frames or small_group is not None
    adjective = "more " if joins_frames else ""
    is_faint = missing_master is not None and missing_master.cause is MissingCause.TOO_FAINT
    adjective = "brighter " if is_faint and not adjective else adjective
    words = f"{wish.n_frames} {adjective}{wish.kind if wish.n_frames == 1 else plural(wish.kind)}"
    if wish.kind == DARK:
        words += _traits_of_darks(noise, forecast, small_group)
    elif wish.kind == FLAT:
        words += _traits_of_flats(noise, forecast, joins_frames=joins_frames)
    if small_group is not None:
        verb, number = "makes" if wish.n_frames == 1 else "make", small_group.n_frames
        members = "one that there is" if number == 1 else f"{number} that there are"
        return f"{words} {verb} a combined {wish.kind} of the {members}"
    return words if joins_frames else f"{words} of this night"


def _traits_of_darks(noise, forecast, small_group):
    """Return the exposure of further darks in words, and their temperature where it decides."""
    dark = noise.frame.masters.get(DARK)
    # Darks that join existing ones have their exposure; new darks have the exposure of the frame.
    exptime = (
        dark.exptime
        if dark is not None and (dark.takes_further_frames or dark.scale == 1)
        else None
    )
    exptime = exptime if small_group is None else small_group.exptime
    # The exposure has three digits, because that of an exact dark may differ from the frame's by a
    # thousandth.
    exposure_in_words = f"{float(f'{exptime:.3g}'):g} s" if exptime else noise.exposure
    # Frames take only darks of their own temperature.
    has_several_temperatures = any(
        each.temperature_in_words != noise.temperature_in_words for each in forecast.noises
    )
    names_temperature = noise.temperature_in_words and has_several_temperatures
    return f" of {exposure_in_words}" + (
        f" at {noise.temperature_in_words}" if names_temperature else ""
    )


def _traits_of_flats(noise, forecast, *, joins_frames):
    """Return the filter of further flats in words, and the level of new ones."""
    # New flats make a master by themselves: they should have the level of the flats that are taken.
    level = "" if joins_frames else _level_of_flats(products=set(noise.products), forecast=forecast)
    return (f" {noise.light}" if noise.light else "") + (f" of {level} each" if level else "")


def _level_of_flats(*, products, forecast):
    """Return the level of the flats that frames take, in words; '' where it is not known."""
    planned_flats = (each for each in forecast.masters if each.kind == FLAT)
    return next(
        (
            planned_flat.level_in_words
            for planned_flat in planned_flats
            if products & {group.product for group in planned_flat.groups}
        ),
        "",
    )


def _missing_master(wish, noise, forecast):
    """Return the `Missing` of frames that have no master of a kind, None where they have one."""
    products = set(noise.products)
    planned_masters = (
        each for each in forecast.masters if each.kind == wish.kind and each.answer.missing_master
    )
    return next(
        (
            planned_master.answer.missing_master
            for planned_master in planned_masters
            if products & {group.product for group in planned_master.groups}
        ),
        None,
    )


def _saving_words(wish, missing_master):
    """Return the variance that a wish saves, in words, or the reason for a missing master."""
    if wish.is_missing and wish.small_group is not None:
        return ""
    if wish.is_missing:
        if missing_master is not None and missing_master.is_of_unmade:
            return "those that there are could not be made"
        return "there is none that fits"
    if wish.small_group is not None and round(100 * wish.saved_fraction) < 1:
        return "of the own night"
    if wish.kind == FLAT:
        return f"-{100 * wish.saved_fraction:.0f} % of the variance"
    return f"-{100 * wish.saved_fraction_without_light:.0f} % of read and dark variance"


# -- the table of a page ---------------------------------------------------------------------------

HEADINGS = ("Step", "Master", "How", "Grade", "Frames", "Second choice", "Why it was not taken")
"""The headings of the plan's table of masters."""


def table(forecasts):
    """Return the headings and rows of the table; second choices only where there are any.

    Parameters
    ----------
    forecasts : list of ccdflow.kinds.forecasting.night_forecast.SetupForecast

    Returns
    -------
    tuple of str
        `HEADINGS`, or those before the last two.
    tuple of tuple of str
        A row for each master of each setup.
    """
    rows = _table_rows(forecasts)
    if any(row[-2:] != ("-", "-") for row in rows):
        return HEADINGS, rows
    return HEADINGS[:-2], tuple(row[:-2] for row in rows)


def _table_rows(forecasts):
    """Return the rows of the table of a night's forecast."""
    rows = []
    for forecast in forecasts:
        for planned_master in forecast.masters:
            file_names = night_forecast.names_of_files(planned_master.groups)
            if len(forecasts) > 1:
                # Two cameras may have files of one name.
                file_names = [
                    f"{forecast.setup}: {planned_master.groups[0].files[0]}",
                    *file_names[1:],
                ]
            rows.append(
                (
                    planned_master.kind,
                    master_words(planned_master) if planned_master.use is not None else "-",
                    application_words(planned_master, forecast),
                    planned_master.grade,
                    first_named(file_names, 2),
                    _rival_words(planned_master),
                    planned_master.why_lost or "-",
                )
            )
    return tuple(rows)
