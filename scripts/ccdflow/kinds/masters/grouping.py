"""The groups of frames that are combined to a master each, and the names of the masters."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from statistics import median

from ccdflow import paths
from ccdflow.camera import identity
from ccdflow.files.values import number_or_none
from ccdflow.kinds.matching import association, setups
from ccdflow.kinds.reducing.frame_sources import frame_key
from ccdflow.run.context import is_of_enabled_type, reduced_product
from ccdflow.run.job import Group
from ccdflow.run.rawframes.rawnames import copies
from ccdflow.run.rawframes.rows import OK, SET_ASIDE, digest

# Temperatures further apart, degrees C, are two settings of the cooler.
_COOLER_GAP = 5.0


def groups_of(kind, context):
    """Return {product: Group} of the frames that were or are to be reduced.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.PlanContext

    Returns
    -------
    dict of str to ccdflow.run.job.Group
    """
    alike = _rows_alike(kind, context)
    names = [name_of_group(kind, camera, shared) for _, camera, shared, *_ in alike]
    # Some file systems ignore case: filters r and R.
    folded = [(key[0], paths.folded_name(name)) for key, name in zip(alike, names, strict=True)]
    counts, groups = Counter(folded), {}
    for (key, rows), name, as_folded in zip(alike.items(), names, folded, strict=True):
        night, camera, shared, geometry, recipe = key
        if counts[as_folded] > 1:
            name += "_" + digest([geometry, recipe, shared])[:6]
        product = paths.combined_master(night, name)
        files, nights = tuple(row.file for row in rows), {row.night for row in rows}
        night_of_steps = night if night != "all" else max(nights)
        groups[product] = Group(
            product=product,
            night=night,
            camera=camera,
            shared=shared,
            files=files,
            nights=tuple(sorted(nights)),
            kind=kind.name,
            steps=association.steps_of(context, kind.before, rows, night_of_steps),
        )
    return groups


def _rows_alike(kind, context):
    """Return {(night, camera, shared values, geometry, recipe): rows}."""
    by = [*kind.configuration(context)["group_by"], *kind.always_grouped_by]
    alike = {}
    for row in possible_members(kind, context):
        geometry = context.store.shared[row.geometry]
        shared = [
            ("size", "{1}x{0}".format(*geometry["shape"])),
            ("part", row.facts["part"]),
            *(
                (name, setups.known_spelling(context, name, row.facts[name]))
                for name in dict.fromkeys(by)
                if name != "night" and (name != "optics" or row.facts[name])
            ),
        ]
        # Undated frames stay with the frames of their folder, even where others are combined over
        # nights.
        night = row.night if "night" in by or row.is_undated else "all"
        if night == "all" and (epoch := setups.epoch_of(context, row.camera, row.night)):
            shared.append(("epoch", epoch))
        where = setups.common_geometry(context, row)
        key = (night, row.camera, tuple(shared), where, row.recipe)
        alike.setdefault(key, []).append(row)
    by_name = {}
    alike = identity.split_by_cards(alike, by, but=kind.split_by_tolerance)
    for (night, camera, shared, *reduction), rows in alike.items():
        for further_values, part in kind.split(context, rows):
            for degrees, rows_of_part in _split_by_sensor(kind, part):
                by_name[night, camera, (*shared, *further_values, *degrees), *reduction] = (
                    rows_of_part
                )
    return by_name


def _split_by_sensor(kind, rows):
    """Yield frames that were taken while the detector was cooled, and those taken before, apart.

    A gap between the sensor's temperatures separates them; darks are split more finely.
    """
    sensors = sorted(
        {value for row in rows if (value := number_or_none(row.facts["temperature"])) is not None}
    )
    gaps = [high for low, high in pairwise(sensors) if high - low > _COOLER_GAP]
    if not gaps or "temperature" in kind.split_by_tolerance:
        yield (), rows
        return
    parts = {}
    for row in rows:
        value = number_or_none(row.facts["temperature"])
        parts.setdefault(-1 if value is None else bisect_right(gaps, value), []).append(row)
    for number, part in parts.items():
        degrees = [row.facts["temperature"] for row in part]
        yield (("degrees", f"{median(degrees):.3g}C" if number >= 0 else "unknown"),), part


def name_of_group(kind, camera, shared):
    """Return the name of a product without its suffix.

    Parameters
    ----------
    kind : MasterKind
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

    - A frame that was set aside for its pixels is among them: its group reports it.
    - Of copies of a frame the first one is among them.
    - A frame without its raw file stays a member, with two exceptions: its camera was edited and
      others of its night are reduced again, or the file now has another name.

    Parameters
    ----------
    kind : MasterKind
    context : ccdflow.run.context.Context

    Returns
    -------
    list of ccdflow.run.rawframes.rows.Row
    """
    rows = [
        row
        for row in context.store.rows.values()
        if row.facts["type"] == kind.type
        and row.status in (OK, SET_ASIDE)
        and row.geometry
        and is_of_enabled_type(row, context.settings)
    ]
    rows.sort(key=_time_order)
    copied = copies(rows)
    rows = [row for row in rows if row.file not in copied]
    rows_of_files = [row for row in rows if not row.gone]
    nights = {(row.night, row.camera) for row in rows_of_files}
    contents = {row.fingerprint for row in rows_of_files}
    return [
        row
        for row in rows
        if not row.gone
        or (
            row.fingerprint not in contents
            and (_is_up_to_date(context, row) or (row.night, row.camera) not in nights)
        )
    ]


def _time_order(row):
    """Return the key that rows are sorted by: frames taken one after the other are neighbours."""
    return row.facts["date_obs"] or "", row.file


def _is_up_to_date(context, row):
    """Return whether the product of a missing raw file is the one that would be made now."""
    record = context.earlier_record(reduced_product(row.file))
    return row.file not in context.outdated and record is not None and record.key == frame_key(row)
