"""The tables of the figures of masters: a row for each night, group and amplifier."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.masters.group_queries import basis_lines, texts_on_left_out
from ccdflow.kinds.product_writing import csv_text, write_text_product
from ccdflow.pages.text_formatting import light_words
from ccdflow.run import job_records

BIAS_COLUMNS = (
    "amplifier", "frames", "level", "level_error", "level_span", "drift_an_hour",
    "drift_an_hour_error", "read_noise", "read_noise_error", "gain", "read_noise_electrons",
    "header_read_noise_electrons", "row_structure", "row_structure_error", "column_structure",
    "column_structure_error", "combined_row_structure", "combined_column_structure",
    "combined_noise", "combined_noise_error", "predicted_noise", "root_n_noise",
    "clipped_fraction", "disagreement",
)  # fmt: skip
"""The columns of figures in bias_quality.csv."""

DARK_COLUMNS = (
    "amplifier", "frames", "seconds", "unit", "rate", "rate_error", "rate_99", "hot", "hot_limit",
    "glow", "glow_error", "level_span", "noise_ratio", "noise_ratio_error",
)  # fmt: skip
"""The columns of figures in dark_quality.csv."""

# The name of the column with filter and grism of a flat.
_LIGHT = "light"

FLAT_COLUMNS = (
    "amplifier", "frames", "unit", "level", "lowest", "highest", "signal_to_noise", "aperture_cap",
    "lamp_drift", "lamp_drift_error", "ratio", "unlit", "noise_ratio", "noise_ratio_error", "gain",
    "measured_gain", "measured_gain_error", _LIGHT,
)  # fmt: skip
"""The columns of figures in flat_quality.csv."""


class MasterTable(ArchiveProduct):
    """The table of the figures of all masters of one kind.

    Attributes
    ----------
    master : ccdflow.kinds.masters.master.MasterKind
    columns : tuple of str
        Names of the columns with figures.
    is_made_without_masters : bool
        Whether the table is made even if there is no such master.
    """

    progress_nouns = ("table", "tables")
    master = None
    columns = ()
    is_made_without_masters = False

    def is_enabled(self, context):
        """Return whether such masters are made."""
        return self.master.configuration(context)["enabled"]

    def needs(self, context):
        """Return all masters of the kind."""
        return [group.product for group in self.master.groups(context)]

    def is_wanted(self, context, needs):
        """Return whether there is any master, or the table is made without one."""
        return bool(needs) or self.is_made_without_masters

    def basis(self, context, job):
        """Return the sources of the table: all masters of the kind."""
        groups = self.master.groups(context)
        return {
            "version": self.version,
            "groups": sorted(basis_lines(self.master, context, groups)),
        }

    def make(self, context, job, *, threads):
        """Write the table: a row for each night, group and amplifier."""
        groups = sorted(self.master.groups(context), key=lambda g: (g.night, g.product))
        columns = ["night", "camera", "group", *self.columns, "product", "note"]
        text = csv_text(quality_rows(context, groups, self.columns), columns)
        return write_text_product(context, job, self.basis(context, job), text)


class BiasTable(MasterTable):
    """``bias_quality.csv``: level, drift, read noise and structure, by night and amplifier."""

    name = "bias table"
    rule = "bias_table"
    plans_some_nights = True
    nouns = ("table of bias quality", "tables of bias quality")
    version = 3
    path_prefix = paths.BIAS_QUALITY
    master = BIAS_KIND
    columns = BIAS_COLUMNS
    is_made_without_masters = True


class DarkTable(MasterTable):
    """``dark_quality.csv``: dark current, hot pixels and glow, by dark and amplifier."""

    name = "dark table"
    rule = "dark_table"
    plans_some_nights = True
    nouns = ("table of darks", "tables of darks")
    path_prefix = paths.DARK_QUALITY
    master = DARK_KIND
    columns = DARK_COLUMNS


class FlatTable(MasterTable):
    """``flat_quality.csv``: level, range and signal to noise, by flat and amplifier."""

    name = "flat table"
    rule = "flat_table"
    plans_some_nights = True
    nouns = ("table of flats", "tables of flats")
    version = 4
    path_prefix = paths.FLAT_QUALITY
    master = FLAT_KIND
    columns = FLAT_COLUMNS


BIAS_TABLE, DARK_TABLE, FLAT_TABLE = BiasTable(), DarkTable(), FlatTable()
"""The kinds of the tables of quality."""


def quality_rows(context, groups, columns=BIAS_COLUMNS):
    """Return the rows of the table for some groups, one for each amplifier.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : iterable of ccdflow.run.job.Group
    columns : sequence of str, optional
        Names of the columns with figures.

    Returns
    -------
    list of dict
    """
    rows = []
    for group in groups:
        record = context.outcome(group.product)
        if record is None:
            continue
        # Each access to a record's data decodes JSON text: here it is decoded once.
        data = dict(record.data.items())
        # A master that stays as it was, because its job failed, has a reason.
        note = record.reason
        is_made = record.status == job_records.MADE
        shared_cells = {
            "night": group.night,
            "camera": group.camera,
            "group": paths.stem(group.product),
            "product": group.product if is_made else "",
        }
        remarks = data.get("remarks", ())
        shared_cells["note"] = "; ".join(filter(None, (note, *remarks, *texts_on_left_out(data))))
        if _LIGHT in columns:
            shared_values = dict(group.shared)
            shared_cells[_LIGHT] = light_words(map(shared_values.get, ("filter", "grism")))
        figures = data.get("quality", ())
        if note and not figures:
            rows.append({**shared_cells, "frames": len(data.get("members", ()))})
        rows += [
            {**shared_cells, **{name: each[name] for name in columns if name != _LIGHT}}
            for each in figures
        ]
    return rows
