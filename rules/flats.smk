"""Reduced flats to combined flats, and the table of the detector's figures by them.
Input, output and job are those of biases: rules/combine.smk. The output is the job's record, not
the product (why: docs/decisions/records-as-outputs.md)."""


use rule combine as combine_flats with:
    """Reduced flats of a group -> combined flat: minus bias and dark, mean 1."""
    wildcard_constraints:
        product=r"combined/[^/]+/flat.+",
    localrule: True
    params:
        kind="flat",


use rule bias_table as flat_table with:
    """Figures of all combined flats -> flat_quality.csv."""
    wildcard_constraints:
        product=r"flat_quality\.csv",
    localrule: True
    params:
        kind="flat table",
