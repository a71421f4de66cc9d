"""Combined darks and flats to what they say of the detector: bad pixels, gain, trends. The output is
the job's record: a product that cannot be made anew stays as it was (rules/reduce.smk)."""


rule measure_detector:
    """Combined darks and flats of a night, and their members -> bad pixels and gains."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"detector/[^/]+/[^/]+/pixels_.+",
    localrule: True
    params:
        masters=sources,
        measured=product,
    message:
        "{params.masters} -> {params.measured}"
    run:
        make(wildcards)  # ccdflow.kinds.detector_measurement.DETECTOR.make


rule map_shutter:
    """Flats of several exposures of a night -> the dead time of the shutter across the image."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"detector/[^/]+/[^/]+/shutter_.+",
    localrule: True
    params:
        flats=sources,
        map=product,
    message:
        "{params.flats} -> {params.map}"
    run:
        make(wildcards)  # ccdflow.kinds.shutter.SHUTTER.make


rule bad_pixels:
    """Bad pixels of all nights of an epoch -> map, with the first and last night of each."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"detector/[^/]+/bad_pixels_[^/]+",
    localrule: True
    params:
        nights=sources,
        map=product,
    message:
        "{params.nights} -> {params.map}"
    run:
        make(wildcards)  # ccdflow.kinds.bad_pixel_map.BAD_PIXELS.make


rule detector_table:
    """What all nights say of the detectors -> detector.csv."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"detector\.csv",
    localrule: True
    params:
        measured=sources,
        table=product,
    message:
        "{params.measured} -> {params.table}"
    run:
        make(wildcards)  # ccdflow.kinds.detector_table.DETECTOR_TABLE.make


rule trends:
    """Biases and detectors of all nights -> events.csv: steps in their figures, with dates."""
    input:
        needed,
    output:
        record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"events\.csv",
    localrule: True
    params:
        measured=sources,
        events=product,
    message:
        "{params.measured} -> {params.events}"
    run:
        make(wildcards)  # ccdflow.kinds.trends.TRENDS_TABLE.make
