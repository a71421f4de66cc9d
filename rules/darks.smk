"""The combined dark of each exposure and temperature, and the table of their figures."""


rule combine_darks:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"combined/[^/]+/dark.+",
    threads: all_cores
    run:
        leave_record(wildcards, log[0], threads=threads)


rule dark_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"dark_quality\.csv",
    run:
        leave_record(wildcards, log[0])
