"""Pictures and pages of each night, and the overview of all nights.
The output is the job's record, not the product (why: docs/decisions/records-as-outputs.md)."""


rule picture:
    """Raw and reduced frames of a night -> picture of one of each type, before and after."""
    input:
        records=records_needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"nights/[^/]+/before_after\.png",
    localrule: True
    params:
        kind="frames picture",
        sources=sources_in_words,
        product=product_path,
    message:
        "{params.sources} -> {params.product}"
    run:
        make(wildcards, params.kind)


use rule picture as quality_picture with:
    """Combined biases of a night -> picture of level, read noise and structure."""
    wildcard_constraints:
        product=r"nights/[^/]+/bias_quality\.png",
    localrule: True
    params:
        kind="bias picture",


use rule picture as masters_picture with:
    """Combined darks and flats of a night -> picture of them and their errors."""
    wildcard_constraints:
        product=r"nights/[^/]+/masters\.png",
    localrule: True
    params:
        kind="masters picture",


use rule picture as calibrated_picture with:
    """Calibrated frames of a night -> picture of one of each filter, before and after."""
    wildcard_constraints:
        product=r"nights/[^/]+/calibrated\.png",
    localrule: True
    params:
        kind="calibrated picture",


use rule picture as contact_sheet with:
    """Reduced and calibrated frames of a night -> their small pictures, and the list of these."""
    wildcard_constraints:
        product=r"nights/[^/]+/frames\.json",
    localrule: True
    params:
        kind="sheet",


use rule picture as page with:
    """All products of a night that its page shows -> the page."""
    wildcard_constraints:
        product=r"nights/[^/]+/report\.html",
    localrule: True
    params:
        kind="page",


use rule picture as index_page with:
    """Pages of all nights -> overview."""
    wildcard_constraints:
        product=r"report\.html",
    localrule: True
    params:
        kind="index",
