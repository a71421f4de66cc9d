"""The adapter between Snakemake and the library's steward of the run."""

import atexit
import gc
import os
import sys
from functools import partial
from pathlib import Path

SNAKEFILE = Path(workflow.snakefile).absolute().parents[1] / "Snakefile"
sys.path.insert(0, str(SNAKEFILE.parent / "scripts"))

# Imported modules are no garbage, and one search through them takes 0.07 s of the processor's time.
gc.disable()
import ccdflow.lean_imports  # before numpy and astropy
from ccdflow import paths, settings as ccdflow_settings
from ccdflow.errors import UserError, line_with_origin
from ccdflow.run.batches import batch_files, batch_resources
from ccdflow.run.lines import summary
from ccdflow.run.under_snakemake import host, lasting_streams, steward
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger

gc.freeze()
gc.enable()

lasting_streams.outlast(snakemake_logger.handlers)

# If another workflow uses this one, `module ccdflow: config:` gives the settings.
IS_MODULE = host.is_used_as_module(workflow, SNAKEFILE)
# Drawings and lists (--dag, --summary ...) show products; a run's outputs are their records.
IS_VIEW = host.is_view(sys.argv)


def result_or_stop(check, argument):
    """Return the result of ``check(argument)``; for a `UserError` end the process with its line."""
    try:
        return check(argument)
    except UserError as error:
        host.stop(
            line_with_origin(error, paths.CONFIG_FILE, host.given_settings(workflow), "--config ")
        )


result_or_stop(host.check_attributes, workflow)
result_or_stop(host.check_notes_folder, ".snakemake")
if not IS_MODULE and Path(paths.CONFIG_FILE).is_file():
    result_or_stop(ccdflow_settings.check_file, paths.CONFIG_FILE)

    configfile: paths.CONFIG_FILE


SETTINGS = result_or_stop(
    partial(ccdflow_settings.load_settings, folders=paths.PRODUCT_FOLDERS), config
)


def all_kinds():
    """Return the kinds of products; imported here, because `verify` and batches do not need them."""
    from ccdflow.kinds import CHAIN

    return CHAIN


result_or_stop(
    partial(
        ccdflow_settings.check_both_folders,
        names_given=frozenset(config) if IS_MODULE else host.given_settings(workflow),
    ),
    SETTINGS,
)
RUN = steward.Steward(SETTINGS, all_kinds, notices=ccdflow_settings.lines_on_former_names(config))
RESULTS = RUN.results
if workflow.is_main_process:
    summary.announce_results(RESULTS)


# The key of a job, and the number of its attempt.
wildcard_constraints:
    key=r"[0-9a-f]{16}(\.\d+)?",


if not IS_MODULE:
    RUN.messages.filter_before_run(snakemake_logger.handlers)


def record(product):
    """Return the output of a rule: the record of a product; in views the product itself."""
    name = product if IS_VIEW else f"{paths.DONE_FOLDER}/{product}.{{key}}.json"
    return f"{RESULTS}/{name}"


def log_of(product):
    """Return the log file of a rule: a failed job writes its traceback there."""
    return f"{RESULTS}/{paths.LOGS}/{product}.{'log' if IS_VIEW else '{key}.log'}"


def begin():
    """Make the plan when Snakemake asks for the first target."""
    try:
        host.remove_rate_limit(workflow)
        host.make_jobs_threads(workflow)
        if not IS_MODULE:
            host.leave_out_marks(workflow)
        with host.ended_by_ctrl_c():
            RUN.begin(host.read_host(workflow, sys.argv, is_module=IS_MODULE))
            host.check_rules(workflow, RUN.jobs.first_of_kinds(), SNAKEFILE.parent / "rules")
    except UserError as error:
        host.stop(RUN.line_of(error))
    RUN.messages.filter_run(snakemake_logger.handlers)


def records_wanted(wildcards):
    """Return the records of all products that are not current; in views all products.

    Where Snakemake runs no job, as for a report, it returns the pages, pictures and tables.
    """
    if IS_VIEW:
        return RUN.view(host.read_host(workflow))
    if not host.read_host(workflow).makes_products:
        return published_files()
    begin()
    if RUN.targets:
        return RUN.targets
    if (why := RUN.end()) and not RUN.host.is_dry:
        host.stop(why)
    # A path that exists: without an input Snakemake would run `all` as a job.
    return [RESULTS if Path(RESULTS).is_dir() else str(SNAKEFILE)]


def records_needed(wildcards):
    """Return the records that a job needs, in views products and raw files, as inputs.

    Their times do not count, except those of files that mark a product as out of date in views.
    """
    if not IS_VIEW:
        return list(map(ancient, RUN.jobs.record_paths_needed(wildcards.product)))
    older_files, newer_files = RUN.view_needs(wildcards.product)
    return [*map(ancient, older_files), *newer_files]


def product_path(wildcards):
    """Return the path of the product that a job puts in place."""
    return f"{RESULTS}/{RUN.jobs.job(wildcards.product).product}"


def make(wildcards, kind, threads=1):
    """Make the product of a job by the kind of its rule; write its record even if the job fails.

    The kind's module has the code: `Kind.make` of `scripts/ccdflow/kinds/`.
    """
    try:
        RUN.make(wildcards.product, kind, threads=threads)
    except steward.JobFailed as error:
        raise WorkflowError(str(error)) from None


def check_made(path):
    """Raise `WorkflowError` with the reason if a product that was asked for is missing."""
    try:
        RUN.check_made(path)
    except steward.JobFailed as error:
        raise WorkflowError(str(error)) from None


def verify(folders, *, verifies_all_products, expected, threads):
    """Verify products; raise `WorkflowError` if one differs or cannot be made again."""
    # Imported here, because no other rule needs ccdproc; a process of its own would take 0.8 s.
    from ccdflow import command_lines
    from ccdflow.run.ledger import noted_fits_products
    from ccdflow.verify.command import VerifyRequest, verify_and_report

    request = VerifyRequest(
        verifies_all_products=verifies_all_products,
        expected_causes=(expected,) if isinstance(expected, str) else tuple(expected),
        threads=threads,
    )
    verify_folders = partial(
        verify_and_report, *folders, request, notes_by_product=noted_fits_products(RESULTS)
    )
    if command_lines.run_parsed(verify_folders):
        raise WorkflowError("not all products are verified: see the lines above")


def end():
    """Write the last lines of the run; raise `WorkflowError` if it has failed."""
    if why := RUN.end():
        raise WorkflowError(why)


def end_as_module():
    """End the run of a module: Snakemake does not call `onsuccess` and `onerror` of a module."""
    RUN.make_remaining()
    if why := RUN.end():
        host.stop(why)


def end_after_a_crash():
    """End the run after a crash of Snakemake, which does not call `onerror` then."""
    if RUN.messages.is_crashed:
        RUN.end()


atexit.register(end_as_module if IS_MODULE else end_after_a_crash)
