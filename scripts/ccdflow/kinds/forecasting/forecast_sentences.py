"""The forecast of a night in words: the paragraph of a dry run, and the table of a night's page."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from ccdflow.calibrate.applied_masters import DARK, FLAT
from ccdflow.detector.flat_figures import APERTURE_PIXELS
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import budget, night_forecast
from ccdflow.kinds.matching.answers import WHY_UNNEEDED, answers_of, grade_of
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.pages.text_formatting import light_words, plural
from ccdflow.run.lines.night_lists import undated_first
from ccdflow.run.master_choices import MissingCause
from ccdflow.run.rawframes.rows import is_dated
from ccdflow.wording import count, first_named

# Kinds of frames, noises and wishes that a paragraph names; the page names more.
_MOST_NAMED = 6
# Kinds of frames, noises and wishes that the page names: it has room for more than a paragraph.
_MOST_ON_A_PAGE = 30
_UNIT = "e2"


def paragraphs(context, nights, *, most_nights):
    """Return the lines of the plan: a paragraph for the last nights, and counts of the others.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    nights : dict of str to list of ccdflow.run.job.Group
        The frames that are calibrated, by night.
    most_nights : int
        Nights that get a paragraph.

    Returns
    -------
    list of str
    """
    lines, names = [], undated_first(nights)
    earlier_groups = [group for night in names[:-most_nights] for group in nights[night]]
    if earlier_groups:
        grades = _count_grades(context, earlier_groups)
        is_refusing = SCIENCE.configuration(context)["missing"] == "refuse"
        words = {"C": "not calibrated"} if is_refusing else {}
        counts = ", ".join(
            f"{grades[grade]} {words.get(grade, f'of grade {grade}')}" for grade in sorted(grades)
        )
        nights_words = count(len(names) - most_nights, "earlier night")
        frames_words = count(len(earlier_groups), "frame")
        dates = [night for night in names if is_dated(night)]
        first = f", from {dates[0]}" if dates else ""
        lines.append(f"plan of {nights_words}{first}: {frames_words}, {counts}")
    for night in names[-most_nights:]:
        for block in night_forecast.blocks_of(context, night, foretells=True):
            lines += paragraph(block)
    return lines


def _count_grades(context, groups):
    """Return the number of frames of each grade."""
    # Thousands of frames share one object of steps, and so their answers.
    first_groups = {id(group.steps): group for group in groups}
    counts, grades = Counter(id(group.steps) for group in groups), Counter()
    for steps, group in first_groups.items():
        grade = grade_of(answers_of(context, group))
        is_unlike = grade != "C" and night_forecast.lacks_scale(context, group)
        grades["C" if is_unlike else grade] += counts[steps]
    return grades


def paragraph(block):
    """Return the lines of a `ccdflow.kinds.forecasting.night_forecast.Block`."""
    types = ", ".join(f"{number} {name}" for name, number in block.types)
    lines = [f"night {block.night}  {block.setup}", f"  {types}  {_frames_of(block)}"]
    if block.n_refused:
        lines.append(
            f"  not calibrated: {block.n_refused} of {len(block.groups)}, as `calibrate: missing:"
            " refuse` wants whole frames only"
        )
    if block.n_unlike:
        lines.append(f"  {unlike_words(block)}   grade C")
    for line in block.masters:
        master_in_words, application = master_words(line), application_words(line, block)
        name = _frames_of_line(line, block)
        end = f"   grade {line.grade}" if line.grade != "A" else ""
        # Long names of filters keep two blanks behind them.
        lines.append(f"  {line.kind:<5} {f'{master_in_words} ':<30} {name}{application}{end}")
    entries = noise_entries(block, _MOST_NAMED)
    lines += [f"  noise {name}: {text}" if text else f"  noise {name}" for name, text in entries]
    if block.refused_masters:
        words = ", ".join(f"{name}: {reason}" for name, reason in block.refused_masters)
        lines.append(f"  not used: {words}")
    if words := wish_lines(block):
        lines.append(f"  to gain most: {', '.join(words[:_MOST_NAMED])}")
    return lines


def unlike_words(block):
    """Return the words on the frames of a block whose amplifiers will have unlike scales."""
    frames_words = count(block.n_unlike, "frame")
    return (
        f"{frames_words} of amplifiers of unlike scales: a gain is unknown, and no flat is"
        " applied; write `gain:` of each amplifier into the camera's profile, or take two flats of"
        " one exposure, which show the gains"
    )


def _frames_of(block):
    """Return the frames of a block in words, the first `_MOST_NAMED` sorts by name."""
    parts = [f"{number} x {name}" if number > 1 else name for name, number in block.frames]
    return first_named(parts, _MOST_NAMED)


def _frames_of_line(line, block):
    """Return the words on the frames of a line, with a colon; '' for all frames of a block."""
    if len(line.groups) == len(block.groups):
        return ""
    if line.kind == FLAT:
        masters = [
            master_words(line_taken) for line_taken in block.masters if line_taken.kind == FLAT
        ]
        if line.use is None or masters.count(master_words(line)) == 1:
            # The filter alone tells the lines apart.
            return ""
    products = {group.product for group in line.groups}
    names = dict.fromkeys(noise.name for noise in block.noises if products >= set(noise.products))
    if names and sum(dict(block.frames)[name] for name in names) == len(products):
        return f"{', '.join(names)}: "
    return f"{night_forecast.files_words(line.groups)}: "


# -- masters ---------------------------------------------------------------------------------------


# Days up to which a date needs no year.
_HALF_A_YEAR = 180


def master_words(line):
    """Return a master in words: ``3 x 300 s of 03-13``."""
    if line.use is None:
        return "not needed" if line.is_unneeded else "none"
    if line.master is None:
        return Path(line.use.product).stem
    frames = line.frames or len(line.master.files)
    return _words_of(line.master, line.use, frames, f" x {line.level}" if line.level else "")


def _rival_words(line):
    """Return the second choice in words; its file's name where the first has the same words."""
    if line.rival is None:
        return "-"
    if line.rival_master is None:
        return _name_and_night(line.rival.product)
    words = _words_of(line.rival_master, line.rival, len(line.rival_master.files))
    is_first = line.master and words == _words_of(line.master, line.use, len(line.master.files))
    return _name_and_night(line.rival.product) if is_first else words


def _words_of(group, use, frames, level=""):
    """Return the words of the master of a group that is used, with its number of frames.

    Parameters
    ----------
    group : ccdflow.run.job.Group
    use : ccdflow.run.master_choices.Use
    frames : int
        Number of frames combined.
    level : str
        Level of a flat, in words.
    """
    shared_values, night = dict(group.shared), group.night_of_page
    is_near = use.lag is not None and abs(use.lag) <= _HALF_A_YEAR
    date = night[5:] if is_near and day_of(night) is not None else night
    if group.kind == DARK:
        return f"{frames} x {float(shared_values['exptime']):g} s of {date}"
    if group.kind == FLAT:
        names = (shared_values.get("filter"), shared_values.get("grism"))
        # Where there are flats of the sky and of a lamp, the light distinguishes them.
        light = f"{light_words(names)} {shared_values.get('light', '')}".strip()
        return f"{light} {frames}{level} of {date}".strip()
    return f"{frames} of {date}"


def application_words(line, block=None):
    """Return how near a master is, how it is applied, and the variance that it adds.

    Parameters
    ----------
    line : ccdflow.kinds.forecasting.planned_masters.PlannedMaster
        The master of a step.
    block : ccdflow.kinds.forecasting.night_forecast.Block, optional
        Its frames, whose setup is not repeated.

    Returns
    -------
    str
    """
    if line.use is None:
        if line.is_unneeded:
            return WHY_UNNEEDED
        setup = f" of {block.setup}" if block is not None else ""
        return (line.why_missing or line.answer.why_none).replace(setup, "", 1)
    words = list(line.reasons)
    if line.factors[1] == 0:
        words.append("cancels in the dark")
    if line.n_unmeasured:
        levels = "level" if line.n_unmeasured == 1 else "levels"
        words.append(f"chosen by number, {line.n_unmeasured} {levels} not known yet")
    return f"{', '.join(words)}{_words_on_added_variance(line, block)}"


def _words_on_added_variance(line, block):
    """Return the variance that a master adds, behind a semicolon."""
    if line.factors[1] == 0:
        return ""
    if line.kind != FLAT:
        variance = _variance_of_master(line, block)
        variances = dict.fromkeys(_variance_text(variance * part**2) for part in line.factors)
        return f"; adds {' to '.join(variances)} {_UNIT} a pixel"
    noise, qualifier = _flat_noise(line, block), "" if line.level else "about "
    pixel_limit, aperture_limit = 1 / noise, math.sqrt(APERTURE_PIXELS) / noise
    return (
        f": {qualifier}{100 * noise:.2g} % a pixel; limits S/N to"
        f" {_two_digits(pixel_limit)} a pixel,"
        f" {_two_digits(aperture_limit)} in an aperture of {APERTURE_PIXELS} pixels"
    )


def budgeted_frame_with_master(line, block):
    """Return the first budgeted frame that takes a master; None if no frame takes it.

    Parameters
    ----------
    line : ccdflow.kinds.forecasting.planned_masters.PlannedMaster
    block : ccdflow.kinds.forecasting.night_forecast.Block or None

    Returns
    -------
    ccdflow.kinds.forecasting.budget.BudgetedFrame or None
    """
    names = {group.product for group in line.groups}
    frames = [
        noise.frame
        for noise in (block.noises if block is not None else ())
        if names & set(noise.products)
    ]
    # A budget is made for one frame of its filter and exposure, which may lack this master.
    return next((each for each in frames if line.kind in each.masters), None)


def _variance_of_master(line, block):
    """Return the variance that a bias or dark adds: of its figures, else as it is predicted."""
    frame = budgeted_frame_with_master(line, block)
    if frame is None:
        return line.use.variance
    return budget.added_by(line.kind, frame.masters[line.kind], frame)


def _flat_noise(line, block):
    """Return the relative noise of a flat: the measured one, else the predicted one."""
    frame = budgeted_frame_with_master(line, block)
    if frame is None:
        return math.sqrt(line.use.variance)
    return budget.flat_noise(frame.masters[FLAT])


def _variance_text(value):
    """Return a variance of two digits below 10, else rounded, with commas between thousands."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _two_digits(value):
    """Return a number of two digits.

    Examples
    --------
    >>> _two_digits(345.2), _two_digits(2440.0), _two_digits(71.3)
    ('350', '2,400', '71')
    """
    digits = max(0, math.floor(math.log10(value)) - 1) if value > 0 else 0
    return f"{round(value, -digits):,.0f}"


# -- noise and wishes ------------------------------------------------------------------------------


def noise_entries(block, most_lines=_MOST_ON_A_PAGE):
    """Return the noise of each filter and exposure: ("g' 300 s", "sky 432 e-, ...").

    Parameters
    ----------
    block : ccdflow.kinds.forecasting.night_forecast.Block
    most_lines : int, optional
        Filters and exposures that are named; the others are counted.

    Returns
    -------
    list of (str, str)
        The last one says how many there are beyond these, and has no noise.
    """
    names = [
        f"{noise.name} ({noise.files})" if noise.files else noise.name for noise in block.noises
    ]
    entries = [
        (name, noise_words(noise))
        for name, noise in zip(names, block.noises[:most_lines], strict=False)
    ]
    unnamed = len(block.noises) - most_lines
    return entries + ([(f"and {unnamed} more", "")] if unnamed > 0 else [])


def noise_words(noise):
    """Return the parts of a pixel's noise, and the part that limits it."""
    parts = noise.budget
    total_variance = parts.total
    # A smaller part would be one of 0 %.
    shares = [
        f"{name} {100 * value / total_variance:.0f} %"
        for name, value in sorted(parts.parts.items(), key=lambda item: -item[1])
        if value >= 0.005 * total_variance
    ]
    read_noise = f"; read noise {noise.frame.read_noise:.3g} e- is not measured yet"
    unsure = "" if noise.is_read_noise_measured else read_noise
    if noise.frame.sky is None:
        return (
            f"without light {parts.noise:.3g} e- a pixel ({', '.join(shares)});"
            f" the sky is not measured yet{unsure}"
        )
    sky = "sky" if noise.is_sky_measured else "sky predicted"
    # A bias of another night may be above the frame: the budget counts no light then.
    return (
        f"{sky} {max(noise.frame.sky, 0.0):.4g} e-, noise {parts.noise:.3g} e- a pixel"
        f" ({', '.join(shares)}); limited by {parts.cap}{unsure}"
    )


def wish_lines(block):
    """Return which further frames would gain most for the frames of a block, the best first."""
    ranks_and_gains = {}
    for noise in block.noises:
        for wish in noise.wishes:
            missing_master = _missing_master(wish, noise, block)
            if missing_master is not None and missing_master.cause is MissingCause.NO_BIAS:
                # Further frames are of no use: the master lacks nothing but a bias.
                continue
            wish_in_words = _wish_in_words(wish, noise, block, missing_master)
            rank = (wish.is_missing, wish.completes is not None, wish.gain)
            if wish_in_words not in ranks_and_gains or rank > ranks_and_gains[wish_in_words][0]:
                ranks_and_gains[wish_in_words] = (rank, _gain_words(wish, missing_master))
    wishes_in_order = sorted(ranks_and_gains.items(), key=lambda item: item[1][0], reverse=True)
    return [
        f"{wish_in_words}{gain and f' ({gain})'}" for wish_in_words, (_, gain) in wishes_in_order
    ]


def _wish_in_words(wish, noise, block, missing_master):
    """Return the frames that are wished for: ``9 more darks of 300 s``.

    Parameters
    ----------
    wish : ccdflow.kinds.forecasting.budget.Wish
        Frames of one kind that would lower the noise.
    noise : ccdflow.kinds.forecasting.night_noise.GroupNoise
        Noise of the frames that would gain by them.
    block : ccdflow.kinds.forecasting.night_forecast.Block
    missing_master : ccdflow.run.master_choices.Missing or None
        Why there is no master now.
    """
    has_more, small_group = wish.has_more or wish.completes is not None, wish.completes
    adjective = "more " if has_more else ""
    is_faint = missing_master is not None and missing_master.cause is MissingCause.TOO_FAINT
    adjective = "brighter " if is_faint and not adjective else adjective
    words = f"{wish.frames} {adjective}{wish.kind if wish.frames == 1 else plural(wish.kind)}"
    if wish.kind == DARK:
        words += _traits_of_darks(noise, block, small_group)
    elif wish.kind == FLAT:
        words += _traits_of_flats(noise, block, has_more=has_more)
    if small_group is not None:
        verb, number = "makes" if wish.frames == 1 else "make", small_group.frames
        members = "one that there is" if number == 1 else f"{number} that there are"
        return f"{words} {verb} a combined {wish.kind} of the {members}"
    return words if has_more else f"{words} of this night"


def _traits_of_darks(noise, block, small_group):
    """Return the exposure of further darks in words, and their temperature if it matters."""
    dark = noise.frame.masters.get(DARK)
    # Darks that join others have the others' exposure; new darks have the exposure of the frame.
    exptime = dark.exptime if dark is not None and (dark.is_own or dark.scale == 1) else None
    exptime = exptime if small_group is None else small_group.exptime
    # The exposure of an exact dark may differ from the frame's by a thousandth: three digits.
    time = f"{float(f'{exptime:.3g}'):g} s" if exptime else noise.exposure
    # Darks of one temperature serve no frames of another one.
    is_cooled_apart = any(each.degrees != noise.degrees for each in block.noises)
    return f" of {time}" + (f" at {noise.degrees}" if noise.degrees and is_cooled_apart else "")


def _traits_of_flats(noise, block, *, has_more):
    """Return the filter of further flats in words, and the level of new ones."""
    # New flats do not join others; they are of equal use if they have the level of those taken.
    level = "" if has_more else _level_of_flats(products=set(noise.products), block=block)
    return (f" {noise.light}" if noise.light else "") + (f" of {level} each" if level else "")


def _level_of_flats(*, products, block):
    """Return the level of one of the flats that frames take, in words; '' if it is not known."""
    lines = (line for line in block.masters if line.kind == FLAT)
    return next((x.level for x in lines if products & {g.product for g in x.groups}), "")


def _missing_master(wish, noise, block):
    """Return the `Missing` of frames that have no master of a kind, None where they have one."""
    products = set(noise.products)
    lines = (
        line for line in block.masters if line.kind == wish.kind and line.answer.missing_master
    )
    return next(
        (x.answer.missing_master for x in lines if products & {g.product for g in x.groups}), None
    )


def _gain_words(wish, missing_master):
    """Return the gain of a wish in words, or the reason why its master is missing."""
    if wish.is_missing and wish.completes is not None:
        return ""
    if wish.is_missing:
        if missing_master is not None and missing_master.is_of_unmade:
            return "those that there are could not be made"
        return "there is none that fits"
    if wish.completes is not None and round(100 * wish.gain) < 1:
        return "of the own night"
    if wish.kind == FLAT:
        return f"-{100 * wish.gain:.0f} % of the variance"
    return f"-{100 * wish.gain_without_light:.0f} % of read and dark variance"


# -- the table of a page ---------------------------------------------------------------------------

HEADINGS = ("Step", "Master", "How", "Grade", "Frames", "Second choice", "Why it was not taken")
"""The headings of the plan's table of masters."""


def table(blocks):
    """Return the headings and rows of the table; second choices only where there are any.

    Parameters
    ----------
    blocks : list of ccdflow.kinds.forecasting.night_forecast.Block

    Returns
    -------
    tuple of str
        `HEADINGS`, or those before the last two.
    tuple of tuple of str
        A row for each master of each block.
    """
    rows = _table_rows(blocks)
    if any(row[-2:] != ("-", "-") for row in rows):
        return HEADINGS, rows
    return HEADINGS[:-2], tuple(row[:-2] for row in rows)


def _table_rows(blocks):
    """Return the rows of the table of a night's forecast."""
    rows = []
    for block in blocks:
        for line in block.masters:
            file_names = night_forecast.names_of_files(line.groups)
            if len(blocks) > 1:
                # Cameras may have files of the same names.
                file_names = [f"{block.setup}: {line.groups[0].files[0]}", *file_names[1:]]
            rows.append(
                (
                    line.kind,
                    master_words(line) if line.use is not None else "-",
                    application_words(line, block),
                    line.grade,
                    first_named(file_names, 2),
                    _rival_words(line),
                    line.why_lost or "-",
                )
            )
    return tuple(rows)


def _name_and_night(product):
    """Return the name of a master: masters of several nights have the same name.

    Examples
    --------
    >>> _name_and_night("combined/2016-03-12/dark_lfc_300s.fits")
    'dark_lfc_300s of 2016-03-12'
    """
    path = Path(product)
    return f"{path.stem} of {path.parent.name}"
