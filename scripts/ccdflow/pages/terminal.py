"""The lines on a night for one screen of a terminal, from the tables of the results."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ccdflow.pages.text_formatting import EMPTY_CELL, light_words, type_rank
from ccdflow.wording import SET_ASIDE, count, more_line

# A list names at most this many reasons, frames or nights; the others are counted.
_MOST_NAMED = 5
# Width of the labels at the left, columns.
_LABEL_WIDTH = 12
# Width of the text beside the labels, columns, even on a narrower terminal.
_LEAST_WIDTH = 20
# Indent of the second and further lines of a line in a plan, columns.
_INDENT_LETTERS = 8


@dataclass(frozen=True)
class Tables:
    """The rows on one night in the tables of a results folder: dicts of texts by column.

    Attributes
    ----------
    frames : list of dict
        Rows of ``inventory.csv``.
    biases, darks, flats : sequence of dict
        Rows of ``bias_quality.csv``, ``dark_quality.csv`` and ``flat_quality.csv``.
    steps : sequence of dict
        Rows of ``associations.csv``; ``calibrated`` is "no" for a frame that was not calibrated
        because a master is missing.
    """

    frames: list[dict[str, str]]
    biases: Sequence[dict[str, str]] = ()
    darks: Sequence[dict[str, str]] = ()
    flats: Sequence[dict[str, str]] = ()
    steps: Sequence[dict[str, str]] = ()


def night_text(night, tables, *, page="", other_nights=(), width=80, height=None):
    """Return the lines on a night for a terminal.

    Parameters
    ----------
    night : str
    tables : Tables
        Tables of this night alone.
    page : str, optional
        Path of the night's page, for one of the last lines.
    other_nights : sequence of str, optional
        The other nights of the results folder, in ascending order.
    width : int, optional
        Columns of the terminal: longer lines are cut. By default 80, the width of most terminals.
    height : int, optional
        Lines of the terminal: the longest parts are shortened, and end with the number of lines
        left out. By default all lines are returned.

    Returns
    -------
    str
        The lines, without a newline at the end.
    """
    cameras = sorted({row["camera"] for row in tables.frames if row["camera"]})
    first_lines = [
        f"night {night}  {', '.join(cameras) or 'camera unknown'}",
        _words_on_statuses(tables.frames),
    ]
    lines_by_title = {
        "masters": _master_lines(tables),
        "calibrated": _grade_lines(tables.steps),
        "warnings": _warning_lines(tables),
        "overscan": _overscan_lines(tables.frames),
        SET_ASIDE: _lines_on_frames(tables.frames, SET_ASIDE),
        "incomplete": _lines_on_frames(tables.frames, "arriving"),
    }
    blocks = [_frame_table(tables.frames)]
    blocks += [
        _labelled_block(title, _wrapped_lines(lines, width))
        for title, lines in lines_by_title.items()
        if lines
    ]
    last_lines = []
    if page:
        last_lines.append(f"{'page':{_LABEL_WIDTH}}{page}")
    if other_nights:
        last_lines.append(f"{'others':{_LABEL_WIDTH}}{_other_nights(other_nights)}")
    # The prompt takes a line of the screen, and the last lines are not cut.
    n_lines = len(first_lines) + sum(math.ceil(len(line) / width) for line in last_lines) + 1
    block_height = None if height is None else height - n_lines
    blocks, gap = _blocks_that_fit(blocks, block_height, bool(last_lines))
    lines = [_cut_line(line, width) for line in first_lines]
    for block in blocks:
        lines += [*gap, *(_cut_line(line, width) for line in block)]
    if last_lines:
        lines += [*gap, *last_lines]
    return "\n".join(lines)


def _other_nights(nights):
    """Return the last of the other nights, the number of earlier ones, and the setting for one.

    Examples
    --------
    >>> _other_nights(["2022-01-26", "2022-01-27"])
    '2022-01-26, 2022-01-27; night=NIGHT prints one'
    """
    n_unnamed = len(nights) - _MOST_NAMED
    earlier = f"{n_unnamed} earlier ones, " if n_unnamed > 0 else ""
    return f"{earlier}{', '.join(nights[-_MOST_NAMED:])}; night=NIGHT prints one"


def _wrapped_lines(lines, width):
    """Return the lines beside a label, folded to the width of the terminal."""
    return folded_lines(lines, max(width - _LABEL_WIDTH, _LEAST_WIDTH), indent_letters=2)


def folded_lines(lines, width, *, indent_letters=_INDENT_LETTERS):
    """Return lines folded to the width of a terminal: a long one becomes several.

    Parameters
    ----------
    lines : iterable of str
    width : int
        Columns of the terminal.
    indent_letters : int, optional
        Indent of the further lines, columns; by default they begin below the second word of a
        line in a plan.

    Returns
    -------
    list of str

    Examples
    --------
    >>> folded_lines(["  dark  3 x 300 s of 01-15   own night"], 24)
    ['  dark  3 x 300 s of', '        01-15   own', '        night']
    """
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line, width, subsequent_indent=" " * indent_letters, break_on_hyphens=False
        )
    ]


def _blocks_that_fit(blocks, height, has_last_lines):
    """Return the blocks shortened to a height, and the lines between two of them: [""] or []."""
    n_gaps = len(blocks) + has_last_lines
    if height is None or sum(map(len, blocks)) + n_gaps <= height:
        return blocks, [""]
    shortened_blocks, kept_line_counts = list(blocks), [len(block) for block in blocks]
    while sum(map(len, shortened_blocks)) > height:
        longest = max(range(len(blocks)), key=lambda number: len(shortened_blocks[number]))
        if len(shortened_blocks[longest]) < 3:
            break
        # Of a whole block two lines are left out, because a line with their number is added.
        is_whole = kept_line_counts[longest] == len(blocks[longest])
        kept_line_counts[longest] -= 2 if is_whole else 1
        shortened_blocks[longest] = _first_lines(blocks[longest], kept_line_counts[longest])
    return shortened_blocks, []


def _first_lines(block, number):
    """Return the first lines of a block, and a line with the number of the others."""
    n_left_out = len(block) - number
    last = [" " * _LABEL_WIDTH + line for line in more_line(n_left_out, "more lines")]
    return block[:number] + last


def _cut_line(line, width):
    """Return a line cut to the width of the terminal.

    Examples
    --------
    >>> _cut_line("abcdef", 5), _cut_line("abc", 5)
    ('abcd…', 'abc')
    """
    return line if len(line) <= width else line[: width - 1] + "…"


def _labelled_block(title, lines):
    """Return lines with a title before the first of them, and the others indented as far."""
    first, *other_lines = lines
    return [f"{title:{_LABEL_WIDTH}}{first}", *(" " * _LABEL_WIDTH + line for line in other_lines)]


def _words_on_statuses(frames):
    """Return the numbers of readable frames and of frames of each other status, in words."""
    total = len(frames)
    counts = Counter(row["status"] for row in frames)
    n_readable = counts.pop("ok", 0)
    words_by_status = {"arriving": "still being written"}
    other_statuses = [
        f"{number} {words_by_status.get(status, status)}"
        for status, number in sorted(counts.items())
    ]
    readable = (
        f"all {total} readable"
        if not other_statuses
        else f"{n_readable} readable, {', '.join(other_statuses)}"
    )
    return f"{count(total, 'frame')}: {readable}"


def _rounded_exposure(text):
    """Return an exposure time to three digits: exposures of one group are then written alike.

    Examples
    --------
    >>> tuple(map(_rounded_exposure, ("300.062", "70.011", "0.0", "1800", "")))
    ('300', '70', '0', '1800', '–')
    """
    if not text:
        return EMPTY_CELL
    value = float(text)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class _FrameSort(NamedTuple):
    """The values that the frames in one line of the table share."""

    camera: str
    image_type: str
    light: str
    seconds: str

    @property
    def rank(self):
        """The key by which lines are sorted: type, filter, and exposure as a number.

        Frames of unknown exposure are last.
        """
        type_of_frames = type_rank(self.image_type), self.image_type
        exposure = math.inf if self.seconds == EMPTY_CELL else float(self.seconds)
        return type_of_frames, self.light, (exposure, self.camera)


def _frame_table(frames):
    """Return the lines of a table of the frames of known type: headings, and a line for each sort.

    A sort is a type, filter, exposure and camera; of several cameras each line has the name.
    """
    cameras = {row["camera"] for row in frames if row["type"]}
    camera_width = max(*map(len, cameras), len("camera")) + 2 if len(cameras) > 1 else 0
    rows_by_sort = {}
    for row in frames:
        if row["type"]:
            light, seconds = _filter_and_grism(row), _rounded_exposure(row["exptime"])
            sort = _FrameSort(row["camera"], row["type"], light, seconds)
            rows_by_sort.setdefault(sort, []).append(row)
    heading = f"{'camera':{camera_width}}" if camera_width else ""
    lines = [f"{'type':{_LABEL_WIDTH}}{heading}{'filter':10}{'seconds':>10}{'frames':>8}  objects"]
    for sort in sorted(rows_by_sort, key=lambda sort: sort.rank):
        camera = f"{sort.camera or EMPTY_CELL:{camera_width}}" if camera_width else ""
        rows = rows_by_sort[sort]
        lines.append(
            f"{sort.image_type:{_LABEL_WIDTH}}{camera}{sort.light or EMPTY_CELL:10}"
            f"{sort.seconds:>10}{len(rows):>8}  {_names_of_objects(sort.image_type, rows)}".rstrip()
        )
    return lines


def _filter_and_grism(row):
    """Return the filter and grism of a flat or science frame; '' of other types."""
    if row["type"] not in ("flat", "science"):
        return ""
    return light_words((row["filter"], row.get("grism")))


def _names_of_objects(image_type, frames):
    """Return the names of the objects of science frames, sorted, in words; '' of other types."""
    names = {row["object"] for row in frames} if image_type == "science" else set()
    return ", ".join(sorted(names - {""}))


def _master_lines(tables):
    """Return a line for each combined bias, dark and flat, with its figures."""
    return [
        *_lines_on_masters("bias", tables.biases, lambda row: "", _bias_figures),
        *_lines_on_masters("dark", tables.darks, _exposure_in_words, _dark_figures),
        *_lines_on_masters("flat", tables.flats, lambda row: row.get("light", ""), _flat_figures),
    ]


def _exposure_in_words(row):
    """Return the exposure in a row of the table of darks, in words."""
    return f"{_rounded_exposure(row['seconds'])} s"


def _bias_figures(row):
    """Return (column, words, format) of each figure in the line of a bias."""
    return ("level", "level {} adu", ".1f"), ("read_noise", "read noise {} adu", ".2f")


def _dark_figures(row):
    """Return (column, words, format) of each figure in the line of a dark."""
    # The table has the unit of the signal, and the rate is in this unit a second.
    unit = f"{row['unit']}s" if row["unit"] == "electron" else row["unit"]
    return ("rate", f"{{}} {unit} a second", ".3g"), ("hot", "{} hot pixels", ".0f")


def _flat_figures(row):
    """Return (column, words, format) of each figure in the line of a flat."""
    unit = "electrons" if row["unit"] == "electron" else row["unit"]
    return ("level", f"{{}} {unit}", ".0f"), ("signal_to_noise", "S/N {} a pixel", ".0f")


def _lines_on_masters(kind, rows, subject_of, figures_of):
    """Return a line for each master of a kind.

    Parameters
    ----------
    kind : str
    rows : list of dict of str to str
        The table of the kind: a row for each amplifier of each group.
    subject_of : callable
        Takes a row; returns the exposure or filter of its master.
    figures_of : callable
        Takes a row; returns (column, words, format) of each figure.
    """
    lines = []
    for row in _first_rows_of_groups(rows):
        subject = subject_of(row)
        rows_of_subject = [each for each in rows if subject_of(each) == subject]
        rows_of_group = [each for each in rows if each["group"] == row["group"]]
        figures = _figures_in_words(rows_of_group, *figures_of(row))
        words_on_master = _words_on_master(subject, row, rows_of_subject)
        lines.append(_master_line(kind, words_on_master, row, figures))
    return lines


def _words_on_master(subject, row, rows_of_subject):
    """Return the words on a master, with its name if other masters have equal words.

    Examples
    --------
    >>> row = {"group": "flat_cam_Gr_3_slit_1"}
    >>> _words_on_master("Gr#3", row, [row, row])
    'Gr#3'
    >>> _words_on_master("Gr#3", row, [row, {"group": "flat_cam_Gr_3_slit_5"}])
    'Gr#3 (flat_cam_Gr_3_slit_1)'
    """
    if len({each["group"] for each in rows_of_subject}) < 2:
        return subject
    return f"{subject} ({row['group']})".strip()


def _first_rows_of_groups(rows):
    """Return the first row of each group."""
    return list({row["group"]: row for row in reversed(rows)}.values())[::-1]


def _figures_in_words(rows, *forms):
    """Return the figures of a master's amplifiers in words, with slashes between amplifiers.

    Examples
    --------
    >>> rows = [{"amplifier": "left", "level": "943.27"}, {"amplifier": "right", "level": "965.2"}]
    >>> _figures_in_words(rows, ("level", "level {} adu", ".1f"))
    'level 943.3 / 965.2 adu (left / right)'
    >>> _figures_in_words(rows[:1], ("level", "level {} adu", ".1f"))
    'level 943.3 adu'
    """
    words = []
    for column, text, form in forms:
        values = [
            format(float(row[column]), form) if row.get(column) else EMPTY_CELL for row in rows
        ]
        if set(values) != {EMPTY_CELL}:
            words.append(text.format(" / ".join(values)))
    names_in_words = " / ".join(row.get("amplifier", "") for row in rows)
    return ", ".join(words) + (f" ({names_in_words})" if words and len(rows) > 1 else "")


def _master_line(kind, words_on_master, row, figures):
    """Return the line of a master: its frames and figures, or the reason why it was not made.

    Parameters
    ----------
    kind, words_on_master : str
        The kind of the master, and its exposure or filter.
    row : mapping of str to str
        The first row on the master in its table.
    figures : str
    """
    if not row["product"]:
        reason = row["note"] or "no reason given"
        return f"{kind} {words_on_master}: not made: {reason}".replace(" :", ":")
    n_frames = int(float(row["frames"]))
    return f"{f'{kind} {words_on_master}':<16}{n_frames:>3} frames  {figures}".rstrip()


def _grade_lines(steps):
    """Return lines with the numbers of calibrated frames by grade, and by the reason below A."""
    if not steps:
        return []
    uncalibrated_frames = {row["frame"] for row in steps if row["calibrated"] == "no"}
    grade_by_frame, frames_by_reason = {}, {}
    for row in steps:
        frame = row["frame"]
        is_calibrated = frame not in uncalibrated_frames
        if is_calibrated:
            grade_by_frame[frame] = max(grade_by_frame.get(frame, "A"), row["grade"])
        if reason := _reason_for_grade(row, is_calibrated):
            frames_by_reason.setdefault(reason, set()).add(frame)
    first_line = count(len(grade_by_frame), "frame")
    if grade_by_frame:
        counts = sorted(Counter(grade_by_frame.values()).items())
        first_line += f": {', '.join(f'{number} of grade {grade}' for grade, number in counts)}"
    if uncalibrated_frames:
        first_line += f"; {count(len(uncalibrated_frames), 'frame')} not calibrated"
    reasons = sorted(frames_by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [f"{count(len(frames), 'frame')}: {reason}" for reason, frames in reasons]
    if (n_unnamed := len(lines) - _MOST_NAMED) > 0:
        last_line = f"and {count(n_unnamed, 'more reason')}, see associations.csv"
        lines = [*lines[:_MOST_NAMED], last_line]
    return [first_line, *lines]


def _reason_for_grade(row, is_calibrated):
    """Return the reason of a step for a grade below A or an uncalibrated frame; '' for neither."""
    if not is_calibrated:
        return f"{row['reason']} (not calibrated)" if row["grade"] == "C" else ""
    if row["grade"] <= "A":
        return ""
    # The reason for a missing master names its kind already.
    is_named = row["grade"] == "C" and not row["master"]
    return row["reason"] if is_named else f"{row['reason']} ({row['step']})"


def _warning_lines(tables):
    """Return the warnings on frames, and the notes on masters that were made.

    The note on a master that was not made is in the line of the master.
    """
    rows = [*tables.biases, *tables.darks, *tables.flats]
    return _frame_warning_lines(tables.frames) + [
        f"{group}: {note}"
        for group, note in dict.fromkeys(
            (row["group"], row["note"]) for row in rows if row["note"] and row["product"]
        )
    ]


_WARNING = "warning: "
# Matches the notes of `ccdflow.camera.amplifiers.header_sections._note_no_overscan` in the table; a
# test compares the pattern with these notes.
_NO_OVERSCAN = re.compile(r"no card names (?:science pixels or|an) overscan")


def _frame_warning_lines(frames):
    """Return a line for each topic of warnings: first frame, its text, and the number of frames.

    Texts that differ only in their figures are of one topic. Several of one frame are counted.
    """
    warnings_by_topic = {}
    for row in frames:
        _, *texts = f"; {row['reason']}".split(f"; {_WARNING}")
        for text in texts:
            topic = re.sub(r"[\d.]+", "", text)
            warnings_by_topic.setdefault(topic, []).append((row["file"], text))
    lines = []
    for files_and_texts in sorted(warnings_by_topic.values(), key=len, reverse=True):
        (first, text), files = files_and_texts[0], {file for file, _ in files_and_texts}
        more = ""
        if len(files) > 1:
            more = f" (the first of {count(len(files), 'frame')})"
        elif len(files_and_texts) > 1:
            more = f" (the first of {len(files_and_texts)} warnings)"
        lines.append(f"{first}{more}: {text}")
    return lines


def _overscan_lines(frames):
    """Return [the line] on frames without an overscan in their cards; [] without such frames."""
    rows = [row for row in frames if _NO_OVERSCAN.search(row["reason"])]
    if not rows:
        return []
    return [f"none was subtracted from {count(len(rows), 'frame')}: no card names one"]


def _lines_on_frames(frames, status):
    """Return lines with names and reasons of the first frames of a status; others are counted."""
    rows = [row for row in frames if row["status"] == status]
    lines = [f"{row['file']}: {row['reason']}" for row in rows[:_MOST_NAMED]]
    if len(rows) > _MOST_NAMED:
        lines.append(f"and {len(rows) - _MOST_NAMED} more, see inventory.csv")
    return lines
