"""The flags of members of masters, the closing lines on masters, and their part of the overview."""

from __future__ import annotations

from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.masters import group_queries, master_lines
from ccdflow.run.raw_frames.rows import digest


class ReportedMasters(GroupedKind):
    """The part of `ccdflow.kinds.masters.master.MasterKind` on flags, lines and the overview."""

    def overview_basis(self, context):
        """Return the sources of the overview: all masters."""
        lines = sorted(group_queries.basis_lines(self, context, self.groups(context)))
        return {self.name: digest(lines)} if lines else {}

    def flags(self, context, records):
        """Return the flags of frames that are copies, or are left out of their master."""
        return master_lines.flags_of_members(self, context, records)

    def closing_lines(self, context, records):
        """Return the lines on masters that were not made, have warnings, or lack frames."""
        if not self.is_enabled(context):
            return []
        return master_lines.lines_on_masters(self, context, records)

    def closing_lines_of_one(self, context, record):
        """Return the lines on one master that was not made, has warnings, or lacks frames."""
        return master_lines.lines_on_masters(self, context, [record])
