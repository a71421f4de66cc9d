"""Functions for the inputs, threads and resources of rules, stage by stage."""


def raw_frame(wildcards):
    """Return the raw file of a job, as a parameter; the job itself checks it.

    As an input, a raw file that is removed during the run would end the whole run.
    """
    return RUN.jobs.raw_frame(wildcards.product)


def raw_if_drawn(wildcards):
    """Return the raw file as an input for drawings and dry runs; its content decides."""
    if IS_VIEW:
        return records_needed(wildcards)
    path = raw_frame(wildcards)
    # Snakemake would read text in brackets as a wildcard.
    return ancient(path) if RUN.host.is_dry and not set("{}<>") & set(path) else []


def sources_in_words(wildcards):
    """Return the sources of a product in words."""
    return RUN.jobs.sources_in_words(wildcards.product)


def all_cores(wildcards):
    """Return the cores of the run, for a job that takes all of them."""
    return host.cores_of_run(workflow)


def some_cores(wildcards):
    """Return the cores for a master: all, or half of them beside others of its kind."""
    return RUN.jobs.cores_of(wildcards.product, host.cores_of_run(workflow))


def batch_path(wildcards):
    """Return the file of a batch."""
    return f"{RESULTS}/{batch_files.path_of(wildcards.name, wildcards.key)}"


def batch_file(wildcards):
    """Return a batch's file as an input; its name has the hash, so its time does not matter."""
    is_planned = RUN.jobs.batch(wildcards.name, wildcards.key) and RUN.host.is_dry
    return [] if is_planned else ancient(batch_path(wildcards))


def earlier_batch_records(wildcards):
    """Return the records of the batches that a batch waits for; cluster nodes call this as well."""
    batch = RUN.jobs.batch(wildcards.name, wildcards.key)
    if batch:
        records = batch.earlier_records
    else:
        records = batch_files.earlier_batch_records(batch_path(wildcards))
    return [ancient(f"{RESULTS}/{name}") for name in records]


def size_of(wildcards):
    """Return the size of a batch, without planning: cluster nodes call this as well."""
    batch = RUN.jobs.batch(wildcards.name, wildcards.key)
    return batch.size if batch else batch_files.size_of(batch_path(wildcards))


def cores_of(wildcards):
    """Return the cores for a batch: all of them here; on a cluster, an estimate."""
    if host.is_main_and_local(workflow):
        return host.cores_of_run(workflow)
    return batch_resources.cores(size_of(wildcards))


def memory_of(wildcards, attempt, threads):
    """Return the memory for a batch, in MB."""
    return batch_resources.memory(
        size_of(wildcards),
        attempt=attempt,
        combine_memory=SETTINGS["limits"]["combine_memory"],
        threads=threads,
    )


def minutes_of(wildcards, attempt, threads):
    """Return the time limit for a batch, in minutes."""
    return batch_resources.runtime(size_of(wildcards), attempt=attempt, threads=threads)


def parent_option(wildcards):
    """Return the option that ends a batch with this process; '' on a cluster, whose jobs go on."""
    return "--parent $PPID" if host.is_main_and_local(workflow) else ""


def record_by_name(wildcards):
    """Return the record of a product requested by name, if it is to be made."""
    if not host.read_host(workflow).makes_products:
        return []
    begin()
    return list(map(ancient, RUN.jobs.records_of([str(wildcards.product)])))


def category_of(wildcards):
    """Return the part of a report that shows a product."""
    folder, *rest = Path(wildcards.product).parts
    return rest[0] if folder == paths.NIGHTS_FOLDER else "all nights"


def published_files():
    """Return the pages, pictures and tables in the results folder."""
    results = Path(RESULTS)
    files = (kind.path_prefix for kind in all_kinds() if not kind.path_prefix.endswith("/"))
    outputs = [results / name for name in (paths.INVENTORY, *files)]
    nights = results / paths.NIGHTS_FOLDER
    outputs += sorted(nights.glob("*/*.html")) + sorted(nights.glob("*/*.png"))
    return [str(path) for path in outputs if path.is_file()]
