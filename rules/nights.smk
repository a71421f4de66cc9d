"""Nights (or parts of big ones) handed on as work orders: a cluster job, or a child process, each."""


rule night:
    input:
        order_file,
    output:
        f"{DONE}/orders/{{name}}.{{key}}.json",
    log:
        f"{DONE}/orders/{{name}}.{{key}}.log",
    wildcard_constraints:
        name=r"[^/]+",
    conda:
        "../envs/environment.yaml"
    threads: cores_of
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
    params:
        child=child,
        parent=parent,
    shell:
        "exec {params.child} {params.parent} --cores {threads}"
