"""Reduced frames to calibrated frames.
The output is the job's record, not the product (why: docs/decisions/records-as-outputs.md)."""


rule calibrate:
    """Reduced frame, combined bias, dark and flat -> calibrated frame, uncertainty and mask."""
    input:
        records=records_needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"calibrated/.+",
    # Pictures and tables come last: nothing but pages waits for them.
    priority: 1
    localrule: True
    params:
        kind="science",
        frame=sources_in_words,
        calibrated=product_path,
    message:
        "{params.frame} -> {params.calibrated}"
    run:
        make(wildcards, params.kind)
