"""Pictures and pages of each night, and the overview of all nights."""


rule picture:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"nights/[^/]+/before_after\.png",
    run:
        leave_record(wildcards)


rule quality_picture:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"nights/[^/]+/bias_quality\.png",
    run:
        leave_record(wildcards)


rule page:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"nights/[^/]+/report\.html",
    run:
        leave_record(wildcards)


rule index_page:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"report\.html",
    run:
        leave_record(wildcards)
