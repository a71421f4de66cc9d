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
        leave_record(lambda context, job: work.combine_biases(context, job, threads=threads), wildcards)


rule quality_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"bias_quality\.csv",
    run:
        leave_record(work.write_quality_table, wildcards)
