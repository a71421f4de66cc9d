"""Tables brought up to date have the bytes of tables written from scratch."""

import errno
import os
import random

import pytest

from ccdflow.files.text_files import tables

COLUMNS = ("name", "value", "text")


class Cells:
    """The cells of rows, and which rows were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, row):
        self.asked.append(row[0])
        return row


def row(name, text="plain"):
    # A list: two rows that say the same are two objects.
    return [name, 0.1, text]


def scratch(tmp_path, rows):
    path = tmp_path / "scratch.csv"
    path.unlink(missing_ok=True)
    tables.write_table(path, COLUMNS, rows, {}, lambda each: each)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_come_to_the_bytes_from_scratch(tmp_path, seed):
    chance = random.Random(seed)
    texts = ["plain", 'a "word", and more', "", "é; ü", "two\nlines" if seed % 4 == 0 else "x"]
    path, before = tmp_path / "table.csv", {}
    for _ in range(6):
        names = [f"n{chance.randrange(30):02}/a.fits" for _ in range(chance.randrange(25))]
        now = {n: before[n] for n in before if chance.random() < 0.8}
        now |= {n: row(n, chance.choice(texts)) for n in names}
        tables.write_table(path, COLUMNS, now, before, lambda each: each)
        assert path.read_bytes() == scratch(tmp_path, now)
        before = now


def test_only_rows_that_changed_are_asked_for_their_cells(tmp_path):
    path, cells = tmp_path / "table.csv", Cells()
    before = {name: row(name) for name in "bdf"}
    tables.write_table(path, COLUMNS, before, {}, cells)
    assert cells.asked == ["b", "d", "f"]
    cells.asked.clear()
    now = {"b": before["b"], "d": row("d", "other"), "f": before["f"], "a": row("a"), "z": row("z")}
    assert tables.write_table(path, COLUMNS, now, before, cells)
    assert cells.asked == ["a", "d", "z"]
    assert path.read_text().splitlines() == [
        "name,value,text", "a,0.1,plain", "b,0.1,plain", "d,0.1,other", "f,0.1,plain",
        "z,0.1,plain",
    ]  # fmt: skip
    stamp = path.stat()
    assert not tables.write_table(path, COLUMNS, now, now, cells)
    assert path.stat().st_mtime_ns == stamp.st_mtime_ns


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "name,value,text\n",
        "name,value,text\na,0.1,plain",
        "name,value\na,0.1,plain\n",
        "name,value,text\na,0.1,plain\nb,0.1,plain\n",
    ],
)
def test_a_table_unlike_its_noted_rows_is_written_anew(tmp_path, text):
    path, before = tmp_path / "table.csv", {"a": row("a")}
    if text is not None:
        path.write_text(text)
    now = {**before, "c": row("c")}
    assert tables.write_table(path, COLUMNS, now, before, lambda each: each)
    assert path.read_bytes() == scratch(tmp_path, now)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["scratch.csv", "table.csv"]


def test_lines_are_put_into_a_table_as_if_it_were_written_from_scratch(tmp_path):
    """Names that begin alike, several lines a name, names that go, tables without a line."""
    dice, path = random.Random(1), tmp_path / "table.csv"

    def name():
        return "".join(dice.choice("ab/.-c") for _ in range(dice.randint(1, 4)))

    def lines(of, word):
        return [
            f"{of},{word}{'x' * dice.randint(0, 40)}\n".encode() for _ in range(dice.choice((1, 3)))
        ]

    def text(rows):
        own = (b"".join(rows[each]) for each in sorted(rows, key=str.encode))
        return b"".join([b"file,value\n", *own])

    for _ in range(200):
        rows = {each: lines(each, "old") for each in {name() for _ in range(dice.randint(0, 12))}}
        path.write_bytes(text(rows))
        changed = [*dice.sample(sorted(rows), min(len(rows), 2)), *(name() for _ in range(2))]
        new = {each: dice.choice(([], lines(each, "new"))) for each in changed}
        tables.update_table(path, new)
        assert path.read_bytes() == text(rows | new)


@pytest.mark.parametrize("most_bytes", [None, 1000, 0, -1, -2])
def test_long_parts_are_copied_by_the_system_or_else_by_python(tmp_path, monkeypatch, most_bytes):
    """A system that copies all at once, a part of it, nothing (0), or refuses (-1): same bytes.

    So are those of a Python that cannot ask the system (-2).
    """
    path = tmp_path / "table.csv"
    names = [f"f{number:05}" for number in range(300)]
    rows = {name: f"{name},{'x' * (number % 97)}\n".encode() for number, name in enumerate(names)}
    path.write_bytes(b"file,value\n" + b"".join(rows.values()))
    copy, copied = os.copy_file_range, []

    def copy_some(source, target, count, offset):
        if most_bytes == -1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        number = count if most_bytes is None else min(count, most_bytes)
        copied.append(copy(source, target, number, offset) if number else 0)
        return copied[-1]

    monkeypatch.setattr(tables, "_PIECE", 2000)
    monkeypatch.setattr(os, "copy_file_range", copy_some)
    if most_bytes == -2:
        monkeypatch.delattr(os, "copy_file_range")
    new = {"f00002": [b"f00002,new\n"], "f00150": [], "f00299x": [b"f00299x,1\n", b"f00299x,2\n"]}
    expected = rows | {name: b"".join(lines) for name, lines in new.items()}
    tables.update_table(path, new)
    assert path.read_bytes() == b"file,value\n" + b"".join(
        expected[name] for name in sorted(expected)
    )
    # The parts before f00150 and behind it are long, the one before f00002 is not.
    by_system = sum(len(rows[name]) for name in (*names[3:150], *names[151:]))
    assert sum(copied) == {None: by_system, 1000: by_system, 0: 0, -1: 0, -2: 0}[most_bytes]


def test_a_table_that_becomes_shorter_while_it_is_copied_stays_as_it_is(tmp_path, monkeypatch):
    """The end of the old one would be missing from the new one, and nobody would notice."""
    path = tmp_path / "table.csv"
    tables.write_table(path, COLUMNS, {name: row(name) for name in "abcdef"}, {}, lambda each: each)
    lines_of = tables._lines_of

    def cut_first(old_file, name, size):
        place = lines_of(old_file, name, size)
        os.truncate(path, 30)
        return place

    monkeypatch.setattr(tables, "_lines_of", cut_first)
    with pytest.raises(OSError, match=r"table\.csv became shorter while it was read"):
        tables.update_table(path, {"f": [b"f,1,new\n"]})
    assert path.stat().st_size == 30
    assert list(tmp_path.iterdir()) == [path]
