"""Losses and errors without a message that an attack found, through whole runs; neighbours."""

import errno
import mmap
import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from refused_folders import refuse_folder
from sandbox import SMALL_FRAME, Sandbox, frame_bytes, products
from stand_ins import use_stand_ins

from ccdflow import kinds, paths, settings
from ccdflow.errors import UserError
from ccdflow.files import file_access, raw_files
from ccdflow.run.lines import plan_description
from ccdflow.run.raw_frames import inventory
from ccdflow.run.raw_frames.header_store import load_store
from ccdflow.run.raw_frames.inventory_table import read_inventory

NIGHT = "2024-03-01"
CONFIG = {"bias": {"minimum": 2}}


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(CONFIG))
    made.put_small("a", 3)
    return made


def check_from_scratch(sandbox):
    assert list(sandbox.plan().plan.jobs) == []
    clean = sandbox.clean()
    clean.run(cores=1)
    assert products(clean.results) == products(sandbox.results)


# -- a product of any name is kept -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["raw gone bad", "raw gone and a bit flipped"])
def test_a_product_of_any_ending_is_kept(sandbox, how):
    names = ["g.FITS", "h.fit", "i.FTS", "j.Fits.GZ", "k.fits.fz.gz"]
    for seed, name in enumerate(names, 9):
        sandbox.put(
            name, seed, camera="alpha", size=SMALL_FRAME, is_packed=name.lower().endswith(".gz")
        )
    sandbox.run()
    kept = {}
    for name in names:
        path = sandbox.results / paths.reduced_frame(name)
        content = bytearray(path.read_bytes())
        if how == "raw gone bad":
            written = (sandbox.raw / name).read_bytes()
            sandbox.write(name, written[: len(written) // 2])
        else:
            (sandbox.raw / name).unlink()
            content[-3000] ^= 1
            path.write_bytes(content)
        kept[paths.reduced_frame(name)] = content
    lines = plan_description.lines_on_plan(sandbox.plan().plan)
    for product in kept:
        assert any(line.startswith(f"{product} to be moved into set_aside/: ") for line in lines)
    sandbox.run()
    for product, content in kept.items():
        assert not (sandbox.results / product).exists()
        assert (sandbox.results / "set_aside" / product).read_bytes() == content, product
    check_from_scratch(sandbox)


def test_a_touched_product_of_any_ending_is_not_made_again(sandbox):
    """The product's checksum tells that it is as it was."""
    sandbox.put("g.fits.fz.gz", 9, camera="alpha", size=SMALL_FRAME)
    sandbox.put("h.FTS", 8, camera="alpha", size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    for name in ("g.fits.fz", "h.FTS"):
        os.utime(sandbox.results / "reduced" / name, (1e9, 1e9))
    assert sandbox.run().jobs == []


@pytest.mark.parametrize("what", ["pipe", "link to itself"])
def test_a_pipe_or_link_of_a_products_name_is_no_product_and_nobody_waits_for_it(sandbox, what):
    """In the place of a frame, of a list of small pictures, and among the records."""
    sandbox.run()
    before = products(sandbox.results)
    for name in ("reduced/a1.fits", f"nights/{NIGHT}/frames.json", ".ccdflow/done/x.json"):
        path = sandbox.results / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)
    assert set(sandbox.run().jobs) == {"reduced/a1.fits", f"nights/{NIGHT}/frames.json"}
    assert products(sandbox.results) == before
    assert sandbox.run().jobs == []


# -- what is not asked for any more --


@pytest.mark.parametrize(
    "change", [{"types": ["bias"]}, {"flat": {"enabled": False}}], ids=["type", "master"]
)
def test_masters_not_asked_for_any_more_leave_no_flag_on_frames(sandbox, change):
    """Neither its master's, nor the frame's own; asked for again, they come back."""
    sandbox.config["flat"] = {"minimum": 2}
    for number, light in enumerate((20000, 20000, 200)):
        sandbox.put(f"f{number}.fits.gz", number, kind="FLAT", size=SMALL_FRAME, light=light)
    dark = frame_bytes(9, kind="DARK", size=SMALL_FRAME)
    sandbox.write("dead.fits", dark[:2880] + dark[2880:2882] * ((len(dark) - 2880) // 2))

    def flags():
        sandbox.run()
        rows = load_store(sandbox.results).rows
        return {file: re.split("[:;]", row.flags)[0] for file, row in rows.items() if row.flags}

    all_flags = {
        "f2.fits.gz": "left out of its combined flat", "dead.fits": "amplifier A is dead throughout"
    }  # fmt: skip
    assert flags() == all_flags
    before = dict(sandbox.config)
    sandbox.config |= change
    assert flags() == ({} if "types" in change else {"dead.fits": all_flags["dead.fits"]})
    table = (sandbox.results / "inventory.csv").read_bytes()
    clean = sandbox.clean()
    clean.run()
    assert (clean.results / "inventory.csv").read_bytes() == table
    sandbox.config = before
    assert flags() == all_flags


# -- a folder of products set aside that cannot be written --


@pytest.mark.parametrize("how", ["raw gone bad", "raw gone and a bit flipped"])
def test_a_product_that_cannot_be_moved_costs_nothing_else(sandbox, how):
    """The product stays where it is, counts as none, and is moved once that is possible."""
    sandbox.put("g.fits", 9, camera="alpha", size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    product = sandbox.results / "reduced/g.fits"
    content = bytearray(product.read_bytes())
    if how == "raw gone bad":
        sandbox.write("g.fits", (sandbox.raw / "g.fits").read_bytes()[:4000])
    else:
        (sandbox.raw / "g.fits").unlink()
        content[-3000] ^= 1
        product.write_bytes(content)
    sandbox.put("n.fits.gz", 10, camera="alpha", size=SMALL_FRAME)
    (sandbox.results / "set_aside").write_text("mine")
    for jobs in ({"reduced/n.fits"}, set()):
        outcome = sandbox.run()
        assert outcome.status == 1
        assert {name for name in outcome.jobs if name.startswith("reduced/")} == jobs
        line = "reduced/g.fits does not belong among the products any more, and cannot be moved to"
        assert [text.startswith(line) for text in outcome.lines].count(True) == 1
        assert product.read_bytes() == content
    (combined,) = (sandbox.results / "combined").rglob("*.fits")
    assert b"reduced/g" not in combined.read_bytes()
    assert (sandbox.results / "set_aside").read_text() == "mine"
    (sandbox.results / "set_aside").unlink()
    assert sandbox.run().status == 0
    assert (sandbox.results / "set_aside/reduced/g.fits").read_bytes() == content
    assert not product.exists()
    check_from_scratch(sandbox)


# -- links from the results into the raw folder --


@pytest.mark.parametrize("place", ["reduced/sub", f"nights/{NIGHT}", f"nights/{NIGHT}/frames"])
@pytest.mark.parametrize("target", ["sub", "."])
def test_a_link_from_the_results_into_the_raw_folder_costs_no_raw_frame(sandbox, place, target):
    """Products would take the places of raw frames, and the list would delete what it has not."""
    sandbox.put("sub/b.fits", 8, camera="alpha", size=SMALL_FRAME, is_packed=False)
    link, raw = sandbox.results / place, products(sandbox.raw)
    link.parent.mkdir(parents=True)
    link.symlink_to(sandbox.raw / target)
    for _ in range(2):
        outcome = sandbox.run()
        assert products(sandbox.raw) == raw
        line = f"{link}/: leads into the raw folder, in which nothing is written"
        assert [text.startswith(line) for text in outcome.lines].count(True) == 1
        assert outcome.lines[-1].startswith(f"{3 + (place != 'reduced/sub')} reduced frames")
    link.unlink()
    sandbox.run()
    assert products(sandbox.raw) == raw
    check_from_scratch(sandbox)


def test_a_folder_of_products_that_is_a_link_into_the_raw_folder_is_one_line(sandbox):
    (sandbox.results / "set_aside").mkdir(parents=True)
    (sandbox.results / "set_aside/reduced").symlink_to(sandbox.raw)
    sandbox.put("g.fits", 9, camera="alpha", size=SMALL_FRAME, is_packed=False)
    sandbox.run()
    sandbox.write("g.fits", b"SIMPLE")
    raw = products(sandbox.raw)
    (line,) = [text for text in sandbox.run().lines if "leads into the raw folder" in text]
    assert line.startswith("reduced/g.fits does not belong among the products any more")
    assert products(sandbox.raw) == raw
    for name in ("reduced", "set_aside", ".ccdflow"):
        shutil.rmtree(sandbox.results / name)
        (sandbox.results / name).symlink_to(sandbox.raw)
        with pytest.raises(UserError, match="the raw folder lies where products are written"):
            settings.load_settings(sandbox.values(), folders=kinds.CHAIN.folders)
        (sandbox.results / name).unlink()


def test_files_of_the_users_own_among_small_pictures_stay(sandbox):
    sandbox.run()
    mine = sandbox.results / f"nights/{NIGHT}/frames/mine.fits"
    mine.write_bytes(b"mine")
    assert sandbox.run().jobs == []
    sandbox.put("b.fits.gz", 9, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    sandbox.config["pictures"] = {"per_type": 0}
    sandbox.run()
    assert mine.read_bytes() == b"mine"


# -- two nights, two folders -----------------------------------------------------------------------


def test_nights_whose_names_are_alike_are_two(sandbox):
    nights = ("dark run", "dark_run", "утро", "вечер", "n" * 240, "n" * 239 + "m", "a b", "a  b")
    for k, night in enumerate(nights):
        for number in range(2):
            content = frame_bytes(11 * k + number, camera="alpha", size=SMALL_FRAME)
            undated = content.replace(b"DATE-OBS=", b"NODATE  =")
            sandbox.write(f"{night}/f{number}.fits", undated)
    sandbox.run()
    for night in nights:
        assert len(list((sandbox.results / "combined" / paths.segment(night)).glob("*.fits"))) == 1
        assert (sandbox.results / paths.night_page(night)).is_file()
    check_from_scratch(sandbox)


# -- what was read is what is fingerprinted --------------------------------------------------------


@pytest.mark.parametrize("ending", ["fits.gz", "fits"])
@pytest.mark.parametrize("how", ["rows", "whole"])
def test_a_file_replaced_for_a_moment_leaves_none_of_its_pixels(sandbox, ending, how, monkeypatch):
    """From one of its openings on the path is another file; then it is what it was, and touched.

    Each of three files is another one from its first, second or third opening on.
    """
    other = sandbox.root / f"other.{ending}"
    firsts = {str(sandbox.raw / f"b{first}.{ending}"): first for first in (1, 2, 3)}
    for path, first in firsts.items():
        name, seed = Path(path).name, 50 + first
        sandbox.put(name, seed, camera="alpha", size=SMALL_FRAME, is_packed=ending == "fits.gz")
    content = sandbox.put(
        "b9.fits.gz", 59, camera="alpha", size=SMALL_FRAME, is_packed=ending == "fits.gz"
    )
    (sandbox.raw / "b9.fits.gz").rename(other)
    assert other.read_bytes() == content
    if how == "whole":
        sandbox.config["reduction"] = {"statistic": "mean"}
        from ccdflow.frame import streaming

        monkeypatch.setattr(streaming, "can_stream", lambda *_: False)
    sandbox.config["pictures"] = {"per_type": "all"}
    count, opener = Counter(), file_access.open_at_once

    def open_other_file(path, flags):
        if (name := str(path)) in firsts:
            count[name] += 1
            path = other if count[name] >= firsts[name] else path
        return opener(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(raw_files, "open_at_once", open_other_file)
        sandbox.run(keep_going=True)
    assert all(count[path] >= first for path, first in firsts.items())
    for path in firsts:
        os.utime(path)
    sandbox.run()
    check_from_scratch(sandbox)


@pytest.mark.parametrize("ending", ["fits.gz", "fits"])
@pytest.mark.parametrize("part", ["header", "pixels"])
def test_a_file_written_to_in_place_while_it_is_read_makes_no_product(
    sandbox, ending, part, monkeypatch
):
    """Between header and pixels, times put back: only the bytes can tell."""
    name = f"b0.{ending}"
    packed = ending == "fits.gz"
    sandbox.put(name, 50, camera="alpha", size=SMALL_FRAME, is_packed=packed, note="one")
    other = {"note": "two"} if part == "header" else {}
    new = sandbox.put(
        "x.fits", 50 if other else 51, camera="alpha", size=SMALL_FRAME, is_packed=packed, **other
    )
    (sandbox.raw / "x.fits").unlink()
    path, rewind = sandbox.raw / name, raw_files.RawFile.rewind
    old = path.read_bytes()

    def write_in_place(raw, layout):
        if raw._name == name and path.read_bytes() == old:
            status = path.stat()
            path.write_bytes(new)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return rewind(raw, layout)

    with monkeypatch.context() as patch:
        patch.setattr(raw_files.RawFile, "rewind", write_in_place)
        outcome = sandbox.run(keep_going=True)
    assert path.read_bytes() == new
    assert any(
        line.startswith(f"left for the next run: {name}: the raw file") for line in outcome.lines
    )
    assert not (sandbox.results / paths.reduced_frame(name)).exists()
    sandbox.run()
    check_from_scratch(sandbox)


# -- the row of a file that cannot be read ---------------------------------------------------------


def test_a_link_that_leads_nowhere_any_more_is_known_by_its_name_alone(sandbox):
    away = sandbox.root / "disk"
    away.mkdir()
    for number in range(2):
        sandbox.put(f"undated/b{number}.fits.gz", 20 + number, camera="alpha", size=SMALL_FRAME)
        path = sandbox.raw / f"undated/b{number}.fits.gz"
        path.rename(away / path.name)
        path.symlink_to(away / path.name)
    sandbox.run()
    (away / "b1.fits.gz").unlink()
    (sandbox.results / "reduced/undated/b1.fits").unlink()
    sandbox.run()
    row = load_store(sandbox.results).rows["undated/b1.fits.gz"]
    assert row.status_and_reason[0] == "set aside"
    assert (row.camera, row.geometry, row.facts["imagetyp"]) == ("", "", "")
    check_from_scratch(sandbox)


def refuse_raw(patch, file, code):
    """Let a raw file be one that cannot be read, also by root."""
    opener = raw_files.open_at_once

    def refuse_opening(path, flags):
        if str(path).endswith(file):
            raise OSError(code, os.strerror(code), str(path))
        return opener(path, flags)

    patch.setattr(raw_files, "open_at_once", refuse_opening)


@pytest.mark.parametrize(
    ("code", "is_known"),
    [(errno.EACCES, True), (errno.EIO, False)],
    ids=["a run later", "at once"],
)
def test_a_file_that_cannot_be_read_and_its_product_damaged(sandbox, code, is_known, monkeypatch):
    """The file is set aside as one that never was read, in the run that moves its product away."""
    file = "sub/c1.fits.gz"
    for number in range(3):
        sandbox.put(f"sub/c{number}.fits.gz", 20 + number, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    product = sandbox.results / paths.reduced_frame(file)
    before = product.read_bytes()
    os.utime(sandbox.raw / file)
    with monkeypatch.context() as patch:
        refuse_raw(patch, file, code)
        if is_known:
            assert sandbox.run().jobs == []
        product.write_bytes(before[:280])
        dry = sandbox.plan().plan
        reason = "raw file missing, and the product is damaged"
        assert reason in "\n".join(plan_description.lines_on_plan(dry))
        jobs = sandbox.run().jobs
        assert jobs == list(dry.jobs)
        assert jobs
        assert not [name for name in jobs if name.startswith("reduced/")]
        moved = sandbox.results / paths.set_aside(paths.reduced_frame(file))
        assert (product.exists(), moved.stat().st_size) == (False, 280)
        assert load_store(sandbox.results).rows[file].status_and_reason[0] == "set aside"
        after = products(sandbox.results)
        assert sandbox.run().jobs == []
        assert products(sandbox.results) == after
        check_from_scratch(sandbox)
    assert paths.reduced_frame(file) in sandbox.run().jobs
    assert product.read_bytes() == before
    check_from_scratch(sandbox)


@pytest.mark.parametrize("name", ["sub/c1.fits", "sub/c1.fits/b.fits"])
def test_a_file_that_cannot_be_read_has_twins_in_the_same_run(sandbox, name, monkeypatch):
    """Twins are found as if the file could be read: the next run reports nothing new."""
    file = "sub/c1.fits.gz"
    sandbox.put(file, 20, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    os.utime(sandbox.raw / file)
    sandbox.put(name, 21, camera="alpha", size=SMALL_FRAME, is_packed=False)
    refuse_raw(monkeypatch, file, errno.EIO)
    assert f"nights/{NIGHT}/report.html" in sandbox.run().jobs
    row = load_store(sandbox.results).rows[file]
    assert (row.status_and_reason[0], row.camera) == ("set aside", "")
    assert row.reason.startswith("would become the same product as")
    assert not (sandbox.results / "reduced/sub/c1.fits").is_file()
    check_from_scratch(sandbox)


# -- results that may not be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", ["reduced/sub", "combined/2024-03-01", "nights/2024-03-01", "nights"]
)
def test_a_folder_of_products_that_may_not_be_read(sandbox, folder, monkeypatch):
    """The folder is named, its products stay as they are, and the rest is made."""
    sandbox.put("sub/b.fits.gz", 20, camera="alpha", size=SMALL_FRAME)
    sandbox.run()
    before = products(sandbox.results)
    stat = os.stat

    def refuse_stat(path, **options):
        # Without permission to look into a folder nothing in it can be looked at.
        if folder == "nights" and f"results/{folder}/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    sandbox.put("sub/c.fits.gz", 21, camera="alpha", size=SMALL_FRAME, night="2024-03-02")
    sandbox.put("d.fits.gz", 22, camera="alpha", size=SMALL_FRAME, night="2024-03-03")
    (sandbox.raw / "sub/b.fits.gz").unlink()
    with monkeypatch.context() as patch:
        refuse_folder(patch, f"results/{folder}", PermissionError, 13, "Permission denied")
        patch.setattr(os, "stat", refuse_stat)
        outcome = sandbox.run()
    assert outcome.status == 0
    line = f"{sandbox.results / folder}/: cannot be read (Permission denied); its products were not"
    assert any(text.startswith(line) for text in outcome.lines)
    assert "reduced/d.fits" in outcome.jobs
    assert not any(product.startswith(f"{folder}/") for product in outcome.jobs)
    now = products(sandbox.results)
    assert any(name.startswith(folder) for name in before)
    assert {name: now.get(name) for name in before if name.startswith(folder)} == {
        name: content for name, content in before.items() if name.startswith(folder)
    }
    table = read_inventory(sandbox.results / "inventory.csv").set_index("file")
    is_named = (
        f"its product was not looked at: {folder}/ cannot be read" in table.reason["sub/c.fits.gz"]
    )
    assert is_named == (folder == "reduced/sub")
    sandbox.run()
    assert sandbox.run().jobs == []
    assert (sandbox.results / "reduced/sub/c.fits").is_file()


# -- what is written without a trace ---------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_bytes_written_through_a_mapping_are_seen(sandbox, packed, old):
    """On tmpfs neither mtime nor ctime tells of them."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("there is no tmpfs at /dev/shm")
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    name = "m.fits.gz" if packed else "m.fits"
    content = sandbox.put(name, 30, camera="alpha", size=SMALL_FRAME, is_packed=packed)
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        if old:
            # As a copy that keeps the times.
            os.utime(path, (1e9, 1e9))
        (sandbox.raw / name).unlink()
        (sandbox.raw / name).symlink_to(path)
        sandbox.run()
        before = (sandbox.results / paths.reduced_frame(name)).read_bytes()
        stamp = path.stat()
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            # Of the first row: of a packed file the checksum at the end stays what it was.
            mapped[len(content) // 2] ^= 1
        now = path.stat()
        assert (now.st_mtime_ns, now.st_ctime_ns) == (stamp.st_mtime_ns, stamp.st_ctime_ns)
        outcome = sandbox.run()
        product = sandbox.results / paths.reduced_frame(name)
        if packed:
            assert any(line.startswith(f"set aside: {name}: gzip") for line in outcome.lines)
            assert not product.exists()
        else:
            assert product.read_bytes() != before
        check_from_scratch(sandbox)


def test_a_file_that_was_old_when_it_was_read_is_not_read_again(sandbox, monkeypatch):
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    sandbox.run()
    opened, now = [], inventory.time.time

    def note_opening(path, name, make=raw_files.open_raw):
        opened.append(name)
        return make(path, name)

    monkeypatch.setattr(raw_files, "open_raw", note_opening)
    sandbox.run()
    assert sorted(opened) == ["a0.fits.gz", "a1.fits.gz", "a2.fits.gz"]
    monkeypatch.setattr(inventory.time, "time", lambda: now() + 2000)
    for wanted in (3, 0):
        opened.clear()
        assert sandbox.run().jobs == []
        assert len(opened) == wanted


# -- a disk that goes away for a moment ------------------------------------------------------------


def test_raw_files_that_go_away_in_mid_run_cost_no_earlier_product(sandbox, monkeypatch):
    """Products made of them stay in place though they are outdated, and the line counts them."""
    sandbox.run()
    before = products(sandbox.results)
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    make = kinds.make

    def raise_stale(path, flags):
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    with monkeypatch.context() as patch:

        def make_without_a_disk(*arguments, **options):
            patch.setattr(raw_files, "open_at_once", raise_stale)
            return make(*arguments, **options)

        patch.setattr(kinds, "make", make_without_a_disk)
        outcome = sandbox.run(may_lose=True)
    assert outcome.status == 0
    assert len([line for line in outcome.lines if line.startswith("left for the next run: ")]) == 3
    assert outcome.lines[-1].startswith("0 reduced frames, 1 combined bias, 0 set aside, 3 left")
    assert sum(
        line.startswith("kept in the earlier version: 1 combined bias: reduced/")
        for line in outcome.lines
    ) == 1  # fmt: skip
    made_of_pixels = {name for name in before if name.startswith(("reduced/", "combined/"))}
    assert len(made_of_pixels) == 4
    now = products(sandbox.results)
    assert {name: now.get(name) for name in made_of_pixels} == {
        name: before[name] for name in made_of_pixels
    }
    assert not (sandbox.results / "set_aside").exists()
    assert set(sandbox.run().jobs) >= made_of_pixels
    check_from_scratch(sandbox)


def test_a_verdict_on_the_pixels_of_a_young_frame_becomes_one_for_good(sandbox, monkeypatch):
    """The frame is tried in each run while it is young, once when it is old, and never again."""
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    content = frame_bytes(9, size=SMALL_FRAME).replace(b"BITPIX  =                   16",
                                                 b"BITPIX  =                  -32")  # fmt: skip
    values = content[: content.index(b"END" + b" " * 77) // 2880 * 2880 + 2880]
    sandbox.write("nan.fits", values + (b"\x7f\xc0\x00\x00" * 48 * 24).ljust(5760, b"\0"))
    now = inventory.time.time
    tried = []
    for later in (0, 0, 2000, 2000, 2000):
        monkeypatch.setattr(inventory.time, "time", lambda later=later: now() + later)
        outcome = sandbox.run()
        tried.append("reduced/nan.fits" in outcome.jobs)
        assert any(line.startswith("set aside: nan.fits: ") for line in outcome.lines)
    assert tried == [True, True, True, False, False]
