"""What rules ask for: the functions that give inputs, threads and resources, stage by stage."""

import json
import shlex


def raw_frame(wildcards):
    """Return the raw file; its content decides, not its time, so it is ancient to Snakemake.

    To a run that makes something it is no input: Snakemake would give up, without what else there is
    to make, where a raw file goes away meanwhile. The job itself looks for it.
    """
    path = str(Run.session.context.raw / row_of(wildcards).file)
    # Snakemake would read what is in brackets as a wildcard, or a path's variable.
    return ancient(path) if workflow.dryrun and not set("{}<>") & set(path) else []


def row_of(wildcards):
    """Return the inventory's row of a frame's job."""
    return Run.session.context.row_of(job_of(wildcards).product)


def frame_before(wildcards):
    """Return the record of the frame before it on its lane.

    The scheduler looks at every ready job in every round; so few frames at a time are ready.
    """
    place = Run.places[job_of(wildcards).product] - lanes()
    return ancient(record_of(Run.frames[place])) if place >= 0 else []


def in_order(wildcards):
    """Return a frame's priority: left to itself, the scheduler ends with one lane, on one core."""
    return len(Run.frames) - Run.places[job_of(wildcards).product]


def all_cores(wildcards):
    return workflow.cores


# On a cluster a night is a job. What is not made of one night alone is made where the run was
# started, so that it need not queue.
localrules:
    all,
    reduce,
    combine,
    quality_table,
    picture,
    quality_picture,
    page,
    index_page,
    product,


def order_of(wildcards):
    """Return the file of a record's work order."""
    return f"{RESULTS}/{orders.path_of(wildcards.name, wildcards.key)}"


def order_file(wildcards):
    """Return the work order as an input; its name says what it holds, so its time does not matter."""
    return [] if workflow.dryrun else ancient(order_of(wildcards))


def size_of(wildcards):
    """Return how much there is to do, without planning: a cluster's node asks, too."""
    for order in Run.orders:
        if (order.name, order.key) == (wildcards.name, wildcards.key):
            return order.size
    return orders.size_of(order_of(wildcards))


def cores_of(wildcards):
    """Return the cores that a work order is done with: here all, on a cluster what it is worth."""
    if workflow.is_main_process and workflow.local_exec:
        return workflow.cores
    return orders.threads(size_of(wildcards))


def memory_of(wildcards, attempt, threads):
    """Return the MB that a work order asks for."""
    return orders.memory(
        size_of(wildcards),
        attempt=attempt,
        combining=SETTINGS["limits"]["combine_memory"],
        threads=threads,
    )


def minutes_of(wildcards, attempt, threads):
    """Return the minutes that a work order asks for."""
    return orders.runtime(size_of(wildcards), attempt=attempt, threads=threads)


def child(wildcards):
    """Return the command that does a work order: the same rules, in a warm process of its own.

    It is told all that matters, so that it does not depend on profiles, which it would read only
    in some folders, or on what the user's environment holds.
    """
    own = json.dumps(order_of(wildcards), ensure_ascii=False)
    return shlex.join(
        [
            sys.executable, "-m", "snakemake",
            "--snakefile", str(workflow.main_snakefile),
            "--profile", "none", "--workflow-profile", "none",
            "--executor", "local", "--force-use-threads",
            "--scheduler", "greedy", "--scheduler-subsample", "100",
            "--keep-going", "--nolock", "--drop-metadata", "--rerun-incomplete",
            "--rerun-triggers", "mtime", "--latency-wait", "0", "--nocolor",
            "--config", f"work_order={own}",
        ]
    )  # fmt: skip


def parent(wildcards):
    """Return whom a child must not outlive: here the main process; a cluster's job goes on."""
    return "work_parent=$PPID" if workflow.is_main_process and workflow.local_exec else ""


def record_by_name(wildcards):
    """Return the record of a product that is a target of its own, if it is to be made."""
    if workflow.executor_plugin is None:
        return []
    begin()
    return records_of([str(wildcards.product)])


def category_of(wildcards):
    """Return the part of a report in which a product is shown."""
    folder, *rest = Path(wildcards.product).parts
    return rest[0] if folder == "nights" else "all nights"


def published(wildcards=None):
    """Return the pages, pictures and tables that stand in the results folder."""
    top = Path(RESULTS)
    found = [top / paths.INDEX_PAGE, top / paths.INVENTORY, top / paths.BIAS_QUALITY]
    found += sorted(top.glob("nights/*/*.html")) + sorted(top.glob("nights/*/*.png"))
    return [str(path) for path in found if path.is_file()]
