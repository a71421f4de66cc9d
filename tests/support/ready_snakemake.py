"""Runs of Snakemake by forks of a process that has imported it: a start costs a fraction.

Imports of Snakemake and of the packages below ccdflow take more CPU time than a small run. A server
has done these imports and forks for each run; the fork gets the arguments, folder, environment and
output of its run, imports ccdflow itself, and ends as any process does. Two servers take turns:
two runs of one test hash strings differently, as two processes do. What is about the start itself
starts a process of its own: the demonstration, the tutorial, the examples, the scripts, Slurm.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
# A fork takes these from its run's environment. Any other difference may matter to the imports of
# the server: such a run is a process of its own.
_OF_A_RUN = ("PYTHONPATH", "PYTEST_CURRENT_TEST", "CCDFLOW_TEST_FAULTS", "CCDFLOW_TEST_CODE")

# The server whose turn it is stands last.
_servers = []


def run(arguments, *, folder, environment=None, seconds=300):
    """Run ``python -m snakemake`` to its end.

    Parameters
    ----------
    arguments : list of str
        Those behind ``python -m snakemake``.
    folder : Path
        The current folder of the run.
    environment : dict, optional
        That of this process if not given.
    seconds : float
        A run that takes longer is killed.

    Returns
    -------
    status : int
        Exit status, negative for a signal.
    output : str
        All that was printed.

    Raises
    ------
    subprocess.TimeoutExpired
        If the run was killed.
    """
    environment = dict(os.environ if environment is None else environment)
    with tempfile.NamedTemporaryFile() as output:
        if _of_imports(environment) != _of_imports(os.environ):
            status = subprocess.run(
                [sys.executable, "-m", "snakemake", *arguments], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=seconds,
                check=False,
            ).returncode  # fmt: skip
        else:
            order = [list(arguments), str(folder), environment, output.name, seconds]
            status = _next_server().run(order)
        if status == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(arguments, seconds)
        return status, Path(output.name).read_text("utf-8", "backslashreplace")


def close():
    """End the servers."""
    while _servers:
        _servers.pop().close()


def _next_server():
    if len(_servers) < 2:
        _servers.append(_Server())
    else:
        _servers.reverse()
    if _servers[-1].environment != _of_imports(os.environ):
        _servers.pop().close()
        _servers.append(_Server())
    return _servers[-1]


class _Server:
    """The process that forks, as its client sees it."""

    def __init__(self):
        self.environment = _of_imports(os.environ)
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process that forks for runs of Snakemake has ended")
        return int(answer)

    def close(self):
        self._process.communicate()


def _of_imports(environment):
    return {name: value for name, value in environment.items() if name not in _OF_A_RUN}


def _import():
    """Import Snakemake, and all that ccdflow's start imports from elsewhere."""
    import snakemake.cli  # noqa: F401

    sys.path[0] = str(SCRIPTS)
    import ccdflow.kinds
    import ccdflow.run.steward  # noqa: F401

    for name in [name for name in sys.modules if name.partition(".")[0] == "ccdflow"]:
        del sys.modules[name]


def _become_run(arguments, folder, environment, output):
    """Turn this fork into the process that ``python -m snakemake`` would be."""
    target = os.open(output, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((nothing, 0), (target, 1), (target, 2)):
        os.dup2(source, descriptor)
    os.close(target)
    os.close(nothing)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    more = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [folder, *more]
    if more:
        sys.modules.pop("sitecustomize", None)
        with suppress(ImportError):
            import sitecustomize  # noqa: F401
    sys.argv[:] = ["-m", *arguments]


def _serve():
    """Fork for each order, and answer with its exit status; return in the fork."""
    _import()
    gc.collect()
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        *order, seconds = json.loads(line)
        run = os.fork()
        if not run:
            return _become_run(*order)
        signal.signal(signal.SIGALRM, lambda *_, run=run: os.killpg(run, signal.SIGALRM))
        signal.alarm(int(seconds))
        _, status = os.waitpid(run, 0)
        signal.alarm(0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


if __name__ == "__main__":
    _serve()
    runpy._run_module_as_main("snakemake")
