"""Headers as texts of their cards: what they give is what astropy's give, remembered or not."""

import pickle
import warnings

import pytest
from astropy.io import fits
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdflow.camera.cameras import identify
from ccdflow.camera.profiles import load_cameras
from ccdflow.files import cards, raw_files, raw_headers, remembered_results
from ccdflow.files.fits_structure import FITS_BLOCK_BYTES, end_of_header, parse_header
from ccdflow.files.raw_headers import CARD_BYTES, RawHeader
from ccdflow.files.remembered_results import Remembered

# With a blank or without, texts like records, what goes on, what is no card at all.
ODD_CARDS = [
    "GAIN    =                  1.5 / electrons", "GAIN=2", "GAIN    =2.5", "gain    = 3",
    "HIERARCH ESO DET OUT1 CONAD = 2.1 / gain", "HIERARCH eso ins filt1 name='V'", "AB CD   = 5",
    "CONTINUE  'more of it&'", "CONTINUE", "OBJECT  = 'a long text&'", "OBJECT  = 'it''s / x' / c",
    "OBJECT  = 'unclosed", "OBJECT  = ''", "OBJECT  =", "EXPTIME = 12,5", "EXPTIME = 1800 s / x",
    "DP1     = 'AXIS.1: 2.5'", "DP1     = 'EXTVER: 1.0' / x", "OBJECT  = 'a: b'", "A.B     = 1",
    "HISTORY bias subtracted", "COMMENT  = 'x'", "        = 3", "", "ENDX    = 1", "END",
    "DETECTOR= (1.0, 2.0)", "FLAG    = T", "NAXIS1  = 96.0", "NOVALUE text without a sign", "A=B",
]  # fmt: skip
NAMES = ("GAIN", "gain", "ESO DET OUT1 CONAD", "OBJECT", "EXPTIME", "DP1", "DP1.AXIS.1", "A.B",
         "HISTORY", "COMMENT", "", "END", "DETECTOR", "NAXIS1", "NOVALUE", "NONE")  # fmt: skip
COMMENTARY = ("HISTORY", "COMMENT", "")
A_CARD = st.one_of(
    st.sampled_from(ODD_CARDS),
    st.text(st.sampled_from(" AZa0=/'&:.-+E_\x7f"), max_size=60),
    st.sampled_from(ODD_CARDS).flatmap(
        lambda card: st.tuples(st.integers(0, 20), st.sampled_from(" ='/&:x.")).map(
            lambda change: card[: change[0]] + change[1] + card[change[0] + 1 :]
        )
    ),
)


def answer_or_error(call):
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


def answers_of(header):
    """Return the answers of a header, its text last: that is when astropy's cards are made."""
    answers = [list(header), len(header)]
    answers += [name in header for name in NAMES]
    answers += [
        answer_or_error(lambda name=name: header.get(name))
        for name in NAMES
        if name not in COMMENTARY
    ]
    answers += [
        answer_or_error(lambda name=name: cards.contents_of_cards(header, name)) for name in NAMES
    ]
    answers += [cards.has_card(header, name) for name in NAMES]
    answers += [
        answer_or_error(lambda name=name: cards.header_value(header, name)) for name in NAMES[3:8]
    ]
    answers += [raw_headers.commentary(header, name) for name in ("HISTORY", "COMMENT")]
    return [str(each) for each in answers], answer_or_error(lambda: header.tostring())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(A_CARD, max_size=6))
def test_a_header_answers_as_astropys(cards_drawn):
    texts = [f"{card:80}" for card in ["SIMPLE  =                    T", *cards_drawn]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = parse_header("".join([*texts, f"{'END':80}"]).encode())
        again = pickle.loads(pickle.dumps(own))
        mended = "".join(map(raw_headers.card_with_indicator, texts))
        theirs = fits.Header.fromstring(mended.replace("\x7f", "?") + f"{'END':80}")
        assert answers_of(own) == answers_of(again) == answers_of(theirs)


def header_of(*card_texts):
    return parse_header("".join(f"{card:80}" for card in (*card_texts, "END")).encode())


def test_a_result_is_remembered_for_the_cards_that_were_looked_at():
    asked = []

    def gain(headers):
        asked.append(cards.card_value(headers[0], "GAIN"))
        return asked[-1], cards.card_value(headers[1], "NONE")

    remembered = Remembered()

    def gain_of(first, second="OBJECT  = 'x'"):
        return remembered("gain", gain, [header_of(*first), header_of(second)])

    assert gain_of(["GAIN    = 1", "UT      = '1'"]) == (1, None)
    assert gain_of(["GAIN    = 1", "UT      = '2'"], "OBJECT  = 'y'") == (1, None)
    assert asked == [1]
    assert gain_of(["GAIN    = 2", "UT      = '2'"]) == (2, None)
    # Other keywords are another sort of header: a card that was absent may be there.
    assert gain_of(["GAIN    = 1", "UT      = '1'"], "NONE    = 3") == (1, 3)
    assert gain_of(["UT      = '1'", "GAIN    = 1"]) == (1, None)
    assert asked == [1, 2, 1, 1]


def test_more_cards_that_are_looked_at_are_noted():
    def gain_or_next(headers):
        first = cards.card_value(headers[0], "GAIN")
        return cards.card_value(headers[0], "EGAIN") if first < 0 else first

    remembered = Remembered()

    def gain_of(gain, other):
        header = header_of(f"GAIN    = {gain}", f"EGAIN   = {other}")
        return remembered("gain", gain_or_next, [header])

    answers = [
        gain_of(1, 5),
        gain_of(1, 6),
        gain_of(-1, 5),
        gain_of(-1, 6),
        gain_of(1, 5),
        gain_of(-1, 5),
    ]
    assert answers == [1, 1, 5, 6, 1, 5]


@pytest.mark.parametrize(
    "look",
    [
        lambda header: header.tostring(),
        lambda header: header.cards["UT"].value,
        lambda header: header["UT"],
        lambda header: cards.header_value(header, "UT"),
        lambda header: header[0:9]["UT"],
        lambda header: header.copy()["UT"],
    ],
)
def test_each_way_to_look_at_a_card_is_noted(look):
    remembered = Remembered()
    answers = [
        remembered("look", lambda headers: look(headers[0]), [header_of(f"UT      = {ut}")])
        for ut in (1, 2, 1)
    ]
    assert answers[0] == answers[2] != answers[1]


def test_an_error_is_not_remembered():
    remembered = Remembered()

    def refuse_headers(headers):
        raise ValueError(f"a gain of {cards.card_value(headers[0], 'GAIN')} electrons per adu")

    for _ in range(2):
        with pytest.raises(ValueError, match="a gain of 1 electrons per adu"):
            remembered("gain", refuse_headers, [header_of("GAIN    = 1")])
    assert remembered("gain", lambda headers: 7, [header_of("GAIN    = 1")]) == 7


def test_a_card_that_is_changed_is_read_as_it_is_now():
    header = header_of("GAIN    = 1", "UT      = '1'")
    assert type(header) is RawHeader
    assert header["GAIN"] == 1
    assert header.texts is not None
    header["GAIN"] = 2
    header["NEW"] = 3
    del header["UT"]
    assert [cards.card_value(header, name) for name in ("GAIN", "NEW", "UT")] == [2, 3, None]
    assert (list(header), "NEW" in header, "UT" in header) == (["GAIN", "NEW"], True, False)


def test_frames_of_all_cameras_are_the_same_remembered_or_not(real_frames):
    frames = sorted(path for path in real_frames.rglob("*") if ".fit" in path.name)
    assert frames
    cameras = load_cameras(ROOT / "config/cameras")
    everything = {}
    headers_of = {}
    for path in frames:
        with raw_files.open_raw(path) as raw:
            headers_of[path] = raw.layout(reads_whole_file=False).headers

    def facts_of(path, remembered):
        headers, file = headers_of[path], f"2020-01-01/{path.name}"
        camera = identify(headers, cameras, file=file)
        kept = remembered.setdefault(camera.name, Remembered()) if remembered is not None else None
        keep = remembered_results.compute_at_once if kept is None else kept
        described = answer_or_error(lambda: camera.describe(headers, file=file, remembered=keep))

        def arrange_amplifiers(headers):
            where = camera.geometry(headers, file=file)
            return where.canonical(), where.notes, where.raw_shapes

        return described, answer_or_error(lambda: keep("arranged", arrange_amplifiers, headers))

    plainly = [facts_of(path, None) for path in frames]
    for _ in range(2):
        assert [facts_of(path, everything) for path in frames] == plainly
    assert everything


def test_cards_that_come_again_are_read_once_and_others_are_forgotten(monkeypatch):
    """A watch reads frames for nights: what it remembers of their cards must not grow."""

    class Forgetful(dict):
        def get(self, key):
            return None

    for name in ("_recent_cards", "_older_cards"):
        monkeypatch.setattr(raw_headers, name, {})
    # A new card of a usual keyword is else told by its first ten letters.
    monkeypatch.setattr(raw_headers, "_usual_heads", Forgetful())
    monkeypatch.setattr(raw_headers, "_MOST_TEXTS", 10)
    read, head_of = [], raw_headers._head_of
    monkeypatch.setattr(raw_headers, "_head_of", lambda text: read.append(text) or head_of(text))
    usual = [f"CARD{number}   = {number}".ljust(80) for number in range(5)]
    for frame in range(40):
        own = f"FRAME   = {frame}".ljust(80)
        header = raw_headers.parse_raw_header("".join([*usual, own, "END".ljust(80)]))
        assert header["FRAME"] == frame
        assert header["CARD4"] == 4
        assert len(raw_headers._recent_cards) <= 10
        assert len(raw_headers._older_cards) <= 10
    assert len(read) == 40 + len(usual)


def test_the_end_of_a_header_is_found_on_the_limits_of_cards():
    cards = ("SIMPLE  =                    T", "COMMENT END     of it", "ENDTIME = 5", "END")
    header = b"".join(card.encode().ljust(CARD_BYTES) for card in cards).ljust(FITS_BLOCK_BYTES)
    assert end_of_header(header + b"pixels") == FITS_BLOCK_BYTES
    assert end_of_header(header[:-1]) is None
    assert end_of_header(header[: 3 * CARD_BYTES]) is None
    assert end_of_header(b"") is None


A_BYTE = st.sampled_from(b" AZ0=/'&:\0\t\r\n\x80\xff\x7f")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(A_CARD, max_size=8),
    st.lists(st.tuples(st.integers(0, 700), A_BYTE), max_size=3),
    st.sampled_from(
        [b"END".ljust(CARD_BYTES), b"END".ljust(CARD_BYTES, b"\0"), b"END\t".ljust(CARD_BYTES), b""]
    ),
)
def test_a_header_by_its_bytes_is_that_by_its_text(cards_drawn, changes, end):
    """Bytes of cards are looked up before they are text: no byte may give another answer."""
    drawn = [card[:CARD_BYTES].ljust(CARD_BYTES).encode("ascii", "replace") for card in cards_drawn]
    data = bytearray(b"".join([*drawn, end, b"GAIN    = 7".ljust(CARD_BYTES)]))
    for place, byte in changes:
        if place < len(data):
            data[place] = byte
    of_bytes = [parse_header(bytes(data)) for _ in range(2)]
    of_text = raw_headers.parse_raw_header(raw_headers.readable_cards(bytes(data)))
    assert [answers_of(each) for each in of_bytes] == [answers_of(of_text)] * 2


def test_a_usual_header_is_read_by_its_bytes_and_an_odd_one_is_not():
    usual = b"".join(
        card.ljust(CARD_BYTES) for card in (b"GAIN    = 1.5", b"OBJECT  = 'M 51'", b"END")
    )
    header = raw_headers.parse_usual_header(usual)
    assert (header["GAIN"], header["OBJECT"], len(header)) == (1.5, "M 51", 2)
    for odd in (b"CONTINUE  'x'", b"END".ljust(CARD_BYTES, b"\0")):
        assert raw_headers.parse_usual_header(odd.ljust(CARD_BYTES) + usual) is None
    assert raw_headers.parse_usual_header(usual[:-CARD_BYTES]) is None


def test_a_header_is_read_beside_the_one_before_it_as_if_it_were_the_first():
    """Only cards that differ from those of the last header are looked up, by their keywords."""
    first = ["SIMPLE  = T", "OBJECT  = 'M 1'", "UT      = '01:16:40'", "GAIN    = 2", "END"]
    others = [
        ["SIMPLE  = T", "OBJECT  = 'M 2'", "UT      = '01:17:40'", "GAIN    = 2", "END"],
        ["SIMPLE  = T", "OBJECT  = 'M 1'", "TIME    = '01:16:40'", "GAIN    = 2", "END"],
        ["SIMPLE  = T", "OBJECT  = 'M 1'", "END", "GAIN    = 2", "END"],
        ["SIMPLE  = T", "OBJECT  = 'M 1'", "UT      = '01:16:40'", "GAIN    = 2", "AIRMASS = 1"],
        ["SIMPLE  = T", "OBJECT  = 'M&'", "CONTINUE  '1'", "GAIN    = 2", "END"],
        ["SIMPLE  = T", "OBJECT  = 'M 1'", "UT      = '01:16:40'", "GAIN    = 2", "END", "X = 1"],
        ["SIMPLE  = T", "OBJECT  = 'AXIS.1: 2'", "UT      = '01:16:40'", "GAIN    = 2", "END"],
        ["SIMPLE  = T", "OBJECT  = 'M 1'", "UT='01:16:40'", "GAIN    = 2", "END"],
    ]

    def parse_cards(cards, *, alone):
        if alone:
            raw_headers._last_headers.clear()
        data = "".join(f"{card:80}" for card in cards).ljust(FITS_BLOCK_BYTES).encode()
        return parse_header(data)

    like = []
    for other in others:
        known = parse_cards(first, alone=True)
        beside, alone = parse_cards(other, alone=False), parse_cards(other, alone=True)
        assert (list(beside), beside.texts) == (list(alone), alone.texts), other
        like.append(beside.order is known.order)
    assert like == [True, False, False, False, False, True, True, True]
