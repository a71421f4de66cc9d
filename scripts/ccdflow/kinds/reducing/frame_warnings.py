"""The warnings on reduced frames, for the inventory, a night's page, and a run's last lines."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from statistics import median
from typing import NamedTuple

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.camera.profile_lines import pattern_of, type_rule_text
from ccdflow.frame.checks.subtraction_checks import LIGHT, NOISE, NOISIER_FACTOR
from ccdflow.kinds.reducing import absent_settings, strip_sizes
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.wording import amplifier_prefix, first_lines

MOST_WARNINGS = 12
"""The end of a run has at most this many lines on warnings; the inventory has every frame."""

# Topics of warnings that a frame's row of the inventory has already begin with this.
_ROW_TOPIC = "row: "

LIKE_A_FLAT = "like a flat"
"""The topic of the warning on a science frame as bright as a flat."""

# A science frame is as bright as a flat if its light is at least this fraction of that of its
# camera's faintest flat. With a smaller fraction there are warnings on science of a bright sky;
# with a larger one there are none on faint flats that are called science. Chosen, not measured.
_BRIGHT_FRACTION = 0.5
# Adu above biases. Where there is no flat, a science frame of at least this level is as bright as
# one. With a lower level there are warnings on science of a bright sky; with a higher one there are
# none on faint flats that are called science. Chosen, not measured.
_BRIGHT_LEVEL = 5000.0

_WARNING_PREFIX = "warning: "

# A lower noise, adu, counts as this one: rounding to whole adu alone makes a noise of 0.29.
_LEAST_NOISE = 0.5


def rows_and_records(context, records):
    """Return the rows of frames of enabled types, and a function from product to record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of reduced frames.

    Returns
    -------
    rows : list of ccdflow.run.raw_frames.rows.Row
    record_of : callable
        Returns the record of a product, None without one.
    """
    rows = [row for row in context.store.rows.values() if is_of_enabled_type(row, context.settings)]
    return rows, {record.product: record for record in records}.get


def separating_settings(context):
    """Return the settings that distinguish masters: those of any `group_by`, a set."""
    return {name for kind in MASTER_KINDS for name in context.settings[kind]["group_by"]}


def warnings_of_frames(rows, record_of, group_by):
    """Return the warnings on all frames that have any.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row
    record_of : callable
        Returns the record of a reduced frame by the product's name, None without one.
    group_by : collection of str
        As `separating_settings` returns them.

    Returns
    -------
    dict of str to FrameWarnings
        By raw file.
    """
    return join_warnings([gather_warnings(rows, record_of, group_by)])


class FrameWarnings(NamedTuple):
    """The warnings on a frame.

    Attributes
    ----------
    camera : str
    texts : list of (str, str)
        Topic and text of each warning.
    """

    camera: str
    texts: list[tuple[str, str]]


def gather_warnings(rows, record_of, group_by):
    """Return the warnings on the frames of whole nights, and the figures to judge all frames by.

    Parameters
    ----------
    rows, record_of, group_by
        As `warnings_of_frames` takes them. The frames of a night must not be split over two calls.

    Returns
    -------
    dict of str to list
        Plain values. ``warnings``: [file, camera, texts]; ``even``: [file, camera, level] of even
        frames of the sky; ``levels``: [camera, type, levels] of biases and flats; ``biases``:
        [setup, noises]; ``noises``: [file, camera, amplifiers] where the noise has to be judged by
        biases of all nights, each [name, noise, that of its night's biases or None, setup];
        ``open``: the files whose warnings depend on the figures of all nights.
    """
    rows = list(rows)
    data_by_file = _data_by_file(rows, record_of)
    rows_and_data = [(row, data_by_file[row.file]) for row in rows if row.file in data_by_file]
    even_frames = [
        [row.file, row.camera, data["even"]] for row, data in rows_and_data if "even" in data
    ]
    noises_by_file = {row.file: (row, _noises_with_signal(data)) for row, data in rows_and_data}
    biases_by_night = _noises_of_biases(noises_by_file)
    noises_to_judge = _noises_to_judge(noises_by_file, biases_by_night)
    return {
        "warnings": _warnings_within_nights(rows, data_by_file, group_by),
        "even": even_frames,
        "levels": _levels_by_type(rows_and_data),
        "biases": [
            [setup, noises]
            for noises_by_setup in biases_by_night.values()
            for setup, noises in noises_by_setup.items()
        ],
        "noises": noises_to_judge,
        "open": [file for file, *_ in (*even_frames, *noises_to_judge)],
    }


def _warnings_within_nights(rows, data_by_file, group_by):
    """Return [file, camera, texts] of the warnings for which the frames of a night suffice.

    Parameters
    ----------
    rows : list of ccdflow.run.raw_frames.rows.Row
    data_by_file : dict of str to dict
        As `_data_by_file` returns them.
    group_by : collection of str
        As `separating_settings` returns them.
    """
    texts_by_file = {row.file: _texts_of_frame(row, data_by_file.get(row.file, {})) for row in rows}
    for warnings in (
        strip_sizes.size_warnings(rows, data_by_file),
        absent_settings.warnings_on_absent_settings(rows, group_by),
    ):
        for file, texts in warnings.items():
            texts_by_file[file] += texts
    return [
        [row.file, row.camera, texts_by_file[row.file]] for row in rows if texts_by_file[row.file]
    ]


def _data_by_file(rows, record_of):
    """Return {raw file: the figures in the record of its reduced frame}."""
    records = {row.file: record_of(reduced_product(row.file)) for row in rows}
    # Each access to a record's data decodes JSON text: here it is decoded once.
    return {
        file: dict(record.data.items()) for file, record in records.items() if record is not None
    }


def _texts_of_frame(row, data):
    """Return (topic, text) of each warning for which the frame alone suffices.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    data : dict of str to object
        Data of the reduced frame's record; {} without one.
    """
    # Topics stay apart, because each gets a line at the end of a run.
    texts = [(f"{_ROW_TOPIC}{topic}", text) for topic, text in row.topics_and_warnings]
    return [*texts, *map(tuple, data.get("warnings") or ()), *_flag_texts(row, data)]


def _levels_by_type(rows_and_data):
    """Return [camera, type, levels] of the biases and flats among reduced frames, adu.

    Parameters
    ----------
    rows_and_data : list of (ccdflow.run.raw_frames.rows.Row, dict of str to object)
        Row of each frame, and data of its record.
    """
    levels_by_type = defaultdict(list)
    for row, data in rows_and_data:
        frame_type = row.facts["type"]
        if frame_type in ("bias", "flat") and data.get("statistics"):
            levels_by_type[row.camera, frame_type].append(data["statistics"][0]["level"])
    return [[*camera_and_type, levels] for camera_and_type, levels in levels_by_type.items()]


def _noises_with_signal(data):
    """Return {amplifier: noise of its overscan, adu} of the amplifiers with signal."""
    flags = data.get("flags") or ()
    return {name: noise for name, noise in data.get("noises", {}).items() if name not in flags}


def _flag_texts(row, data):
    """Yield the warning on amplifiers without signal; biases, darks and flats get it elsewhere."""
    flags = data.get("flags")
    if flags and row.facts["type"] not in MASTER_KINDS:
        names_in_words = ", ".join(f"{name} ({flag})" for name, flag in sorted(flags.items()))
        yield (
            f"{_ROW_TOPIC}no signal",
            f"no pixel has a signal in the amplifiers {names_in_words}; allowed: pixels between"
            " dark and saturated; they are masked; look at the raw frame",
        )


def join_warnings(all_entries):
    """Return {raw file: `FrameWarnings`} of all frames with a warning.

    Parameters
    ----------
    all_entries : list of dict
        Results of `gather_warnings` that together cover all frames.

    Returns
    -------
    dict of str to FrameWarnings
    """
    levels, biases, warnings = defaultdict(list), defaultdict(list), {}
    for entries in all_entries:
        for camera, frame_type, levels_of_nights in entries["levels"]:
            levels[camera, frame_type] += levels_of_nights
        for setup, noises in entries["biases"]:
            biases[tuple(setup)] += noises
    bias_noises = {setup: _median_noise(noises) for setup, noises in biases.items()}
    flat_limits = _FlatLimits(levels)
    for entries in all_entries:
        for file, camera, texts in entries["warnings"]:
            warnings[file] = FrameWarnings(camera, list(map(tuple, texts)))
        for file, camera, level in entries["even"]:
            warnings_of_frame = warnings.setdefault(file, FrameWarnings(camera, []))
            warnings_of_frame.texts.extend(_flat_warning(file, camera, level, flat_limits))
        for file, camera, amplifiers in entries["noises"]:
            if texts := _noise_texts(amplifiers, bias_noises):
                warnings_of_frame = warnings.setdefault(file, FrameWarnings(camera, []))
                warnings_of_frame.texts[:] = _pairs_with_noise_texts(warnings_of_frame.texts, texts)
    return {file: each for file, each in warnings.items() if each.texts}


def _pairs_with_noise_texts(pairs, noise_texts):
    """Return (topic, text) of a frame's warnings, in which those on its noise are replaced."""
    other_pairs = [pair for pair in pairs if pair[0] != NOISE]
    if any(topic == LIGHT for topic, _ in other_pairs):
        # Light in the overscan explains the noise, so a warning on the noise is not needed.
        return other_pairs
    return other_pairs + [(NOISE, text) for text in noise_texts]


class _FlatLimits:
    """The least light of a frame that is as bright as a flat of its camera.

    Parameters
    ----------
    levels : dict of (str, str) to list of float
        Levels of biases and flats, adu, by camera and type.
    """

    def __init__(self, levels):
        self._levels, self._limits = levels, {}

    def bias_level_and_limit(self, camera):
        """Return the bias level of a camera, adu, and the least light of a flat above it, adu."""
        if camera not in self._limits:
            biases, flats = (
                self._levels.get((camera, frame_type), ()) for frame_type in ("bias", "flat")
            )
            bias_level = median(biases) if biases else 0.0
            limit = _BRIGHT_FRACTION * (min(flats) - bias_level) if flats else _BRIGHT_LEVEL
            self._limits[camera] = bias_level, limit
        return self._limits[camera]


def _flat_warning(file, camera, level, flat_limits):
    """Yield the warning on an even science frame, if it is as bright as a flat.

    Parameters
    ----------
    file, camera : str
    level : float
        Level of the frame, adu.
    flat_limits : _FlatLimits
    """
    bias_level, limit = flat_limits.bias_level_and_limit(camera)
    light = level - bias_level
    if light >= limit:
        rule = type_rule_text("flat", files=[pattern_of(PurePosixPath(file).name)])
        yield (
            LIKE_A_FLAT,
            f"taken for science, and as even and bright as a flat ({light:.4g} adu, no star"
            f" in it); if it is a flat, write into the camera's profile: types: [{rule}]"
            " (* is for any letters)",
        )


def _noises_of_biases(noises_by_file):
    """Return {night: {setup: noises}} of the overscan of biases, adu."""
    noises_by_night = defaultdict(lambda: defaultdict(list))
    for row, noises_by_amplifier in noises_by_file.values():
        if row.facts["type"] == "bias":
            for name, noise in noises_by_amplifier.items():
                noises_by_night[row.night][_setup_of_noise(row, name)].append(noise)
    return noises_by_night


def _median_noise(noises):
    """Return the median of some noises, adu, at least `_LEAST_NOISE`."""
    return max(median(noises), _LEAST_NOISE)


def _noises_to_judge(noises_by_file, biases_by_night):
    """Return the frames with another noise than their night's biases, or without such biases.

    Parameters
    ----------
    noises_by_file : dict of str to (ccdflow.run.raw_frames.rows.Row, dict of str to float)
        By raw file: its row, and the noise of each amplifier's overscan, adu.
    biases_by_night : dict of str to dict
        As `_noises_of_biases` returns it.

    Returns
    -------
    list of list
        The entry ``noises`` of `gather_warnings`.
    """
    median_noises = {
        night: {setup: _median_noise(noises) for setup, noises in noises_by_setup.items()}
        for night, noises_by_setup in biases_by_night.items()
    }
    noises_to_judge = []
    for file, (row, noises_by_amplifier) in noises_by_file.items():
        noises_of_night = median_noises.get(row.night, {})
        amplifiers = [
            [name, noise, noises_of_night.get(setup := _setup_of_noise(row, name)), list(setup)]
            for name, noise in noises_by_amplifier.items()
        ]
        if any(
            bias_noise is None or _is_unlike(noise, bias_noise)
            for _, noise, bias_noise, _ in amplifiers
        ):
            noises_to_judge.append([file, row.camera, amplifiers])
    return noises_to_judge


def _is_unlike(noise, bias_noise):
    """Return whether a noise, adu, is more than `NOISIER_FACTOR` off the noise of biases."""
    return not 1 / NOISIER_FACTOR <= max(noise, _LEAST_NOISE) / bias_noise <= NOISIER_FACTOR


def _noise_texts(amplifiers, bias_noises):
    """Return a warning for each amplifier of a frame with another noise than biases.

    Parameters
    ----------
    amplifiers : list of list
        Name, noise, noise of its night's biases or None, and setup of each: see `gather_warnings`.
    bias_noises : dict of tuple to float
        Noise of the biases of all nights, adu, by setup.
    """
    texts = []
    for name, noise, noise_of_night, setup in amplifiers:
        bias_noise = bias_noises.get(tuple(setup)) if noise_of_night is None else noise_of_night
        if bias_noise and _is_unlike(noise, bias_noise):
            prefix = amplifier_prefix(name, has_others=len(amplifiers) > 1)
            texts.append(
                f"{prefix}the overscan has a noise of {noise:.4g} adu, that of the camera's"
                f" biases is {bias_noise:.4g}: light, structure or another readout is in it; look"
                " at `overscan:` in the camera's profile"
            )
    return texts


def _setup_of_noise(row, name):
    """Return the values by which frames are alike, so that an amplifier's noise is compared."""
    facts = row.facts
    return row.camera, name, facts["ccdsum"], facts["gain"], facts["readmode"]


def table_texts(texts):
    """Return the texts of a frame's warnings that its row of the inventory does not have yet."""
    return [_WARNING_PREFIX + text for topic, text in texts if not topic.startswith(_ROW_TOPIC)]


_PROFILE = "the camera's profile"


def sentences_on_warnings(warnings):
    """Return a sentence for each topic and camera: how many frames, the first, and its warning.

    Parameters
    ----------
    warnings : dict of str to FrameWarnings
        As `warnings_of_frames` returns it.

    Returns
    -------
    list of str
        The sentence on most frames is the first.
    """
    files_by_topic = defaultdict(list)
    for file in sorted(warnings):
        # Of several warnings with the same topic, the first counts.
        for topic, text in dict(reversed(warnings[file].texts)).items():
            files_by_topic[warnings[file].camera, topic].append((file, text))
    topics_and_files = sorted(files_by_topic.items(), key=lambda item: (-len(item[1]), item[0]))
    sentences = []
    for (camera, _), files_and_texts in topics_and_files:
        (file, text), n_files = files_and_texts[0], len(files_and_texts)
        count_words = f" (the first of {n_files} frames)" if n_files > 1 else ""
        text = text.replace(_PROFILE, f"config/cameras/{camera}.yaml")
        sentences.append(f"{camera}: {file}{count_words}: {text}")
    return sentences


def lines_on_frames(warnings):
    """Return the last lines of a run on the warnings that `sentences_on_warnings` takes."""
    texts = [_WARNING_PREFIX + text for text in sentences_on_warnings(warnings)]
    return first_lines(texts, MOST_WARNINGS, f"more kinds of warnings, see {paths.INVENTORY}")
