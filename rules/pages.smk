"""Pictures and pages of each night, and the overview of all nights. The output is the job's record:
a page that cannot be made anew stays as it was (rules/reduce.smk)."""


rule picture:
    """Raw and reduced frames of a night -> picture of one of each type, before and after."""
    input:
        records=needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"nights/[^/]+/before_after\.png",
    localrule: True
    params:
        shown=sources_in_words,
        picture=product_path,
    message:
        "{params.shown} -> {params.picture}"
    run:
        make(wildcards)  # ccdflow.kinds.frame_pictures.FRAMES_PICTURE.make


use rule picture as quality_picture with:
    """Combined biases of a night -> picture of level, read noise and structure."""
    wildcard_constraints:
        product=r"nights/[^/]+/bias_quality\.png",  # ccdflow.kinds.quality_picture.QUALITY_PICTURE.make
    localrule: True


use rule picture as masters_picture with:
    """Combined darks and flats of a night -> picture of them and their errors."""
    wildcard_constraints:
        product=r"nights/[^/]+/masters\.png",  # ccdflow.kinds.calibrated_pictures.MASTERS_PICTURE.make
    localrule: True


use rule picture as calibrated_picture with:
    """Calibrated frames of a night -> picture of one of each filter, before and after."""
    wildcard_constraints:
        product=r"nights/[^/]+/calibrated\.png",  # ccdflow.kinds.calibrated_pictures.SCIENCE_PICTURE.make
    localrule: True


rule contact_sheet:
    """Reduced and calibrated frames of a night -> their small pictures, and the list of these."""
    input:
        records=needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"nights/[^/]+/frames\.json",
    localrule: True
    params:
        frames=sources_in_words,
        sheet=product_path,
    message:
        "{params.frames} -> {params.sheet}"
    run:
        make(wildcards)  # ccdflow.kinds.contact_sheet.SHEET.make


rule page:
    """Frames, combined biases and pictures of a night -> its page."""
    input:
        records=needed,
    output:
        record=record("{product}"),
    log:
        log_of("{product}"),
    wildcard_constraints:
        product=r"nights/[^/]+/report\.html",
    localrule: True
    params:
        shown=sources_in_words,
        page=product_path,
    message:
        "{params.shown} -> {params.page}"
    run:
        make(wildcards)  # ccdflow.kinds.night_page.NIGHT_PAGE.make


use rule page as index_page with:
    """Pages of all nights -> overview."""
    wildcard_constraints:
        product=r"report\.html",  # ccdflow.kinds.overview.OVERVIEW.make
    localrule: True
