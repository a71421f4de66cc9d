"""One job a raw frame: overscan subtracted, trimmed, written under results/reduced."""


def raw_frame(wildcards):
    """Return the raw file; its content decides, not its time, so it is ancient to Snakemake."""
    path = str(Run.session.context.raw / row_of(wildcards).file)
    # Snakemake would read a brace as a wildcard.
    return [] if "{" in path or "}" in path else ancient(path)


def row_of(wildcards):
    """Return the inventory's row of a frame's job."""
    return Run.session.context.row_of(job_of(wildcards).product)


def frame_before(wildcards):
    """Return the record of the frame some places before.

    The scheduler looks at every ready job in every round; so few frames at a time are ready.
    """
    lanes = max(16, READY_PER_CORE * (workflow.cores or 1), len(Run.frames) // LONGEST_CHAIN)
    place = Run.places[job_of(wildcards).product] - lanes
    return ancient(record_of(Run.frames[place])) if place >= 0 else []


rule reduce:
    input:
        raw=raw_frame,
        after=frame_before,
    output:
        f"{DONE}/{{product}}.{{key}}.json",
    wildcard_constraints:
        product=r"reduced/.+",
    run:
        leave_record(wildcards)
