"""Nights (or parts of big ones) handed on as work orders: a cluster job, or a child process, each."""


def order_cores(wildcards):
    return workflow.cores or 1


rule night:
    input:
        f"{RESULTS}/{paths.ORDERS}/{{name}}.json".replace("{{", "{").replace("}}", "}"),
    output:
        f"{DONE}/orders/{{name}}.{{key}}.json",
    wildcard_constraints:
        name=r"[^/]+",
    shell:
        "true"
