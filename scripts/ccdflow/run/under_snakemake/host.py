"""The options of Snakemake, by attributes of its objects that its documents do not promise.

Only this module and rules/common.smk use such attributes. The caller passes the ``workflow``
object, so no import of Snakemake is needed here. `NEEDED_ATTRIBUTES` has each attribute with the
reason, but for ``workflow.cores``: without ``--cores`` it cannot be read, so that it cannot be
checked before a view. `check_attributes` ends the run if a version of Snakemake lacks one.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ccdflow.errors import UserError

NEEDED_ATTRIBUTES = {
    "basedir": "the folder of the rules: another workflow's if that one uses this as a module",
    "snakefile": "the folder of this workflow, also when another one uses it as a module",
    "executor_plugin": "None where nothing is run: --dag, --summary, --report and their like",
    "dryrun": "a dry run takes no lock and writes nothing",
    "local_exec": "False on a cluster: each night is a batch there",
    "is_main_process": "False on a cluster's node, where a batch has the cores it was given",
    "rules": "a kind of products without a rule is named before the first job",
    "is_rule": "tells a target that is a rule from one that is a file",
    "dag_settings.targets": "a product that is asked for by name cuts the plan down",
    "dag_settings.forcerun": "-R: the plan needs the names of the products to be made again",
    "dag_settings.forceall": "-F",
    "dag_settings.forcetargets": "-f",
    "config_settings.config": "a wrong setting is the command line's fault, not the file's",
    "execution_settings.latency_wait": "a network may show another node's record late",
    "scheduling_settings.max_jobs_per_timespan": (
        "the limit starts a timer in each round, and each timer another round: a third of the"
        " processor's time after 1,000 frames"
    ),
    "output_settings.verbose": "--verbose shows debug messages, of ccdflow as well",
    "execution_settings.use_threads": (
        "jobs know the plan as threads of the process that made it; a profile in the place of"
        " profiles/default makes them processes"
    ),
    "execution_settings.keep_metadata": "false with --drop-metadata, as in profiles/default",
    "scheduler.resources": (
        "with one core more than there are, the next job is started before another has ended, and"
        " no core is idle while Snakemake looks for it"
    ),
    "persistence.started": "writes a file for each job, which marks its output as incomplete",
    "persistence.finished": "removes that file",
}
"""The attributes of Snakemake's objects that ccdflow uses, and the reason for each."""

# On a cluster --cores need not be given: the main process then has this many cores. With more, it
# would take those of other users of the login node; with one, a single process reads the headers,
# in twice the time. Chosen, not measured.
_CORES_OF_LOGIN_NODE = 2
# The options of Snakemake that ask for a drawing or a list of products.
_VIEW_OPTIONS = {
    "--dag", "--rulegraph", "--filegraph", "--d3dag", "--summary", "-S",
    "--detailed-summary", "-D",
}  # fmt: skip


@dataclass(frozen=True)
class Host:
    """The options that Snakemake was given.

    Attributes
    ----------
    cores : int
        Number of cores of the run; on a cluster that of the main process.
    is_dry : bool
        Whether the run only plans, and makes nothing.
    is_local : bool
        Whether jobs run on this machine, and not on a cluster.
    names_all_jobs : bool
        Whether a dry run has a line for every job.
    makes_products : bool
        Whether Snakemake runs jobs: False for reports and views.
    targets : tuple of str
        Paths of files that are asked for by name.
    forced : frozenset of str
        Names of rules, and paths of files, that are to be made again (-R, -f).
    forces_all : bool
        Whether all products are to be made again (-F).
    settings_given : frozenset of str
        Names of the settings on the command line.
    is_verbose : bool
        Whether debug messages are shown.
    is_module : bool
        Whether another workflow uses this one as a module.
    latency : float
        Seconds after which a file of another node is visible at the latest (`--latency-wait`); the
        default is Snakemake's own.
    """

    cores: int = 1
    is_dry: bool = False
    is_local: bool = True
    names_all_jobs: bool = False
    makes_products: bool = True
    targets: tuple[str, ...] = ()
    forced: frozenset[str] = frozenset()
    forces_all: bool = False
    settings_given: frozenset[str] = frozenset()
    is_verbose: bool = False
    is_module: bool = False
    latency: float = 5.0


def missing_attributes(workflow):
    """Return the attributes of `NEEDED_ATTRIBUTES` that a version of Snakemake lacks."""
    return [name for name in NEEDED_ATTRIBUTES if not _has_attribute(workflow, name)]


def _has_attribute(workflow, name):
    """Return whether a dotted attribute exists, or its owner is not set yet."""
    try:
        _attribute_if_set(workflow, name)
    except AttributeError:
        return False
    return True


def _attribute_if_set(workflow, name):
    """Return the value of a dotted attribute; None while Snakemake has not set its owner yet."""
    value = workflow
    for part in name.split("."):
        value = None if value is None else getattr(value, part)
    return value


def check_attributes(workflow):
    """Check that this version of Snakemake has all attributes of `NEEDED_ATTRIBUTES`.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow

    Raises
    ------
    UserError
        If it lacks one of them, with its name.
    """
    if names := missing_attributes(workflow):
        name = names[0]
        raise UserError(
            f"this version of Snakemake has no workflow.{name} ({NEEDED_ATTRIBUTES[name]})",
            remedy="use the version of envs/requirements.txt, and report this",
        )


def check_notes_folder(notes):
    """Check that Snakemake can write its notes: without this check it would end with a traceback.

    Parameters
    ----------
    notes : path-like
        ``.snakemake`` in the current folder; made here if it is missing.

    Raises
    ------
    UserError
        If the folder cannot be made or written to.
    """
    try:
        os.makedirs(notes, exist_ok=True)  # noqa: PTH103
        is_writable = os.access(notes, os.W_OK | os.X_OK)
        problem = "permission denied or a read-only disk"
    except FileExistsError:
        is_writable, problem = False, "a file is in the way"
    except OSError as error:
        is_writable, problem = False, error.strerror
    if not is_writable:
        raise UserError(
            f"Snakemake cannot keep its notes in the current folder ({problem})",
            file=os.path.abspath(notes),  # noqa: PTH100
            remedy="run it in a folder that can be written: snakemake --directory FOLDER",
        )


def can_write(folder):
    """Return whether this user may write files into a folder, or may make the folder.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    bool
    """
    place = Path(folder).absolute()
    existing_folder = next(folder for folder in (place, *place.parents) if folder.exists())
    return os.access(existing_folder, os.W_OK | os.X_OK)


def given_settings(workflow):
    """Return the names of the settings given on the command line."""
    return frozenset(_attribute_if_set(workflow, "config_settings.config") or ())


def read_host(workflow, arguments=(), *, is_module=False):
    """Return the `Host` of a workflow; call it once Snakemake builds its graph of jobs.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
    arguments : sequence of str, optional
        Arguments of the command line.
    is_module : bool, optional
        Whether another workflow uses this one as a module.

    Returns
    -------
    Host

    Raises
    ------
    UserError
        If this version of Snakemake lacks an attribute.
    """
    check_attributes(workflow)
    options = workflow.dag_settings
    forces_all = options.forceall or (options.forcetargets and not options.targets)
    rules_and_targets = set(options.forcerun) | (
        set(options.targets) if options.forcetargets else set()
    )
    return Host(
        cores=cores_of_run(workflow) if workflow.local_exec else _CORES_OF_LOGIN_NODE,
        is_dry=workflow.dryrun,
        is_local=workflow.local_exec,
        names_all_jobs=wants_all_lines(arguments),
        makes_products=workflow.executor_plugin is not None,
        targets=tuple(sorted(name for name in options.targets if not workflow.is_rule(name))),
        forced=frozenset(rules_and_targets),
        forces_all=bool(forces_all),
        settings_given=given_settings(workflow),
        is_module=is_module,
        is_verbose=bool(_attribute_if_set(workflow, "output_settings.verbose")),
        latency=_attribute_if_set(workflow, "execution_settings.latency_wait") or 0.0,
    )


def check_rules(workflow, jobs_and_records, folder):
    """Raise `UserError` if no rule makes the products of a kind.

    Snakemake would end the run with a MissingInputException, which names no kind.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
    jobs_and_records : iterable of (ccdflow.run.job.Job, str)
        A job of each kind, and the path of its record.
    folder : path-like
        The folder of the rules.

    Raises
    ------
    UserError
        For the first kind without a rule.
    """
    rules = list(workflow.rules)
    for job, record in jobs_and_records:
        if not any(rule.is_producer(record) for rule in rules):
            raise UserError(
                f"no rule makes {job.product}, a product of the kind {job.kind!r}",
                file=str(folder),
                allowed=f"a rule with kind={job.kind!r} in params, whose pattern of product has it",
                remedy="add the rule as CONTRIBUTING.md describes it (A new kind of product)",
                needs_run=True,
            )


def cores_of_run(workflow):
    """Return the number of cores that a run on this machine may use.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow

    Returns
    -------
    int
        All cores of the machine with ``-j unlimited``. 1 where no job is run: such a command needs
        no ``--cores``.
    """
    if workflow.executor_plugin is None:
        return 1
    cores = workflow.cores or 1
    return len(os.sched_getaffinity(0)) if cores == sys.maxsize else cores


def is_main_and_local(workflow):
    """Return whether the user started this very process, and jobs run on this machine."""
    return workflow.is_main_process and workflow.local_exec


def remove_rate_limit(workflow):
    """Remove Snakemake's limit on the rate of jobs, if jobs run on this machine."""
    if workflow.local_exec:
        workflow.scheduling_settings.max_jobs_per_timespan = None


def make_jobs_threads(workflow):
    """Let Snakemake run jobs in threads of this process, also if profiles/default is not read.

    A job in another process would fail, because that process has no plan.
    """
    if workflow.is_main_process:
        workflow.execution_settings.use_threads = True


def start_one_more(workflow, *, is_module):
    """Let Snakemake start one job more than there are cores; this job waits in `Steward.make`.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        Its scheduler exists from `onstart` on.
    is_module : bool
        Whether another workflow uses this one. Then nothing is changed: jobs of the other
        workflow's rules would not wait.
    """
    if not is_module:
        workflow.scheduler.resources["_cores"] += 1


def leave_out_marks(workflow):
    """Let Snakemake write no marks of incomplete outputs, if jobs run on this machine.

    A record gets its name only when it is whole, so no output is ever incomplete. The marks take a
    fifth of Snakemake's time for a job. If Snakemake keeps its metadata, it writes the marks as
    well.
    """
    if not workflow.local_exec or workflow.execution_settings.keep_metadata:
        return

    workflow.persistence.started = _write_no_mark
    workflow.persistence.finished = _remove_no_mark


def _write_no_mark(job, external_jobid=None):
    """Do nothing when a job starts, in the place of Snakemake's function."""


async def _remove_no_mark(job):
    """Do nothing when a job has ended, in the place of Snakemake's function."""


@contextmanager
def ended_by_ctrl_c():
    """Let Ctrl-C end the process with one line, inside this context.

    Snakemake would wait for the end of the plan, which reads headers, and then show a traceback.
    """
    earlier_handler = signal.getsignal(signal.SIGINT)
    can_handle = callable(earlier_handler) and threading.current_thread() is threading.main_thread()
    if can_handle:
        signal.signal(signal.SIGINT, _stop_before_jobs)
    try:
        yield
    finally:
        if can_handle:
            signal.signal(signal.SIGINT, earlier_handler)


def _stop_before_jobs(signal_number, frame):
    """End the process with the line on a run that Ctrl-C has ended (a handler of signals)."""
    stop("ended by Ctrl-C before any product was made: run again", status=130)


def is_view(arguments):
    """Return whether the arguments of Snakemake ask for a drawing or a list of products."""
    return bool(_VIEW_OPTIONS & {argument.partition("=")[0] for argument in arguments})


def wants_all_lines(arguments):
    """Return whether the arguments of Snakemake contain ``-p``: a dry run then names every job."""
    return any(re.fullmatch(r"--printshellcmds|-\w*p\w*", argument) for argument in arguments)


def is_used_as_module(workflow, snakefile):
    """Return whether another workflow uses this one as a module.

    The folder of `snakefile` counts as it is named, even if the file is a link.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
    snakefile : path-like
        The Snakefile of ccdflow.

    Returns
    -------
    bool
    """
    return Path(workflow.basedir).resolve() != Path(snakefile).parent.resolve()


def stop(text, *, status=1):
    """End the process with one line, without Snakemake's line on the place in the Snakefile.

    Parameters
    ----------
    text : str
        The line, without the name of ccdflow.
    status : int, optional
        Exit status.
    """
    print(f"ccdflow: {text}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
