"""The base of measurements by a night's masters: groups, sources, size."""

from __future__ import annotations

from ccdflow.kinds.kind import Kind
from ccdflow.kinds.masters.group_queries import masters_carried
from ccdflow.run.job import OF_A_MASTER, Size
from ccdflow.run.lookups import Lookup


class MeasurementKind(Kind):
    """A measurement of a detector by masters of a night and their members."""

    verb = "make"
    is_report = False
    takes_all_cores = True
    stage = 5
    path_prefix = "detector/"
    reach = OF_A_MASTER

    # -- planning ----------------------------------------------------------------------------------

    def groups(self, context):
        """Return all measurements of this kind, as groups, sorted by night and product."""

        def sorted_groups():
            """Return the groups of this kind, sorted by night and product."""
            groups_of_kind = [group for group in context.groups.values() if group.kind == self.name]
            return sorted(groups_of_kind, key=lambda group: (group.night, group.product))

        return context.lookup((Lookup.GROUPS, self.name), sorted_groups)

    def basis(self, context, job):
        """Return the sources of a measurement: its masters as they turned out."""
        return self.group_basis(context, context.group(job.product))

    def group_basis(self, context, group):
        """Return the sources of the measurement of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict of str to object
        """
        raise NotImplementedError(f"kind {self.name} must define group_basis()")

    # -- the job -----------------------------------------------------------------------------------

    def rows_and_groups(self, context, job):
        """Return the members of its masters, the masters, and theirs."""
        group = context.group(job.product)
        masters = masters_carried(context, group)
        masters_of_masters = [
            each for master in masters for each in masters_carried(context, master)
        ]
        return [context.row(file) for file in group.files], [group, *masters, *masters_of_masters]

    def size(self, context, job):
        """Return the size of a measurement: that of one frame to combine for each member."""
        group = context.group(job.product)
        ny, nx = map(int, reversed(dict(group.shared)["size"].split("x")))
        return Size(combined=len(group.files), largest=ny * nx, pixels=len(group.files) * ny * nx)

    # -- lines and sections ------------------------------------------------------------------------

    def night_groups(self, context, night):
        """Return the measurements of a night.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        groups_of_nights = context.lookup(
            (Lookup.MEASUREMENTS_BY_NIGHT, self.name),
            lambda: _groups_by_night(self.groups(context)),
        )
        return groups_of_nights.get(night, [])

    def products_on_page(self, context, night):
        """Return the measurements that a night's page shows."""
        return [group.product for group in self.night_groups(context, night)]


def _groups_by_night(groups):
    """Return {night: its groups} in the order of the groups."""
    groups_by_night = {}
    for group in groups:
        groups_by_night.setdefault(group.night, []).append(group)
    return groups_by_night
