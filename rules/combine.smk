"""Reduced biases to combined biases.
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
