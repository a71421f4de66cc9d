"""All that a run begins with: the request to it, its settings, its kinds, its lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ccdflow.run.job_records import Record
    from ccdflow.run.late_chain import KindChain
    from ccdflow.run.ledger import Ledger
    from ccdflow.run.rawframes.header_store import HeaderStore
    from ccdflow.run.rawframes.reading_settings import ReadingSettings


@dataclass(frozen=True)
class EarlierJobs:
    """The treatment of jobs of a killed run that are still at work.

    Attributes
    ----------
    say : callable
        Takes a line where they are waited for.
    may_go_on : bool
        Whether they may go on while this run is planned, as each batch waits by itself for those
        that make the same products. Otherwise, and if they would replace a product that the plan
        keeps, the plan is made once they have ended.
    note_life : callable
        Called again and again while they are waited for: the run waits, and does not hang.
    """

    say: Callable[[str], None] = print
    may_go_on: bool = False
    note_life: Callable[[], None] = lambda: None


_EARLIER_JOBS_WAITED_FOR = EarlierJobs()


@dataclass(frozen=True)
class RunRequest:
    """A request to a run, beyond its settings: the products to make again, dry or not.

    Attributes
    ----------
    is_dry : bool
        If True, the run plans only and writes nothing, not even the lock.
    accepts_seal : bool
        Whether a seal that holds is enough (`ccdflow.run.sealing.seal`): the plan is empty then,
        and so is its context. Without this everything is read and planned.
    forced : frozenset of str
        Kinds of products, and products, to be made again although they are current.
    requested : frozenset of str
        Products requested by name. Their raw files, and those of ``forced``, are read again if
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
    """The knowledge of a watch from its last round: its next run need not read it again.

    Attributes
    ----------
    read_notes : callable or None
        Called under the lock; returns inventory and ledger, as `ccdflow.run.session.read_notes`
        does. None where the run reads the notes of the nights that it opens.
    unsaved_records : dict of str to ccdflow.run.job_records.Record
        Records by this process that the ledger does not have yet, by product. Some nights alone
        are planned although jobs have left these.
    """

    read_notes: Callable[[], tuple[HeaderStore, Ledger]] | None = None
    unsaved_records: dict[str, Record] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStart:
    """All that a run begins with; nothing of it changes while the run is planned.

    Attributes
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    reading : ccdflow.run.rawframes.reading_settings.ReadingSettings
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
        Called with (headers read, headers to read).
    awaited_batches : frozenset of str
        Batches of an earlier run that the run has waited for.
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
