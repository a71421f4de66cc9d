"""What planning and jobs work with: the settings, the rows, and what became of each product."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ccdflow import paths
from ccdflow.run import ledger
from ccdflow.run.inventory import HeaderStore

# A plan asks for each of a hundred thousand of them several times.
reduced = cache(paths.reduced)


@dataclass(frozen=True)
class Context:
    """What jobs work with.

    Attributes
    ----------
    settings : dict
    raw, results : Path
    store : ccdflow.run.inventory.HeaderStore
    ledger : dict of str to ccdflow.run.ledger.Record
    chain : ccdflow.kinds.kind.Chain
        The kinds of products, in the order in which they are made.
    outdated : frozenset of str
        Raw files that are gone and whose camera was edited since.
    jobs : dict of str to ccdflow.run.job.Job
        By product; filled in while planning.
    groups : dict of str to ccdflow.run.job.Group
        By product; filled in while planning.
    wanted : set of str
        Products that are to be where they are after this run, made anew or not; filled in while
        planning, members before what is made of them.
    cameras : tuple of ccdflow.camera.cameras.Camera
        The profiles; only planning looks at them.
    unreadable : dict of str to str
        Why a folder of products (its path ends in ``/``) cannot be looked into; filled in while
        planning.
    """

    settings: dict
    raw: Path
    results: Path
    store: HeaderStore
    ledger: dict
    chain: tuple
    outdated: frozenset = frozenset()
    jobs: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    wanted: set = field(default_factory=set)
    cameras: tuple = ()
    unreadable: dict = field(default_factory=dict)
    _lookups: dict = field(default_factory=dict, repr=False)

    def lookup(self, name, make):
        """Return what ``make()`` gave the first time: for what does not change in a run."""
        if name not in self._lookups:
            self._lookups[name] = make()
        return self._lookups[name]

    def planned(self, name, make):
        """Return what ``make()`` gives; while planning, it is worked out once for each name."""
        return make()

    def will_be_made(self, product):
        """Tell whether the plan makes a product that is not made yet; only planning knows any."""
        return False

    def outcome(self, product):
        """Return the record of a product: this run's if it is in the plan, else the ledger's.

        None where there is none: a job that has left no record has failed.
        """
        if not self._is_asked_for(product):
            return None
        job, before = self.jobs.get(product), self.ledger.get(product)
        if job is None:
            return before
        return ledger.read_record(self.results / job.done) or _same(before, job)

    def problem_of(self, product):
        """Return why a product's folder cannot be looked into, or ''."""
        for folder, problem in self.unreadable.items():
            if product.startswith(folder):
                return f"{folder} {problem}"
        return ""

    def _is_asked_for(self, product):
        """Tell whether the configuration asks for a frame of this type, or it is no frame.

        An older product of a frame that is not asked for counts as absent.
        """
        row = self._by_product().get(product)
        return row is None or is_wanted(row, self.settings)

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
        return self._by_night().get(night, [])

    def _by_night(self):
        def make():
            found = {}
            for row in sorted(self.store.rows.values(), key=lambda row: row.file):
                found.setdefault(row.night, []).append(row)
            return found

        return self.lookup("rows by night", make)


@dataclass(frozen=True)
class Planning(Context):
    """What planning works with: a product that is in the plan counts as made.

    It shares all it holds with the `Context` that jobs work with.
    """

    _planned: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, context):
        """Return the planning side of a context."""
        return cls(**vars(context))

    def planned(self, name, make):
        """Return what ``make()`` gave the first time for this name."""
        if name not in self._planned:
            self._planned[name] = make()
        return self._planned[name]

    def will_be_made(self, product):
        """Tell whether the plan makes a product."""
        return product in self.jobs

    def outcome(self, product):
        """Return the record that a product has, or will have when the plan is done."""
        if not self._is_asked_for(product) or product not in self.wanted:
            return None
        job, before = self.jobs.get(product), self.ledger.get(product)
        if job is None:
            return before
        return _same(before, job) or ledger.Record(product, job.kind, job.key)


def _same(before, job):
    """Return the record of before if it has the job's key: what was lost will be what it was."""
    return before if before is not None and before.key == job.key else None


def is_wanted(row, settings):
    """Tell whether the configuration asks for frames of this row's type."""
    return asks_for(settings, row.facts["type"])


def asks_for(settings, kind):
    """Tell whether the configuration asks for frames of a type."""
    return settings["types"] == "all" or kind in settings["types"]
