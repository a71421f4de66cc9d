"""The groups of frames, each combined into one master, and the names of the masters."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from ccdflow import paths
from ccdflow.camera import identity
from ccdflow.files.values import number_or_none
from ccdflow.kinds.matching import association, setups
from ccdflow.kinds.reducing.frame_sources import frame_key
from ccdflow.run.job import NIGHT_OF_SEVERAL, Group
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.raw_names import copied_files
from ccdflow.run.raw_frames.rows import OK, SET_ASIDE, digest, picker_of_facts

# A gap of more than this between sensor temperatures, degrees C, separates two settings of the
# cooler. Chosen, not measured: a sensor at one setting drifts in much smaller steps.
_COOLER_GAP = 5.0


class GroupKey(NamedTuple):
    """The values that separate groups of frames.

    Attributes
    ----------
    night : str
        YYYY-MM-DD, the folder of undated frames, or ``all`` where frames of several nights join.
    camera : str
    shared : tuple of (str, str)
        Names and values that the members share, for the name of the product.
    geometry, recipe : str
        The names of both in the store. The product's name has a hash of them only where two groups
        would have one name.
    """

    night: str
    camera: str
    shared: tuple[tuple[str, str], ...]
    geometry: str
    recipe: str


def groups_of(kind, context):
    """Return {product: Group} of the masters of a kind.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.PlanContext

    Returns
    -------
    dict of str to ccdflow.run.job.Group
    """
    rows_of_groups = _split_groups(kind, context, _rows_by_header(kind, context))
    names = {key: name_of_group(kind, key.camera, key.shared) for key in rows_of_groups}
    # Some file systems ignore case: names of the filters r and R must differ by more than case.
    folded_names = {key: (key.night, paths.folded_name(name)) for key, name in names.items()}
    counts, groups = Counter(folded_names.values()), {}
    for key, rows in rows_of_groups.items():
        name = names[key]
        if counts[folded_names[key]] > 1:
            name += "_" + digest([key.geometry, key.recipe, key.shared])[:6]
        product = paths.combined_master(key.night, name)
        files, nights = tuple(row.file for row in rows), {row.night for row in rows}
        night_of_steps = key.night if key.night != NIGHT_OF_SEVERAL else max(nights)
        groups[product] = Group(
            product=product,
            night=key.night,
            camera=key.camera,
            shared=key.shared,
            files=files,
            nights=tuple(sorted(nights)),
            kind=kind.name,
            steps=association.steps_of(context, kind.applied_kinds, rows, night_of_steps),
        )
    return groups


def _rows_by_header(kind, context):
    """Return {GroupKey: rows} of frames with the same header values of the names in `group_by`.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.PlanContext
    """
    group_by = _group_by(kind, context)
    is_by_night = "night" in group_by
    names = [name for name in dict.fromkeys(group_by) if name != "night"]
    values_of = picker_of_facts("night", "part", *names)
    rows_by_header, rows_by_values = {}, {}
    for row in possible_members(kind, context):
        # Undated frames stay with the frames of their folder, even where others are combined over
        # nights.
        is_of_one_night = is_by_night or row.is_undated
        values = values_of(row.facts)
        # Equal numbers may be written in two ways: 1 and 1.0, 0.0 and -0.0.
        identity_of_row = (row.camera, row.geometry, row.recipe, is_of_one_night)
        all_values = (*identity_of_row, values, *map(str, values))
        rows = rows_by_values.get(all_values)
        if rows is None:
            key = _key_of_row(context, row, names, is_of_one_night=is_of_one_night)
            rows = rows_by_values[all_values] = rows_by_header.setdefault(key, [])
        rows.append(row)
    return rows_by_header


def _key_of_row(context, row, names, *, is_of_one_night):
    """Return the `GroupKey` of a row.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    row : ccdflow.run.raw_frames.rows.Row
    names : list of str
        Names of the header values in which members agree, without the night.
    is_of_one_night : bool
        Whether its group has frames of its night alone.
    """
    geometry = context.store.shared[row.geometry]
    shared = [
        ("size", "{1}x{0}".format(*geometry["shape"])),
        ("part", row.facts["part"]),
        *(
            (name, setups.known_spelling(context, name, row.facts[name]))
            for name in names
            if name != "optics" or row.facts[name]
        ),
    ]
    night = row.night if is_of_one_night else NIGHT_OF_SEVERAL
    if night == NIGHT_OF_SEVERAL and (epoch := setups.epoch_of(context, row.camera, row.night)):
        shared.append(("epoch", epoch))
    return GroupKey(
        night=night,
        camera=row.camera,
        shared=tuple(shared),
        geometry=setups.common_geometry(context, row),
        recipe=row.recipe,
    )


def _split_groups(kind, context, rows_by_header):
    """Return {GroupKey: rows} of groups whose members also agree in settings and temperature.

    The kind splits them further, such as darks by exposure. The values that separate the groups are
    added to `GroupKey.shared`.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the masters.
    context : ccdflow.run.context.PlanContext
    rows_by_header : dict of GroupKey to list of ccdflow.run.raw_frames.rows.Row
        Groups that agree in header values.
    """
    rows_of_groups = {}
    rows_by_cards = identity.split_by_cards(
        rows_by_header, _group_by(kind, context), ignored_meanings=kind.split_by_tolerance
    )
    for key, rows in rows_by_cards.items():
        key = GroupKey(*key)
        for further_values, rows_alike in kind.split(context, rows):
            for degrees_value, rows_of_group in split_by_sensor(kind, rows_alike):
                shared = (*key.shared, *further_values, *degrees_value)
                rows_of_groups[key._replace(shared=shared)] = rows_of_group
    return rows_of_groups


def _group_by(kind, context):
    """Return the names of the header values in which the members of a group agree."""
    return [*kind.configuration(context)["group_by"], *kind.always_grouped_by]


def split_by_sensor(kind, rows):
    """Yield the frames of each setting of the cooler, such as those taken before it was cold.

    A gap between the sensor's temperatures separates two settings. Where there are several, frames
    of unknown temperature are yielded by themselves. Darks are not split here:
    `ccdflow.kinds.masters.dark.Dark.split` does that more finely.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    rows : sequence of ccdflow.run.raw_frames.rows.Row

    Yields
    ------
    degrees_value : tuple of (str, str)
        The temperature of the setting, for `GroupKey.shared`; () where the frames are not split.
    rows_of_setting : list of ccdflow.run.raw_frames.rows.Row
    """
    temperatures = sorted(
        {value for row in rows if (value := number_or_none(row.facts["temperature"])) is not None}
    )
    # The lowest temperature of each setting but the coldest.
    lowest_temperatures = [high for low, high in pairwise(temperatures) if high - low > _COOLER_GAP]
    if not lowest_temperatures or "temperature" in kind.split_by_tolerance:
        yield (), rows
        return
    rows_by_setting = {}
    for row in rows:
        value = number_or_none(row.facts["temperature"])
        setting = None if value is None else bisect_right(lowest_temperatures, value)
        rows_by_setting.setdefault(setting, []).append(row)
    for setting, rows_of_setting in rows_by_setting.items():
        temperatures_of_setting = [row.facts["temperature"] for row in rows_of_setting]
        words = "unknown" if setting is None else f"{median(temperatures_of_setting):.3g}C"
        yield (("degrees", words),), rows_of_setting


def name_of_group(kind, camera, shared):
    """Return the name of a product without its suffix.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    camera : str
    shared : iterable of (str, str)
        Names and values that the members share.

    Returns
    -------
    str
    """
    words = [kind.type, camera]
    for name, value in shared:
        if value in ("", "None") or name in kind.not_in_name:
            continue
        value = value.strip().replace(" ", "x") if name == "ccdsum" else value
        value = identity.name_of_setting(value) if name == identity.SETTING_NAME else value
        words.append(kind.name_part(name, value))
    return paths.plain_name("_".join(words))


def possible_members(kind, context):
    """Return the rows of frames that may be members of a group, sorted by time.

    - A frame that was set aside for its pixels is included, because its group reports it.
    - Only the first of several copies of a frame is included.
    - A frame without its raw file stays a member, with two exceptions: its camera was edited and
      others of its night are reduced again, or the file now has another name.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context

    Returns
    -------
    list of ccdflow.run.raw_frames.rows.Row
    """
    rows = sorted(
        (row for row in context.store.rows.values() if _is_combinable(kind, context, row)),
        key=_time_order,
    )
    copies = copied_files(rows)
    rows = [row for row in rows if row.file not in copies]
    rows_of_files = [row for row in rows if not row.gone]
    nights_and_cameras = {(row.night, row.camera) for row in rows_of_files}
    fingerprints = {row.fingerprint for row in rows_of_files}

    def stays_a_member(row):
        """Return whether a row without its raw file stays a member."""
        if row.fingerprint in fingerprints:
            return False
        return _is_up_to_date(context, row) or (row.night, row.camera) not in nights_and_cameras

    return [row for row in rows if not row.gone or stays_a_member(row)]


def _is_combinable(kind, context, row):
    """Return whether a row is of a kind's image type, and its frame is, or was to be, reduced."""
    return (
        row.facts["type"] == kind.type
        and row.status in (OK, SET_ASIDE)
        and bool(row.geometry)
        and is_of_enabled_type(row, context.settings)
    )


def _time_order(row):
    """Return the key that rows are sorted by: frames taken one after the other are neighbours."""
    return row.facts["date_obs"] or "", row.file


def _is_up_to_date(context, row):
    """Return whether the reduced frame of a missing raw file is as it would be made now."""
    record = context.earlier_record(reduced_product(row.file))
    return (
        row.file not in context.outdated_files
        and record is not None
        and record.key == frame_key(row)
    )
