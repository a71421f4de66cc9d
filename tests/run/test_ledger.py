"""Records, the ledger that they become, and products in doubt after a stop of the machine."""

import json
import os
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from older_notes import plain_lines

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import notes
from ccdflow.kinds import CHAIN
from ccdflow.run import job_records, late_notes, ledger, unparsed_mapping
from ccdflow.run.job import Job
from ccdflow.run.job_records import Record
from ccdflow.run.plan import Planner, ProductCheck
from ccdflow.run.products.product_stamps import ProductStamps


def fits_product(results, product, key, *, seed=1):
    header = fits.Header([("CCDFKEY", key)])
    path = results / product
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).normal(size=(5, 7))
    fits.PrimaryHDU(pixels, header).writeto(path, checksum=True, overwrite=True)
    return Record(
        product, "frame", key, stamp=file_access.stamp_of(path),
        content=job_records.file_checksum(path),
        basis={"arithmetic": 1, "camera": "a", "fingerprint": product},
        data={"levels": {"A": 1.5}, "flags": {}},
    )  # fmt: skip


def text_product(results, product, text):
    (results / product).write_text(text)
    path = results / product
    content = job_records.file_checksum(path)
    return Record(
        product, "bias table", "0" * 16, stamp=file_access.stamp_of(path), content=content
    )


KEYS = ("0123456789abcdef", "fedcba9876543210")


def leave(results, record):
    path = paths.done_record(record.product, record.key)
    job_records.write_record(results, record, path)
    return results / path


def test_records_come_back(tmp_path):
    record = fits_product(tmp_path, "reduced/a b{ü}.fits", KEYS[0])
    assert job_records.read_record(leave(tmp_path, record)) == record


def test_ledger_comes_back(tmp_path):
    records = ledger.Ledger()
    for number in range(5):
        record = fits_product(tmp_path, f"reduced/{number}.fits", KEYS[number % 2])
        records[record.product] = record
    records["x.csv"] = Record(
        "x.csv", "bias table", KEYS[0], status=job_records.REFUSED, reason="why"
    )
    assert ledger.save_ledger(tmp_path, records)
    loaded = ledger.load_ledger(tmp_path)
    assert loaded == records
    assert [r.basis for r in loaded.values()] == [records[p].basis for p in loaded]
    assert not ledger.save_ledger(tmp_path, loaded)
    loaded["x.csv"] = replace(loaded["x.csv"], reason="another")
    assert ledger.save_ledger(tmp_path, loaded)
    assert ledger.load_ledger(tmp_path)["x.csv"].reason == "another"


def test_records_that_are_taken_in_share_their_words(tmp_path):
    records = ledger.Ledger()
    for number in range(2):
        record = fits_product(tmp_path, f"reduced/{number}.fits", KEYS[number])
        records[record.product] = record
        leave(tmp_path, record)
    ledger.fold(tmp_path, records, checks_files=False)
    first, second = records.values()
    assert (first.kind, first.status) == ("frame", job_records.MADE)
    assert first.kind is second.kind
    assert first.status is second.status
    assert all(product is record.product for product, record in records.items())


def test_ledger_of_another_make_is_an_empty_one(tmp_path, monkeypatch):
    records = ledger.Ledger({"x.csv": Record("x.csv", "bias table", KEYS[0])})
    ledger.save_ledger(tmp_path, records)
    monkeypatch.setattr(ledger, "SHORT_FIELDS", ("product", "kind"))
    assert ledger.load_ledger(tmp_path) == {}


@pytest.mark.parametrize(
    ("former", "name"),
    [("table", "bias table"), ("picture", "frames picture"), ("quality", "bias picture")],
)
def test_records_of_former_kinds_are_read_by_their_names_of_now(tmp_path, former, name):
    """In the ledger, in its late notes, in the record of a job, and in the file of a batch."""
    record = Record("x.csv", former, KEYS[0])
    ledger.save_ledger(tmp_path, ledger.Ledger({"x.csv": record}))
    (noted,) = ledger.load_ledger(tmp_path).values()
    line = ledger.late_line(ledger.Ledger({"x.csv": record})["x.csv"], "2024-03-01")
    reader = ledger.RecordReader({"fields": list(ledger.SHORT_FIELDS), "bases": []})
    night, late = reader.late_record(line)
    left = job_records.read_record(leave(tmp_path, record))
    job = Job.from_dict(asdict(Job(former, "x.csv", KEYS[0], "new", "2024-03-01")))
    assert [each.kind for each in (noted, late, left, job)] == [name] * 4
    assert night == "2024-03-01"
    assert CHAIN.by_name(name).name == name
    assert former not in [kind.name for kind in CHAIN]


def test_a_product_is_known_by_its_content_and_key(tmp_path):
    record = fits_product(tmp_path, "reduced/a.fits", KEYS[0])
    assert job_records.is_as_made(tmp_path, record)
    # The same pixels, made with another setting.
    fits_product(tmp_path, "reduced/a.fits", KEYS[1])
    assert not job_records.is_as_made(tmp_path, record)
    assert job_records.is_as_made(tmp_path, replace(record, key=KEYS[1]))
    # Other pixels, made with the same.
    fits_product(tmp_path, "reduced/a.fits", KEYS[0], seed=2)
    assert not job_records.is_as_made(tmp_path, record)
    text = text_product(tmp_path, "a.csv", "1,2")
    assert job_records.is_as_made(tmp_path, text)
    (tmp_path / "a.csv").write_text("1,3")
    assert not job_records.is_as_made(tmp_path, text)
    (tmp_path / "a.csv").unlink()
    assert not job_records.is_as_made(tmp_path, text)
    assert not job_records.is_as_made(tmp_path, replace(text, content=""))


def test_records_of_a_run_that_was_killed_are_believed_when_their_products_are(tmp_path):
    good = fits_product(tmp_path, "reduced/good.fits", KEYS[0])
    lost = fits_product(tmp_path, "reduced/lost.fits", KEYS[0])
    bad = fits_product(tmp_path, "reduced/bad.fits", KEYS[0])
    refused = Record("combined/n/b.fits", "bias", KEYS[1], status=job_records.REFUSED, reason="few")
    aside = Record("reduced/x.fits", "frame", KEYS[1], status=job_records.SET_ASIDE, reason="bad")
    files = [leave(tmp_path, record) for record in (good, lost, bad, refused, aside)]
    torn = files[0].with_name("torn.fits.0123456789abcdef.json")
    torn.write_text("")
    (tmp_path / lost.product).unlink()
    (tmp_path / bad.product).write_bytes((tmp_path / bad.product).read_bytes()[:-2880])
    records = ledger.Ledger()
    record_files, unmade = ledger.fold(tmp_path, records, checks_files=True)
    assert sorted(record_files) == sorted(map(str, [*files, torn]))
    assert sorted(r.product for r in unmade) == [refused.product, aside.product]
    assert sorted(records) == [refused.product, good.product]
    ledger.remove_records(tmp_path, record_files)
    assert not (tmp_path / paths.DONE_FOLDER).exists()


@pytest.mark.parametrize("boot", ["before", "now"])
def test_products_made_shortly_before_the_machine_fell_are_doubtful(tmp_path, monkeypatch, boot):
    monkeypatch.setattr(job_records, "boot_id", lambda: "now")
    record = fits_product(tmp_path, "reduced/a.fits", KEYS[0])
    records = ledger.Ledger({record.product: replace(record, boot=boot)})
    made = record.stamp[2] / 1e9
    assert ledger.mark_settled_products(records, now=made + 10) == (
        [record.product] if boot == "before" else []
    )
    assert records[record.product].boot == boot
    ledger.mark_settled_products(records, now=made + 4000)
    # Products that this machine wrote an hour ago are on the disk.
    assert records[record.product].boot == ("before" if boot == "before" else "")


def calibrated_record(number):
    basis = {
        "arithmetic": 3, "frame": f"{number:016x}", "masters": [["dark", "d.fits", "k"]],
        "how": [["dark", 1.0, 0, number / 100, "A", []]], "missing": ["flat"], "settings": {"m": 1},
    }  # fmt: skip
    product = f"calibrated/{number}.fits"
    return Record(product, "science", KEYS[0], basis=basis, data={"a": 1, "b": [2]})


def test_calibrated_frames_share_all_of_their_bases_but_frame_and_temperature(tmp_path):
    records = ledger.Ledger({r.product: r for r in map(calibrated_record, range(50))})
    assert len({id(record.basis.shared_text) for record in records.values()}) == 1
    ledger.save_ledger(tmp_path, records)
    first = json.loads((tmp_path / paths.LEDGER).read_text().splitlines()[1])
    assert [sorted(basis) for basis in first["bases"]] == [
        ["arithmetic", "masters", "missing", "settings"]
    ]
    loaded = ledger.load_ledger(tmp_path)
    assert len({id(record.basis.shared_text) for record in loaded.values()}) == 1
    assert dict(loaded["calibrated/7.fits"].basis.items()) == calibrated_record(7).basis


def test_a_ledger_that_shares_other_parts_of_bases_is_read(tmp_path):
    """The version before kept each calibrated frame's basis as a shared one."""
    records = ledger.Ledger({r.product: r for r in map(calibrated_record, range(3))})
    ledger.save_ledger(tmp_path, records)
    first, lines = plain_lines(tmp_path / paths.LEDGER)
    first = json.loads(first)
    first["bases"] = [dict(calibrated_record(number).basis) for number in range(3)]
    for number in range(3):
        short, _, data = lines[number].split("\t")
        short = json.dumps([*json.loads(short)[:-1], number])
        lines[number] = "\t".join((short, "{}", data))
    notes.write_checked(tmp_path / paths.LEDGER, [json.dumps(first), *lines])
    assert ledger.load_ledger(tmp_path) == records


def test_the_items_of_a_record_are_parsed_once(tmp_path, monkeypatch):
    records = ledger.Ledger({"calibrated/1.fits": calibrated_record(1)})
    texts, decode = [], unparsed_mapping.decode
    monkeypatch.setattr(unparsed_mapping, "decode", lambda text: texts.append(text) or decode(text))
    assert dict(records["calibrated/1.fits"].data.items()) == {"a": 1, "b": [2]}
    assert texts == ['{"a":1,"b":[2]}']


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"remarks": [], "left_out": []},
        {"remarks": ["no dark"], "left_out": []},
        {"left_out": [["a.fits", "too bright", 3.0]], "level": 1.5},
        {"remarks": ['it says "remarks":["x"]'], "note": '"left_out":["y"]'},
        {"inner": {"remarks": ["of another"]}, "remarks": []},
        {"remarks": None, "left_out": [[]]},
    ],
)
def test_lists_of_a_record_are_those_of_its_data(data):
    packed = ledger.Ledger({"p": Record("p", "bias", "k", data=data)})["p"].data
    expected = [data.get(name) or () for name in ("remarks", "left_out")]
    assert unparsed_mapping.lists_in(packed, ("remarks", "left_out")) == expected
    assert unparsed_mapping.lists_in(data, ("remarks", "left_out")) == expected


def test_a_text_without_such_lists_is_not_parsed():
    data = unparsed_mapping.UnparsedMapping(
        '{"remarks":[],"note":"\\\\"left_out\\\\":[1]","left_out":[], broken'
    )
    assert unparsed_mapping.lists_in(data, ("remarks", "left_out")) == [(), ()]


def test_of_several_attempts_the_last_one_counts(tmp_path):
    """The name of a first attempt's record has no number, and follows all others."""
    made = fits_product(tmp_path, "reduced/made.fits", KEYS[0])
    for attempt, record in enumerate((replace(made, status=job_records.FAILED), made)):
        path = paths.done_record(record.product, record.key, attempt)
        job_records.write_record(tmp_path, record, path)
    for verify in (True, False):
        records = ledger.Ledger()
        files, unmade = ledger.fold(tmp_path, records, checks_files=verify)
        assert (len(files), unmade, records.keys()) == (2, [], {made.product})


def test_products_of_a_run_that_ends_meanwhile_are_noted(tmp_path, monkeypatch):
    record = fits_product(tmp_path, "reduced/a.fits", KEYS[0])
    path = leave(tmp_path, record)
    load = ledger.load_ledger

    def load_and_end(results):
        before = load(results)
        after = load(results)
        files, _ = ledger.fold(results, after, checks_files=False)
        ledger.save_ledger(results, after)
        ledger.remove_records(results, files)
        return before

    monkeypatch.setattr(ledger, "load_ledger", load_and_end)
    assert ledger.noted_fits_products(tmp_path).keys() == {record.product}
    assert not path.exists()


def test_late_notes_that_a_run_merges_meanwhile_are_read(tmp_path, monkeypatch):
    (tmp_path / paths.STATE).mkdir()
    records, later = ledger.Ledger(), fits_product(tmp_path, "reduced/b.fits", KEYS[1])
    records["reduced/a.fits"] = fits_product(tmp_path, "reduced/a.fits", KEYS[0])
    ledger.save_ledger(tmp_path, records)
    packed = ledger.Ledger({later.product: later})[later.product]
    late = late_notes.LateNotes({"records": {}}, records=[ledger.late_line(packed, "")])
    late_notes.write_late_notes(tmp_path, late)
    assert ledger.load_ledger(tmp_path).keys() == {"reduced/a.fits", "reduced/b.fits"}
    read, merged = late_notes.read_late_notes, []

    def merge_and_read(results):
        if not merged:
            merged.append(True)
            ledger.save_ledger(results, ledger.load_ledger(results))
            late_notes.remove_late_notes(results)
        return read(results)

    monkeypatch.setattr(late_notes, "read_late_notes", merge_and_read)
    assert ledger.load_ledger(tmp_path).keys() == {"reduced/a.fits", "reduced/b.fits"}


def planner_of(results, records, doubtful=()):
    """Return a planner of some records, with a context that has no more than it asks for."""
    context = SimpleNamespace(
        results=results, ledger=records, earlier_record=records.get, planned_products=set()
    )
    return Planner(context, ProductStamps(results), set(doubtful), frozenset(), records=())


def test_a_check_of_a_product_notes_nothing_and_keeping_it_notes_its_times(tmp_path):
    sound, damaged = (
        fits_product(tmp_path, f"reduced/{name}.fits", KEYS[0]) for name in ("sound", "damaged")
    )
    later = (tmp_path / damaged.product).stat().st_mtime_ns + 10**9
    os.utime(tmp_path / sound.product, ns=(later, later))
    (tmp_path / damaged.product).write_bytes((tmp_path / damaged.product).read_bytes()[:-1])
    records = {record.product: record for record in (sound, damaged)}
    planner = planner_of(tmp_path, records, doubtful=[sound.product])
    stamp = file_access.stamp_of(tmp_path / sound.product)
    for _ in range(2):
        assert planner.check_product(sound.product) == ProductCheck(new_stamp=stamp)
        assert planner.check_product(damaged.product) == ProductCheck("product damaged")
        assert records == {sound.product: sound, damaged.product: damaged}
    assert planner.keep_unless_damaged(sound.product)
    assert not planner.keep_unless_damaged(damaged.product)
    assert records[sound.product].stamp == stamp != sound.stamp
    assert planner.check_product(sound.product) == ProductCheck()
    assert planner.context.planned_products == {sound.product}
