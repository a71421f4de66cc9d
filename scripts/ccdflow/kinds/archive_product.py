"""The base of products on the whole archive: tables, and the overview of all nights."""

from __future__ import annotations

from functools import partial

from ccdflow.kinds.kind import Kind
from ccdflow.run.plan import WantedProduct


class ArchiveProduct(Kind):
    """One file on all nights, whose path is the ``path_prefix`` of its kind."""

    def is_enabled(self, context):
        """Return whether the configuration asks for the product; otherwise an old one is kept.

        Parameters
        ----------
        context : ccdflow.run.context.Context

        Returns
        -------
        bool
        """
        return True

    def needs(self, context):
        """Return the products that are made before this one.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext

        Returns
        -------
        list of str
        """
        raise NotImplementedError(f"kind {self.name} must define needs()")

    def is_wanted(self, context, needs):
        """Return whether the product has any content: by default, whether it needs any product.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        needs : list of str
            The result of `needs`.

        Returns
        -------
        bool
        """
        return bool(needs)

    def may_change(self, context):
        """Return whether the product shows other products that this run may refuse."""
        return False

    def plan(self, planner):
        """Plan the product if it has any content; keep an old one that is not asked for."""
        context = planner.context
        if not self.is_enabled(context):
            planner.keep(self.path_prefix)
            return
        needs = self.needs(context)
        if self.is_wanted(context, needs):
            basis = partial(self.basis, context, None)
            may_change = self.may_change(context)
            planner.want(
                self, WantedProduct(self.path_prefix, "", basis, needs=needs, may_change=may_change)
            )
