"""The executor of the library: order, width, failures, a full disk."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from ccdflow.run import failures, job_records, worker
from ccdflow.run.job import Job


@pytest.fixture
def context(tmp_path):
    return SimpleNamespace(results=tmp_path)


def job(name, needs=(), kind="frame"):
    return Job(kind, f"reduced/{name}.fits", "0123456789abcdef", "new", "n", tuple(needs))


def record(job):
    return job_records.Record(job.product, job.kind, job.key)


def product(name):
    return f"reduced/{name}.fits"


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_each_job_is_made_once_and_after_its_needs(context, threads):
    """A chain, a fan and a knot: most jobs come before their needs in the list."""
    jobs = [job("last", [product("knot"), product("c9")])]
    jobs += [job("knot", [product(f"f{n}") for n in range(20)])]
    jobs += [job(f"f{n}", [product("c0")]) for n in range(20)]
    jobs += [job(f"c{n}", [product(f"c{n - 1}")] if n else []) for n in range(10)]
    began, ended = {}, {}

    def make(context, job, *, threads):
        began[job.product] = time.monotonic()
        time.sleep(0.001)
        assert job.product not in ended
        ended[job.product] = time.monotonic()
        return record(job)

    result = worker.work(context, jobs, threads=threads, make=make)
    assert result.records.keys() == {each.product for each in jobs}
    assert max(len(each.needs) for each in jobs) == 20
    for each in jobs:
        assert all(ended[need] <= began[each.product] for need in each.needs)
        assert job_records.read_record(context.results / each.record_path) == record(each)


def test_the_first_of_several_threads_errors_is_raised(context):
    """The other thread raises its own after the first one's has ended that thread."""
    is_at_work, is_known, early = threading.Event(), threading.Event(), []

    def make(context, job, *, threads):
        if job.product == product("late"):
            is_at_work.set()
        return record(job)

    def on_done(record):
        if record.product == product("early"):
            early.append(threading.current_thread())
            is_known.set()
            assert is_at_work.wait(60)
            raise ValueError("the first")
        assert is_known.wait(60)
        early[0].join(60)
        raise ValueError("it follows from the first")

    jobs = [job("early"), job("late")]
    with pytest.raises(ValueError, match=r"^the first$"):
        worker.work(context, jobs, threads=2, make=make, on_done=on_done)


def test_a_job_does_not_wait_for_products_without_a_job(context):
    one = job("a", [product("elsewhere")])
    make = lambda context, job, *, threads: record(job)  # noqa: E731
    assert list(worker.work(context, [one], threads=1, make=make).records) == [one.product]


def test_a_wide_job_has_all_threads_and_nothing_beside_it(context):
    running, samples = [], []
    lock, is_another_beside = threading.Lock(), threading.Event()

    def make(context, job, *, threads):
        with lock:
            running.append(job.kind)
            samples.append((sorted(running), threads))
            if len(running) > 1:
                is_another_beside.set()
        if job.kind == "frame":
            # Two frames follow the first bias.
            assert is_another_beside.wait(300)
        with lock:
            running.remove(job.kind)
        return record(job)

    jobs = [job(f"{n}", kind="bias" if n % 3 == 0 else "frame") for n in range(12)]
    worker.work(context, jobs, threads=4, make=make, is_wide=lambda job: job.kind == "bias")
    for kinds, threads in samples:
        assert (kinds == ["bias"]) == ("bias" in kinds) == (threads == 4)
    assert max(len(kinds) for kinds, _ in samples) > 1


class Dies(BaseException):
    """An error that ends a thread."""


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), MemoryError(), OSError(5, "Input/output error"), Dies("thread"),
     SystemExit(2), RecursionError("deep")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_of_a_job_costs_its_own_product_only(context, error):
    def make(context, job, *, threads):
        if job.product == product("3"):
            raise error
        return record(job)

    jobs = [job(f"{n}", [product(f"{n - 1}")] if n else []) for n in range(8)]
    done = worker.work(context, jobs, threads=2, make=make).records
    statuses = {each.product: done[each.product].status for each in jobs}
    assert {name for name, status in statuses.items() if status == "failed"} == {product("3")}
    failed = job_records.read_record(context.results / jobs[3].record_path)
    assert failed == done[product("3")]
    assert failures.error_words(error) in failed.reason
    log = (context.results / ".ccdflow/logs").rglob("3.fits.*.log")
    assert type(error).__name__ in next(log).read_text()


def test_a_full_disk_ends_the_work_early(context):
    def make(context, job, *, threads):
        if job.product == product("5"):
            raise OSError(28, "No space left on device")
        return record(job)

    result = worker.work(context, [job(f"{n}") for n in range(100)], threads=2, make=make)
    assert "make room, and run again" in str(result.full_disk)
    assert len(result.records) < 20
    assert not list(context.results.rglob("5.fits*"))


def test_a_record_that_cannot_be_written_is_reported_and_costs_no_other_job(context):
    jobs = [job(f"{n}") for n in range(4)]
    (context.results / jobs[2].record_path).mkdir(parents=True)
    make = lambda context, job, *, threads: record(job)  # noqa: E731
    result = worker.work(context, jobs, threads=2, make=make)
    assert result.records.keys() == {product(n) for n in (0, 1, 3)}
    (failure,) = result.unrecorded.values()
    assert str(failure).endswith("; a file or folder is in the way: move it, and run again")
    assert failure.line("; later").endswith("in the way: move it; later")


def test_an_error_of_on_done_ends_the_work(context):
    def tell(record):
        raise RuntimeError("nobody listens")

    make = lambda context, job, *, threads: record(job)  # noqa: E731
    with pytest.raises(RuntimeError, match="nobody listens"):
        worker.work(context, [job("1"), job("2")], threads=2, make=make, on_done=tell)


def test_jobs_that_need_each_other_are_no_work_without_end(context):
    jobs = [job("1", [product("2")]), job("2", [product("1")])]
    make = lambda context, job, *, threads: record(job)  # noqa: E731
    with pytest.raises(
        RuntimeError, match=f"jobs need each other in a circle: {product('1')}, {product('2')}"
    ):
        worker.work(context, jobs, threads=2, make=make)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(28, "x"), "make room"),
        (OSError(122, "x"), "make room"),
        (OSError(13, "x"), "permissions"),
        (OSError(30, "x"), "mount its disk for writing"),
        (OSError(21, "x"), "in the way"),
        (OSError(5, "x"), "disk or the network"),
        (OSError(116, "x"), "disk or the network"),
        (OSError(24, "x"), "ulimit -n"),
        (OSError(36, "x"), "shorter name"),
        (OSError(12, "x"), "fewer --cores"),
        (MemoryError(), "fewer --cores"),
        (OSError("no number"), "check the disk"),
        (KeyError("x"), "report it"),
    ],
)
def test_the_remedy_fits_the_cause(error, remedy):
    assert remedy in failures.remedy_of(error)
    assert ("make room" in failures.remedy_of(error)) == failures.is_of_full_disk(error)
