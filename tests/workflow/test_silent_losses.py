"""What an attack found lost or wrong without a word, through whole runs; and its neighbours."""

import errno
import mmap
import os
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from sandbox import SMALL, Sandbox, frame_bytes, products
from stand_ins import use_stand_ins

from ccdflow import kinds, paths, settings
from ccdflow.errors import UserError
from ccdflow.files import atomic_write, rawfile
from ccdflow.run import plan_description
from ccdflow.run.rawframes import inventory
from ccdflow.run.rawframes.header_store import load_store
from ccdflow.run.rawframes.inventory_table import read_inventory

NIGHT = "2024-03-01"
CONFIG = {"combine": {"minimum": 2}}


@pytest.fixture
def box(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(CONFIG))
    for number in range(3):
        made.put(f"a{number}.fits.gz", number, camera="alpha", size=SMALL)
    return made


def check_from_scratch(box):
    assert list(box.plan().plan.jobs) == []
    clean = box.clean()
    clean.run(cores=1)
    assert products(clean.results) == products(box.results)


# -- a product of any name is kept -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["raw gone bad", "raw gone and a bit flipped"])
def test_a_product_of_any_ending_is_kept(box, how):
    names = ["g.FITS", "h.fit", "i.FTS", "j.Fits.GZ", "k.fits.fz.gz"]
    for seed, name in enumerate(names, 9):
        box.put(name, seed, camera="alpha", size=SMALL, packed=name.lower().endswith(".gz"))
    box.run()
    kept = {}
    for name in names:
        path = box.results / paths.reduced_frame(name)
        content = bytearray(path.read_bytes())
        if how == "raw gone bad":
            written = (box.raw / name).read_bytes()
            box.write(name, written[: len(written) // 2])
        else:
            (box.raw / name).unlink()
            content[-3000] ^= 1
            path.write_bytes(content)
        kept[paths.reduced_frame(name)] = content
    lines = plan_description.lines_on_plan(box.plan().plan)
    for product in kept:
        assert any(line.startswith(f"{product} to be moved into set_aside/: ") for line in lines)
    box.run()
    for product, content in kept.items():
        assert not (box.results / product).exists()
        assert (box.results / "set_aside" / product).read_bytes() == content, product
    check_from_scratch(box)


def test_a_touched_product_of_any_ending_is_not_made_again(box):
    """Its own checksum tells that it is as it was."""
    box.put("g.fits.fz.gz", 9, camera="alpha", size=SMALL)
    box.put("h.FTS", 8, camera="alpha", size=SMALL, packed=False)
    box.run()
    for name in ("g.fits.fz", "h.FTS"):
        os.utime(box.results / "reduced" / name, (1e9, 1e9))
    assert box.run().jobs == []


@pytest.mark.parametrize("what", ["pipe", "link to itself"])
def test_what_is_no_file_is_no_product_and_nobody_waits_for_it(box, what):
    """In the place of a frame, of a list of small pictures, and among the records."""
    box.run()
    before = products(box.results)
    for name in ("reduced/a1.fits", f"nights/{NIGHT}/frames.json", ".ccdflow/done/x.json"):
        path = box.results / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        if what == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)
    assert set(box.run().jobs) == {"reduced/a1.fits", f"nights/{NIGHT}/frames.json"}
    assert products(box.results) == before
    assert box.run().jobs == []


# -- what is not asked for any more --


@pytest.mark.parametrize(
    "change", [{"types": ["bias"]}, {"flat": {"enabled": False}}], ids=["type", "master"]
)
def test_what_is_not_asked_for_any_more_leaves_no_flag_on_frames(box, change):
    """Neither its master's, nor the frame's own; asked for again, they come back."""
    box.config["flat"] = {"minimum": 2}
    for number, light in enumerate((20000, 20000, 200)):
        box.put(f"f{number}.fits.gz", number, kind="FLAT", size=SMALL, light=light)
    dark = frame_bytes(9, kind="DARK", size=SMALL)
    box.write("dead.fits", dark[:2880] + dark[2880:2882] * ((len(dark) - 2880) // 2))

    def flags():
        box.run()
        rows = load_store(box.results).rows
        return {file: re.split("[:;]", row.flags)[0] for file, row in rows.items() if row.flags}

    all_flags = {
        "f2.fits.gz": "left out of its combined flat", "dead.fits": "amplifier A is dead throughout"
    }  # fmt: skip
    assert flags() == all_flags
    before = dict(box.config)
    box.config |= change
    assert flags() == ({} if "types" in change else {"dead.fits": all_flags["dead.fits"]})
    table = (box.results / "inventory.csv").read_bytes()
    clean = box.clean()
    clean.run()
    assert (clean.results / "inventory.csv").read_bytes() == table
    box.config = before
    assert flags() == all_flags


# -- a folder of products set aside that cannot be written --


@pytest.mark.parametrize("how", ["raw gone bad", "raw gone and a bit flipped"])
def test_a_product_that_cannot_be_moved_costs_nothing_else(box, how):
    """It stays where it is, counts as none, and is moved once that is possible."""
    box.put("g.fits", 9, camera="alpha", size=SMALL, packed=False)
    box.run()
    product = box.results / "reduced/g.fits"
    content = bytearray(product.read_bytes())
    if how == "raw gone bad":
        box.write("g.fits", (box.raw / "g.fits").read_bytes()[:4000])
    else:
        (box.raw / "g.fits").unlink()
        content[-3000] ^= 1
        product.write_bytes(content)
    box.put("n.fits.gz", 10, camera="alpha", size=SMALL)
    (box.results / "set_aside").write_text("mine")
    for jobs in ({"reduced/n.fits"}, set()):
        outcome = box.run()
        assert outcome.status == 1
        assert {name for name in outcome.jobs if name.startswith("reduced/")} == jobs
        line = "reduced/g.fits does not belong among the products any more, and cannot be moved to"
        assert [text.startswith(line) for text in outcome.lines].count(True) == 1
        assert product.read_bytes() == content
    (combined,) = (box.results / "combined").rglob("*.fits")
    assert b"reduced/g" not in combined.read_bytes()
    assert (box.results / "set_aside").read_text() == "mine"
    (box.results / "set_aside").unlink()
    assert box.run().status == 0
    assert (box.results / "set_aside/reduced/g.fits").read_bytes() == content
    assert not product.exists()
    check_from_scratch(box)


# -- links from the results into the raw folder --


@pytest.mark.parametrize("place", ["reduced/sub", f"nights/{NIGHT}", f"nights/{NIGHT}/frames"])
@pytest.mark.parametrize("target", ["sub", "."])
def test_a_link_from_the_results_into_the_raw_folder_costs_no_raw_frame(box, place, target):
    """Products would take the places of raw frames, and the list would delete what it has not."""
    box.put("sub/b.fits", 8, camera="alpha", size=SMALL, packed=False)
    link, raw = box.results / place, products(box.raw)
    link.parent.mkdir(parents=True)
    link.symlink_to(box.raw / target)
    for _ in range(2):
        outcome = box.run()
        assert products(box.raw) == raw
        line = f"{link}/: leads into the raw folder, in which nothing is written"
        assert [text.startswith(line) for text in outcome.lines].count(True) == 1
        assert outcome.lines[-1].startswith(f"{3 + (place != 'reduced/sub')} reduced frames")
    link.unlink()
    box.run()
    assert products(box.raw) == raw
    check_from_scratch(box)


def test_a_folder_of_products_that_is_a_link_into_the_raw_folder_is_one_line(box):
    (box.results / "set_aside").mkdir(parents=True)
    (box.results / "set_aside/reduced").symlink_to(box.raw)
    box.put("g.fits", 9, camera="alpha", size=SMALL, packed=False)
    box.run()
    box.write("g.fits", b"SIMPLE")
    raw = products(box.raw)
    (line,) = [text for text in box.run().lines if "leads into the raw folder" in text]
    assert line.startswith("reduced/g.fits does not belong among the products any more")
    assert products(box.raw) == raw
    for name in ("reduced", "set_aside", ".ccdflow"):
        shutil.rmtree(box.results / name)
        (box.results / name).symlink_to(box.raw)
        with pytest.raises(UserError, match="the raw folder lies where products are written"):
            settings.load_settings(box.values(), folders=kinds.CHAIN.folders)
        (box.results / name).unlink()


def test_files_of_the_users_own_among_small_pictures_stay(box):
    box.run()
    mine = box.results / f"nights/{NIGHT}/frames/mine.fits"
    mine.write_bytes(b"mine")
    assert box.run().jobs == []
    box.put("b.fits.gz", 9, camera="alpha", size=SMALL)
    box.run()
    box.config["pictures"] = {"per_type": 0}
    box.run()
    assert mine.read_bytes() == b"mine"


# -- two nights, two folders -----------------------------------------------------------------------


def test_nights_whose_names_are_alike_are_two(box):
    nights = ("dark run", "dark_run", "утро", "вечер", "n" * 240, "n" * 239 + "m", "a b", "a  b")
    for k, night in enumerate(nights):
        for number in range(2):
            content = frame_bytes(11 * k + number, camera="alpha", size=SMALL)
            undated = content.replace(b"DATE-OBS=", b"NODATE  =")
            box.write(f"{night}/f{number}.fits", undated)
    box.run()
    for night in nights:
        assert len(list((box.results / "combined" / paths.segment(night)).glob("*.fits"))) == 1
        assert (box.results / paths.night_page(night)).is_file()
    check_from_scratch(box)


# -- what was read is what is fingerprinted --------------------------------------------------------


@pytest.mark.parametrize("ending", ["fits.gz", "fits"])
@pytest.mark.parametrize("how", ["rows", "whole"])
def test_a_file_replaced_for_a_moment_leaves_none_of_its_pixels(box, ending, how, monkeypatch):
    """From one of its openings on the path is another file; then it is what it was, and touched.

    Each of four files is another one from its first, second, third or fourth opening on.
    """
    other = box.root / f"other.{ending}"
    firsts = {str(box.raw / f"b{first}.{ending}"): first for first in (1, 2, 3, 4)}
    for path, first in firsts.items():
        name, seed = Path(path).name, 50 + first
        box.put(name, seed, camera="alpha", size=SMALL, packed=ending == "fits.gz")
    content = box.put("b9.fits.gz", 59, camera="alpha", size=SMALL, packed=ending == "fits.gz")
    (box.raw / "b9.fits.gz").rename(other)
    assert other.read_bytes() == content
    if how == "whole":
        box.config["reduction"] = {"statistic": "mean"}
        from ccdflow.frame import streaming

        monkeypatch.setattr(streaming, "can_stream", lambda *_: False)
    box.config["pictures"] = {"per_type": "all"}
    count, opener = Counter(), atomic_write.open_at_once

    def opened(path, flags):
        if (name := str(path)) in firsts:
            count[name] += 1
            path = other if count[name] >= firsts[name] else path
        return opener(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(rawfile, "open_at_once", opened)
        box.run(keep_going=True)
    assert count.keys() == firsts.keys()
    for path in firsts:
        os.utime(path)
    box.run()
    check_from_scratch(box)


@pytest.mark.parametrize("ending", ["fits.gz", "fits"])
@pytest.mark.parametrize("part", ["header", "pixels"])
def test_a_file_written_to_in_place_while_it_is_read_makes_no_product(
    box, ending, part, monkeypatch
):
    """Between header and pixels, times put back: only the bytes can tell."""
    name = f"b0.{ending}"
    packed = ending == "fits.gz"
    box.put(name, 50, camera="alpha", size=SMALL, packed=packed, note="one")
    other = {"note": "two"} if part == "header" else {}
    new = box.put("x.fits", 50 if other else 51, camera="alpha", size=SMALL, packed=packed, **other)
    (box.raw / "x.fits").unlink()
    path, rewind = box.raw / name, rawfile.RawFile.rewind
    old = path.read_bytes()

    def written(raw, layout):
        if raw._name == name and path.read_bytes() == old:
            status = path.stat()
            path.write_bytes(new)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return rewind(raw, layout)

    with monkeypatch.context() as patch:
        patch.setattr(rawfile.RawFile, "rewind", written)
        outcome = box.run(keep_going=True)
    assert path.read_bytes() == new
    assert any(
        line.startswith(f"left for the next run: {name}: the raw file") for line in outcome.lines
    )
    assert not (box.results / paths.reduced_frame(name)).exists()
    box.run()
    check_from_scratch(box)


# -- the row of a file that cannot be read ---------------------------------------------------------


def test_a_link_that_leads_nowhere_any_more_is_known_by_its_name_alone(box):
    away = box.root / "disk"
    away.mkdir()
    for number in range(2):
        box.put(f"undated/b{number}.fits.gz", 20 + number, camera="alpha", size=SMALL)
        path = box.raw / f"undated/b{number}.fits.gz"
        path.rename(away / path.name)
        path.symlink_to(away / path.name)
    box.run()
    (away / "b1.fits.gz").unlink()
    (box.results / "reduced/undated/b1.fits").unlink()
    box.run()
    row = load_store(box.results).rows["undated/b1.fits.gz"]
    assert row.status_and_reason[0] == "set aside"
    assert (row.camera, row.geometry, row.facts["imagetyp"]) == ("", "", "")
    check_from_scratch(box)


def refuse_raw(patch, file, code):
    """Let a raw file be one that cannot be read, also by root."""
    opener = rawfile.open_at_once

    def refused(path, flags):
        if str(path).endswith(file):
            raise OSError(code, os.strerror(code), str(path))
        return opener(path, flags)

    patch.setattr(rawfile, "open_at_once", refused)


@pytest.mark.parametrize(
    ("code", "is_known"),
    [(errno.EACCES, True), (errno.EIO, False)],
    ids=["a run later", "at once"],
)
def test_a_file_that_cannot_be_read_and_its_product_damaged(box, code, is_known, monkeypatch):
    """It is set aside as one that never was read, in the run that moves its product away."""
    file = "sub/c1.fits.gz"
    for number in range(3):
        box.put(f"sub/c{number}.fits.gz", 20 + number, camera="alpha", size=SMALL)
    box.run()
    product = box.results / paths.reduced_frame(file)
    before = product.read_bytes()
    os.utime(box.raw / file)
    with monkeypatch.context() as patch:
        refuse_raw(patch, file, code)
        if is_known:
            assert box.run().jobs == []
        product.write_bytes(before[:280])
        dry = box.plan().plan
        reason = "raw file missing, and the product is damaged"
        assert reason in "\n".join(plan_description.lines_on_plan(dry))
        jobs = box.run().jobs
        assert jobs == list(dry.jobs)
        assert jobs
        assert not [name for name in jobs if name.startswith("reduced/")]
        moved = box.results / paths.set_aside(paths.reduced_frame(file))
        assert (product.exists(), moved.stat().st_size) == (False, 280)
        assert load_store(box.results).rows[file].status_and_reason[0] == "set aside"
        after = products(box.results)
        assert box.run().jobs == []
        assert products(box.results) == after
        check_from_scratch(box)
    assert paths.reduced_frame(file) in box.run().jobs
    assert product.read_bytes() == before
    check_from_scratch(box)


@pytest.mark.parametrize("name", ["sub/c1.fits", "sub/c1.fits/b.fits"])
def test_a_file_that_cannot_be_read_has_twins_in_the_same_run(box, name, monkeypatch):
    """As if it could be read: of the next run nobody learns anything new."""
    file = "sub/c1.fits.gz"
    box.put(file, 20, camera="alpha", size=SMALL)
    box.run()
    os.utime(box.raw / file)
    box.put(name, 21, camera="alpha", size=SMALL, packed=False)
    refuse_raw(monkeypatch, file, errno.EIO)
    assert f"nights/{NIGHT}/report.html" in box.run().jobs
    row = load_store(box.results).rows[file]
    assert (row.status_and_reason[0], row.camera) == ("set aside", "")
    assert row.reason.startswith("would become the same product as")
    assert not (box.results / "reduced/sub/c1.fits").is_file()
    check_from_scratch(box)


# -- results that may not be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    "folder", ["reduced/sub", "combined/2024-03-01", "nights/2024-03-01", "nights"]
)
def test_a_folder_of_products_that_may_not_be_read(box, folder, monkeypatch):
    """It is named, its products stay as they are, and the rest is made."""
    box.put("sub/b.fits.gz", 20, camera="alpha", size=SMALL)
    box.run()
    before = products(box.results)
    scandir, stat = os.scandir, os.stat

    def refused(path):
        if str(path).endswith(f"results/{folder}"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def unknown(path, **options):
        # Without permission to look into a folder nothing in it can be looked at.
        if folder == "nights" and f"results/{folder}/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    box.put("sub/c.fits.gz", 21, camera="alpha", size=SMALL, night="2024-03-02")
    box.put("d.fits.gz", 22, camera="alpha", size=SMALL, night="2024-03-03")
    (box.raw / "sub/b.fits.gz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refused)
        patch.setattr(os, "stat", unknown)
        outcome = box.run()
    assert outcome.status == 0
    line = f"{box.results / folder}/: cannot be read (Permission denied); its products were not"
    assert any(text.startswith(line) for text in outcome.lines)
    assert "reduced/d.fits" in outcome.jobs
    assert not any(product.startswith(f"{folder}/") for product in outcome.jobs)
    now = products(box.results)
    assert {name: now.get(name) for name in before if name.startswith(folder)} == {
        name: content for name, content in before.items() if name.startswith(folder)
    }
    table = read_inventory(box.results / "inventory.csv").set_index("file")
    is_said = (
        f"its product was not looked at: {folder}/ cannot be read" in table.reason["sub/c.fits.gz"]
    )
    assert is_said == (folder == "reduced/sub")
    box.run()
    assert box.run().jobs == []
    assert (box.results / "reduced/sub/c.fits").is_file()


# -- what is written without a trace ---------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("old", [True, False])
def test_bytes_written_through_a_mapping_are_seen(box, packed, old):
    """On tmpfs neither mtime nor ctime tells of them."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("there is no tmpfs at /dev/shm")
    box.config["limits"] = {"settle": 1000, "frame_memory": 50}
    name = "m.fits.gz" if packed else "m.fits"
    content = box.put(name, 30, camera="alpha", size=SMALL, packed=packed)
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        if old:
            # As a copy that keeps the times.
            os.utime(path, (1e9, 1e9))
        (box.raw / name).unlink()
        (box.raw / name).symlink_to(path)
        box.run()
        before = (box.results / paths.reduced_frame(name)).read_bytes()
        stamp = path.stat()
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            # Of the first row: of a packed file the checksum at the end stays what it was.
            mapped[len(content) // 2] ^= 1
        now = path.stat()
        assert (now.st_mtime_ns, now.st_ctime_ns) == (stamp.st_mtime_ns, stamp.st_ctime_ns)
        outcome = box.run()
        product = box.results / paths.reduced_frame(name)
        if packed:
            assert any(line.startswith(f"set aside: {name}: gzip") for line in outcome.lines)
            assert not product.exists()
        else:
            assert product.read_bytes() != before
        check_from_scratch(box)


def test_a_file_that_was_old_when_it_was_read_is_not_read_again(box, monkeypatch):
    box.config["limits"] = {"settle": 1000, "frame_memory": 50}
    box.run()
    opened, now = [], inventory.time.time

    def counted(path, name, make=rawfile.open_raw):
        opened.append(name)
        return make(path, name)

    monkeypatch.setattr(rawfile, "open_raw", counted)
    box.run()
    assert sorted(opened) == ["a0.fits.gz", "a1.fits.gz", "a2.fits.gz"]
    monkeypatch.setattr(inventory.time, "time", lambda: now() + 2000)
    for wanted in (3, 0):
        opened.clear()
        assert box.run().jobs == []
        assert len(opened) == wanted


# -- a disk that goes away for a moment ------------------------------------------------------------


def test_raw_files_that_go_away_in_mid_run_cost_no_earlier_product(box, monkeypatch):
    """Products made of them stay in place though they are outdated, and count as not made."""
    box.run()
    before = products(box.results)
    box.profile("alpha", reduction={"statistic": "mean"})
    make = kinds.make

    def away(path, flags):
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    with monkeypatch.context() as patch:

        def make_without_a_disk(*arguments, **options):
            patch.setattr(rawfile, "open_at_once", away)
            return make(*arguments, **options)

        patch.setattr(kinds, "make", make_without_a_disk)
        outcome = box.run(may_lose=True)
    assert outcome.status == 0
    assert len([line for line in outcome.lines if line.startswith("left for the next run: ")]) == 3
    assert outcome.lines[-1].startswith("0 reduced frames, 0 combined biases, 0 set aside, 3 left")
    made_of_pixels = {name for name in before if name.startswith(("reduced/", "combined/"))}
    assert len(made_of_pixels) == 4
    now = products(box.results)
    assert {name: now.get(name) for name in made_of_pixels} == {
        name: before[name] for name in made_of_pixels
    }
    assert not (box.results / "set_aside").exists()
    assert set(box.run().jobs) >= made_of_pixels
    check_from_scratch(box)


def test_a_verdict_on_the_pixels_of_a_young_frame_becomes_one_for_good(box, monkeypatch):
    """It is tried in each run while it is young, once more when it is old, and never again."""
    box.config["limits"] = {"settle": 1000, "frame_memory": 50}
    content = frame_bytes(9, size=SMALL).replace(b"BITPIX  =                   16",
                                                 b"BITPIX  =                  -32")  # fmt: skip
    values = content[: content.index(b"END" + b" " * 77) // 2880 * 2880 + 2880]
    box.write("nan.fits", values + (b"\x7f\xc0\x00\x00" * 48 * 24).ljust(5760, b"\0"))
    now = inventory.time.time
    tried = []
    for later in (0, 0, 2000, 2000, 2000):
        monkeypatch.setattr(inventory.time, "time", lambda later=later: now() + later)
        outcome = box.run()
        tried.append("reduced/nan.fits" in outcome.jobs)
        assert any(line.startswith("set aside: nan.fits: ") for line in outcome.lines)
    assert tried == [True, True, True, False, False]
