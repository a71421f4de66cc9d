"""The base of measurements by a night's masters: groups, sources, size."""

from __future__ import annotations

from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.masters.group_queries import masters_carried
from ccdflow.run.job import OF_A_MASTER, Size


class MeasurementKind(GroupedKind):
    """A measurement of a detector by masters of a night and their members."""

    verb = "make"
    is_report = False
    takes_all_cores = True
    stage = 5
    path_prefix = "detector/"
    reach = OF_A_MASTER

    # -- planning ----------------------------------------------------------------------------------

    @staticmethod
    def group_order(group):
        """Return the key that measurements are sorted by: night and product."""
        return group.night, group.product

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
