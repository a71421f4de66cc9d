"""Reduced flats to combined flats, and the table of the detector's figures by them. Both rules
are those of biases (rules/combine.smk) for other products."""


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
