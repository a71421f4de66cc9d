"""Tables of the products of all nights: of masters, of calibrated frames, of detectors.
The output is the job's record, not the product (why: docs/decisions/records-as-outputs.md)."""


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


# The other tables have the input, output and job of the first one. Each has `localrule: True`
# again: without it Snakemake takes the new rule for one of the cluster.
use rule bias_table as dark_table with:
    """Figures of all combined darks -> dark_quality.csv."""
    wildcard_constraints:
        product=r"dark_quality\.csv",
    localrule: True
    params:
        kind="dark table",


use rule bias_table as flat_table with:
    """Figures of all combined flats -> flat_quality.csv."""
    wildcard_constraints:
        product=r"flat_quality\.csv",
    localrule: True
    params:
        kind="flat table",


use rule bias_table as associations_table with:
    """Masters of all calibrated frames -> associations.csv."""
    wildcard_constraints:
        product=r"associations\.csv",
    localrule: True
    params:
        kind="associations",


use rule bias_table as bad_pixels with:
    """Bad pixels of all nights of an epoch -> map, with the first and last night of each."""
    wildcard_constraints:
        product=r"detector/[^/]+/bad_pixels_[^/]+",
    localrule: True
    params:
        kind="bad pixels",


use rule bias_table as detector_table with:
    """Measurements of all nights -> detector.csv."""
    wildcard_constraints:
        product=r"detector\.csv",
    localrule: True
    params:
        kind="detector table",


use rule bias_table as trends with:
    """Biases and detectors of all nights -> events.csv: steps in their figures, with dates."""
    wildcard_constraints:
        product=r"events\.csv",
    localrule: True
    params:
        kind="trends",
