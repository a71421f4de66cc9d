"""Raw frames to reduced frames: `make` of rules/common.smk calls `make` of the kind, which is in
scripts/ccdflow/kinds/reducing/frame.py. The output is the job's record, not the product
(why: docs/decisions/records-as-outputs.md)."""


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
