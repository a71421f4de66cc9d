"""The memory of earlier headers changes no row, whichever card differs."""

import random
from operator import itemgetter

import pytest
from forgetful_rows import read_rows, rows_read_without_memory
from header_fuzz import (
    ODD_VALUES,
    body,
    card,
    frame,
    header,
    pixels,
    quote,
    random_frame,
    three_hdus,
    top,
    usual,
)

from ccdflow.files import remembered_results
from ccdflow.files.fits_structure import has_end_card, parse_header
from ccdflow.settings import load_settings

FURTHER_CARDS = [
    card("OBJECT", quote("M 1")), card("UT", quote("04:00:00.5")), card("MJD-OBS", "60379.1667"),
    card("ST", quote("08:00:00")), card("GAIN", "1.5", "electrons"), card("FILTER", quote("V")),
    card("CCD-TEMP", "-100.0"), card("XBINNING", "1"), card("YBINNING", "1"),
    card("HISTORY", ""), card("DATE", quote("2024-03-10")),
]  # fmt: skip


def change_one_card(place, cards, chance):
    """Return cards of which one has another value, another letter, or another keyword."""
    text = cards[place]
    how = chance.randrange(4)
    if how == 0:
        text = card(text[:8].rstrip(), chance.choice(ODD_VALUES))
    elif how == 1:
        at = chance.randrange(8, 60)
        text = text[:at] + chr(chance.randrange(32, 127)) + text[at + 1 :]
    elif how == 2:
        text = chance.choice((cards[chance.randrange(len(cards))], "x" + text[1:]))
    else:
        text = text[:10] + text[10:30][::-1] + text[30:]
    return [*cards[:place], text, *cards[place + 1 :]]


@pytest.fixture
def rows(tmp_path):
    """Return a function that reads files by name, with and without memory."""

    def read(files):
        raw = tmp_path / "raw"
        for name, content in files.items():
            (raw / name).parent.mkdir(parents=True, exist_ok=True)
            (raw / name).write_bytes(content)
        (tmp_path / "cameras").mkdir()
        values = load_settings(
            {"raw": str(raw), "results": str(tmp_path / "results"), "limits": {"settle": 0}}
            | {"cameras": str(tmp_path / "cameras")}
        )
        return read_rows(values), rows_read_without_memory(values)

    return read


def test_rows_are_the_same_with_and_without_memory(rows):
    chance = random.Random(20)
    files = {f"random/{seed}.fits": random_frame(seed) for seed in range(30)}
    cards = [*usual(), *FURTHER_CARDS]
    for number in range(80):
        place = number % (len(cards) + 7)
        structure, own = top(), cards
        if place < 7:
            structure = change_one_card(place, structure, chance)
        else:
            own = change_one_card(place - 7, own, chance)
        files[f"2024-03-09/{number:03}.fits"] = frame(pixels(0), own, structure=structure)
    hdus, places = three_hdus()
    for number in range(15):
        at = chance.choice([first + chance.randrange(800) for first, _ in places])
        files[f"three/{number}.fits"] = hdus[:at] + b"7" + hdus[at + 1 :]
    (remembered, shared), without_memory = rows(files)
    assert len(remembered) == 125
    statuses = [row["status"] for row in remembered.values()]
    assert 60 < statuses.count("ok") < 115
    assert (remembered, shared) == without_memory


def test_another_hdu_that_holds_the_image_gives_another_type(rows):
    """The files differ only in the names of their extensions."""

    def file_of(*names):
        parts = [header([card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0")])]
        for name, kind in zip(names, ("bias", "flat"), strict=True):
            cards = [card("EXTNAME", quote(name)), card("IMAGETYP", quote(kind))]
            parts += [header([*top(is_extension=True), *cards]), body(pixels(1))]
        return b"".join(parts)

    files = {
        "a.fits": file_of("CHIP", "MASK"),
        "b.fits": file_of("MASK", "CHIP"),
        "c.fits": file_of("CHIP", "DQ"),
    }
    (remembered, _), _ = rows(files)
    assert [remembered[name]["facts"]["type"] for name in files] == ["bias", "flat", "bias"]


def test_an_exposure_that_does_not_count_is_not_looked_at_again(monkeypatch):
    """Results are remembered for each set of cards that a function has read."""
    looked = []

    def kind(headers):
        looked.append(headers[0]["IMAGETYP"])
        return looked[-1], headers[0]["EXPTIME"] == 0 if looked[-1] == "dark" else False

    def kind_of(imagetyp, exptime):
        cards = (card("IMAGETYP", quote(imagetyp)), card("EXPTIME", exptime), f"{'END':80}")
        return remembered("kind", kind, [parse_header("".join(cards).encode())])

    remembered = remembered_results.Remembered()
    answers = [
        kind_of("dark", "0"),
        kind_of("flat", "1"),
        kind_of("flat", "2"),
        kind_of("dark", "2"),
        kind_of("dark", "0"),
    ]
    assert answers == [
        ("dark", True),
        ("flat", False),
        ("flat", False),
        ("dark", False),
        answers[0],
    ]
    assert looked == ["dark", "flat", "dark"]
    monkeypatch.setattr(remembered_results, "_MOST_SETS", 1)
    remembered, looked[:] = remembered_results.Remembered(), []
    kinds = [("dark", "0"), ("flat", "1"), ("flat", "1"), ("dark", "3")]
    assert [kind_of(*each) for each in kinds] == [
        ("dark", True), ("flat", False), ("flat", False), ("dark", False),
    ]  # fmt: skip
    assert looked == ["dark", "flat", "dark"]


def test_a_thread_may_keep_a_result_while_another_one_looks(monkeypatch):
    """A frame was set aside: "dictionary changed size during iteration"."""
    cards = ("IMAGETYP", "EXPTIME", "OBJECT")
    others = ["flat", "object"]

    def kind(headers):
        imagetyp = headers[0]["IMAGETYP"]
        return [
            headers[0][name] for name in cards[: 1 + ["dark", "flat", "object"].index(imagetyp)]
        ]

    def kind_of(imagetyp, exptime="1"):
        values = (quote(imagetyp), exptime, quote("M 1"))
        texts = [*(card(*pair) for pair in zip(cards, values, strict=True)), f"{'END':80}"]
        return remembered("kind", kind, [parse_header("".join(texts).encode())])

    def pick_slowly(*places):
        def pick(texts):
            # The change that another thread makes meanwhile.
            if is_looked_at and others:
                kind_of(others.pop())
            return itemgetter(*places)(texts)

        return pick

    monkeypatch.setattr(remembered_results, "itemgetter", pick_slowly)
    remembered, is_looked_at = remembered_results.Remembered(), False
    kind_of("dark")
    is_looked_at = True
    assert kind_of("flat", "2") == ["flat", 2]
    assert others == []
    assert [kind_of("dark"), kind_of("flat", "2"), kind_of("object")] == [
        ["dark"],
        ["flat", 2],
        ["object", 1, "M 1"],
    ]


@pytest.mark.parametrize(
    ("last", "is_end"),
    [
        ("END", True), ("END\0\0", True), ("END     x", True), ("END x", False), ("ENDX", False),
        ("COMMENT  END", False), ("", False), (" END", False),
    ],
)  # fmt: skip
def test_the_card_end_is_found_at_the_start_of_a_card_alone(last, is_end):
    block = f"{'COMMENT of END     ':80}{last:\0<3}".ljust(160, "\0" if "\0" in last else " ")
    block = block.ljust(2880).encode()
    assert has_end_card(block) is has_end_card(memoryview(block)) is is_end


def test_cards_after_end_are_no_cards():
    texts = ["SIMPLE  = T", "OBJECT  = 'the END" + " " * 58, "END", "GAIN    = 2"]
    parsed = parse_header("".join(f"{text:80}"[:80] for text in texts).encode())
    assert list(parsed) == ["SIMPLE", "OBJECT"]
