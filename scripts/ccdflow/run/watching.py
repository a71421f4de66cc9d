"""Watching a raw folder: each new frame is reduced, calibrated and shown as soon as it is complete.

A round is a run of its own: it takes the lock, plans, makes what is wanted by the same executor
that makes batches, and lets the lock go. So its products are those of `snakemake`, and a run beside
it or after it finds nothing that it would do otherwise.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from ccdflow.errors import CcdflowError, UserError
from ccdflow.run import failures, ledger, lock, rawfolder, session, worker
from ccdflow.run.inventory import ARRIVING

PAUSE = 1.0
"""Seconds between two looks at the raw folder."""
# A problem that stays (no folder, a full disk, another run) is tried again after so many seconds.
_PATIENCE = 10.0


@dataclass
class Round:
    """What one round of watching did.

    Attributes
    ----------
    records : list of ccdflow.run.ledger.Record
        Of the products that were made, refused or failed, in the order in which they were done.
    nights : list of str
        Nights with a product made in this round, in order.
    problem : str
        Why the round could not be done, or ''.
    arriving : int
        Frames that are still being written.
    """

    records: list = field(default_factory=list)
    nights: list = field(default_factory=list)
    problem: str = ""
    arriving: int = 0


class Watch:
    """The watch over a raw folder.

    Parameters
    ----------
    values : dict
        Settings, as `ccdflow.settings.load` returns them.
    chain : ccdflow.kinds.kind.Chain
    cores : int
        Frames that are worked on at the same time.
    say : callable
        Takes a line for the observer.
    pause : float
        Seconds between two looks at the folder.
    after : callable, optional
        Called with each `Round` in which a product was made.
    """

    def __init__(self, values, *, chain, cores=2, say=print, pause=PAUSE, after=None):
        self.values = values
        self.chain = chain
        self.cores = cores
        self.say = say
        self.pause = pause
        self.after = after or (lambda _: None)
        self.is_ended = threading.Event()
        self._seen = {}
        self._again = 0.0
        self._told = ""

    def end(self):
        """End the watch after the round that is at work."""
        self.is_ended.set()

    def run(self):
        """Watch until `end` is called."""
        # As in a run: threads that wait for the disk let others go on at once.
        sys.setswitchinterval(0.0003)
        before = {}
        while not self.is_ended.is_set():
            found = self._look()
            if found is not None:
                quiet = {file: stamp for file, stamp in found.items() if before.get(file) == stamp}
                if self._is_due(quiet, found):
                    self.round(quiet)
                before = found
            self.is_ended.wait(self.pause)

    def _look(self):
        """Return the names and times of all raw frames; None where the folder cannot be read."""
        try:
            return rawfolder.list_raw(self.values["raw"])
        except (CcdflowError, OSError) as error:
            self._complain(str(error))
            return None

    def _is_due(self, quiet, found):
        """Tell whether a file that stayed as it was for a pause is new, or one has gone."""
        is_new = any(self._seen.get(file) != stamp for file, stamp in quiet.items())
        is_time = self._again and time.monotonic() >= self._again
        return is_new or is_time or not self._seen.keys() <= found.keys()

    def _complain(self, text):
        """Say a problem once, until another one or none has taken its place."""
        if text and text != self._told:
            self.say(f"waiting: {text}")
        self._told = text

    def round(self, found=None):
        """Make all that is wanted now.

        Parameters
        ----------
        found : dict, optional
            The raw frames that led to this round: they lead to no other one as they are.

        Returns
        -------
        Round
        """
        done = Round()
        try:
            self._round(done)
        except (UserError, OSError) as error:
            done.problem = str(error)
        self._complain(done.problem)
        if not done.problem:
            self._seen = found or {}
        is_open = done.problem or done.arriving
        self._again = time.monotonic() + _PATIENCE if is_open else 0.0
        if any(record.status == ledger.MADE for record in done.records):
            try:
                self.after(done)
            except OSError as error:
                self._complain(f"{error.filename}: {error.strerror}")
        return done

    def _round(self, done):
        try:
            running = session.start(self.values, chain=self.chain, dry=False, cores=self.cores)
        except lock.Busy as error:
            done.problem = error.reason
            return
        try:
            self._work(running, done)
        finally:
            running.lock.close()

    def _work(self, running, done):
        context, jobs = running.context, list(running.plan.jobs.values())
        done.arriving = sum(row.status == ARRIVING for row in context.store.rows.values())
        began = time.monotonic()
        if jobs:
            outcome = worker.work(
                context,
                jobs,
                threads=self.cores,
                make=self.chain.make,
                is_wide=lambda job: self.chain.by_name(job.kind).todo == "make",
                on_done=lambda record: self._tell(context, record),
            )
            done.records = list(outcome.records.values())
            done.problem = outcome.full
            done.problem = done.problem or "; ".join(outcome.unrecorded.values())
        done.nights = sorted({job.night for job in jobs if job.night})
        session.finish(running)
        if jobs:
            for line in failures.lines(context.results, running.failed):
                self.say(line)
            self._sum_up(done, time.monotonic() - began)

    def _tell(self, context, record):
        """Say the line on a product, where its kind has one."""
        line = self.chain.by_name(record.kind).told(context, record)
        if line:
            self.say(line)

    def _sum_up(self, done, seconds):
        parts = []
        for kind in self.chain:
            if not kind.counted or not kind.type:
                continue
            made = sum(
                record.kind == kind.name and record.status == ledger.MADE for record in done.records
            )
            if made:
                parts.append(f"{made} {kind.counted[made != 1]}")
        if parts:
            self.say(f"made: {', '.join(parts)}, in {seconds:.1f} s")
