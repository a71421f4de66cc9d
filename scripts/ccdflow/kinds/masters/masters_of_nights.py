"""The masters of a night after it is closed: the notes by which later nights choose them."""

from __future__ import annotations

from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.matching import master_library, master_snapshot


class MastersOfNights(GroupedKind):
    """A part of `ccdflow.kinds.masters.master.MasterKind`: the notes of closed nights."""

    def can_close(self, context):
        """Return whether groups are of one night each."""
        return not self.is_enabled(context) or "night" in self.configuration(context)["group_by"]

    def summary(self, context, night, records):
        """Return the facts by which masters are chosen."""
        members = {
            group.product: master_library.values_of_members(context, group)
            for group in self.night_groups(context, night)
        }
        return {master_library.name_of_member_notes(self): members}

    def facts_to_note(self, context):
        """Return the noises of detectors, and the cards that distinguish masters."""
        return master_snapshot.snapshot_of(context, self)

    def restore(self, context, noted_facts):
        """Give a context the result of `facts_to_note`."""
        master_snapshot.restore_noises(context, self, noted_facts)

    def nights_to_open(self, context, new_groups):
        """Return no night; raise `NeedsWholePlan` where other cards distinguish masters.

        Raises
        ------
        ccdflow.run.nights.note_lines.NeedsWholePlan
            If they do, and the names of closed nights' masters were made with the earlier ones.
        """
        noted_facts = context.closed_nights.notes_of_kind(self.name)
        is_new = any(group.kind == self.name for group in new_groups)
        master_snapshot.check_snapshot(context, self, noted_facts, is_new=is_new)
        return set()
