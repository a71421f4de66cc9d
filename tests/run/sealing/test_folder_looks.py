"""Names, sizes and times of many folders, looked at by one process and by several."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

from ccdflow.files import file_access
from ccdflow.run.processes import helper_processes
from ccdflow.run.products import product_stamps
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.raw_frames.warnings_of_rows import files_passed_over, passed_over_lines
from ccdflow.run.sealing import folder_looks
from ccdflow.run.sealing.folder_looks import Folder, FolderLook, NotPlain, TreeLook


@pytest.fixture
def folders(tmp_path):
    """Return a folder with 40 nights of two files, one of them in a folder of the night's own."""
    for number in range(40):
        night = tmp_path / "raw" / f"night{number:02}"
        (night / "flats").mkdir(parents=True)
        (night / "a.fits").write_bytes(b"x" * number)
        (night / "flats" / "b.fits").write_bytes(b"y")
    return tmp_path / "raw"


@pytest.fixture
def helped_looks(monkeypatch):
    """Let other processes help from the second folder on, three folders at a time."""
    for name, value in {"_MOST_FOLDERS_ALONE": 1, "_CHUNK": 3, "_OWN_FOLDERS": 1}.items():
        monkeypatch.setattr(folder_looks, name, value)
    questions, ask = [], helper_processes.ask

    def note_question(helper, chunk):
        questions.append(chunk)
        return ask(helper, chunk)

    monkeypatch.setattr(folder_looks, "ask", note_question)
    return questions


def hashes_below(top, cores, *, is_raw=True, name="raw/"):
    return look_below(top, cores, is_raw=is_raw, name=name).hashes


def look_below(top, cores, *, is_raw=True, name="raw/"):
    looks = TreeLook(cores)
    look = FolderLook(os.fspath(top.parent / "raw"), {})
    looks.look(look, [Folder(os.fspath(top), name, is_raw=is_raw)])
    return looks


def test_files_are_found_in_the_open_folder_and_not_by_their_path(folders, tmp_path, monkeypatch):
    """By a path the system goes through all folders above the file, for each of a million files."""
    scandir, listed = os.scandir, []

    def note_folder(folder):
        listed.append(folder)
        return scandir(folder)

    products = tmp_path / "results" / "reduced" / "night"
    products.mkdir(parents=True)
    (products / "a.fits").write_bytes(b"x" * 7)
    kinds = [SimpleNamespace(path_prefix="reduced/")]
    before = len([*Path("/proc/self/fd").iterdir()])
    monkeypatch.setattr(os, "scandir", note_folder)
    stamps, _ = raw_folders.find_frames(folders)
    assert len(listed) == 81
    assert len(stamps) == 80
    assert stamps["night07/a.fits"] == file_access.stamp_of(folders / "night07" / "a.fits")
    swept, _ = product_stamps.product_stamps(tmp_path / "results", kinds, folders)
    assert [*swept.names] == ["reduced/night/a.fits"]
    assert swept.stamp_of("reduced/night/a.fits")[0] == 7
    of_one = product_stamps.ProductStamps(tmp_path / "results", ["reduced/night"])
    assert of_one.stamp_of("reduced/night/a.fits") == swept.stamp_of("reduced/night/a.fits")
    look_below(folders, 1)
    assert len(listed) == 81 + 2 + 1 + 81
    assert {type(folder) for folder in listed} == {int}
    monkeypatch.undo()
    # No folder stays open.
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_several_processes_see_the_files_that_one_sees(folders, helped_looks):
    (folders / "linked").symlink_to(folders / "night07" / "flats")
    alone = hashes_below(folders, 1)
    assert not helped_looks
    assert len(alone) == 81
    assert alone["raw/linked"] == alone["raw/night07/flats"] != alone["raw/night08/flats"]
    assert hashes_below(folders, 2) == alone
    assert helped_looks


def test_a_changed_size_time_or_name_in_one_folder_changes_its_hash_alone(folders, helped_looks):
    before = hashes_below(folders, 2)
    (folders / "night03" / "a.fits").write_bytes(b"long, and longer than it was before")
    os.utime(folders / "night04" / "flats" / "b.fits", ns=(5, 5))
    (folders / "night05" / "a.fits").rename(folders / "night05" / "c.fits")
    now = hashes_below(folders, 2)
    assert {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)} == {
        "raw/night03", "raw/night04/flats", "raw/night05",
    }  # fmt: skip


def test_folders_of_a_process_that_dies_are_looked_at_here(folders, helped_looks, monkeypatch):
    alone, ask = hashes_below(folders, 1), folder_looks.ask

    def kill_helper(helper, chunk):
        helper.kill()
        helper.wait()
        return ask(helper, chunk)

    monkeypatch.setattr(folder_looks, "ask", kill_helper)
    assert hashes_below(folders, 2) == alone
    assert len(helped_looks) == 1


@pytest.mark.parametrize("cores", [1, 2])
def test_a_temporary_file_among_the_products_is_for_a_plan(folders, helped_looks, cores):
    part = folders / "night00" / "flats" / ".b.fits.host-1-1.part"
    part.write_bytes(b"")
    # Raw frames may have such names.
    assert len(hashes_below(folders, cores)) == 80
    with pytest.raises(NotPlain, match="flats: a link, temporary file or tree"):
        hashes_below(folders, cores, is_raw=False)


def test_a_link_into_the_raw_folder_is_for_a_plan(folders, tmp_path):
    (tmp_path / "reduced").mkdir()
    (tmp_path / "reduced" / "more").symlink_to(folders / "night00")
    look = pickle.loads(pickle.dumps(FolderLook(os.fspath(folders), {})))
    assert look(Folder(os.fspath(tmp_path / "reduced"), "reduced/")) is None
    assert hashes_below(tmp_path / "reduced", 1).keys() == {"raw/more", "raw/more/flats"}


def test_files_that_are_passed_over_are_those_of_a_walk(folders, tmp_path):
    raw = tmp_path / "raw"
    names = ("._a.fits", "n1/.b.fits.gz", "n1/c.fits.Z", ".h/d.fits.Z", "n1/.DS_Store", "n1/e.fz")
    for name in names:
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(b"x")
    # A walk does not follow the link, below which the look finds all once more.
    (raw / "linked").symlink_to(raw / "n1")
    looks = look_below(folders, 1)
    names = [name.removeprefix("raw/") for name in looks.passed_over]
    assert sorted(names) == sorted(files_passed_over(raw))
    lines = passed_over_lines(names)
    assert [line.partition(" with ")[0] for line in lines[:1]] == ["passed over: 2 files"]
    assert "(the first: 'n1/c.fits.Z')" in lines[1]
    assert lines[1].startswith("passed over: 1 file packed")
    assert lines[2:] == [
        "passed over: 1 file without .fits in the name: rename a001.fz to a001.fits.fz (the first:"
        " 'n1/e.fz')"
    ]
