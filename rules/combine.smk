"""The combined bias of each group, and the figures of the detector that come with it."""


rule combine:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"combined/.+",
    threads: workflow.cores or 1
    run:
        leave_record(wildcards, threads=threads)


rule quality_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"bias_quality\.csv",
    run:
        leave_record(wildcards)
