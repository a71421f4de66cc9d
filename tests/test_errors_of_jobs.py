"""Whatever a maker, reader or writer raises costs its own product and what is made of it."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import small_chain
from small_frames import begin

from ccdflow import kinds as kinds_module
from ccdflow.errors import FrameError, UserError
from ccdflow.run import ledger, session, worker

ERRORS = {
    "ValueError": lambda: ValueError("on purpose"),
    "MemoryError": MemoryError,
    "RecursionError": lambda: RecursionError("on purpose"),
    "EISDIR": lambda: _system(errno.EISDIR),
    "EACCES": lambda: _system(errno.EACCES),
    "EIO": lambda: _system(errno.EIO),
    "no number": lambda: OSError("on purpose"),
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "FrameError": lambda: FrameError("on purpose", file="x"),
    "UserError": lambda: UserError("on purpose"),
    "StopIteration": StopIteration,
    "Warning": lambda: RuntimeWarning("on purpose"),
    "Unicode": lambda: UnicodeDecodeError("ascii", b"x", 0, 1, "on purpose"),
}
KINDS = [kind.name for kind in kinds_module.CHAIN]
# Each kind with an error, each error at a kind; all pairs in the long form.
PAIRS = [(kind, list(ERRORS)[number % len(ERRORS)]) for number, kind in enumerate(KINDS)]


def _system(number):
    return OSError(number, os.strerror(number), "x")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A night with everything, and its jobs by kind and what each needs."""
    top = tmp_path_factory.mktemp("archive")
    chain = small_chain.make(top / "raw", biases=3, darks=((60.0, 3),),
                             flats=(("g", 2, 4.0), ("g", 1, 3.0)),
                             science=(("g", 60.0, 2),))  # fmt: skip
    (top / "whole").mkdir()
    records, _, jobs = go(chain, top / "raw", top / "whole" / "results")
    assert {record.status for record in records.values()} <= {ledger.MADE, ledger.REFUSED}
    assert {job.kind for job in jobs.values()} == set(KINDS)
    return chain, top / "raw", records, jobs


def go(chain, raw, results, *, make=kinds_module.make):
    """Run all jobs; return (records, closing lines, jobs)."""
    settings = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
    running = begin(raw, results, {"simcam": chain.profile}, **settings)
    try:
        jobs = dict(running.plan.jobs)
        done = worker.work(running.context, jobs.values(), threads=2, make=make)
        lines, is_failure = session.finish(running)
    finally:
        running.lock.close()
    assert (done.unrecorded, done.full) == ({}, "")
    assert is_failure == any(r.status == ledger.FAILED for r in done.records.values())
    return done.records, lines, jobs


def after(jobs, product):
    """Return the products that are made of a product, by way of others as well."""
    found, count = {product}, 0
    while len(found) > count:
        count = len(found)
        found |= {name for name, job in jobs.items() if set(job.needs) & found}
    return found - {product}


def check(archive, tmp_path, kind, raised):
    chain, raw, before, jobs = archive
    made_before = {name for name, record in before.items() if record.status == ledger.MADE}
    victim = sorted(n for n, job in jobs.items() if job.kind == kind and n in made_before)[0]

    def make(context, job, *, threads=1):
        if job.product == victim:
            raise raised()
        return kinds_module.make(context, job, threads=threads)

    records, lines, _ = go(chain, raw, tmp_path / "results", make=make)
    assert records[victim].status == ledger.FAILED
    made = {name for name, record in records.items() if record.status == ledger.MADE}
    assert made_before - made <= {victim} | after(jobs, victim)
    # What only shows it is made without it.
    shown = {n for n in after(jobs, victim) if jobs[n].kind in ("page", "index", "associations")}
    assert shown & made_before <= made
    (line,) = [line for line in lines if line.startswith("failed: ")]
    assert line.startswith(f"failed: {victim}: ")
    log = line.rpartition("log: ")[2]
    with open(log) as file:  # noqa: PTH123
        assert "Traceback (most recent call last)" in file.read()
    records, _, again = go(chain, raw, tmp_path / "results")
    assert victim in again
    # What was made without it is made again: the same bytes as if nothing had failed.
    for name in made_before:
        whole = (raw.parent / "whole" / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == whole, name
    shutil.rmtree(tmp_path / "results")


# The kinds of pixels and what shows them; the others are in the long form.
SOON = [pair for number, pair in enumerate(PAIRS) if number < 3 or number % 5 == 0]


@pytest.mark.parametrize(("kind", "error"), SOON)
def test_what_a_job_raises_costs_only_what_is_made_of_it(archive, tmp_path, kind, error):
    check(archive, tmp_path, kind, ERRORS[error])


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_each_error_at_each_kind(archive, tmp_path, kind):
    for error in ERRORS.values():
        check(archive, tmp_path, kind, error)
