"""The table of all nights' detector measurements: a row a night, camera and amplifier."""

from __future__ import annotations

import math

from ccdflow import paths
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import name_of_setup
from ccdflow.kinds.product_writing import csv_text, write_text_product
from ccdflow.run.raw_frames.rows import digest

COLUMNS = (
    "amplifier", "flats", "level", "gain", "gain_error", "gain_used", "gain_header", "read_noise",
    "read_noise_error", "read_noise_used", "read_noise_header", "departure", "departure_error",
    "full_well", "dark_rate", "hot", "varies", "low", "columns",
)  # fmt: skip
"""The columns of figures in detector.csv."""


class DetectorTable(ArchiveProduct):
    """``detector.csv``: gain, read noise, linearity and bad pixels of each night and amplifier."""

    name = "detector table"
    rule = "detector_table"
    plans_some_nights = True
    nouns = ("table of detectors", "tables of detectors")
    progress_nouns = ("table", "tables")
    path_prefix = paths.DETECTOR_FILE

    def is_enabled(self, context):
        """Return whether the configuration asks for measurements."""
        return DETECTOR.is_enabled(context)

    def needs(self, context):
        """Return all measurements."""
        return [group.product for group in DETECTOR.groups(context)]

    def basis(self, context, job):
        """Return the sources of the table: all measurements."""
        outcomes = [
            (group.product, context.outcome(group.product)) for group in DETECTOR.groups(context)
        ]
        lines = [[product, r.key, r.status] for product, r in outcomes if r is not None]
        return {"version": self.version, "nights": digest(sorted(lines))}

    def make(self, context, job, *, threads):
        """Write the table; return its record."""
        columns = ["night", "camera", "setup", *COLUMNS, "product", "note"]
        rows = []
        for group in DETECTOR.groups(context):
            record = context.made_record(group.product)
            if record is None:
                continue
            note = "; ".join(record.data["remarks"])
            for amplifier_figures in record.data["quality"]:
                figures = {name: _table_cell(amplifier_figures[name]) for name in COLUMNS}
                rows.append(
                    {
                        "night": group.night,
                        "camera": group.camera,
                        "setup": name_of_setup(group.shared),
                    }
                    | figures
                    | {"product": group.product, "note": note}
                )
        text = csv_text(rows, columns)
        return write_text_product(context, job, self.basis(context, job), text)


def _table_cell(value):
    """Return a cell of the table: '' for NaN, so that the other counts stay whole numbers."""
    return "" if isinstance(value, float) and math.isnan(value) else value


DETECTOR_TABLE = DetectorTable()
"""The kind of detector.csv."""
