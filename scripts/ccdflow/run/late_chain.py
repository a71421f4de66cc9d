"""The chain of kinds, imported when one of its kinds is first used.

A run with a valid seal needs only names, versions and places of the kinds, which are in the seal.
Without the import of the kinds it saves 0.4 s of 3 s.
"""

from __future__ import annotations

from functools import cached_property


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
        return self._load()

    @property
    def is_loaded(self):
        """Whether the kinds have been asked for."""
        return "_chain" in self.__dict__

    def __getattr__(self, name):
        """Return an attribute of the chain."""
        return getattr(self._chain, name)

    def __iter__(self):
        """Return an iterator over the kinds."""
        return iter(self._chain)

    def __getitem__(self, place):
        """Return the kind at a place, or the kinds of a slice."""
        return self._chain[place]

    def __len__(self):
        """Return the number of kinds."""
        return len(self._chain)
