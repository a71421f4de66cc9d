"""Raw frames to reduced frames. The output is the job's record, not the reduced frame: Snakemake
would delete a good product before its job starts anew, and again when that fails."""


rule reduce:
    """Raw frame -> reduced frame: overscan subtracted, trimmed."""
    input:
        raw=raw_if_drawn,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"reduced/.+",
    localrule: True
    params:
        kind="frame",
        raw=raw_frame,
        reduced=product_path,
    message:
        "{params.raw} -> {params.reduced}"
    run:
        make(wildcards, params.kind)
