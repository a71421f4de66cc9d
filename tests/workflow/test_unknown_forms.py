"""Stores that another version of ccdflow wrote, in a form that this one does not know.

A results folder may be opened by an older version than the one that wrote it. Each store is then
read as far as it goes, or counts as absent: no run ends in a traceback, and the next one has
nothing to do.
"""

import json
from dataclasses import fields

import pytest
from older_notes import plain_lines
from sandbox import SMALL_FRAME, Sandbox
from stand_ins import copy_with_stand_ins, use_stand_ins

from ccdflow import kinds, paths
from ccdflow.errors import UserError
from ccdflow.files.text_files import notes
from ccdflow.run import job_records, late_notes, ledger
from ccdflow.run.batches import batch_files
from ccdflow.run.job_records import Record
from ccdflow.run.nights import closed_nights
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.raw_frames import header_store
from ccdflow.run.raw_frames.rows import OWN_TEXTS
from ccdflow.run.sealing import seal

NIGHTS = ("2020-01-01", "2020-01-02")


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        config = {"bias": {"minimum": 2}, "pictures": {"per_type": 0}}
        made = Sandbox(tmp_path_factory.mktemp("forms") / "box", config)
        for number, night in enumerate(NIGHTS):
            for frame in range(2):
                seed = 10 * number + frame
                made.put(
                    f"{night}/{frame}.fits", seed, is_packed=False, night=night, size=SMALL_FRAME
                )
        made.run()
        return made


@pytest.fixture
def sandbox(original_archive, tmp_path, monkeypatch):
    """An archive of its own with nothing to do, whose nights are closed."""
    return copy_with_stand_ins(original_archive, tmp_path / "box", monkeypatch)


def rewrite(path, change):
    """Write the lines of a file of notes as ``change`` makes them of its head and its lines."""
    first, lines = plain_lines(path)
    head, lines = change(json.loads(first), lines)
    notes.write_checked(path, [json.dumps(head), *lines])


def row_with_one_more_field(head, lines):
    values = [json.loads(line) for line in lines]
    head["fields"].insert(3, "moon")
    return head, [json.dumps([*each[:6], "full", *each[6:]]) for each in values]


def row_with_one_field_less(head, lines):
    """The last one, its marks."""
    head["fields"].pop()
    return head, [json.dumps(json.loads(line)[:-1]) for line in lines]


def rows_of_another_shape(head, lines):
    return head, [json.dumps({"row": json.loads(line)}) for line in lines]


def rows_of_an_unknown_count(head, lines):
    return head, [json.dumps([*json.loads(line), "", ""]) for line in lines]


def geometry_with_one_more_value(head, lines):
    head["shared_fields"]["Amplifier"].append("colour")
    for value in head["shared"].values():
        for amplifier in value.get("amplifiers", ()):
            amplifier["colour"] = "red"
        if "statistic" in value:
            value["colour"] = "red"
    return head, lines


def geometry_of_another_shape(head, lines):
    head["shared_fields"] = {}
    return head | {"shared": {key: ["of amplifiers"] for key in head["shared"]}}, lines


def head_that_is_a_list(head, lines):
    return [head], lines


def record_with_one_more_field(head, lines):
    head["fields"].insert(2, "moon")
    changed = []
    for line in lines:
        short, *rest = line.split("\t")
        values = json.loads(short)
        changed.append("\t".join((json.dumps([*values[:2], "full", *values[2:]]), *rest)))
    return head, changed


def record_with_one_field_less(head, lines):
    """The start of the machine."""
    head["fields"].pop()
    changed = []
    for line in lines:
        short, *rest = line.split("\t")
        *values, _, index = json.loads(short)
        changed.append("\t".join((json.dumps([*values, index]), *rest)))
    return head, changed


def record_without_a_key(head, lines):
    head["fields"][head["fields"].index("key")] = "lock"
    return head, lines


def records_in_one_more_part(head, lines):
    return head, [f"{line}\t{{}}" for line in lines]


CHANGES = [
    # The store, its change, the frames that are reduced again.
    (paths.HEADERS, row_with_one_more_field, 0),
    (paths.HEADERS, row_with_one_field_less, 0),
    (paths.HEADERS, rows_of_another_shape, 0),
    (paths.HEADERS, rows_of_an_unknown_count, 0),
    (paths.HEADERS, geometry_with_one_more_value, 0),
    (paths.HEADERS, geometry_of_another_shape, 0),
    (paths.HEADERS, head_that_is_a_list, 0),
    (paths.LEDGER, record_with_one_more_field, 0),
    (paths.LEDGER, record_with_one_field_less, 0),
    (paths.LEDGER, record_without_a_key, 4),
    (paths.LEDGER, records_in_one_more_part, 4),
    (paths.LEDGER, head_that_is_a_list, 4),
]


@pytest.mark.parametrize(
    ("store", "change", "reduced"), CHANGES, ids=[f"{c[0]}-{c[1].__name__}" for c in CHANGES]
)
def test_a_store_of_an_unknown_form_is_read_as_far_as_it_goes(sandbox, store, change, reduced):
    first = (sandbox.results / store).read_bytes()
    rewrite(sandbox.results / store, change)
    assert (sandbox.results / store).read_bytes() != first
    made = sandbox.run().jobs
    assert sum(product.startswith("reduced/") for product in made) == reduced
    assert bool(made) == bool(reduced)
    # It was written anew, in the form of this version.
    before = (sandbox.results / store).read_bytes()
    head = notes.read_headed(sandbox.results / store)[0]
    assert head["fields"] == list(OWN_TEXTS if store == paths.HEADERS else job_records.SHORT_FIELDS)
    sandbox.run()
    assert sandbox.run().jobs == []
    if not reduced:
        assert (sandbox.results / store).read_bytes() == before


def test_the_row_of_a_missing_raw_file_is_kept_whatever_version_wrote_it(sandbox):
    (sandbox.raw / NIGHTS[0] / "0.fits").unlink()
    sandbox.run()
    for change in (row_with_one_more_field, geometry_with_one_more_value):
        rewrite(sandbox.results / paths.HEADERS, change)
        sandbox.run()
        row = header_store.load_store(sandbox.results).rows[f"{NIGHTS[0]}/0.fits"]
        assert row.gone == "it was deleted or moved"
        assert (sandbox.results / "reduced" / f"{NIGHTS[0]}/0.fits").is_file()


def test_late_notes_of_an_unknown_form_are_read_as_far_as_they_go(sandbox):
    night = NIGHTS[1]
    sandbox.put(f"{night}/9.fits", 99, is_packed=False, night=night, size=SMALL_FRAME)
    sandbox.run()
    path = sandbox.results / paths.LATE_NOTES
    written = path.read_bytes()

    def with_more_fields(head, lines):
        count, heads = head["count"], head["heads"]
        first, late_rows = row_with_one_more_field(heads["rows"], lines[:count])
        second, records = record_with_one_more_field(heads["records"], lines[count:])
        return head | {"heads": {"rows": first, "records": second}}, [*late_rows, *records]

    store, records = header_store.load_store(sandbox.results), ledger.load_ledger(sandbox.results)
    rewrite(path, with_more_fields)
    known = header_store.load_store(sandbox.results)
    assert list(known.rows) == list(store.rows)
    assert ledger.load_ledger(sandbox.results) == records
    assert known.rows[f"{night}/9.fits"].stamp == header_store.STAMP_OF_OTHER_VERSION
    assert sandbox.run().jobs == []
    for unknown in (
        lambda head, lines: ([head], lines),
        lambda head, lines: ({}, lines),
        lambda head, lines: ({**head, "count": "two"}, lines),
        lambda head, lines: ({**head, "heads": []}, lines),
        lambda head, lines: ({**head, "of": {}}, lines),
    ):
        path.write_bytes(written)
        rewrite(path, unknown)
        late = late_notes.read_late_notes(sandbox.results)
        assert (late.rows, late.records) == ([], [])


@pytest.mark.parametrize("form", [4, "4 0123456789abcdef", None])
def test_closed_nights_of_an_unknown_form_are_no_closed_nights(sandbox, monkeypatch, form):
    monkeypatch.setattr(closed_nights, "_version_of_note", lambda: form)
    night = NIGHTS[1]
    sandbox.put(f"{night}/9.fits", 99, is_packed=False, night=night, size=SMALL_FRAME)
    with pytest.raises(NeedsWholePlan, match="of another version"):
        closed_nights.read_closed_nights(sandbox.results)
    assert f"reduced/{night}/9.fits" in sandbox.run().jobs


def test_a_note_without_its_columns_is_no_note(sandbox):
    path = sandbox.results / paths.CLOSED_NIGHTS
    lines = [line for line in notes.read_checked(path)]
    start = int(lines[-1])
    place = sum(len(line.encode()) + 1 for line in lines[:-2]) + notes.START
    assert place == start
    for head in ("{}", "[]", '{"first": {}, "names": [], "columns": 7}', "columns"):
        notes.write_checked(path, [*lines[:-2], head, lines[-1]])
        with pytest.raises(NeedsWholePlan, match="notes of closed nights are damaged"):
            closed_nights.read_closed_nights(sandbox.results)


def test_a_record_of_an_unknown_form_is_that_of_a_product_to_be_made(sandbox):
    record = ledger.load_ledger(sandbox.results)[f"reduced/{NIGHTS[0]}/0.fits"]
    known = record.as_dict()
    path = sandbox.results / paths.done_record(record.product, record.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    for values in ({**known, "moon": "full"}, [known], "full", {"product": record.product}, None):
        path.write_text(json.dumps(values))
        assert job_records.read_record(path) is None
    path.write_text(json.dumps(known))
    assert job_records.read_record(path).key == record.key


def test_a_record_of_an_unknown_kind_is_moved_away_with_its_product(sandbox):
    records = ledger.load_ledger(sandbox.results)
    product = f"combined/{NIGHTS[0]}/superflat_x.fits"
    (sandbox.results / product).write_text("of a newer version")
    stamp = (18, 1, 1)
    records[product] = Record(product, "superflat", "0" * 16, stamp=stamp, content="x")
    ledger.save_ledger(sandbox.results, records)
    sandbox.run()
    assert not (sandbox.results / product).exists()
    assert product not in ledger.load_ledger(sandbox.results)
    assert sandbox.run().jobs == []


@pytest.mark.parametrize("head", ["[]", "{}", '{"form": "of another"}', "7", "no JSON", ""])
def test_a_batch_of_an_unknown_form_is_one_line(tmp_path, head):
    path = tmp_path / "night.0123.json"
    path.write_text(f"{head}\n{{}}\n")
    for read in (
        batch_files.size_of,
        batch_files.earlier_record_paths,
        batch_files.batches_awaited,
        lambda path: batch_files.read_batch(path, kinds.CHAIN),
    ):
        with pytest.raises(UserError, match="another version of ccdflow wrote this batch"):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: {**values, "moon": "full"},
        lambda values: {"state_hash": values["state_hash"]},
        lambda values: [values],
    ],
)
def test_a_seal_of_an_unknown_form_is_no_seal(sandbox, change):
    sandbox.run()
    path = sandbox.results / paths.SEAL
    assert seal.read_seal(sandbox.results) is not None
    rewrite(path, lambda head, lines: (change(head), lines))
    assert seal.read_seal(sandbox.results) is None
    assert sandbox.run().jobs == []


def test_the_form_of_each_store_follows_the_names_of_its_fields(sandbox):
    """A new field of a row, record, geometry or recipe changes the form of its store."""
    head, _ = notes.read_headed(sandbox.results / paths.HEADERS)
    store = header_store.load_store(sandbox.results)
    assert head["fields"] == [each.name for each in fields(next(iter(store.rows.values())))][3:]
    for kept, names in head["shared_fields"].items():
        values = [
            value if kept != "Amplifier" else value["amplifiers"][0]
            for value in head["shared"].values()
            if ("amplifiers" in value) == (kept != "ReductionRecipe")
        ]
        assert values
        known = {*names, "flip"}
        assert all(set(value) <= known for value in values)
    head, _ = notes.read_headed(sandbox.results / paths.LEDGER)
    assert {*head["fields"], "basis", "data"} == {each.name for each in fields(Record)}
