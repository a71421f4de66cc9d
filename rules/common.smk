"""The run: settings, plan, and the functions that give rules their inputs. No numerics."""

import logging
import os
import sys

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from ccdflow import ledger, makers, paths, session, settings as ccdflow_settings
from ccdflow.errors import CcdflowError, UserError
from ccdflow.plan import FRAME, describe
from ccdflow.progress import Progress
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger

# A run with more cores than this still keeps that many frames ready for each.
READY_PER_CORE = 4
# Chains of frames are at most this long: Snakemake follows them by recursion.
LONGEST_CHAIN = 100


def stop(error):
    """End Snakemake with one line."""
    print(f"ccdflow: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    logging.shutdown()
    os._exit(1)


try:
    SETTINGS = ccdflow_settings.load(config)
except UserError as error:
    sys.exit(f"ccdflow: {error}")

RESULTS = str(Path(SETTINGS["results"]))
# A brace in the folder's name is not a wildcard.
DONE = f"{RESULTS}/{paths.DONE}".replace("{", "{{").replace("}", "}}")


wildcard_constraints:
    key=r"[0-9a-f]{16}(\.\d+)?",


class Run:
    """What the main process knows: it is filled when Snakemake asks for the first target."""

    session = None
    progress = None
    order = config.get("order")
    # Frames in the order they are made in, and their places.
    frames = ()
    places = {}
    # What each order's record stands for, and which order makes a product.
    orders = {}
    order_of = {}


def wanted(wildcards):
    """Return the records of all that is not current: the plan is made here, once."""
    if workflow.executor_plugin is None:
        # `--report`, `--dag` and their like make nothing.
        return published()
    if Run.session is None:
        try:
            begin_run()
        except UserError as error:
            stop(error)
    return Run.targets


def begin_run():
    dry = workflow.dryrun
    if workflow.local_exec:
        # Snakemake's limit of jobs a second starts a timer in each round, and each timer another
        # round: a third of the processor's time after 1,000 frames, and more with each.
        workflow.scheduling_settings.max_jobs_per_timespan = None
    if Run.order:
        Run.session = session.read_order(Run.order, raw=SETTINGS["raw"], results=SETTINGS["results"])
    else:
        Run.session = session.start(SETTINGS, dry=dry, progress=headers_read)
        for line in describe(Run.session.plan):
            say(line)
    jobs = Run.session.plan.jobs
    frames = Run.session.plan.of_kind(FRAME)
    Run.progress = Progress(len(frames), mode=SETTINGS["progress"])
    Run.orders, Run.order_of = {}, {}
    if not Run.order and (len(frames) > SETTINGS["frames_per_order"] or not workflow.local_exec):
        Run.orders = session.split(Run.session, each_night=not workflow.local_exec, write=not dry)
        Run.order_of = {
            product: order for order in Run.orders.values() for product in order.products
        }
    Run.frames = [job for job in frames if job.product not in Run.order_of]
    Run.places = {job.product: place for place, job in enumerate(Run.frames)}
    own = [job for job in jobs.values() if job.product not in Run.order_of]
    Run.targets = [record_of(job) for job in own] + [
        f"{RESULTS}/{order.done}" for order in Run.orders.values()
    ]
    if not Run.targets:
        lines, failed = session.finish(Run.session)
        for line in lines:
            say(line)
        if failed and not dry:
            stop("frames were set aside, and `strict` makes that a failure")
        Run.targets = [RESULTS if Path(RESULTS).is_dir() else workflow.main_snakefile]
    elif not dry and SETTINGS["progress"] != "none":
        hush()


def end_run():
    """Take in what the jobs left and say how things stand; the last lines of a run."""
    if Run.session is None or Run.order:
        return
    lines, failed = session.finish(Run.session)
    for line in lines:
        say(line)
    if failed:
        raise WorkflowError("frames were set aside, and `strict` makes that a failure")


def say(text):
    if Run.progress is not None:
        Run.progress.say(f"ccdflow: {text}")
    else:
        print(f"ccdflow: {text}", file=sys.stderr, flush=True)


def headers_read(done, total):
    if total >= 1000 and (done % 1000 == 0 or done == total):
        say(f"{done} of {total} headers read")


def hush():
    """Keep Snakemake's texts of single jobs off the terminal; they stand in its log file.

    `--config progress=none` leaves them where they are.
    """
    for handler in snakemake_logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(
            handler, logging.FileHandler
        ):
            handler.addFilter(lambda record: record.levelno >= logging.WARNING)


def job_of(wildcards):
    """Return the plan's job that a record's wildcards stand for."""
    product, _ = paths.parse_done(f"{paths.DONE}/{wildcards.product}.{wildcards.key}.json")
    return Run.session.plan.jobs[product]


def record_of(job):
    """Return the path of a job's record as Snakemake sees it."""
    return f"{RESULTS}/{job.done}"


def needed(wildcards):
    """Return the records of what a job needs that this run makes, too."""
    jobs = Run.session.plan.jobs
    records = []
    for product in job_of(wildcards).needs:
        order = Run.order_of.get(product)
        if order is not None:
            records.append(f"{RESULTS}/{order.done}")
        elif product in jobs:
            records.append(record_of(jobs[product]))
    return list(map(ancient, dict.fromkeys(records)))


def leave_record(wildcards, **options):
    """Make a job's product and leave its record; a full disk is one line."""
    job = job_of(wildcards)
    try:
        record = makers.make(Run.session.context, job, **options)
        ledger.write_record(RESULTS, record, job.done)
    except OSError as error:
        raise WorkflowError(
            f"{job.product} cannot be written ({error.strerror or error}); what was finished is whole:"
            " make room, and run again"
        ) from None
    except CcdflowError as error:
        raise WorkflowError(f"{job.product}: {error}") from None
    return record
