"""What is to be made, and why: every product's key against what the ledger says was made.

A key is a hash of all that a product's bytes depend on. Times are not among it, nor the path of
any folder, nor the version of ccdflow: only the arithmetic versions of the code that makes it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from ccdflow import paths
from ccdflow.files import checksum
from ccdflow.frame import reduction
from ccdflow.run import inventory, ledger
from ccdflow.run.inventory import ARRIVING, OK, ORPHAN, SET_ASIDE, digest

FRAME, BIAS, PICTURE, QUALITY, PAGE, TABLE, INDEX = (
    "frame", "bias", "picture", "quality", "page", "table", "index",
)  # fmt: skip

_BIAS_PICTURE = "bias_quality.png"

# Nights whose figures a night's page shows beside its own.
TREND_NIGHTS = 30

# Raise one of these when a change alters the product it stands for.
PICTURE_VERSION = 3
PAGE_VERSION = 3
COMBINE_VERSION = 3


@dataclass(frozen=True, slots=True)
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
    attempt : int
        Makes the record's name new where one with this key lies about.
    """

    kind: str
    product: str
    key: str
    why: str
    night: str
    needs: tuple = ()
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
    nights : tuple of str
        Nights of the members, sorted: more than one where groups are not by night. The last of
        them shows the group on its page.
    """

    product: str
    night: str
    camera: str
    shared: tuple
    files: tuple
    nights: tuple = ()

    @property
    def shown(self):
        """The night on whose page it is."""
        return self.nights[-1] if self.nights else self.night


@dataclass
class Context:
    """What planning and jobs work with.

    Attributes
    ----------
    settings : dict
    raw, results : Path
    store : ccdflow.run.inventory.HeaderStore
    ledger : dict of str to ccdflow.run.ledger.Record
    jobs : dict of str to Job
        By product.
    groups : dict of str to Group
        By product.
    outdated : frozenset of str
        Raw files that are gone and whose camera was edited since.
    wanted : set of str
        Products that are to be where they are after this run, made anew or not; filled in while
        planning, members before what is made of them.
    """

    settings: dict
    raw: Path
    results: Path
    store: inventory.HeaderStore
    ledger: dict
    jobs: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    outdated: frozenset = frozenset()
    wanted: set = field(default_factory=set)
    planning: bool = False
    _planned: dict = field(default_factory=dict)
    _lookups: dict = field(default_factory=dict)

    def lookup(self, name, make):
        """Return what ``make()`` gave the first time: for what does not change in a run."""
        if name not in self._lookups:
            self._lookups[name] = make()
        return self._lookups[name]

    def planned(self, name, make):
        """Return what ``make()`` gives; while planning, it is worked out once for each name."""
        if not self.planning:
            return make()
        if name not in self._planned:
            self._planned[name] = make()
        return self._planned[name]

    def outcome(self, product):
        """Return the record of a product: this run's if it is in the plan, else the ledger's.

        While planning, a job that has not run stands for a product that was made; afterwards there
        is no record of it: it has failed.
        """
        row = self._by_product().get(product)
        if row is not None and not is_wanted(row, self.settings):
            # There may be a product of old; what is made now is as if there were none.
            return None
        if self.planning and product not in self.wanted:
            return None
        job = self.jobs.get(product)
        if job is None:
            return self.ledger.get(product)
        record = None if self.planning else ledger.read_record(self.results / job.done)
        before = self.ledger.get(product)
        if record is None and before is not None and before.key == job.key:
            # What was lost or damaged will be what it was.
            record = before
        if record is None and self.planning:
            record = ledger.Record(product, job.kind, job.key)
        return record

    def _by_product(self):
        return self.lookup(
            "rows by product",
            lambda: {reduced(file): row for file, row in self.store.rows.items()},
        )

    @property
    def products(self):
        """The names of all reduced frames that there could be."""
        return self._by_product().keys()

    def row_of(self, product):
        """Return the row of the raw frame of a reduced frame."""
        return self._by_product()[product]

    def rows_of(self, night):
        """Return the rows of a night, sorted by file."""

        def make():
            found = {}
            for row in sorted(self.store.rows.values(), key=lambda row: row.file):
                found.setdefault(row.night, []).append(row)
            return found

        return self.lookup("rows by night", make).get(night, [])


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
    is_part : bool
        Whether some products were asked for by name, and ``jobs`` makes these only.
    leaving : tuple of str
        Those of ``retire`` whose files are there.
    """

    context: Context
    jobs: dict
    retire: list
    frames: int
    is_part: bool = False
    leaving: tuple = ()

    def of_kind(self, *kinds):
        """Return the jobs of some kinds."""
        return [job for job in self.jobs.values() if job.kind in kinds]

    def keep_only(self, products):
        """Leave out the jobs that some products can do without."""
        self.is_part = True
        wanted, open_ = set(), list(products)
        while open_:
            job = self.jobs.get(open_.pop())
            if job is not None and job.product not in wanted:
                wanted.add(job.product)
                open_ += job.needs
        for product in set(self.jobs) - wanted:
            del self.jobs[product]


# A plan asks for each of a hundred thousand of them several times.
reduced = cache(paths.reduced)


# -- keys ------------------------------------------------------------------------------------------


def frame_basis(row):
    """Return what a reduced frame depends on; the header names the raw file."""
    return {
        "arithmetic": reduction.ARITHMETIC,
        "camera": row.camera,
        "file": row.file,
        "fingerprint": row.fingerprint,
        "geometry": row.geometry,
        "recipe": row.recipe,
    }


def frame_key(row):
    """Return the key of a reduced frame, which stands for its basis."""
    values = (row.camera, row.file, row.fingerprint, row.geometry, row.recipe)
    return digest([reduction.ARITHMETIC, *values])


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
        record = context.outcome(reduced(file))
        if record is not None and record.status == ledger.MADE:
            found.append((file, record))
    return found


def frames_basis(context, night):
    """Return [[file, status, reason, key]] of a night's frames as they turned out.

    A frame whose raw file is gone is as it was: its product stays, and nothing is made again.
    """
    lines = []
    for row in context.rows_of(night):
        status, reason, key = row.status, row.reason, ""
        if status == OK:
            record = context.outcome(reduced(row.file))
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
    return _groups_by_night(context).get(night, [])


def trend_groups(context, night):
    """Return the groups of a night and of the nights before it, oldest first."""
    by_night = _groups_by_night(context)
    nights = context.lookup("nights of groups", lambda: sorted(by_night))
    end = bisect_right(nights, night)
    return [group for each in nights[max(0, end - TREND_NIGHTS) : end] for group in by_night[each]]


def _groups_by_night(context):
    def make():
        found = {}
        for group in sorted(context.groups.values(), key=lambda group: group.product):
            found.setdefault(group.shown, []).append(group)
        return found

    return context.lookup("groups by night", make)


def elsewhere(context, night):
    """Return the nights, sorted, on whose pages groups are that have members of this night, too."""

    def make():
        found = {}
        for group in context.groups.values():
            for each in group.nights[:-1]:
                found.setdefault(each, set()).add(group.shown)
        return found

    return sorted(context.lookup("groups elsewhere", make).get(night, ()))


def _group_lines(context, groups):
    lines = []
    for group in groups:
        record = context.outcome(group.product)
        if record is not None:
            key = context.planned(
                group.product, lambda group=group: digest(group_basis(context, group))
            )
            lines.append([group.product, key, *_for_want_of_memory(context, record)])
    return lines


def _for_want_of_memory(context, record):
    """Return ['memory'] for a combined bias that was refused, or will be, for want of it, else [].

    How much is allowed is no part of its key, and yet what shows the group has to be made again
    when it is made after all.
    """
    if record.status != ledger.REFUSED or "memory" not in record.data:
        return []
    is_tried = context.planning and record.product in context.jobs
    will_do = is_tried and _memory(context) >= record.data.get("enough", 0)
    return [] if will_do else ["memory"]


def drawn_frames(context, night, *, gone=False):
    """Return the rows of a night that are drawn: the first of each camera and image type.

    Parameters
    ----------
    context : Context
    night : str
    gone : bool
        Whether frames whose raw file is gone are among them: in a picture of old.
    """
    most = context.settings["pictures"]["per_type"]
    drawn, count = [], Counter()
    for row in context.rows_of(night):
        if row.status != OK or (row.gone and not gone):
            continue
        kind = (row.camera, row.facts["type"])
        if most != "all" and count[kind] >= most:
            continue
        record = context.outcome(reduced(row.file))
        if record is not None and record.status == ledger.MADE:
            count[kind] += 1
            drawn.append(row)
    return drawn


def picture_basis(context, night, *, gone=False):
    """Return what the picture of frames before and after depends on."""
    rows = drawn_frames(context, night, gone=gone)
    return {
        "version": PICTURE_VERSION,
        "frames": [
            [r.file, context.outcome(reduced(r.file)).key, r.facts["biassec"]] for r in rows
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
    others, missing = elsewhere(context, night), undrawn(context, night)
    return {
        **({"elsewhere": others} if others else {}),
        **({"undrawn": missing} if missing else {}),
        "version": [PAGE_VERSION, PICTURE_VERSION],
        "frames": _frames_digest(context, night),
        "facts": digest(
            [
                [r.camera, r.geometry, r.recipe, *r.facts.values()]
                for r in context.rows_of(night)
                if r.status != ARRIVING
            ]
        ),
        "picture": getattr(
            context.outcome(f"{paths.night_folder(night)}/{paths.OVERVIEW}"), "key", ""
        ),
        "groups": _group_lines(context, trend_groups(context, night)),
    }


def undrawn(context, night):
    """Return [[picture, why]] of the pictures of a night that could not be drawn in this run."""
    folder = paths.night_folder(night)
    records = [context.outcome(f"{folder}/{name}") for name in (paths.OVERVIEW, _BIAS_PICTURE)]
    return [[r.product, r.reason] for r in records if r is not None and r.status == ledger.GONE]


def table_basis(context):
    """Return what the table of bias quality depends on."""
    groups = [group for own in _groups_by_night(context).values() for group in own]
    return {"version": PAGE_VERSION, "groups": sorted(_group_lines(context, groups))}


def index_basis(context):
    """Return what the overview of all nights depends on."""
    nights = shown_nights(context)
    return {
        **table_basis(context),
        "nights": [[night, _frames_digest(context, night)] for night in nights],
    }


def shown_nights(context):
    """Return the nights that have a page, sorted."""
    return sorted({row.night for row in context.store.rows.values() if row.status != ARRIVING})


# -- groups ----------------------------------------------------------------------------------------


def make_groups(context):
    """Return {product: Group} of the biases that were or are to be reduced."""
    if not context.settings["combine"]["enabled"]:
        return {}
    by = context.settings["combine"]["group_by"]
    found = {}
    for row in _candidates(context):
        geometry = context.store.shared[row.geometry]
        shared = [
            ("size", "{1}x{0}".format(*geometry["shape"])),
            ("part", row.facts["part"]),
            *((name, str(row.facts[name])) for name in by if name != "night"),
        ]
        night = row.night if "night" in by else "all"
        key = (night, row.camera, tuple(shared), row.geometry, row.recipe)
        found.setdefault(key, []).append(row)
    names = Counter((night, _group_name(camera, shared)) for night, camera, shared, *_ in found)
    groups = {}
    for (night, camera, shared, geometry, recipe), rows in found.items():
        name = _group_name(camera, shared)
        if names[night, name] > 1:
            name += "_" + digest([geometry, recipe, shared])[:6]
        product = paths.combined(night, name)
        files, nights = (row.file for row in rows), {row.night for row in rows}
        groups[product] = Group(product, night, camera, shared, tuple(files), tuple(sorted(nights)))
    return groups


def _group_name(camera, shared):
    parts = ["bias", camera]
    for name, value in shared:
        if value in ("", "None") or name == "part":
            continue
        value = value.strip().replace(" ", "x") if name == "ccdsum" else value
        parts.append(f"{name[0]}{value}" if name in ("gain", "exptime") else value)
    return paths.plain("_".join(parts))


def _candidates(context):
    """Return the rows of biases that may be members of a group, sorted by time.

    A frame that was set aside for its pixels is among them: that it is missing is told where its
    group is. Of copies of a frame the first one is. One whose raw file is gone goes on to be a
    member, unless its camera was edited and others of its night are reduced anew, or the file only
    has another name now.
    """
    rows = [
        row
        for row in sorted(context.store.rows.values(), key=_by_time)
        if row.facts["type"] == "bias"
        and row.status in (OK, SET_ASIDE)
        and row.geometry
        and is_wanted(row, context.settings)
    ]
    copies = _copies(rows)
    rows = [row for row in rows if row.file not in copies]
    here = [row for row in rows if not row.gone]
    nights = {(row.night, row.camera) for row in here}
    contents = {row.fingerprint for row in here}
    return [
        row
        for row in rows
        if not row.gone
        or (
            row.fingerprint not in contents
            and (_is_up_to_date(context, row) or (row.night, row.camera) not in nights)
        )
    ]


def _by_time(row):
    """Return what rows are sorted by: biases taken one after the other are neighbours."""
    return row.facts["date_obs"] or "", row.file


def _copies(rows):
    """Return the files that hold the same frame as another one that comes before them."""
    first = {}
    for row in sorted(rows, key=lambda row: row.file):
        if not row.gone and row.status == OK:
            first.setdefault(row.fingerprint, row.file)
    return {
        row.file
        for row in rows
        if not row.gone and first.get(row.fingerprint, row.file) != row.file
    }


def _is_up_to_date(context, row):
    """Tell whether the product of a frame whose raw file is gone is what would be made now."""
    record = context.ledger.get(reduced(row.file))
    return row.file not in context.outdated and record is not None and record.key == frame_key(row)


def is_wanted(row, settings):
    """Tell whether the configuration asks for frames of this row's type."""
    return _asks_for(settings, row.facts["type"])


def _asks_for(settings, kind):
    return settings["types"] == "all" or kind in settings["types"]


# -- the plan --------------------------------------------------------------------------------------


def make_plan(context, forced=frozenset()):
    """Compare what should be with what is.

    Parameters
    ----------
    context : Context
        Its store is up to date; its ledger is brought up to date here where a product's times
        moved; ``groups`` and ``jobs`` are filled in.
    forced : set of str
        Kinds and products that are made again though they are current.

    Returns
    -------
    Plan
    """
    context.planning = True
    rows = sorted(context.store.rows.values(), key=lambda row: (row.night, row.file))
    doubtful = set(ledger.settle(context.ledger))
    state = _State(context, product_stamps(context.results), doubtful, forced)
    frames = 0
    for row in rows:
        product = reduced(row.file)
        if row.status == OK and not row.gone and is_wanted(row, context.settings):
            frames += 1
            state.want(FRAME, product, row.night, frame_basis(row), key=frame_key(row))
        elif row.gone and state.is_damaged(product):
            # It cannot be made again, and nothing is to be made of it.
            state.retire.add(product)
            del context.store.rows[row.file]
        elif row.status != SET_ASIDE or row.gone:
            state.keep(product)
        elif product in state.stamps:
            state.retire.add(product)
    for product in set(_without_row(context)) - state.retire:
        state.keep(product)
    context.groups = make_groups(context)
    for group in sorted(context.groups.values(), key=lambda group: group.product):
        needs = [reduced(file) for file in group.files]
        state.want(BIAS, group.product, group.night, group_basis(context, group), needs)
    if not context.settings["combine"]["enabled"] or not _asks_for(context.settings, "bias"):
        # What is not asked for is not touched.
        for product in {*state.stamps, *context.ledger}:
            if product.startswith("combined/"):
                state.keep(product)
    nights = shown_nights(context)
    for night in nights:
        _plan_night(state, night)
    groups = list(context.groups)
    pages = [paths.night_page(night) for night in nights]
    if context.settings["combine"]["enabled"]:
        state.want(TABLE, paths.BIAS_QUALITY, "", table_basis(context), groups)
    else:
        state.keep(paths.BIAS_QUALITY)
    state.want(INDEX, paths.INDEX_PAGE, "", index_basis(context), [*groups, *pages])
    retire = sorted(state.retire | (set(context.ledger) - context.wanted) | _strays(state))
    context.planning = False
    leaving = tuple(product for product in retire if state.stamps.get(product))
    return Plan(context, context.jobs, retire, frames, leaving=leaving)


def _plan_night(state, night):
    context = state.context
    frames = [
        reduced(row.file)
        for row in context.rows_of(night)
        if row.status == OK and is_wanted(row, context.settings)
    ]
    own = [group.product for group in night_groups(context, night)]
    folder = paths.night_folder(night)
    needs = [*frames, *own]
    if frames and context.settings["pictures"]["per_type"] != 0:
        picture = f"{folder}/{paths.OVERVIEW}"
        with_gone = picture_basis(context, night, gone=True)
        if state.is_current(picture, with_gone) and not state.is_forced(PICTURE, picture):
            # It shows a raw frame that is gone by now, and could not be drawn again.
            state.keep(picture)
        else:
            state.want(PICTURE, picture, night, picture_basis(context, night), frames)
        needs.append(picture)
    if own:
        quality = f"{folder}/{_BIAS_PICTURE}"
        state.want(QUALITY, quality, night, quality_basis(context, night), own)
        needs.append(quality)
    needs += [group.product for group in trend_groups(context, night)]
    state.want(PAGE, paths.night_page(night), night, page_basis(context, night), needs)


def _without_row(context):
    """Return reduced frames of which only the ledger knows: the notes on the raw file are lost."""
    return [
        product
        for product, record in context.ledger.items()
        if record.kind == FRAME and product not in context.products
    ]


def _strays(state):
    """Return products that ccdflow once made and that no record is left of, but for frames.

    Their names belong to ccdflow, and they would be taken for what they are not any more. A frame
    stays: it may be all that is left of a raw file.
    """
    context, names = state.context, (paths.OVERVIEW, _BIAS_PICTURE, paths.INDEX_PAGE)
    strays = set()
    for product in set(state.stamps) - context.wanted - set(context.ledger):
        folder, _, rest = product.partition("/")
        is_shown = folder == "nights" and rest.count("/") == 1 and rest.endswith(names)
        if is_shown or (folder == "combined" and checksum.signature(context.results / product)[1]):
            strays.add(product)
    return strays


class _State:
    """Products that are wanted, and which of them are not as they should be."""

    def __init__(self, context, stamps, doubtful, forced):
        self.context = context
        self.stamps = stamps
        self.doubtful = doubtful
        self.forced = forced
        self.retire = set()

    def keep(self, product):
        """Leave a product as it is."""
        self.context.wanted.add(product)

    def is_current(self, product, basis):
        """Tell whether a product is there as it should be."""
        return not self._why(product, digest(basis), basis)

    def is_damaged(self, product):
        """Tell whether a product is there, but not as it was made."""
        record, stamp = self.context.ledger.get(product), self.stamps.get(product, ())
        if record is None or not stamp or record.status != ledger.MADE:
            return False
        if stamp == record.stamp and product not in self.doubtful:
            return False
        if not ledger.is_as_made(self.context.results, record):
            return True
        self._note_times(product, record, stamp)
        return False

    def _note_times(self, product, record, stamp):
        self.context.ledger[product] = replace(record, stamp=stamp, boot="")
        self.doubtful.discard(product)

    def is_forced(self, kind, product):
        """Tell whether a product is to be made again though it is current."""
        return bool(self.forced & {kind, product})

    def want(self, kind, product, night, basis, needs=(), key=""):
        """Put a product into the plan if it is not current."""
        self.context.wanted.add(product)
        key = key or digest(basis)
        why = self._why(product, key, basis)
        if not why and not self.is_forced(kind, product):
            return
        why = why or "asked for again"
        jobs, results = self.context.jobs, self.context.results
        pending = tuple(dict.fromkeys(need for need in needs if need in jobs))
        attempt = 0
        while (results / paths.done(product, key, attempt)).exists():
            attempt += 1
        jobs[product] = Job(kind, product, key, why, night, pending, attempt)

    def _why(self, product, key, basis):
        record = self.context.ledger.get(product)
        if record is None:
            return "new"
        if record.key != key:
            return _what_changed(record.basis, basis)
        if record.status == ledger.REFUSED:
            if "memory" in record.data and record.data["memory"] != _memory(self.context):
                return "another memory"
            if product in self.stamps:
                self.retire.add(product)
            return ""
        stamp = self.stamps.get(product, ())
        if not stamp:
            return "product missing"
        return "product damaged" if self.is_damaged(product) else ""


def _what_changed(before, now):
    if "fingerprint" in now:
        if before.get("fingerprint") != now["fingerprint"]:
            return "raw changed"
        if before.get("file") != now["file"]:
            return "raw file has another name"
        if before.get("arithmetic") != now["arithmetic"]:
            return "new arithmetic"
        if before.get("camera") != now["camera"]:
            return f"camera {now['camera']} instead of {before.get('camera')}"
        return f"camera {now['camera']} edited"
    if before.get("members") != now.get("members"):
        return "its frames changed"
    for name, words in (("settings", "settings changed"), ("arithmetic", "new arithmetic")):
        if before.get(name) != now.get(name):
            return words
    return "what it shows changed"


def _memory(context):
    return context.settings["combine"]["memory"]


def product_stamps(results):
    """Return {product: stamp} of all that lies in the folders of products."""
    stamps = {}
    for name in ("reduced", "combined", "nights"):
        _sweep(os.path.join(results, name), name, stamps)  # noqa: PTH118 - 100,000 of them
    for name in (paths.BIAS_QUALITY, paths.INDEX_PAGE):
        stamps[name] = ledger.stamp_of(Path(results) / name)
    return stamps


def _sweep(folder, prefix, stamps, above=()):
    try:
        here = os.stat(folder)  # noqa: PTH116
        # A link may lead back to where one comes from.
        if (here.st_dev, here.st_ino) in above:
            return
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    above = (*above, (here.st_dev, here.st_ino))
    with entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir():
                _sweep(entry.path, name, stamps, above)
            elif not entry.name.startswith("."):
                stamps[name] = ledger.stamp_of(entry)


# -- in words --------------------------------------------------------------------------------------

_NAMES = {
    FRAME: ("frame", "frames"),
    BIAS: ("combined bias", "combined biases"),
    PICTURE: ("picture of frames", "pictures of frames"),
    QUALITY: ("picture of biases", "pictures of biases"),
    PAGE: ("night's page", "nights' pages"),
    TABLE: ("table of bias quality", "tables of bias quality"),
    INDEX: ("overview of all nights", "overviews"),
}


def _count(number, kind):
    return f"{number} {_NAMES[kind][number != 1]}"


def describe(plan):
    """Return the lines that say what will be made, and why."""
    lines = []
    frames, biases = plan.of_kind(FRAME), plan.of_kind(BIAS)
    shown = plan.of_kind(*list(_NAMES)[2:])
    if frames:
        what = f"{len(frames)} of {_count(plan.frames, FRAME)}"
        lines.append(f"{what} to reduce: {_reasons(frames)}")
    if biases:
        lines.append(f"{_count(len(biases), BIAS)} to make: {_reasons(biases)}")
    if shown:
        counts = Counter(job.kind for job in shown)
        what = ", ".join(_count(counts[kind], kind) for kind in _NAMES if counts[kind])
        lines.append(f"{what} to write: {_reasons(shown)}")
    if not plan.jobs:
        what = (
            "what was asked for is" if plan.is_part else _count(plan.frames, FRAME) + " reduced and"
        )
        lines.append(f"nothing to do: {what} up to date")
    lines += _leaving_lines(plan)
    counts = Counter(row.shown[0] for row in plan.context.store.rows.values())
    words = {
        SET_ASIDE: "set aside",
        ARRIVING: "left for the next run",
        ORPHAN: "without a raw file",
    }
    aside = [f"{counts[status]} {text}" for status, text in words.items() if counts[status]]
    return [*lines, f"beside them: {', '.join(aside)}"] if aside else lines


def _leaving_lines(plan):
    """Return the lines on products that leave their place."""
    rows = plan.context.store.rows
    by_product = {reduced(file): row.shown[1] for file, row in rows.items()}
    moved = [product for product in plan.leaving if not paths.is_shown_only(product)]
    lines = [
        f"{product} to be moved into {paths.set_aside('')}: "
        + (by_product.get(product) or _WHY_MOVED.get(product.partition("/")[0], _NOT_WANTED))
        for product in moved[:_MOST_LINES]
    ]
    if len(moved) > _MOST_LINES:
        lines.append(f"... and {len(moved) - _MOST_LINES} more")
    if removed := len(plan.leaving) - len(moved):
        what = "1 page, picture or table" if removed == 1 else f"{removed} pages, pictures, tables"
        lines.append(f"{what} to be removed: nothing is left to be shown there")
    return lines


_MOST_LINES = 5
# Why a product is moved away of which no row says it.
_WHY_MOVED = {
    "reduced": "the raw file is gone, and it is damaged",
    "combined": "its biases are no such group any more",
}
_NOT_WANTED = "it is no such product any more"


def _reasons(jobs):
    nights = {}
    for job in jobs:
        nights.setdefault(job.why, []).append(job.night)
    reasons = sorted(nights.items(), key=lambda item: (-len(item[1]), item[0]))
    if len({frozenset(found) - {""} for found in nights.values()}) == 1:
        # All of the same nights.
        counts = ", ".join(f"{len(found)} {why}" for why, found in reasons)
        return counts + "; " * bool(_some(reasons[0][1])) + _some(reasons[0][1])
    return "; ".join(f"{len(found)} {why}, {_some(found)}".rstrip(", ") for why, found in reasons)


def _some(nights, most=4):
    nights = sorted(set(nights) - {""})
    if not nights:
        return ""
    word = "night" if len(nights) == 1 else "nights"
    if len(nights) <= most:
        return f"{word} {', '.join(nights)}"
    return f"{len(nights)} nights from {nights[0]} to {nights[-1]}"


def set_aside_lines(store, most=None):
    """Return a line for each frame that is set aside, arriving or whose raw file is gone."""
    lines = []
    rank = {SET_ASIDE: 0, ORPHAN: 1, ARRIVING: 2}
    rows = [row for row in store.rows.values() if row.shown[0] != OK]
    for row in sorted(rows, key=lambda row: (rank[row.shown[0]], row.file)):
        status, reason = row.shown
        if status == ARRIVING:
            status = "left for the next run"
        if status != OK:
            name = row.file if row.file.isprintable() else repr(row.file)[1:-1]
            lines.append(f"{status}: {name}: {reason}")
    if most is not None and len(lines) > most:
        rest = len(lines) - most
        lines = [*lines[:most], f"... and {rest} more, see {paths.INVENTORY}"]
    return lines
