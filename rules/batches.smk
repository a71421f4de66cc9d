"""Batches of nights, or of parts of large nights: each is a job of the cluster, or a process on this
machine. The output is the record of the batch, which is written when each of its jobs has left a record.
All other rules are local: their jobs need no place in the queue of a cluster."""


rule night:
    """Batch: raw frames of nights, or of a part of a night -> their products, in one process."""
    input:
        file=batch_file,
        earlier_records=earlier_batch_records,
    output:
        record=f"{RESULTS}/{paths.DONE_FOLDER}/batches/{{name}}.{{key}}.json",
    log:
        f"{RESULTS}/{paths.LOGS}/batches/{{name}}.{{key}}.log",
    wildcard_constraints:
        name=r"[^/]+",
    conda:
        "../envs/environment.yaml"
    threads: cores_of_batch
    resources:
        mem_mb=memory_of_batch,
        runtime=minutes_of_batch,
    params:
        python=sys.executable,
        program=str(SNAKEFILE.parent / "scripts" / "batch.py"),
        batch=batch_path,
        parent=parent_option,
    message:
        "batch {wildcards.name} -> its products"
    shell:
        "exec {params.python:q} {params.program:q} {params.batch:q} --cores {threads} {params.parent}"
