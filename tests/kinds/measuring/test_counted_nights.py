"""A map of bad pixels begins with the counts of earlier nights, which do not change the map."""

import numpy as np
import pytest

from ccdflow import paths
from ccdflow.detector.pixels.history import SOURCES, NightBadPixels, combine_nights, count_nights
from ccdflow.detector.pixels.response import WeakPixels
from ccdflow.files.text_files import notes
from ccdflow.kinds.measuring import counted_nights

PRODUCT = "detector/lfc/bad_pixels_all_20x10_1x1.fits"
PIXELS, NEWEST = 200, 10


def _night(rng, number, n_nights):
    """Return random bad pixels of a night; the newest nights also have weak pixels."""
    index = np.sort(rng.choice(PIXELS, rng.integers(1, 60), replace=False)).astype(np.int64)
    bits = {s: rng.integers(0, 3, index.size).astype(np.int16) for s in SOURCES}
    looked = frozenset(s for s in SOURCES if rng.random() < 0.8)
    weak = None
    if number >= n_nights - NEWEST:
        low = np.sort(rng.choice(PIXELS, 40, replace=False))
        weak = WeakPixels(low, rng.normal(-3, 2, 40).astype(np.float32), 0.4)
    return NightBadPixels(f"n{number:04d}", looked, index, bits, weak)


def _archive(n_nights, *, seed=5):
    """Return the bad pixels of some nights, oldest first."""
    rng = np.random.default_rng(seed)
    return [_night(rng, number, n_nights) for number in range(n_nights)]


def _assert_same(history, full_history):
    """Assert that a history has the arrays of one that was made of all nights."""
    assert history.nights == full_history.nights
    for name in ("index", "bits", "first", "last", "n_bad_nights", "n_judged_nights"):
        values, full_values = getattr(history, name), getattr(full_history, name)
        assert values.dtype == full_values.dtype, name
        np.testing.assert_array_equal(values, full_values, err_msg=name)


def test_nights_that_are_counted_in_parts_give_the_history_of_all_nights():
    for seed in range(20):
        nights = _archive(25, seed=seed)
        full_history = combine_nights(nights)
        assert full_history.bits.any()
        for first, second in ((0, 0), (0, 15), (1, 14), (7, 7), (3, 12)):
            counts = count_nights(nights[first:second], count_nights(nights[:first]))
            _assert_same(combine_nights(nights[second:], earlier=counts), full_history)


class _Map:
    """The map of an archive of one image, and the measurements that each making of it reads."""

    def __init__(self, results):
        self.results, self.keys = results, {}

    def make(self, nights):
        """Return the history, and the numbers of the measurements that were read."""
        numbers_read = []

        def read_nights(first, end):
            """Return the nights from first to end of the only image; note their numbers."""
            numbers_read.extend(range(first, end))
            return [nights[first:end]]

        sources = [
            [f"{night.night}.fits", self.keys.get(night.night, "k"), "c"] for night in nights
        ]
        counts, n_counted = counted_nights.count_settled(
            self.results, PRODUCT, sources, len(nights) - NEWEST, read_nights
        )
        (nights_read,) = read_nights(n_counted, len(nights))
        return combine_nights(nights_read, earlier=counts[0] if counts else None), numbers_read


@pytest.fixture
def pixel_map(tmp_path):
    return _Map(tmp_path)


@pytest.fixture
def note(tmp_path):
    return tmp_path / paths.counted_pixels(PRODUCT)


def test_a_new_night_reads_the_newest_measurements_alone(pixel_map, note):
    nights = _archive(200)
    # The newest thirty nights are not counted, and are read each time.
    for n_nights, expected_numbers in (
        (199, range(199)), (200, range(169, 200)), (200, range(169, 200)),
    ):  # fmt: skip
        history, numbers_read = pixel_map.make(nights[:n_nights])
        _assert_same(history, combine_nights(nights[:n_nights]))
        assert numbers_read == [*expected_numbers]
    before = note.stat().st_mtime_ns
    assert pixel_map.make(nights)[1] == [*range(169, 200)]
    assert note.stat().st_mtime_ns == before


def test_the_note_is_written_once_in_thirty_nights(pixel_map, note):
    nights, n_read, contents = _archive(150), [], set()
    for n_nights in range(80, 150):
        history, numbers_read = pixel_map.make(nights[:n_nights])
        _assert_same(history, combine_nights(nights[:n_nights]))
        n_read.append(len(numbers_read))
        contents.add(note.read_bytes())
    # The first map reads all nights, each later one those after the note: 31 to 60.
    assert n_read[0] == 80
    assert (min(n_read[1:]), max(n_read[1:])) == (31, 60)
    assert len(contents) == 3


def test_a_few_nights_leave_no_note(pixel_map, note):
    nights = _archive(59)
    history, numbers_read = pixel_map.make(nights)
    _assert_same(history, combine_nights(nights))
    assert numbers_read == [*range(59)]
    assert not note.exists()


@pytest.mark.parametrize(
    ("changed", "n_read"), [("n0000", 100), ("n0069", 100), ("n0070", 30), ("n0099", 30)]
)
def test_an_old_measurement_that_was_made_again_is_counted_anew(pixel_map, changed, n_read):
    nights = _archive(100)
    pixel_map.make(nights)
    pixel_map.keys[changed] = "another"
    number = int(changed[1:])
    nights[number] = _archive(100, seed=6)[number]
    history, numbers_read = pixel_map.make(nights)
    _assert_same(history, combine_nights(nights))
    assert len(numbers_read) == n_read


def test_a_measurement_that_is_gone_or_came_between_is_counted_anew(pixel_map):
    nights = _archive(100)
    pixel_map.make(nights)
    for others in (nights[1:], [*nights[:50], *nights[51:]], nights[:40], nights):
        history, numbers_read = pixel_map.make(others)
        _assert_same(history, combine_nights(others))
        assert numbers_read == [*range(len(others))]
    assert pixel_map.make(nights)[1] == [*range(70, 100)]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "another form"])
def test_a_damaged_note_costs_time_alone(pixel_map, note, damage):
    nights = _archive(100)
    pixel_map.make(nights)
    content = note.read_bytes()
    middle = len(content) // 2
    note.write_bytes({
        "cut": content[:middle],
        "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "empty": b"",
        "another form": b"00000000\n",
    }[damage])  # fmt: skip
    history, numbers_read = pixel_map.make(nights)
    _assert_same(history, combine_nights(nights))
    assert numbers_read == [*range(100)]
    assert note.read_bytes() == content


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"form":1,', b'{"form":2,'),
        (b'"form"', b'"version"'),
        (b'"nights"', b'"dates"'),
        (b'"images"', b'"arrays"'),
        (b"0 index", b"9 index"),
        (b'{"form"', b'["form"'),
    ],
)
def test_a_note_in_another_form_is_counted_anew(pixel_map, note, old, new):
    """Another version of ccdflow wrote the note, and its checksum is right."""
    nights = _archive(100)
    pixel_map.make(nights)
    content = note.read_bytes()
    assert old in content
    notes.write_checked_bytes(note, [content[notes.START :].replace(old, new)])
    history, numbers_read = pixel_map.make(nights)
    _assert_same(history, combine_nights(nights))
    assert numbers_read == [*range(100)]
    assert note.read_bytes() == content


def test_a_note_that_cannot_be_written_costs_time_alone(pixel_map, tmp_path):
    (tmp_path / paths.STATE).write_text("no folder")
    nights = _archive(100)
    history, _ = pixel_map.make(nights)
    _assert_same(history, combine_nights(nights))
