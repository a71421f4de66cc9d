"""The new night, every morning: for cron or a systemd timer (docs/daily.md).

python scripts/daily.py --cores 4 --config raw=FOLDER results=FOLDER

Takes the arguments of snakemake. Says nothing when there is nothing new, else one line, and:
exit status 0: all is well, or the last run is still at work, which one line says;
3: frames were newly set aside, all else is made; 1: the run failed, with its last lines.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from ccdflow import paths, settings
from ccdflow.errors import UserError
from ccdflow.run.inventory import ARRIVING, ORPHAN, SET_ASIDE
from ccdflow.run.progress import duration

ROOT = Path(__file__).resolve().parents[1]
LOG = f"{paths.STATE}/daily.log"
FAILED, ASIDE = 1, 3
# Lines of a failed run that are shown, and frames that are named.
_LAST_LINES = 15
_NAMED = 3


def results_folder(arguments):
    """Return the results folder that a command line for snakemake asks for.

    Parameters
    ----------
    arguments : list of str

    Returns
    -------
    Path
    """
    given = {}
    file = Path(settings.NAME)
    if file.is_file():
        given = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if "--config" in arguments:
        for argument in arguments[arguments.index("--config") + 1 :]:
            name, equals, value = argument.partition("=")
            if argument.startswith("-") or not equals:
                break
            given[name] = value
    return Path(str(given.get("results", "results")))


def troubled(results):
    """Return {raw file: (status, reason)} of the frames in the inventory that are not well."""
    try:
        with (results / paths.INVENTORY).open(encoding="utf-8", newline="") as file:
            return {
                row["file"]: (row["status"], row["reason"])
                for row in csv.DictReader(file)
                if row["status"] in (SET_ASIDE, ARRIVING, ORPHAN)
            }
    except FileNotFoundError:
        return {}


def run(arguments, *, log):
    """Run snakemake, all its output into a file.

    Returns
    -------
    status : int
    count : dict
        What `sum_up` in rules/common.smk left; empty if the run did not come so far.
    """
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        done = subprocess.run(
            [*command, *arguments],
            env={**os.environ, "CCDFLOW_SUMMARY": str(summary)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
        count = json.loads(summary.read_text()) if summary.is_file() else {}
    return done.returncode, count


def summary(count, before, after, seconds):
    """Return the line that says what a run came to, or '' where there was nothing new.

    Parameters
    ----------
    count : dict
        Frames done, set aside, and other products made.
    before, after : dict
        As `troubled` returns them.
    seconds : float
    """
    aside, gone = (newly(status, before, after) for status in (SET_ASIDE, ORPHAN))
    made = count["frames"] - count["aside"]
    if not (made or count["others"] or aside or gone):
        return ""
    parts = [f"{made} frames reduced"]
    if count["others"]:
        parts.append(f"{count['others']} combined biases, pictures and pages made")
    if aside:
        parts.append(f"{len(aside)} set aside ({named(aside, after)})")
    if gone:
        parts.append(f"{len(gone)} whose raw file is gone")
    arriving = sum(status == ARRIVING for status, _ in after.values())
    if arriving:
        parts.append(f"{arriving} still being written and left for the next run")
    return f"ccdflow: {', '.join(parts)}, in {duration(seconds)}"


def newly(status, before, after):
    """Return the files that have a status now and did not have it before."""
    return [file for file in after if after[file][0] == status != before.get(file, ("",))[0]]


def named(files, after):
    """Return the first few files with their reasons, on one line."""
    texts = [f"{' '.join(file.split())}: {after[file][1]}" for file in files[:_NAMED]]
    if len(files) > _NAMED:
        texts.append(f"and {len(files) - _NAMED} more")
    return "; ".join(texts)


def daily(arguments):
    """Run once, and return (the text to print, the exit status)."""
    results = results_folder(arguments)
    before, began = troubled(results), time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace") as log:
        status, count = run(arguments, log=log)
        log.seek(0)
        output = log.read()
    if count.get("busy"):
        return f"ccdflow: nothing done: {count['error']}", 0
    after = troubled(results)
    came_far = count and "error" not in count
    text = summary(count, before, after, time.monotonic() - began) if came_far else ""
    if status == 0 and not text:
        return "", 0
    keep(results, output)
    if status == 0:
        return text, ASIDE if newly(SET_ASIDE, before, after) else 0
    last = output.strip().splitlines()[-_LAST_LINES:]
    lines = [text, *last, f"ccdflow failed; the whole log: {results / LOG}"]
    return "\n".join(filter(None, lines)), FAILED


def keep(results, output):
    """Keep the log of a run that had something to say."""
    path = results / LOG
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(output, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        print(f"ccdflow: the log cannot be kept ({error})", file=sys.stderr)


def main():
    """Run with the command line's arguments."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    try:
        text, status = daily(arguments)
    except UserError as error:
        text, status = f"ccdflow: {error}", FAILED
    if text:
        print(text, file=sys.stderr if status == FAILED else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
