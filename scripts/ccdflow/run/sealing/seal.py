"""The seal of an archive: proof that there is nothing to do, from the names and times of its files.

A run that finds nothing to do leaves a seal: a hash of all that its plan was made of, and the lines
that it wrote. The next run looks at names, sizes and times of all files, but opens none of them. If
the hash is the same, so is the plan: the run writes the same lines and ends, without reading the
inventory or the ledger. If anything differs, the run plans as if there were no seal.

The hash is of the state before the plan was made. A file that changes while the plan is made has
another time at the next run, and the seal does not hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import ccdflow
from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.files.text_files import notes
from ccdflow.run import job_records
from ccdflow.run.batches import claims
from ccdflow.run.late_chain import LateChain
from ccdflow.run.nights import closed_nights
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.rawframes import rawfolder
from ccdflow.run.rawframes.header_store import READING_VERSION
from ccdflow.run.rawframes.rows import ARRIVING_STATUS
from ccdflow.run.sealing.folder_looks import (
    Folder,
    FolderLook,
    NotPlain,
    TreeLook,
    hash_of,
    refuse_part,
)

_LOG = logging.getLogger(__name__)
# The seal holds only while these notes are unchanged.
_NOTES = (paths.HEADERS, paths.LEDGER, paths.INVENTORY, paths.LATE_NOTES)


@dataclass(frozen=True)
class Seal:
    """The note of a run that has found nothing to do.

    Attributes
    ----------
    state : str
        Hash of settings, profiles, code, and of names, sizes and times of raw files and products.
    notes : list of list of int
        Size and times of inventory, ledger and table.
    boot : str
        The start of the machine for which it holds; '' for any.
    valid_until : float
        Seconds since the epoch until which it holds; 0 for ever.
    plan_lines, closing_lines : list of str
        The lines on products to be made, and the last lines.
    dry_run_lines : list of str or None
        The lines of a dry run on the plan's effects; None where a dry run has to plan.
    is_failure : bool
        Whether frames set aside make the run a failure.
    kinds : dict of str to object
        `asdict` of the `KindFacts` of the run.
    """

    state: str
    notes: list[list[int]]
    boot: str
    valid_until: float
    plan_lines: list[str]
    dry_run_lines: list[str] | None
    closing_lines: list[str]
    is_failure: bool
    kinds: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class KindFacts:
    """The facts of a chain of kinds that a state has.

    Attributes
    ----------
    origin : str
        Hash of code and settings, which all of the others follow from.
    versions : list of [str, object]
        Name and versions of each kind.
    path_prefixes : list of str
        Path prefixes of their products.
    further_files : list of str
        Paths of files that planning looks at besides.
    """

    origin: str
    versions: list[list[object]]
    path_prefixes: list[str]
    further_files: list[str]


@dataclass(frozen=True)
class State:
    """All that a plan is made of, as hashes.

    Attributes
    ----------
    general : str
        Fingerprint of settings, profiles, code, and of files that kinds look at.
    tables : str
        Fingerprint of names, sizes and times of products at the top of the results folder.
    folders : dict of str to str
        Fingerprints of names, sizes and times in each folder that holds any: of raw frames below
        ``raw/``, of products.
    passed_over : tuple of str
        Files below the raw folder that look like raw frames and are not read.
    kinds : KindFacts
        The facts of the kinds that are in ``general``.
    """

    general: str
    tables: str
    folders: dict[str, str]
    passed_over: tuple[str, ...] = ()
    kinds: KindFacts | None = None

    @cached_property
    def text(self):
        """The hash of the whole state."""
        whole_hash = hashlib.blake2b(digest_size=16)
        whole_hash.update(f"{self.general} {self.tables}".encode())
        whole_hash.update(json.dumps(sorted(self.folders.items())).encode())
        return whole_hash.hexdigest()


def state_of(settings, cameras, chain, *, cores=1, has_records=False):
    """Return the `State` of an archive, None where there is work left over.

    Parameters
    ----------
    settings : dict of str to object
        As `ccdflow.settings.load_settings` returns them.
    cameras : tuple of ccdflow.camera.cameras.Camera
        The profiles.
    chain : ccdflow.kinds.kind.Chain or ccdflow.run.late_chain.LateChain
        A late one stays as it is where the seal has noted the same code and settings.
    cores : int, optional
        Number of processes that may look at folders.
    has_records : bool, optional
        Whether records that jobs have left are allowed: the caller takes them in.

    Returns
    -------
    State or None
        None if a folder or file cannot be looked at, or an earlier run has left work or temporary
        files: then only a plan shows the products to be made.
    """
    results = Path(settings["results"])
    try:
        # Files in these folders are results of an earlier run that the ledger does not have yet.
        for name in (paths.BATCHES,) if has_records else (paths.BATCHES, paths.DONE_FOLDER):
            _refuse_files(results / name)
        for folder in (results, results / paths.STATE):
            for name in os.listdir(folder):  # noqa: PTH208
                refuse_part(name)
        return _present_state(settings, cameras, chain, cores)
    except (NotPlain, OSError) as error:
        _LOG.debug("no seal, the run is planned anew: %s", error)
        return None


def _present_state(settings, cameras, chain, cores):
    """Return the `State` of an archive in which no work is left over.

    Parameters
    ----------
    settings, cameras, chain, cores
        As of `state_of`.
    """
    results, raw = Path(settings["results"]), os.fspath(settings["raw"])
    code = stamps_of_code()
    kinds = _facts_of_kinds(chain, settings, hash_of(json.dumps([settings, code], sort_keys=True)))
    folders, tables = [Folder(raw, "raw/", is_raw=True)], []
    for prefix in kinds.path_prefixes:
        if prefix.endswith("/"):
            folders.append(Folder(os.fspath(results / prefix.rstrip("/")), prefix))
        else:
            tables.append((prefix, atomic_write.stamp_of(results / prefix)))
    tree_look = TreeLook(cores)
    tree_look.look(FolderLook(raw, rawfolder.kernel_trees()), folders)
    parts = [
        settings,
        [camera.text for camera in cameras],
        code,
        READING_VERSION,
        *kinds.versions,
        [[path, atomic_write.stamp_of(path)] for path in kinds.further_files],
    ]
    return State(
        hash_of(json.dumps(parts, sort_keys=True)),
        hash_of(repr(tables)),
        tree_look.hashes,
        tuple(name.removeprefix("raw/") for name in tree_look.passed_over),
        kinds,
    )


def _facts_of_kinds(chain, settings, origin):
    """Return the `KindFacts` of a chain: as noted for the same code, if it is not loaded yet."""
    if isinstance(chain, LateChain) and not chain.is_loaded:
        sealed = read_seal(settings["results"])
        if sealed is not None and sealed.kinds.get("origin") == origin:
            return KindFacts(**sealed.kinds)
    return KindFacts(
        origin,
        versions=[[kind.name, kind.versions] for kind in chain],
        path_prefixes=list(dict.fromkeys(kind.path_prefix for kind in chain)),
        further_files=[str(path) for kind in chain for path in kind.further_files(settings)],
    )


def _refuse_files(folder):
    """Raise `NotPlain` if a folder or one below it has a file that is no note of a withdrawal.

    These notes stay for a month, for jobs that queue on a cluster; no plan reads them.
    """
    for subfolder, _, names in os.walk(folder, onerror=atomic_write.raise_unless_missing):
        for name in names:
            if not claims.is_withdrawn(Path(subfolder) / name):
                raise NotPlain(f"{folder}: an earlier run has left {name}")


def stamps_of_code():
    """Return names, sizes and times of the library's own files: another release plans anew."""
    top = os.fspath(Path(__file__).parents[2])
    stamps = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        # Names are put together as text: functions of paths take most of the time of 300 files.
        relative_folder = folder[len(top) + 1 :]
        for name in sorted(names):
            stamp = atomic_write.stamp_of(f"{folder}{os.sep}{name}")[:2]
            stamps.append([f"{relative_folder}{os.sep}{name}" if relative_folder else name, stamp])
    return [ccdflow.__version__, stamps]


# -- on the disk -----------------------------------------------------------------------------------


def has_seal(results):
    """Return whether a results folder has a seal, which may not hold any more."""
    return (Path(results) / paths.SEAL).is_file()


def valid_seal(results, archive_state):
    """Return the `Seal` of a results folder if it holds for a state, else None.

    Parameters
    ----------
    results : path-like
    archive_state : State or None
        As `state_of` returns it.

    Returns
    -------
    Seal or None
    """
    sealed = None if archive_state is None else read_seal(results)
    if sealed is None:
        return None
    why_broken = _why_broken(sealed, archive_state, _ordered_stamps(results))
    if why_broken:
        _LOG.debug("the seal does not hold, the run is planned anew: %s", why_broken)
        return None
    return sealed


def _why_broken(sealed, archive_state, note_stamps):
    """Return why a seal does not hold for a state, or '' where it holds.

    Parameters
    ----------
    sealed : Seal
    archive_state : State
    note_stamps : list of list of int
        Size and times of the notes as they are now, as `_ordered_stamps` returns them.

    Returns
    -------
    str
    """
    if sealed.state != archive_state.text:
        return "files, settings or code have changed"
    if sealed.notes != note_stamps:
        return "the notes of the last run have changed"
    if sealed.boot not in ("", job_records.boot_id()):
        return "the machine was started since, and may have lost products that were new then"
    if sealed.valid_until and time.time() >= sealed.valid_until:
        return "products that were new then are looked at once more"
    return ""


def read_seal(results):
    """Return the `Seal` of a results folder, whether it holds or not; None if it is damaged."""
    lines = notes.read_checked(Path(results) / paths.SEAL)
    try:
        return None if lines is None else Seal(**json.loads(next(lines)))
    except (StopIteration, ValueError, TypeError):
        return None


def leave_seal(plan, state_before, *, plan_lines, closing_lines, is_failure):
    """Leave a seal after a run that found nothing to do, unless the next one may find something.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
        An empty one; its inventory and ledger are as they are on the disk.
    state_before : State or None
        The `State` from before the plan was made.
    plan_lines, closing_lines : list of str
        The lines of the run.
    is_failure : bool
    """
    context = plan.context
    if state_before is None or context.unreadable_folders:
        return
    if any(map(is_read_again, context.store.rows.values())):
        return
    records = context.ledger.values()
    # Products made since the start of the machine may not be on the disk if it stops.
    doubted = [record.stamp[2] for record in records if record.boot and record.stamp]
    valid_until = max(doubted) / 1e9 + job_records.SETTLED_SECONDS if doubted else 0
    if context.closed_nights is not None:
        valid_until = max(valid_until, context.closed_nights.safe_time)
    boot = job_records.boot_id() if valid_until else ""
    stamps = _ordered_stamps(context.results)
    lines_of_run = {
        "plan_lines": plan_lines,
        "dry_run_lines": _dry_run_lines(plan),
        "closing_lines": closing_lines,
    }
    sealed = Seal(
        state_before.text, stamps, boot, valid_until, **lines_of_run, is_failure=is_failure,
        kinds=asdict(state_before.kinds),
    )  # fmt: skip
    text = json.dumps(asdict(sealed), separators=(",", ":"))
    with suppress(OSError):
        # Without a seal the next run plans, which costs time and nothing else.
        notes.write_checked(context.results / paths.SEAL, [text])
        closed_nights.note_all_nights(context, state_before, plan.older_headers)


def _dry_run_lines(plan):
    """Return the lines of a dry run, None if only a plan of all nights gives them."""
    try:
        return plan.dry_run_lines()
    except NeedsWholePlan:
        return None


def is_read_again(row):
    """Return whether the next run reads a raw file again although nothing of it has changed."""
    if row.gone:
        return row.is_unreadable
    return row.stamp == () or row.status == ARRIVING_STATUS


def _ordered_stamps(results):
    """Return size and times of the notes, in the order of `_NOTES`."""
    return [list(atomic_write.stamp_of(Path(results) / name)) for name in _NOTES]
