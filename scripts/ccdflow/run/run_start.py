"""The values with which a run begins: its request, its settings, its kinds, its lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ccdflow.run.job_records import Record
    from ccdflow.run.late_chain import KindChain
    from ccdflow.run.ledger import Ledger
    from ccdflow.run.raw_frames.header_store import HeaderStore
    from ccdflow.run.raw_frames.reading_settings import ReadingSettings


@dataclass(frozen=True)
class EarlierJobs:
    """The treatment of jobs of a killed run that are still at work.

    Attributes
    ----------
    say : callable
        Called with a line when the run begins to wait for these jobs.
    may_go_on : bool
        Whether the plan is made while these jobs are at work. Each batch then waits by itself for
        the jobs that make its products. If False, or if a job would replace a product that the
        plan keeps, the plan is made after they have ended.
    note_life : callable
        Called again and again while the run waits: it shows that the run does not hang.
    """

    say: Callable[[str], None] = print
    may_go_on: bool = False
    note_life: Callable[[], None] = lambda: None


_EARLIER_JOBS_WAITED_FOR = EarlierJobs()


@dataclass(frozen=True)
class RunRequest:
    """A request to a run, beside its settings: the products that it is asked for, dry or not.

    Attributes
    ----------
    is_dry : bool
        Whether the run plans only, and writes nothing, not even the lock.
    accepts_seal : bool
        Whether the run ends without a plan if the seal holds (`ccdflow.run.sealing.seal`): its plan
        and context are then empty. If False, the notes are read and the run is planned.
    forced : frozenset of str
        Names of kinds, and products, that are made again although they are current.
    requested : frozenset of str
        Products that are asked for by name. Raw files of these and of ``forced`` are read again if
        they were set aside.
    earlier_jobs : EarlierJobs
        The treatment of jobs of an earlier run that are still at work.
    """

    is_dry: bool = False
    accepts_seal: bool = False
    forced: frozenset[str] = frozenset()
    requested: frozenset[str] = frozenset()
    earlier_jobs: EarlierJobs = _EARLIER_JOBS_WAITED_FOR

    @property
    def names_products(self):
        """Whether the request names kinds or products: all nights are planned then."""
        return bool(self.forced or self.requested)


DRY_RUN = RunRequest(is_dry=True)
"""The request of a plan of all nights that writes nothing."""


@dataclass(frozen=True)
class LastRound:
    """The notes that a watch keeps from its last round, so that its next run need not read them.

    Attributes
    ----------
    read_notes : callable or None
        Called under the lock; returns inventory and ledger, as `ccdflow.run.session.read_notes`
        does. None where the run reads the notes of the nights that it opens.
    unsaved_records : dict of str to ccdflow.run.job_records.Record
        Records that jobs of this process have left and the ledger does not have yet, by product.
        They do not force a plan of all nights.
    """

    read_notes: Callable[[], tuple[HeaderStore, Ledger]] | None = None
    unsaved_records: dict[str, Record] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStart:
    """The values with which a run begins; none of them changes while the run is planned.

    Attributes
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    reading : ccdflow.run.raw_frames.reading_settings.ReadingSettings
        The settings on which the reading of headers depends.
    chain : ccdflow.run.late_chain.KindChain
        The kinds of products.
    request : RunRequest
    last_round : LastRound or None
        None for a run that is not a round of a watch.
    lock : file object or None
        Held until the run ends; None for a dry run.
    cores : int
        Number of processes that may read headers.
    progress : callable or None
        Called with two counts: of headers that are read, and of all headers to read.
    awaited_batches : frozenset of str
        Batches of an earlier run for which this run has waited.
    """

    settings: dict[str, object]
    reading: ReadingSettings
    chain: KindChain
    request: RunRequest
    last_round: LastRound | None = None
    lock: TextIO | None = None
    cores: int = 1
    progress: Callable[[int, int], None] | None = None
    awaited_batches: frozenset[str] = frozenset()

    @property
    def raw(self):
        """The raw folder, a `pathlib.Path`."""
        return Path(self.settings["raw"])

    @property
    def results(self):
        """The results folder, a `pathlib.Path`."""
        return Path(self.settings["results"])

    @property
    def unsaved_records(self):
        """The `LastRound.unsaved_records`, None for a run that is not a round of a watch."""
        return None if self.last_round is None else self.last_round.unsaved_records
