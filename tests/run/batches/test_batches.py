"""Splitting a plan into batches, and what a batch's file gives back."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.kinds import CHAIN
from ccdflow.run import job_records, ledger, plan, worker
from ccdflow.run.batches import (
    batch_files,
    batch_progress,
    batch_resources,
    batch_splitting,
    batch_work,
    claims,
)
from ccdflow.run.batches.claims import Withdrawn
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group, Job, Size
from ccdflow.run.job_records import Record
from ccdflow.run.lines.progress import BatchCount
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import Facts, Row, digest
from ccdflow.run.session import Session
from ccdflow.run.under_snakemake.job_list import JobList

FRAME, BIAS, PICTURE, QUALITY, PAGE, INDEX = (
    "frame", "bias", "frames picture", "bias picture", "page", "index",
)  # fmt: skip
GEOMETRY = {"raw_shapes": [[0, [30, 50]], [1, [30, 40]]]}


def row(night, number, kind="bias"):
    file = f"{night}/{number:03d}.fits.gz"
    facts = Facts.of({"night": night, "type": kind})
    return Row(file, (10, 20, 30), facts, "cam", "geometry", "recipe", f"print{number}")


def key_of(product):
    return digest(product)


@pytest.fixture
def make_session(tmp_path):
    """Return a session with so many biases a night to reduce, and all that is made of them."""

    def make(counts, *, most=10, done=(), has_shared_group=False):
        rows = [row(night, n) for night, count in counts.items() for n in range(count)]
        store = HeaderStore(
            {r.file: r for r in rows}, {"geometry": GEOMETRY, "recipe": {"trim": True}}
        )
        jobs, groups, records = {}, {}, ledger.Ledger()

        def job(kind, product, night, needs=()):
            needs = tuple(need for need in needs if need in jobs)
            jobs[product] = Job(kind, product, key_of(product), "new", night, needs)

        for r in rows:
            product = paths.reduced_frame(r.file)
            if r.file in done:
                records[product] = Record(product, FRAME, "k", stamp=(1, 2, 3), data={"x": 1})
            else:
                job(FRAME, product, r.night)
        for night in counts:
            own = [r for r in rows if r.night == night]
            product = f"combined/{night}/bias.fits"
            files = tuple(r.file for r in (rows if has_shared_group else own))
            groups[product] = Group(product, night, "cam", (("size", "50x30"),), files, kind="bias")
            job(BIAS, product, night, [paths.reduced_frame(file) for file in files])
            picture, quality = f"nights/{night}/a.png", f"nights/{night}/q.png"
            job(PICTURE, picture, night, [paths.reduced_frame(r.file) for r in own])
            job(QUALITY, quality, night, [product])
            job(PAGE, f"nights/{night}/report.html", night, [product, picture, quality])
        job(INDEX, "report.html", "", list(groups))
        settings = {"raw": str(tmp_path / "raw"), "results": str(tmp_path / "r é"), "bias": {}}
        settings |= {"types": "all", "frames_per_batch": most}
        context = JobContext(
            settings=settings,
            raw=Path(settings["raw"]),
            results=Path(settings["results"]),
            store=store,
            ledger=records,
            chain=CHAIN,
            jobs=jobs,
            groups=groups,
        )
        return Session(plan.Plan(context, jobs, []), is_dry=False)

    return make


def kinds(session, batch):
    return [session.plan.jobs[product].kind for product in batch.products]


def names(parts):
    return [batch.name for batch in parts]


def test_nights_are_bundled_up_to_the_limit_and_evenly(make_session):
    session = make_session({f"2024-03-0{n}": 4 for n in range(1, 8)}, most=12)
    parts = batch_splitting.split(session, is_split_by_night=False, writes_files=False)
    assert names(parts) == [
        "2024-03-01_to_2024-03-02",
        "2024-03-03_to_2024-03-04",
        "2024-03-05_to_2024-03-06",
        "2024-03-07",
    ]
    assert [batch.size.n_frames for batch in parts] == [8, 8, 8, 4]


def test_on_a_cluster_each_night_is_a_batch_with_the_products_of_it_alone(make_session):
    session = make_session({"2024-03-01": 4, "2024-03-02": 2}, most=12)
    parts = batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    assert names(parts) == ["2024-03-01", "2024-03-02"]
    assert kinds(session, parts[0]) == [FRAME] * 4 + [BIAS, PICTURE, QUALITY]


def test_pages_and_the_overview_are_left_to_the_main_process(make_session):
    session = make_session({"2024-03-01": 4, "2024-03-02": 2})
    parts = batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    handed_on = {product for batch in parts for product in batch.products}
    left = {job.kind for product, job in session.plan.jobs.items() if product not in handed_on}
    assert left == {PAGE, INDEX}


def test_a_big_night_is_split_into_parts_and_its_bias_made_after_them(make_session):
    session = make_session({"2024-03-01": 25, "2024-03-02": 3}, most=10)
    parts = batch_splitting.split(session, is_split_by_night=False, writes_files=False)
    assert names(parts) == [
        "2024-03-01_part1of3",
        "2024-03-01_part2of3",
        "2024-03-01_part3of3",
        "2024-03-02",
    ]
    assert [batch.size.n_frames for batch in parts] == [9, 9, 7, 3]
    assert set(kinds(session, parts[0])) == {FRAME}
    assert BIAS in kinds(session, parts[3])
    products = [product for batch in parts for product in batch.products]
    assert len(products) == len(set(products))


def test_jobs_that_need_frames_of_two_nights_are_a_batch_that_waits_for_both(make_session):
    session = make_session({"2024-03-01": 2, "2024-03-02": 2}, has_shared_group=True)
    parts = batch_splitting.split(session, is_split_by_night=True, writes_files=True)
    nights, later = parts[:2], parts[2:]
    assert [set(kinds(session, batch)) for batch in nights] == [{FRAME, PICTURE}] * 2
    assert names(later) == ["2024-03-01_bias", "2024-03-02_bias"]
    for batch in later:
        assert kinds(session, batch) == [BIAS, QUALITY]
        assert batch.earlier_record_paths == tuple(each.record_path for each in nights)
        path = session.context.results / batch.path
        assert batch_files.earlier_record_paths(path) == [each.record_path for each in nights]
        # The records of both nights are there, and nothing else has to be read.
        rows = batch_files.read_batch(path, CHAIN).context.store.rows
        assert rows.keys() == session.context.store.rows.keys()
    products = [product for batch in parts for product in batch.products]
    assert len(products) == len(set(products)) == len(session.plan.jobs) - 3


@pytest.mark.parametrize(("most", "sizes"), [(10, []), (9, [10]), (4, [4, 4, 2])])
def test_jobs_that_need_two_batches_are_a_process_here_if_they_are_many(make_session, most, sizes):
    """Five biases of all frames and their five pictures are left to Snakemake, or gathered."""
    nights = {f"2024-03-0{n}": 3 for n in range(1, 6)}
    session = make_session(nights, most=most, has_shared_group=True)
    parts = batch_splitting.split(session, is_split_by_night=False, writes_files=False)
    own = [batch for batch in parts if batch.name.endswith(f"_{BIAS}")]
    assert [len(batch.products) for batch in own] == sizes
    assert {batch.earlier_record_paths for batch in own} <= {
        tuple(b.record_path for b in parts if b not in own)
    }
    held = [kind for batch in own for kind in kinds(session, batch)]
    assert held.count(BIAS) == held.count(QUALITY) == sum(sizes) / 2


def test_records_of_batches_have_their_names(make_session):
    session = make_session({"2024-03-01": 2, "2024-03-02": 2}, most=2)
    masters = tuple(p for p, job in session.plan.jobs.items() if job.kind == BIAS)
    product = "nights/2024-03-02/masters.png"
    session.plan.jobs[product] = Job(
        "masters picture", product, key_of(product), "new", "2024-03-02", masters
    )
    parts = batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    assert names(parts) == ["2024-03-01", "2024-03-02", "2024-03-02_masters_picture"]
    for batch in parts:
        # Snakemake gives back the name as the record has it.
        assert batch.record_path == f".ccdflow/done/batches/{batch.name}.{batch.key}.json"


def test_a_bias_to_be_made_again_is_a_cluster_job_but_stays_here_otherwise(make_session):
    files = [f"2024-03-01/{n:03d}.fits.gz" for n in range(3)]
    session = make_session({"2024-03-01": 3}, done=files)
    assert batch_splitting.split(session, is_split_by_night=False, writes_files=False) == []
    (batch,) = batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    assert sorted(kinds(session, batch)) == sorted([BIAS, PICTURE, QUALITY])


@pytest.mark.parametrize("most", [9, 8])
def test_without_a_new_frame_many_jobs_are_batches_all_the_same(make_session, most):
    """A changed setting makes nine biases and pictures again: they are no jobs of Snakemake's."""
    nights = {f"2024-03-0{n}": 2 for n in range(1, 4)}
    files = [f"{night}/{n:03d}.fits.gz" for night in nights for n in range(2)]
    session = make_session(nights, done=files, most=most)
    assert batch_splitting.needs_batches(session.plan) == (most < 9)
    parts = batch_splitting.split(session, is_split_by_night=False, writes_files=False)
    held = sorted(kind for batch in parts for kind in kinds(session, batch))
    assert held == sorted([BIAS, PICTURE, QUALITY] * 3 * (most < 9))
    assert bool(parts) == (most < 9)
    assert not any(batch.earlier_record_paths for batch in parts)


def test_a_key_stands_for_the_jobs(make_session):
    one, same, other = (
        batch_splitting.split(
            make_session({"2024-03-01": n}), is_split_by_night=True, writes_files=False
        )[0]
        for n in (3, 3, 4)
    )
    assert one.key == same.key != other.key
    assert one.record_path == f".ccdflow/done/batches/2024-03-01.{one.key}.json"
    assert one.path == f".ccdflow/batches/2024-03-01.{one.key}.json"


def test_a_batch_gives_back_the_needs_of_its_jobs(make_session):
    session = make_session({"2024-03-01": 4, "2024-03-02": 2}, done=["2024-03-01/003.fits.gz"])
    first, _ = batch_splitting.split(session, is_split_by_night=True)
    path = session.context.results / first.path
    again = batch_files.read_batch(path, CHAIN)
    assert list(again.plan.jobs) == list(first.products)
    assert [asdict(job) for job in again.plan.jobs.values()] == [
        asdict(session.plan.jobs[product]) for product in first.products
    ]
    rows = {file: r for file, r in session.context.store.rows.items() if r.night == "2024-03-01"}
    assert again.context.store.rows == rows
    assert again.context.store.rows["2024-03-01/000.fits.gz"].facts == rows[
        "2024-03-01/000.fits.gz"
    ].facts  # fmt: skip
    assert again.context.store.shared == session.context.store.shared
    assert again.context.groups == {
        group.product: group for group in session.context.groups.values() if "03-01" in group.night
    }
    assert again.context.ledger == dict(session.context.ledger)
    assert again.context.settings == session.context.settings
    assert (again.context.raw, again.context.results) == (
        session.context.raw, session.context.results,
    )  # fmt: skip


def test_a_part_of_a_night_holds_only_its_own_rows(make_session):
    session = make_session({"2024-03-01": 6}, most=3)
    second = batch_splitting.split(session, is_split_by_night=True)[1]
    rows = batch_files.read_batch(session.context.results / second.path, CHAIN).context.store.rows
    assert list(rows) == [f"2024-03-01/{n:03d}.fits.gz" for n in (3, 4, 5)]


def test_jobs_that_have_left_a_record_are_not_done_again_but_known(make_session):
    session = make_session({"2024-03-01": 3})
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    context = session.context
    first, second = batch.products[:2]
    job = session.plan.jobs[first]
    job_records.write_record(
        context.results, Record(first, FRAME, job.key, data={"y": 2}), job.record_path
    )
    job = session.plan.jobs[second]
    bad = Record(second, FRAME, job.key, job_records.SET_ASIDE, "bad")
    job_records.write_record(context.results, bad, job.record_path)
    again = batch_files.read_batch(context.results / batch.path, CHAIN)
    assert list(again.plan.jobs) == list(batch.products[2:])
    assert again.context.outcome(first).data == {"y": 2}
    assert again.context.outcome(second).status == job_records.SET_ASIDE
    assert batch_work.count_recorded_jobs(again.context) == BatchCount(2, 1, 0)


def test_a_batch_is_closed_when_all_its_jobs_have_left_a_record(make_session):
    session = make_session({"2024-03-01": 2})
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    path, results = session.context.results / batch.path, session.context.results
    for product in batch.products:
        assert not batch_work.record_batch(session.context, path)
        assert not (results / batch.record_path).exists()
        job = session.plan.jobs[product]
        job_records.write_record(results, Record(product, job.kind, job.key), job.record_path)
        # The session's own jobs are the plan's: the batch has those of the batch only.
        context = batch_files.read_batch(path, CHAIN).context
    assert batch_work.record_batch(context, path)
    record = job_records.read_record(results / batch.record_path)
    assert (record.kind, record.data) == (
        "batch",
        {"frames": 2, "set_aside": 0, "other_products": 3, "left": 0},
    )


def test_a_batch_waits_for_those_of_an_earlier_run_that_make_the_same(make_session):
    session = make_session({"2024-03-01": 2, "2024-03-02": 2})
    session.busy_batches = {
        ".ccdflow/batches/old.json": {"reduced/2024-03-01/001.fits": "", "reduced/gone.fits": ""},
        ".ccdflow/batches/other.json": {"reduced/elsewhere.fits": ""},
    }
    parts = batch_splitting.split(session, is_split_by_night=True)
    waits = [batch_files.batches_awaited(session.context.results / batch.path) for batch in parts]
    assert waits == [[session.context.results / ".ccdflow/batches/old.json"], []]


def test_jobs_that_an_earlier_run_ends_while_a_batch_waits_are_not_made_again(
    make_session, monkeypatch
):
    session = make_session({"2024-03-01": 3})
    context = session.context
    earlier = context.results / batch_files.path_of("2024-03-01", "earlier")
    made = [f"reduced/2024-03-01/{number:03d}.fits" for number in range(2)]
    session.busy_batches = {os.path.relpath(earlier, context.results): dict.fromkeys(made, "")}
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    path = context.results / batch.path
    earlier.touch()
    claim = claims.claim(earlier)

    def end_earlier(line):
        assert line == claims.waiting_line(earlier)
        # A process that waits gives signs of life as well: others may wait for it.
        assert batch_progress.read_count(path) == BatchCount()
        assert batch_progress.count_path(path).exists()
        for product in made:
            job = session.plan.jobs[product]
            job_records.write_record(
                context.results, Record(product, FRAME, job.key), job.record_path
            )
        claim.close()

    given = []

    def work_plan(context, jobs, **options):
        given.extend(job.product for job in jobs)
        return worker.WorkResult()

    monkeypatch.setattr(worker, "work_plan", work_plan)
    monkeypatch.setattr(claims.time, "sleep", lambda seconds: None)
    # No record of the others: the batch is not done.
    assert batch_work.make_all(path, chain=CHAIN, threads=1, say=end_earlier) == 1
    assert set(made) < set(batch.products)
    assert given == [product for product in batch.products if product not in made]


def test_a_queued_job_makes_nothing_before_the_batches_that_its_batch_needs(
    make_session, monkeypatch
):
    """A killed run leaves it in the queue; a later run plans a batch of the same name and key."""
    session = make_session({"2024-03-01": 2})
    context, lines, worked = session.context, [], []
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    earlier_record_paths = tuple(paths.done_record("batches/before", key) for key in ("k1", "k2"))
    path = batch_files.write_batch(
        session, replace(batch, earlier_record_paths=earlier_record_paths)
    )

    def work_plan(context, jobs, **options):
        worked.extend(job.product for job in jobs)
        for job in jobs:
            job_records.write_record(
                context.results, Record(job.product, FRAME, job.key), job.record_path
            )
        return worker.WorkResult()

    monkeypatch.setattr(worker, "work_plan", work_plan)
    clock = SimpleNamespace(now=0.0)
    sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)  # noqa: E731
    monkeypatch.setattr(
        job_records, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    )
    for record, next_record in zip(
        (None, *earlier_record_paths), (*earlier_record_paths, None), strict=True
    ):
        if record is not None:
            (context.results / record).parent.mkdir(parents=True, exist_ok=True)
            (context.results / record).touch()
        status = batch_work.make_all(path, chain=CHAIN, threads=1, say=lines.append)
        assert status == (0 if next_record is None else 1)
        if next_record is not None:
            assert worked == []
            assert lines.pop().startswith(
                f"{next_record}: the record of an earlier batch is missing"
            )
    assert worked == list(batch.products)
    # A record that a slow file system shows after half a minute is waited for.
    assert clock.now == pytest.approx(2 * 61, abs=1)


def test_the_size_is_read_from_the_first_line_alone(make_session):
    session = make_session({"2024-03-01": 4})
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    path = session.context.results / batch.path
    # Four frames of 30 x 50 and 30 x 40, once to reduce and once to combine.
    assert batch_files.size_of(path) == Size(4, 4, 2, 2700, 8 * 2700) == batch.size
    first, _ = path.read_text().splitlines()
    path.write_text(f"{first}\nnot JSON\n")
    assert batch_files.size_of(path) == batch.size


def test_a_dry_run_writes_no_batch(make_session):
    session = make_session({"2024-03-01": 4})
    batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    assert not session.context.results.exists()


def test_a_batch_that_is_gone_has_no_size_and_waits_for_none(tmp_path):
    """As a withdrawn one: it may be removed between two readings of its file."""
    assert batch_files.size_of(tmp_path / "gone.json") == Size()
    assert batch_files.earlier_record_paths(tmp_path / "gone.json") == []


@pytest.mark.parametrize(
    "read",
    [lambda path: batch_files.read_batch(path, CHAIN), batch_files.batches_awaited],
    ids=["all", "waits"],
)
def test_a_batch_that_is_gone_is_withdrawn(read, tmp_path):
    with pytest.raises(Withdrawn, match=r"gone\.json"):
        read(tmp_path / "gone.json")


@pytest.mark.parametrize("change", ["another version", "an older one"])
def test_a_batch_of_another_version_is_refused_in_one_line(make_session, change, monkeypatch):
    session = make_session({"2024-03-01": 2})
    (batch,) = batch_splitting.split(session, is_split_by_night=True)
    path = session.context.results / batch.path
    if change == "another version":
        # A group whose values have other names would be read as one without them.
        monkeypatch.setattr(batch_files, "_hash_of_fields", lambda: "other")
    else:
        head, _, body = path.read_text().partition("\n")
        path.write_text(head.replace('"form"', '"before it"') + "\n" + body)
    for read in (
        batch_files.size_of,
        batch_files.earlier_record_paths,
        batch_files.batches_awaited,
    ):
        with pytest.raises(UserError, match=r"another version of ccdflow wrote this batch; start"):
            read(path)
    lines = []
    assert batch_work.make_all(path, chain=CHAIN, threads=1, say=lines.append) == 1
    assert [line.partition(": ")[0] for line in lines] == [str(path)]
    assert session.plan.jobs
    assert not any(
        (session.context.results / job.record_path).exists() for job in session.plan.jobs.values()
    )


# -- resources -------------------------------------------------------------------------------------

LFC = 2080 * 4128


def lfc_night(frames, biases=10):
    return Size(frames, biases, 2, LFC, (frames + biases) * LFC)


def test_resources_grow_with_the_night_and_with_the_attempt():
    small, large = lfc_night(50), lfc_night(1000, 100)
    assert batch_resources.cores(small) == 2
    assert batch_resources.cores(large) == 8
    # The small night takes the least time; the large one 316 s of a core, the start and a margin.
    minutes = [batch_resources.runtime(night, threads=2) for night in (small, large)]
    assert minutes == [5, 15]
    for estimate in (batch_resources.memory, batch_resources.runtime):
        first, second, third = (estimate(small, attempt=n) for n in (1, 2, 3))
        assert (second, third) == (2 * first, 3 * first)


def test_memory_covers_the_frames_at_work_or_the_stack_within_its_limit():
    one, many = lfc_night(50, 0), lfc_night(50, 100)
    # Each thread has a frame: 16 bytes a pixel. Both estimates are rounded up to hundreds.
    of_one, of_eight = (batch_resources.memory(one, threads=n) for n in (1, 8))
    assert of_eight - of_one == pytest.approx(7 * LFC * 16 / 1e6, abs=100)
    limited = [batch_resources.memory(many, combine_memory=limit) for limit in (4000, 1000)]
    assert limited == [1000 + 4000, 1000 + 1000]


@pytest.mark.parametrize(
    ("threads", "members", "combine_memory", "asked"),
    [(1, 0, 1000, 1200), (4, 0, 1000, 1600), (1, 5, 1000, 1400), (1, 50, 800, 1800)],
)
def test_memory_is_that_of_the_larger_task_rounded_up_to_hundreds(
    threads, members, combine_memory, asked
):
    """A frame of 8.5 million pixels takes 136 MB, a member 68 MB; the programs take 1000 MB."""
    night = Size(n_frames=50, n_combined=members, n_pixels_of_largest=8_500_000)
    options = {"threads": threads, "combine_memory": combine_memory}
    assert batch_resources.memory(night, **options) == asked
    assert batch_resources.memory(night, attempt=3, **options) == 3 * asked


def test_the_estimate_is_generous_beside_the_measurement():
    # 50 LFC frames take 6 s with two cores, twelve biases 1.5 s to combine: here ten such nights.
    measured_minutes = 10 * (6 + 1.5) / 60
    estimate = batch_resources.runtime(lfc_night(500, 120), threads=2)
    assert 5 * measured_minutes < estimate < 15 * measured_minutes


def test_time_is_shared_among_the_threads():
    """Twice the threads take half the time for the work; the time of the start stays."""
    large = lfc_night(4000)
    one, two, eight = (batch_resources.runtime(large, threads=n) for n in (1, 2, 8))
    start = batch_resources.runtime(Size(0, 0, 0, 0, 0), threads=1)
    assert start == 5
    assert two == pytest.approx(one / 2, abs=2)
    assert eight == pytest.approx(one / 8, abs=3)


def test_a_batch_reads_the_records_that_other_batches_leave(make_session):
    session = make_session({"a": 25}, most=10)
    parts = batch_splitting.split(session, is_split_by_night=True)
    bias = next(batch for batch in parts if "combined/a/bias.fits" in batch.products)
    again = batch_files.read_batch(session.context.results / bias.path, CHAIN)
    first = paths.reduced_frame("a/000.fits.gz")
    assert first not in again.context.jobs
    assert again.context.outcome(first) is None
    job = session.plan.jobs[first]
    job_records.write_record(
        session.context.results, Record(first, FRAME, job.key), job.record_path
    )
    assert again.context.outcome(first).key == job.key
    # They are not its own to count or to close.
    assert batch_work.count_recorded_jobs(again.context) == BatchCount(0, 0, 0)


def test_a_batch_stands_for_the_batches_that_it_waits_for():
    """Snakemake is given few records for a job that needs hundreds of products."""
    first = batch_splitting.Batch("a", "1", ("a1", "a2"), Size())
    second = batch_splitting.Batch("b", "2", ("b1",), Size(), (first.record_path,))
    third = batch_splitting.Batch("c", "3", ("c1",), Size(), (second.record_path,))
    other = batch_splitting.Batch("d", "4", ("d1",), Size())
    job = Job("page", "page", "key", "new", "", (), 0, ())
    session = SimpleNamespace(context=None, plan=SimpleNamespace(jobs={"page": job}))
    jobs = JobList("results", session, (first, second, third, other))
    assert jobs.record_paths_of(("a1", "c1", "a2", "d1", "page", "current")) == [
        f"results/{third.record_path}", f"results/{other.record_path}",
        f"results/{job.record_path}",
    ]  # fmt: skip
    assert jobs.record_paths_of(("a1", "b1")) == [f"results/{second.record_path}"]
    assert jobs.record_paths_of(("a1", "a2", "d1")) == [
        f"results/{first.record_path}", f"results/{other.record_path}",
    ]  # fmt: skip
