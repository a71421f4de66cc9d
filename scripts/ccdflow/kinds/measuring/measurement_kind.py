"""The base of measurements by a night's masters: groups, sources, size."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.masters.group_queries import candidate_masters
from ccdflow.kinds.matching.setups import epoch_of
from ccdflow.kinds.measuring.detector_setups import detector_setup_of
from ccdflow.run.job import OF_A_MASTER, Group, Size
from ccdflow.run.master_choices import Step, Use
from ccdflow.run.plan import WantedProduct


class MeasurementKind(GroupedKind):
    """A measurement of a detector by masters of a night and their members."""

    verb = "make"
    is_report = False
    takes_all_cores = True
    is_in_batches = True
    path_prefix = f"{paths.DETECTOR_FOLDER}/"
    reach = OF_A_MASTER

    # -- planning ----------------------------------------------------------------------------------

    @staticmethod
    def group_order(group):
        """Return the key that measurements are sorted by: night and product."""
        return group.night, group.product

    def is_wanted(self, context):
        """Return whether the configuration asks for these measurements and their masters.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext

        Returns
        -------
        bool
        """
        raise NotImplementedError(f"kind {self.name} must define is_wanted()")

    def new_groups(self, context):
        """Return the groups of the measurements of nights that are not closed.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        raise NotImplementedError(f"kind {self.name} must define new_groups()")

    def plan(self, planner):
        """Plan the measurement of each group; keep the earlier ones if none is asked for."""
        context = planner.context
        if not self.is_wanted(context):
            planner.keep_all_of(self)
            return
        context.groups.update({group.product: group for group in self.new_groups(context)})
        for group in self.groups(context):
            if context.is_noted_group(group.product):
                planner.keep(group.product)
                continue
            basis = self.group_basis(context, group)
            masters = [use.product for step in group.steps for use in step.uses]
            planner.want(self, WantedProduct(group.product, group.night, basis, needs=masters))

    def group_of_masters(self, context, product, night, setup, steps, files):
        """Return the group of a measurement by masters of one night.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        product, night : str
        setup : tuple of (str, str)
            As `ccdflow.kinds.measuring.detector_setups.detector_setup_of` returns it.
        steps : tuple of ccdflow.run.master_choices.Step
            The masters.
        files : iterable of str
            Raw files of their members.

        Returns
        -------
        ccdflow.run.job.Group
        """
        camera = dict(setup)["camera"]
        return Group(
            product=product,
            night=night,
            camera=camera,
            shared=(*setup, ("epoch", epoch_of(context, camera, night))),
            files=tuple(sorted(set(files))),
            nights=(night,),
            kind=self.name,
            steps=steps,
        )

    # -- the job -----------------------------------------------------------------------------------

    def rows_and_groups(self, context, job):
        """Return the rows of the members, and the groups of the masters and of their masters."""
        group = context.group(job.product)
        masters = candidate_masters(context, group)
        masters_of_masters = [
            each for master in masters for each in candidate_masters(context, master)
        ]
        return [context.row(file) for file in group.files], [group, *masters, *masters_of_masters]

    def size(self, context, job):
        """Return the `Size` of a measurement: each member counts as a frame to be combined."""
        group = context.group(job.product)
        ny, nx = map(int, reversed(dict(group.shared)["size"].split("x")))
        return Size(
            n_combined=len(group.files),
            n_pixels_of_largest=ny * nx,
            n_pixels=len(group.files) * ny * nx,
        )


def masters_by_setup(context, kinds):
    """Return the masters of nights that are not closed, by night and setup of their detector.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    kinds : iterable of ccdflow.kinds.masters.master.MasterKind

    Returns
    -------
    dict of (str, tuple) to list of ccdflow.run.job.Group
    """
    masters = {}
    for kind in kinds:
        for master in kind.groups(context):
            if not context.is_closed(master.night_of_page):
                setup = detector_setup_of(context, context.row(master.files[0]))
                masters.setdefault((master.night_of_page, setup), []).append(master)
    return masters


def step_of_masters(kind, masters):
    """Return the step of a measurement with all masters of a kind, each taken as it is.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    masters : iterable of ccdflow.run.job.Group
        Masters of any kind.

    Returns
    -------
    ccdflow.run.master_choices.Step
    """
    products = [master.product for master in masters if master.kind == kind.name]
    uses = [Use(product, lag=0, scale=1.0, variance=0.0, grade="A") for product in products]
    return Step(kind.name, tuple(uses))
