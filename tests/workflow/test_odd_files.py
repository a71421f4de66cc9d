"""One odd file, folder or name costs no other frame its product: through whole runs."""

import errno
import gzip
import os
import shutil
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refused_folders import refuse_folder
from sandbox import _PROFILE, SMALL_FRAME, Sandbox, frame_bytes, products
from stand_ins import use_stand_ins

from ccdflow import paths
from ccdflow.files import raw_files
from ccdflow.frame import streaming
from ccdflow.run.raw_frames import inventory
from ccdflow.run.raw_frames.header_store import load_store
from ccdflow.run.raw_frames.inventory_table import read_inventory
from ccdflow.run.raw_frames.raw_names import shown_name

GOOD_PRODUCTS = {f"reduced/a{number}.fits" for number in range(3)}


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    made.put_small("a", 3)
    return made


# The reason for a file that goes on after its frame: 48 x 24 pixels of 16 bits, and their header.
_TOO_LONG = "the file holds more than the 5760 bytes that its headers promise"


def check_rest(sandbox, reasons, *, is_tried_again=False):
    """Assert that all else is made, and that each odd file has a row with its reason.

    The next run has nothing to do, unless it tries the odd files again.
    """
    outcome = sandbox.run()
    assert outcome.status == 0
    assert set(outcome.jobs) >= GOOD_PRODUCTS
    assert all((sandbox.results / product).is_file() for product in GOOD_PRODUCTS)
    assert len(list((sandbox.results / "combined").rglob("*.fits"))) == 1
    shown = {file: load_store(sandbox.results).rows[file].status_and_reason for file in reasons}
    for file, reason in reasons.items():
        assert shown[file][0] == "set aside", file
        assert reason in shown[file][1], file
    if is_tried_again:
        assert {*map(paths.reduced_frame, reasons)} <= {*sandbox.run().jobs}
        assert {f: load_store(sandbox.results).rows[f].status_and_reason for f in reasons} == shown
    assert sandbox.run().jobs == []
    table = read_inventory(sandbox.results / "inventory.csv").set_index("file")
    assert {table.loc[shown_name(file), "status"] for file in reasons} == {"set aside"}
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)


def card(keyword, value):
    return f"{keyword:8}= {value:>20}".encode().ljust(80)


def with_cards(*changes, more=(), seed=9):
    """Return a frame with cards replaced, and others before END."""
    content = frame_bytes(seed, camera="alpha", size=SMALL_FRAME)
    end = content.index(b"END" + b" " * 77)
    header, data = bytearray(content[:end]), content[2880:]
    for keyword, value in changes:
        at = header.index(f"{keyword:8}=".encode())
        header[at : at + 80] = card(keyword, value)
    header += b"".join(card(*each) for each in more) + b"END".ljust(80)
    return bytes(header).ljust(-(-len(header) // 2880) * 2880) + data


HEADERS = {
    "BITPIX 16.0": (with_cards(("BITPIX", "16.0")), "BITPIX"),
    "BITPIX T": (with_cards(("BITPIX", "T")), "BITPIX"),
    "BSCALE text": (with_cards(("BSCALE", "'x'")), "BSCALE"),
    "BSCALE complex": (with_cards(("BSCALE", "(1,2)")), "BSCALE"),
    "BZERO unparsable": (with_cards(("BZERO", "1.2.3")), "BZERO"),
    "BZERO undefined": (with_cards(("BZERO", "")), "BZERO"),
    # astropy says of it that the file is empty, as the system says of a disk.
    "BLANK unparsable": (with_cards(more=[("BLANK", "1.2.3")]), "BLANK"),
    "BLANK text": (with_cards(more=[("BLANK", "'x'")]), "BLANK"),
    "NAXIS 10**18": (with_cards(("NAXIS", str(10**18))), "NAXIS"),
    "NAXIS1 huge": (with_cards(("NAXIS1", str(10**17))), "bytes of pixels"),
    "NAXIS2 infinite": (with_cards(("NAXIS2", "1E400")), "NAXIS2"),
    "no end": (with_cards()[:2800].replace(b"END  ", b"XND  ") + b" " * 2880 * 3, "END card"),
}


def test_headers_that_no_frame_has(sandbox):
    files = {f"{name.replace('*', '')}.fits": odd for name, odd in HEADERS.items()}
    for file, (content, _) in files.items():
        sandbox.write(file, content)
    check_rest(sandbox, {file: reason for file, (_, reason) in files.items()})


def tiles(*cards):
    """Return a file whose only image is a table of compressed tiles with these cards."""
    first = [("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", "T")]
    table = [
        ("XTENSION", "'BINTABLE'"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 8), ("NAXIS2", 24),
        ("PCOUNT", 0), ("GCOUNT", 1), ("ZIMAGE", "T"), *cards,
    ]  # fmt: skip
    if "TFIELDS" not in dict(cards):
        table.append(("TFIELDS", 1))
    blocks = [b"".join(card(*each) for each in part) + b"END".ljust(80) for part in (first, table)]
    return b"".join(block.ljust(-(-len(block) // 2880) * 2880) for block in blocks) + bytes(2880)


TILES = {
    "as many axes as there are": [("ZBITPIX", 16), ("ZNAXIS", 10**18 - 1)],
    "unparsable type": [("ZBITPIX", "1.2.3"), ("ZNAXIS", 2), ("ZNAXIS1", 48), ("ZNAXIS2", 24)],
    "infinite": [("ZBITPIX", 16), ("ZNAXIS", 2), ("ZNAXIS1", 48), ("ZNAXIS2", "-1E400")],
    "as many columns": [
        ("ZBITPIX", 16),
        ("ZNAXIS", 2),
        ("ZNAXIS1", 48),
        ("ZNAXIS2", 24),
        ("TFIELDS", 10**10),
    ],
    "larger than memory": [("ZBITPIX", 16), ("ZNAXIS", 2), ("ZNAXIS1", 10**7), ("ZNAXIS2", 10**7)],
}


def test_tiles_that_no_frame_has(sandbox):
    for name, cards in TILES.items():
        sandbox.write(f"{name}.fits.fz", tiles(*cards))
    reasons = {
        "as many axes as there are": "ZNAXIS: not a usable number (found 999999999999999999)",
        "unparsable type": "ZBITPIX: not a FITS pixel type",
        "infinite": "ZNAXIS2: not a usable number (found -inf)",
        "as many columns": "TFIELDS: not a usable number (found 10000000000)",
        "larger than memory": "the header asks for 200000000 MB of pixels",
    }
    assert reasons.keys() == TILES.keys()
    check_rest(sandbox, {f"{name}.fits.fz": reason for name, reason in reasons.items()})


def test_a_name_of_megabytes_in_a_gzip_header(sandbox):
    content = (sandbox.raw / "a0.fits.gz").read_bytes()
    flags = bytes([content[3] | 8])
    named = content[:3] + flags + content[4:10] + b"n" * (5 << 20) + b"\0" + content[10:]
    sandbox.write("odd.fits.gz", named)
    check_rest(sandbox, {"odd.fits.gz": _TOO_LONG})


def test_bytes_after_a_frame_are_bounded(sandbox):
    """Empty members of gzip, gigabytes of zeros, and these with a forged end."""
    content = (sandbox.raw / "a0.fits.gz").read_bytes()
    sandbox.write("members.fits.gz", content + gzip.compress(b"") * 40000 + b"x")
    for name in ("zeros.fits.gz", "forged.fits.gz"):
        sandbox.write(name, content)
        os.truncate(sandbox.raw / name, 10 << 30)
    with (sandbox.raw / "forged.fits.gz").open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(content[-8:])
    reasons = dict.fromkeys(("zeros.fits.gz", "forged.fits.gz"), _TOO_LONG)
    reasons["members.fits.gz"] = "more than 100 empty ones follow one another"
    check_rest(sandbox, reasons)


def test_a_file_beside_a_folder_of_its_name(sandbox):
    sandbox.put("c.fits.gz", 21, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    kept = (sandbox.results / "reduced/c.fits").read_bytes()
    sandbox.put("c.fits/b.fits.gz", 22, camera="alpha", size=SMALL_FRAME)
    assert "reduced/c.fits/b.fits" in sandbox.run().jobs
    row = load_store(sandbox.results).rows["c.fits.gz"]
    assert "would become the same product as the folder of c.fits/b.fits.gz" in row.reason
    assert (sandbox.results / "set_aside/reduced/c.fits").read_bytes() == kept
    assert sandbox.run().jobs == []


def test_files_that_are_not_regular_are_set_aside(sandbox):
    """Nobody waits for a pipe, and no device is read."""
    os.mkfifo(sandbox.raw / "pipe.fits.gz")
    (sandbox.raw / "zero.fits").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(sandbox.raw / "sock.fits"))
    assert set(sandbox.run().jobs) >= GOOD_PRODUCTS
    for file in ("pipe.fits.gz", "zero.fits", "sock.fits"):
        assert load_store(sandbox.results).rows[file].reason.startswith("not a regular file"), file
    assert sandbox.run().jobs == []


def test_a_frame_becomes_a_folder_of_its_name_and_a_frame_again(sandbox):
    """The product of a frame that is gone is moved, because it stands in the way."""
    aside = sandbox.results / "set_aside" / "reduced"
    sandbox.put("x.fits", 21, size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    first = (sandbox.results / "reduced/x.fits").read_bytes()
    (sandbox.raw / "x.fits").unlink()
    sandbox.put("x.fits/y.fits", 22, size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    second = (sandbox.results / "reduced/x.fits/y.fits").read_bytes()
    assert (aside / "x.fits").read_bytes() == first
    assert sandbox.run().jobs == []
    shutil.rmtree(sandbox.raw / "x.fits")
    sandbox.put("x.fits", 21, size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    assert (sandbox.results / "reduced/x.fits").read_bytes() == first
    assert [path.read_bytes() for path in aside.glob("*/y.fits")] == [second]
    assert sandbox.run().jobs == []
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)


def test_links_in_a_circle(sandbox):
    links = {"latest": "latest", "x.fits": "x.fits", "p": "q", "q": "p"}
    for name, target in links.items():
        (sandbox.raw / name).symlink_to(target)
    check_rest(sandbox, dict.fromkeys(links, "Too many levels of symbolic links"))


@pytest.mark.parametrize("inside", [True, False])
def test_a_folder_that_may_not_be_read(sandbox, inside, monkeypatch):
    """lost+found is one, for a user who is not root."""
    sandbox.put(
        "lost+found/b.fits.gz" if inside else "b.fits.gz", 20, camera="alpha", size=SMALL_FRAME
    )
    (sandbox.raw / "lost+found").mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        refuse_folder(patch, "raw/lost+found", PermissionError, 13, "Permission denied")
        check_rest(sandbox, {"lost+found/": "cannot be read (Permission denied)"})


def test_a_folder_that_could_not_be_read_for_a_moment(sandbox, monkeypatch):
    """The frames come back, and no row is left, though a folder of products has the name."""
    sandbox.put("sub/b.fits.gz", 20, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    before = products(sandbox.results)
    with monkeypatch.context() as patch:
        refuse_folder(patch, "raw/sub", OSError, errno.ESTALE, "Stale file handle")
        lines = sandbox.run().lines
    assert "1 set aside, 1 raw file missing" in lines[-1]
    assert "raw file missing: sub/b.fits.gz: sub/ cannot be read; its product is kept" in lines
    sandbox.run()
    assert load_store(sandbox.results).rows.keys() == {
        "sub/b.fits.gz",
        *(f"a{n}.fits.gz" for n in range(3)),
    }
    assert products(sandbox.results) == before
    assert sandbox.run().jobs == []


def test_names_that_are_no_text(sandbox):
    files = [*map(os.fsdecode, (b"n\xff\xfe/f.fits", b"a\xffb.fits", b"new\nline.fits"))]
    for seed, file in enumerate(files, 8):
        content = frame_bytes(seed, camera="alpha", size=SMALL_FRAME)
        sandbox.write(file, content.replace(b"DATE-OBS=", b"NODATE  ="))
    check_rest(sandbox, dict.fromkeys(files, "control character or is not valid UTF-8"))


def test_a_path_of_thousands_of_bytes(sandbox):
    file = "/".join(["d" * 200] * 12) + "/f.fits"
    sandbox.write(file, frame_bytes(8, camera="alpha", size=SMALL_FRAME))
    check_rest(sandbox, {file: "too long"})


def test_two_profiles_that_recognise_one_frame(sandbox):
    sandbox.profile("gamma", recognise={"NOTE": "odd"}, **_PROFILE)
    sandbox.put("odd.fits.gz", 30, camera="alpha", size=SMALL_FRAME, note="odd")
    check_rest(sandbox, {"odd.fits.gz": "two camera profiles recognise this frame equally well"})


ERRORS = [
    ValueError, TypeError, KeyError, IndexError, ZeroDivisionError, RecursionError,
    UnicodeDecodeError, AssertionError, struct.error, NotImplementedError, MemoryError, OSError,
]  # fmt: skip


def error_of(kind):
    return kind("utf-8", b"x", 0, 1, "why") if kind is UnicodeDecodeError else kind("why")


@pytest.mark.parametrize("place", ["opening", "header", "pixels"])
def test_an_error_of_reading_costs_one_frame(sandbox, place, monkeypatch):
    """Each error in the reading of a frame of its own."""
    where = {
        "opening": (raw_files, "open_raw"),
        "header": (raw_files.RawFile, "layout"),
        "pixels": (streaming, "stream_frame"),
    }[place]
    real = getattr(*where)
    odd, reasons = {}, {}
    for kind in ERRORS:
        if kind is MemoryError and place == "pixels":
            # Want of memory is no fault of the frame's: the job fails.
            continue
        file = f"odd_{kind.__name__}.fits.gz"
        odd[file], reasons[file] = kind, f"not foreseen ({kind.__name__}"
        sandbox.put(file, 30 + len(odd), camera="alpha", size=(25, 40, 8))
    if place == "opening":
        reasons["odd_OSError.fits.gz"] = "cannot be read (why)"
    if place != "pixels":
        memory = "the memory did not suffice to read it; end other programs"
        reasons["odd_MemoryError.fits.gz"] = memory

    def raise_odd_error(subject, *arguments, **options):
        name = f"{subject} {getattr(subject, '_name', '')}"
        for file, kind in odd.items():
            if file in name:
                raise error_of(kind)
        return real(subject, *arguments, **options)

    monkeypatch.setattr(*where, raise_odd_error)
    check_rest(sandbox, reasons, is_tried_again=place == "pixels")
    logs = list((sandbox.results / paths.FAILED_READS).glob("*.log"))
    assert len(logs) == sum(reason.startswith("not foreseen") for reason in reasons.values())
    assert all("Traceback" in log.read_text() for log in logs)


_card = st.binary(min_size=0, max_size=90).map(lambda raw: raw.ljust(80)[:80])


@given(cards=st.lists(_card, max_size=8), seed=st.integers(0, 3))
@settings(
    max_examples=int(os.environ.get("HEADERS", 10)), deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_random_bytes_as_cards_cost_no_other_frame(sandbox, cards, seed):
    content = with_cards(seed=seed)
    end = content.index(b"END" + b" " * 77)
    text = content[:end] + b"".join(cards) + b"END".ljust(80)
    sandbox.write("odd.fits", text.ljust(-(-len(text) // 2880) * 2880) + content[2880:])
    outcome = sandbox.run()
    assert outcome.status == 0
    assert all((sandbox.results / product).is_file() for product in GOOD_PRODUCTS)
    assert sandbox.run().jobs == []
    assert load_store(sandbox.results).rows["odd.fits"].status in ("ok", "set aside")


# -- verdicts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "pixels"])
def test_a_frame_that_was_misread_once_is_read_again(sandbox, place, monkeypatch):
    """By the next run, without a change to the file."""
    name, open_raw = "a1.fits.gz", raw_files.open_raw
    content = bytearray((sandbox.raw / name).read_bytes())
    content[1 if place == "header" else -40] ^= 8
    bad = sandbox.root / "bad.fits.gz"
    bad.write_bytes(content)

    def open_other_file(path, file=None):
        return open_raw(bad if file == name else path, file)

    with monkeypatch.context() as patch:
        patch.setattr(raw_files, "open_raw", open_other_file)
        assert any(line.startswith(f"set aside: {name}") for line in sandbox.run().lines)
    assert "reduced/a1.fits" in sandbox.run().jobs
    assert sandbox.run().jobs == []


def test_a_verdict_that_two_runs_gave_is_asked_for_again(sandbox):
    """A verdict stays with the file's times; -F, or the product's name, has it read once more."""
    sandbox.write("odd.fits", b"no FITS")
    for _ in range(3):
        sandbox.run()
    row = load_store(sandbox.results).rows["odd.fits"]
    assert row.stamp
    reading = {}
    from ccdflow.run import session

    for again in (frozenset(), {"reduced/other.fits"}, {"reduced/odd.fits"}, None):
        store, opened = load_store(sandbox.results), []
        with pytest.MonkeyPatch.context() as patch:
            real = raw_files.open_raw
            patch.setattr(
                raw_files,
                "open_raw",
                lambda path, name, o=opened, r=real: (o.append(name), r(path, name))[1],
            )
            inventory.update(
                store, session.reading_settings(sandbox.values()), products_to_reread=again
            )
        reading[str(again)] = opened
    assert list(reading.values()) == [[], [], ["odd.fits"], ["odd.fits"]]


@pytest.mark.parametrize("kind", ["BIAS", "DARK", "FLAT", "OBJECT"])
def test_pages_and_tables_leave_out_a_frame_that_their_own_run_sets_aside(
    tmp_path, monkeypatch, kind
):
    """Else the next run finds other contents, and writes them anew."""
    use_stand_ins(monkeypatch)
    sandbox = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    for number, each in enumerate(("BIAS", "BIAS", "BIAS", "DARK", "FLAT", "OBJECT", kind)):
        sandbox.put(f"2024-03-01/{number}.fits.gz", number, kind=each, size=SMALL_FRAME)
    path = sandbox.raw / "2024-03-01/6.fits.gz"
    content = bytearray(path.read_bytes())
    # The checksum of the pixels: the headers can be read.
    content[-6] ^= 4
    path.write_bytes(content)
    lines = sandbox.run().lines
    assert lines[0].startswith("set aside: 2024-03-01/6.fits.gz: gzip stream is damaged")
    assert list(sandbox.plan().plan.jobs) == []
    again = sandbox.run()
    assert (again.jobs, again.lines) == ([], lines)
