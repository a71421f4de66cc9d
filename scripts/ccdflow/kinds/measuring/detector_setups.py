"""The way a detector took a frame: its pixels and its readout, and their names in products."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from ccdflow import paths
from ccdflow.camera import identity
from ccdflow.kinds.matching.match_sentences import trait_words
from ccdflow.kinds.matching.rule_values import READOUT_CARDS
from ccdflow.kinds.matching.setups import READOUT_FACTS
from ccdflow.run.rawframes.rows import digest

PIXEL_FACTS = ("camera", "size", "ccdsum", "window", "part")
"""Values that name the pixels of a frame: gain and speed of the readout make no other pixels."""


# The setups of a camera are few, and its frames many.
@lru_cache(maxsize=1024)
def _readout_cards_of(setting):
    """Return the cards of a setting on gain and readout: GAINM HIGH, PREAMP 2X; '' for none.

    Frames that differ in one of them have unlike gains, and the columns of the inventory may be
    equal: many programs write a setting of the gain, and no electrons per adu.

    Parameters
    ----------
    setting : str
        As of `ccdflow.camera.identity.setting_of`.
    """
    cards = identity.cards_of(setting)
    return ", ".join(
        f"{name} {value}"
        for name, value in cards.items()
        if identity.has_meaning(name, ("gain", "readout"))
        and identity.is_decisive(name, READOUT_FACTS)
    )


def detector_setup_of(context, row):
    """Return the shared values of frames that one detector took in one way: ((name, value), ...).

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.

    Returns
    -------
    tuple of (str, str)
    """
    geometry = context.store.shared[row.geometry]
    values = [
        ("camera", row.camera),
        ("size", "{1}x{0}".format(*geometry["shape"])),
        *((name, str(row.facts[name])) for name in READOUT_FACTS),
        ("part", row.facts["part"]),
        (READOUT_CARDS, _readout_cards_of(row.facts["setting"])),
    ]
    return tuple((name, "" if value == "None" else value) for name, value in values)


def pixels_of(setup):
    """Return the part of a setup, or of a group's shared values, that names its pixels."""
    values = dict(setup)
    return tuple(values[name] for name in PIXEL_FACTS)


def name_of_setup(setup):
    """Return the name of a setup in the names of products."""
    facts = dict(setup)
    words = [facts["size"], facts["ccdsum"].strip().replace(" ", "x"), facts["window"]]
    words += [facts.get("readmode", ""), facts.get("gain", "") and f"g{facts['gain']}"]
    words += [digest(facts["part"])[:6]] if facts["part"] else []
    return "_".join(filter(None, words))


def setups_in_words(setups):
    """Return {setup: words}: the camera, and the values by which its setups differ.

    Parameters
    ----------
    setups : collection of tuple of (str, str)
        As of `detector_setup_of`.

    Returns
    -------
    dict of tuple to str
    """
    cameras = {}
    for setup in setups:
        cameras.setdefault(dict(setup)["camera"], []).append(setup)
    words = {}
    for camera, setups_of_camera in cameras.items():
        common_values = set.intersection(*map(set, setups_of_camera))
        for setup in setups_of_camera:
            words[setup] = " ".join(
                [
                    camera,
                    *(
                        trait_words(*pair)
                        for pair in setup
                        if pair not in common_values and pair[1] and pair[0] != READOUT_CARDS
                    ),
                    *_own_cards(setup, setups_of_camera),
                ]
            )
    return words


def _own_cards(setup, setups):
    """Return the cards of a setup on its readout that others of its camera lack or have unlike."""
    cards = [dict(each).get(READOUT_CARDS, "").split(", ") for each in setups]
    common_cards = set.intersection(*map(set, cards))
    own_cards = dict(setup).get(READOUT_CARDS, "").split(", ")
    return [card for card in own_cards if card and card not in common_cards]


def names_of_setups(setups):
    """Return a name for each setup, unique even where file systems ignore case.

    Parameters
    ----------
    setups : collection of (str, tuple)
        Night and setup.

    Returns
    -------
    dict of (str, tuple) to str
        By night and setup.
    """
    names = {key: name_of_setup(key[1]) for key in setups}
    folded_names = {
        key: (key[0], key[1][0], paths.folded_name(name)) for key, name in names.items()
    }
    counts = Counter(folded_names.values())
    return {
        key: f"{name}_{digest(key[1])[:6]}" if counts[folded_names[key]] > 1 else name
        for key, name in names.items()
    }
