"""The table of raw frames: what is read, when it is read again, and what a bad file becomes."""

import dataclasses
import gzip
import json
import os
import time

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from older_notes import plain_lines
from refusals import refusal_of
from workflow.sandbox import SMALL_FRAME, archive_of_two_cameras, frame_bytes

from ccdflow import paths
from ccdflow.errors import FrameError, UserError
from ccdflow.files import raw_files
from ccdflow.files.text_files import notes
from ccdflow.run import job_records, late_notes, ledger
from ccdflow.run.raw_frames import (
    header_store,
    inventory,
    inventory_table,
    older_rows,
    raw_folders,
    raw_names,
    row_reader,
    rows,
)
from ccdflow.run.raw_frames.header_store import HeaderStore, load_store


@pytest.fixture
def sandbox(tmp_path):
    return archive_of_two_cameras(tmp_path / "box")


def update(sandbox, store, **changes):
    """Bring a store up to date, and return the files that were read for it."""
    now = changes.pop("now", None)
    read = []
    with pytest.MonkeyPatch.context() as patch:
        open_raw = raw_files.open_raw

        def count_reads(path, name):
            read.append(name)
            return open_raw(path, name)

        patch.setattr(raw_files, "open_raw", count_reads)
        gone = inventory.update(store, sandbox.reading_settings(**changes), now=now)
    return sorted(read), gone


ALL_FILES = ["n1/alpha0.fits.gz", "n1/alpha1.fits.gz", "n1/alpha2.fits.gz", "n1/deep/er/beta.FIT"]


def test_each_file_is_read_once(sandbox):
    store = HeaderStore()
    assert update(sandbox, store) == (ALL_FILES, [])
    assert update(sandbox, store) == ([], [])
    sandbox.put("n2/alpha9.fits.gz", 9, size=SMALL_FRAME)
    os.utime(sandbox.raw / ALL_FILES[0])
    assert update(sandbox, store) == ([ALL_FILES[0], "n2/alpha9.fits.gz"], [])
    (sandbox.raw / ALL_FILES[1]).unlink()
    assert update(sandbox, store) == ([], [ALL_FILES[1]])
    assert {row.status for row in store.rows.values()} == {"ok"}


def test_rows_are_kept_from_run_to_run(sandbox, tmp_path):
    store = HeaderStore()
    update(sandbox, store)
    header_store.save_store(tmp_path, store)
    loaded = load_store(tmp_path)
    assert loaded == store
    assert len(loaded.rows) == len(ALL_FILES)
    assert [row.facts for row in loaded.rows.values()] == [r.facts for r in store.rows.values()]
    assert update(sandbox, loaded) == ([], [])


def test_files_are_written_when_they_change(sandbox, tmp_path):
    store = HeaderStore()
    update(sandbox, store)
    header_store.save_store(tmp_path, store)
    names = ["inventory.csv", ".ccdflow/headers.json"]

    def times():
        return [(tmp_path / name).stat().st_mtime_ns for name in names]

    before = times()
    store = load_store(tmp_path)
    update(sandbox, store)
    header_store.save_store(tmp_path, store)
    assert times() == before
    text = (tmp_path / names[0]).read_text()
    (tmp_path / names[0]).write_text(text.replace("alpha", "gamma"))
    header_store.save_store(tmp_path, load_store(tmp_path))
    assert (tmp_path / names[0]).read_text() == text


def test_an_edited_camera_reads_its_own_frames(sandbox):
    store = HeaderStore()
    update(sandbox, store)
    sandbox.profile("beta", description="another text")
    assert update(sandbox, store)[0] == []
    sandbox.profile("beta", site={"longitude": 20.0})
    assert update(sandbox, store)[0] == [ALL_FILES[3]]
    # A camera that may now be taken for others concerns all.
    (sandbox.cameras / "gamma.yaml").write_text("recognise: {INSTRUME: gamma}\n")
    assert update(sandbox, store)[0] == ALL_FILES


def test_only_a_change_of_pixels_outdates_a_product_without_its_raw_file(sandbox):
    """Only what the pixels depend on makes a product an old one."""
    store = HeaderStore()
    update(sandbox, store)
    for file in ALL_FILES:
        store.rows[file] = dataclasses.replace(store.rows[file], gone="gone")
    for change in (
        {"site": {"longitude": 20.0}},
        {"types": [{"imagetyp": "ZERO", "type": "bias"}]},
        {"keywords": {"filter": "FILT"}},
        {"reduction": {"order": 9}},
    ):
        sandbox.profile("beta", **change)
        assert inventory.outdated_files(store, sandbox.reading_settings()) == set(), change
    sandbox.profile("beta", reduction={"statistic": "mean"})
    assert inventory.outdated_files(store, sandbox.reading_settings()) == {ALL_FILES[3]}


def test_files_that_would_become_one_product(sandbox):
    store = HeaderStore()
    sandbox.put("n1/alpha1.fits", 1, is_packed=False, size=SMALL_FRAME)
    update(sandbox, store)
    for file, other in (ALL_FILES[1], "n1/alpha1.fits"), ("n1/alpha1.fits", ALL_FILES[1]):
        row = store.rows[file]
        assert row.status == "set aside"
        assert row.reason == (
            f"would become the same product as {other}; move one of them out of the raw folder"
        )
    (sandbox.raw / "n1/alpha1.fits").unlink()
    update(sandbox, store)
    assert store.rows[ALL_FILES[1]].status_and_reason == ("ok", "")


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", "arriving", "the file is empty"),
        (b"SIMPLE  = ", "arriving", "the file is truncated"),
        (
            frame_bytes(1, size=SMALL_FRAME)[:-2880],
            "arriving",
            "the file is truncated: 2880 bytes, its",
        ),
        (b"no FITS", "set aside", "SIMPLE: not a FITS file"),
        (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 50, "set aside", "gzip stream is damaged"),
    ],
    ids=range(5),
)
def test_a_cut_file_may_be_arriving_but_not_for_long(sandbox, content, status, reason):
    sandbox.write("n1/new.fits", content)
    store, now = HeaderStore(), time.time()
    for wait, expected in ((10, status), (-10, status), (200, "set aside"), (-200, "set aside")):
        update(sandbox, store, settle=60, now=now + wait)
        row = store.rows["n1/new.fits"]
        assert row.status_and_reason[0] == expected
        start = "still being written: " if expected == "arriving" else ""
        assert row.reason.startswith(start + reason)
        store.rows.pop("n1/new.fits")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-2880], "the file is truncated"),
        (lambda content: content + bytes(1 << 20), "the file holds more"),
        (lambda content: gzip.compress(content)[:-300], "gzip stream ends early"),
    ],
    ids=["cut", "too long", "cut gzip"],
)
def test_a_damaged_file_is_of_the_night_that_its_header_tells(sandbox, change, reason):
    whole = frame_bytes(1, camera="alpha", size=SMALL_FRAME)
    sandbox.write("n1/whole.fits", whole)
    sandbox.write("n1/damaged.fits", change(whole))
    store = HeaderStore()
    update(sandbox, store, settle=0)
    good, bad = store.rows["n1/whole.fits"], store.rows["n1/damaged.fits"]
    assert (good.status, bad.status, bad.geometry) == ("ok", "set aside", "")
    assert bad.reason.startswith(reason)
    assert (bad.camera, bad.night, bad.facts["type"]) == ("alpha", good.night, good.facts["type"])
    # A first verdict is tried once more, and holds.
    assert [update(sandbox, store, settle=0)[0] for _ in range(2)] == [["n1/damaged.fits"], []]
    assert store.rows["n1/damaged.fits"].night == good.night


def test_a_good_frame_that_is_written_once_more_is_unchanged(sandbox):
    """Until it is whole, or has stayed cut for long."""
    store = HeaderStore()
    update(sandbox, store)
    before = store.rows[ALL_FILES[0]]
    content = (sandbox.raw / ALL_FILES[0]).read_bytes()
    sandbox.write(ALL_FILES[0], content[: len(content) // 2])
    now = (sandbox.raw / ALL_FILES[0]).stat().st_mtime
    for _ in range(2):
        read, _ = update(sandbox, store, settle=60, now=now + 10)
        assert read == [ALL_FILES[0]]
        assert store.rows[ALL_FILES[0]] == dataclasses.replace(before, stamp=())
    update(sandbox, store, settle=60, now=now + 100)
    assert store.rows[ALL_FILES[0]].status_and_reason[0] == "set aside"
    sandbox.write(ALL_FILES[0], content)
    update(sandbox, store, settle=60, now=now + 100)
    assert store.rows[ALL_FILES[0]].status_and_reason == ("ok", "")


def test_a_frame_that_goes_away_while_headers_are_read_is_no_bad_one(sandbox, monkeypatch):
    store = HeaderStore()
    read = row_reader.RawRowReader.read_rows

    def read_late(reader, files):
        for file in {ALL_FILES[0]} & {file for file, *_ in files}:
            (sandbox.raw / file).unlink()
        return read(reader, files)

    monkeypatch.setattr(row_reader.RawRowReader, "read_rows", read_late)
    update(sandbox, store)
    assert store.rows[ALL_FILES[0]].status_and_reason == (
        "arriving",
        "it went away while its header was read",
    )
    _, gone = update(sandbox, store)
    assert gone == [ALL_FILES[0]]


def test_a_file_that_cannot_be_read_is_tried_again(sandbox):
    """The file is no bad frame, if it was a good one before."""
    store = HeaderStore()
    update(sandbox, store)
    path = sandbox.raw / ALL_FILES[0]
    path.rename(sandbox.root / "away")
    path.symlink_to(sandbox.root / "nowhere")
    (sandbox.raw / "n1/never.fits").symlink_to(sandbox.root / "nowhere")
    for _ in range(2):
        read, gone = update(sandbox, store)
        assert (read, gone) == ([ALL_FILES[0], "n1/never.fits"], [])
        was, never = store.rows[ALL_FILES[0]], store.rows["n1/never.fits"]
        assert was.status_and_reason[0] == "raw file missing"
        assert was.status_and_reason[1].startswith("cannot be read (No such file or directory)")
        assert was.geometry
        assert never.status_and_reason[0] == "set aside"
    path.unlink()
    (sandbox.root / "away").rename(path)
    update(sandbox, store)
    assert store.rows[ALL_FILES[0]].status_and_reason == ("ok", "")


def test_damage_behind_an_old_fingerprint_is_found(sandbox):
    """Times that changed are reason enough to look at all of a file."""
    sandbox.put(ALL_FILES[0], 1, camera="alpha")
    store = HeaderStore()
    update(sandbox, store)
    before = store.rows[ALL_FILES[0]]
    content = bytearray((sandbox.raw / ALL_FILES[0]).read_bytes())
    content[9000] ^= 1
    sandbox.write(ALL_FILES[0], bytes(content))
    update(sandbox, store)
    row = store.rows[ALL_FILES[0]]
    assert row.fingerprint == before.fingerprint
    assert row.status_and_reason[0] == "set aside"
    # Its verdict stays noted, and a run from scratch finds the same.
    assert (row.facts, row.geometry) == (before.facts, before.geometry)


def test_raw_folder_without_frames(sandbox):
    (sandbox.root / "empty").mkdir()
    (sandbox.root / "empty" / "notes.txt").touch()
    for folder, problem in (
        ("none", "there is no such folder"),
        ("empty", "the folder holds no raw"),
    ):
        with pytest.raises(UserError, match=f"raw: {problem} "):
            raw_folders.list_raw(sandbox.root / folder)


def test_links_are_followed_but_not_in_circles(sandbox):
    (sandbox.raw / "n1/again").symlink_to(sandbox.raw)
    (sandbox.raw / "linked").symlink_to(sandbox.raw / "n1/deep")
    names = raw_folders.list_raw(sandbox.raw)
    assert sorted(names) == ["linked/er/beta.FIT", *ALL_FILES]


_KEYWORDS = (
    "INSTRUME", "IMAGETYP", "OBSTYPE", "EXPTIME", "DATE-OBS", "UT", "BIASSEC", "TRIMSEC", "DATASEC",
    "CCDSEC", "DETSEC", "CCDSUM", "GAIN", "RDNOISE", "FILTER", "OBJECT", "BZERO", "MJD-OBS", "JD",
    "SATURATE", "LONGITUD", "AMPSEC", "BUNIT", "CCDXBIN", "NAXIS1", "ZIMAGE",
)  # fmt: skip
_value = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats().map(str),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50).map(
        lambda text: "'" + text.replace("'", "''") + "'"
    ),
    st.sampled_from(
        ["T", "", "1.2.3", "'[1:40,1:24]'", "'[41:48,1:24]'", "'[1:9999,0:3]'", "'[:,]'", "'2 2'",
         "'2024-13-45'", "'2024-03-01T25:61:61'", "'BIAS'", "'alpha'", "'BIAS    / a", "(1,2)"]
    ),
)  # fmt: skip


@given(cards=st.lists(st.tuples(st.sampled_from(_KEYWORDS), _value), max_size=12))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_header_becomes_a_row(sandbox, cards):
    """Whatever the cards say, the frame is reduced or set aside, never a traceback."""
    content = bytearray(frame_bytes(1, size=SMALL_FRAME))
    end = content.index(b"END" + b" " * 77)
    text = b"".join(f"{key:8s}= {value}"[:80].ljust(80).encode() for key, value in cards)
    content[end : end + len(text) + 80] = text + b"END".ljust(80)
    sandbox.write("n1/any.fits", bytes(content))
    store = HeaderStore()
    update(sandbox, store)
    row = store.rows["n1/any.fits"]
    assert (row.status == "ok") == bool(row.geometry)
    if row.status != "ok":
        assert row.reason
    assert row.night
    assert len(inventory_table.cells(row)) == len(inventory_table.COLUMNS)


# -- links that lead to too much -------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/proc/self", "/proc", "/sys"])
def test_a_link_into_the_kernels_trees_is_not_followed(sandbox, target):
    (sandbox.raw / "odd").symlink_to(target)
    stamps, problems = raw_folders.find_frames(sandbox.raw)
    tree = "/" + target.split("/")[1]
    assert words_of(problems) == {
        "odd/": f"leads into {tree}; it is not followed: remove the link, or lead it to the folder"
        " of the frames"
    }
    assert stamps
    assert not [name for name in stamps if name.startswith("odd/")]


def test_the_kernels_trees_are_no_raw_folder(sandbox, monkeypatch):
    with pytest.raises(UserError, match=r"part of /proc, the kernel.s own tree .found ./proc/self"):
        raw_folders.find_frames("/proc/self")
    # Mounted below the raw folder.
    (sandbox.raw / "odd").mkdir()
    visit_folder, stamps = raw_folders._Walk.visit_folder, raw_folders.list_raw(sandbox.raw)

    def visit_from_mount(walk, prefix, above, link):
        walk.mount_point_by_device = (
            {sandbox.raw.stat().st_dev: "/raw/odd"} if prefix == "odd/" else {}
        )
        visit_folder(walk, prefix, above, link)

    monkeypatch.setattr(raw_folders._Walk, "visit_folder", visit_from_mount)
    stamps_beside_mount, problems = raw_folders.find_frames(sandbox.raw)
    assert stamps_beside_mount == stamps
    assert words_of(problems) == {
        "odd/": "is a part of /raw/odd; it is not looked into: unmount it, or give a folder"
        " without it"
    }


def words_of(problems):
    """Return the problems of folders as the table of frames has them."""
    return {name: problem.text_with_remedy for name, problem in problems.items()}


@pytest.mark.parametrize(
    ("name", "problem", "remedy"),
    [
        (
            "odd", "leads into /proc",
            "remove the link, or lead it to the folder of the frames",
        ),
        (
            "loop", "cannot be read (Too many levels of symbolic links)",
            "remove the link, which leads to itself",
        ),
    ],
)  # fmt: skip
def test_a_raw_folder_of_one_problem_alone_has_the_remedy_of_that_problem(
    tmp_path, name, problem, remedy
):
    """The advice on each was to check permissions, after that to remove the link."""
    (tmp_path / name).symlink_to("/proc/self" if name == "odd" else tmp_path / name)
    with pytest.raises(UserError) as caught:
        raw_folders.find_frames(tmp_path)
    assert (caught.value.problem, caught.value.remedy) == (problem, remedy)
    assert str(caught.value).endswith(f"; {remedy}, and run again")
    assert caught.value.file.rstrip("/") == str(tmp_path / name)


def test_a_folder_is_below_itself_and_the_top_of_the_disk_is_above_all(tmp_path):
    (tmp_path / "raw/n1").mkdir(parents=True)
    (tmp_path / "raw.old").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw/n1")
    raw = tmp_path / "raw"
    cases = {
        raw: (True, True),
        raw / "n1": (True, True),
        tmp_path / "link": (True, True),
        tmp_path: (False, True),
        "/": (False, True),
        tmp_path / "raw.old": (False, False),
    }
    for path, expected in cases.items():
        answers = raw_folders.is_below(path, raw), raw_folders.is_above_or_below(path, raw)
        assert answers == expected, path
    assert raw_folders.is_below(raw, "/")


@pytest.mark.parametrize("target", ["results", "results/reduced", "."])
def test_a_link_into_the_results_is_not_followed(sandbox, target):
    """Else products would be frames, and their products frames of the next run."""
    sandbox.run()
    before = raw_folders.list_raw(sandbox.raw)
    (sandbox.raw / "odd").symlink_to(sandbox.root / target)
    (sandbox.raw / "other").symlink_to(sandbox.raw / "n1")
    stamps, problems = raw_folders.find_frames(sandbox.raw, sandbox.results)
    place = "odd/results/" if target == "." else "odd/"
    assert words_of(problems) == {
        place: "leads into the results folder; it is not followed: remove the link, or lead it to"
        " the folder of the frames"
    }
    assert not [name for name in stamps if "reduced" in name]
    assert stamps.keys() >= before.keys()
    assert any(name.startswith("other/") for name in stamps)


def test_links_that_make_an_endless_tree_are_left_after_a_number_of_folders(sandbox, monkeypatch):
    """Each of five folders leads to all: hundreds of ways through them."""
    monkeypatch.setattr(raw_folders, "MOST_LINKED_FOLDERS", 50)
    before = raw_folders.list_raw(sandbox.raw)
    for number in range(5):
        place = sandbox.root / "away" / str(number)
        place.mkdir(parents=True)
        (place / "x.fits").write_bytes(b"x")
        for other in range(5):
            (place / f"to{other}").symlink_to(sandbox.root / "away" / str(other))
    (sandbox.raw / "first").symlink_to(sandbox.root / "away" / "0")
    (sandbox.raw / "second").symlink_to(sandbox.root / "away")
    stamps, problems = raw_folders.find_frames(sandbox.raw)
    assert sorted(problems) == ["first/", "second/"]
    assert problems["first/"].text.startswith("leads into a tree of more than 50 folders")
    assert stamps == before


@pytest.mark.parametrize(("most", "is_followed"), [(3, True), (2, False)])
def test_a_link_is_followed_into_as_many_folders_as_are_allowed(
    sandbox, monkeypatch, most, is_followed
):
    """Three folders lie behind it: its target and two in that."""
    monkeypatch.setattr(raw_folders, "MOST_LINKED_FOLDERS", most)
    before = raw_folders.list_raw(sandbox.raw)
    for name in ("one", "two"):
        (sandbox.root / "away" / name).mkdir(parents=True)
        (sandbox.root / "away" / name / "x.fits").write_bytes(b"x")
    (sandbox.raw / "link").symlink_to(sandbox.root / "away")
    stamps, problems = raw_folders.find_frames(sandbox.raw)
    followed = {"link/one/x.fits", "link/two/x.fits"} if is_followed else set()
    assert stamps.keys() - before.keys() == followed
    assert list(problems) == ([] if is_followed else ["link/"])


# -- results on a disk that does not distinguish capitals ------------------------------------------


@pytest.fixture
def folding(monkeypatch):
    """Let the results lie in such a file system, as exFAT or that of macOS."""
    monkeypatch.setattr(raw_names, "is_case_insensitive", lambda results: True)


def test_names_that_differ_in_capitals_are_refused_where_the_results_do_not_tell_them(
    sandbox, folding
):  # fmt: skip
    for number, file in enumerate(("A.fits", "a.fits.gz", "Dark/x.fits", "dark/y.fits", "b.fits")):
        sandbox.put(file, number, size=SMALL_FRAME, is_packed=file.endswith(".gz"))
    sandbox.run()
    rows = load_store(sandbox.results).rows
    aside = {file: row.reason for file, row in rows.items() if row.status == "set aside"}
    assert aside.keys() == {"A.fits", "a.fits.gz", "dark/y.fits"}
    assert (
        "as a.fits.gz, as the disk of the results does not distinguish capitals" in aside["A.fits"]
    )
    assert "one in the folder of Dark/x.fits, as the disk" in aside["dark/y.fits"]
    assert (sandbox.results / "reduced/Dark/x.fits").is_file()
    assert sandbox.run().jobs == []


def test_this_file_system_distinguishes_capitals_from_small_letters(sandbox):
    """Nothing is refused for names that differ in capitals."""
    for number, file in enumerate(("A.fits", "a.fits", "Dark/x.fits", "dark/y.fits")):
        sandbox.put(file, number, size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    assert not raw_names.is_case_insensitive(sandbox.results)
    assert len(list((sandbox.results / "reduced").rglob("*.fits"))) == 7
    # Where they are not, two names lead to one file.
    (sandbox.results / ".CCDFLOW").symlink_to(".ccdflow")
    (sandbox.results / ".ccdflow/LOCK").symlink_to("lock")
    assert raw_names.is_case_insensitive(sandbox.results)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l" * 245 + ".fits", "275 bytes, 297"),
        ("星" * 40 + ".fits", "390 bytes, 412"),
        ("n" * 200 + "/" + "/".join(["m" * 200] * 10) + "/a.fits", "200 bytes, 2264"),
    ],
    ids=["ASCII", "beyond ASCII", "folders"],
)
def test_a_name_too_long_for_its_notes_is_refused(name, value):
    assert refusal_of(raw_names.check_name, name) == (
        FrameError,
        f"{name}: name: the file's name is too long for the notes that are kept under it (found "
        f"'{value} with its folders; letters beyond ASCII count thrice'); allowed: 255 bytes, 2000 "
        "with its folders and with what is added; rename it",
    )


# -- want of memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_want_of_memory_is_no_fault_of_the_frame(sandbox, known, monkeypatch):
    """The frame is read again by the next run, and a product that it has stays."""
    store, file = HeaderStore(), ALL_FILES[1]
    if known:
        update(sandbox, store)
        os.utime(sandbox.raw / file)
    real = raw_files.RawFile.layout

    def run_out_of_memory(raw, **options):
        if raw._name == file:
            raise MemoryError
        return real(raw, **options)

    with monkeypatch.context() as patch:
        patch.setattr(raw_files.RawFile, "layout", run_out_of_memory)
        update(sandbox, store)
    row = store.rows[file]
    status, reason = row.status_and_reason
    assert status == ("raw file missing" if known else "set aside")
    assert reason.startswith("the memory did not suffice to read it; end other programs or use")
    assert (row.stamp, file in store.tracebacks, bool(row.gone)) == ((), False, known)
    assert update(sandbox, store)[0] == [file]
    assert store.rows[file].status_and_reason == ("ok", "")


def test_want_of_memory_for_the_facts_of_a_bad_frame_is_tried_again(sandbox, monkeypatch):
    store, file = HeaderStore(), ALL_FILES[1]
    content = (sandbox.raw / file).read_bytes()
    (sandbox.raw / file).write_bytes(content[: len(content) // 2])
    long_ago = time.time() - 9999
    os.utime(sandbox.raw / file, (long_ago, long_ago))
    later = time.time() + 9999
    update(sandbox, store, now=later)
    with monkeypatch.context() as patch:
        patch.setattr(row_reader, "_values_of_cards", lambda *_: (_ for _ in ()).throw(MemoryError))
        update(sandbox, store, now=later)
    assert store.rows[file].stamp == ()
    update(sandbox, store, now=later)
    row = store.rows[file]
    assert (row.status, row.camera, row.stamp != ()) == ("set aside", "alpha", True)


# Cards of a frame of 12 x 9 pixels, with marks of its row and topics of its amplifier warnings.
FINDINGS = {
    "whole": ({"IMAGETYP": "bias"}, "no_overscan", []),
    "beside": (
        {"IMAGETYP": "bias", "DATASEC": "[1:8,1:9]"},
        "no_overscan",
        ["columns 9 to 12 beside the data"],
    ),
    "unused": ({"IMAGETYP": "bias", "OVERSCAN": "ON"}, "no_overscan", ["OVERSCAN ON"]),
    "strange": ({"IMAGETYP": "strange"}, "unknown_type no_overscan", []),
    "twin": ({"IMAGETYP": "bias"}, "twin", []),
}


@pytest.fixture
def findings(sandbox):
    """The rows of `FINDINGS` by name."""
    for number, (name, (cards, *_)) in enumerate(FINDINGS.items()):
        pixels = np.full((9, 12), number, np.int16)
        hdu = fits.PrimaryHDU(pixels, fits.Header({"DATE-OBS": "2020-01-01T12:00:00", **cards}))
        hdu.writeto(sandbox.raw / f"{name}.fits")
    packed = gzip.compress((sandbox.raw / "twin.fits").read_bytes())
    (sandbox.raw / "twin.fits.gz").write_bytes(packed)
    store = HeaderStore()
    update(sandbox, store)
    return {name: store.rows[f"{name}.fits"] for name in FINDINGS}


def test_findings_stand_beside_their_words(findings):
    for name, (_, marks, topics) in FINDINGS.items():
        row = findings[name]
        assert row.marks == marks, name
        assert [topic.partition(" are in")[0] for topic, _ in row.topics_and_warnings] == topics
        for _, text in row.topics_and_warnings:
            assert f"warning: {text}" in row.reason
            assert text.endswith(")"), "a remedy with a semicolon is whole"


def test_a_row_of_an_earlier_version_has_the_same_findings(findings):
    """Such a row has the words alone: no header is read again for what they say."""
    for row in findings.values():
        texts = list(rows.own_texts_of(row))
        assert older_rows.texts_with_later_fields(texts[:-2]) == texts
        assert older_rows.texts_with_later_fields(texts) is texts
    row, aside = findings["whole"], "set aside"
    words = {
        rows.RowMark.LIT_STRIP_BY_CARD: {
            "reason": "warning: DATASEC: the overscan of the camera's profile may hold data by this"
            " card (found x, allowed: y): z"
        },
        rows.RowMark.LIT_OVERSCAN: {
            "status": aside, "reason": "the overscan [1:2,1:9] holds data as the image does: its"
        },
        rows.RowMark.PRODUCT_IN_THE_WAY: {
            "reason": "", "gone": "it was deleted, and its product is in the way of another"
        },
    }  # fmt: skip
    for mark, values in words.items():
        texts = list(rows.own_texts_of(dataclasses.replace(row, **values)))
        assert older_rows.texts_with_later_fields(texts[:-2])[-1] == mark


def test_a_store_of_an_earlier_version_is_read(sandbox, findings):
    store = HeaderStore()
    update(sandbox, store)
    header_store.save_store(sandbox.results, store)
    path = sandbox.results / paths.HEADERS
    first, lines = plain_lines(path)
    older = [json.dumps(json.loads(line)[:-2]) for line in lines]
    notes.write_checked(path, [first, *older])
    known = load_store(sandbox.results)
    assert known.rows == store.rows
    assert update(sandbox, known)[0] == update(sandbox, store)[0]


def test_late_notes_of_an_earlier_version_are_read(sandbox):
    """An earlier version named the first lines otherwise."""
    header_store.save_store(sandbox.results, HeaderStore())
    record = job_records.Record("x", "frame", "k")
    ledger.save_ledger(sandbox.results, ledger.Ledger({"x": record}))
    heads = {"rows": {"shared": {}}, "records": {"removed": ["x"]}}
    since = late_notes.LateNotes(heads, ["r"], ["s"])
    late_notes.write_late_notes(sandbox.results, since)
    path = sandbox.results / paths.LATE_NOTES
    first, lines = plain_lines(path)
    older = json.loads(first)
    older["said"] = older.pop("heads")
    notes.write_checked(path, [json.dumps(older), *lines])
    assert late_notes.read_late_notes(sandbox.results) == since
