"""Lists of nights in words. The night of frames without a date is the name of their folder."""

from __future__ import annotations

from ccdflow.run.job import NIGHT_OF_SEVERAL
from ccdflow.run.raw_frames.rows import UNDATED_NIGHT, is_dated
from ccdflow.wording import first_named

# A list gives at most this many dates; of more it gives the first and the last. Chosen: they fit
# one line of a terminal.
_MOST_DATES = 4
# A list names at most this many folders of undated frames. Chosen: they fit the line beside dates.
_MOST_FOLDERS = 2


def undated_first(nights):
    """Return nights sorted, folders of undated frames before dates.

    Examples
    --------
    >>> undated_first(["undated", "2016-01-16", "2016-01-15"])
    ['undated', '2016-01-15', '2016-01-16']
    """
    return sorted(nights, key=lambda night: (is_dated(night), night))


def nights_in_words(nights):
    """Return nights in words: all dates if they are few, or the first and last; then folders.

    Parameters
    ----------
    nights : iterable of str
        '' and `NIGHT_OF_SEVERAL` are left out.

    Returns
    -------
    str

    Examples
    --------
    >>> nights_in_words(["2016-01-16", "2016-01-15"]), nights_in_words([""])
    ('nights 2016-01-15, 2016-01-16', '')
    >>> dates = [f"2016-01-{day}" for day in range(11, 17)]
    >>> nights_in_words(dates)
    '6 nights from 2016-01-11 to 2016-01-16'
    >>> nights_in_words([*dates, "undated"])
    '6 nights from 2016-01-11 to 2016-01-16, and frames without a date'
    >>> nights_in_words(["2016-01-15", "old/tests"])
    'night 2016-01-15, and frames without a date in old/tests'
    >>> nights_in_words(["undated"])
    'frames without a date'
    """
    nights_in_order = undated_first(set(nights) - {"", NIGHT_OF_SEVERAL})
    dates = [night for night in nights_in_order if is_dated(night)]
    folders = nights_in_order[: len(nights_in_order) - len(dates)]
    phrases = []
    if len(dates) > _MOST_DATES:
        phrases.append(f"{len(dates)} nights from {dates[0]} to {dates[-1]}")
    elif dates:
        phrases.append(f"{'night' if len(dates) == 1 else 'nights'} {', '.join(dates)}")
    if folders:
        place = f" in {first_named(folders, _MOST_FOLDERS)}" if folders != [UNDATED_NIGHT] else ""
        phrases.append(f"frames without a date{place}")
    return ", and ".join(phrases)
