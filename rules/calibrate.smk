"""One job a calibrated frame, and the table of the masters that they took."""


rule calibrate:
    input:
        needed,
        after=frame_before,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"calibrated/.+",
    priority: in_order
    run:
        leave_record(wildcards, log[0])


rule associations_table:
    input:
        needed,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"associations\.csv",
    run:
        leave_record(wildcards, log[0])
