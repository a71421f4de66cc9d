"""Reduced biases to combined biases, and the table of the detector's figures by them.
The output is the job's record, not the product (why: docs/decisions/records-as-outputs.md)."""


rule combine:
    """Reduced biases of a group -> combined bias: outliers left out, clipped average."""
    input:
        records=records_needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"combined/[^/]+/bias.+",
    # Pictures and tables come last: nothing but pages waits for them.
    priority: 1
    localrule: True
    threads: cores_of_master
    params:
        kind="bias",
        members=sources_in_words,
        combined=product_path,
    message:
        "{params.members} -> {params.combined}"
    run:
        make(wildcards, params.kind, threads)


rule bias_table:
    """Figures of all combined biases -> bias_quality.csv."""
    input:
        records=records_needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"bias_quality\.csv",
    localrule: True
    params:
        kind="bias table",
        sources=sources_in_words,
        product=product_path,
    message:
        "{params.sources} -> {params.product}"
    run:
        make(wildcards, params.kind)
