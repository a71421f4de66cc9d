"""Pictures and pages of each night, and the overview of all nights."""


rule picture:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"nights/[^/]+/before_after\.png",
    run:
        leave_record(wildcards, log[0])


rule quality_picture:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"nights/[^/]+/bias_quality\.png",
    run:
        leave_record(wildcards, log[0])


rule page:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"nights/[^/]+/report\.html",
    run:
        leave_record(wildcards, log[0])


rule index_page:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"report\.html",
    run:
        leave_record(wildcards, log[0])
