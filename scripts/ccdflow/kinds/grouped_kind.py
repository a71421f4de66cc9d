"""The base of the kinds with a group for each product: masters, measurements, calibrated frames."""

from __future__ import annotations

from ccdflow.kinds.kind import Kind
from ccdflow.run.lookups import Lookup


class GroupedKind(Kind):
    """A kind whose products each have a `ccdflow.run.job.Group` in the plan."""

    def groups(self, context):
        """Return all groups of this kind, sorted by `group_order`.

        Parameters
        ----------
        context : ccdflow.run.context.Context

        Returns
        -------
        list of ccdflow.run.job.Group
        """

        def sorted_groups():
            """Return the groups of this kind, sorted."""
            groups = (group for group in context.groups.values() if group.kind == self.name)
            return sorted(groups, key=self.group_order)

        return context.lookup((Lookup.GROUPS, self.name), sorted_groups)

    @staticmethod
    def group_order(group):
        """Return the key by which groups are sorted: the product."""
        return group.product

    def groups_by_night(self, context):
        """Return the groups by the night whose page shows them.

        Parameters
        ----------
        context : ccdflow.run.context.Context

        Returns
        -------
        dict of str to list of ccdflow.run.job.Group
            The groups of a night are sorted by `group_order`.
        """

        def groups_of_nights():
            """Return {night of the page: its groups}."""
            groups = {}
            for group in self.groups(context):
                groups.setdefault(group.night_of_page, []).append(group)
            return groups

        return context.lookup((Lookup.GROUPS_BY_NIGHT, self.name), groups_of_nights)

    def night_groups(self, context, night):
        """Return the groups that the page of a night shows, sorted by `group_order`.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        return self.groups_by_night(context).get(night, [])

    def products_on_page(self, context, night):
        """Return the products that the page of a night shows."""
        return [group.product for group in self.night_groups(context, night)]

    def basis(self, context, job):
        """Return the sources of the job's product: those of its group, by their records."""
        return self.group_basis(context, context.group(job.product))

    def group_basis(self, context, group):
        """Return the sources of the product of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict of str to object
        """
        raise NotImplementedError(f"kind {self.name} must define group_basis()")
