"""Faults put into a run, one at each place where it touches the results folder, and what is left.

    python faults.py FOLDER REPORT KIND FIRST STEP

runs the sandbox in FOLDER once for each place FIRST, FIRST + STEP ..., until there is no such
place. Each run is in a process of its own, has the fault of KIND at its place, and adds a line of
JSON to REPORT. The kinds: `kill` (as with kill -9), `full` and `broken` (ENOSPC and EIO from there
on), `full once` and `broken once`.
"""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import signal
import sys
import traceback
from pathlib import Path

from held_batches import recorded_keys
from sandbox import Sandbox, snapshot

from ccdflow.errors import CcdflowError

KINDS = ("kill", "full", "broken", "full once", "broken once")
_ERRNO = {"full": errno.ENOSPC, "broken": errno.EIO}


class Faults:
    """A count of the touches of a folder, and a fault at one of them.

    Touches are opening for writing, each write (half of it is done), renaming, making and removing
    a folder, and flushing to the disk. Removing a file is none: it works on a full disk.
    """

    def __init__(self, folder, kind, place):
        self.folder = str(folder)
        self.kind, _, self.once = kind.partition(" ")
        self.place = place
        self.count = 0
        self.where = ""

    def install(self):
        """Replace the functions of Python that touch files."""
        self._open, self._replace = pathlib.Path.open, os.replace
        faults = self

        def open_watched(path, mode="r", *arguments, **options):
            """Open a file; one below the folder is a `_File` if it is written."""
            if not set(mode) & set("wax+") or not str(path).startswith(faults.folder):
                return faults._open(path, mode, *arguments, **options)
            faults.pass_by(f"open {path}")
            return _File(faults._open(path, mode, *arguments, **options), faults, path)

        pathlib.Path.open = open_watched
        for name in ("replace", "mkdir", "rmdir", "fsync"):
            setattr(os, name, self._guard(name, getattr(os, name)))

    def _guard(self, name, function):
        """Return a function that counts its calls for paths below the folder."""

        def guard_call(target, *arguments, **options):
            """Count the place, and call the function."""
            if not isinstance(target, int) and str(target).startswith(self.folder):
                self.pass_by(f"{name} {target}")
            return function(target, *arguments, **options)

        return guard_call

    def pass_by(self, where, before=lambda: None):
        """Count a touch; at the place of the fault call ``before``, and fail."""
        self.count += 1
        due = self.count == self.place or (self.count > self.place and not self.once)
        if not due:
            return
        self.where = self.where or where
        if self.kind == "kill":
            before()
            os.kill(os.getpid(), signal.SIGKILL)
        before()
        raise OSError(_ERRNO[self.kind], os.strerror(_ERRNO[self.kind]))


class _File:
    """A file that is open for writing, with faults."""

    def __init__(self, file, faults, path):
        self._file, self._faults, self._path = file, faults, path

    def write(self, data):
        """Write data, or half of it before a fault."""
        half = data[: len(data) // 2]
        self._faults.pass_by(f"write {self._path}", lambda: self._file.write(half))
        return self._file.write(data)

    def flush(self):
        """Flush the file, unless a fault prevents it."""
        self._faults.pass_by(f"flush {self._path}")
        return self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)


def one_fault(root, kind, place):
    """Run once with a fault, and return the result of the run, unless it is killed."""
    faults = Faults(root / "results", kind, place)
    faults.install()
    result = {"kind": kind, "place": place, "error": "", "jobs": []}
    try:
        outcome = Sandbox.at(root).run(cores=1, keep_going=True)
        result["jobs"], result["failures"] = outcome.jobs, outcome.lines[:1]
    except CcdflowError as error:
        result["error"] = str(error)
    except BaseException:
        result["crash"] = traceback.format_exc()
    return {**result, "where": faults.where, "places": faults.count}


def problems_after(root, before, reference):
    """Run once more, without a fault; return the problems before and after this run.

    Parameters
    ----------
    root : Path
        Root of the sandbox.
    before, reference : dict
        {name: bytes} of the results before the run, and after a run without faults.

    Returns
    -------
    dict
        ``problems``; ``again``, the number of jobs of the second run.
    """
    results = root / "results"
    problems = []
    remaining = snapshot(results).contents if results.is_dir() else {}
    for name, content in remaining.items():
        # A product of several frames may have been made without a failed frame: it does not count.
        is_own = name.startswith(("reduced/", "set_aside/reduced/"))
        if (
            is_own
            and not name.endswith(".part")
            and content not in (before.get(name), reference.get(name))
        ):
            problems.append(f"{name} is not whole")
    for name, content in before.items():
        # A finished product must stay where it is.
        if content == reference.get(name) and remaining.get(name) != content:
            problems.append(f"{name} was finished and is lost")
    known = recorded_keys(results)
    sandbox = Sandbox.at(root)
    again = sandbox.plan().plan.jobs
    problems += [
        f"{product} was finished and is made again"
        for product, job in again.items()
        if known.get(product) == job.key
    ]
    sandbox.run(cores=1)
    after = {n: c for n, c in snapshot(results).contents.items() if not n.startswith("set_aside/")}
    expected_contents = {n: c for n, c in reference.items() if not n.startswith("set_aside/")}
    if after != expected_contents:
        names = [
            n for n in {*after, *expected_contents} if after.get(n) != expected_contents.get(n)
        ]
        problems.append(f"the next run does not end as one without faults: {sorted(names)}")
    moved = [n for n in reference if n.startswith("set_aside/")]
    kept = snapshot(results).contents
    problems += [f"{name} was not kept" for name in moved if kept.get(name) != reference[name]]
    if sandbox.plan().plan.jobs:
        problems.append("after that there still is something to do")
    return {"problems": problems, "again": len(again)}


def fork(function):
    """Run a function in a forked process; return its result by JSON, None if it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        status = 1
        try:
            with os.fdopen(write, "w") as file:
                json.dump(function(), file)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    if status:
        raise SystemExit(f"a check ended with status {status}")
    return json.loads(text)


def restore(original, root):
    """Restore the results of the sandbox."""
    shutil.rmtree(root / "results", ignore_errors=True)
    if (original / "results").is_dir():
        shutil.copytree(original / "results", root / "results")


def run_with_faults(folder, report, kind, first, step):
    """Run with a fault at every ``step`` th place, and write the result of each to the report."""
    original, root = folder / "box", folder / "work"
    shutil.copytree(original, root)

    def run_without_fault():
        """Make all products; the result True tells that this process was not killed."""
        Sandbox.at(root).run(cores=1)
        return True

    # Results before the runs, and after a run without faults.
    before = snapshot(original / "results").contents if (original / "results").is_dir() else {}
    fork(run_without_fault)
    expected_contents = snapshot(root / "results").contents
    place = first
    with report.open("a") as file:
        while True:
            restore(original, root)
            at = place
            result = fork(lambda at=at: one_fault(root, kind, at))
            if result is not None and not result["where"]:
                break
            result = result or {"kind": kind, "place": place, "error": "killed"}
            result |= fork(lambda: problems_after(root, before, expected_contents))
            file.write(json.dumps(result) + "\n")
            file.flush()
            place += step


if __name__ == "__main__":
    run_with_faults(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:6]))
