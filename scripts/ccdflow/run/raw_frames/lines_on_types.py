"""The last lines of a run on image types: the rules by which a profile would tell them apart."""

from __future__ import annotations

from ccdflow.camera.cameras import NAME_CARDS
from ccdflow.camera.identity import cards_of
from ccdflow.camera.image_types import (
    TARGET_CARD,
    TYPES,
    type_by_file_name,
    type_of_target,
)
from ccdflow.camera.profile_lines import condition_text, type_rule_text
from ccdflow.run.raw_frames.rows import OK, RowMark

# A rule in a line names at most this many values.
_MOST_VALUES = 8
# The word in a rule for a type that the user has to fill in.
_ANY_TYPE = "TYPE"


def untyped_lines(store):
    """Return a line for each camera with frames of unknown image type.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore

    Returns
    -------
    list of str
        Each has the rules by which the camera's profile would distinguish the types.
    """
    rows_of_cameras = {}
    for row in store.rows.values():
        if row.marks and row.status == OK and not row.gone and row.has(RowMark.UNKNOWN_TYPE):
            rows_of_cameras.setdefault(row.camera, []).append(row)
    return [
        _line_on_camera(camera, sorted(rows, key=lambda row: row.file))
        for camera, rows in sorted(rows_of_cameras.items())
    ]


def _line_on_camera(camera, rows):
    """Return the line on the rows of a camera's frames, which are in the order of their files."""
    first = rows[0]
    number_text = f" (the first of {len(rows)} frames)" if len(rows) > 1 else ""
    imagetyp = first.facts["imagetyp"]
    problem = f"{imagetyp!r} is no known type" if imagetyp else "no card says it"
    rules = _texts_of_rules(rows)
    types_in_words = ", ".join(each for each in TYPES if each != "other")
    choice = f" ({_ANY_TYPE}: {types_in_words})" if any(_ANY_TYPE in rule for rule in rules) else ""
    return (
        f"image type unknown: {camera}: {first.file}{number_text}: {problem}, so they are in no"
        f" master and not calibrated; if these rules are right, write into"
        f" config/cameras/{camera}.yaml: recognise: {_condition_of(first)}"
        f" and types: [{', '.join(rules)}]{choice}"
    )


def biasless_lines(store):
    """Return a line for each camera without biases whose darks still hold the bias level.

    Amateurs often take darks and dark flats, and no bias. A dark of a few seconds has next to no
    dark current, and can serve as a bias: with it the bias level of all other darks is known.
    A camera gets no line if no exposure of its darks is known.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore

    Returns
    -------
    list of str
    """
    darks, cameras_with_bias = {}, set()
    for row in store.rows.values():
        # A bias whose overscan was subtracted does not hold the level of these darks. The notes of
        # closed nights leave such biases out: if they counted, the line would come and go as nights
        # are closed.
        if row.status != OK or row.gone or not row.has(RowMark.NO_OVERSCAN):
            continue
        if row.facts["type"] == "bias":
            cameras_with_bias.add(row.camera)
        elif row.facts["type"] == "dark":
            darks.setdefault(row.camera, []).append(row)
    lines = []
    for camera in sorted(darks.keys() - cameras_with_bias):
        seconds = [row.facts["exptime"] for row in darks[camera]]
        shortest_exposure = min(
            (number for number in seconds if number not in ("", None)), default=None
        )
        if shortest_exposure is not None:
            lines.append(_line_on_biasless(camera, darks[camera], shortest_exposure))
    return lines


def _line_on_biasless(camera, rows, shortest_exposure):
    """Return the line on a camera without biases.

    Parameters
    ----------
    camera : str
    rows : list of ccdflow.run.raw_frames.rows.Row
        Its darks.
    shortest_exposure : float
        The least of their exposures, seconds.
    """
    first = min(
        (row for row in rows if row.facts["exptime"] == shortest_exposure), key=lambda row: row.file
    )
    imagetyps = sorted(
        {row.facts["imagetyp"] for row in rows if row.facts["exptime"] == shortest_exposure}
    )
    rule = type_rule_text("bias", imagetyp=imagetyps, exptime=[("max", shortest_exposure)])
    return (
        f"no bias: {camera}: no card names the overscan of its darks, and no bias holds"
        " the same level: it stays in them, and no dark can be combined. Take biases; or let the"
        f" shortest serve as such, as {first.file} of {shortest_exposure:g} s: write into"
        f" config/cameras/{camera}.yaml: recognise: {_condition_of(first)} and types: [{rule}]"
    )


def _condition_of(row):
    """Return the condition by which a profile recognises the camera of a row, as YAML."""
    cards = cards_of(row.facts["setting"])
    for keyword in NAME_CARDS:
        text = cards.get(keyword, "")
        if text and not text.startswith("#"):
            return condition_text(keyword, text)
    return f"{{NAXIS1: {row.facts['naxis1']}}}"


def _texts_of_rules(rows):
    """Return the rules that give each of some rows a type: the first one that matches counts."""
    values_of_rules = {}
    has_rule_for_all = True
    for row in rows:
        rule = _type_keyword_and_value(row)
        if rule is None:
            has_rule_for_all = False
        else:
            *key, value = rule
            values_of_rules.setdefault(tuple(key), {})[value] = None
    rules = [
        _rule_text(frame_type, keyword, list(values)[:_MOST_VALUES])
        for (frame_type, keyword), values in values_of_rules.items()
    ]
    if not has_rule_for_all:
        # Frames that are no calibrations are science, where the calibrations are known.
        rules.append(type_rule_text("science" if rules else _ANY_TYPE, files=["*"]))
    return rules


def _rule_text(frame_type, keyword, values):
    """Return the text of a rule that gives a type to values of `imagetyp`, `file` or a card.

    Parameters
    ----------
    frame_type, keyword : str
    values : list of str
        Patterns of file names, or texts of the card.
    """
    names = {"imagetyp": "imagetyp", "file": "files"}
    conditions = {names[keyword]: values} if keyword in names else {"cards": [(keyword, values)]}
    return type_rule_text(frame_type, **conditions)


def _type_keyword_and_value(row):
    """Return the three parts of the rule for a row; None where nothing shows its type."""
    if row.has(RowMark.NAMED_BY_OBJECT):
        target = row.facts["object"]
        return type_of_target(target), TARGET_CARD, target
    if row.facts["imagetyp"]:
        return _ANY_TYPE, "imagetyp", row.facts["imagetyp"]
    frame_type, pattern = type_by_file_name(row.file)
    return (frame_type, "file", pattern) if frame_type else None
