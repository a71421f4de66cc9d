"""Notes whose lines have a checksum each."""

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdflow.files.text_files import checked_lines, notes

LINES = ['["a",1]\t{"x":1}\t{}', '["b",2]\t{}\t{}', '["c"]']


def write(folder, lines=LINES, seed=7):
    path, copy = folder / "notes", folder / "copy"
    first_line = checked_lines.first_line_of({"fields": ["name"]})
    sound_lines = [checked_lines.add_checksum(line, seed) for line in lines]
    checked_lines.write_lines(path, first_line, sound_lines, copy_path=copy)
    return path, copy


def split_sound(file_lines, seed=7):
    """Return the sound lines, and the number of others."""
    lines = [checked_lines.remove_checksum(line, seed) for line in file_lines.lines]
    return [line for line in lines if line is not None], lines.count(None)


def test_lines_come_back(tmp_path):
    path, copy = write(tmp_path)
    file_lines = checked_lines.read_lines(path, copy)
    assert file_lines.head["fields"] == ["name"]
    assert (file_lines.is_whole, split_sound(file_lines)) == (True, (LINES, 0))
    text = path.read_text().splitlines()[2]
    # A reader of one JSON value passes over the checksum.
    assert json.JSONDecoder().raw_decode(text)[0] == ["a", 1]
    assert text.split("\t")[1:] == ['{"x":1}', "{}"]


def test_the_checksum_of_a_line_is_its_crc_behind_the_first_field():
    # CRC-32 of "123456789" is the check value of its definition.
    assert checked_lines.add_checksum("123456789") == "123456789 cbf43926"
    assert (
        checked_lines.add_checksum("56789", checked_lines.text_checksum("1234")) == "56789 cbf43926"
    )
    assert checked_lines.remove_checksum("123456789 cbf43926") == "123456789"


@given(
    st.text(max_size=20).map(lambda text: text.replace("\n", "")),
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.integers(1, 0x10FFFF).map(chr),
)
def test_a_line_with_another_letter_or_another_seed_is_damaged(line, seed, place, letter):
    line = line.encode("utf-8", "replace").decode()
    letter = letter.encode("utf-8", "replace").decode()
    whole = checked_lines.add_checksum(line, seed)
    assert checked_lines.remove_checksum(whole, seed) == line
    assert checked_lines.remove_checksum(whole, seed ^ 1) is None
    place %= len(whole)
    changed = whole[:place] + letter + whole[place + 1 :]
    assert (checked_lines.remove_checksum(changed, seed) is None) == (changed != whole)


def test_a_first_line_with_another_letter_is_damaged():
    line = checked_lines.first_line_of({"bases": [{"a": 1.5}], "fields": ["x"]})
    values = checked_lines.values_of_first(line)
    assert values["bases"] == [{"a": 1.5}]
    # The values may be written again: the checksum is then that of the new line.
    assert checked_lines.first_line_of(values) == line
    start = line.index(',"checksum"')
    for place in (*range(start), *range(len(line) - 10, len(line) - 2)):
        changed = line[:place] + ("0" if line[place] != "0" else "1") + line[place + 1 :]
        assert checked_lines.values_of_first(changed) == {}, place


def test_a_first_line_of_an_earlier_version_has_no_checksum():
    assert checked_lines.values_of_first('{"fields":[]}') == {"fields": []}
    assert checked_lines.values_of_first("[1]") == checked_lines.values_of_first("x") == {}


@pytest.mark.parametrize("removed", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_lines_that_are_gone_are_counted(tmp_path, removed):
    path, copy = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for number in reversed(removed):
        del lines[2 + number]
    path.write_bytes(b"".join(lines))
    file_lines = checked_lines.read_lines(path, copy)
    kept, n_damaged = split_sound(file_lines)
    assert kept == [line for number, line in enumerate(LINES) if number not in removed]
    assert (n_damaged, file_lines.n_lost(len(kept), n_damaged)) == (0, len(removed))
    copy.unlink()
    assert checked_lines.read_lines(path, copy).n_lost(len(kept), 0) == 0


def test_the_copy_of_the_first_line_stands_in_for_it(tmp_path):
    path, copy = write(tmp_path)
    content = path.read_bytes()
    end = content.index(b"\n", 9)
    for content_on_disk in (
        bytes(end) + content[end:],
        content[end:],
        content[:4],
        b"x" * 20 + content,
    ):
        path.write_bytes(content_on_disk)
        file_lines = checked_lines.read_lines(path, copy)
        assert file_lines.head["fields"] == ["name"]
        assert split_sound(file_lines)[0] == (LINES if content_on_disk != content[:4] else [])
    copy.unlink()
    path.write_bytes(content[end:])
    assert checked_lines.read_lines(path, copy).head == {}


def test_whole_notes_of_an_unknown_form_are_not_read_by_the_copy(tmp_path):
    path, copy = write(tmp_path)
    notes.write_checked(path, ["[1]", *LINES])
    assert checked_lines.read_lines(path, copy).head == {}


def test_damaged_notes_of_lines_without_checksums_are_not_read(tmp_path):
    path = tmp_path / "notes"
    notes.write_checked(path, ['{"fields":[]}', *LINES])
    assert checked_lines.read_lines(path).head == {"fields": []}
    path.write_bytes(path.read_bytes()[:-1])
    assert checked_lines.read_lines(path).head == {}


def test_blocks_that_the_disk_cannot_read_cost_their_lines(tmp_path, monkeypatch):
    """The rest of the file is read around them."""
    lines = [f'["{number}","{number:0100}"]' for number in range(3000)]
    path, copy = write(tmp_path, lines)
    size, bad = path.stat().st_size, range(40 * 4096, 42 * 4096)
    assert size > 300_000
    pread, read_checked = os.pread, notes.read_checked

    def read_around(descriptor, length, start):
        if start < bad.stop and start + length > bad.start:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, length, start)

    monkeypatch.setattr(os, "pread", read_around)
    monkeypatch.setattr(notes, "read_checked", lambda p: None if p == path else read_checked(p))
    file_lines = checked_lines.read_lines(path, copy)
    kept, n_damaged = split_sound(file_lines)
    ends = np.cumsum([len(line) for line in path.read_bytes().splitlines(keepends=True)])
    touched = ((ends[2:] > bad.start) & (ends[1:-1] < bad.stop)).sum()
    assert file_lines.n_lost(len(kept), n_damaged) == touched > 50
    monkeypatch.setattr(checked_lines, "_MOST_UNREADABLE", 1)
    kept, _ = split_sound(checked_lines.read_lines(path, copy))
    assert 0 < len(kept) < len(lines) // 2


def test_a_file_of_zeros_or_a_folder_has_no_line(tmp_path):
    path, copy = write(tmp_path)
    path.write_bytes(bytes(3 << 20))
    file_lines = checked_lines.read_lines(path, copy)
    assert split_sound(file_lines)[0] == []
    path.unlink()
    path.mkdir()
    assert checked_lines.read_lines(path, copy).head == {}
    assert checked_lines.read_lines(tmp_path / "none", copy).head == {}


def test_the_checksum_that_notes_were_written_with_is_known_by_the_copy(tmp_path):
    path, copy = write(tmp_path)
    content, checksum = path.read_bytes(), notes.noted_checksum(path)
    assert checked_lines.written_checksum(path, copy) == checksum
    path.write_bytes(b"00000000" + content[8:])
    assert checked_lines.written_checksum(path, copy) == checksum
    # A version without copies wrote the notes anew.
    notes.write_checked(path, ["{}"])
    assert checked_lines.written_checksum(path, copy) == notes.noted_checksum(path) != checksum
