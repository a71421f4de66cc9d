"""The chain of kinds, imported when one of its kinds is first used.

A run with a valid seal needs only names, versions and folders of the kinds, which are in the seal.
The import of the kinds would take 0.2 s of the processor's time, and such a run of a small archive
takes 1.1 s.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol


class KindChain(Protocol):
    """The attributes of a chain of kinds that the modules of `run/` use.

    These modules import no kind: they get a `ccdflow.kinds.kind.Chain` or a `LateChain` as an
    argument.
    """

    @property
    def first(self):
        """The kind that makes one product of each raw frame."""

    @property
    def combined_types(self):
        """The image types of frames that are combined, a frozenset."""

    @property
    def folders(self):
        """The folders of products, relative to the results folder."""

    def __iter__(self):
        """Return an iterator over the kinds."""

    def by_name(self, name):
        """Return the kind that has a name."""

    def by_rule(self, rule):
        """Return the kind whose products a Snakemake rule makes, or None."""

    def kind_of(self, product):
        """Return the kind whose pattern of names a path matches, or None."""

    def is_wide(self, job):
        """Return whether a job takes all cores."""

    def make(self, context, job, *, threads=1):
        """Make a job's product and return its record; see `ccdflow.kinds.kind.Chain.make`.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
            Context of the jobs.
        job : ccdflow.run.job.Job
            Job of the product.
        threads : int, optional
            Threads that the product may use for itself.

        Returns
        -------
        ccdflow.run.job_records.Record
        """


class LateChain:
    """A chain of kinds, `ccdflow.kinds.kind.Chain`, that is loaded when it is first asked.

    Parameters
    ----------
    load : callable
        Returns the chain.
    """

    def __init__(self, load):
        self._load = load

    @cached_property
    def _chain(self):
        """The chain; loaded at the first access."""
        return self._load()

    @property
    def is_loaded(self):
        """Whether the chain is loaded."""
        return "_chain" in self.__dict__

    def __getattr__(self, name):
        """Return an attribute of the chain."""
        return getattr(self._chain, name)

    def __iter__(self):
        """Return an iterator over the kinds."""
        return iter(self._chain)

    def __getitem__(self, index):
        """Return the kind at a place, or the kinds of a slice."""
        return self._chain[index]

    def __len__(self):
        """Return the number of kinds."""
        return len(self._chain)
