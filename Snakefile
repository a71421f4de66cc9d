"""ccdflow: raw CCD frames to calibrated frames, by way of combined biases, darks and flats.

    snakemake --cores 2 --config raw=FOLDER results=FOLDER

docs/architecture.md describes the flow of data and the reasons for the design.
"""

from snakemake.utils import min_version

min_version("9.11.0")


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/reduce.smk"
include: "rules/combine.smk"
include: "rules/darks.smk"
include: "rules/flats.smk"
include: "rules/detector.smk"
include: "rules/calibrate.smk"
include: "rules/tables.smk"
include: "rules/pages.smk"
include: "rules/batches.smk"
include: "rules/verify.smk"


if not IS_VIEW:

    include: "rules/published.smk"


rule all:
    """All products of all nights that are not current."""
    default_target: True
    input:
        records=records_wanted,


onstart:
    RUN.note_signals()
    if RUN.may_start_one_more:
        host.start_one_more(workflow, is_module=IS_MODULE)


onsuccess:
    end()


onerror:
    RUN.make_remaining()
    end()
