"""Damage to the notes of an archive costs the damaged lines: their products alone are made again.

The lines that survive are found by comparison with the bytes before the damage, not by checksums.
"""

import re

import numpy as np
import pytest
from older_notes import write_as_before
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import copy_with_stand_ins, use_stand_ins

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import note_columns
from ccdflow.run import ledger
from ccdflow.run.lines import plan_description

NIGHTS = tuple(f"2024-03-{day:02}" for day in range(1, 6))
LATER_NIGHT = "2024-03-08"
# Frames of a night, for products of all kinds.
FRAMES_OF_NIGHT = ("BIAS", "BIAS", "DARK", "DARK", "FLAT", "FLAT", "OBJECT", "OBJECT")
DAMAGES = ("change", "insert", "delete", "cut", "zero", "double", "break")


def take(sandbox, night, *kinds, light=None):
    for number, kind in enumerate(kinds):
        sandbox.put(
            f"{night}/{number}.fits", 100 * int(night[-2:]) + number, is_packed=False, kind=kind,
            night=night, size=SMALL_FRAME, light=(light or {}).get(kind, 300),
        )  # fmt: skip


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        config = {"bias": {"minimum": 2}, "pictures": {"per_type": 0}}
        made = Sandbox(tmp_path_factory.mktemp("damaged") / "box", config)
        for night in NIGHTS:
            take(made, night, "BIAS", "BIAS", "OBJECT")
        made.run()
        return made


@pytest.fixture
def sandbox(original_archive, tmp_path, monkeypatch):
    """An archive of its own with nothing to do, whose nights are closed."""
    return copy_with_stand_ins(original_archive, tmp_path / "box", monkeypatch)


@pytest.fixture
def sandbox_with_late_notes(sandbox):
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    sandbox.run()
    assert sandbox.run().jobs == []
    assert (sandbox.results / paths.LATE_NOTES).is_file()
    return sandbox


def damage_bytes(content, how, rng, first=0):
    """Return bytes with a damage that begins at a random place, not before ``first``."""
    start = int(rng.integers(first, len(content)))
    end = min(len(content), start + int(rng.integers(1, 700)))
    noise = rng.integers(0, 256, end - start, dtype=np.uint8).tobytes()
    middle = {
        "change": bytes([content[start] ^ int(rng.integers(1, 256))]) + content[start + 1 : end],
        "insert": noise + content[start:end],
        "delete": b"",
        "zero": bytes(end - start),
        "double": content[start:end] * 2,
        "break": b"\n" + content[start:end],
    }
    return content[:start] + (b"" if how == "cut" else middle[how] + content[end:])


def lost_names(before, after):
    """Return the names of the lines after the first one that are not in damaged notes."""
    kept = {*after.split(b"\n")}
    return {
        line[2:].split(b'"')[0].decode() for line in before.split(b"\n")[2:-1] if line not in kept
    }


def warnings(sandbox):
    """Return the warnings on damaged notes of the next run, made by a dry run."""
    lines = plan_description.lines_on_plan(sandbox.plan().plan)
    return [line for line in lines if re.search(r"notes on (finished|headers)", line)]


def jobs_without(sandbox, lost):
    """Return the jobs of a run whose notes lack the records of some products, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        load = ledger.load_ledger

        def load_without(results):
            records = load(results)
            for product in lost:
                del records[product]
            return records

        patch.setattr(ledger, "load_ledger", load_without)
        jobs = [*sandbox.plan().plan.jobs]
    # Pages and tables are made again with the products of which they tell.
    made_of_pixels = {product for product in jobs if product.endswith(".fits")}
    assert made_of_pixels == {product for product in lost if product.endswith(".fits")}
    assert {*jobs} >= lost
    return jobs


def check_run(sandbox, jobs):
    """A run makes some products again, all products are as they were, and the next one is idle."""
    before = products(sandbox.results)
    outcome = sandbox.run()
    assert sorted(outcome.jobs) == sorted(jobs)
    assert products(sandbox.results) == before
    assert warnings(sandbox) == []
    again = sandbox.run()
    assert again.jobs == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", DAMAGES)
def test_damage_to_the_ledger_costs_the_products_of_its_lines(sandbox, how, seed):
    path = sandbox.results / paths.LEDGER
    for place in range(3):
        rng = np.random.default_rng([seed, DAMAGES.index(how), place])
        before = path.read_bytes()
        # Anywhere, after the first line, and among the first 500 bytes.
        first = before.index(b"\n", 9) if place == 1 else 0
        last = 500 if place == 2 else len(before)
        after = damage_bytes(before[:last], how, rng, first) + before[last:]
        path.write_bytes(after)
        lost = lost_names(before, after)
        path.write_bytes(before)
        jobs = jobs_without(sandbox, lost)
        path.write_bytes(after)
        named = warnings(sandbox)
        assert len(named) == bool(lost), (named, lost)
        if lost:
            start = f"{path}: {len(lost)} of the notes on finished products are damaged"
            assert named[0].startswith(f"warning: {start}: their products count as new")
        check_run(sandbox, jobs)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("how", DAMAGES)
def test_damage_to_the_notes_on_headers_makes_no_product_again(sandbox, how, seed):
    path = sandbox.results / paths.HEADERS
    rng = np.random.default_rng([seed, DAMAGES.index(how)])
    before = path.read_bytes()
    after = damage_bytes(before, how, rng)
    path.write_bytes(after)
    lost = lost_names(before, after)
    words = f"{len(lost)} of the notes on headers are damaged"
    assert [line.split(": ")[2] for line in warnings(sandbox)] == [words] * bool(lost)
    check_run(sandbox, [])
    assert warnings(sandbox) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", DAMAGES)
def test_damage_to_late_notes_costs_the_products_of_their_lines(sandbox_with_late_notes, how, seed):
    sandbox = sandbox_with_late_notes
    path = sandbox.results / paths.LATE_NOTES
    rng = np.random.default_rng([seed, DAMAGES.index(how)])
    before = path.read_bytes()
    after = damage_bytes(before, how, rng)
    path.write_bytes(after)
    first_line = before.split(b"\n")[1]
    kept = after if first_line in after.split(b"\n")[1:2] else b""
    lost = lost_names(before, kept)
    rows = {name for name in lost if name.startswith("20")}
    path.write_bytes(before)
    jobs = jobs_without(sandbox, lost - rows)
    path.write_bytes(after)
    named = warnings(sandbox)
    assert len(named) == bool(lost)
    if lost:
        count = f"{len(lost)} of the" if kept else "these"
        assert f"{path}: {count} notes on finished products are damaged" in named[0]
    check_run(sandbox, jobs)


@pytest.mark.parametrize("name", [paths.LEDGER, paths.HEADERS])
def test_the_checksum_in_front_counts_for_the_late_notes_where_it_is_damaged(
    sandbox_with_late_notes, name
):
    """Late notes belong to the notes with this checksum."""
    sandbox = sandbox_with_late_notes
    path = sandbox.results / name
    content = path.read_bytes()
    path.write_bytes(b"01234567" + content[8:])
    check_run(sandbox, [])


@pytest.mark.parametrize("name", [paths.LEDGER, paths.HEADERS])
def test_the_first_line_and_its_copy_may_be_lost_one_at_a_time(sandbox, name):
    path = sandbox.results / name
    copy = sandbox.results / paths.COPIES_OF_FIRST_LINES[name]
    everything = {n for n in products(sandbox.results) if "/frames/" not in n} - {"inventory.csv"}
    first_end = path.read_bytes().index(b"\n", 9)
    for what in ("first line", "copy", "both"):
        content = path.read_bytes()
        if what != "copy":
            path.write_bytes(bytes(first_end) + content[first_end:])
        if what != "first line":
            copy.write_bytes(bytes(copy.stat().st_size))
        is_lost = what == "both" and name == paths.LEDGER
        check_run(sandbox, everything if is_lost else [])
        is_written_anew = copy.read_bytes()[:4] != bytes(4)
        assert is_written_anew is (what != "copy")


@pytest.mark.parametrize("damaged", ["first line", "copy", "both"])
def test_the_first_line_of_late_notes_has_a_copy(sandbox_with_late_notes, damaged):
    """Without the copy a bad block of the disk cost all products of the late lines."""
    sandbox = sandbox_with_late_notes
    path = sandbox.results / paths.LATE_NOTES
    copy = sandbox.results / paths.COPIES_OF_FIRST_LINES[paths.LATE_NOTES]
    content = path.read_bytes()
    late_products = lost_names(content, b"") - lost_names(content, content)
    late_products = {name for name in late_products if not name.startswith("20")}
    assert len(late_products) > 2
    first_end = content.index(b"\n", 9)
    if damaged != "copy":
        path.write_bytes(bytes(first_end) + content[first_end:])
    if damaged != "first line":
        copy.write_bytes(bytes(copy.stat().st_size))
    if damaged == "both":
        jobs = {*sandbox.plan().plan.jobs}
        assert jobs >= {name for name in late_products if name.endswith(".fits")}
        check_run(sandbox, jobs)
    else:
        check_run(sandbox, [])
    assert path.exists() == copy.exists()


@pytest.mark.parametrize("seed", range(4))
def test_damage_with_unchanged_times_is_seen_where_a_few_nights_are_read(
    sandbox, seed, monkeypatch
):
    """A disk damages a file without new times: lines of opened nights are tested one by one."""
    rng = np.random.default_rng(seed)
    path = sandbox.results / paths.LEDGER
    path.write_bytes(damage_bytes(path.read_bytes(), "change", rng))
    closed = sandbox.results / paths.CLOSED_NIGHTS
    columns = note_columns.read_columns(closed)
    stamps = [
        list(file_access.stamp_of(sandbox.results / name)) for name in (paths.HEADERS, paths.LEDGER)
    ]
    note_columns.write_columns(
        closed,
        [(name, columns.cells(name)) for name in columns],
        shared_values={**columns.shared_values, "files": stamps},
        names=columns.names,
    )
    take(sandbox, LATER_NIGHT, "BIAS", "BIAS", "OBJECT")
    with monkeypatch.context() as patch:
        # Only a plan of all nights sees what is wrong with the closed ones.
        for check in ("_check_open", "_check_end", "_check_seal"):
            patch.setattr(Sandbox, check, lambda *_: None)
        sandbox.run()
        assert sandbox.run().jobs == []
    for name in (paths.CLOSED_NIGHTS, paths.SEAL):
        (sandbox.results / name).unlink()
    sandbox.run()
    assert sandbox.run().jobs == []
    clean = sandbox.clean()
    clean.run()
    assert products(sandbox.results) == products(clean.results)


def test_notes_of_lines_without_checksums_go_on_and_get_them(sandbox_with_late_notes):
    sandbox = sandbox_with_late_notes
    write_as_before(sandbox.results)
    older = (sandbox.results / paths.LEDGER).read_bytes()
    check_run(sandbox, [])
    take(sandbox, "2024-03-06", "OBJECT")
    sandbox.config["strict"] = True
    assert "reduced/2024-03-06/0.fits" in sandbox.run().jobs
    assert (sandbox.results / paths.LEDGER).read_bytes() != older
    assert b'"checksum":' in (sandbox.results / paths.LEDGER).read_bytes().split(b"\n")[1]


@pytest.fixture(scope="module")
def archive_of_all_kinds(tmp_path_factory):
    config = {kind: {"enabled": True, "minimum": 2} for kind in ("bias", "dark", "flat")}
    config |= {"detector": {"enabled": True}, "pictures": {"per_type": 1}}
    made = Sandbox(tmp_path_factory.mktemp("all") / "box", config)
    for night in NIGHTS[:3]:
        take(made, night, *FRAMES_OF_NIGHT, light={"OBJECT": 500, "FLAT": 20000})
    made.run()
    assert made.run().jobs == []
    return made


@pytest.mark.parametrize("how", ["insert", "cut", "zero"])
def test_damage_costs_the_products_of_its_lines_whatever_their_kind(archive_of_all_kinds, how):
    sandbox = archive_of_all_kinds
    path = sandbox.results / paths.LEDGER
    rng = np.random.default_rng([77, DAMAGES.index(how)])
    before = path.read_bytes()
    after = damage_bytes(before, how, rng, before.index(b"\n", 9))
    lost = lost_names(before, after)
    assert lost
    jobs = jobs_without(sandbox, lost)
    path.write_bytes(after)
    check_run(sandbox, jobs)
