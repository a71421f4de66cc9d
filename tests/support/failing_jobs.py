"""A night with every kind of product for tests of jobs that fail, and errors to raise in them."""

from __future__ import annotations

import errno
import os
import threading

import small_chain
from small_frames import begin

from ccdflow import kinds as kinds_module
from ccdflow.errors import FrameError, UserError
from ccdflow.run import job_records, worker
from ccdflow.run.ending import session_end

ERRORS = {
    "ValueError": lambda: ValueError("on purpose"),
    "MemoryError": MemoryError,
    "RecursionError": lambda: RecursionError("on purpose"),
    "EISDIR": lambda: _system_error(errno.EISDIR),
    "EACCES": lambda: _system_error(errno.EACCES),
    "EIO": lambda: _system_error(errno.EIO),
    "no number": lambda: OSError("on purpose"),
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "FrameError": lambda: FrameError("on purpose", file="x"),
    "UserError": lambda: UserError("on purpose"),
    "StopIteration": StopIteration,
    "KeyboardInterrupt": KeyboardInterrupt,
    "no text": lambda: _NoText(),
    "Warning": lambda: RuntimeWarning("on purpose"),
    "Unicode": lambda: UnicodeDecodeError("ascii", b"x", 0, 1, "on purpose"),
}


KINDS = [kind.name for kind in kinds_module.CHAIN]


class JobAtWork(threading.local):
    """The job at work in this thread: `now`, None between jobs."""

    now = None

    def make(self, context, job, *, threads=1):
        """Make the product of a job, which is `now` meanwhile."""
        self.now = job
        try:
            return kinds_module.make(context, job, threads=threads)
        finally:
            self.now = None


class _NoText(Exception):
    """An error whose text raises another error."""

    def __str__(self):
        raise ValueError("on purpose")


def _system_error(number):
    """Return the error of the system with a number."""
    return OSError(number, os.strerror(number), "x")


def whole_night(top):
    """Make a night with products of all kinds; return (chain, raw folder, records, jobs)."""
    chain = small_chain.make(top / "raw", biases=3, darks=((60.0, 3),),
                             flats=(("g", 2, 4.0), ("g", 1, 3.0)),
                             science=(("g", 60.0, 2),))  # fmt: skip
    (top / "whole").mkdir()
    records, _, jobs = run_all_jobs(chain, top / "raw", top / "whole" / "results")
    assert records
    assert {record.status for record in records.values()} <= {job_records.MADE, job_records.REFUSED}
    assert {job.kind for job in jobs.values()} == set(KINDS)
    return chain, top / "raw", records, jobs


def run_all_jobs(chain, raw, results, *, make=kinds_module.make):
    """Run all jobs of a plan; return (records, last lines, jobs)."""
    settings = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
    running = begin(raw, results, {"simcam": chain.profile}, **settings)
    try:
        jobs = dict(running.plan.jobs)
        done = worker.work(running.context, jobs.values(), threads=2, make=make)
        lines, is_failure = session_end.finish(running)
    finally:
        running.lock.close()
    assert (done.unrecorded, done.full_disk) == ({}, None)
    assert is_failure == any(r.status == job_records.FAILED for r in done.records.values())
    return done.records, lines, jobs


def products_after(jobs, product):
    """Return the products that depend on a product, directly or through other products."""
    products, count = {product}, 0
    while len(products) > count:
        count = len(products)
        products |= {name for name, job in jobs.items() if set(job.needs) & products}
    return products - {product}
