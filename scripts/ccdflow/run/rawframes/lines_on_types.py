"""The last lines of a run on image types: the rules by which a profile would tell them apart."""

from __future__ import annotations

from ccdflow.camera.cameras import NAME_CARDS
from ccdflow.camera.identity import cards_of
from ccdflow.camera.imagetypes import (
    TARGET_CARD,
    TYPES,
    type_by_file_name,
    type_of_target,
)
from ccdflow.camera.profile_lines import condition_text, type_rule_text
from ccdflow.run.rawframes.rows import OK, RowMark

# Values that a rule of a line names at most.
_MOST_VALUES = 8
# The word in the place of a type that only a person knows.
_ANY_TYPE = "TYPE"


def untyped_lines(store):
    """Return a line for each camera with frames of unknown image type.

    Parameters
    ----------
    store : ccdflow.run.rawframes.header_store.HeaderStore

    Returns
    -------
    list of str
        Each has the rules by which the camera's profile would tell the types apart.
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
    how_many = f" (the first of {len(rows)} frames)" if len(rows) > 1 else ""
    written = first.facts["imagetyp"]
    words = f"{written!r} is no known type" if written else "no card says it"
    rules = _rules_of(rows)
    types = ", ".join(each for each in TYPES if each != "other")
    allowed = f" ({_ANY_TYPE}: {types})" if any(_ANY_TYPE in rule for rule in rules) else ""
    return (
        f"image type unknown: {camera}: {first.file}{how_many}: {words}, so they are in no master"
        f" and not calibrated; if these rules are right, write into config/cameras/{camera}.yaml:"
        f" recognise: {_condition_of(first)} and types: [{', '.join(rules)}]{allowed}"
    )


def biasless_lines(store):
    """Return a line for each camera whose bias level stays in its darks, as it has no bias.

    Amateurs often take darks and dark flats, and no bias. A dark of a few seconds is a bias with
    next to no dark current; with it all darks serve, as those of the frames' exposure hold the same
    bias.

    Parameters
    ----------
    store : ccdflow.run.rawframes.header_store.HeaderStore

    Returns
    -------
    list of str
    """
    darks, cameras_with_bias = {}, set()
    for row in store.rows.values():
        # A bias whose overscan was subtracted does not hold the level of these darks. The notes of
        # closed nights leave it out, so that the line would come and go with them.
        if row.status != OK or row.gone or not row.has(RowMark.NO_OVERSCAN):
            continue
        if row.facts["type"] == "bias":
            cameras_with_bias.add(row.camera)
        elif row.facts["type"] == "dark":
            darks.setdefault(row.camera, []).append(row)
    lines = []
    for camera in sorted(darks.keys() - cameras_with_bias):
        seconds = [row.facts["exptime"] for row in darks[camera]]
        shortest = min((number for number in seconds if number not in ("", None)), default=None)
        if shortest is not None:
            lines.append(_line_on_biasless(camera, darks[camera], shortest))
    return lines


def _line_on_biasless(camera, rows, shortest):
    """Return the line on a camera without biases.

    Parameters
    ----------
    camera : str
    rows : list of ccdflow.run.rawframes.rows.Row
        Its darks.
    shortest : float
        The least of their exposures, seconds.
    """
    first = min((row for row in rows if row.facts["exptime"] == shortest), key=lambda row: row.file)
    words = sorted({row.facts["imagetyp"] for row in rows if row.facts["exptime"] == shortest})
    rule = type_rule_text("bias", imagetyp=words, exptime=[("max", shortest)])
    return (
        f"no bias: {camera}: no card names the overscan of its darks, and no bias holds"
        " the same level: it stays in them, and no dark can be combined. Take biases; or let the"
        f" shortest serve as such, as {first.file} of {shortest:g} s: write into"
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


def _rules_of(rows):
    """Return the rules that give each of some rows a type, the first that holds first."""
    values_of_rules = {}
    is_all = True
    for row in rows:
        rule = _rule_of(row)
        if rule is None:
            is_all = False
        else:
            *key, value = rule
            values_of_rules.setdefault(tuple(key), {})[value] = None
    rules = [
        _rule_text(frame_type, keyword, list(values)[:_MOST_VALUES])
        for (frame_type, keyword), values in values_of_rules.items()
    ]
    if not is_all:
        # Frames that are no calibrations are science, where the calibrations are known.
        rules.append(type_rule_text("science" if rules else _ANY_TYPE, files=["*"]))
    return rules


def _rule_text(frame_type, keyword, values):
    """Return the rule of a type by the values of `imagetyp`, `file` or a card.

    Parameters
    ----------
    frame_type, keyword : str
    values : list of str
        Patterns of file names, or texts of the card.
    """
    names = {"imagetyp": "imagetyp", "file": "files"}
    conditions = {names[keyword]: values} if keyword in names else {"cards": [(keyword, values)]}
    return type_rule_text(frame_type, **conditions)


def _rule_of(row):
    """Return the (type, keyword, value) of the rule for a row; None where nothing says its type."""
    if row.has(RowMark.NAMED_BY_OBJECT):
        target = row.facts["object"]
        return type_of_target(target), TARGET_CARD, target
    if row.facts["imagetyp"]:
        return _ANY_TYPE, "imagetyp", row.facts["imagetyp"]
    frame_type, pattern = type_by_file_name(row.file)
    return (frame_type, "file", pattern) if frame_type else None
