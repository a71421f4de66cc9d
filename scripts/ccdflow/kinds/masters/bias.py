"""The combined bias: the average of a group's biases."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.kinds.masters import group_queries
from ccdflow.kinds.masters.makers.bias_maker import BiasMaker
from ccdflow.kinds.masters.master import MasterKind
from ccdflow.run.nights import archive_counts
from ccdflow.run.raw_frames.warnings_of_rows import lines_on_absent_biases

# Older results: biases were clipped by MAD alone. Biases with ``clip_by: mad`` keep this version;
# the others have `Bias.version`.
_VERSION_OF_MAD_CLIPPING = 3


class Bias(MasterKind):
    """Combined biases: a group shares night, camera, binning, window, readout mode and gain."""

    name = "bias"
    rule = "combine"
    plans_some_nights = True
    nouns = ("combined bias", "combined biases")
    counted_nouns = nouns
    progress_nouns = nouns
    is_in_batches = True
    version = 4
    type = "bias"
    block = "bias"
    pixel_settings = ("minimum", "method", "clip", "clip_by", "iterations", "uncertainty", "count")
    table = paths.BIAS_QUALITY
    why_moved = "its biases no longer form this group"
    maker = BiasMaker()

    def group_basis(self, context, group):
        """Return the sources of a combined bias.

        A bias clipped by MAD keeps the key of the versions without other clipping, because its
        bytes are the same as theirs.
        """
        basis = super().group_basis(context, group)
        if self.configuration(context)["clip_by"] == "mad":
            basis["arithmetic"] = _VERSION_OF_MAD_CLIPPING
            del basis["settings"]["clip_by"]
        return basis

    def closing_lines(self, context, records):
        """Return a run's last lines on combined biases, or why there is none."""
        lines = super().closing_lines(context, records)
        if self.configuration(context)["enabled"]:
            lines += lines_on_absent_biases(context.store, archive_counts.type_counts(context))
        return lines

    def can_close(self, context):
        """Return whether there is any bias, and each group is of one night or none is made."""
        return super().can_close(context) and bool(archive_counts.type_counts(context)[self.type])

    def products_on_page(self, context, night):
        """Return the biases whose figures a night's page shows: its own, and those before it."""
        trend = group_queries.trend_groups(self, context, night)
        groups = [*self.night_groups(context, night), *trend]
        return list(dict.fromkeys(group.product for group in groups))

    def page_basis(self, context, night):
        """Return the sources of a night's page: its combined biases and those before it."""
        later_nights = group_queries.later_nights_with_members(self, context, night)
        groups = group_queries.trend_groups(self, context, night)
        return {
            **({"elsewhere": later_nights} if later_nights else {}),
            "groups": group_queries.basis_lines(self, context, groups),
        }


BIAS_KIND = Bias()
"""The kind of combined biases."""
