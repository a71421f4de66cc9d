"""The run: settings, plan, and the functions that give rules their inputs. No numerics."""

import gc
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from contextlib import suppress

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from ccdflow import kinds, paths, settings as ccdflow_settings
from ccdflow.run import claims, ledger, orders, session, summary
from ccdflow.errors import CcdflowError, UserError
from ccdflow.run.describe import describe, others
from ccdflow.run.progress import Progress
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger as snakemake_logger

# Frames that are kept ready or at work for each core: the scheduler looks at each in every round.
READY_PER_CORE = 2
# Chains of frames are at most this long (600 have been seen to work): with nine lanes a tiny frame
# took 17 ms, with one 12.
LONGEST_CHAIN = 400


# Snakemake's thread gives way at each system call, and waits this long to go on: five times longer
# by default, which left the cores idle for a third of the time.
sys.setswitchinterval(0.0003)


def stop(error, *, status=1):
    """End Snakemake with one line."""
    print(f"ccdflow: {error}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    logging.shutdown()
    os._exit(status)


if "work_order" not in config and Path(ccdflow_settings.NAME).is_file():
    try:
        ccdflow_settings.check_file(ccdflow_settings.NAME)
    except UserError as error:
        stop(error)

    configfile: ccdflow_settings.NAME


def where_it_was_given(error):
    """Return an error's line: what was given on the command line is no fault of the file's."""
    key = str(error.keyword).split(".")[0]
    if error.file == ccdflow_settings.NAME and key in workflow.config_settings.config:
        return f"--config {error.reason}"
    return str(error)


try:
    SETTINGS = (
        orders.settings_of(config["work_order"])
        if "work_order" in config
        else ccdflow_settings.load(config)
    )
except UserError as error:
    stop(where_it_was_given(error))
except claims.Withdrawn as error:
    stop(f"{error}: not wanted any more", status=0)

RESULTS = str(Path(SETTINGS["results"]))
DONE = f"{RESULTS}/{paths.DONE}"
if workflow.is_main_process and "work_order" not in config:
    summary.begin(RESULTS)


wildcard_constraints:
    key=r"[0-9a-f]{16}(\.\d+)?",


class Run:
    """What a process knows of its run: filled when Snakemake asks for the first target."""

    session = None
    progress = None
    # Frames that this process makes, in order, and their places.
    frames = ()
    places = {}
    # What is handed on: orders, and which of them makes a product.
    orders = []
    order_of = {}
    # The work order that this process does: the lock on it, and who says how far it is.
    claim = None
    reporter = None
    # Whether it was told to end, and the signals that ended its children.
    told_to_end = False
    signals = set()


def wanted(wildcards):
    """Return the records of all that is not current."""
    if workflow.executor_plugin is None:
        # `--report`, `--dag` and their like make nothing.
        return published()
    begin()
    return Run.targets


def begin():
    """Make the plan, once: when Snakemake asks for the first target."""
    if Run.session is not None:
        return
    try:
        begin_order() if "work_order" in config else begin_run()
    except UserError as error:
        text = where_it_was_given(error)
        sum_up(error=text, busy=isinstance(error, session.Busy))
        stop(text)
    except claims.Withdrawn as error:
        stop(f"{error}: not wanted any more", status=0)


def forced():
    """Return the kinds and products that are made again though they are current."""
    options = workflow.dag_settings
    names = set(options.forcerun)
    if options.forceall:
        names |= {kind.rule for kind in kinds.CHAIN}
    elif options.forcetargets:
        names |= set(options.targets) or {kind.rule for kind in kinds.CHAIN}
    found = {name: kinds.by_rule(name) for name in names}
    return frozenset(kind.name if kind else product_of(name) for name, kind in found.items())


def product_of(path):
    """Return the path of a target relative to the results folder."""
    return os.path.relpath(path, RESULTS)


def asked_for():
    """Return the products that are targets of their own, [] where all is asked for."""
    targets = workflow.dag_settings.targets
    return sorted(product_of(name) for name in targets if not workflow.is_rule(name))


def begin_run():
    """Plan, and share out what there is to do."""
    dry = workflow.dryrun
    Run.session = session.start(
        SETTINGS,
        chain=kinds.CHAIN,
        dry=dry,
        progress=headers_read,
        forced=forced(),
        asked=frozenset(asked_for()),
    )
    if asked := asked_for():
        for product in asked:
            check_product(product)
        Run.session.plan.keep_only(asked)
    for line in describe(Run.session.plan):
        say(line)
    frames = len(Run.session.plan.of_kind(kinds.FRAME.name))
    if frames > SETTINGS["frames_per_order"] or not workflow.local_exec:
        Run.orders = hand_on(each_night=not workflow.local_exec, write=not dry)
        Run.order_of = {product: order for order in Run.orders for product in order.products}
    begin_jobs(mode=SETTINGS["progress"])
    if Run.orders and not dry:
        # Each count is a file, perhaps on a network.
        Run.progress.watch(done_elsewhere, every=5.0 if len(Run.orders) > 50 else None)
    if not Run.targets:
        lines, failed = session.finish(Run.session)
        for line in lines:
            say(line)
        sum_up()
        if failed and not dry:
            stop("frames were set aside, and `strict` makes that a failure")
        Run.targets = [RESULTS if Path(RESULTS).is_dir() else workflow.main_snakefile]
    elif not dry and SETTINGS["progress"] != "none":
        hush()


def check_product(product):
    """Raise `UserError` for a target that this run cannot make, with the reason."""
    context = Run.session.context
    if product in context.wanted or product == paths.INVENTORY:
        return
    row = context.row_of(product) if product in context.products else None
    raise UserError(
        f"there is no such product: {row.shown[1]}" if row else "there is no such product",
        file=f"{RESULTS}/{product}",
        allowed=f"a file of {paths.INVENTORY} below {RESULTS}/reduced, packing dropped,"
        " or what is made of them",
    )


def hand_on(*, each_night, write):
    """Write work orders; a full disk is one line."""
    try:
        return orders.split(Run.session, each_night=each_night, write=write)
    except OSError as error:
        raise UserError(
            f"a work order cannot be written ({error.strerror or error})",
            file=RESULTS,
            remedy="make room, and run again; what was finished is whole",
        ) from None


def sum_up(**problem):
    """Leave what the run came to for who started it."""
    if "work_order" not in config:
        summary.end(Run.progress.count if Run.progress else claims.Count(), **problem)


def begin_order():
    """Take over a work order, once nobody else is at work on it."""
    path = config["work_order"]
    if "work_parent" in config:
        claims.die_with(int(config["work_parent"]))
    Run.claim = claims.claim(path, say=say)
    count = lambda: Run.progress.count if Run.progress else claims.Count()
    Run.reporter = claims.Reporter(path, count)
    Run.reporter.start()
    for other in orders.waits_of(path):
        claims.wait_for(f"{RESULTS}/{other}", say=say)
    Run.session = orders.read_order(path, kinds.CHAIN)
    before = orders.tally(Run.session.context)
    # Who has a parent here leaves it to that to say how far they are.
    begin_jobs(mode="none" if "work_parent" in config else "plain", before=before)
    if not Run.targets:
        end_run()
        Run.targets = [path]


def begin_jobs(*, mode, before=claims.Count()):
    """Say what this process makes itself, and begin to count."""
    if workflow.local_exec:
        # Snakemake's limit of jobs a second starts a timer in each round, and each timer another
        # round: a third of the processor's time after 1,000 frames, and more with each.
        workflow.scheduling_settings.max_jobs_per_timespan = None
    jobs = Run.session.plan.jobs.values()
    own = [job for job in jobs if job.product not in Run.order_of]
    Run.frames = [job for job in own if job.kind == kinds.FRAME.name]
    Run.places = {job.product: place for place, job in enumerate(Run.frames)}
    Run.targets = [record_of(job) for job in own] + [record_of(order) for order in Run.orders]
    frames = sum(job.kind == kinds.FRAME.name for job in jobs)
    Run.progress = Progress(
        frames + before.frames,
        others=len(jobs) - frames + before.others,
        what=others(Run.session.plan),
        mode=mode,
    )
    Run.progress.elsewhere(before)
    # What is there by now stays: no search for garbage among it.
    gc.freeze()


def heed_signals():
    """Note that the run was told to end; let Snakemake's own answer to SIGTERM run in a thread.

    It takes a lock that the scheduler often holds, in the very thread that the signal interrupts:
    such a run would wait for itself, for ever.
    """
    answers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}

    def answer(number, frame):
        Run.told_to_end = True
        if number == signal.SIGINT:
            answers[number](number, frame)
        else:
            threading.Thread(target=answers[number], args=(number, frame), daemon=True).start()

    for number, before in answers.items():
        if callable(before):
            signal.signal(number, answer)


def make_the_rest():
    """After something failed, make what is made of several nights of those that are finished.

    To Snakemake, what needs a job that failed cannot be made. But a page shows the figures of other
    nights beside its own, and the table and the overview have them all: they are made without the
    night that failed, and made again when it is there.
    """
    if Run.session is None or Run.told_to_end or "work_order" in config:
        return
    context, jobs = Run.session.context, Run.session.plan.jobs
    is_done = lambda job: os.path.exists(record_of(job))
    for job in Run.session.plan.of_kind(
        *(kind.name for kind in kinds.CHAIN if kind.todo == "write")
    ):
        own = [jobs[need] for need in job.needs if need in jobs and jobs[need].night == job.night]
        if is_done(job) or (job.night and not all(map(is_done, own))):
            continue
        try:
            ledger.write_record(RESULTS, kinds.make(context, job), job.done)
        except (OSError, CcdflowError) as error:
            say(f"{job.product}: {error}")
            return
        Run.progress.tick(other=True)


def done_elsewhere():
    """Return how far all work orders are."""
    counts = [claims.read_count(f"{RESULTS}/{order.path}") for order in Run.orders]
    return claims.Count(
        *(sum(getattr(count, name) for count in counts) for name in ("frames", "aside", "others"))
    )


def end_run():
    """Take in what the jobs left and say how things stand; the last lines of a run."""
    if Run.session is None:
        return
    if Run.orders:
        Run.progress.elsewhere(done_elsewhere())
    Run.progress.end()
    if Run.told_to_end:
        say("the run was told to end; what was finished is whole: run again for the rest")
    undone = [order for order in Run.orders if not Path(f"{RESULTS}/{order.done}").is_file()]
    if undone:
        names = ", ".join(order.name for order in undone[:4]) + ", ..." * (len(undone) > 4)
        say(
            f"{len(undone)} of {len(Run.orders)} work orders were not finished ({names}): run again"
        )
        if Run.signals and not Run.told_to_end:
            say(
                f"a process was ended from outside ({', '.join(sorted(Run.signals))});"
                " if nobody did that, it may have been for want of memory"
            )
    if Run.reporter is not None:
        if orders.close(Run.session.context, config["work_order"]):
            Run.reporter.end()
        return
    lines, failed = session.finish(Run.session)
    for line in lines:
        say(line)
    sum_up()
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
            handler.addFilter(is_shown)


def is_shown(record):
    """Tell whether Snakemake's message is shown: warnings and errors.

    A child that failed has said why itself, and its command line tells nobody anything. That a
    product asked for by name was not there before is why it was asked for.
    """
    if "not present when the DAG was created" in record.getMessage():
        return False
    Run.signals |= set(re.findall(r"died with <Signals\.(\w+)", record.getMessage()))
    is_child = (
        record.rule_name == "night"
        if getattr(record, "event", "") == "job_error"
        else "CalledProcessError" in record.getMessage()
    )
    is_news = record.levelno >= logging.WARNING and not (is_child and workflow.local_exec)
    if is_news and Run.progress is not None:
        Run.progress.clear()
    return is_news


def job_of(wildcards):
    """Return the plan's job that a record's wildcards stand for."""
    product, _ = paths.parse_done(f"{paths.DONE}/{wildcards.product}.{wildcards.key}.json")
    return Run.session.plan.jobs[product]


def record_of(job):
    """Return the path of a job's record as Snakemake sees it."""
    return f"{RESULTS}/{job.done}"


def needed(wildcards):
    """Return the records of what a job needs that this run makes, too.

    Of the frames on a lane the last one will do: it waits for those before it. The scheduler asks
    for each input of each ready job in every round, and a picture has all frames of its night.
    """
    last, others = {}, []
    for product in job_of(wildcards).needs:
        place = Run.places.get(product)
        if place is None:
            others.append(product)
        else:
            last[place % lanes()] = max(place, last.get(place % lanes(), 0))
    frames = [Run.frames[place].product for place in sorted(last.values())]
    return records_of([*frames, *others])


def lanes():
    """Return the number of chains on which this process' frames are strung."""
    return max(READY_PER_CORE * (workflow.cores or 1), len(Run.frames) // LONGEST_CHAIN)


def records_of(products):
    """Return the records of those of some products that this run makes, or has others make."""
    jobs = Run.session.plan.jobs
    records = []
    for product in products:
        order = Run.order_of.get(product)
        if order is not None:
            records.append(f"{RESULTS}/{order.done}")
        elif product in jobs:
            records.append(record_of(jobs[product]))
    return list(map(ancient, dict.fromkeys(records)))


def leave_record(wildcards, log, **options):
    """Make a job's product and leave its record; a full disk is one line, in the job's log, too."""
    job = job_of(wildcards)
    if Run.orders:
        wait_for_records(job)
    try:
        record = kinds.make(Run.session.context, job, **options)
        ledger.write_record(RESULTS, record, job.done)
    except OSError as error:
        raise failure(
            f"{job.product} cannot be written ({error.strerror or error}); what was finished is whole:"
            " make room, and run again",
            log,
        ) from None
    except CcdflowError as error:
        raise failure(f"{job.product}: {error}", log) from None
    if job.kind == kinds.FRAME.name:
        Run.progress.tick(aside=record.status != ledger.MADE)
    else:
        Run.progress.tick(other=True)
    return record


def check_made(path, log):
    """Fail, with the reason, where the job of a product has made none."""
    if os.path.exists(path):
        return
    record = Run.session.context.outcome(product_of(path))
    raise failure(f"{path} was not made: {record.reason if record else 'not asked for'}", log)


def wait_for_records(job):
    """Wait for the records of what other nodes have made: a network may show them late."""
    jobs = Run.session.plan.jobs
    late = [f"{RESULTS}/{jobs[need].done}" for need in job.needs if need in Run.order_of]
    end = time.monotonic() + workflow.execution_settings.latency_wait
    while late := [path for path in late if not os.path.exists(path)]:
        if time.monotonic() > end:
            raise WorkflowError(f"{job.product}: {late[0]} is not to be seen; raise --latency-wait")
        time.sleep(0.5)


def failure(text, log):
    """Return the error that ends a job, once its log says the same."""
    with suppress(OSError):
        Path(log).write_text(f"{text}\n")
    return WorkflowError(text)


if "work_order" in config and SETTINGS["progress"] != "none":
    hush()
