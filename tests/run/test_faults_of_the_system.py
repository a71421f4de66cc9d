"""A fault of the system at each touch of a file in a run: it costs the products that need it."""

from __future__ import annotations

import errno
import itertools
import os
import shutil

import pytest
import small_chain
from failing_jobs import JobAtWork, products_after
from small_frames import begin
from system_faults import Touches
from workflow.sandbox import products
from workflow.stand_ins import use_stand_ins

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.run import job_records, worker
from ccdflow.run.ending import session_end

NUMBERS = (
    "EIO", "EACCES", "ESTALE", "EMFILE", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ENOENT",
    "ETIMEDOUT", "ENOMEM", "ELOOP", "EPERM", "EINVAL", "ENOSPC", "EDQUOT",
)  # fmt: skip
FULL_DISK_CODES = ("ENOSPC", "EDQUOT")
SETTINGS = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
# A part of the run that is no job's.
MAIN = "main"


def system(name):
    """Return a function that raises an error of the system."""
    number = getattr(errno, name)
    return lambda: OSError(number, os.strerror(number), "x")


class FaultyNight:
    """A night with everything, watched; and how a run of it ends without a fault."""

    def __init__(self, top, patch):
        use_stand_ins(patch)
        self.top, self.results = top, top / "work" / "results"
        self.chain = small_chain.make(
            top / "raw", biases=3, darks=((60.0, 3),), flats=(("g", 2, 4.0), ("g", 1, 3.0)),
            science=(("g", 60.0, 2),),
        )  # fmt: skip
        self.results.parent.mkdir()
        self.job = JobAtWork()
        self.touches = Touches(patch, top, self.label)
        with self.touches.watch():
            self.before, _, self.jobs = self.go()
            self.go()
        self.places = sorted(self.touches.seen)
        self.wanted = products(self.results)

    def drop(self, kind):
        """Remove the products of a kind from an archive that has all."""
        self.go()
        for product, job in self.jobs.items():
            if job.kind == kind:
                (self.results / product).unlink(missing_ok=True)

    def label(self):
        """Return the kind of the job at work in this thread."""
        job = self.job.now
        if job is None:
            return MAIN
        if self.touches.struck and job.product != self.victim:
            return None
        return job.kind

    @property
    def victim(self):
        """Product of the job that was struck."""
        return self._victim

    def go(self):
        """Run all jobs; return (records, closing lines, jobs)."""
        running = begin(self.top / "raw", self.results, {"simcam": self.chain.profile}, **SETTINGS)
        try:
            jobs = dict(running.plan.jobs)
            done = worker.work(running.context, jobs.values(), threads=1, make=self.job.make)
            lines, _ = session_end.finish(running)
        finally:
            running.lock.close()
        self.done = done
        return done.records, lines, jobs

    def strike(self, place, error, *, is_lasting):
        """Run with a fault at a place; return as `go` does."""
        self._victim = ""
        self.touches.strike(place, self._raiser_of(error), is_lasting=is_lasting)
        try:
            with self.touches.watch():
                return self.go()
        finally:
            self.touches.strike(None, None)

    def _raiser_of(self, error):
        def raise_error():
            job = self.job.now
            self._victim = self._victim or (job.product if job else "")
            return error()

        return raise_error

    def check_mended(self):
        """The next run makes what a run without a fault makes, and leaves nothing to do."""
        self.go()
        contents = products(self.results)
        wrong = sorted(
            n for n in {*contents, *self.wanted} if contents.get(n) != self.wanted.get(n)
        )
        assert wrong == []
        _, _, rest = self.go()
        assert rest == {}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield FaultyNight(tmp_path_factory.mktemp("system"), patch)


def strike_job(archive, place, name, *, is_lasting):
    """Put a fault at a place in a job; return whether a job came by this place.

    Products that do not depend on the job are not lost. First the products of its kind are made
    again in an archive that has all others. A place that such a run does not touch gets its fault
    in a run from nothing.
    """
    for again in (True, False):
        if again:
            archive.drop(place[0])
        else:
            shutil.rmtree(archive.results)
        records, lines, _ = archive.strike(place, system(name), is_lasting=is_lasting)
        if archive.touches.struck:
            break
    else:
        return False
    victim, contents = archive.victim, products(archive.results)
    if archive.done.full_disk:
        assert name in FULL_DISK_CODES
        assert "make room" in str(archive.done.full_disk)
    else:
        touched = {victim} | products_after(archive.jobs, victim)
        wrong = {n for n, content in archive.wanted.items() if contents.get(n) != content}
        assert {n for n in wrong if n not in touched and not is_shown(n)} == set(), lines
        lost = archive.wanted.keys() - contents.keys() - touched
        # Small pictures are parts of a list.
        assert {n for n in lost if f"/{paths.SMALL_PICTURES_FOLDER}/" not in n} == set(), lines
        if records.get(victim) is None or records[victim].status != job_records.MADE:
            named = victim.removesuffix(".fits").partition("/")[2] or victim
            messages = [line for line in lines if named in line and line.startswith(OUTCOMES)]
            messages += [str(text) for n, text in archive.done.unrecorded.items() if n == victim]
            assert len(messages) == 1, lines
            if name not in FULL_DISK_CODES:
                assert "make room" not in messages[0], messages
    archive.check_mended()
    return True


def is_shown(name):
    """Return whether a product shows others: it is made without what is missing."""
    return paths.is_shown_only(name) or name.startswith("nights/")


OUTCOMES = ("failed: ", "set aside: ", "left for the next run: ")


def sweep(archive, places, strike):
    """Strike each place with one error of each; return how many were struck, and the failures."""
    count, wrong = 0, []
    errors = itertools.cycle(NUMBERS)
    for number, place in enumerate(places):
        name = next(errors)
        try:
            count += strike(archive, place, name, is_lasting=bool(number % 2))
        except Exception as error:
            text = f"{place} {name} lasting={number % 2}: {type(error).__name__}: {error}"
            print(number, text[:1500], flush=True)
            wrong.append(text[:1500])
            shutil.rmtree(archive.results, ignore_errors=True)
    return count, wrong


@pytest.mark.torture
def test_a_fault_at_each_touch_in_a_job(archive):
    places = [place for place in archive.places if place[0] != MAIN]
    assert len(places) > 300
    count, wrong = sweep(archive, places, strike_job)
    assert wrong == [], "\n".join(wrong)
    assert count > 300


def strike_main(archive, place, name, *, is_lasting):
    """Put a fault at a place in the run's own work; return whether the run came by this place.

    The fault costs one line, and the next run repairs all.
    """
    message, lines = "", []
    shutil.rmtree(archive.results, ignore_errors=True)
    try:
        _, lines, _ = archive.strike(place, system(name), is_lasting=is_lasting)
    except UserError as error:
        message = str(error)
    assert message.count("\n") == 0
    if name not in FULL_DISK_CODES:
        assert "make room" not in message
    if not message:
        contents = products(archive.results) if archive.results.is_dir() else {}
        wrong = {n for n, content in contents.items() if archive.wanted.get(n) != content}
        lost = archive.wanted.keys() - contents.keys()
        words = ("cannot be read", "left for the next run", "set aside", "failed", "not foreseen")
        if wrong | lost:
            assert any(w in line for line in lines for w in words), (wrong, lost)
    struck = bool(archive.touches.struck)
    if struck:
        archive.check_mended()
    return struck


@pytest.mark.torture
@pytest.mark.parametrize("turn", range(3))
def test_a_fault_at_each_touch_of_the_run_itself(archive, turn):
    places = [place for place in archive.places if place[0] == MAIN]
    assert len(places) > 60
    count, wrong = sweep(archive, places[turn:] + places[:turn], strike_main)
    assert wrong == [], "\n".join(wrong)
    assert count > 60
