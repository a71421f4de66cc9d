"""The names of combined biases, darks and flats on pages: in words, with the file on hovering."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

from ccdflow.kinds.matching.match_sentences import trait_words
from ccdflow.pages.contents import NamedFile
from ccdflow.pages.text_formatting import light_words

# Values that the words of a master begin with.
_FIRST_FACTS = ("filter", "grism", "exptime")


def master_names(groups, *, prefix="", night=""):
    """Return {product: NamedFile} of combined biases, darks and flats, no two with the same words.

    A name has the type, and the filter, grism and exposure time that the frames share. Where
    masters of one night have these in common, their names also have the values in which the masters
    differ.

    Parameters
    ----------
    groups : iterable of ccdflow.run.job.Group
        Groups of all masters in one list or table of a page.
    prefix : str, optional
        The path from the page to the results folder, for links to the files; '' for no link.
    night : str, optional
        The night of the page: names of masters from other nights have that night.

    Returns
    -------
    dict of str to ccdflow.pages.contents.NamedFile
    """
    groups = {group.product: group for group in groups}
    words_and_nights = {
        product: (_first_words(each), each.night_of_page) for product, each in groups.items()
    }
    names = {}
    for product, group in groups.items():
        words, night_of_master = words_and_nights[product]
        groups_alike = [
            groups[other_product]
            for other_product in groups
            if words_and_nights[other_product] == words_and_nights[product]
        ]
        night_words = () if night_of_master == night else ("of", night_of_master)
        names[product] = light_words(
            (words, *_distinguishing_values(group, groups_alike), *night_words)
        )
    counts = Counter(names.values())
    return {
        # Masters that differ only in geometry or recipe are named by their files.
        product: NamedFile(
            words if counts[words] == 1 else PurePosixPath(product).stem,
            path=f"{prefix}/{product}" if prefix else "",
            file=product,
        )
        for product, words in names.items()
    }


def _first_words(group):
    """Return the words by which most masters are known: kind, filter, grism, exposure."""
    shared_values = dict(group.shared)
    seconds = shared_values.get("exptime")
    exposure_in_words = seconds and f"{float(seconds):g} s"
    return light_words(
        (group.kind, shared_values.get("filter"), shared_values.get("grism"), exposure_in_words)
    )


def _distinguishing_values(group, groups):
    """Return a group's camera and shared values, in words, that not all of some groups have."""
    values = _shared_values_in_words(group)
    common_values = set.intersection(*(set(_shared_values_in_words(each)) for each in groups))
    return [words for name, words in values if (name, words) not in common_values]


def _shared_values_in_words(group):
    """Return (name, words) of the camera and of each value that the frames of a group share."""
    traits = [("camera", group.camera)]
    for name, value in group.shared:
        if name not in _FIRST_FACTS and value and value != "None":
            traits += [(name, trait_words(name, part.strip())) for part in value.split(", ")]
    return traits
