"""The combined bias of each group, and the figures of the detector that come with it."""


rule combine:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"combined/[^/]+/bias.+",
    threads: all_cores
    run:
        leave_record(wildcards, log[0], threads=threads)


rule quality_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"bias_quality\.csv",
    run:
        leave_record(wildcards, log[0])
