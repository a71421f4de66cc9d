"""The warnings on reduced frames.

They are in the table beside the frame, on the page of its night, and in the last lines of a run.
"""

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
from ccdflow.run.rawframes.enabled_types import is_of_enabled_type
from ccdflow.wording import amplifier_prefix, first_lines

MOST_WARNINGS = 12
"""The end of a run names at most this many topics and cameras; the table has every frame."""

# The beginning of the topic of a warning that stands in the frame's row already.
_ROW_TOPIC = "row: "

LIKE_A_FLAT = "like a flat"
"""The warning on a science frame as bright as a flat."""

# A science frame above this fraction of its camera's faintest flat is as bright as a flat.
_BRIGHT_FRACTION = 0.5
# A science frame above this level is as bright as a flat where there is no flat: adu above biases.
_BRIGHT_LEVEL = 5000.0

_WARNING_PREFIX = "warning: "

# Whole adu have a noise of 0.29 adu of their own: quieter strips are not compared.
_LEAST_NOISE = 0.5


def rows_and_records(context, records):
    """Return the rows of frames of enabled types, and a function from product to record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        Settings, rows, ledger and groups of the run.
    records : iterable of ccdflow.run.job_records.Record
        Records of reduced frames.

    Returns
    -------
    rows : list of ccdflow.run.rawframes.rows.Row
    record_of : callable
    """
    rows = [row for row in context.store.rows.values() if is_of_enabled_type(row, context.settings)]
    return rows, {record.product: record for record in records}.get


def separating_settings(context):
    """Return the settings that distinguish masters: those of any `group_by`, a set."""
    return {name for kind in MASTER_KINDS for name in context.settings[kind]["group_by"]}


def warnings_of_frames(rows, record_of, group_by):
    """Gather the warnings about frames.

    Parameters
    ----------
    rows : iterable of ccdflow.run.rawframes.rows.Row
    record_of : callable
        Gives the record of a reduced frame by the product's name, None where there is none.
    group_by : collection of str
        `separating_settings` of the run.

    Returns
    -------
    dict of str to FrameWarnings
        By raw file.
    """
    return frames_with_warning([gather_warnings(rows, record_of, group_by)])


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
    """Return the warnings of some frames, and the figures by which all frames are judged.

    Parameters
    ----------
    rows, record_of, group_by
        As `warnings_of_frames` takes them; all frames of a night are in one call.

    Returns
    -------
    dict of str to list
        Plain values. ``warnings``: [file, camera, texts]; ``even``: [file, camera, level] of even
        frames of the sky; ``levels``: [camera, type, levels] of biases and flats; ``biases``:
        [setup, noises]; ``noises``: [file, camera, amplifiers] where the noise has to be judged by
        biases of all nights, each [name, noise, that of its night's biases or None, setup];
        ``open``: the files that these may warn of.
    """
    rows = list(rows)
    data_of = _data_by_file(rows, record_of)
    texts_of = {row.file: _texts_of_frame(row, data_of.get(row.file, {})) for row in rows}
    warnings_of_nights = (
        strip_sizes.size_warnings(rows, data_of),
        absent_settings.warnings_on_absent_settings(rows, group_by),
    )
    for warnings in warnings_of_nights:
        for file, texts in warnings.items():
            texts_of[file] += texts
    reduced = [(row, data_of[row.file]) for row in rows if row.file in data_of]
    even = [[row.file, row.camera, data["even"]] for row, data in reduced if "even" in data]
    noises = {row.file: (row, _noises_with_signal(data)) for row, data in reduced}
    biases = _noises_of_biases(noises)
    to_judge = _noises_to_judge(noises, biases)
    return {
        "warnings": [
            [row.file, row.camera, texts_of[row.file]] for row in rows if texts_of[row.file]
        ],
        "even": even,
        "levels": _levels_by_type(reduced),
        "biases": [
            [setup, values]
            for noises_of_setups in biases.values()
            for setup, values in noises_of_setups.items()
        ],
        "noises": to_judge,
        "open": [file for file, *_ in (*even, *to_judge)],
    }


def _data_by_file(rows, record_of):
    """Return {raw file: the figures in the record of its reduced frame}."""
    records = {row.file: record_of(reduced_product(row.file)) for row in rows}
    # A record's data are JSON text until they are read: once.
    return {
        file: dict(record.data.items()) for file, record in records.items() if record is not None
    }


def _texts_of_frame(row, data):
    """Return (topic, text) of each warning on a frame by itself; {} for data without a record."""
    # Each topic gets a line: a gain and a section are two.
    texts = [(f"{_ROW_TOPIC}{topic}", text) for topic, text in row.topics_and_warnings]
    return [*texts, *map(tuple, data.get("warnings") or ()), *_flag_texts(row, data)]


def _levels_by_type(reduced):
    """Return [camera, type, levels] of the biases and flats among reduced frames.

    Parameters
    ----------
    reduced : list of (ccdflow.run.rawframes.rows.Row, dict of str to object)
        Frames with the figures in their records.
    """
    levels_by_type = defaultdict(list)
    for row, data in reduced:
        frame_type = row.facts["type"]
        if frame_type in ("bias", "flat") and data.get("statistics"):
            levels_by_type[row.camera, frame_type].append(data["statistics"][0]["level"])
    return [[*camera_and_type, levels] for camera_and_type, levels in levels_by_type.items()]


def _noises_with_signal(data):
    """Return the noises of the amplifiers that have a signal: others have none to compare."""
    flags = data.get("flags") or ()
    return {name: noise for name, noise in data.get("noises", {}).items() if name not in flags}


def _flag_texts(row, data):
    """Yield the warning on amplifiers without signal; masters name frames of their own types."""
    flags = data.get("flags")
    if flags and row.facts["type"] not in MASTER_KINDS:
        names = ", ".join(f"{name} ({flag})" for name, flag in sorted(flags.items()))
        yield (
            f"{_ROW_TOPIC}no signal",
            f"no pixel has a signal in the amplifiers {names}; allowed: pixels between dark and"
            " saturated; they are masked; look at the raw frame",
        )


def frames_with_warning(gathered):
    """Return {raw file: `FrameWarnings`} of all frames with a warning.

    Parameters
    ----------
    gathered : list of dict
        Results of `gather_warnings`, which together cover all frames.

    Returns
    -------
    dict of str to FrameWarnings
    """
    levels, biases, warned = defaultdict(list), defaultdict(list), {}
    for part in gathered:
        for camera, frame_type, levels_of_night in part["levels"]:
            levels[camera, frame_type] += levels_of_night
        for setup, noises in part["biases"]:
            biases[tuple(setup)] += noises
    usual_figures = _UsualFigures(
        levels, {setup: _usual_noise(noises) for setup, noises in biases.items()}
    )
    for part in gathered:
        for file, camera, texts in part["warnings"]:
            warned[file] = FrameWarnings(camera, list(map(tuple, texts)))
        for file, camera, level in part["even"]:
            frame = warned.setdefault(file, FrameWarnings(camera, []))
            frame.texts.extend(_flat_warning(file, camera, level, usual_figures))
        for file, camera, amplifiers in part["noises"]:
            if texts := _noise_texts(amplifiers, usual_figures.noises):
                frame = warned.setdefault(file, FrameWarnings(camera, []))
                frame.texts[:] = _with_noise_texts(frame.texts, texts)
    return {file: frame for file, frame in warned.items() if frame.texts}


def _with_noise_texts(pairs, noise_texts):
    """Return the (topic, text) of a frame's warnings, those on its noise replaced by others."""
    other_pairs = [pair for pair in pairs if pair[0] != NOISE]
    if any(topic == LIGHT for topic, _ in other_pairs):
        # A warning of light in the strip explains the noise: one line is enough.
        return other_pairs
    return other_pairs + [(NOISE, text) for text in noise_texts]


class _UsualFigures:
    """The usual levels and noises of cameras.

    Parameters
    ----------
    levels : dict of (str, str) to list of float
        Levels of biases and flats, by camera and type.
    noises : dict of tuple to float
        Usual noise of biases, adu, by what they have in common.
    """

    def __init__(self, levels, noises):
        self._levels, self.noises = levels, noises
        self._flat_limits = {}

    def flat_limit(self, camera):
        """Return a camera's bias level and how far above it a frame looks like a flat, adu."""
        if camera not in self._flat_limits:
            biases, flats = (
                self._levels.get((camera, frame_type), ()) for frame_type in ("bias", "flat")
            )
            bias_level = median(biases) if biases else 0.0
            limit = _BRIGHT_FRACTION * (min(flats) - bias_level) if flats else _BRIGHT_LEVEL
            self._flat_limits[camera] = bias_level, limit
        return self._flat_limits[camera]


def _flat_warning(file, camera, level, usual_figures):
    """Yield the warning for a science frame that is even, if it is as bright as a flat.

    Parameters
    ----------
    file, camera : str
    level : float
        Level of the frame, adu.
    usual_figures : _UsualFigures
    """
    bias_level, limit = usual_figures.flat_limit(camera)
    light = level - bias_level
    if light >= limit:
        rule = type_rule_text("flat", files=[pattern_of(PurePosixPath(file).name)])
        yield (
            LIKE_A_FLAT,
            f"taken for science, and as even and bright as a flat ({light:.4g} adu, no star"
            f" in it); if it is a flat, write into the camera's profile: types: [{rule}]"
            " (* is for any letters)",
        )


def _noises_of_biases(noises):
    """Return {night: {setup: noises}} of the overscan of biases."""
    nights = defaultdict(lambda: defaultdict(list))
    for row, noise_of_amplifier in noises.values():
        if row.facts["type"] == "bias":
            for name, noise in noise_of_amplifier.items():
                nights[row.night][_setup_of_noise(row, name)].append(noise)
    return nights


def _usual_noise(noises):
    """Return the usual noise of some strips, adu: no less than that of rounding to whole adu."""
    return max(median(noises), _LEAST_NOISE)


def _noises_to_judge(noises, biases):
    """Return the frames whose noise is judged by biases of other nights, or by their own night's.

    Frames like the biases of their own night are not among them.

    Parameters
    ----------
    noises : dict of str to (ccdflow.run.rawframes.rows.Row, dict of str to float)
        By raw file: its row, and the noise of the overscan of each amplifier, adu.
    biases : dict of str to dict
        As `_noises_of_biases` returns it.
    """
    usual_noises = {
        night: {setup: _usual_noise(values) for setup, values in noises_of_setups.items()}
        for night, noises_of_setups in biases.items()
    }
    to_judge = []
    for file, (row, noise_of_amplifier) in noises.items():
        usual_of_night = usual_noises.get(row.night, {})
        amplifiers = [
            [name, noise, usual_of_night.get(key := _setup_of_noise(row, name)), list(key)]
            for name, noise in noise_of_amplifier.items()
        ]
        if any(normal is None or _is_odd(noise, normal) for _, noise, normal, _ in amplifiers):
            to_judge.append([file, row.camera, amplifiers])
    return to_judge


def _is_odd(noise, normal):
    """Return whether a noise, adu, differs from the usual one by more than `NOISIER_FACTOR`."""
    return not 1 / NOISIER_FACTOR <= max(noise, _LEAST_NOISE) / normal <= NOISIER_FACTOR


def _noise_texts(amplifiers, usual_noises):
    """Return warnings on the amplifiers of a frame whose noise is unlike that of the biases."""
    texts = []
    for name, noise, usual_of_night, key in amplifiers:
        normal = usual_noises.get(tuple(key)) if usual_of_night is None else usual_of_night
        if normal and _is_odd(noise, normal):
            prefix = amplifier_prefix(name, has_others=len(amplifiers) > 1)
            texts.append(
                f"{prefix}the overscan has a noise of {noise:.4g} adu, that of the camera's"
                f" biases is {normal:.4g}: light, structure or another readout is in it; look"
                " at `overscan:` in the camera's profile"
            )
    return texts


def _setup_of_noise(row, name):
    """Return the setup within which an amplifier's noise is compared, first in its night."""
    facts = row.facts
    return row.camera, name, facts["ccdsum"], facts["gain"], facts["readmode"]


def table_texts(texts):
    """Return the texts of a frame's warnings that its row does not have."""
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
        The sentences, those on most frames first.
    """
    warned_files = defaultdict(list)
    for file in sorted(warnings):
        for topic, text in dict(reversed(warnings[file].texts)).items():
            warned_files[warnings[file].camera, topic].append((file, text))
    ranked = sorted(warned_files.items(), key=lambda item: (-len(item[1]), item[0]))
    sentences = []
    for (camera, _), files_and_texts in ranked:
        (file, text), number = files_and_texts[0], len(files_and_texts)
        number_words = f" (the first of {number} frames)" if number > 1 else ""
        text = text.replace(_PROFILE, f"config/cameras/{camera}.yaml")
        sentences.append(f"{camera}: {file}{number_words}: {text}")
    return sentences


def lines_on_frames(warnings):
    """Return the last lines of a run on its frames: ``warnings`` as in `sentences_on_warnings`."""
    texts = [_WARNING_PREFIX + text for text in sentences_on_warnings(warnings)]
    return first_lines(texts, MOST_WARNINGS, f"more kinds of warnings, see {paths.INVENTORY}")
