"""What is to be made, and why: every product's key against what the ledger says was made.

A key is a hash of all that a product's bytes depend on. Times are not among it, nor the path of
any folder, nor the version of ccdflow: only the arithmetic versions of the code that makes it.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from ccdflow import combine, inventory, ledger, paths, reduction
from ccdflow.inventory import ARRIVING, OK, ORPHAN, SET_ASIDE, digest

FRAME, BIAS, PICTURE, QUALITY, PAGE, TABLE, INDEX = (
    "frame", "bias", "picture", "quality", "page", "table", "index",
)  # fmt: skip

# Nights whose figures a night's page shows beside its own.
TREND_NIGHTS = 30

# Raise one of these when a change alters the product it stands for.
PICTURE_VERSION = 1
PAGE_VERSION = 1
COMBINE_VERSION = getattr(combine, "ARITHMETIC", 1)


@dataclass(frozen=True)
class Job:
    """A product that is to be made.

    Attributes
    ----------
    kind, product, key : str
    why : str
        In the astronomer's words.
    night : str
    needs : tuple of str
        Products of this plan that come first.
    basis : dict
        What the key was made of.
    attempt : int
        Makes the record's name new where one with this key lies about.
    """

    kind: str
    product: str
    key: str
    why: str
    night: str
    needs: tuple = ()
    basis: dict = field(default_factory=dict, compare=False)
    attempt: int = 0

    @property
    def done(self):
        """The record's path relative to the results folder."""
        return paths.done(self.product, self.key, self.attempt)


@dataclass(frozen=True)
class Group:
    """Biases that may be averaged.

    Attributes
    ----------
    product : str
    night, camera : str
    shared : tuple of (str, str)
        What the members have in common, beside night and camera.
    files : tuple of str
        Raw files of the members, sorted.
    """

    product: str
    night: str
    camera: str
    shared: tuple
    files: tuple


@dataclass
class Context:
    """What planning and jobs work with.

    Attributes
    ----------
    settings : dict
    raw, results : Path
    store : ccdflow.inventory.HeaderStore
    ledger : dict of str to ccdflow.ledger.Record
    jobs : dict of str to Job
        By product.
    groups : dict of str to Group
        By product.
    """

    settings: dict
    raw: Path
    results: Path
    store: inventory.HeaderStore
    ledger: dict
    jobs: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    by_night: dict = field(default_factory=dict)
    planning: bool = False
    _planned: dict = field(default_factory=dict)
    _by_product: dict = field(default_factory=dict)

    def planned(self, name, make):
        """Return what ``make()`` gives; while planning, it is worked out once for each name."""
        if not self.planning:
            return make()
        if name not in self._planned:
            self._planned[name] = make()
        return self._planned[name]

    def outcome(self, product):
        """Return the record of a product: this run's if it is in the plan, else the ledger's.

        While planning, a job that has not run stands for a product that was made.
        """
        job = self.jobs.get(product)
        if job is None:
            return self.ledger.get(product)
        record = None if self.planning else ledger.read_record(self.results / job.done)
        return record or ledger.Record(product, job.kind, job.key, basis=job.basis)

    def row_of(self, product):
        """Return the row of the raw frame of a reduced frame."""
        if not self._by_product:
            self._by_product.update(
                (paths.reduced(file), row) for file, row in self.store.rows.items()
            )
        return self._by_product[product]

    def rows_of(self, night):
        """Return the rows of a night, sorted by file."""
        if not self.by_night:
            for row in sorted(self.store.rows.values(), key=lambda row: row.file):
                self.by_night.setdefault(row.night, []).append(row)
        return self.by_night.get(night, [])


@dataclass
class Plan:
    """What a run is about.

    Attributes
    ----------
    context : Context
    jobs : dict of str to Job
        By product, in the order in which they are to be made.
    retire : list of str
        Products that are not to stand among the others any more.
    frames : int
        Frames that the configuration asks for.
    """

    context: Context
    jobs: dict
    retire: list
    frames: int

    def of_kind(self, *kinds):
        """Return the jobs of some kinds."""
        return [job for job in self.jobs.values() if job.kind in kinds]


# -- keys ------------------------------------------------------------------------------------------


def frame_basis(row):
    """Return what a reduced frame depends on."""
    return {
        "arithmetic": reduction.ARITHMETIC,
        "camera": row.camera,
        "fingerprint": row.fingerprint,
        "geometry": row.geometry,
        "recipe": row.recipe,
    }


def frame_key(row):
    """Return the key of a reduced frame."""
    return digest(frame_basis(row))


def combine_settings(settings):
    """Return the settings that the pixels of a combined bias depend on."""
    wanted = ("minimum", "method", "clip", "iterations", "uncertainty", "count")
    return {name: settings["combine"][name] for name in wanted}


def group_basis(context, group):
    """Return what a combined bias depends on: its members as they turned out."""
    return {
        "arithmetic": COMBINE_VERSION,
        "settings": combine_settings(context.settings),
        "shared": list(map(list, group.shared)),
        "members": [[file, record.key] for file, record in members(context, group)],
    }


def members(context, group):
    """Return [(raw file, record)] of the frames of a group that were reduced."""
    found = []
    for file in group.files:
        record = context.outcome(paths.reduced(file))
        if record is not None and record.status == ledger.MADE:
            found.append((file, record))
    return found


def frames_basis(context, night):
    """Return [[file, status, reason, key]] of a night's frames as they turned out."""
    lines = []
    for row in context.rows_of(night):
        status, reason, key = row.status, row.reason, ""
        if status in (OK, ORPHAN):
            record = context.outcome(paths.reduced(row.file))
            if record is not None and record.status == ledger.SET_ASIDE:
                status, reason = SET_ASIDE, record.reason
            elif record is not None:
                key = record.key
        if status != ARRIVING:
            lines.append([row.file, status, reason, key])
    return lines


def _frames_digest(context, night):
    return context.planned(("frames", night), lambda: digest(frames_basis(context, night)))


def night_groups(context, night):
    """Return the groups that belong to a night, sorted by product."""
    return sorted(
        (group for group in context.groups.values() if group.night == night),
        key=lambda group: group.product,
    )


def trend_groups(context, night):
    """Return the groups of a night and of the nights before it, oldest first."""
    nights = sorted({group.night for group in context.groups.values() if group.night <= night})
    kept = set(nights[-TREND_NIGHTS:])
    return sorted(
        (group for group in context.groups.values() if group.night in kept),
        key=lambda group: (group.night, group.product),
    )


def _group_lines(context, groups):
    lines = []
    for group in groups:
        record = context.outcome(group.product)
        if record is not None:
            key = context.planned(
                group.product, lambda group=group: digest(group_basis(context, group))
            )
            lines.append([group.product, key])
    return lines


def drawn_frames(context, night):
    """Return the rows of a night that are drawn: the first of each camera and image type."""
    most = context.settings["pictures"]["per_type"]
    drawn, count = [], Counter()
    for row in context.rows_of(night):
        record = context.outcome(paths.reduced(row.file)) if row.status == OK else None
        if record is None or record.status != ledger.MADE:
            continue
        kind = (row.camera, row.facts["type"])
        if most == "all" or count[kind] < most:
            count[kind] += 1
            drawn.append(row)
    return drawn


def picture_basis(context, night):
    """Return what the picture of frames before and after depends on."""
    return {
        "version": PICTURE_VERSION,
        "frames": [
            [r.file, frame_key(r), r.facts["biassec"]] for r in drawn_frames(context, night)
        ],
    }


def quality_basis(context, night):
    """Return what the picture of a night's biases depends on."""
    return {
        "version": PICTURE_VERSION,
        "groups": _group_lines(context, night_groups(context, night)),
    }


def page_basis(context, night):
    """Return what the page of a night depends on."""
    return {
        "version": [PAGE_VERSION, PICTURE_VERSION],
        "frames": _frames_digest(context, night),
        "facts": digest([[r.file, r.facts, r.camera] for r in context.rows_of(night)]),
        "picture": digest(picture_basis(context, night)),
        "groups": _group_lines(context, trend_groups(context, night)),
    }


def table_basis(context):
    """Return what the table of bias quality depends on."""
    groups = sorted(context.groups.values(), key=lambda g: (g.night, g.product))
    return {"version": PAGE_VERSION, "groups": _group_lines(context, groups)}


def index_basis(context):
    """Return what the overview of all nights depends on."""
    nights = sorted({row.night for row in context.store.rows.values()})
    return {
        **table_basis(context),
        "nights": [[night, _frames_digest(context, night)] for night in nights],
    }


# -- groups ----------------------------------------------------------------------------------------


def make_groups(context):
    """Return {product: Group} of the biases that were or are to be reduced."""
    if not context.settings["combine"]["enabled"]:
        return {}
    by = context.settings["combine"]["group_by"]
    found = {}
    for row in sorted(context.store.rows.values(), key=lambda row: row.file):
        if row.facts.get("type") != "bias" or row.status not in (OK, ORPHAN):
            continue
        if not is_wanted(row, context.settings):
            continue
        if row.status == ORPHAN and not _is_current_orphan(context, row):
            continue
        geometry = context.store.shared[row.geometry]
        shared = [
            ("size", "{1}x{0}".format(*geometry["shape"])),
            *((name, str(row.facts.get(name, ""))) for name in by if name != "night"),
        ]
        night = row.night if "night" in by else "all"
        key = (night, row.camera, tuple(shared), row.geometry, row.recipe)
        found.setdefault(key, []).append(row.file)
    names = Counter((night, _group_name(camera, shared)) for night, camera, shared, *_ in found)
    groups = {}
    for (night, camera, shared, geometry, recipe), files in found.items():
        name = _group_name(camera, shared)
        if names[night, name] > 1:
            name += "_" + digest([geometry, recipe])[:6]
        product = paths.combined(night, name)
        groups[product] = Group(product, night, camera, shared, tuple(files))
    return groups


def _group_name(camera, shared):
    parts = ["bias", camera]
    for name, value in shared:
        if value in ("", "None"):
            continue
        value = value.strip().replace(" ", "x") if name == "ccdsum" else value
        parts.append(f"{name[0]}{value}" if name in ("gain", "exptime") else value)
    return paths.segment("_".join(parts))


def _is_current_orphan(context, row):
    record = context.ledger.get(paths.reduced(row.file))
    return record is not None and record.key == frame_key(row)


def is_wanted(row, settings):
    """Tell whether the configuration asks for frames of this row's type."""
    types = settings["types"]
    return types == "all" or row.facts.get("type") in types


# -- the plan --------------------------------------------------------------------------------------


def make_plan(context):
    """Compare what should be with what is.

    Parameters
    ----------
    context : Context
        Its store is up to date; its ledger is brought up to date here where a product's times
        moved; ``groups`` and ``jobs`` are filled in.

    Returns
    -------
    Plan
    """
    context.planning = True
    stamps = product_stamps(context.results)
    state = _State(context, stamps, set(ledger.settle(context.ledger)))
    frames = 0
    rows = sorted(context.store.rows.values(), key=lambda row: (row.night, row.file))
    for row in rows:
        if row.status == OK and is_wanted(row, context.settings):
            frames += 1
            state.want(FRAME, paths.reduced(row.file), row.night, frame_basis(row))
        elif row.status in (ORPHAN, ARRIVING) or row.status == OK:
            state.keep(paths.reduced(row.file))
    context.groups = make_groups(context)
    nights = sorted({row.night for row in rows})
    for group in sorted(context.groups.values(), key=lambda group: group.product):
        needs = [paths.reduced(file) for file in group.files]
        state.want(BIAS, group.product, group.night, group_basis(context, group), needs)
    for night in nights:
        _plan_night(state, night)
    if nights:
        groups = list(context.groups)
        state.want(TABLE, paths.BIAS_QUALITY, "", table_basis(context), groups)
        pages = [paths.night_page(night) for night in nights]
        state.want(INDEX, paths.INDEX_PAGE, "", index_basis(context), [*groups, *pages])
    retire = sorted(set(context.ledger) - state.wanted)
    context.planning = False
    return Plan(context, context.jobs, retire, frames)


def _plan_night(state, night):
    context = state.context
    frames = [
        paths.reduced(row.file)
        for row in context.rows_of(night)
        if row.status == OK and is_wanted(row, context.settings)
    ]
    own = [group.product for group in night_groups(context, night)]
    folder = paths.night_folder(night)
    needs = [*frames, *own]
    if frames and context.settings["pictures"]["per_type"] != 0:
        picture = f"{folder}/{paths.OVERVIEW}"
        state.want(PICTURE, picture, night, picture_basis(context, night), frames)
        needs.append(picture)
    if own:
        quality = f"{folder}/bias_quality.png"
        state.want(QUALITY, quality, night, quality_basis(context, night), own)
        needs.append(quality)
    needs += [group.product for group in trend_groups(context, night)]
    state.want(PAGE, paths.night_page(night), night, page_basis(context, night), needs)


class _State:
    """Products that are wanted, and which of them are not as they should be."""

    def __init__(self, context, stamps, doubtful):
        self.context = context
        self.stamps = stamps
        self.doubtful = doubtful
        self.wanted = set()

    def keep(self, product):
        self.wanted.add(product)

    def want(self, kind, product, night, basis, needs=()):
        """Put a product into the plan if it is not current."""
        self.wanted.add(product)
        key = digest(basis)
        why = self._why(product, key, basis)
        if not why:
            return
        jobs, results = self.context.jobs, self.context.results
        pending = tuple(dict.fromkeys(need for need in needs if need in jobs))
        attempt = 0
        while (results / paths.done(product, key, attempt)).exists():
            attempt += 1
        jobs[product] = Job(kind, product, key, why, night, pending, basis, attempt)

    def _why(self, product, key, basis):
        record = self.context.ledger.get(product)
        if record is None:
            return "new"
        if record.key != key:
            return _what_changed(record.basis, basis)
        if record.status == ledger.REFUSED:
            return ""
        stamp = self.stamps.get(product, ())
        if not stamp:
            return "product missing"
        if stamp == record.stamp and product not in self.doubtful:
            return ""
        if ledger.content_of(self.context.results / product) != record.content:
            return "product damaged"
        self.context.ledger[product] = replace(record, stamp=stamp)
        return ""


def _what_changed(before, now):
    if "fingerprint" in now:
        if before.get("fingerprint") != now["fingerprint"]:
            return "raw changed"
        if before.get("arithmetic") != now["arithmetic"]:
            return "new arithmetic"
        return f"camera {now['camera']} edited"
    if before.get("members") != now.get("members"):
        return "its frames changed"
    for name, words in (("settings", "settings changed"), ("arithmetic", "new arithmetic")):
        if before.get(name) != now.get(name):
            return words
    return "what it shows changed"


def product_stamps(results):
    """Return {product: stamp} of all that lies in the folders of products."""
    stamps = {}
    for name in ("reduced", "combined", "nights"):
        _sweep(os.path.join(results, name), name, stamps)  # noqa: PTH118 - 100,000 of them
    for name in (paths.BIAS_QUALITY, paths.INDEX_PAGE):
        stamps[name] = ledger.stamp_of(Path(results) / name)
    return stamps


def _sweep(folder, prefix, stamps):
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _sweep(entry.path, name, stamps)
            elif not entry.name.startswith("."):
                status = entry.stat()
                stamps[name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


# -- in words --------------------------------------------------------------------------------------

_PLURALS = {
    BIAS: ("combined bias", "combined biases"),
    PAGE: ("night's page", "nights' pages"),
    FRAME: ("frame", "frames"),
}


def _count(number, kind):
    return f"{number} {_PLURALS[kind][number != 1]}"


def describe(plan):
    """Return the lines that say what will be made, and why."""
    jobs = plan.of_kind(FRAME)
    lines = []
    if jobs:
        reasons = Counter(job.why for job in jobs)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        nights = _some(sorted({job.night for job in jobs}))
        lines.append(f"{len(jobs)} of {_count(plan.frames, FRAME)} to reduce: {why}; {nights}")
    for kind in (BIAS, PAGE):
        jobs = plan.of_kind(kind)
        if jobs:
            reasons = Counter(job.why for job in jobs)
            why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
            lines.append(f"{_count(len(jobs), kind)} to make: {why}")
    if not plan.jobs:
        lines.append(f"nothing to do: {_count(plan.frames, FRAME)} reduced and up to date")
    return lines


def _some(nights, most=4):
    word = "night" if len(nights) == 1 else "nights"
    if len(nights) <= most:
        return f"{word} {', '.join(nights)}"
    return f"{len(nights)} nights from {nights[0]} to {nights[-1]}"


def set_aside_lines(store, most=None):
    """Return a line for each frame that is set aside, arriving or whose raw file is gone."""
    lines = []
    words = {
        SET_ASIDE: "set aside",
        ARRIVING: "still being written, left for the next run",
        ORPHAN: "raw file is gone, product kept",
    }
    for row in sorted(store.rows.values(), key=lambda row: row.file):
        if row.status in words:
            reason = f": {row.reason}" if row.status == SET_ASIDE else ""
            name = row.file.encode("unicode_escape").decode() if "\n" in row.file else row.file
            lines.append(f"{words[row.status]}: {name}{reason}")
    if most is not None and len(lines) > most:
        rest = len(lines) - most
        lines = [*lines[:most], f"... and {rest} more, see {paths.INVENTORY}"]
    return lines
