"""Reduced darks to combined darks.
Input, output and job are those of biases: rules/combine.smk. The output is the job's record, not
the product (why: docs/decisions/records-as-outputs.md)."""


# Each `use rule ... with:` has `localrule: True` again: without it Snakemake takes the new rule for
# one of the cluster.
use rule combine as combine_darks with:
    """Reduced darks of a group -> combined dark: minus the combined bias, outliers left out."""
    wildcard_constraints:
        product=r"combined/[^/]+/dark.+",
    localrule: True
    params:
        kind="dark",
