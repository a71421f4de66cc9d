"""The seal of an archive: it proves by names, sizes and times of files that nothing is to be done.

A run that finds nothing to do leaves a seal: a hash of all the input of its plan, and the lines
that it wrote. The next run takes names, sizes and times of all files, but opens no file. If its
hash is equal, its plan would be equal. So the run writes the same lines and ends, and reads neither
inventory nor ledger. If the hash differs, the run plans as if there were no seal.

The state is hashed before the plan is made. So a file that changes while the plan is made has
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
from ccdflow.files import file_access
from ccdflow.files.text_files import notes
from ccdflow.run import job_records
from ccdflow.run.batches import claims
from ccdflow.run.late_chain import LateChain
from ccdflow.run.nights import closed_nights
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.raw_frames import raw_folders
from ccdflow.run.raw_frames.header_store import READING_VERSION
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS
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
_SEALED_NOTES = (paths.HEADERS, paths.LEDGER, paths.INVENTORY, paths.LATE_NOTES)


@dataclass(frozen=True)
class Seal:
    """The note of a run that has found nothing to do.

    Attributes
    ----------
    state_hash : str
        Hash of settings, profiles, code, and of names, sizes and times of raw files and products.
    note_stamps : list of list of int
        Size and times of each file of `_SEALED_NOTES`, in that order.
    boot : str
        The `job_records.boot_id` with which the seal holds; '' if it holds after any start.
    valid_until : float
        Time until which the seal holds, in seconds since the epoch; 0 without a limit.
    plan_lines, closing_lines : list of str
        The first lines of the run, and its last lines.
    dry_run_lines : list of str or None
        The lines of a dry run on the effects of the plan; None where a dry run has to plan.
    is_failure : bool
        Whether frames set aside make the run a failure.
    kinds : dict of str to object
        `asdict` of the `KindFacts` of the run.
    """

    state_hash: str
    note_stamps: list[list[int]]
    boot: str
    valid_until: float
    plan_lines: list[str]
    dry_run_lines: list[str] | None
    closing_lines: list[str]
    is_failure: bool
    kinds: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class KindFacts:
    """The values of a chain of kinds that a `State` depends on.

    Attributes
    ----------
    origin : str
        Hash of code and settings: with the same hash all other values are the same.
    versions : list of [str, object]
        Name and versions of each kind.
    path_prefixes : list of str
        Path prefixes of the products of the kinds.
    further_files : list of str
        Paths of further files that the kinds read while planning.
    """

    origin: str
    versions: list[list[object]]
    path_prefixes: list[str]
    further_files: list[str]


@dataclass(frozen=True)
class State:
    """The input of a plan, as hashes.

    Attributes
    ----------
    general : str
        Hash of settings, profiles, code, and of the further files that kinds read.
    tables : str
        Hash of names, sizes and times of the products that lie in the results folder itself.
    folders : dict of str to str
        The hash of names, sizes and times of the files in each folder that has any. A folder of raw
        frames has a name that begins with ``raw/``.
    passed_over : tuple of str
        Files below the raw folder that look like raw frames and are not read.
    kinds : KindFacts or None
        The values of the kinds that ``general`` contains.
    """

    general: str
    tables: str
    folders: dict[str, str]
    passed_over: tuple[str, ...] = ()
    kinds: KindFacts | None = None

    @cached_property
    def whole_hash(self):
        """The hash of the whole state."""
        whole_hash = hashlib.blake2b(digest_size=16)
        whole_hash.update(f"{self.general} {self.tables}".encode())
        whole_hash.update(json.dumps(sorted(self.folders.items())).encode())
        return whole_hash.hexdigest()


def state_of(settings, cameras, chain, *, cores=1, has_records=False):
    """Return the `State` of an archive, None where an earlier run has left work.

    Parameters
    ----------
    settings : dict of str to object
        As `ccdflow.settings.load_settings` returns them.
    cameras : tuple of ccdflow.camera.cameras.Camera
        The profiles.
    chain : ccdflow.kinds.kind.Chain or ccdflow.run.late_chain.LateChain
        A `LateChain` is not loaded if the seal is of the same code and settings.
    cores : int, optional
        Number of processes that may examine folders.
    has_records : bool, optional
        Whether records of jobs may lie on the disk, because the caller takes them in.

    Returns
    -------
    State or None
        None if a folder or file cannot be read, or an earlier run has left work or temporary files.
        Then only a plan shows the products to be made.
    """
    results = Path(settings["results"])
    try:
        # A file in one of these folders is the work of an earlier run that has not ended properly.
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
    """Return the `State` of an archive in which an earlier run has left no work.

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
            tables.append((prefix, file_access.stamp_of(results / prefix)))
    tree_look = TreeLook(cores)
    tree_look.look(FolderLook(raw, raw_folders.kernel_trees()), folders)
    parts = [
        settings,
        [camera.text for camera in cameras],
        code,
        READING_VERSION,
        *kinds.versions,
        [[path, file_access.stamp_of(path)] for path in kinds.further_files],
    ]
    return State(
        hash_of(json.dumps(parts, sort_keys=True)),
        hash_of(repr(tables)),
        tree_look.hashes,
        tuple(name.removeprefix("raw/") for name in tree_look.passed_over),
        kinds,
    )


def _facts_of_kinds(chain, settings, origin):
    """Return the `KindFacts` of a chain: from the seal if it is of the same code and settings."""
    if isinstance(chain, LateChain) and not chain.is_loaded:
        seal = read_seal(settings["results"])
        if seal is not None and seal.kinds.get("origin") == origin:
            return KindFacts(**seal.kinds)
    return KindFacts(
        origin,
        versions=[[kind.name, kind.versions] for kind in chain],
        path_prefixes=list(dict.fromkeys(kind.path_prefix for kind in chain)),
        further_files=[str(path) for kind in chain for path in kind.further_files(settings)],
    )


def _refuse_files(folder):
    """Raise `NotPlain` if a folder, or a folder in it, has another file than a withdrawn batch.

    A withdrawn batch leaves a file for a month, for jobs in the queue of a cluster; no plan reads
    it.

    Raises
    ------
    NotPlain
        For the first such file.
    """
    for subfolder, _, names in os.walk(folder, onerror=file_access.raise_unless_missing):
        for name in names:
            if not claims.is_withdrawn(Path(subfolder) / name):
                raise NotPlain(f"{folder}: an earlier run has left {name}")


def stamps_of_code():
    """Return ccdflow's version, and name, size and time of each of its files.

    A run with another version of the code does not accept the seal.
    """
    top = os.fspath(Path(__file__).parents[2])
    stamps = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        # Paths are joined as texts: the functions of `pathlib` would take most of the time.
        relative_folder = folder[len(top) + 1 :]
        for name in sorted(names):
            stamp = file_access.stamp_of(f"{folder}{os.sep}{name}")[:2]
            stamps.append([f"{relative_folder}{os.sep}{name}" if relative_folder else name, stamp])
    return [ccdflow.__version__, stamps]


# -- on the disk -----------------------------------------------------------------------------------


def has_seal(results):
    """Return whether a results folder has a seal, which may not hold any more."""
    return (Path(results) / paths.SEAL).is_file()


def valid_seal(results, archive_state):
    """Return the `Seal` of a results folder if it holds for a state; otherwise None.

    Parameters
    ----------
    results : path-like
    archive_state : State or None
        As `state_of` returns it.

    Returns
    -------
    Seal or None
    """
    seal = None if archive_state is None else read_seal(results)
    if seal is None:
        return None
    why_broken = _why_broken(seal, archive_state, _ordered_stamps(results))
    if why_broken:
        _LOG.debug("the seal does not hold, the run is planned anew: %s", why_broken)
        return None
    return seal


def _why_broken(seal, archive_state, note_stamps):
    """Return the reason why a seal does not hold for a state; '' if it holds.

    Parameters
    ----------
    seal : Seal
    archive_state : State
    note_stamps : list of list of int
        Size and times of the notes as they are now, as `_ordered_stamps` returns them.

    Returns
    -------
    str
    """
    if seal.state_hash != archive_state.whole_hash:
        return "files, settings or code have changed"
    if seal.note_stamps != note_stamps:
        return "the notes of the last run have changed"
    if seal.boot not in ("", job_records.boot_id()):
        return "the machine was started since, and may have lost products that were new then"
    if seal.valid_until and time.time() >= seal.valid_until:
        return "products that were new then are looked at once more"
    return ""


def read_seal(results):
    """Return the `Seal` of a results folder, whether it holds or not; None if absent or damaged."""
    lines = notes.read_checked(Path(results) / paths.SEAL)
    try:
        return None if lines is None else Seal(**json.loads(next(lines)))
    except (StopIteration, ValueError, TypeError):
        return None


def leave_seal(plan, state_before, *, plan_lines, closing_lines, is_failure):
    """Write the seal and the note of closed nights, unless the next run may find work.

    The run has found nothing to do.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
        A plan without jobs, whose inventory and ledger are saved.
    state_before : State or None
        The state of the archive before the plan was made.
    plan_lines, closing_lines : list of str
        The lines of the run.
    is_failure : bool
    """
    context = plan.context
    if state_before is None or context.unreadable_folders:
        return
    if context.store.n_lost or context.ledger.n_lost_by_file:
        # The lines of this run have a warning on damaged notes, which are written anew by now.
        return
    if any(map(is_read_again, context.store.rows.values())):
        return
    records = context.ledger.values()
    # Products that were made since the start of the machine may be lost if it stops.
    times_of_doubtful = [record.stamp[2] for record in records if record.boot and record.stamp]
    valid_until = 0
    if times_of_doubtful:
        valid_until = max(times_of_doubtful) / 1e9 + job_records.SETTLED_SECONDS
    if context.closed_nights is not None:
        valid_until = max(valid_until, context.closed_nights.safe_time)
    boot = job_records.boot_id() if valid_until else ""
    stamps = _ordered_stamps(context.results)
    lines_of_run = {
        "plan_lines": plan_lines,
        "dry_run_lines": _dry_run_lines(plan),
        "closing_lines": closing_lines,
    }
    seal = Seal(
        state_before.whole_hash, stamps, boot, valid_until, **lines_of_run, is_failure=is_failure,
        kinds=asdict(state_before.kinds),
    )  # fmt: skip
    text = json.dumps(asdict(seal), separators=(",", ":"))
    with suppress(OSError):
        # Without a seal the next run makes a plan, which takes longer and has the same result.
        notes.write_checked(context.results / paths.SEAL, [text])
        closed_nights.note_all_nights(context, state_before, plan.older_headers)


def _dry_run_lines(plan):
    """Return the lines of a dry run; None if they need a plan of all nights."""
    try:
        return plan.dry_run_lines()
    except NeedsWholePlan:
        return None


def is_read_again(row):
    """Return whether the next run reads a raw file again even if it has not changed."""
    if row.gone:
        return row.is_unreadable
    return row.stamp == () or row.status == ARRIVING_STATUS


def _ordered_stamps(results):
    """Return the size and times of each file of `_SEALED_NOTES`, in that order."""
    return [list(file_access.stamp_of(Path(results) / name)) for name in _SEALED_NOTES]
