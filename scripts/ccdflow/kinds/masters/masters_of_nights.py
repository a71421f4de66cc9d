"""The masters of a night after it is closed: the notes by which later nights choose them."""

from __future__ import annotations

from ccdflow.kinds.grouped_kind import GroupedKind
from ccdflow.kinds.matching import master_library, master_snapshot


class MastersOfNights(GroupedKind):
    """The part of `ccdflow.kinds.masters.master.MasterKind` on the notes of closed nights."""

    def can_close(self, context):
        """Return whether each group is of one night; True also if no master of the kind is made."""
        return not self.is_enabled(context) or "night" in self.configuration(context)["group_by"]

    def summary(self, context, night, records):
        """Return the facts by which a night's masters are chosen."""
        members = {
            group.product: master_library.values_of_members(context, group)
            for group in self.night_groups(context, night)
        }
        return {master_library.name_of_member_notes(self): members}

    def facts_to_note(self, context):
        """Return the noises of detectors, and the cards that distinguish masters."""
        return master_snapshot.snapshot_of(context, self)

    def restore(self, context, noted_facts):
        """Restore the noises of detectors in a context, from the result of `facts_to_note`."""
        master_snapshot.restore_noises(context, self, noted_facts)

    def nights_to_open(self, context, new_groups):
        """Return no night: closed nights stay closed, unless other cards distinguish masters.

        Raises
        ------
        ccdflow.run.nights.note_lines.NeedsWholePlan
            If other cards distinguish masters now than when closed nights' masters were named.
        """
        noted_facts = context.closed_nights.notes_of_kind(self.name)
        has_new_groups = any(group.kind == self.name for group in new_groups)
        master_snapshot.check_snapshot(context, self, noted_facts, has_new_groups=has_new_groups)
        return set()
