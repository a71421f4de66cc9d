"""Each card that ccdflow writes has all its parts: a failing test names the missing ones."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from library_trees import nodes

from ccdflow.combine import combined_header
from ccdflow.files.header_text import CardList
from ccdflow.frame import headers, placement
from ccdflow.verify.comparing import card_order, source_cards
from ccdflow.verify.comparing.comparing import Differs

ROOT = Path(__file__).parents[2]
PRODUCTS = (ROOT / "docs" / "products.md").read_text("utf-8")
# Of each module that writes headers: the patterns and the order by which `verify/` knows its cards.
WRITERS = {
    "frame/headers.py": (source_cards.REDUCED_ORIGINS, card_order.REDUCED_ORDER),
    "combine/combined_header.py": (source_cards.COMBINED_ORIGINS, card_order.COMBINED_ORDER),
    "calibrate/calibrated_header.py": (
        source_cards.CALIBRATED_ORIGINS, card_order.CALIBRATED_ORDER,
    ),
}  # fmt: skip


# Constants in capitals that are no cards of the product: names of images, and cards that are read.
OTHER_NAMES = {"DATE", "EXTNAME", "HIERARCH", "INHERIT", "MASK", "RAWDATE", "ZIMAGE"}
KEYWORD = re.compile(r"[A-Z][A-Z0-9-]{2,7}")


def cards_of(tree):
    """Return the keywords in the functions of a module, whether in calls, loops or f-strings.

    Of two keywords in a row, the first is of the only amplifier, the second of one of several,
    whose number follows; so it is in an f-string. `_numbered_keywords` has numbers of two lengths.
    """
    functions = [node for node in nodes(tree) if isinstance(node, ast.FunctionDef)]
    cards = set()
    parts_of_others = set()
    for node in (node for function in functions for node in nodes(function)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_numbered_keywords":
            stem = node.args[0]
            cards |= {f"{stem.value}001", f"{stem.value[:3]}00001"}
            parts_of_others.add(stem)
        elif isinstance(node, ast.JoinedStr):
            cards |= _cards_of_f_string(node)
            parts_of_others |= set(nodes(node))
        if isinstance(node, ast.Call | ast.Tuple):
            pair = (node.args if isinstance(node, ast.Call) else node.elts)[:2]
            if len(pair) == 2 and _is_pair(*pair):
                cards.add(f"{pair[1].value[:6]}01")
                parts_of_others.add(pair[1])
    for node in (node for function in functions for node in nodes(function)):
        if _is_keyword(node) and node not in parts_of_others:
            cards.add(node.value)
    return sorted(cards - OTHER_NAMES)


def _is_pair(first, second):
    """Return whether two nodes are the keywords of one amplifier, or '', and of several."""
    is_first = _is_keyword(first) or (isinstance(first, ast.Constant) and first.value == "")
    return is_first and _is_keyword(second) and not {first.value, second.value} & OTHER_NAMES


def _is_keyword(node):
    """Return whether a node is a constant that looks like a keyword."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and KEYWORD.fullmatch(node.value) is not None
    )


def _cards_of_f_string(text):
    """Return the keywords that an f-string makes, which begin with letters and end in a number."""
    if len(text.values) != 2 or not _is_keyword(text.values[0]):
        return set()
    stem, number = text.values[0].value, text.values[1]
    if stem in OTHER_NAMES:
        return set()
    # A suffix without a format is empty where there is one amplifier.
    return {f"{stem}01"} | (set() if number.format_spec else {stem})


# Cards that the source of a product may have, and keep their place then, or that every extension
# has at its begin or end.
UNPLACED_CARDS = {
    "BUNIT", "CCDFKEY", "EXPTIME", "FLATLVL", "GAIN", "UTYPE",
    # It stands before CLIPITER, or behind the members where the program chose the sigma.
    "CLIPDEV",
}  # fmt: skip
# Cards of a reduced frame that take the place of the raw frame's card of that name.
RENEWED_CARDS = {"BUNIT", "NAMPS"}
# Cards that a combined frame has only where its members have them.
LEVEL_CARDS = {"BIASLVL", "BIASLV01"}
# The card of the uncertainty alone, which is no copy of another image's header.
UNCERTAINTY_CARDS = {"UTYPE"}


def order_has(order, card):
    """Return whether an order of cards has a card, or numbered ones of its beginning."""
    return card in order or any(
        isinstance(each, tuple) and re.sub(r"\d+$", "", card) in each for each in order
    )


def missing_parts(card, writer):
    """Return the places that lack a card of a module that writes headers."""
    origins, order = WRITERS[writer]
    parts = {
        "docs/products.md: a row": f"`{card}`" in PRODUCTS
        or f"`{re.sub('01$', 'nn', card)}`" in PRODUCTS,
        "verify/comparing/source_cards.py: a pattern": card in UNCERTAINTY_CARDS
        or (card in LEVEL_CARDS and origins.renewed_cards.fullmatch(card))
        or origins.added_cards.fullmatch(card),
        "verify/comparing/card_order.py: a place": card in UNPLACED_CARDS or order_has(order, card),
        "frame/headers.py: _OWN_CARDS, to drop a raw card of this name": "frame/" not in writer
        or card in RENEWED_CARDS
        or placement.is_about_raw_pixels(card)
        or headers._OWN_CARDS.fullmatch(card),
    }
    return [part for part, is_there in parts.items() if not is_there]


@pytest.mark.parametrize("writer", WRITERS)
def test_each_card_is_documented_and_known_to_the_verification(writer):
    cards = cards_of(ast.parse((ROOT / "scripts" / "ccdflow" / writer).read_text("utf-8")))
    assert len(cards) > 10
    incomplete = {card: missing_parts(card, writer) for card in cards}
    incomplete = {card: parts for card, parts in incomplete.items() if parts}
    assert incomplete == {}, f"these cards lack parts: {incomplete}"


def test_a_card_without_parts_is_named_with_all_of_them():
    assert _cards_in('cards.set("NEWCARD", 1, "a number")') == ["NEWCARD"]
    places = [part.partition(":")[0] for part in missing_parts("NEWCARD", "frame/headers.py")]
    assert places == [
        "docs/products.md", "verify/comparing/source_cards.py",
        "verify/comparing/card_order.py", "frame/headers.py",
    ]  # fmt: skip
    assert len(missing_parts("NEWCARD", "combine/combined_header.py")) == 3
    numbered_cards = _cards_in('set_card("NEWLEVEL", "NEWLEVEL", 1, "a number")')
    assert numbered_cards == ["NEWLEV01", "NEWLEVEL"]
    for card in numbered_cards:
        assert len(missing_parts(card, "frame/headers.py")) == 4


def _cards_in(text):
    """Return the cards of a function of one statement."""
    return cards_of(ast.parse(f"def write(cards):\n    {text}"))


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("for k, v in (('NEWA', 1), ('NEWB', 2)): cards.set(k, v)", ["NEWA", "NEWB"]),
        ("for k, s in (('NEWLEVEL', 'NEWLEV'),): cards.set(k if one else f'{s}01', 1)",
         ["NEWLEV01", "NEWLEVEL"]),
        ("cards.set(f'NEWR{n:02d}', 1)", ["NEWR01"]),
        ("cards.set(f'NEWR{suffix}', 1)", ["NEWR", "NEWR01"]),
        ("cards.set('NEWONE' if one else f'NEWO{n:02d}', 1)", ["NEWO01", "NEWONE"]),
        ("set_card('', 'NEWAMP', 1)", ["NEWAMP01"]),
        ("cards.extend(_numbered_keywords('NEWIM', 3))", ["NEW00001", "NEWIM001"]),
        ("words = {'NEWNOISE': 'a comment', 'mad': 'MAD of values'}", ["NEWNOISE"]),
        ("cards.rename('DATE', 'RAWDATE')", []),
    ],
)  # fmt: skip
def test_cards_of_loops_and_f_strings_are_seen(text, cards):
    assert _cards_in(text) == cards


@pytest.mark.parametrize("n_amplifiers", [1, 2])
def test_each_card_really_written_on_a_dark_or_flat_has_a_place(n_amplifiers):
    """All cards of noise, level and rate of a combined image, in the order of their maker."""
    cards = CardList()
    noise = SimpleNamespace(read_noise=5.0, gain=1.5, factor=1.1, level_noise=0.2)
    image = SimpleNamespace(
        image=np.ones((2, 2), np.float32), n_clipped=np.array([1, 2]), n_invalid=np.array([3]),
        n_empty=4, shared_noise={"MBNOISE": 0.5, "MDNOISE": 0.6},
        noise=SimpleNamespace(amplifiers=[noise] * n_amplifiers),
    )  # fmt: skip
    figure = {
        "level": 300.0, "read_noise": 5.0, "combined_noise": 1.0, "predicted_noise": 1.1,
        "subtracted": True,
    }  # fmt: skip
    combined_header.write_combined_cards(cards, image, [figure] * n_amplifiers)
    combined_header.write_noise_cards(cards, image)
    rate = SimpleNamespace(value=0.1)
    combined_header.write_dark_cards(
        cards, seconds=60, rates=[rate] * n_amplifiers, hot_pixels=7, hot_limit=0.2,
        units=["adu"] * n_amplifiers,
    )  # fmt: skip
    names = [keyword for keyword, _ in cards]
    tails = [""] if n_amplifiers == 1 else ["01", "02"]
    assert names[-1 - n_amplifiers :] == [*(f"DARKRT{tail}" for tail in tails), "NHOT"]
    assert [name for name in names if not order_has(card_order.COMBINED_ORDER, name)] == ["EXPTIME"]
    header = fits.Header([(name, 1) for name in names])
    card_order.check_order(header, None, card_order.COMBINED_ORDER, re.compile(""))
    # A rate in front of the noise model is named.
    header = fits.Header([(name, 1) for name in (names[-2], *names[:-2], names[-1])])
    with pytest.raises(Differs, match=f"is after {names[-2]}, and must be before it"):
        card_order.check_order(header, None, card_order.COMBINED_ORDER, re.compile(""))


@pytest.mark.parametrize("has_common_gain", [True, False])
def test_the_measured_gain_has_one_place_in_a_calibrated_header(has_common_gain):
    """The factor of all pixels stands before the grade; the gain of an amplifier behind the sky."""
    orders = [card_order.CALIBRATED_ORDER, card_order.COMMON_GAIN_ORDER]
    factor_first = ["REDKEY", "GAINMEAS", "CALGRADE", "SATURATE", "SKYPRED", "SATMEAS", "LINRAW"]
    gain_last = ["REDKEY", "CALGRADE", "SATURATE", "SKYPRED", "GAINMEAS", "SATMEAS", "LINRAW"]
    right, wrong = (factor_first, gain_last) if has_common_gain else (gain_last, factor_first)
    order = orders[has_common_gain]
    header = fits.Header([(name, 1) for name in right])
    card_order.check_order(header, None, order, re.compile(""))
    header = fits.Header([(name, 1) for name in wrong])
    with pytest.raises(Differs, match="must be before it"):
        card_order.check_order(header, None, order, re.compile(""))
    header = fits.Header([(name, 1) for name in (*right[:-2], "LINRAW", "SATMEAS")])
    with pytest.raises(Differs, match="the card SATMEAS is after LINRAW"):
        card_order.check_order(header, None, order, re.compile(""))
