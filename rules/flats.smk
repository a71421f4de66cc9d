"""The combined flat of each filter, and the table of their figures."""


rule combine_flats:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"combined/[^/]+/flat.+",
    threads: all_cores
    run:
        leave_record(wildcards, log[0], threads=threads)


rule flat_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"flat_quality\.csv",
    run:
        leave_record(wildcards, log[0])
