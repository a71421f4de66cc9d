"""The common part of the benchmarks: a command is run and measured, and tables are written.

A contender is always a whole command in its own process. Its wall time is from start to exit, its
CPU time that of the process and of all it waited for, its memory the largest sum of resident
memory over the processes of its tree (pages shared between them count once for each).
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

# For every benchmark: `import measure` comes before what is imported from ccdflow.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from ccdflow.errors import CcdflowError

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).resolve().parent / "peers"
PACKAGES = ("ccdflow", "snakemake", "ccdproc", "astropy", "numpy", "pandas", "isal")
MEGABYTE = 1e6


class BenchmarkError(Exception):
    """A contender failed, or made something else than it should have."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One command, measured; times in seconds, memory in bytes."""

    wall: float
    user: float
    system: float
    peak_tree: int
    peak_main: int
    log: Path

    @property
    def cpu(self):
        return self.user + self.system


@dataclass
class Tree:
    """The processes that descend from one, found again at every look.

    A process that was seen stays a member when its parent has gone: orphans count.
    """

    root: int
    members: set[int] = field(default_factory=set)
    strangers: set[int] = field(default_factory=set)

    def look(self):
        """Bring the members up to date with /proc; only processes not seen before are read."""
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
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _resident(pid):
    """Resident memory of a process now, and at its highest, in bytes; zeros when it has gone."""
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


class _MemoryWatch(threading.Thread):
    """Looks at the memory of a process tree until told to stop.

    The kernel keeps the high-water mark of each process but not of a tree, hence the polling;
    the mark of the main process is exact up to the last look.
    """

    def __init__(self, pid, interval):
        super().__init__(daemon=True)
        self.tree = Tree(pid)
        self.interval = interval
        self.peak_tree = 0
        self.peak_main = 0
        self.done = threading.Event()

    def run(self):
        while not self.done.is_set():
            memory = {pid: _resident(pid) for pid in self.tree.look()}
            now = sum(resident for resident, _ in memory.values())
            highest = max((high for _, high in memory.values()), default=0)
            self.peak_tree = max(self.peak_tree, now, highest)
            self.peak_main = max(self.peak_main, memory.get(self.tree.root, (0, 0))[1])
            self.done.wait(self.interval)


def run(command, *, log, cwd=None, environment=None, interval=0.02):
    """Run a command to its end and measure it.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    log : path-like
        File that takes what the command prints.
    cwd : path-like, optional
        Folder to run it in.
    environment : dict, optional
        Variables put on top of the present environment.
    interval : float
        Seconds between two looks at the memory.

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
        watch = _MemoryWatch(process.pid, interval)
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
    """Run a benchmark; an error that was foreseen is one line, or what the contender said."""
    try:
        benchmark(options)
    except (BenchmarkError, CcdflowError) as error:
        sys.exit(f"{error}")


def settle():
    """Write out what is still in memory, so that no contender pays for the one before it.

    Returns
    -------
    float
        Seconds it took.
    """
    start = time.perf_counter()
    os.sync()
    return time.perf_counter() - start


def warm(files):
    """Read files once, so that each contender finds them in the page cache."""
    buffer = bytearray(1 << 20)
    for path in files:
        with Path(path).open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def empty(folder):
    """Make a folder that is there and has nothing in it."""
    folder = Path(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def tool(name):
    """Return the path of a program of this environment, else of the PATH, else None."""
    neighbour = Path(sys.executable).parent / name
    return str(neighbour) if neighbour.exists() else shutil.which(name)


def with_environment():
    """Return the PATH under which a contender finds this environment's programs first.

    Python keeps the modules that it compiled, as it does for a user: where it may not, ccdflow's
    own are compiled in each run, 0.3 s.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONDONTWRITEBYTECODE": ""}


def threads():
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine(folder):
    """Describe the machine and the file system that a folder is on, as (name, value) pairs."""
    cpu = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        ("date", datetime.date.today().isoformat()),
        ("processor", f"{cpu[0] if cpu else platform.machine()}, {threads()} cores used"),
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
    if package == "ccdflow":
        source = (ROOT / "scripts" / "ccdflow" / "__init__.py").read_text()
        version = source.partition('__version__ = "')[2].partition('"')[0]
        return f"{version} ({_commit()})"
    return importlib.metadata.version(package)


def _commit():
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return answer.stdout.strip() if answer.returncode == 0 else "no git"


def _program_version(command):
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def iraf_version():
    """Return the command that prints the version of the installed IRAF."""
    return ["dpkg-query", "--showformat=${Version}", "--show", "iraf"]


def median(values):
    """Return the median of a few figures."""
    sorted_values = sorted(values)
    half = len(sorted_values) // 2
    return (
        sorted_values[half]
        if len(sorted_values) % 2
        else (sorted_values[half - 1] + sorted_values[half]) / 2
    )


def typical(results, key=lambda result: result.contender):
    """Return {key: the run with the median wall time} of results that have a `measurement`."""
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

    `value` has to be at least `limit`, or at most `limit` where `is_least` is False. It is None
    where the runs that it needs are missing.
    """

    name: str
    limit: float
    value: float | None
    is_least: bool = True
    unit: str = "x"

    @property
    def verdict(self):
        if self.value is None:
            return "not measured"
        is_reached = self.value >= self.limit if self.is_least else self.value <= self.limit
        return "reached" if is_reached else "MISSED"

    def row(self):
        sign = "at least" if self.is_least else "at most"
        value = "" if self.value is None else f"{self.value:.3g} {self.unit}"
        return [self.name, f"{sign} {self.limit:g} {self.unit}", value, self.verdict]


def bars_table(bars):
    """Return the Markdown table of the bars."""
    return markdown(["bar", "to reach", "measured", "verdict"], [bar.row() for bar in bars])


def output_folder(text):
    """Return the folder of an option, made if it is missing: at the end all would be lost.

    Raises
    ------
    argparse.ArgumentTypeError
        If it cannot be made or written to.
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
    """Add ``--out``, the folder of the tables, which is there before anything is measured."""
    parser_of_script.add_argument(
        "--out", type=output_folder, default=Path(__file__).parent, help="folder of the tables"
    )


def parser(doc, contenders, *, repeats, slow="slow ones run once"):
    """Return a benchmark's parser with the options that all of them have.

    Parameters
    ----------
    doc : str
        Docstring of the benchmark.
    contenders : sequence
        With the attribute ``name``.
    repeats : int
        Rounds, if nothing is given.
    slow : str
        The contenders that run once.
    """
    parser_made = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser_made.add_argument("--repeats", type=int, default=repeats, help=f"rounds; {slow}")
    parser_made.add_argument("--only", nargs="+", choices=[each.name for each in contenders])
    parser_made.add_argument("--work", type=Path, default=ROOT / "bench-data")
    add_output_option(parser_made)
    return parser_made


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
        markdown(["machine", ""], machine(work)),
        markdown(["version", ""], versions(programs)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def write(out, name, text, results):
    """Write a benchmark's page and its table of all runs, and print the page."""
    (out / f"{name}.md").write_text(text)
    write_csv(out / f"{name}.csv", [result.as_row() for result in results])
    print(text)


def markdown(head, rows):
    """Return a Markdown table, columns padded so that it reads well as text too."""
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
