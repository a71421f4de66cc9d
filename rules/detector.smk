"""Combined darks and flats to figures of the detector: bad pixels, gain, shutter.
The output is the job's record, not the product (why: docs/decisions/records-as-outputs.md)."""


rule measure_detector:
    """Combined darks and flats of a night, and their members -> bad pixels and gains."""
    input:
        records=records_needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"detector/[^/]+/[^/]+/pixels_.+",
    # Pictures and tables come last: nothing but pages waits for them.
    priority: 1
    localrule: True
    threads: all_cores
    params:
        kind="detector",
        frames=sources_in_words,
        measured=product_path,
    message:
        "{params.frames} -> {params.measured}"
    run:
        make(wildcards, params.kind, threads)


use rule measure_detector as map_shutter with:
    """Flats of several exposures of a night -> the dead time of the shutter across the image."""
    wildcard_constraints:
        product=r"detector/[^/]+/[^/]+/shutter_.+",
    localrule: True
    threads: 1
    params:
        kind="shutter",
