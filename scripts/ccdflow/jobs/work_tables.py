"""The job that writes the table of what the biases say about the detector."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ccdflow.jobs.writing import write_text
from ccdflow.run import ledger, plan

COLUMNS = (
    "amplifier", "frames", "level", "level_error", "level_span", "drift_an_hour",
    "drift_an_hour_error", "read_noise", "read_noise_error", "gain", "read_noise_electrons",
    "header_read_noise_electrons", "row_structure", "row_structure_error", "column_structure",
    "column_structure_error", "combined_row_structure", "combined_column_structure",
    "combined_noise", "combined_noise_error", "predicted_noise", "root_n_noise",
    "clipped_fraction", "disagreement",
)  # fmt: skip


def quality_rows(context, groups):
    """Return the rows of the table for some groups: a dict for each amplifier."""
    rows = []
    for group in groups:
        record = context.outcome(group.product)
        if record is None:
            continue
        note = record.reason if record.status == ledger.REFUSED else ""
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
    groups = sorted(context.groups.values(), key=lambda g: (g.night, g.product))
    columns = ["night", "camera", "group", *COLUMNS, "product", "note"]
    table = pd.DataFrame(quality_rows(context, groups), columns=columns)
    text = table.to_csv(index=False, lineterminator="\n")
    return write_text(context, job, plan.table_basis(context), text)
