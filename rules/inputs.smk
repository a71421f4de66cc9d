"""Functions for the inputs, threads and resources of rules, stage by stage."""


def raw_frame(wildcards):
    """Return the raw file of a job, as a parameter of the rule; the job itself checks the file.

    If it were an input, its removal during the run would end the whole run.
    """
    return RUN.jobs.raw_frame(wildcards.product)


def raw_if_drawn(wildcards):
    """Return the raw file as an input, for drawings and dry runs alone; its time does not count."""
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


def cores_of_master(wildcards):
    """Return the cores of a master's job: all, or half of them beside other masters of its kind."""
    return RUN.jobs.cores_of(wildcards.product, host.cores_of_run(workflow))


def batch_path(wildcards):
    """Return the file of a batch."""
    return f"{RESULTS}/{batch_files.path_of(wildcards.name, wildcards.key)}"


def batch_file(wildcards):
    """Return a batch's file as an input; [] in a dry run, which writes no such file.

    Its time does not count, because its name has the hash of its content.
    """
    is_planned = RUN.jobs.batch(wildcards.name, wildcards.key) and RUN.host.is_dry
    return [] if is_planned else ancient(batch_path(wildcards))


def earlier_batch_records(wildcards):
    """Return the records of the batches for which a batch waits; cluster nodes call this as well."""
    batch = RUN.jobs.batch(wildcards.name, wildcards.key)
    if batch:
        records = batch.earlier_record_paths
    else:
        records = batch_files.earlier_record_paths(batch_path(wildcards))
    return [ancient(f"{RESULTS}/{name}") for name in records]


def size_of_batch(wildcards):
    """Return the size of a batch, without planning: cluster nodes call this as well."""
    batch = RUN.jobs.batch(wildcards.name, wildcards.key)
    return batch.size if batch else batch_files.size_of(batch_path(wildcards))


def cores_of_batch(wildcards):
    """Return the cores of a batch's job: all on this machine, on a cluster an estimate."""
    if host.is_main_and_local(workflow):
        return host.cores_of_run(workflow)
    return batch_resources.cores(size_of_batch(wildcards))


def memory_of_batch(wildcards, attempt, threads):
    """Return the memory of a batch's job, in MB."""
    return batch_resources.memory(
        size_of_batch(wildcards),
        attempt=attempt,
        combine_memory=SETTINGS["limits"]["combine_memory"],
        threads=threads,
    )


def minutes_of_batch(wildcards, attempt, threads):
    """Return the time limit of a batch's job, in minutes."""
    return batch_resources.runtime(size_of_batch(wildcards), attempt=attempt, threads=threads)


def parent_option(wildcards):
    """Return the option by which a batch ends with this process; '' on a cluster: jobs go on there."""
    return "--parent $PPID" if host.is_main_and_local(workflow) else ""


def record_by_name(wildcards):
    """Return the record of a product that is asked for by name, in a list; [] if it is current."""
    if not host.read_host(workflow).makes_products:
        return []
    begin()
    return list(map(ancient, RUN.jobs.record_paths_of([str(wildcards.product)])))


def category_of(wildcards):
    """Return the category under which a report of Snakemake shows a product."""
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
