"""The way a detector took a frame: its pixels and its readout, and their names in products."""

from __future__ import annotations

from collections import Counter

from ccdflow import paths
from ccdflow.run.rawframes.rows import digest

# Facts of a row that tell how a detector was read out.
SETUP_FACTS = ("ccdsum", "window", "readmode", "gain")
# Values that name the pixels of a frame: gain and speed of the readout make no other pixels.
PIXELS = ("camera", "size", "ccdsum", "window", "part")


def setup_of(context, row):
    """Return the shared values of frames that one detector took in one way: ((name, value), ...).

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.
    """
    geometry = context.store.shared[row.geometry]
    values = [
        ("camera", row.camera),
        ("size", "{1}x{0}".format(*geometry["shape"])),
        *((name, str(row.facts[name])) for name in SETUP_FACTS),
        ("part", row.facts["part"]),
    ]
    return tuple((name, "" if value == "None" else value) for name, value in values)


def pixels_of(setup):
    """Return the part of a setup, or of a group's shared values, that names its pixels."""
    found = dict(setup)
    return tuple(found[name] for name in PIXELS)


def name_of(setup):
    """Return the name of a setup in the names of products."""
    found = dict(setup)
    parts = [found["size"], found["ccdsum"].strip().replace(" ", "x"), found["window"]]
    parts += [found.get("readmode", ""), found.get("gain", "") and f"g{found['gain']}"]
    parts += [digest(found["part"])[:6]] if found["part"] else []
    return "_".join(filter(None, parts))


def names_of(setups):
    """Return the names of setups, none of which is another's, whether in capitals or not.

    Parameters
    ----------
    setups : collection of (str, tuple)
        Night and setup.

    Returns
    -------
    dict
        {(night, setup): name}
    """
    names = {each: name_of(each[1]) for each in setups}
    taken = {each: (each[0], each[1][0], paths.folded(name)) for each, name in names.items()}
    counts = Counter(taken.values())
    return {
        each: f"{name}_{digest(each[1])[:6]}" if counts[taken[each]] > 1 else name
        for each, name in names.items()
    }
