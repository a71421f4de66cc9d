"""The table of which master each calibrated frame took, why, and what the next one would cost."""

from __future__ import annotations

import pandas as pd

from ccdflow import paths
from ccdflow.kinds.association import taken, why_missing
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.science import SCIENCE
from ccdflow.kinds.writing import write_text
from ccdflow.run import ledger
from ccdflow.run.context import reduced
from ccdflow.run.inventory import digest

COLUMNS = (
    "frame", "night", "step", "master", "rank", "lag", "scale", "predicted_variance", "runner_up",
    "runner_up_variance", "reason", "grade",
)  # fmt: skip


class Associations(Kind):
    """The table of masters and frames."""

    name = "associations"
    rule = "associations_table"
    words = ("table of masters", "tables of masters")
    short = "tables"
    place = paths.ASSOCIATIONS

    def plan(self, planner):
        """Want the table where there are frames to calibrate."""
        context = planner.context
        if not SCIENCE.configuration(context)["enabled"]:
            planner.keep(self.place)
            return
        needs = [group.product for group in _groups(context)]
        # A master that is refused while the run goes on gives way to another, or to none.
        is_open = any(map(context.will_be_made, _sources(context)))
        if needs:
            basis = self.basis(context, None)
            planner.want(self, self.place, "", basis, needs=needs, is_open=is_open)

    def basis(self, context, job):
        """Return what the table depends on: each line of it."""
        return {"version": self.version, "lines": digest(list(_lines(context)))}

    def make(self, context, job, *, threads):
        """Write the table."""
        table = pd.DataFrame(_lines(context), columns=list(COLUMNS))
        text = table.to_csv(index=False, lineterminator="\n")
        return write_text(context, job, self.basis(context, job), text)


ASSOCIATIONS = Associations()


def _groups(context):
    return context.lookup(
        ("groups", SCIENCE.name),
        lambda: sorted(
            (group for group in context.groups.values() if group.kind == SCIENCE.name),
            key=lambda group: group.product,
        ),
    )


def _sources(context):
    """Yield the reduced frames and masters of all calibrated frames."""
    for group in _groups(context):
        yield from map(reduced, group.files)
        for step in group.steps:
            yield from (use.product for use in step.uses)


def _lines(context):
    for group in _groups(context):
        record = context.outcome(group.product)
        is_refused = record is not None and record.status == ledger.REFUSED
        for step in group.steps:
            line = _step_line(context, step)
            if is_refused and not step.missing:
                line = [*line[:-2], "; ".join(filter(None, (line[-2], "not calibrated"))), line[-1]]
            yield [group.product, group.night, *line]


def _step_line(context, step):
    """Return the cells of a step behind frame and night."""
    use = taken(context, step)
    if use is None:
        grade = "C" if step.needed else "A"
        reason = why_missing(context, step) or "not needed: too short for its dark current"
        return [step.kind, "", "", "", "", "", "", "", reason, grade]
    place = step.uses.index(use)
    after = step.uses[place + 1] if place + 1 < len(step.uses) else None
    reasons = list(use.remarks) or ["own night"]
    if place:
        reasons.append(f"{place} before it could not be made")
    return [
        step.kind,
        use.product,
        place + 1,
        "" if use.lag is None else use.lag,
        float(f"{use.scale:.6g}"),
        float(f"{use.variance:.6g}"),
        "" if after is None else after.product,
        "" if after is None else float(f"{after.variance:.6g}"),
        "; ".join(reasons),
        use.grade,
    ]
