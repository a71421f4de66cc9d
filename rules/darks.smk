"""Reduced darks to combined darks, and the table of what they say of the detector. The output is
the job's record: a product that cannot be made anew stays as it was (rules/reduce.smk)."""


rule combine_darks:
    """Reduced darks of a group -> combined dark: less the combined bias, outliers left out."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"combined/[^/]+/dark.+",
    localrule: True
    threads: all_cores
    params:
        members=sources,
        combined=product,
    message:
        "{params.members} -> {params.combined}"
    run:
        make(wildcards, threads)  # ccdflow.kinds.dark.DARK.make


rule dark_table:
    """Figures of all combined darks -> dark_quality.csv."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"dark_quality\.csv",
    localrule: True
    params:
        figures=sources,
        table=product,
    message:
        "{params.figures} -> {params.table}"
    run:
        make(wildcards)  # ccdflow.kinds.quality_tables.DARK_TABLE.make
