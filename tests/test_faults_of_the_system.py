"""A fault of the system at each touch of a file, found by watching a run: who loses what by it."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import small_chain
from small_frames import begin
from system_faults import Touches
from test_errors_of_jobs import after

from ccdflow import kinds as kinds_module
from ccdflow.errors import UserError
from ccdflow.run import ledger, session, worker

sys.path.insert(0, str(Path(__file__).parent / "workflow"))
from sandbox import products
from stand_ins import use_stand_ins

NUMBERS = (
    "EIO", "EACCES", "ESTALE", "EMFILE", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ENOENT",
    "ETIMEDOUT", "ENOMEM", "ELOOP", "EPERM", "EINVAL", "ENOSPC", "EDQUOT",
)  # fmt: skip
FULL = ("ENOSPC", "EDQUOT")
SETTINGS = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
# A part of the run that is no job's.
MAIN = "main"


def system(name):
    """Return what raises an error of the system."""
    number = getattr(errno, name)
    return lambda: OSError(number, os.strerror(number), "x")


class Archive:
    """A night with everything, watched; and how a run of it ends without a fault."""

    def __init__(self, top, patch):
        use_stand_ins(patch)
        self.top, self.results = top, top / "work" / "results"
        self.chain = small_chain.make(
            top / "raw", biases=3, darks=((60.0, 3),), flats=(("g", 2, 4.0), ("g", 1, 3.0)),
            science=(("g", 60.0, 2),),
        )  # fmt: skip
        self.results.parent.mkdir()
        self.job = threading.local()
        self.touches = Touches(patch, top, self.label)
        with self.touches.on():
            self.before, _, self.jobs = self.go()
            self.go()
        self.places = sorted(self.touches.seen)
        self.wanted = products(self.results)
        shutil.rmtree(self.results)

    def label(self):
        """Return the kind of the job at work in this thread."""
        job = getattr(self.job, "now", None)
        if job is None:
            return MAIN
        if self.touches.struck and job.product != self.victim:
            return None
        self.candidate = job.product
        return job.kind

    @property
    def victim(self):
        """Product of the job that was struck."""
        return self._victim

    def make(self, context, job, *, threads=1):
        """Make a job's product, and note that it is at work."""
        self.job.now = job
        try:
            return kinds_module.make(context, job, threads=threads)
        finally:
            self.job.now = None

    def go(self):
        """Run all jobs; return (records, closing lines, jobs)."""
        running = begin(self.top / "raw", self.results, {"simcam": self.chain.profile}, **SETTINGS)
        try:
            jobs = dict(running.plan.jobs)
            done = worker.work(running.context, jobs.values(), threads=1, make=self.make)
            lines, _ = session.finish(running)
        finally:
            running.lock.close()
        self.done = done
        return done.records, lines, jobs

    def strike(self, place, error, *, lasting):
        """Run with a fault at a place; return as `go` does."""
        self._victim = ""
        self.touches.strike(place, self._raised(error), lasting=lasting)
        try:
            with self.touches.on():
                return self.go()
        finally:
            self.touches.strike(None, None)

    def _raised(self, error):
        def raised():
            job = getattr(self.job, "now", None)
            self._victim = self._victim or (job.product if job else "")
            return error()

        return raised

    def check_mended(self):
        """The next run makes what a run without a fault makes, and leaves nothing to do."""
        self.go()
        found = products(self.results)
        wrong = sorted(n for n in {*found, *self.wanted} if found.get(n) != self.wanted.get(n))
        assert wrong == []
        _, _, rest = self.go()
        assert rest == {}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Archive(tmp_path_factory.mktemp("system"), patch)


def check_job(archive, place, name, *, lasting):
    """Return whether a job was struck; assert what others lost: nothing."""
    records, lines, _ = archive.strike(place, system(name), lasting=lasting)
    if not archive.touches.struck:
        return False
    victim, made = archive.victim, {n for n, r in archive.before.items() if r.status == ledger.MADE}
    if archive.done.full:
        assert name in FULL
        assert "make room" in archive.done.full
    else:
        now = {n for n, r in records.items() if r.status == ledger.MADE}
        touched = {victim} | after(archive.jobs, victim)
        assert made - now <= touched, (made - now - touched, lines)
        found = products(archive.results)
        for product in made - touched:
            assert found[product] == archive.wanted[product], product
        if victim in made - now:
            named = victim.removesuffix(".fits").partition("/")[2] or victim
            said = [line for line in lines if named in line and line.startswith(SAID)]
            unrecorded = archive.done.unrecorded.get(victim)
            assert len(said) == 1 or unrecorded, lines
            assert "make room" not in str(said) or name in FULL, said
    archive.check_mended()
    return True


SAID = ("failed: ", "set aside: ", "left for the next run: ")


def sweep(archive, places, check):
    """Strike each place with one error of each; return how many were struck, and the failures."""
    count, wrong = 0, []
    errors = itertools.cycle(NUMBERS)
    for number, place in enumerate(places):
        name = next(errors)
        shutil.rmtree(archive.results, ignore_errors=True)
        try:
            count += check(archive, place, name, lasting=bool(number % 2))
        except Exception as error:
            text = f"{place} {name} lasting={number % 2}: {type(error).__name__}: {error}"
            print(number, text[:1500], flush=True)
            wrong.append(text[:1500])
    return count, wrong


@pytest.mark.torture
def test_a_fault_at_each_touch_in_a_job(archive):
    places = [place for place in archive.places if place[0] != MAIN]
    assert len(places) > 300
    count, wrong = sweep(archive, places, check_job)
    assert wrong == [], "\n".join(wrong)
    assert count > 300


def check_main(archive, place, name, *, lasting):
    """A fault in the run's own work costs one line; the next run mends all."""
    said = ""
    try:
        archive.strike(place, system(name), lasting=lasting)
    except UserError as error:
        said = str(error)
    assert said.count("\n") == 0
    assert "make room" not in said or name in FULL
    struck = bool(archive.touches.struck)
    if struck:
        archive.check_mended()
    return struck


@pytest.mark.torture
@pytest.mark.parametrize("turn", range(3))
def test_a_fault_at_each_touch_of_the_run_itself(archive, turn):
    places = [place for place in archive.places if place[0] == MAIN]
    assert len(places) > 80
    count, wrong = sweep(archive, places[turn:] + places[:turn], check_main)
    assert wrong == [], "\n".join(wrong)
    assert count > 80
