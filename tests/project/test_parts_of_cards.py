"""Each card that ccdflow writes has all its parts: who adds one reads here which are missing."""

import ast
import re
from pathlib import Path

import pytest
from library_trees import nodes

from ccdflow.frame import headers, placement
from ccdflow.verify.comparing import card_order, source_cards

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


def cards_of(tree):
    """Return the names that are written out in calls of `CardList.set` and of `set_card`.

    `set_card` gets two names: of the only amplifier, and of one of several, whose number follows.
    """
    cards = set()
    for call in nodes(tree):
        if not isinstance(call, ast.Call):
            continue
        words = [each.value for each in call.args[:2] if isinstance(each, ast.Constant)]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "set":
            cards |= set(words[:1])
        elif isinstance(call.func, ast.Name) and call.func.id == "set_card" and len(words) == 2:
            cards |= {words[0], f"{words[1][:6]}01"}
    return sorted(cards - {""})


# Cards that the source of a product may have, and keep their place then, or that every extension
# has at its begin or end.
UNPLACED_CARDS = {
    "BUNIT", "CCDFKEY", "CLIPDEV", "EXPTIME", "FLATLVL", "GAIN", "NHOT", "UTYPE",
}  # fmt: skip
# Cards of a reduced frame that take the place of the raw frame's card of that name.
RENEWED_CARDS = {"BUNIT", "NAMPS"}
# Cards of an amplifier that other programs write as well: a raw card of the name may stay.
SHARED_CARDS = {"AMPGAIN", "DATSEC", "GAIN01", "TRIM", "TRIM01"}
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
        or origins.added_cards.fullmatch(card),
        "verify/comparing/card_order.py: a place": card in UNPLACED_CARDS or order_has(order, card),
        "frame/headers.py: _OWN_CARDS, to drop a raw card of this name": "frame/" not in writer
        or card in RENEWED_CARDS | SHARED_CARDS
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
    assert cards_of(ast.parse('cards.set("NEWCARD", 1, "a number")')) == ["NEWCARD"]
    places = [part.partition(":")[0] for part in missing_parts("NEWCARD", "frame/headers.py")]
    assert places == [
        "docs/products.md", "verify/comparing/source_cards.py",
        "verify/comparing/card_order.py", "frame/headers.py",
    ]  # fmt: skip
    assert len(missing_parts("NEWCARD", "combine/combined_header.py")) == 3
    numbered_cards = cards_of(ast.parse('set_card("NEWLEVEL", "NEWLEVEL", 1, "a number")'))
    assert numbered_cards == ["NEWLEV01", "NEWLEVEL"]
    for card in numbered_cards:
        assert len(missing_parts(card, "frame/headers.py")) == 4
