"""Headers read by several processes, young files read once more, cards looked up as they are."""

import dataclasses
import gzip
import json
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from astropy.io import fits
from forgetful_rows import read_rows, rows_read_without_memory
from header_fuzz import body, card, frame, header, pixels, three_hdus, top, usual
from workflow.sandbox import MEDIUM, SMALL_FRAME, Sandbox

from ccdflow.camera import facts
from ccdflow.errors import FrameError
from ccdflow.files import cards, fits_structure, raw_files
from ccdflow.run.processes import helper_processes
from ccdflow.run.raw_frames import header_reading, header_store, inventory, row_reader
from ccdflow.run.raw_frames.header_store import HeaderStore, load_store
from ccdflow.run.raw_frames.raw_folders import list_raw
from ccdflow.run.raw_frames.reading_settings import ReadingHashes
from ccdflow.run.raw_frames.rows import digest
from ccdflow.settings import load_settings
from ccdflow.simulate import simulate_biases


@pytest.fixture
def sandbox(tmp_path):
    """Some frames of two cameras, and files that are none."""
    made = Sandbox(tmp_path / "box")
    for number in range(40):
        camera = ("alpha", "beta")[number % 2]
        made.put(f"n{number // 10}/{number:02}.fits.gz", number, camera=camera, size=SMALL_FRAME)
    made.write("n1/text.fits", b"no frame")
    made.write("n2/cut.fits.gz", gzip.compress(bytes(5000))[:-9])
    return made


def rows(sandbox, **more):
    store = HeaderStore()
    inventory.update(store, sandbox.reading_settings(**more.pop("changes", {})), now=0, **more)
    return store


def test_several_processes_read_the_same_rows(sandbox, monkeypatch):
    alone = rows(sandbox)
    monkeypatch.setattr(header_reading, "FRAMES_A_PROCESS", 10)
    monkeypatch.setattr(header_reading, "_FILES_PER_CHUNK", 3)
    counts = []
    with monkeypatch.context() as patch:
        # This process reads none of them.
        patch.setattr(row_reader.RawRowReader, "read_rows", None)
        together = rows(sandbox, cores=2, progress=lambda *count: counts.append(count))
    assert list(together.rows) == list(alone.rows)
    assert {f: r.as_dict() for f, r in together.rows.items()} == {
        f: r.as_dict() for f, r in alone.rows.items()
    }
    assert together.shared == alone.shared
    assert counts == [(number, 42) for number in range(1, 43)]


def test_a_process_that_dies_costs_no_row(sandbox, monkeypatch):
    alone = rows(sandbox)
    monkeypatch.setattr(header_reading, "FRAMES_A_PROCESS", 10)
    monkeypatch.setattr(header_reading, "_FILES_PER_CHUNK", 3)
    ask, asked = helper_processes.ask, []

    def kill(process, chunk):
        asked.append(chunk)
        if len(asked) in (2, 5):
            process.kill()
            process.wait()
        return ask(process, chunk)

    monkeypatch.setattr(header_reading, "ask", kill)
    together = rows(sandbox, cores=2)
    assert len(asked) == 14
    assert len(together.rows) == len(alone.rows) > 13
    assert {f: r.as_dict() for f, r in together.rows.items()} == {
        f: r.as_dict() for f, r in alone.rows.items()
    }


@pytest.mark.parametrize("most_cards", [100, 100_000])
def test_files_that_are_read_together_have_the_rows_of_files_read_alone(
    sandbox, monkeypatch, most_cards
):
    """The headers of many files are read before their cards: an error costs no other file."""
    sandbox.write("n1/empty.fits", b"")
    alone = rows(sandbox)
    monkeypatch.setattr(row_reader, "_MOST_CARDS", most_cards)
    settings = sandbox.reading_settings()
    reader = row_reader.RawRowReader(settings, ReadingHashes(settings), 0)
    stamps = list_raw(sandbox.raw)
    together = HeaderStore()
    for values, geometry, recipe, _ in reader([(file, at, None) for file, at in stamps.items()]):
        together.add_read_row(values, geometry, recipe)
    assert len(together.rows) == 43
    assert together.rows == alone.rows
    assert together.shared == alone.shared


def test_an_error_of_the_cards_comes_before_one_of_the_pixels(sandbox, monkeypatch):
    """The pixels of a known file are read before its cards are looked at."""
    file = "n0/00.fits.gz"
    store = rows(sandbox)
    before = dataclasses.replace(store.rows[file], stamp=(1, 2, 3))
    settings = sandbox.reading_settings()
    reader = row_reader.RawRowReader(settings, ReadingHashes(settings), 0)

    def fail(*arguments, **named):
        raise FrameError("no such geometry" if arguments else "damaged pixels")

    monkeypatch.setattr(raw_files.RawFile, "read_all", lambda *arguments, **named: fail())
    known = [(file, before.stamp, before)]
    (read,) = reader.read_rows(known)
    assert (read.row.status, read.row.reason) == ("set aside", "damaged pixels")
    assert read.geometry is not None
    monkeypatch.setattr(row_reader, "_geometry_and_recipe", fail)
    reader = row_reader.RawRowReader(settings, ReadingHashes(settings), 0)
    (read,) = reader.read_rows(known)
    assert (read.row.status, read.row.reason) == ("set aside", "no such geometry")
    assert read.geometry is None


def test_a_file_that_cannot_be_closed_costs_no_other_its_row(sandbox, monkeypatch):
    """Files are open at once: an error on closing one is of that file."""
    alone = rows(sandbox)
    close, odd = raw_files.RawFile.close, "n0/00.fits.gz"

    def failing(raw):
        close(raw)
        if raw._name == odd:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(raw_files.RawFile, "close", failing)
    settings = sandbox.reading_settings()
    reader = row_reader.RawRowReader(settings, ReadingHashes(settings), 0)
    read = reader.read_rows([(file, at, None) for file, at in list_raw(sandbox.raw).items()])
    statuses = {each.row.file: each.row.status for each in read}
    assert statuses.pop(odd) == "set aside"
    assert len(statuses) == len(alone.rows) - 1 > 0
    assert statuses == {file: row.status for file, row in alone.rows.items() if file != odd}


def test_a_header_is_read_the_same_with_reading_ahead_and_without(tmp_path):
    """Of images behind an empty HDU, of long headers, of damaged and of plain files."""
    long_header = header([*top(), *(card(f"KEY{number}", str(number)) for number in range(900))])
    files = {
        "one.fits.gz": gzip.compress(frame(pixels(0), usual()), mtime=0),
        "plain.fits": frame(pixels(0), usual()),
        "three.fits.gz": gzip.compress(three_hdus()[0], mtime=0),
        "long.fits.gz": gzip.compress(long_header + body(pixels(0)), mtime=0),
        "damaged.fits.gz": gzip.compress(frame(pixels(0), usual()), mtime=0)[:200] + bytes(300),
        "short.gz": gzip.compress(b"")[:10],
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        results = []
        for is_ahead in (False, True):
            try:
                with raw_files.open_raw(path) as raw:
                    if is_ahead:
                        raw.read_ahead()
                    layout = raw.layout()
                    texts = [header.texts for header in raw.headers]
                    results.append((layout, texts, raw.layout()))
            except FrameError as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1]


def test_frames_that_differ_in_their_number_alone_are_arranged_once(tmp_path, monkeypatch):
    """The number is in the card FRAME, where other programs write the type of a frame."""
    simulate_biases(tmp_path / "raw", 4, scale=0.02)
    values = load_settings({"raw": str(tmp_path / "raw"), "results": str(tmp_path / "results")})
    calls = Counter()

    def count_calls(module, name):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: calls.update([name]) or function(*args))

    # Two threads that meet the first frames at once both arrange them.
    monkeypatch.setattr(header_reading, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
    count_calls(row_reader, "_geometry_and_recipe")
    count_calls(facts, "_type_of")
    of_files, shared = read_rows(values)
    assert calls == {"_geometry_and_recipe": 1, "_type_of": 1}
    assert (of_files, shared) == rows_read_without_memory(values)
    assert calls == {"_geometry_and_recipe": 5, "_type_of": 5}
    assert [row["status"] for row in of_files.values()] == ["ok"] * 4


def test_a_young_file_with_the_same_bytes_is_not_inflated_again(sandbox, monkeypatch):
    """One in which a byte changed behind unchanged times is."""
    big = "n0/big.fits.gz"
    sandbox.put(big, 50, size=MEDIUM)
    young = {"settle": 1000.0}
    store, now = HeaderStore(), (sandbox.raw / "n0/00.fits.gz").stat().st_mtime
    inventory.update(store, sandbox.reading_settings(**young), now=now)
    inflated, read_all = [], raw_files.RawFile.read_all

    def count_inflations(raw, *arguments, **named):
        inflated.append(raw._name)
        return read_all(raw, *arguments, **named)

    monkeypatch.setattr(raw_files.RawFile, "read_all", count_inflations)
    inventory.update(store, sandbox.reading_settings(**young), now=now)
    assert inflated == []
    assert store.rows["n0/00.fits.gz"].stamp == ()
    # The times are not looked at: the last reading was of a young file.
    path = sandbox.raw / big
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    inventory.update(store, sandbox.reading_settings(**young), now=now + 5000)
    assert inflated == [big]
    assert store.rows[big].status == "set aside"
    row = store.rows["n0/00.fits.gz"]
    assert (row.status, row.packed, len(row.stamp)) == ("ok", "", 3)
    inventory.update(store, sandbox.reading_settings(**young), now=now + 5000)
    assert inflated == [big] * 2


def test_the_checksum_of_a_young_file_is_kept_on_the_disk(sandbox):
    now = (sandbox.raw / "n0/00.fits.gz").stat().st_mtime
    store = HeaderStore()
    inventory.update(store, sandbox.reading_settings(settle=1000.0), now=now)
    packed = store.rows["n0/00.fits.gz"].packed
    assert (
        packed == f"{raw_files.isal_zlib.crc32((sandbox.raw / 'n0/00.fits.gz').read_bytes()):08x}"
    )
    sandbox.results.mkdir(exist_ok=True)
    header_store.save_store(sandbox.results, store)
    again = load_store(sandbox.results).rows["n0/00.fits.gz"]
    assert again == store.rows["n0/00.fits.gz"]
    assert dataclasses.replace(again, packed="") != again


CARDS = [
    "GAIN    =                  1.5 / electrons", "GAIN    =                  2.5", "FILTER  = 'V'",
    "FILTER  = '       '", "HIERARCH ESO DET GAIN = 3 / one of many", "BROKEN  = 1800 l/mm / text",
    "EMPTY   =", "HISTORY of the frame", "COMMENT none", "DP1     = 'EXTVER: 1' / a record",
    "NOVALUE text without a sign", "FLAG    =                    T", "gain2   = 4",
]  # fmt: skip


def test_cards_are_those_that_astropy_finds():
    text = "".join(f"{card:80}" for card in CARDS) + f"{'END':80}"
    header = fits_structure.parse_header(text.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = fits.Header.fromstring(text)
    for keyword in (
        "GAIN", "FILTER", "ESO DET GAIN", "BROKEN", "EMPTY", "HISTORY", "COMMENT", "ABSENT", "END",
        "NOVALUE", "FLAG", "gain", "GAIN2", "Filter", "ESO DET NONE", "",
    ):  # fmt: skip
        answer = cards.contents_of_cards(header, keyword), cards.has_card(header, keyword)
        count = whole.count(keyword) if keyword in whole else 0
        expected = [whole.cards[(keyword, number)] for number in range(count)]
        contents = [cards.parse_by_astropy(keyword, card) for card in expected]
        assert answer == ([each for each in contents if each is not None], count > 0), keyword


def test_a_card_that_was_changed_is_read_as_it_is_now():
    header = fits.Header.fromstring(f"{'GAIN    = 1.5 / old':80}{'END':80}")
    assert [c.value for c in cards.contents_of_cards(header, "GAIN")] == [1.5]
    header["GAIN"] = (2.5, "new")
    (content,) = cards.contents_of_cards(header, "GAIN")
    assert (content.value, content.comment) == (2.5, "new")


def test_a_geometry_is_kept_once_under_the_hash_of_its_canonical_text():
    store = HeaderStore()
    values = [{"a": [1, 2], "b": "x"}, {"b": "x", "a": [1, 2]}, {"a": [1, 3], "b": "x"}]
    names = [store.share_value(json.loads(json.dumps(value))) for value in [*values, *values]]
    assert names == [digest(value) for value in [*values, *values]]
    assert store.shared == {names[0]: values[0], names[2]: values[2]}
