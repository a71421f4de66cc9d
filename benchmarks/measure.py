"""The common part of the benchmarks: commands are run and measured, and tables are written.

A contender is a whole command in its own process. Its wall time is from start to exit. Its CPU
time is that of the process and its finished descendants. Its memory is the largest sum of resident
memory over its process tree, in which shared pages count for each process.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

# Every benchmark imports this module before modules of ccdflow, whose folder is added here.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from ccdflow.errors import CcdflowError

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).resolve().parent / "peers"
PACKAGES = ("ccdflow", "snakemake", "ccdproc", "astropy", "numpy", "pandas", "isal")
MEGABYTE = 1e6


class BenchmarkError(Exception):
    """An error of a contender: it failed, or made a wrong product."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measurement of one command: times in seconds, memory in bytes."""

    wall: float
    user: float
    system: float
    peak_tree: int
    peak_main: int
    log: Path

    @property
    def cpu(self):
        """CPU time of user and system, seconds."""
        return self.user + self.system


@dataclass
class ProcessTree:
    """A process and its descendants.

    A member stays a member when its parent ends.
    """

    root: int
    members: set[int] = field(default_factory=set)
    strangers: set[int] = field(default_factory=set)

    def find_members(self):
        """Update the members from /proc, and return them; only new processes are read."""
        self.members.add(self.root)
        processes = {int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()}
        self.members &= processes
        self.strangers &= processes
        parents = {pid: _parent(pid) for pid in processes - self.members - self.strangers}
        while True:
            children = {pid for pid, parent in parents.items() if parent in self.members}
            self.members |= children
            for pid in children:
                del parents[pid]
            if not children:
                break
        self.strangers |= set(parents)
        return self.members


def _parent(pid):
    """Return the parent of a process; None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _resident(pid):
    """Return present and highest resident memory of a process, bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    kilobytes = {"VmRSS": 0, "VmHWM": 0}
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name in kilobytes:
            kilobytes[name] = int(value.split()[0])
    return kilobytes["VmRSS"] * 1024, kilobytes["VmHWM"] * 1024


class _MemoryPolling(threading.Thread):
    """A thread that polls the memory of a process tree until an event ends it.

    The kernel knows the highest memory of a process, but not of a tree. The highest memory of the
    main process is exact up to the last poll.
    """

    def __init__(self, pid, interval):
        super().__init__(daemon=True)
        self.tree = ProcessTree(pid)
        self.interval = interval
        self.peak_tree = 0
        self.peak_main = 0
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            memory = {pid: _resident(pid) for pid in self.tree.find_members()}
            now = sum(resident for resident, _ in memory.values())
            highest = max((high for _, high in memory.values()), default=0)
            self.peak_tree = max(self.peak_tree, now, highest)
            self.peak_main = max(self.peak_main, memory.get(self.tree.root, (0, 0))[1])
            self.done.wait(self.interval)


def run(command, *, log, cwd=None, environment=None, interval=0.02):
    """Run a command to its end, and return its Measurement.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    log : path-like
        File for the output of the command.
    cwd : path-like, optional
        Working directory of the command.
    environment : dict, optional
        Variables that are added to the present environment.
    interval : float, optional
        Seconds between two polls of the memory.

    Returns
    -------
    Measurement

    Raises
    ------
    BenchmarkError
        If the command ends with another status than 0.
    """
    command = [str(part) for part in command]
    log = Path(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        watch = _MemoryPolling(process.pid, interval)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        # Popen must not wait for a process that is reaped already.
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.done.set()
        watch.join()
    if process.returncode != 0:
        last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BenchmarkError(f"{' '.join(command)} ended with {process.returncode}\n{last_lines}")
    return Measurement(
        wall=wall,
        user=usage.ru_utime,
        system=usage.ru_stime,
        peak_tree=watch.peak_tree,
        peak_main=watch.peak_main,
        log=log,
    )


def main(benchmark, options):
    """Run a benchmark; end with the message of a `BenchmarkError` or of an error of ccdflow."""
    try:
        benchmark(options)
    except (BenchmarkError, CcdflowError) as error:
        sys.exit(f"{error}")


def sync_disk():
    """Write buffered data to the disk, so that it costs the next contender no time.

    Returns
    -------
    float
        Seconds of the writing.
    """
    start = time.perf_counter()
    os.sync()
    return time.perf_counter() - start


def read_into_cache(files):
    """Read files once, so that they are in the page cache for each contender."""
    buffer = bytearray(1 << 20)
    for path in files:
        with Path(path).open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def make_empty_folder(folder):
    """Make a folder, or empty an existing one, and return its path."""
    folder = Path(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def path_of_program(name):
    """Return the path of a program in this environment, otherwise in PATH; None without it."""
    neighbour = Path(sys.executable).parent / name
    return str(neighbour) if neighbour.exists() else shutil.which(name)


def environment_of_contender():
    """Return environment variables with which contenders use the programs of this environment.

    Python may store compiled modules, as it does for users: otherwise each run compiles those of
    ccdflow, in 0.3 s.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONDONTWRITEBYTECODE": ""}


def n_cores():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def describe_machine(folder):
    """Return (name, value) pairs on the machine, and on the file system of a folder."""
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        ("date", datetime.date.today().isoformat()),
        ("processor", f"{cpu[0] if cpu else platform.machine()}, {n_cores()} cores used"),
        ("memory", f"{memory / 2**30:.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("file system", filesystem(folder)),
        ("load before", f"{os.getloadavg()[0]:.2f}"),
    ]


def filesystem(folder):
    """Return the type of the file system that holds a folder."""
    folder = Path(folder).resolve()
    kinds = {}
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if folder.is_relative_to(point):
            kinds[len(point)] = kind
    return kinds[max(kinds)]


def versions(programs=()):
    """Return (name, version) pairs of Python, of its packages, and of other programs."""
    rows = [("python", platform.python_version())]
    for package in PACKAGES:
        rows.append((package, _package_version(package)))
    for name, command in programs:
        rows.append((name, _program_version(command)))
    return rows


def _package_version(package):
    """Return the version of a package; that of ccdflow with its commit."""
    if package == "ccdflow":
        source = (ROOT / "scripts" / "ccdflow" / "__init__.py").read_text()
        version = source.partition('__version__ = "')[2].partition('"')[0]
        return f"{version} ({_commit()})"
    return importlib.metadata.version(package)


def _commit():
    """Return the name of the present commit, or 'no git'."""
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return answer.stdout.strip() if answer.returncode == 0 else "no git"


def _program_version(command):
    """Return the first line that a command on a version prints, or 'unknown'."""
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def iraf_version():
    """Return the command that prints the version of the installed IRAF."""
    return ["dpkg-query", "--showformat=${Version}", "--show", "iraf"]


def median(values):
    """Return the median of some numbers."""
    sorted_values = sorted(values)
    half = len(sorted_values) // 2
    return (
        sorted_values[half]
        if len(sorted_values) % 2
        else (sorted_values[half - 1] + sorted_values[half]) / 2
    )


def median_runs(results, key=lambda result: result.contender):
    """Return {key: result with the median wall time}; results have a `measurement`."""
    runs_by_name = {}
    for name in dict.fromkeys(map(key, results)):
        runs = sorted(
            (one_run for one_run in results if key(one_run) == name),
            key=lambda one_run: one_run.measurement.wall,
        )
        runs_by_name[name] = runs[(len(runs) - 1) // 2]
    return runs_by_name


@dataclass(frozen=True)
class Bar:
    """A figure to be reached.

    `value` must be at least `limit`, or at most `limit` if `is_least` is False. It is None if the
    runs for it are missing.
    """

    name: str
    limit: float
    value: float | None
    is_least: bool = True
    unit: str = "x"

    @property
    def verdict(self):
        """'reached', 'MISSED' or 'not measured'."""
        if self.value is None:
            return "not measured"
        is_reached = self.value >= self.limit if self.is_least else self.value <= self.limit
        return "reached" if is_reached else "MISSED"

    def row(self):
        """Return the cells of this figure in the table of bars."""
        sign = "at least" if self.is_least else "at most"
        value = "" if self.value is None else f"{self.value:.3g} {self.unit}"
        return [self.name, f"{sign} {self.limit:g} {self.unit}", value, self.verdict]


def bars_table(bars):
    """Return the Markdown table of the bars."""
    return markdown(["bar", "to reach", "measured", "verdict"], [bar.row() for bar in bars])


def output_folder(text):
    """Return the folder of an option, made if it is missing, before anything is measured.

    Raises
    ------
    argparse.ArgumentTypeError
        If the folder cannot be made or written to.
    """
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{folder} cannot be written to; give another folder")
    return folder


def output_file(text):
    """Return the file of an option; its folder is made if it is missing.

    Raises
    ------
    argparse.ArgumentTypeError
        If the folder cannot be made or written to, or is where the file should be.
    """
    file = Path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{file} is a folder; give the name of a file")
    return output_folder(file.parent) / file.name


def add_output_option(parser_of_script):
    """Add ``--out``, the folder of the tables, which is made before anything is measured."""
    parser_of_script.add_argument(
        "--out", type=output_folder, default=Path(__file__).parent, help="folder of the tables"
    )


def parser(docstring, contenders, *, repeats, slow="slow ones run once"):
    """Return a benchmark's parser with the options that all of them have.

    Parameters
    ----------
    docstring : str
        Docstring of the benchmark.
    contenders : sequence
        With the attribute ``name``.
    repeats : int
        Default number of rounds.
    slow : str, optional
        Words on the contenders that run once.
    """
    parser_of_benchmark = argparse.ArgumentParser(description=docstring.splitlines()[0])
    parser_of_benchmark.add_argument("--repeats", type=int, default=repeats, help=f"rounds; {slow}")
    parser_of_benchmark.add_argument(
        "--only", nargs="+", choices=[each.name for each in contenders]
    )
    parser_of_benchmark.add_argument("--work", type=Path, default=ROOT / "bench-data")
    add_output_option(parser_of_benchmark)
    return parser_of_benchmark


def page(head, *tables, work, programs):
    """Return a benchmark's page: its head, its tables, machine and versions.

    Parameters
    ----------
    head : list of str
    tables : str
    work : Path
        A folder on the disk that was measured.
    programs : list of (str, list of str)
        As for `versions`.
    """
    parts = [
        "\n".join(head),
        *tables,
        markdown(["machine", ""], describe_machine(work)),
        markdown(["version", ""], versions(programs)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def write(out, name, text, results):
    """Write a benchmark's page and its table of all runs, and print the page."""
    (out / f"{name}.md").write_text(text)
    write_csv(out / f"{name}.csv", [result.as_row() for result in results])
    print(text)


def markdown(head, rows):
    """Return a Markdown table with padded columns, which can be read as text."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def write_csv(path, rows):
    """Write a list of dicts with the same keys as a CSV file."""
    with Path(path).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
