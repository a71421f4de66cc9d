"""The table of what the biases say about the detector: a row a night, camera and amplifier."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ccdflow import paths
from ccdflow.kinds.bias import BIAS
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.writing import write_text
from ccdflow.run import ledger

COLUMNS = (
    "amplifier", "frames", "level", "level_error", "level_span", "drift_an_hour",
    "drift_an_hour_error", "read_noise", "read_noise_error", "gain", "read_noise_electrons",
    "header_read_noise_electrons", "row_structure", "row_structure_error", "column_structure",
    "column_structure_error", "combined_row_structure", "combined_column_structure",
    "combined_noise", "combined_noise_error", "predicted_noise", "root_n_noise",
    "clipped_fraction", "disagreement",
)  # fmt: skip


class QualityTable(Kind):
    """The table of the figures of all biases."""

    name = "table"
    rule = "quality_table"
    words = ("table of bias quality", "tables of bias quality")
    short = "tables"
    version = 3
    place = paths.BIAS_QUALITY

    def plan(self, planner):
        """Want the table; leave it as it is where no biases are combined."""
        context = planner.context
        if not BIAS.configuration(context)["enabled"]:
            planner.keep(self.place)
            return
        needs = [group.product for group in BIAS.groups(context)]
        planner.want(self, self.place, "", self.basis(context, None), needs=needs)

    def basis(self, context, job):
        """Return what the table depends on: all combined biases."""
        return {"version": self.version, **BIAS.index_basis(context)}

    def make(self, context, job, *, threads):
        """Write the table."""
        return write_quality_table(context, job)


TABLE = QualityTable()


def quality_rows(context, groups):
    """Return the rows of the table for some groups: a dict for each amplifier."""
    rows = []
    for group in groups:
        record = context.outcome(group.product)
        if record is None:
            continue
        note = record.reason if record.status != ledger.MADE else ""
        made = record.status == ledger.MADE
        common = {
            "night": group.night,
            "camera": group.camera,
            "group": Path(group.product).stem,
            "product": group.product if made else "",
        }
        outs = [f"left out: {file} ({text})" for file, text, *_ in record.data.get("left_out", ())]
        remarks = record.data.get("remarks", ())
        common["note"] = "; ".join(filter(None, (note, *remarks, *outs)))
        figures = record.data.get("quality", ())
        if note and not figures:
            rows.append({**common, "frames": len(record.data.get("members", ()))})
        rows += [{**common, **{name: each[name] for name in COLUMNS}} for each in figures]
    return rows


def write_quality_table(context, job):
    """Write ``bias_quality.csv``: what the biases say, a row a night, camera and amplifier."""
    groups = sorted(BIAS.groups(context), key=lambda g: (g.night, g.product))
    columns = ["night", "camera", "group", *COLUMNS, "product", "note"]
    table = pd.DataFrame(quality_rows(context, groups), columns=columns)
    text = table.to_csv(index=False, lineterminator="\n")
    return write_text(context, job, TABLE.basis(context, job), text)
