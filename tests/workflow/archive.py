"""The model of an archive: what each raw file holds, and from what each product was made.

From that it says which frames a run has to reduce. After each run the next one must find nothing to
do, nothing else may have been written, and the products must be those of a run from scratch, byte
for byte. `events.EventArchive` adds the events.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sandbox import SMALL_FRAME, Sandbox, products, snapshot
from stand_ins import use_stand_ins

from ccdflow import paths
from ccdflow.files import raw_files
from ccdflow.frame import reduction
from ccdflow.run import job_records, ledger
from ccdflow.run.lines.plan_description import lines_on_plan
from ccdflow.run.raw_frames.header_store import load_store

NIGHTS = ("2024-03-01", "2024-03-02", "2024-03-03")
# Nights of the long form, with frames of camera alpha. Each new master opens a night with a frame
# of the sky as long as fewer than five masters suit it: nights of biases alone stay closed.
OLDER_NIGHTS = {
    "2024-02-26": ("BIAS", "BIAS"),
    "2024-02-27": ("BIAS", "BIAS", "BIAS"),
    "2024-02-28": ("BIAS", "BIAS", "OBJECT"),
}
# Nights of the long form that are new beside closed ones.
LATER_NIGHTS = ("2024-03-04", "2024-03-05")
CAMERAS = ("alpha", "beta")
# The type that the configuration knows, by the header's word.
TYPES = {"BIAS": "bias", "DARK": "dark", "FLAT": "flat", "OBJECT": "science"}
KINDS = ("BIAS", "BIAS", "DARK", "DARK", "FLAT", "FLAT", "OBJECT")
LIGHT = {"FLAT": 20000, "OBJECT": 500}
MASTERS = ("bias", "dark", "flat")
DARK_FLAT = ("dark", "flat")


def light_of(seed, kind):
    """Return level and exposure of a frame: flats of two exposures, and some that are too faint."""
    if kind == "FLAT":
        return {"light": 200 if seed % 7 == 6 else 20000, "exptime": (5.0, 2.0)[seed % 2]}
    return {"light": LIGHT.get(kind, 300)}


NUMBER = st.integers(0, 10**6)


def event(**arguments):
    """Return a decorator that makes a method a rule, and counts its draws."""

    def decorate(method):
        """Return the rule of a method."""

        @functools.wraps(method)
        def count_call(self, *values, **named):
            """Count the draw, and call the method."""
            type(self).drawn[method.__name__] += 1
            return method(self, *values, **named)

        return rule(**arguments)(count_call)

    return decorate


def pick(values, number):
    """Return one of some values."""
    values = sorted(values)
    return values[number % len(values)]


def check_records(sandbox, clean, products):
    """Assert that the records of products are those of a run from scratch.

    A record must follow from the key of its product, because pages, tables and later runs show it.
    """
    old, new = ledger.load_ledger(sandbox.results), ledger.load_ledger(clean.results)
    for product, record in new.items():
        before = old.get(product)
        # A list of small pictures keeps the times of their folder.
        is_of_times = Path(product).name == paths.SHEET_FILE
        if (product in products or record.status == job_records.REFUSED) and not is_of_times:
            assert before is not None, f"{product} has no record"
            # As text, in which NaN equals NaN.
            one, other = (str((r.key, r.status, r.reason, dict(r.data))) for r in (before, record))
            assert one == other, f"{product} is noted otherwise:\n{one}\n{other}"


class Model(RuleBasedStateMachine):
    """An archive, its runs, and the rules that hold after each run."""

    events = 0
    runs = 0
    jobs = 0
    compared = 0
    drawn: ClassVar[Counter] = Counter()
    kinds_made = frozenset()
    # Whether runs are repeated, so that nights are closed: `make torture`, and where
    # CCDFLOW_TORTURE_ARCHIVES is given.
    is_long = False

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        use_stand_ins(self.patch)
        self.root = Path(os.environ["CCDFLOW_TORTURE"]) / f"archive-{os.getpid()}"
        shutil.rmtree(self.root, ignore_errors=True)
        config = {kind: {"minimum": 2} for kind in ("dark", "flat")}
        self.sandbox = Sandbox(self.root / "box", config | {"detector": {"enabled": True}})
        # The content of each raw file: (content, whether it is whole).
        self.files = {}
        # By reduced frame: the values that it was made from, and its bytes.
        self.made = {}
        self.deleted = {}
        # Products that a killed run has made.
        self.pending = set()
        # Products whose raw content is unknown.
        self.unsure = set()
        # Targets of links, by raw file; None for a target that was removed.
        self.links = {}
        # Raw files and folders without permission to read.
        self.shut = set()
        self.arithmetic = reduction.PIXELS_VERSION
        self._refuse_what_is_shut()

    def teardown(self):
        """Undo the changes of modules, and remove the folder."""
        self.patch.undo()
        shutil.rmtree(self.root, ignore_errors=True)

    def _refuse_what_is_shut(self):
        """Refuse to open files and folders without permission, which root may open."""
        scandir, open_path, opener = os.scandir, os.open, raw_files.open_at_once

        def check(path):
            """Raise for a path without permission."""
            tops = {
                str(self.sandbox.raw): 0,
                str(self.sandbox.raw).replace("/box/", "/box-clean/"): 0,
            }
            for top in tops if self.shut else ():
                if os.path.relpath(path, top) in self.shut:
                    raise PermissionError(13, "Permission denied", str(path))

        def refuse_shut_folder(path="."):
            """List a folder, unless it has no permission."""
            if isinstance(path, str):
                check(path)
            return scandir(path)

        def open_unless_shut_folder(path, flags, *arguments, **options):
            """Open a path, unless it is a folder that has no permission."""
            if flags & os.O_DIRECTORY:
                check(path)
            return open_path(path, flags, *arguments, **options)

        def open_unless_shut(path, flags):
            """Open a file, unless it has no permission."""
            check(path)
            return opener(path, flags)

        self.patch.setattr(os, "open", open_unless_shut_folder)
        self.patch.setattr(os, "scandir", refuse_shut_folder)
        self.patch.setattr(raw_files, "open_at_once", open_unless_shut)

    # -- what frames are made of -------------------------------------------------------------------

    def identity(self, file):
        """Return the values that a reduced frame depends on."""
        content = self.files[file][0]
        profile = self.sandbox.profiles[content[2]]
        how = {"statistic": "median", "dtype": "float32"}
        how |= self.sandbox.config.get("reduction", {}) | profile.get("reduction", {})
        # Without a model, the limit of rejection does not matter.
        how.pop("reject_sigma", None)
        return (file, *content, str(profile["amplifiers"]), str(how), self.arithmetic)

    def asks_for(self, kind):
        """Return whether the configuration asks for frames of a type."""
        types = self.sandbox.config.get("types", "all")
        return types == "all" or kind in types

    def measures_detector(self):
        """Return whether the configuration asks for the measurement of the detector."""
        config = self.sandbox.config
        made = [self.asks_for(kind) and config[kind].get("enabled", True) for kind in DARK_FLAT]
        return config["detector"]["enabled"] and all(made)

    def is_wanted(self, file):
        """Return whether the configuration asks for a frame."""
        return self.asks_for(TYPES[self.files[file][0][1]])

    def is_hidden(self, file):
        """Return whether a file is in a folder that may not be read."""
        return any(f"{file}/".startswith(f"{name}/") and name != file for name in self.shut)

    def is_readable(self, file):
        """Return whether a file can be read."""
        shut = file in self.shut or self.is_hidden(file)
        return not shut and self.links.get(file, "") is not None and file.isprintable()

    def readable_files(self, *, are_whole=False):
        """Return the files that can be read, or those of them that are whole."""
        return [
            file
            for file, (_, is_whole) in self.files.items()
            if self.is_readable(file) and (is_whole or not are_whole)
        ]

    def due(self):
        """Return the products that the next run must reduce, and those on which it may fail."""
        due, maybe = set(), set()
        for file, (_, whole) in self.files.items():
            product = paths.reduced_frame(file)
            if not self.is_wanted(file) or self.twin(file) or not self.is_readable(file):
                continue
            if not whole or product in self.unsure:
                maybe.add(product)
            elif self.made.get(product) != self.identity(file):
                due.add(product)
        return due, maybe

    def twin(self, file):
        """Return whether another raw file would become the same product."""
        others = [other for other in self.files if not self.is_hidden(other)]
        return sum(paths.reduced_frame(other) == paths.reduced_frame(file) for other in others) > 1

    def put(self, file, content, *, is_whole=True):
        """Write a raw file of the model's content, and note it."""
        seed, kind, camera, night = content
        self.sandbox.put(
            file, seed, kind=kind, camera=camera, night=night, size=SMALL_FRAME,
            is_packed=file.lower().endswith(".gz"), **light_of(seed, kind),
        )  # fmt: skip
        self.files[file] = (content, is_whole)
        self.links.pop(file, None)

    # -- runs --------------------------------------------------------------------------------------

    @event(done=st.integers(0, 40), cores=st.sampled_from((1, 3)))
    def killed_run(self, done, cores):
        if self.readable_files():
            self.check_run(self.sandbox.run(cores=cores, stop_after=done), was_killed=True)

    @rule(cores=st.sampled_from((1, 3)))
    def run(self, cores):
        """Run, and compare the jobs with those that were due."""
        if not self.readable_files():
            return
        before = snapshot(self.sandbox.results)
        noted = snapshot(self.sandbox.results, has_notes=True)
        dry = self.sandbox.plan()
        assert snapshot(self.sandbox.results, has_notes=True) == noted, "-n wrote something"
        lines = lines_on_plan(dry.plan)
        outcome = self.sandbox.run(cores=cores)
        assert outcome.jobs == list(dry.plan.jobs), "-n said something else than what was done"
        self.check_run(outcome)
        self.check_words(lines, dry.plan)
        self.check_untouched(before, outcome, dry.plan)
        self.check_again()
        self.check_from_scratch()

    # A run is listed several times: one rule among many is drawn seldom, and runs find the faults.
    again_1, again_2, again_3, again_4, again_5, again_6, again_7, again_8, again_9 = (
        rule(cores=st.just(cores))(lambda self, cores: self.run(cores))
        for cores in (1, 2, 3, 4, 1, 2, 3, 1, 2)
    )

    def check_run(self, outcome, *, was_killed=False, skipped=()):
        """Assert that the reduced frames are those that were due.

        ``skipped`` are products that the run could not look at.
        """
        type(self).runs += 1
        type(self).jobs += len(outcome.jobs)
        due, maybe = self.due()
        frames = {product for product in outcome.jobs if product.startswith("reduced/")}
        assert frames <= due | maybe, f"{frames - due - maybe} for nothing"
        if not was_killed:
            assert due - set(skipped) <= frames, f"{due - frames} not made"
        self.pending = frames if was_killed else set()
        for file, (_, whole) in self.files.items():
            product = paths.reduced_frame(file)
            if product in skipped:
                continue
            is_due = product in due and product in frames
            if is_due or (not was_killed and whole and product in self.unsure & maybe):
                self.made[product] = self.identity(file)
            elif product in maybe or (self.twin(file) and self.is_readable(file)):
                self.made.pop(product, None)
        if not was_killed:
            self.unsure -= maybe - set(skipped)

    def check_words(self, lines, made):
        """Assert that the lines before the jobs name all reasons, and are few."""
        assert len(lines) <= 20
        text = "\n".join(lines)
        for job in made.jobs.values():
            assert job.reason in text
        if not made.jobs:
            assert lines[0].startswith("nothing to do")

    def check_untouched(self, before, outcome, made):
        """Assert that only jobs wrote files, and that missing files were set aside."""
        after = snapshot(self.sandbox.results)
        for name in before.changed_names(after):
            own = name == "inventory.csv" or name.startswith("set_aside/")
            by = {name, *self.lists(name)}
            is_small = paths.is_of_small_pictures(Path(name).parent)
            by |= {job for job in outcome.jobs if is_small and job.startswith("reduced/")}
            if not own:
                assert by & set(outcome.jobs), f"{name} was written for nothing"
        for name in before.lost(after):
            by = {name, *self.lists(name)}
            assert by & {*made.products_to_retire, *outcome.jobs}, f"{name} is lost"

    @staticmethod
    def lists(name):
        """Return the list that a small picture is a part of: () for any other file."""
        folder = Path(name).parent
        is_small = paths.is_of_small_pictures(folder)
        return (str(folder.with_name(paths.SHEET_FILE)),) if is_small else ()

    def check_again(self):
        """Assert that the next run has nothing to do, and writes only its notes."""
        before = snapshot(self.sandbox.results, has_notes=True)
        assert list(self.sandbox.plan().plan.jobs) == []
        assert snapshot(self.sandbox.results, has_notes=True) == before
        if self.is_long:
            # A real one closes the nights: the run after the next event opens those that changed.
            before = snapshot(self.sandbox.results)
            assert self.sandbox.run().jobs == []
            assert snapshot(self.sandbox.results) == before

    def check_from_scratch(self):
        """Assert that a run from scratch makes the same bytes, unless a raw file is gone."""
        store = load_store(self.sandbox.results)
        known = set(map(paths.reduced_frame, store.rows))
        frames = {
            name for name in ledger.load_ledger(self.sandbox.results) if name.startswith("reduced/")
        }
        gone = {file for file, row in store.rows.items() if row.gone}
        assert not {file for file in self.files if self.is_readable(file)} & gone
        assert not [file for file in gone if file.endswith("/")]
        # Where the notes on the headers were lost as well, the raw file of a product is unknown.
        if any(row.gone for row in store.rows.values()) or frames - known:
            return
        clean = self.clean()
        clean.run(cores=2)
        wanted, contents = products(clean.results), products(self.sandbox.results)
        unasked = set(contents) - set(wanted)
        for name in unasked:
            assert self.is_unasked(name), f"{name} is left over"
            del contents[name]
        assert contents.keys() == wanted.keys()
        for name, content in wanted.items():
            assert contents[name] == content, f"{name} is not as a run from scratch makes it"
        check_records(self.sandbox, clean, set(wanted))
        type(self).compared += 1
        folders = {tuple(name.split("/")[:3]) for name in wanted if "/" in name}
        type(self).kinds_made |= {
            places[-1].partition("_")[0] if places[0] == "combined" else places[0]
            for places in folders
        }

    def clean(self):
        """Return a sandbox with the same raw frames and no results."""
        shut, self.shut = self.shut, set()
        try:
            return self.sandbox.clean()
        finally:
            self.shut = shut

    def is_unasked(self, product):
        """Return whether a product stays because the configuration no longer asks for its kind."""
        config = self.sandbox.config
        folder, _, rest = product.partition("/")
        if folder == "combined":
            kind = rest.rpartition("/")[2].partition("_")[0]
            return not self.asks_for(kind) or not config.get(kind, {}).get("enabled", True)
        if product.endswith("_quality.csv"):
            kind = product.removesuffix("_quality.csv")
            return not self.asks_for(kind) or not config.get(kind, {}).get("enabled", True)
        if folder == "detector" or product in (paths.DETECTOR_FILE, paths.EVENTS_FILE):
            return not self.measures_detector()
        is_calibrated = folder == "calibrated" or product == paths.ASSOCIATIONS_FILE
        if is_calibrated and not config.get("calibrate", {}).get("enabled", True):
            return True
        own = [file for file in self.files if paths.reduced_frame(file) == f"reduced/{rest}"]
        return not any(map(self.is_wanted, own))

    @invariant()
    def all_is_whole(self):
        """Assert that no product has a temporary name, and that all products are whole."""
        type(self).events += 1
        if not self.sandbox.results.is_dir():
            return
        records = ledger.load_ledger(self.sandbox.results)
        assert not [p for p in self.sandbox.results.rglob("*.part")]
        assert all(record.status != job_records.GONE for record in records.values())
