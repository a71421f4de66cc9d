"""The setup in which a detector took a frame: pixels and readout, in words and in file names."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from ccdflow import paths
from ccdflow.camera import identity
from ccdflow.kinds.matching.match_sentences import trait_words
from ccdflow.kinds.matching.rule_values import DEVICE_CARDS, READOUT_CARDS
from ccdflow.kinds.matching.setups import READOUT_FACTS
from ccdflow.run.raw_frames.rows import digest

PIXEL_FACTS = ("camera", "size", "ccdsum", "window", "part", DEVICE_CARDS)
"""Values by which the pixels of a detector are known: gain and readout do not count."""

# Values of a setup that are lists of cards.
_CARD_LISTS = (READOUT_CARDS, DEVICE_CARDS)


# A camera has few settings and many frames.
@lru_cache(maxsize=1024)
def _cards_with_meaning(setting, meanings):
    """Return the cards of a setting with these meanings: GAINM HIGH, PREAMP 2X; '' for none.

    Frames that differ in a card of gain or readout have different gains. The inventory may still
    have the same gain for them, because many programs write a setting of the gain instead of
    electrons per adu. Frames that differ in a card of the device are of two detectors: a serial
    number, a quadrant.

    Parameters
    ----------
    setting : str
        As of `ccdflow.camera.identity.setting_of`.
    meanings : tuple of str
        As for `ccdflow.camera.identity.has_meaning`.
    """
    cards = identity.cards_of(setting)
    return ", ".join(
        f"{name} {value}"
        for name, value in cards.items()
        if identity.has_meaning(name, meanings) and identity.is_decisive(name, READOUT_FACTS)
    )


def detector_setup_of(context, row):
    """Return the setup in which a detector took a frame: ((name, value), ...).

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
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
        (READOUT_CARDS, _cards_with_meaning(row.facts["setting"], ("gain", "readout"))),
        (DEVICE_CARDS, _cards_with_meaning(row.facts["setting"], ("device",))),
    ]
    return tuple((name, "" if value == "None" else value) for name, value in values)


def pixel_facts_of(setup):
    """Return the values of `PIXEL_FACTS` in a setup, or in a group's shared values."""
    values = dict(setup)
    return tuple(values[name] for name in PIXEL_FACTS)


def name_of_setup(setup):
    """Return the text for a setup in the names of products, such as 2148x2048_1x1_g2.2."""
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
        As `detector_setup_of` returns them.

    Returns
    -------
    dict of tuple to str
    """
    setups_by_camera = {}
    for setup in setups:
        setups_by_camera.setdefault(dict(setup)["camera"], []).append(setup)
    words_by_setup = {}
    for camera, setups_of_camera in setups_by_camera.items():
        common_values = set.intersection(*map(set, setups_of_camera))
        for setup in setups_of_camera:
            own_traits = [
                trait_words(name, value)
                for name, value in setup
                if (name, value) not in common_values and value and name not in _CARD_LISTS
            ]
            own_cards = [
                card for name in _CARD_LISTS for card in _own_cards(setup, setups_of_camera, name)
            ]
            words_by_setup[setup] = " ".join([camera, *own_traits, *own_cards])
    return words_by_setup


def _own_cards(setup, setups, name):
    """Return the cards of a setup that not all setups of its camera have alike.

    Parameters
    ----------
    setup : tuple of (str, str)
    setups : collection of tuple of (str, str)
        Those of its camera.
    name : str
        One of `_CARD_LISTS`.

    Returns
    -------
    list of str
    """
    cards = [dict(each).get(name, "").split(", ") for each in setups]
    common_cards = set.intersection(*map(set, cards))
    own_cards = dict(setup).get(name, "").split(", ")
    return [card for card in own_cards if card and card not in common_cards]


def names_of_setups(setups):
    """Return a name for each setup, unique even where file systems ignore case.

    Parameters
    ----------
    setups : collection of (str, tuple)
        The night or epoch of a product, and its setup.

    Returns
    -------
    dict of (str, tuple) to str
        By night or epoch, and setup.
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
