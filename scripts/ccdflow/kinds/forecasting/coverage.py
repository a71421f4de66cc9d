"""The frames of each night and the masters that are missing: the coverage matrix."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import night_forecast
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.answers import answers_of
from ccdflow.kinds.matching.rule_values import LONG_VALUES
from ccdflow.kinds.matching.setups import READOUT_FACTS, setup_of
from ccdflow.pages.text_formatting import TYPE_ORDER, light_words
from ccdflow.run.raw_frames.rows import OK, picker_of_facts

COVERAGE_NOTE = "coverage"
"""The name of the coverage in the notes of a closed night."""

SHOWN_NIGHTS = 30
"""The matrix has at most this many nights, the last ones: a month, chosen."""

MOST_LABELS = 40
"""The matrix has at most this many labels, those of most frames. Chosen: they fit on a page."""

FROM_OWN_NIGHT, FROM_OTHER_NIGHT, NO_MASTERS = "own", "other", "missing"
"""The states of a cell, defined in `Coverage`: masters of the night, of another night, or none."""

# The facts that name a frame's setup and label; those of a dark have its exposure as well.
_facts_of = picker_of_facts(*READOUT_FACTS, "part", "optics", "type", "filter", "grism")


class Cell(NamedTuple):
    """A cell of a `Coverage`: a kind of frames, and a night."""

    label: str
    night: str


@dataclass(frozen=True)
class Coverage:
    """The number of frames of each kind in each night, and the masters that nights lack.

    Attributes
    ----------
    nights : tuple of str
        The last nights, oldest first.
    n_earlier : int
        Number of the earlier nights.
    labels : tuple of str
        Kinds of frames: type, filter, exposure; the camera where there are several, and the values
        in which the setups of one camera differ.
    cells : dict of Cell to (int, str)
        The number of frames, and a state. `FROM_OWN_NIGHT`: the night has such frames.
        `FROM_OTHER_NIGHT`: it has none, and its frames took a master of another night.
        `NO_MASTERS`: some of its frames have no such master, even if the night has such frames.
    n_left_out : int
        Number of kinds of frames that are not shown.
    """

    nights: tuple[str, ...]
    n_earlier: int
    labels: tuple[str, ...]
    cells: dict[Cell, tuple[int, str]]
    n_left_out: int = 0

    def cells_of_state(self, state):
        """Return the cells of a state, the last night first.

        Within a night they are in the order of the labels.
        """
        cells = [cell for cell, (_, state_of_cell) in self.cells.items() if state_of_cell == state]
        index_by_label = {label: index for index, label in enumerate(self.labels)}
        cells.sort(key=lambda cell: index_by_label.get(cell.label, len(index_by_label)))
        return sorted(cells, key=lambda cell: cell.night, reverse=True)

    def values(self):
        """Return the coverage as values that JSON can hold."""
        cells = sorted([*cell, *content] for cell, content in self.cells.items())
        return [self.nights, self.n_earlier, self.labels, cells, self.n_left_out]


def coverage_of(context):
    """Return the `Coverage` of an archive's last nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With its groups.

    Returns
    -------
    Coverage
    """
    summaries, n_earlier = _summaries_of_last_nights(context)
    names = _names_of_setups(summaries.values())

    def cell_of(night, setup, words):
        """Return the `Cell` of a night, a setup and the words on a kind of frames."""
        return Cell(f"{names[_hashable_setup(setup)]} {words}".strip(), night)

    counts, states, counts_by_label = Counter(), {}, Counter()
    for night, summary in summaries.items():
        for setup, words, n_frames in summary["frames"]:
            cell = cell_of(night, setup, words)
            counts[cell] += n_frames
            counts_by_label[cell.label] += n_frames
        for setup, words, state, n_frames in summary["holes"]:
            cell = cell_of(night, setup, words)
            if state == NO_MASTERS or not counts[cell]:
                states[cell] = max(states.get(cell, ""), state, key=_state_rank)
                # A label without frames is ranked by the number of frames that lack its master.
                counts_by_label[cell.label] += 0 if counts[cell] else n_frames
    labels_by_rank = sorted(counts_by_label, key=lambda label: (-counts_by_label[label], label))
    labels_shown = labels_by_rank[:MOST_LABELS]
    cells = {cell: (count, FROM_OWN_NIGHT) for cell, count in counts.items() if count}
    cells |= {cell: (counts[cell], state) for cell, state in states.items()}
    return Coverage(
        tuple(summaries),
        n_earlier,
        tuple(sorted(labels_shown, key=_label_order)),
        {cell: content for cell, content in cells.items() if cell.label in labels_shown},
        len(labels_by_rank) - len(labels_shown),
    )


def _summaries_of_last_nights(context):
    """Return {night: `night_coverage`} of the last dated nights, and the number of earlier ones."""
    closed_summaries = {
        night: summary
        for night, summary in context.summaries(COVERAGE_NOTE).items()
        if summary["dated"]
    }
    open_nights = (night for night in context.nights if _is_dated(context, night))
    nights = sorted({*closed_summaries, *open_nights})
    nights_shown = nights[-SHOWN_NIGHTS:]
    summaries = {
        night: closed_summaries[night]
        if night in closed_summaries
        else night_coverage(context, night)
        for night in nights_shown
    }
    return summaries, len(nights) - len(nights_shown)


def _is_dated(context, night):
    """Return whether any frame of a night has a date."""
    return not all(row.is_undated for row in context.rows_of(night))


def night_coverage(context, night):
    """Return the number of frames of a night by kind, and the masters that they lack.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With the groups of the night.
    night : str

    Returns
    -------
    dict of str to (bool or list)
        ``dated``: whether any frame of the night has a date; ``frames``: [setup, label, number of
        frames]; ``holes``: [setup, label of the master, state, number of frames that lack the
        master or took one of another night]. A setup is a sequence of (name, value).
    """
    rows, frames, rows_of_sorts = context.rows_of(night), Counter(), {}
    for row in rows:
        if row.status == OK and not context.is_set_aside(row.file):
            # Hundreds of frames have one setup and label.
            rows_of_sorts.setdefault(_setup_and_label_values(row), []).append(row)
    for first_row, *further_rows in rows_of_sorts.values():
        frames[_short_setup(context, first_row), _row_label(first_row)] += 1 + len(further_rows)
    holes, answers_without_own_master = Counter(), {}
    for group in SCIENCE.night_groups(context, night):
        # Hundreds of frames have one tuple of steps, and most nights have masters of their own.
        steps_id = id(group.steps)
        if steps_id not in answers_without_own_master:
            answers_without_own_master[steps_id] = [
                answer for answer in answers_of(context, group) if _lacks_master_of_night(answer)
            ]
        if answers_without_own_master[steps_id]:
            holes.update(_coverage_holes(context, group, answers_without_own_master[steps_id]))
    return {
        "dated": _is_dated(context, night),
        "frames": [[*setup_and_label, n_frames] for setup_and_label, n_frames in frames.items()],
        "holes": [[*entry, n_frames] for entry, n_frames in holes.items()],
    }


def _setup_and_label_values(row):
    """Return the values of a frame from which its setup and label follow."""
    facts = row.facts
    seconds = facts["exptime"] if facts["type"] == "dark" else None
    return (row.camera, row.geometry, row.recipe, seconds, *_facts_of(facts))


def _short_setup(context, row):
    """Return the setup of a frame, without the values that are too long for a label."""
    if not row.geometry:
        return (("camera", row.camera),)
    setup = setup_of(context, row, context.chain.by_name("bias"))
    return tuple(each for each in setup if each[0] not in LONG_VALUES)


def _hashable_setup(setup):
    """Return a setup with tuples for the lists of JSON."""
    return tuple(map(tuple, setup))


def _names_of_setups(summaries):
    """Return {setup: the words that distinguish it}; '' for a single setup."""
    entries = [each for night in summaries for each in (*night["frames"], *night["holes"])]
    setups = dict.fromkeys(_hashable_setup(setup) for setup, *_ in entries)
    setups_of_cameras = defaultdict(list)
    for setup in setups:
        setups_of_cameras[dict(setup)["camera"]].append(dict(setup))
    names = {}
    for setup in setups:
        camera = dict(setup)["camera"]
        traits = _differing_traits(setup, setups_of_cameras[camera])
        words = [camera] if len(setups_of_cameras) > 1 else []
        words += [match_sentences.trait_words(name, value) for name, value in traits if value]
        names[setup] = " ".join(filter(None, words))
    return names


def _differing_traits(setup, setups):
    """Return the (name, value) of a setup that differ among some setups, which are dicts."""
    traits = [
        (name, value) for name, value in setup if len({each.get(name, "") for each in setups}) > 1
    ]
    # The size follows from the binning: it is named only if nothing else differs.
    return [trait for trait in traits if trait[0] != "size"] or traits


def _state_rank(state):
    """Return the rank of a state: a cell shows the state of highest rank of its frames."""
    return ("", FROM_OTHER_NIGHT, NO_MASTERS).index(state)


def _label_order(label):
    """Return the key by which labels are sorted: setup, type, numbers such as exposures, label."""
    label_parts = label.split()
    frame_type = next(each for each in label_parts if each in TYPE_ORDER)
    numbers = tuple(float(each) for each in label_parts if each.replace(".", "", 1).isdigit())
    traits_of_setup = label_parts[: label_parts.index(frame_type)]
    return traits_of_setup, TYPE_ORDER.index(frame_type), numbers, label


def _row_label(row):
    """Return the label of a frame: type, and filter or exposure."""
    facts = row.facts
    frame_type = facts["type"] if facts["type"] in TYPE_ORDER else "other"
    return _type_label(frame_type, facts, facts["exptime"])


def _type_label(frame_type, facts, seconds):
    """Return a type with the exposure of a dark, or the filter of other frames but biases."""
    words = [frame_type]
    if frame_type == "dark":
        words.append(night_forecast.seconds_words(seconds))
    elif frame_type != "bias":
        words.append(light_words((facts["filter"], facts["grism"])))
    return " ".join(filter(None, words))


def _lacks_master_of_night(answer):
    """Return whether the master of an answer is of another night, or missing."""
    return bool(answer.missing_master) if answer.use is None else answer.use.lag != 0


def _coverage_holes(context, group, answers):
    """Yield (setup, label, state) of each master that a frame lacks or took of another night."""
    row = context.row(group.files[0])
    for answer in answers:
        use, seconds = answer.use, row.facts["exptime"]
        if use is not None and answer.kind == "dark" and isinstance(seconds, int | float):
            seconds = seconds / use.scale if use.scale != 1 else seconds
        label = _type_label(answer.kind, row.facts, seconds)
        yield _short_setup(context, row), label, NO_MASTERS if use is None else FROM_OTHER_NIGHT
