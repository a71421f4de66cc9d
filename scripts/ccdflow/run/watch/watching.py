"""Watching a raw folder: each new frame is reduced, calibrated and shown as soon as it is complete.

A whole round is a run of its own: it takes the lock, plans, makes the products with the executor
that makes batches, and gives up the lock. Between whole rounds a new frame leads to a short one:
its night alone is planned (`ccdflow.run.watch.warm_state`), and tables and overviews wait for the
next whole round. All products are therefore those of `snakemake`: a run during the watch or after
it would change no product.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ccdflow.errors import UserError
from ccdflow.files import file_access
from ccdflow.run import failures, freed_pages, job_records, lock, session, worker
from ccdflow.run.ending import session_end
from ccdflow.run.lines.night_lists import undated_first
from ccdflow.run.nights import note_lines
from ccdflow.run.products.product_names import forget_names
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS
from ccdflow.run.run_start import EarlierJobs, LastRound, RunRequest
from ccdflow.run.unparsed_mapping import forget_texts
from ccdflow.run.watch import (
    arrivals,
    complaints,
    folder_claim,
    frame_lines,
    looks,
    new_frames,
    night_closing,
    page_pace,
    warm_state,
)
from ccdflow.run.watch.round_schedule import RoundSchedule
from ccdflow.run.watch.timed_calls import NoAnswer, Patience
from ccdflow.settings import cameras_folder

_LOG = logging.getLogger(__name__)
PAUSE_SECONDS = 1.0
"""Seconds between two looks at a raw folder without events, and of each wait for events."""

SILENCE_SECONDS = 30.0
"""Seconds after which a folder that does not answer is named."""

# In a round of more jobs, a frame's line does not wait for the list of the night, which has the
# widths of stars. Chosen: with more frames the list comes long after the first of them.
_MOST_JOBS = 200


@dataclass
class Round:
    """The result of one round of watching.

    Attributes
    ----------
    records : list of ccdflow.run.job_records.Record
        Records of the products that were made, refused or failed, in the order in which they were
        done.
    nights : list of str
        Nights with a product made in this round, folders of undated frames first, except those
        whose pages were put off.
    problem : str
        Why the round could not be done, or ''.
    n_arriving : int
        Number of frames that are still being written.
    is_short : bool
        Whether new frames alone were planned.
    is_busy : bool
        Whether the problem is that another run is at work.
    """

    records: list[job_records.Record] = field(default_factory=list)
    nights: list[str] = field(default_factory=list)
    problem: str = ""
    n_arriving: int = 0
    is_short: bool = False
    is_busy: bool = False

    def add_nights(self, nights):
        """Add nights in their order; '', the night of products of no night, is left out.

        Parameters
        ----------
        nights : set of str
        """
        self.nights = undated_first({*self.nights, *nights} - {""})

    @property
    def has_failed_products(self):
        """Whether a product failed, or waits for one that did."""
        return any(
            record.status in (job_records.FAILED, job_records.WAITING) for record in self.records
        )

    @property
    def n_failed(self):
        """The number of jobs that failed."""
        return sum(record.status == job_records.FAILED for record in self.records)

    @property
    def has_products(self):
        """Whether a product was made."""
        return any(record.status == job_records.MADE for record in self.records)


def _hear_nothing(_news):
    """Do nothing with a round or a problem."""


@dataclass(frozen=True)
class WatchListener:
    """The functions that a watch calls with its news.

    Attributes
    ----------
    say : callable
        Takes a line for the observer.
    show_round : callable
        Takes each `Round` in which a product was made.
    show_problem : callable
        Takes the first of the problems whose end the watch waits for, '' when all have passed.
    """

    say: Callable[[str], object] = print
    show_round: Callable[[Round], object] = _hear_nothing
    show_problem: Callable[[str], object] = _hear_nothing


@dataclass(frozen=True)
class Noticing:
    """The way in which a watch notices frames in the raw folder.

    Attributes
    ----------
    way : {'auto', 'events', 'polling'}
    pause : float
        Seconds between two looks at a folder without events, and of each wait for events.
    limit : float
        Seconds after which a folder that does not answer is named.
    clock : callable
        Returns seconds that never go back; tests replace it.
    """

    way: str = arrivals.AUTO_WAY
    pause: float = PAUSE_SECONDS
    limit: float = SILENCE_SECONDS
    clock: Callable[[], float] = time.monotonic


class Watch:
    """The watch over a raw folder.

    `run` repeats `step`, which looks for frames and does a round where that is needed: `do_round`
    does a short one for new frames (`_short_round`), or else a whole one (`whole_round`).

    Parameters
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    chain : ccdflow.kinds.kind.Chain
    cores : int, optional
        Frames that are worked on at the same time; the default is for a small machine.
    listener : WatchListener, optional
        Default: lines are printed.
    noticing : Noticing, optional

    Attributes
    ----------
    say : callable
        Takes a line for the observer.
    pause : float
        As of `Noticing`.
    show_round : callable
        Takes the `Round` that has ended.
    is_ended : threading.Event
        Set when the watch is to end.
    schedule : ccdflow.run.watch.round_schedule.RoundSchedule
        When rounds may begin.
    pace : ccdflow.run.watch.page_pace.PagePace
        The pages that wait to be renewed.
    looks : ccdflow.run.watch.looks.Looks
        The looks through the raw folder.
    claim : ccdflow.run.watch.folder_claim.FolderClaim
        The lock that keeps other watches away.
    n_failed : int
        The number of products that failed in the last whole round.
    """

    def __init__(self, settings, *, chain, cores=2, listener=None, noticing=None):
        listener, noticing = listener or WatchListener(), noticing or Noticing()
        self.settings = settings
        self.chain = chain
        self.cores = cores
        self.say = listener.say
        self.pause = noticing.pause
        self.show_round = listener.show_round
        self.is_ended = threading.Event()
        self.n_failed = 0
        self._way = noticing.way
        self._patience = Patience(noticing.limit)
        self._frames = new_frames.NewFrames(settings["raw"], self.pause)
        # The state that the last round left for a short one, if it left one.
        self._warm_state = None
        # The profiles of the cameras at the beginning of the last whole round.
        self._profiles = self._profiles_now()
        self._complaints = complaints.Complaints(
            self.say, listener.show_problem, self.is_ended.is_set
        )
        self.pace = page_pace.PagePace(noticing.clock)
        self.schedule = RoundSchedule(noticing.clock)
        self.looks = looks.Looks(
            settings["raw"], settings["results"], seen=self._frames.seen, patience=self._patience,
            complaints=self._complaints, noticing=noticing,
        )  # fmt: skip
        self.claim = folder_claim.FolderClaim(settings["results"], self._patience)

    def end(self):
        """End the watch after the round that is at work."""
        self.is_ended.set()

    @property
    def is_hanging(self):
        """Whether a round has not come back."""
        return complaints.ROUND in self._patience.hanging_calls

    @property
    def n_waiting(self):
        """The number of frames that no round has done; None if the folder was never read."""
        if self.looks.unseen_files is None:
            return None
        return self._frames.n_waiting

    # -- the loop ----------------------------------------------------------------------------------

    def run(self):
        """Watch until `end` is called; then make all products that are left."""
        self.claim.take_within_limit()
        sys.setswitchinterval(worker.SWITCH_SECONDS)
        freed_pages.share_few_heaps()
        frame_source = self._open()
        try:
            while not self.is_ended.is_set():
                if self.step(frame_source) is not None and frame_source.is_lost:
                    frame_source.close()
                    frame_source = self._open()
            # Frames that came meanwhile are counted, and the last round does them.
            if frame_source.way == arrivals.EVENTS_WAY:
                self._frames.note_news(frame_source.wait_for_news(0))
        finally:
            frame_source.close()
        if self.schedule.has_whole_round and not self.is_hanging:
            self._wait_for(self.whole_round)
        self.claim.give_up()

    def _open(self):
        """Return the source of news on the raw folder; write the reason if it is polled."""
        # A look finds the frames that came before the source was opened.
        self.looks.request_look()
        frame_source, reason = arrivals.frame_source(
            self.settings["raw"], self._way, self.is_ended.wait, self.settings["results"]
        )
        if reason:
            self.say(f"the raw folder is looked through every {self.pause:g} s ({reason})")
        return frame_source

    def step(self, frame_source):
        """Wait for frames and do one round, if there is something to do.

        Returns
        -------
        dict of str to tuple, or None
            All raw frames with their times, if the folder was looked through.
        """
        has_events = frame_source.way == arrivals.EVENTS_WAY
        stamps = None
        # With polling, the whole pause between two looks shows whether a frame still grows.
        seconds = self.pace.seconds_to_wait(self.pause) if has_events else self.pause
        news = frame_source.wait_for_news(seconds)
        self._frames.note_news(news)
        if news.needs_look or self.looks.is_look_due():
            stamps = self.looks.look_through()
            if stamps is not None:
                self._frames.note_look(self.looks.unseen_files, is_polled=not has_events)
        ready_frames = self._frames.waiting_stamps()
        if frame_source.way == arrivals.POLLING_WAY:
            ready_frames = self.looks.readable_files(ready_frames)
        is_needed = bool(ready_frames) or self.needs_whole_round() or self.pace.is_page_due()
        if is_needed and self.schedule.may_begin():
            self._wait_for(lambda: self.claim_and_do_round(ready_frames))
        return stamps

    def needs_whole_round(self):
        """Return whether a whole round is due, a file has gone, or a camera's profile differs."""
        is_time = self.schedule.is_whole_due()
        return bool(self.looks.lost_files or is_time or self._profiles != self._profiles_now())

    def _profiles_now(self):
        """Return names, sizes and times of the cameras' profiles."""
        folder = cameras_folder(self.settings)
        return sorted((path.name, file_access.stamp_of(path)) for path in folder.glob("*.y*ml"))

    def _wait_for(self, work):
        """Do a round; if it does not come back in time, name the problem and go on waiting."""
        self._patience.note_life()
        while True:
            try:
                self._patience.ask(
                    complaints.ROUND,
                    work,
                    wait_seconds=self.pause,
                    last_sign=self._patience.life_at,
                )
            except NoAnswer:
                folders = f"{self.settings['raw']} or {self.settings['results']}"
                complaint = f"{folders} has not answered for {self._patience.seconds:g} s"
                self._complaints.complain(
                    f"{complaint}: the frame at work waits for it", complaints.ROUND
                )
                if self.is_ended.wait(self.pause):
                    return
            else:
                return

    # -- rounds ------------------------------------------------------------------------------------

    def claim_and_do_round(self, ready_frames):
        """Do a round, unless the results folder was replaced and another watch has claimed it."""
        try:
            self.claim.take()
        except (UserError, OSError) as error:
            problem = self._complaints.error_in_words(error, self.settings["raw"])
            self._complaints.complain(problem)
            self.schedule.note_problem()
        else:
            self.do_round(ready_frames)

    def do_round(self, ready_frames):
        """Do a short round for new frames if that is enough, otherwise a whole one.

        Parameters
        ----------
        ready_frames : dict of str to tuple
            Frames that are complete, with their stamps; {} if only a page is due.

        Returns
        -------
        Round
        """
        has_short_work = bool(ready_frames) or self.pace.is_page_due()
        if has_short_work and self._warm_state is not None and not self.needs_whole_round():
            this_round = self._short_round(ready_frames)
            if this_round is not None:
                return this_round
        return self.whole_round(ready_frames)

    def _short_round(self, ready_frames):
        """Do a short round, and return it; None if a whole one is needed."""
        this_round, makes_pages = Round(is_short=True), self.pace.may_draw()
        try:
            with lock.take_lock(Path(self.settings["results"])):
                if not self._warm_state.is_current():
                    return None
                began_at = time.monotonic()
                short_plan = self._warm_state.plan(
                    ready_frames, nights_owed=self.pace.nights_owed, makes_pages=makes_pages
                )
                lines = frame_lines.FrameLines(
                    short_plan.context, short_plan.jobs, self._complaints,
                    waits_for_lists=True, begun_lines=self.pace.open_lines,
                    nights_put_off=short_plan.nights_put_off,
                )  # fmt: skip
                planned_at = time.monotonic()
                work_result = self._warm_state.work(
                    short_plan, cores=self.cores, on_done=self._record_listener(lines)
                )
                if not short_plan.nights_put_off:
                    lines.say_all()
                seconds = time.monotonic() - lines.last_frame_at + planned_at - began_at
                self.pace.note_round(short_plan.nights_put_off, seconds)
        except note_lines.NeedsWholePlan as error:
            _LOG.debug("a short round is not enough: %s", error)
            return None
        except (UserError, OSError) as error:
            this_round.problem = self._complaints.error_in_words(error, self.settings["raw"])
            this_round.is_busy = isinstance(error, lock.Busy)
        else:
            this_round.records = list(work_result.records.values())
            this_round.add_nights(
                {job.night for job in short_plan.jobs} - short_plan.nights_put_off
            )
            this_round.problem = complaints.problem_of_work(work_result)
            self._frames.note_rows_of_short_round(short_plan.rows)
            self._complaints.name_set_aside(short_plan.rows)
            this_round.n_arriving = self._frames.count_arriving(ready_frames)
        self._note_short_round(this_round, ready_frames)
        return this_round

    def _note_short_round(self, this_round, ready_frames):
        """Note the end of a short round, and when a whole one is due."""
        self._complaints.complain(this_round.problem)
        if this_round.problem:
            # The frames stay unseen, so that the next look finds them again.
            self._warm_state = None
            self.pace.forget()
            self.schedule.note_failed_short(is_busy=this_round.is_busy)
            return
        self._frames.seen.add(ready_frames)
        has_failure = any(
            record.status not in (job_records.MADE, job_records.REFUSED)
            for record in this_round.records
        )
        if this_round.records or this_round.n_arriving:
            self.schedule.note_short(has_failure=has_failure)
        self._show(this_round)

    def whole_round(self, new_files=None):
        """Do a whole round: make all products that are wanted now.

        Parameters
        ----------
        new_files : dict of str to tuple, optional
            The stamps of the raw frames that led to this round. With these stamps they lead to no
            other round.

        Returns
        -------
        Round
        """
        this_round = Round()
        # The round reads these frames as they are now, or later.
        noticed_files = {**self._frames.noticed_stamps, **(new_files or {})}
        self.schedule.begin_whole()
        self.pace.forget()
        self._profiles = self._profiles_now()
        try:
            self._do_whole_round(this_round)
        except (UserError, OSError) as error:
            self._warm_state = None
            this_round.problem = self._complaints.error_in_words(error, self.settings["raw"])
            this_round.is_busy = isinstance(error, lock.Busy)
        self._complaints.complain(this_round.problem)
        if not this_round.problem:
            self._complaints.raw_away_line = ""
            self._frames.seen.remove(self.looks.lost_files)
            self._frames.note_whole_round(noticed_files)
            self.looks.lost_files = set()
        self.n_failed = this_round.n_failed
        self.schedule.note_whole(
            is_unfinished=bool(this_round.problem or this_round.n_arriving),
            has_failed_products=this_round.has_failed_products,
        )
        if this_round.problem:
            self.schedule.note_problem(is_busy=this_round.is_busy)
        self._show(this_round)
        if this_round.has_products:
            self._free_memory()
        return this_round

    def _free_memory(self):
        """Free the memory that is kept for further frames like those of this round."""
        forget_names()
        forget_texts()
        for kind in self.chain:
            kind.free_memory()
        # Matplotlib figures are reference cycles. Python collects old cycles more rarely as the
        # number of objects grows.
        gc.collect()
        freed_pages.give_back_pages()

    def _show(self, this_round):
        """Show the products of a round; a page that cannot be written is one line."""
        if this_round.has_products:
            try:
                self.show_round(this_round)
            except OSError as error:
                self._complaints.complain(f"{error.filename}: {error.strerror}")

    def _do_whole_round(self, this_round):
        """Plan, make and finish; do so again if notes changed meanwhile, as by closing nights."""
        if self._plan_and_make(this_round, may_close=True):
            # Contexts and their lookups are reference cycles: they keep all that was planned.
            gc.collect()
            self._plan_and_make(this_round, may_close=False)

    def _plan_and_make(self, this_round, *, may_close):
        """Plan, make and finish; return whether the plan is outdated: the notes have changed."""
        results = Path(self.settings["results"])
        run_session = self._start(results)
        self._complaints.say_if_changed(run_session.lines_on_nights())
        try:
            self._work(run_session, this_round)
            closed_nights = run_session.context.closed_nights
            is_stale = closed_nights is not None and not closed_nights.is_current_in(results)
            if this_round.problem or is_stale:
                return is_stale
            if may_close and night_closing.close_nights(run_session):
                return True
            self._warm_state = warm_state.WarmState(
                run_session, session.reading_settings(self.settings)
            )
            return False
        finally:
            run_session.lock.close()

    def _start(self, results):
        """Return the session of a whole round; it gives up the state of the last round."""
        is_of_some_nights = self._warm_state is not None and not self._warm_state.is_whole
        last_round = self._last_round(results)
        if is_of_some_nights:
            # Contexts are reference cycles, and the new plan needs the memory of the last one.
            gc.collect()
        return session.start(
            self.settings,
            chain=self.chain,
            request=RunRequest(
                earlier_jobs=EarlierJobs(self.say, note_life=self._patience.note_life)
            ),
            last_round=last_round,
            cores=self.cores,
            progress=lambda *_: self._patience.note_life(),
        )

    def _last_round(self, results):
        """Return the `LastRound` that a plan takes over; give up the state of the last round."""
        warm_state_of_round, self._warm_state = self._warm_state, None
        if warm_state_of_round is None:
            return LastRound()
        read_notes = partial(warm_state_of_round.release, partial(session.read_notes, results))
        return LastRound(
            read_notes if warm_state_of_round.is_whole else None, warm_state_of_round.made_records
        )

    def _work(self, run_session, this_round):
        """Make the products of a round, and note the result in it."""
        context, jobs = run_session.context, list(run_session.plan.jobs.values())
        rows = context.store.rows.values()
        this_round.n_arriving = sum(row.status == ARRIVING_STATUS for row in rows)
        this_round.n_arriving += len(context.store.rewritten_files)
        self._frames.note_rows_of_whole_round(rows, context.store.rewritten_files)
        self._complaints.name_set_aside(rows)
        began_at = time.monotonic()
        if jobs:
            lines = frame_lines.FrameLines(
                context,
                jobs,
                self._complaints,
                waits_for_lists=len(jobs) <= _MOST_JOBS,
                begun_lines=self.pace.open_lines,
            )
            work_result = worker.work_plan(
                context,
                jobs,
                threads=self.cores,
                on_done=self._record_listener(lines),
            )
            lines.say_all()
            this_round.records += work_result.records.values()
            this_round.problem = complaints.problem_of_work(work_result)
        this_round.add_nights({job.night for job in jobs})
        session_end.finish(run_session)
        if run_session.unread_records:
            this_round.problem = self._complaints.line_on_raw_away(run_session)
        failed_records = map(self._complaints.record_with_remedy, run_session.failed_records)
        self._complaints.name_failures(
            failures.lines_on_failures(context.results, [*failed_records])
            + session_end.lines_on_waiting(run_session)
        )
        if jobs:
            line = complaints.line_on_made_products(
                self.chain, work_result.records.values(), time.monotonic() - began_at
            )
            if line:
                self.say(line)

    def _record_listener(self, lines):
        """Return the function that is called with each record."""

        def hear(record):
            """Note a sign of life, and add the record to the lines."""
            self._patience.note_life()
            lines.add(record)

        return hear
