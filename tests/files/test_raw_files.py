"""Raw files: what is read, what is refused and before what; products: whole or not at all."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import zlib

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_layouts import read_layout

from ccdflow.errors import FrameError
from ccdflow.files import (
    atomic_write,
    checksum,
    decoding,
    file_errors,
    gzip_inflation,
    raw_files,
    row_files,
)

NY, NX = 37, 53
BLOCK = 2880


def image(seed=1, *, ny=NY, nx=NX, **cards):
    """A FITS file with an image of noise, as bytes."""
    pixels = np.random.default_rng(seed).integers(900, 1100, (ny, nx)).astype(np.uint16)
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword] = value
    return b"".join(_hdu(fits.PrimaryHDU(pixels, header)))


def read_fits(path, layout, *, memory, name="a"):
    """Return the FITS file in a raw file, as a job reads it."""
    with file_errors.raw_file_errors(name), raw_files.open_raw(path, name) as file:
        return file.read_all(layout, memory=memory)


def _hdu(hdu):
    file = io.BytesIO()
    hdu.writeto(file)
    return [file.getvalue()]


def extensions(*shapes):
    hdus = [fits.PrimaryHDU()]
    for number, shape in enumerate(shapes):
        pixels = np.random.default_rng(number).integers(0, 9, shape).astype(np.int16)
        hdus.append(fits.ImageHDU(pixels))
    file = io.BytesIO()
    fits.HDUList(hdus).writeto(file)
    return file.getvalue()


def pack_gzip(content, level=6):
    return gzip.compress(content, level, mtime=0)


def test_gzip_is_read_where_isal_lacks_its_private_reader(monkeypatch):
    content = random.Random(1).randbytes(300_000)
    monkeypatch.delattr(gzip_inflation.isal_zlib, "_GzipReader")
    reader, buffer = gzip_inflation.GzipFile(io.BytesIO(pack_gzip(content))), bytearray(400_000)
    assert gzip_inflation.fill_buffer(reader, memoryview(buffer)) == 300_000
    assert buffer[:300_000] == content


def put(folder, content, name="a.fits.gz"):
    path = folder / name
    path.write_bytes(content)
    return path


def stream(path, layout):
    """Read all rows as the usual frame's are, and return their bytes."""
    with file_errors.raw_file_errors("a"):
        raw = raw_files.open_raw(path)
    with raw as file:
        rows = row_files.RowStream(file, layout, layout.hdus[0], "a")
        return b"".join(block.tobytes() for _, block in rows.blocks(10))


# -- what is read ----------------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_the_unpacked_content(tmp_path):
    content = image()
    expected = f"{zlib.crc32(content):08x}-{len(content):x}"
    members = pack_gzip(content[:5000]) + pack_gzip(content[5000:])
    for name, written in {
        "a.fits": content,
        "a.fits.gz": pack_gzip(content),
        "fast.fits.gz": pack_gzip(content, 1),
        "members.fits.gz": members,
        "zeros.fits.gz": pack_gzip(content) + bytes(512),
    }.items():
        layout = read_layout(put(tmp_path, written, name))
        assert layout.fingerprint == expected, name
        assert layout.length == 2880 + NY * NX * 2


def test_members_may_end_anywhere(tmp_path):
    """Also where what is read of the file at a time ends."""
    chance = random.Random(1)
    for size in range(8160, 8200):
        members = gzip.compress(chance.randbytes(size), 0, mtime=0) + pack_gzip(b"tail")
        with put(tmp_path, members).open("rb") as file:
            opened = gzip_inflation.RawStream(file, "a", is_packed=True)
            assert opened.read_at(size, 10, 8192) == b"tail"


def test_only_the_first_blocks_are_read(tmp_path):
    """A header is had without the rest of the file, which is blanked here but for the trailer."""
    content = image(ny=400, nx=500)
    written = bytearray(pack_gzip(content))
    assert len(written) > 100_000
    written[20_000:-8] = bytes(len(written) - 20_008)
    layout = read_layout(put(tmp_path, bytes(written)))
    assert layout.fingerprint == f"{zlib.crc32(content):08x}-{len(content):x}"


def test_no_pixel_is_inflated_with_a_header(tmp_path, monkeypatch):
    """Pixels take longer than the header does, in each of a million files."""
    counts, inflater = [], zlib.decompressobj

    class Counting:
        def __init__(self, window):
            self._inflate = inflater(window)

        def decompress(self, packed, most):
            inflated = self._inflate.decompress(packed, most)
            self.unconsumed_tail = self._inflate.unconsumed_tail
            counts.append(len(inflated))
            return inflated

    path = put(tmp_path, pack_gzip(image(ny=400, nx=500)))
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    layout = read_layout(path)
    assert sum(counts) == layout.hdus[0].offset


def test_pixels_come_back(tmp_path):
    content = image()
    for name, written in {"a.fits": content, "a.fits.gz": pack_gzip(content)}.items():
        path = put(tmp_path, written, name)
        layout = read_layout(path)
        data = read_fits(path, layout, memory=10**6)
        assert bytes(data) == content
        stored, offset = decoding.stored_pixels(data, layout.hdus[0])
        np.testing.assert_array_equal(stored + np.int64(offset), fits.getdata(path))
        assert (stored.shape, offset) == ((NY, NX), 32768)


def test_each_image_of_a_packed_file_is_read(tmp_path):
    content = extensions((5, 7), (6, 3))
    path = put(tmp_path, pack_gzip(content))
    layout = read_layout(path)
    assert [hdu.size for hdu in layout.hdus] == [0, 70, 36]
    data = read_fits(path, layout, memory=10**6)
    for number in (1, 2):
        stored, offset = decoding.stored_pixels(data, layout.hdus[number])
        np.testing.assert_array_equal(stored, fits.getdata(path, number))
        assert offset == 0


# -- what is damaged -------------------------------------------------------------------------------


def outcome(path):
    """The outcome of a file: the reason why it is refused, or its pixels, by either way."""
    try:
        layout = read_layout(path, name="a", memory=10**7)
        data = read_fits(path, layout, memory=10**7, name="a")
        size = layout.hdus[0].size
        pixels = bytes(data[layout.hdus[0].offset :][:size])
        assert stream(path, layout) == pixels
    except FrameError as error:
        return error.reason
    return layout.fingerprint, pixels


def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path):
    """Every bit of a packed frame, one after the other."""
    content = image(ny=5, nx=8)
    written = pack_gzip(content)
    right = outcome(put(tmp_path, written))
    refused = harmless = 0
    for bit in range(len(written) * 8):
        bad = bytearray(written)
        bad[bit // 8] ^= 1 << bit % 8
        result = outcome(put(tmp_path, bytes(bad)))
        if isinstance(result, str):
            refused += 1
        else:
            # Only gzip's own time, level and system, and bits that fill the last byte.
            assert result == right
            assert bit // 8 in (*range(10), len(written) - 9)
            harmless += 1
    assert refused + harmless == len(written) * 8
    assert 40 < harmless <= 64


def test_a_flipped_bit_has_one_reason_by_either_way_of_reading(tmp_path):
    """The reason in the inventory does not depend on the way in which the damage was met."""
    written = pack_gzip(image(ny=60, nx=200))
    chance = random.Random(3)
    reasons = set()
    for _ in range(60):
        bad = bytearray(written)
        bad[chance.randrange(9000, len(bad) - 8)] ^= 1 << chance.randrange(8)
        path = put(tmp_path, bytes(bad))
        layout = read_layout(path, name="a")
        with pytest.raises(FrameError) as at_once:
            read_fits(path, layout, memory=10**7, name="a")
        with pytest.raises(FrameError) as rows:
            stream(path, layout)
        assert at_once.value.reason == rows.value.reason
        reasons.add(at_once.value.reason.split("(")[0])
    assert "gzip stream is damaged " in reasons


def test_an_error_carries_the_path_where_no_name_is_given(tmp_path):
    path = put(tmp_path, b"")
    with pytest.raises(FrameError, match="the file is empty") as of_path:
        raw_files.open_raw(path)
    with pytest.raises(FrameError, match="the file is empty") as of_name:
        raw_files.open_raw(path, "night/a.fits")
    assert str(of_path.value).startswith(f"{path}: ")
    assert str(of_name.value).startswith("night/a.fits: ")


@pytest.mark.parametrize("plain", [True, False])
def test_a_cut_file_is_found(tmp_path, plain):
    """At each block of 2880 bytes, and beside it; a plain one may do without its last padding."""
    content = image(ny=60, nx=200)
    written = content if plain else pack_gzip(content)
    name = "a.fits" if plain else "a.fits.gz"
    length = read_layout(put(tmp_path, content, "whole.fits")).length
    cuts = {place + beside for place in range(0, len(written), 2880) for beside in (-1, 0, 1)}
    end = length if plain else len(written)
    places = sorted(cut for cut in cuts if 0 <= cut < end)
    assert len(places) >= 3 * (end // BLOCK)
    for cut in places:
        problem = "the file is truncated" if cut else "the file is empty"
        with pytest.raises(file_errors.IncompleteRawFile, match=problem):
            read_layout(put(tmp_path, written[:cut], name))
    if plain:
        path = put(tmp_path, written[:length], name)
        layout = read_layout(path)
        assert bytes(read_fits(path, layout, memory=10**7)) == content[:length]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x1f\x8b", "gzip stream ends early: the file is truncated"),
        (
            b"hello world" * 300,
            "SIMPLE: not a FITS file: it does not begin with SIMPLE (found 'hello wo')",
        ),
        (
            gzip.compress(b"x" * 4000),
            "SIMPLE: not a FITS file: it does not begin with SIMPLE (found 'xxxx",
        ),
        (image() + b"more", "the file holds more than the 8640 bytes that its headers promise"),
        (pack_gzip(image()) + b"more", "gzip stream is damaged (something else follows it)"),
        (pack_gzip(image() + b"more"), "the file holds more than the 8640 bytes that its headers"),
    ],
    ids=range(7),
)
def test_damaged_files_are_refused_with_the_reason(tmp_path, content, reason):
    with pytest.raises(FrameError) as error:
        read_layout(put(tmp_path, content), name="a")
    assert error.value.reason.startswith(reason)
    assert str(error.value).startswith("a: ")
    assert len(str(error.value).splitlines()) == 1


def test_an_unreadable_file_and_a_bad_one_have_different_reasons(tmp_path):
    with pytest.raises(
        file_errors.UnreadableRawFile, match=r"cannot be read \(No such file or directory\)"
    ):
        read_layout(tmp_path / "none.fits", name="a")
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(file_errors.UnreadableRawFile, match=r"cannot be read \(Is a directory\)"):
        read_layout(tmp_path / "folder.fits", name="a")
    with pytest.raises(FrameError, match="the file is empty") as bad:
        read_layout(put(tmp_path, b""), name="a")
    assert not isinstance(bad.value, file_errors.UnreadableRawFile)


# -- lying headers and bombs -----------------------------------------------------------------------


def header_text(*cards):
    return b"".join(card.ljust(80).encode() for card in [*cards, "END"]).ljust(2880)


def test_a_header_that_asks_for_too_much(tmp_path):
    for axis, asks in ((10**5, "20000 MB"), (10**8, "20000000000 MB")):
        text = header_text(
            "SIMPLE  =                    T", "BITPIX  =                   16",
            "NAXIS   =                    2", f"NAXIS1  = {axis:20d}", f"NAXIS2  = {axis:20d}",
        )  # fmt: skip
        with pytest.raises(FrameError, match=f"asks for {asks} of pixels, more than the limit"):
            read_layout(put(tmp_path, pack_gzip(text)), memory=10**9)


def test_a_header_of_absurd_numbers(tmp_path):
    axes = [f"NAXIS{n:<3d}= {10**9:20d}" for n in range(1, 900)]
    allowed = "allowed: an integer of at least 0"
    for problem, cards in (
        (r"the header asks for more than 1e\+18 bytes", ["NAXIS   =                  899", *axes]),
        (r"NAXIS: .* \(found 999999999\); " + allowed, ["NAXIS   =            999999999"]),
        (r"NAXIS: .* \(found -1\); " + allowed, ["NAXIS   =                   -1"]),
        (r"NAXIS: .* \(found 1\.5\); " + allowed, ["NAXIS   =                  1.5"]),
        (r"NAXIS: .* \(found 'two'\); " + allowed, ["NAXIS   = 'two     '"]),
        (r"NAXIS: .* \(found 1\.2\.3\); " + allowed, ["NAXIS   = 1.2.3"]),
        (
            "NAXIS2: missing from the header; " + allowed,
            ["NAXIS   =                    2", "NAXIS1  =                   10"],
        ),
    ):
        text = header_text(
            "SIMPLE  =                    T", "BITPIX  =                   16", *cards
        )  # fmt: skip
        text = text.ljust(-(-len(text) // 2880) * 2880)
        with pytest.raises(FrameError, match=problem):
            read_layout(put(tmp_path, pack_gzip(text)), memory=10**9)


_PEAK = """
import json, os, resource, sys
from ccdflow.files import file_errors, raw_files
from ccdflow.errors import FrameError

memory = int(sys.argv[1])
for path in sys.argv[2:]:
    # Each is read by a child, whose memory is that of this process.
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason = ""
    try:
        with file_errors.raw_file_errors("a"), raw_files.open_raw(path, "a") as file:
            file.read_all(file.layout(memory=memory), memory=memory)
    except FrameError as error:
        reason = error.reason
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([reason, (peak - before) / 1024]), flush=True)
    os._exit(0)
"""


def peaks_of(paths, memory):
    """Return why each file was refused, and by how many MB memory grew."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(memory), *map(str, paths)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def bomb(first, size):
    """A gzip file that begins with some bytes, and inflates to so many MB."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(first)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(size)]
    return b"".join([*parts, packer.flush()])


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    small = image()
    large = header_text(
        "SIMPLE  =                    T", "BITPIX  =                   16",
        "NAXIS   =                    2", "NAXIS1  =                60000",
        "NAXIS2  =                60000",
    )  # fmt: skip
    endless = b"".join(
        card.ljust(80).encode() for card in ["SIMPLE  =                    T"] + ["COMMENT x"] * 35
    )
    more = bomb(small, 120)
    files = {
        "more than promised": put(folder, more, "more.fits.gz"),
        "as promised, and too much": put(folder, bomb(large, 120), "much.fits.gz"),
        "no end of the header": put(folder, bomb(endless, 120), "endless.fits.gz"),
        "not FITS": put(folder, bomb(b"", 120), "zeros.fits.gz"),
        "trailer lies": put(folder, _with_length(more, len(small)), "lies.fits.gz"),
        "plain": _write_sparse_file(folder / "plain.fits", small),
    }
    return dict(zip(files, peaks_of(files.values(), 10**9), strict=True))


def _with_length(content, length):
    return content[:-4] + length.to_bytes(4, "little")


def _write_sparse_file(path, first):
    with path.open("wb") as file:
        file.write(first)
        file.truncate(120 << 20)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("more than promised", "the file holds more than the 8640 bytes that its headers promise"),
        ("as promised, and too much", "NAXIS: the header asks for 7200 MB of pixels"),
        ("no end of the header", "the header has no END card within"),
        ("not FITS", "SIMPLE: not a FITS file"),
        ("trailer lies", "the file holds more than the 8640 bytes that its headers promise"),
        ("plain", "the file holds more than the 8640 bytes that its headers promise"),
    ],
)
def test_bombs_are_refused_before_the_memory_is_taken(bombs, kind, reason):
    message, megabytes = bombs[kind]
    assert message.startswith(reason)
    assert megabytes < 25


# -- headers of any kind ---------------------------------------------------------------------------

_KEYWORDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "BZERO",
    "BSCALE", "ZIMAGE", "EXTEND", "CHECKSUM", "CONTINUE", "HIERARCH",
)  # fmt: skip
_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)
_value = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(),
    _text,
    st.sampled_from(["T", "F", "", "1.2.3", "'a", "'a''", "-32", "16", "(1, 2)"]),
)
_cards = st.lists(
    st.one_of(_text, st.builds("{:8.8s}= {}".format, st.sampled_from(_KEYWORDS), _value)),
    max_size=30,
)


# With these in front, an image of 2 by 3 pixels is read if the cards behind contradict none.
_IMAGE_CARDS = ["BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 3", "NAXIS2  = 2"]


def refusal_of_cards(cards, data, path):
    """Return the message of the refusal of a file with such cards, '' if it is read."""
    text = b"".join(
        card[:80].ljust(80).encode() for card in ["SIMPLE  =                    T", *cards, "END"]
    )
    path.write_bytes(text.ljust(-(-len(text) // 2880) * 2880) + data)
    try:
        layout = read_layout(path, name="a", memory=10**6)
        assert layout.headers
        read_fits(path, layout, memory=10**6)
    except FrameError as error:
        return str(error)
    return ""


@given(cards=_cards, data=st.binary(max_size=100))
@settings(max_examples=150, deadline=None)
def test_any_header_is_refused_in_one_line(cards, data, tmp_path_factory):
    """Of cards drawn one by one none has all that an image needs."""
    message = refusal_of_cards(cards, data, tmp_path_factory.getbasetemp() / "any.fits")
    assert len(message.splitlines()) == 1


@given(cards=_cards, data=st.binary(max_size=100))
@settings(max_examples=150, deadline=None)
def test_any_card_behind_those_of_an_image_is_read_or_refused(cards, data, tmp_path_factory):
    """Texts that name no keyword leave an image as it is; its 12 bytes have to be there."""
    path = tmp_path_factory.getbasetemp() / "image.fits"
    message = refusal_of_cards([*_IMAGE_CARDS, *cards], data, path)
    assert len(message.splitlines()) <= 1
    if not any(card.startswith((*_KEYWORDS, "END")) for card in cards):
        assert (message == "") == (len(data) >= 12)


# -- writing ---------------------------------------------------------------------------------------


def product(path, pixels, **cards):
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword] = value
    hdus = fits.HDUList([fits.PrimaryHDU(pixels, header), fits.ImageHDU(pixels[:3])])
    hdus.writeto(path, checksum=True)


def test_datasum_and_key_are_those_that_astropy_reads(tmp_path):
    path = tmp_path / "a.fits"
    product(path, np.random.default_rng(1).normal(size=(NY, NX)), CCDFKEY="abc")
    datasum, key = checksum.datasum_and_key(path)
    assert (datasum, key) == (fits.getheader(path)["DATASUM"], "abc")


def test_no_damage_escapes_the_checksums(tmp_path):
    path = tmp_path / "a.fits"
    product(path, np.random.default_rng(1).normal(size=(NY, NX)), CCDFKEY="abc")
    content = path.read_bytes()
    right = checksum.datasum_and_key(path)
    chance = random.Random(5)
    for _ in range(300):
        bad = bytearray(content)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        assert checksum.datasum_and_key(path) != right
    for cut in range(0, len(content), 2880):
        path.write_bytes(content[:cut])
        # Cut between two HDUs, what is left is whole: it is the size that tells.
        if cut != len(content) - 2 * 2880:
            assert checksum.datasum_and_key(path) == ("", ""), cut
    assert checksum.datasum_and_key(tmp_path / "none") == ("", "")


def test_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "a.fits"
    atomic_write.write_whole(path, [b"old"])

    def raise_full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write, "write_all", raise_full_disk)
    with pytest.raises(OSError, match="No space"):
        atomic_write.write_whole(path, [b"new"])
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.fits"]


@pytest.mark.parametrize("packing", [gzip, bz2, lzma], ids=["gzip", "bzip2", "xz"])
@pytest.mark.parametrize(
    ("behind", "problem"),
    [("zeros", ""), ("empty", ""), ("text", "something else follows it"),
     ("many empty", "more than 100 empty ones follow one another"),
     ("many zeros", "more than 1048576 zeros follow it")],
)  # fmt: skip
def test_zeros_and_empty_streams_may_follow_a_packed_file(tmp_path, packing, behind, problem):
    """Zeros as on a tape, an empty stream as bgzip's; nothing that takes time without an end."""
    empty = packing.compress(b"")
    more = {"zeros": bytes(7), "empty": empty, "text": b"hello", "many empty": empty * 20_000,
            "many zeros": bytes((1 << 20) + 100_000)}[behind]  # fmt: skip
    path = tmp_path / "a.fits.packed"
    path.write_bytes(packing.compress(image()) + more)
    if not problem:
        assert read_layout(path).fingerprint == f"{zlib.crc32(image()):08x}-{len(image()):x}"
        return
    with pytest.raises(file_errors.DamagedRawFile, match=f"stream is damaged .{problem}"):
        read_layout(path)


def tiled_file(pixels, packing):
    """Return a file of compressed tiles, the place of its table, and of the tiles."""
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type=packing)])
    content = b"".join(_hdu(hdus))
    table = content.index(b"END" + b" " * 77, BLOCK) // BLOCK * BLOCK + BLOCK
    return content, table, table + 8 * len(pixels)


def test_compressed_tiles_that_cannot_be_unpacked_are_reported(tmp_path):
    """Neither the library's own error, nor gigabytes of memory for a few packed bytes."""
    pixels = np.arange(NY * NX, dtype=np.int16).reshape(NY, NX)
    content, _, tiles = tiled_file(pixels, "RICE_1")
    bad = {"Cfitsio": content[:tiles] + b"\xff" * 400 + content[tiles + 400 :]}
    content, table, tiles = tiled_file(pixels, "GZIP_1")
    bomb = gzip.compress(bytes(30_000_000), 9)
    first = np.array([len(bomb), 0], ">i4").tobytes()
    bad["inflate to more than the image"] = content[:table] + first + content[table + 8 : tiles]
    bad["inflate to more than the image"] += bomb
    for problem, data in bad.items():
        layout = read_layout(put(tmp_path, content))
        with pytest.raises(FrameError, match=f"compressed tiles cannot be unpacked.*{problem}"):
            decoding.stored_pixels(memoryview(data), layout.hdus[1], "a")
    values, _ = decoding.stored_pixels(memoryview(content), layout.hdus[1], "a")
    assert np.array_equal(values, pixels)
