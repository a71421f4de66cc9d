"""Reduced flats to combined flats.
Input, output and job are those of biases: rules/combine.smk. The output is the job's record, not
the product (why: docs/decisions/records-as-outputs.md)."""


use rule combine as combine_flats with:
    """Reduced flats of a group -> combined flat: minus bias and dark, mean 1."""
    wildcard_constraints:
        product=r"combined/[^/]+/flat.+",
    localrule: True
    params:
        kind="flat",
