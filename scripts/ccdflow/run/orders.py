"""Work orders: parts of a plan that another process does, on this machine or on a cluster's node.

An order's file holds all that the process needs to know, so that neither the inventory nor the
ledger is read there: a first line with its size, for those who only want to know how much it asks
for, and a second one with the jobs, rows and records.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from ccdflow import paths
from ccdflow.run import claims, inventory, ledger, plan
from ccdflow.run.claims import Count
from ccdflow.run.context import Context
from ccdflow.run.inventory import HeaderStore, digest
from ccdflow.run.job import Group, Job, Size
from ccdflow.run.session import Session

ORDER = "order"


@dataclass(frozen=True)
class Order:
    """A part of the plan.

    Attributes
    ----------
    name : str
        Of the night, or of the nights.
    key : str
        Hash of its jobs.
    products : tuple of str
    size : Size
    """

    name: str
    key: str
    products: tuple
    size: Size

    @property
    def path(self):
        """The order's path relative to the results folder."""
        return path_of(self.name, self.key)

    @property
    def done(self):
        """The path of the record that says that all of it is done."""
        return paths.done(f"orders/{self.name}", self.key)


def path_of(name, key):
    """Return the path of an order's file relative to the results folder."""
    return f"{paths.ORDERS}/{name}.{key}.json"


# -- splitting -------------------------------------------------------------------------------------


def split(session, *, each_night, write=True):
    """Split what a run has to do into orders, and write them.

    What is left to the main process is what needs products of more than one order.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    each_night : bool
        An order for each night (for a cluster), instead of as many nights as make up
        ``frames_per_order`` frames. A night with more frames is split into parts.
    write : bool
        Whether the orders' files are written.

    Returns
    -------
    list of Order
    """
    jobs, chain = session.plan.jobs, session.context.chain
    most = session.context.settings["frames_per_order"]
    parts = _parts(session.plan, most, each_night)
    part_of = {job.product: name for name, frames in parts.items() for job in frames}
    for job in jobs.values():
        if job.product in part_of or not chain.by_name(job.kind).stage:
            continue
        homes = {part_of.get(need) for need in job.needs}
        if not homes and each_night:
            # Only what is made of frames has to be made again: a job of its own for each night.
            homes = {_name([job.night])}
            parts.setdefault(_name([job.night]), [])
        if len(homes) == 1 and None not in homes:
            name = homes.pop()
            parts[name].append(job)
            part_of[job.product] = name
    orders = []
    for name, own in parts.items():
        key = digest([[job.product, job.key, job.attempt] for job in own])
        size = _size(session.context, own)
        order = Order(name, key, tuple(job.product for job in own), size)
        orders.append(order)
        if write:
            write_order(session, order, queued=each_night)
    return orders


def _parts(whole, most, each_night):
    """Return {name: frame jobs}."""
    nights = {}
    for job in whole.of_kind(whole.context.chain.first.name):
        nights.setdefault(job.night, []).append(job)
    parts, bundle, frames = {}, [], []
    small = sum(len(own) for own in nights.values() if len(own) <= most)
    # As many bundles as are needed, of much the same size.
    target = 0 if each_night else small / max(1, math.ceil(small / most))
    for night, own in nights.items():
        if len(own) > most:
            count = math.ceil(len(own) / most)
            size = math.ceil(len(own) / count)
            for number in range(count):
                name = f"{_name([night])}_part{number + 1}of{count}"
                parts[name] = own[number * size : (number + 1) * size]
            continue
        if bundle and len(frames) + len(own) > max(target, 1):
            parts[_name(bundle)] = frames
            bundle, frames = [], []
        bundle, frames = [*bundle, night], [*frames, *own]
    if bundle:
        parts[_name(bundle)] = frames
    return parts


def _name(nights):
    first, last = paths.segment(nights[0]), paths.segment(nights[-1])
    return first if len(nights) == 1 else f"{first}_to_{last}"


# -- the file --------------------------------------------------------------------------------------


def write_order(session, order, *, queued=False):
    """Write what another process needs to do an order's jobs: nothing else is read there.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    order : Order
    queued : bool
        Whether a cluster's job may still queue for it when this process has ended.

    Returns
    -------
    Path
    """
    context = session.context
    jobs = [session.plan.jobs[product] for product in order.products]
    rows, groups = _concerned(context, jobs)
    needed = {paths.reduced(row.file) for row in rows} | {group.product for group in groups}
    names = {name for row in rows for name in (row.geometry, row.recipe) if name}
    waits = [path for path, products in session.busy.items() if products & set(order.products)]
    data = {
        "settings": context.settings,
        "waits": [path for path in waits if path != order.path],
        "jobs": [asdict(job) for job in jobs],
        "groups": [group.as_dict() for group in groups],
        "rows": [row.as_dict() for row in rows],
        "shared": {name: context.store.shared[name] for name in sorted(names)},
        "records": [
            context.ledger[product].as_dict()
            for product in sorted(needed)
            if product in context.ledger
        ],
    }
    path = context.results / order.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = paths.temporary(path)
    compact = {"separators": (",", ":")}
    head = json.dumps({**asdict(order.size), "queued": queued}, **compact)
    body = json.dumps(data, **compact)
    part.write_text(f"{head}\n{body}\n")
    part.replace(path)
    return path


def _concerned(context, jobs):
    """Return the rows and groups that some jobs look at."""
    rows, groups = {}, {}
    for job in jobs:
        own, grouped = context.chain.by_name(job.kind).carries(context, job)
        rows.update((row.file, row) for row in own)
        groups.update((group.product, group) for group in grouped)
    return [rows[file] for file in sorted(rows)], list(groups.values())


def _size(context, jobs):
    kinds = context.chain
    return sum((kinds.by_name(job.kind).size(context, job) for job in jobs), Size())


def _head(path):
    """Return the first line of an order."""
    with Path(path).open(encoding="utf-8") as file:
        return json.loads(file.readline())


def _body(path):
    """Return what an order is about.

    Raises
    ------
    ccdflow.run.claims.Withdrawn
        If there is no such order any more.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            if file.readline() != claims.WITHDRAWN:
                return json.loads(file.readline())
    except FileNotFoundError:
        pass
    raise claims.Withdrawn(str(path))


def size_of(path):
    """Return the `Size` of an order; only its first line is read.

    Of one that was withdrawn it is nothing.
    """
    head = _head(path)
    if not isinstance(head, dict):
        return Size()
    return Size(**{name: head[name] for name in Size.__dataclass_fields__})


def settings_of(path):
    """Return the settings that an order is to be done with.

    Raises
    ------
    ccdflow.run.claims.Withdrawn
        If there is no such order.
    """
    return _body(path)["settings"]


def read_order(path, chain):
    """Return the `Session` of an order, with the jobs of it that are not done yet.

    Parameters
    ----------
    path : path-like
    chain : ccdflow.kinds.kind.Chain
        The kinds of products: `ccdflow.kinds.CHAIN`.

    Raises
    ------
    ccdflow.run.claims.Withdrawn
        If there is no such order.
    """
    data = _body(path)
    settings = data["settings"]
    rows = {}
    for values in data["rows"]:
        row = inventory.Row.from_dict(values)
        rows[row.file] = row
    records = {values["product"]: ledger.Record.from_dict(values) for values in data["records"]}
    groups = {values["product"]: Group.from_dict(values) for values in data["groups"]}
    jobs = {values["product"]: Job.from_dict(values) for values in data["jobs"]}
    store = HeaderStore(rows, data["shared"])
    raw, results = Path(settings["raw"]), Path(settings["results"])
    context = Context(settings, raw, results, store, records, chain, jobs=jobs, groups=groups)
    undone = {
        product: job
        for product, job in jobs.items()
        if ledger.read_record(results / job.done) is None
    }
    return Session(plan.Plan(context, undone, []), dry=False)


def waits_of(path):
    """Return the paths (relative to the results folder) of orders that must come to their end."""
    return _body(path)["waits"]


# -- doing it --------------------------------------------------------------------------------------


def tally(context):
    """Return the `Count` of an order's jobs that have left a record."""
    frames = aside = others = 0
    for job in context.jobs.values():
        record = ledger.read_record(context.results / job.done)
        if record is None:
            continue
        if job.kind == context.chain.first.name:
            frames += 1
            aside += record.status != ledger.MADE
        else:
            others += 1
    return Count(frames, aside, others)


def close(context, path):
    """Leave the record that says that an order is done, if each of its jobs has left one.

    Returns
    -------
    bool
    """
    count = tally(context)
    if count.frames + count.others < len(context.jobs):
        return False
    name, _, key = Path(path).stem.rpartition(".")
    product = f"orders/{name}"
    record = ledger.Record(product, ORDER, key, data=vars(count))
    ledger.write_record(context.results, record, paths.done(product, key))
    return True


# -- what a cluster job asks for -------------------------------------------------------------------

# Measured on one core of 2.5 GHz with local disks: seconds a frame (Snakemake's share included), a
# million pixels, a picture; and for the start of four interpreters.
_FRAME, _MEGAPIXEL, _PICTURE, _START = 0.03, 0.03, 1.5, 20.0
# A shared file system and a slower node may take so much longer.
_MARGIN = 5.0
_MOST_THREADS = 8
# MB that the interpreters of a job hold: the executor's two, and the child with its libraries.
_PROCESSES = 1000
# A thread is worth it for each so many seconds of work.
_PER_THREAD = 20.0


def _work(size):
    return size.frames * _FRAME + size.pixels / 1e6 * _MEGAPIXEL + size.pictures * _PICTURE


def threads(size):
    """Return the number of cores that an order is worth."""
    return max(2, min(_MOST_THREADS, math.ceil(_work(size) / _PER_THREAD)))


def memory(size, *, attempt=1, combining=1000, threads=2):
    """Return the MB of memory that an order asks for.

    Parameters
    ----------
    size : Size
    attempt : int
        Each further attempt asks for as much again.
    combining : float
        MB that combining is allowed.
    threads : int
    """
    # Bytes a pixel of a frame at work: inflated, as numbers, reduced, and room for a mask.
    frames = threads * size.largest * 16 / 1e6
    together = min(combining, size.combined * size.largest * 8 / 1e6)
    return attempt * math.ceil((_PROCESSES + max(frames, together)) / 100) * 100


def runtime(size, *, attempt=1, threads=2):
    """Return the minutes that an order asks for; each further attempt asks for as much again."""
    seconds = _START + _work(size) / threads
    return attempt * max(5, math.ceil(_MARGIN * seconds / 60))
