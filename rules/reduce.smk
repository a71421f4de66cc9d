"""One job a raw frame: overscan subtracted, trimmed, written under results/reduced."""


rule reduce:
    input:
        raw=raw_frame,
        after=frame_before,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    log:
        f"{DONE}/{{product}}.{{key}}.log",
    wildcard_constraints:
        product=r"reduced/.+",
    priority: in_order
    run:
        leave_record(wildcards, log[0])
