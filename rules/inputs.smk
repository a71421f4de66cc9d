"""What rules ask for: the functions that give inputs, threads and resources, stage by stage."""


def raw_frame(wildcards):
    """Return the raw file of a job; the job looks for it itself.

    As an input, a raw file that goes away while the run goes on would end all of it.
    """
    return RUN.raw_frame(wildcards.product)


def raw_if_drawn(wildcards):
    """Return the raw file as an input for drawings and dry runs; its content decides."""
    if IS_VIEW:
        return needed(wildcards)
    path = raw_frame(wildcards)
    # Snakemake would read what is in brackets as a wildcard.
    return ancient(path) if RUN.host.is_dry and not set("{}<>") & set(path) else []


def sources(wildcards):
    """Return in words what a product is made of."""
    return RUN.sources(wildcards.product)


def all_cores(wildcards):
    return workflow.cores


# On a cluster a night is a job. What is not made of one night alone is made where the run was
# started, so that it need not queue.
localrules:
    all,
    reduce,
    combine,
    combine_darks,
    combine_flats,
    calibrate,
    quality_table,
    dark_table,
    flat_table,
    associations_table,
    picture,
    quality_picture,
    masters_picture,
    calibrated_picture,
    page,
    index_page,
    product,


def batch_path(wildcards):
    """Return the file of a batch."""
    return f"{RESULTS}/{batches.path_of(wildcards.name, wildcards.key)}"


def batch_file(wildcards):
    """Return a batch's file as an input; its name says what it holds, so its time does not matter."""
    is_planned = RUN.batch(wildcards.name, wildcards.key) and RUN.host.is_dry
    return [] if is_planned else ancient(batch_path(wildcards))


def batches_before(wildcards):
    """Return the records of the batches that a batch waits for; a cluster's node asks, too."""
    planned = RUN.batch(wildcards.name, wildcards.key)
    before = planned.before if planned else batches.before(batch_path(wildcards))
    return [ancient(f"{RESULTS}/{name}") for name in before]


def size_of(wildcards):
    """Return how much there is to do, without planning: a cluster's node asks, too."""
    planned = RUN.batch(wildcards.name, wildcards.key)
    return planned.size if planned else batches.size_of(batch_path(wildcards))


def cores_of(wildcards):
    """Return the cores for a batch: all of them here, on a cluster an estimate."""
    if host.is_main_and_local(workflow):
        return workflow.cores
    return batches.threads(size_of(wildcards))


def memory_of(wildcards, attempt, threads):
    """Return the MB that a batch asks for."""
    return batches.memory(
        size_of(wildcards),
        attempt=attempt,
        combining=SETTINGS["limits"]["combine_memory"],
        threads=threads,
    )


def minutes_of(wildcards, attempt, threads):
    """Return the minutes that a batch asks for."""
    return batches.runtime(size_of(wildcards), attempt=attempt, threads=threads)


def parent(wildcards):
    """Return whom a batch must not outlive: here the main process; a cluster's job goes on."""
    return "--parent $PPID" if host.is_main_and_local(workflow) else ""


def record_by_name(wildcards):
    """Return the record of a product that is a target of its own, if it is to be made."""
    if not host.read(workflow).makes:
        return []
    begin()
    return list(map(ancient, RUN.records_of([str(wildcards.product)])))


def category_of(wildcards):
    """Return the part of a report in which a product is shown."""
    folder, *rest = Path(wildcards.product).parts
    return rest[0] if folder == "nights" else "all nights"


def published():
    """Return the pages, pictures and tables that stand in the results folder."""
    top = Path(RESULTS)
    tables = (paths.INVENTORY, paths.BIAS_QUALITY, paths.DARK_QUALITY, paths.FLAT_QUALITY)
    found = [top / name for name in (paths.INDEX_PAGE, *tables, paths.ASSOCIATIONS)]
    found += sorted(top.glob("nights/*/*.html")) + sorted(top.glob("nights/*/*.png"))
    return [str(path) for path in found if path.is_file()]
