"""Odd values and flipped bits in headers: each file is reduced or set aside, none costs another."""

import os

import numpy as np
import pytest
from astropy.io import fits
from header_fuzz import (
    ALLOWED_STATUSES,
    KINDS,
    ODD_KEYWORDS,
    ODD_VALUES,
    Cost,
    card,
    frame,
    outcome_of,
    pixels,
    random_frame,
    reduce_by_numpy,
    three_hdus,
    top,
    usual,
    whole_run,
)

from ccdflow.run import job_records

# The fast tests take one bit of the headers, and one pair of keyword and value, of this many.
BIT_STEP = int(os.environ.get("CCDFLOW_BITS", "397"))
CARD_STEP = int(os.environ.get("CCDFLOW_CARDS", "31"))
SOUND_FRAMES = 3


def _frame_with_card(keyword, value):
    """Return the bytes of a sound frame with this card, which replaces its own or is appended."""
    new, structure, cards = card(keyword, value), top(), usual()
    changed = [
        [new if one[:8].rstrip() == keyword else one for one in part] for part in (structure, cards)
    ]
    if changed == [structure, cards]:
        changed[1] = [*cards, new]
    return frame(pixels(0), changed[1], structure=changed[0])


def _check(tmp_path, files):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name, content in files:
        (raw / name).write_bytes(content)
    for number in range(SOUND_FRAMES):
        (raw / f"sound{number}.fits").write_bytes(frame(pixels(9000 + number), usual()))
    outcome = outcome_of(raw, tmp_path / "results")
    assert outcome.raised == {}
    assert set(outcome.status.values()) <= ALLOWED_STATUSES
    for file, status in outcome.status.items():
        if status == "ok":
            assert (tmp_path / "results" / "reduced" / file).exists(), file
    for number in range(SOUND_FRAMES):
        product = fits.getdata(tmp_path / "results" / "reduced" / f"sound{number}.fits")
        assert np.array_equal(product, reduce_by_numpy(pixels(9000 + number)))
    return outcome


def _cards(step):
    pairs = [(keyword, value) for keyword in ODD_KEYWORDS for value in ODD_VALUES][::step]
    return [
        (f"{n}.fits", _frame_with_card(keyword, value)) for n, (keyword, value) in enumerate(pairs)
    ]


def _bits(step, part=0):
    data, places = three_hdus()
    bits = [(at + i, bit) for at, length in places for i in range(length) for bit in range(8)]
    for number, (place, bit) in enumerate(bits[part::step]):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        yield f"{number}.fits", bytes(flipped)


def test_odd_values_of_cards(tmp_path):
    assert (len(ODD_KEYWORDS), len(ODD_VALUES)) == (120, 18)
    _check(tmp_path, _cards(CARD_STEP))


def test_flipped_bits_in_the_headers_of_three_hdus(tmp_path):
    _check(tmp_path, _bits(BIT_STEP))


@pytest.mark.torture
def test_no_odd_value_of_a_card_stops_a_run(tmp_path):
    outcome = _check(tmp_path, _cards(1))
    assert len(outcome.status) == 120 * 18 + SOUND_FRAMES


@pytest.mark.torture
@pytest.mark.parametrize("part", range(12))
def test_no_flipped_bit_of_a_header_stops_a_run(part, tmp_path):
    _check(tmp_path, _bits(12, part))


# -- random headers through whole runs -------------------------------------------------------------

HEADERS = int(os.environ.get("CCDFLOW_HEADERS", "60"))
_FRAMES_OF_A_RUN = 100


def _random_runs(tmp_path, count, first=0):
    """Run everything on random headers, a hundred at a time beside sound frames of each type."""
    cost, statuses = Cost(), []
    for start in range(first, first + count, _FRAMES_OF_A_RUN):
        raw, results = tmp_path / f"raw{start}", tmp_path / f"results{start}"
        raw.mkdir()
        for seed in range(start, min(start + _FRAMES_OF_A_RUN, first + count)):
            (raw / f"{seed:05d}.fits").write_bytes(random_frame(seed))
        sound = {}
        for number, kind in enumerate(KINDS * 3):
            image = pixels(90_000 + number, light=0 if kind == "bias" else 300)
            exptime = "0.0" if kind == "bias" else "5.0"
            cards = usual(kind=kind, exptime=exptime, when=f"2024-03-10T04:{number:02d}:00")
            (raw / f"sound{number:02d}.fits").write_bytes(frame(image, cards))
            sound[f"sound{number:02d}.fits"] = image
        records, _, context = whole_run(raw, results, cost)
        assert records
        assert not [record for record in records.values() if record.status == job_records.FAILED]
        for name, image in sound.items():
            assert np.array_equal(
                fits.getdata(results / "reduced" / name), reduce_by_numpy(image)
            ), name
        rows = context.store.rows
        assert {row.status_and_reason[0] for row in rows.values()} <= ALLOWED_STATUSES
        assert len(rows) == len(list(raw.iterdir()))
        statuses += [row.status_and_reason[0] for file, row in rows.items() if file not in sound]
        assert (results / "report.html").is_file()
    return cost, statuses


def test_random_headers_through_whole_runs(tmp_path):
    _, statuses = _random_runs(tmp_path, HEADERS)
    # Most are reduced in spite of it: they are no mere rubbish.
    assert HEADERS / 4 < statuses.count("ok") < HEADERS


@pytest.mark.torture
def test_two_thousand_random_headers_through_whole_runs(tmp_path, capfd):
    cost, statuses = _random_runs(tmp_path, 2000, first=10_000)
    slowest = {
        what: max(((seconds, name) for name, seconds in taken.items() if "sound" not in name))
        for what, taken in (("header", cost.headers), ("job", cost.jobs))
    }
    assert len(statuses) == 2000
    with capfd.disabled():
        print(
            f"\ntorture: {len(statuses)} random headers, {statuses.count('ok')} reduced; CPU of the"
            " slowest " + ", ".join(f"{what} {s:.3f} s ({n})" for what, (s, n) in slowest.items())
        )
