"""Masters: frames of one image type that belong together, combined into one."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files import checksum
from ccdflow.kinds.masters import combining, group_queries, grouping, memory_limits
from ccdflow.kinds.masters.makers.master_maker import MasterMaker
from ccdflow.kinds.masters.masters_of_nights import MastersOfNights
from ccdflow.kinds.masters.reported_masters import ReportedMasters
from ccdflow.kinds.matching import association
from ccdflow.kinds.reducing.frame_sources import CardsOfFrames, number_of_raw_pixels
from ccdflow.kinds.reducing.record_entries import (
    plain_ends_of_full_pixels,
    plain_no_level_parts,
)
from ccdflow.run.job import OF_A_MASTER, Size
from ccdflow.run.plan import WantedProduct
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.enabled_types import is_type_enabled


class MasterKind(CardsOfFrames, MastersOfNights, ReportedMasters):
    """A kind of product that is combined from frames of one image type.

    Attributes
    ----------
    type : str
        The frames' image type; products are ``combined/<night>/<type>_<group>.fits``.
    block : str
        Name of the kind's block in the configuration.
    pixel_settings : tuple of str
        Keys of this block that the product's bytes depend on.
    maker : ccdflow.kinds.masters.makers.master_maker.MasterMaker
        The maker of a master from its members.
    table : str
        The table with the figures of the masters.
    applied_kinds : tuple of str
        Kinds of masters that are applied to the members before they are combined.
    always_grouped_by : tuple of str
        Values that members must share whatever the configuration says.
    not_in_name : tuple of str
        Values that members share and that are not in a product's name.
    leaves_out_bad_pixels : bool
        Whether pixels that are masked in a member, or have no level, are left out of it. Where this
        is False, clipping alone leaves values out.
    split_by_tolerance : tuple of str
        Meanings of cards (`ccdflow.camera.identity`) by which `split` separates frames, within a
        tolerance.
    """

    type = ""
    block = ""
    pixel_settings = ()
    maker = MasterMaker()
    table = ""
    applied_kinds = ()
    always_grouped_by = ()
    not_in_name = ("part",)
    split_by_tolerance = ()
    leaves_out_bad_pixels = False
    verb = "make"
    is_report = False
    takes_all_cores = True
    path_prefix = f"{paths.COMBINED_FOLDER}/"
    reach = OF_A_MASTER
    header_version = 6

    def configuration(self, context):
        """Return this kind's block of the settings."""
        return context.settings[self.block]

    def is_enabled(self, context):
        """Return whether the configuration asks for products of this kind."""
        is_asked_for = self.configuration(context)["enabled"]
        return is_asked_for and is_type_enabled(context.settings, self.type)

    # -- planning ----------------------------------------------------------------------------------

    def has_name(self, product):
        """Return whether a path is that of a master of this type."""
        name = product.rpartition("/")[2]
        return product.startswith(self.path_prefix) and name.startswith(self.type)

    def is_stray(self, context, product):
        """Return whether ccdflow made a file that has no record: its header then has a key."""
        return bool(checksum.datasum_and_key(context.results / product)[1])

    def plan(self, planner):
        """Plan the master of each group; keep the earlier masters if the kind is not enabled."""
        context = planner.context
        if not self.is_enabled(context):
            planner.keep_all_of(self)
            return
        context.groups.update(grouping.groups_of(self, context))
        for group in self.groups(context):
            if context.is_noted_group(group.product):
                planner.keep(group.product)
                continue
            masters, spare_masters = association.needs_of(context, group.steps)
            needs = [*map(reduced_product, group.files), *masters]
            basis = self.group_basis(context, group)
            planner.want(
                self,
                WantedProduct(group.product, group.night, basis, needs=needs, spare=spare_masters),
            )
            if why_missing := basis.get("missing"):
                context.foresee_refusal(group.product, why_missing)

    def group_basis(self, context, group):
        """Return the sources of the master of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict of str to object
        """
        settings = self.configuration(context)
        members = group_queries.reduced_members(context, group)
        basis = {
            "arithmetic": self.version,
            "settings": {name: settings[name] for name in self.pixel_settings},
            "shared": list(map(list, group.shared)),
            "members": [[file, record.key] for file, record in members],
        }
        if self.leaves_out_bad_pixels:
            basis |= _basis_of_bad_pixels(members)
        if masters := association.keys_of(context, group.steps):
            basis["masters"] = masters
        if why_missing := self.why_lacking(context, group):
            basis["missing"] = why_missing
        return basis

    def why_lacking(self, context, group):
        """Return in words the master that the members need and lack, or ''.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        str
        """
        return ""

    def what_changed(self, earlier_basis, current_basis):
        """Return why a master is out of date."""
        if earlier_basis.get("members") != current_basis.get("members"):
            return "its frames changed"
        if earlier_basis.get("masters") != current_basis.get("masters"):
            return "the masters of its frames changed"
        for name, words in (("settings", "settings changed"), ("arithmetic", "new arithmetic")):
            if earlier_basis.get(name) != current_basis.get(name):
                return words
        return super().what_changed(earlier_basis, current_basis)

    def may_stand(self, earlier_basis, current_basis):
        """Return whether the earlier version has a member whose reduced frame is still the same.

        The key of a reduced frame depends on recipe and geometry. So one common member shows that
        the earlier version fits the frames of this run.
        """
        current_members = list(map(list, current_basis.get("members", ())))
        return any(list(each) in current_members for each in earlier_basis.get("members", ()))

    def why_tried_again(self, context, record):
        """Return why a master that was refused for lack of memory is tried again, or ''."""
        if "memory" in record.data and record.data["memory"] != memory_limits.megabytes_allowed(
            context
        ):
            return "another memory"
        return ""

    def rows_and_groups(self, context, job):
        """Return the rows of the members, and the groups of the master and of those it needs."""
        group = context.group(job.product)
        masters = group_queries.candidate_masters(context, group)
        return [context.row(file) for file in group.files], [group, *masters]

    def size(self, context, job):
        """Return the size of a group."""
        files = context.group(job.product).files
        pixel_counts = [number_of_raw_pixels(context, context.row(file)) for file in files]
        return Size(
            n_combined=len(files),
            n_pixels_of_largest=max(pixel_counts, default=0),
            n_pixels=sum(pixel_counts),
        )

    def cores_of(self, context, job, *, cores, has_others):
        """Return the number of cores for a master: half, so that two are made side by side, or all.

        Measuring a master uses few of the cores, and takes as long as combining a few frames.
        """
        size = self.size(context, job)
        if has_others and memory_limits.has_room_for_two(size, context):
            return max(1, cores // 2)
        return cores

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Combine the frames of a group, or refuse it."""
        return combining.combine_group(self, context, job, threads=threads)

    # -- groups ------------------------------------------------------------------------------------

    def split(self, context, rows):
        """Yield parts of a group whose header values agree, with the further values of each part.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        rows : list of ccdflow.run.raw_frames.rows.Row

        Yields
        ------
        shared : tuple of (str, str)
        rows : list of ccdflow.run.raw_frames.rows.Row
        """
        yield (), rows

    def name_part(self, name, value):
        """Return the part of a product's name on a value that the members share.

        Parameters
        ----------
        name : str
            Name of the value, such as ``gain``.
        value : str

        Returns
        -------
        str
        """
        return f"{name[0]}{value}" if name in ("gain", "exptime") else value


def _basis_of_bad_pixels(members):
    """Return the entries of a basis on pixels that are left out of members; {} without any."""
    entries = {"without_level": plain_no_level_parts, "converter": plain_ends_of_full_pixels}
    basis = {}
    for name, entry_of in entries.items():
        pixels_by_file = {file: entry for file, record in members if (entry := entry_of(record))}
        if pixels_by_file:
            basis[name] = pixels_by_file
    return basis
