"""ccdflow: raw CCD frames to calibrated frames, by way of combined biases, darks and flats.

    snakemake --cores 2 --config raw=FOLDER results=FOLDER

docs/architecture.md says how data flows and why it is built so.
"""

from snakemake.utils import min_version

min_version("9.0")


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/reduce.smk"
include: "rules/combine.smk"
include: "rules/darks.smk"
include: "rules/flats.smk"
include: "rules/calibrate.smk"
include: "rules/pages.smk"
include: "rules/nights.smk"
include: "rules/published.smk"


rule all:
    default_target: True
    input:
        wanted,


onstart:
    heed_signals()


onsuccess:
    end_run()


onerror:
    make_the_rest()
    end_run()
