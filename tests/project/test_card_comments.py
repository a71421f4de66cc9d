"""Comments of the FITS cards that ccdflow writes: a noun for the value, within the card."""

import ast
import re

from library_trees import modules

# A card has 80 letters, of which a keyword, "= " and a value of fixed format take 30 and the sign
# before the comment 3.
MOST_LETTERS = 47
KEYWORD = re.compile(r"[A-Z][A-Z0-9-]{1,7}")
EMPTY_WORDS = re.compile(r"\b(?:what|tells?|told|says?|said|stands? for)\b")
# Functions that set a card: its comment is the last of three arguments or more.
SETTERS = {"set", "set_card", "_set_numbered"}


def text_of(node):
    """Return the text of a string, its computed parts as "{}"; None for another expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return None


def is_keyword(node):
    """Return whether an expression is a keyword, such as "CCDFKEY" or f"IMCOM{number:03d}"."""
    text = text_of(node)
    return text is not None and KEYWORD.fullmatch(text.replace("{}", "")) is not None


def card_comments():
    """Return [(place, comment)] of the cards of products: calls that set them, and tuples."""
    comments = []
    for module in modules():
        if "verify" in module.path.parts or not module.is_of_library:
            continue
        for node in ast.walk(module.tree):
            text = None
            if isinstance(node, ast.Call) and len(node.args) > 2:
                if ast.unparse(node.func).rpartition(".")[2] in SETTERS:
                    text = text_of(node.args[-1])
            elif isinstance(node, ast.Tuple) and len(node.elts) in (3, 4):
                first, *_, last = node.elts
                # Four texts in capitals are names of cards, not one with its comment.
                if is_keyword(first) and not is_keyword(last):
                    text = text_of(last)
            if text:
                comments.append((f"{module.path.name}:{node.lineno}", text))
    return comments


def test_comments_of_cards_are_nouns_within_the_card():
    """ "hash of everything the product depends on", not "what this product depends on"."""
    comments = card_comments()
    assert len(comments) > 120
    assert [each for each in comments if EMPTY_WORDS.search(each[1])] == []
    assert [each for each in comments if len(each[1]) > MOST_LETTERS] == []
