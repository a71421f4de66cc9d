"""Reduced flats to combined flats, and the table of what they say of the detector. The output is
the job's record: a product that cannot be made anew stays as it was (rules/reduce.smk)."""


rule combine_flats:
    """Reduced flats of a group -> combined flat: less bias and dark, mean 1."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"combined/[^/]+/flat.+",
    localrule: True
    threads: all_cores
    params:
        members=sources,
        combined=product,
    message:
        "{params.members} -> {params.combined}"
    run:
        make(wildcards, threads)  # ccdflow.kinds.flat.FLAT.make


rule flat_table:
    """Figures of all combined flats -> flat_quality.csv."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"flat_quality\.csv",
    localrule: True
    params:
        figures=sources,
        table=product,
    message:
        "{params.figures} -> {params.table}"
    run:
        make(wildcards)  # ccdflow.kinds.quality_tables.FLAT_TABLE.make
