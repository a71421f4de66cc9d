"""The values that frames and their masters must share: setups, epochs, exposures, temperatures."""

from __future__ import annotations

from functools import lru_cache
from statistics import median

from ccdflow.calibrate.applied_masters import FLAT
from ccdflow.camera.filters import filter_in_any_order
from ccdflow.files.values import number_or_none
from ccdflow.kinds.matching.rule_values import EPOCH, Observation
from ccdflow.pages.text_formatting import light_words
from ccdflow.run.lookups import Lookup
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.raw_frames.rows import digest, picker_of_facts

# Values of an amplifier on its noise and its range, which are no part of its layout.
_NOT_LAYOUT = ("read_noise", "saturation")

# For each fact, the function that gives one key to all spellings of a value. The prefix 'filter: '
# keeps filters and readout modes apart.
_SPELLED_FACTS = {
    "readmode": str.casefold,
    "filter": lambda text: f"filter: {filter_in_any_order(text)}",
}

_spelled_facts_of = picker_of_facts("readmode", "filter", "type")

READOUT_FACTS = ("ccdsum", "window", "readmode", "gain")
"""The header values on the readout of a detector.

A frame and its masters agree in those of them that are in ``group_by:``.
"""

_facts_without_optics_of = picker_of_facts(*READOUT_FACTS, "part")
_facts_with_optics_of = picker_of_facts(*READOUT_FACTS, "part", "optics")

TEMPERATURE_FACTS = ("set_temperature", "temperature")
"""The facts of a row with the detector's temperature: set point, then sensor."""


def setup_of(context, row, kind):
    """Return the setup of a frame: all values in which it must agree with its masters of a kind.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        Row of the frame, or of a member of the master.
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the master.

    Returns
    -------
    tuple of (str, str)
    """
    facts_of = _facts_with_optics_of if kind.name == FLAT else _facts_without_optics_of
    return context.lookup(
        (Lookup.SETUP, kind.name, row.camera, row.geometry, row.recipe, facts_of(row.facts)),
        lambda: _setup_for_masters(context, row, kind),
    )


def _setup_for_masters(context, row, kind):
    """Return `setup_of` a frame, without looking for an earlier result."""
    group_by = kind.configuration(context)["group_by"]
    geometry = context.store.shared[row.geometry]
    values = [
        ("camera", row.camera),
        ("size", "{1}x{0}".format(*geometry["shape"])),
        *(
            (name, known_spelling(context, name, row.facts[name]))
            for name in READOUT_FACTS
            if name in group_by
        ),
        *([("optics", row.facts["optics"])] if kind.name == FLAT and row.facts["optics"] else []),
        ("part", row.facts["part"]),
        ("layout", _layout_hash(context, row)),
    ]
    return tuple((name, "" if value == "None" else value) for name, value in values)


def known_spelling(context, name, value):
    """Return a readout mode or filter in the spelling of the archive's first frame that has it.

    Programs write ``Slow`` and ``SLOW`` for one mode, ``Bessell_V`` and ``Bessell V`` for one
    filter. The first spelling counts, so that a new night renames no earlier group. Other values
    are returned as they are, with single blanks between their words.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    name : str
        The fact, such as ``readmode`` or, of a flat, ``filter``.
    value : object
        As in the header.

    Returns
    -------
    str
    """
    text = " ".join(str(value).split())
    if name not in _SPELLED_FACTS or not text:
        return text
    return spellings(context).get(_SPELLED_FACTS[name](text), text)


def spellings(context):
    """Return {normalised value: its first spelling} of readout modes and filters of flats."""
    return context.lookup(
        (Lookup.SPELLINGS, "readmode"), lambda: _first_spellings(context.rows_in_order())
    )


def _first_spellings(rows):
    """Return {normalised value: its first spelling} of readout modes and filters of flats."""
    return {key: text for key, text in reversed(_texts_of(rows))}


def _texts_of(rows):
    """Return [(normalised value, text)] of readout modes and filters of flats."""
    # Thousands of rows have a few sets of these values.
    values = list(dict.fromkeys(_spelled_facts_of(row.facts) for row in rows))
    texts = dict.fromkeys(("readmode", mode) for mode, _, _ in values)
    texts |= dict.fromkeys(("filter", filter_) for _, filter_, type_ in values if type_ == FLAT)
    return [
        (_SPELLED_FACTS[name](text), text)
        for name, value in texts
        if (text := " ".join(str(value).split()))
    ]


def restore_spellings(context, noted_spellings):
    """Put the spellings of all nights into a context of some nights.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    noted_spellings : dict of str to str
        As `spellings` returned it.

    Raises
    ------
    NeedsWholePlan
        If a frame of these nights has another spelling of a noted value.
    """
    rows = sorted(context.store.rows.values(), key=lambda row: (row.night, row.file))
    if any(noted_spellings.get(key, text) != text for key, text in _texts_of(rows)):
        raise NeedsWholePlan("a readout mode or a filter has two spellings")
    spellings_now = _first_spellings(rows)
    context.lookup((Lookup.SPELLINGS, "readmode"), lambda: spellings_now | noted_spellings)


def _layout_hash(context, row):
    """Return a hash that is equal for frames with one layout of amplifiers and one recipe."""

    def hash_of_layout():
        """Return the hash of amplifiers and recipe, without noise and saturation."""
        geometry = dict(_geometry_in_first_hdu(context.store.shared[row.geometry]))
        geometry.pop("source", None)
        geometry["amplifiers"] = [
            {name: value for name, value in amplifier.items() if name not in _NOT_LAYOUT}
            for amplifier in geometry["amplifiers"]
        ]
        return digest([geometry, context.store.shared[row.recipe]])

    return context.lookup((Lookup.LAYOUT, row.geometry, row.recipe), hash_of_layout)


def common_geometry(context, row):
    """Return a name for the geometry of a frame, equal for a file and its copy packed by fpack.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    str
        `Row.geometry` as if a single image were in the file's first HDU: fpack puts it into the
        second.
    """

    def name_of_geometry():
        """Return the name of the row's geometry, or the hash of the one in the first HDU."""
        geometry = context.store.shared[row.geometry]
        geometry_in_first_hdu = _geometry_in_first_hdu(geometry)
        return row.geometry if geometry_in_first_hdu is geometry else digest(geometry_in_first_hdu)

    return context.lookup((Lookup.GEOMETRY, row.geometry), name_of_geometry)


def _geometry_in_first_hdu(geometry):
    """Return the plain form of a geometry, with a single image in the file's first HDU."""
    hdus = [hdu for hdu, _ in geometry["raw_shapes"]]
    if geometry["layout"] != "image" or len(hdus) != 1 or hdus == [0]:
        return geometry
    return {
        **geometry,
        "amplifiers": [{**amplifier, "hdu": 0} for amplifier in geometry["amplifiers"]],
        "raw_shapes": [[0, shape] for _, shape in geometry["raw_shapes"]],
    }


def epoch_of(context, camera, night):
    """Return the first night of a camera's epoch; '' for its first epoch, and without a profile.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    camera : str
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    str
    """
    profile = profile_of(context, camera)
    return "" if profile is None else profile.epoch_of(night)


def profile_of(context, name):
    """Return the profile of a camera (`ccdflow.camera.cameras.Camera`), or None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    name : str

    Returns
    -------
    ccdflow.camera.cameras.Camera or None
    """
    return context.lookup(
        (Lookup.PROFILE, name),
        lambda: next((camera for camera in context.cameras if camera.name == name), None),
    )


def observation_of(context, rows, kind, *, night):
    """Return the `rule_values.Observation` of a frame, or of the members of a group.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    rows : sequence of ccdflow.run.raw_frames.rows.Row
        Rows of the frame, or of the group's members.
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of master, whose setup the observation gets.
    night : str
        Night of the frame or group.

    Returns
    -------
    ccdflow.kinds.matching.rule_values.Observation
    """
    return observation_of_members(context, rows[0], medians_of(rows), kind, night=night)


def medians_of(rows):
    """Return the medians of exposure, set point and sensor temperature of some frames.

    Seconds and degrees Celsius; None for a value that no frame has.
    """
    return [_median_of_fact(rows, name) for name in ("exptime", *TEMPERATURE_FACTS)]


def observation_of_members(context, first_row, medians, kind, *, night, setup=None, entries=()):
    """Return the `rule_values.Observation` of a group, as `observation_of` does.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    first_row : ccdflow.run.raw_frames.rows.Row
        Row of the first member.
    medians : list of (float or None)
        `medians_of` all members.
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of master, whose setup the observation gets.
    night : str
        Night of the group.
    setup : tuple of (str, str), optional
        `setup_of` the first member, if the caller has it.
    entries : tuple of (str, str), optional
        Further values in which frames and masters must agree.

    Returns
    -------
    ccdflow.kinds.matching.rule_values.Observation
    """
    setup = setup_of(context, first_row, kind) if setup is None else setup
    if epoch := epoch_of(context, first_row.camera, night):
        setup = (*setup, (EPOCH, epoch))
    return Observation(
        setup=(*setup, *entries) if entries else setup,
        night=night,
        exptime=medians[0],
        filter=_light_as_written(first_row.facts["filter"], first_row.facts["grism"]),
        set_temperature=medians[1],
        temperature=medians[2],
        wheels=filter_and_grism(first_row.facts),
    )


def is_level_subtracted(recipe, amplifiers):
    """Return whether the overscan level of every amplifier of a frame is subtracted.

    Parameters
    ----------
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    amplifiers : iterable of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    bool
    """
    return recipe.subtract and all(amplifier.overscan for amplifier in amplifiers)


def filter_and_grism(facts):
    """Return the filter and grism by which flats are chosen, equal for any order of the wheels.

    Blanks, underscores and hyphens between the words of a name count as equal.

    Parameters
    ----------
    facts : mapping of str to object
        Header values of a frame.

    Returns
    -------
    str
    """
    return _light_in_any_order(facts["filter"], facts["grism"])


# A camera has some tens of pairs of filter and grism. A pair that has left the cache is
# computed again.
@lru_cache(maxsize=1000)
def _light_as_written(filter_name, grism):
    """Return filter and grism in words, with the wheels in the order of the header."""
    return light_words((filter_name, grism))


# As many as of `_light_as_written`.
@lru_cache(maxsize=1000)
def _light_in_any_order(filter_name, grism):
    """Return filter and grism in words, equal for any order of the wheels."""
    return light_words((filter_in_any_order(filter_name), grism))


def _median_of_fact(rows, name):
    """Return the median of a fact of some rows; None where no row has a number."""
    values = [value for row in rows if (value := number_or_none(row.facts[name])) is not None]
    if len(values) <= 1:
        return values[0] if values else None
    return float(median(values))
