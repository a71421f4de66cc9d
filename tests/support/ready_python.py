"""Runs of Python by forks of a process that has imported all modules, so that a start is fast.

Imports of Snakemake, ccdflow and the packages below it take more CPU time than a small run. Two
servers, which all workers of a test run share, have done these imports. For each run one of them
forks; the fork gets the arguments, folder, environment and streams of its run, and ends as any
process does. The two servers hash strings differently, and take turns.

There are two ways in::

    status, output = ready_python.run(["--cores", "2", ...], folder=folder)  # Snakemake
    subprocess.run([ready_python.interpreter(), "scripts/demo.py", ...])     # any command line

The second one is a small program that may stand in the place of ``python``: it hands on its
arguments, folder, environment and streams, passes on signals, and ends as its fork does. A fork
starts its own children by it. Tests of the start itself, of kills and of clusters start real
processes.
"""

from __future__ import annotations

import array
import atexit
import fcntl
import gc
import importlib
import io
import itertools
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

# Threads of OpenMP and OpenBLAS that wait for each other use the cores of other tests meanwhile:
# test_cosmics.py alone took 20 s of CPU beside others, and takes 2 with one thread. It is here that
# the tests' environment is completed: a run with another one than `_FIRST_ENVIRONMENT` is no fork.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[2]
# The folder of the servers' sockets, given by the process that began the tests to its workers.
FOLDER = "CCDFLOW_TEST_SERVERS"
# Beginnings of the variables that a fork takes from its run's environment. Another difference may
# matter to the imports of the server: a run with one is a process of its own.
_RUN_VARIABLES = ("PYTHONPATH", "PYTEST_", "CCDFLOW_")
_KILL_ALL = b"\0"
# Modules that Snakemake imports late, with 200 modules below them: a third of the CPU time of a run
# with nothing to do.
_LATE_MODULES = (
    "snakemake.executors.local", "snakemake.scheduling.greedy", "snakemake.profiles", "yte",
    "snakemake.report.html_reporter", "snakemake.storage", "smart_open", "encodings.idna",
    "platformdirs.unix", "argparse_dataclass",
)  # fmt: skip

_turns = [0, 1]
# The servers that this process has started.
_servers = []

# The program of a run, without `site`, `json` and `socket`, whose imports take longer than all else
# that it does.
_PROGRAM = """#!{python} -IS
import _signal, _socket, marshal, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({folder!r} + "/" + str(os.getpid() % 2))
for number in (_signal.SIGTERM, _signal.SIGINT):
    _signal.signal(number, lambda number, frame: server.send(bytes([number])))
order = marshal.dumps((sys.argv[1:], os.getcwd(), dict(os.environ), os.getpid()))
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)]
server.sendmsg([len(order).to_bytes(4, "big")], rights)
server.sendall(order)
answer = server.recv(4)
status = int.from_bytes(answer, "big", signed=True) if answer else 70
if status < 0:
    _signal.signal(-status, _signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


# -- requests for runs -----------------------------------------------------------------------------


def begin():
    """Make the folder of the servers' sockets, in the process that begins the tests."""
    folder = Path(tempfile.mkdtemp(prefix="ccdflow-servers-"))
    os.environ[FOLDER] = str(folder)
    (folder / "owner").write_text(str(os.getpid()))
    program = folder / "python"
    program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
    program.chmod(0o755)
    (folder / "snakemake").write_text(f'#!/bin/sh\nexec {program} -m snakemake "$@"\n')
    (folder / "snakemake").chmod(0o755)


def end():
    """Remove the folder of the servers, which end without it."""
    shutil.rmtree(os.environ.pop(FOLDER))
    for server in _servers:
        os.waitpid(server, 0)


def interpreter():
    """Return the program that stands in the place of ``python``; `snakemake` lies beside it."""
    for number in (0, 1):
        _start_server(number).close()
    return str(Path(os.environ[FOLDER]) / "python")


def run(arguments, *, folder, environment=None, seconds=900):
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
    words = ["-m", "snakemake", *arguments]
    with tempfile.NamedTemporaryFile() as output, Path(os.devnull).open("rb") as nothing:
        if _import_environment(environment) != _FIRST_ENVIRONMENT:
            status = subprocess.run(
                [sys.executable, *words], cwd=folder, env=environment, stdin=nothing,
                stdout=output, stderr=output, timeout=seconds, check=False,
            ).returncode  # fmt: skip
        else:
            _turns.reverse()
            # A child of the run, such as the process of a batch, may ask the other server.
            _start_server(_turns[1]).close()
            order = marshal.dumps((words, str(folder), environment, os.getpid()))
            target = os.open(output.name, os.O_WRONLY | os.O_APPEND)
            streams = (nothing.fileno(), target, target)
            status = _ask(_start_server(_turns[0]), order, streams, seconds)
            os.close(target)
        return status, Path(output.name).read_text("utf-8", "backslashreplace")


def _ask(server, order, streams, seconds):
    """Return the exit status of a run."""
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
    with server:
        server.sendmsg([len(order).to_bytes(4, "big")], [rights])
        server.sendall(order)
        server.settimeout(seconds)
        try:
            answer = server.recv(4)
        except TimeoutError:
            server.send(_KILL_ALL)
            raise subprocess.TimeoutExpired("snakemake", seconds) from None
    if not answer:
        raise RuntimeError("the process that forks for runs has ended")
    return int.from_bytes(answer, "big", signed=True)


def _start_server(number):
    """Return a connection to a server, which is started if it is not there."""
    folder = Path(os.environ[FOLDER])
    with suppress(OSError):
        return _connect(folder, number)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(OSError):
            return _connect(folder, number)
        (folder / str(number)).unlink(missing_ok=True)
        actions = [
            (os.POSIX_SPAWN_OPEN, target, file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            for target, file in enumerate((os.devnull, os.devnull, str(folder / "log")))
        ]
        command = [sys.executable, __file__, str(folder), str(number)]
        server = os.posix_spawn(
            sys.executable, command, os.environ, file_actions=actions, setsid=True
        )
        _servers.append(server)
        end = time.monotonic() + 300
        while time.monotonic() < end:
            with suppress(OSError):
                return _connect(folder, number)
            time.sleep(0.01)
    raise RuntimeError("the process that forks for runs does not start")


def _connect(folder, number):
    """Return a connection to a server; raise `OSError` if it does not run."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / str(number)))
    except OSError:
        connection.close()
        raise
    return connection


def _import_environment(environment):
    """Return the variables that may matter to imports."""
    return {name: v for name, v in environment.items() if not name.startswith(_RUN_VARIABLES)}


_FIRST_ENVIRONMENT = _import_environment(os.environ)


# -- the server ------------------------------------------------------------------------------------


def _import():
    """Import Snakemake, and all modules that ccdflow imports."""
    cli = importlib.import_module("snakemake.cli")
    for name in _LATE_MODULES:
        importlib.import_module(name)
    # Each registry looks for its plugins in all folders of packages when the first one asks for
    # it, and keeps what it found: a quarter of the time of a run that finds nothing to do.
    for name in [name for name in vars(cli) if name.endswith("PluginRegistry")]:
        getattr(cli, name)()

    sys.path[0] = str(ROOT / "scripts")
    import ccdflow

    for module in pkgutil.walk_packages(ccdflow.__path__, "ccdflow."):
        importlib.import_module(module.name)
    # Pillow imports its formats when it first saves a picture.
    importlib.import_module("PIL.Image").preinit()
    _parse_rules()


def _parse_rules():
    """Parse this checkout's rules once: that is half of the time of a run with nothing to do.

    A rules file that has changed since then, or is another checkout's, is parsed by its run.
    """
    workflow = importlib.import_module("snakemake.workflow")
    parse = workflow.parse
    parsed = {}
    for path in (ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")):
        content, lines = path.read_bytes(), {}
        # The parser asks a workflow for the text of a file, and for nothing else.
        texts = SimpleNamespace(open=lambda _, content=content: io.StringIO(content.decode()))
        source = workflow.infer_source_file(str(path))
        code, number = parse(source, SimpleNamespace(sourcecache=texts), lines)
        parsed[str(path)] = (content, code, number, lines)

    def parse_or_recall(source, run, linemap, overwrite_shellcmd=None, rulecount=0):
        """Return the code of a rules file, parsed again only if the file has changed."""
        name = str(source.get_path_or_uri(secret_free=True))
        content, code, number, lines = parsed.get(name, (None, "", 0, {}))
        # A rule without a name would be named by its number. All rules of ccdflow have names.
        if overwrite_shellcmd or content is None or Path(name).read_bytes() != content:
            return parse(source, run, linemap, overwrite_shellcmd, rulecount)
        linemap.update(lines)
        return code, rulecount + number

    workflow.parse = parse_or_recall


class _Run:
    """A fork, and the connection of the process that waits for it.

    Attributes
    ----------
    streams : array.array of int
        Descriptors of the run's standard streams; empty without an order.
    order : tuple or None
        The run that is asked for.
    process : int
        Number of the fork, 0 before it is made.
    is_awaited : bool
        Whether the process that waits is still there.
    """

    def __init__(self, connection):
        self.connection = connection
        head, rights, *_ = connection.recvmsg(4, socket.CMSG_SPACE(3 * 4))
        self.streams = array.array("i", rights[0][2]) if rights else ()
        order = b""
        while head and len(order) < int.from_bytes(head, "big"):
            order += connection.recv(1 << 20)
        # There is no order where somebody looked only whether the server is there.
        self.order = marshal.loads(order) if head else None
        self.process = 0
        self.is_awaited = True

    def heed(self):
        """Pass on a signal; where the process that waited has gone, kill the fork."""
        try:
            word = self.connection.recv(1)
        except OSError:
            word = b""
        self.is_awaited = bool(word)
        if word == _KILL_ALL:
            os.killpg(self.process, signal.SIGKILL)
        else:
            os.kill(self.process, word[0] if word else signal.SIGKILL)

    def answer(self, status):
        """Send the exit status of the fork."""
        with suppress(OSError):
            self.connection.sendall(status.to_bytes(4, "big", signed=True))
        self.connection.close()


def _serve(folder, number):
    """Fork for each order; return in the fork, with the run that it is."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / number))
    listener.listen(64)
    owner = Path("/proc") / (folder / "owner").read_text()
    _import()
    gc.collect()
    gc.freeze()
    woken, waker = socket.socketpair()
    waker.settimeout(0)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    runs = {}
    while folder.exists() and owner.exists():
        awaited = {run.connection: run for run in runs.values() if run.is_awaited}
        ready, *_ = select.select([listener, woken, *awaited], [], [], 1)
        if woken in ready:
            woken.recv(1 << 10)
        for connection in awaited.keys() & set(ready):
            awaited[connection].heed()
        if listener in ready:
            run = _Run(listener.accept()[0])
            if run.order is not None:
                run.process = os.fork()
                if not run.process:
                    return run
                runs[run.process] = run
                for stream in run.streams:
                    os.close(stream)
        for process in list(runs):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                runs.pop(process).answer(os.waitstatus_to_exitcode(status))
    sys.exit()


def _become(run, program):
    """Turn this fork into the process that is asked for; return its arguments."""
    words, folder, environment, asking = run.order
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run.connection.close()
    for target, stream in enumerate(run.streams):
        os.dup2(stream, target)
        os.close(stream)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.getppid = lambda: _parent_of(asking)
    sys.executable = program
    more = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    is_script = words[0] not in ("-m", "-c")
    sys.path[:1] = [str(Path(words[0]).resolve().parent) if is_script else folder, *more]
    if not _is_ours(words, more):
        for name in [name for name in sys.modules if name.partition(".")[0] == "ccdflow"]:
            del sys.modules[name]
    if more:
        sys.modules.pop("sitecustomize", None)
        with suppress(ImportError):
            import sitecustomize  # noqa: F401
    return words


def _parent_of(process):
    """Return the parent of the process that waits for a fork: a batch must not outlive it."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 1
    return int(status.rpartition(")")[2].split()[1])


def _is_ours(words, more):
    """Return whether a run is of this checkout, whose modules are imported already."""
    if words[0] == "-c":
        return str(ROOT / "scripts") in more
    if words[:2] == ["-m", "snakemake"]:
        given = dict(itertools.pairwise(words)).get("--snakefile", "")
        return Path(given).resolve() == ROOT / "Snakefile"
    return words[0] == "-m" or Path(words[0]).resolve().is_relative_to(ROOT)


def _go(words):
    """Do what Python does with its arguments."""
    if words[0] == "-m":
        sys.argv[:] = ["-m", *words[2:]]
        runpy._run_module_as_main(words[1])
    elif words[0] == "-c":
        sys.argv[:] = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:] = words
        runpy.run_path(words[0], run_name="__main__")


def _end(code):
    """End as Python does, without the freeing of imported modules, which takes 0.1 s."""
    threading._shutdown()
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _own = Path(sys.argv[1])
    _words = _become(_serve(_own, sys.argv[2]), str(_own / "python"))
    try:
        _go(_words)
    except SystemExit as _ended:
        _end(_ended.code)
    _end(None)
