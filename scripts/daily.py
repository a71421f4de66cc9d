"""The new night, every morning: for cron or a systemd timer (docs/daily.md).

python scripts/daily.py raw=FOLDER results=FOLDER --cores 4

Takes the arguments of snakemake; settings need no --config before them. Prints nothing if there is
nothing new, otherwise one line. Exit status 0: all is well, or the last run is still at work (one
line reports this); 3: frames were newly set aside (rejected), everything else is made; 1: the run
failed, its last lines are printed.

Example, after `make demo`:

python scripts/daily.py raw=demo/raw results=demo/results --cores 2
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ccdflow import command_lines, paths, schemas, settings
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.files.text_files import notes
from ccdflow.pages.rendering import escape_unprintable
from ccdflow.run.lines import summary
from ccdflow.run.lines.progress import duration
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, RAW_MISSING, SET_ASIDE
from ccdflow.wording import count

ROOT = Path(__file__).resolve().parents[1]
LOG = f"{paths.STATE}/daily.log"
# The file with the frames reported so far. The inventory does not show which frames were reported,
# because runs by hand update it as well.
REPORTED_FILE = f"{paths.STATE}/reported.json"
# Older results: statuses of their tables, by their present names.
_STATUS_NOW = {"orphan": RAW_MISSING}
FAILED_STATUS, NEWLY_SET_ASIDE_STATUS = 1, 3
COMMAND = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
# A report shows at most this many last lines of a failed run. Chosen: a mail shows them at once.
_LAST_LINES = 15
# A report names at most this many frames. Chosen: they stand on one line.
_MOST_NAMED = 3


def troubled_frames(table):
    """Return {raw file: (status, reason)} of the frames in an inventory that are not well.

    Parameters
    ----------
    table : Path or None
        There may be no such file.

    Returns
    -------
    dict of str to (str, str)
    """
    if table is None or not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {
            row["file"]: (row["status"], row["reason"])
            for row in csv.DictReader(file)
            if row["status"] in (SET_ASIDE, ARRIVING_STATUS, RAW_MISSING)
        }


def run(arguments, *, log, folder):
    """Run snakemake with all its output in a file, and pass on signals that end this program.

    Parameters
    ----------
    arguments : list of str
    log : file object
    folder : path-like
        The folder into which the run writes its `ccdflow.run.lines.summary`.

    Returns
    -------
    int
        The exit status of snakemake; negative if it was killed.
    """
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, summary.FOLDER_VARIABLE: str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    # Ctrl-C in a terminal reaches snakemake as well; `kill` reaches this program alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    return process.wait()


def news(run_counts, reported, troubled, seconds):
    """Return the line on the result of a run, or '' if there was nothing new.

    Parameters
    ----------
    run_counts : dict of str to object
        Numbers of frames done, and of those set aside or left for the next run, and of other
        products made, with the plural noun for these (``what``).
    reported : dict of str to str
        Status by file as reported before, see `reported_frames`.
    troubled : dict of str to (str, str)
        As `troubled_frames` returns it.
    seconds : float

    Returns
    -------
    str
    """
    set_aside, missing = (
        new_troubles(status, reported, troubled) for status in (SET_ASIDE, RAW_MISSING)
    )
    n_reduced = run_counts["frames"] - run_counts["set_aside"] - run_counts["left"]
    if not (n_reduced or run_counts["other_products"] or set_aside or missing):
        return ""
    phrases = [f"{count(n_reduced, 'frame')} reduced"]
    if run_counts["other_products"]:
        phrases.append(f"{others_made(run_counts)} made")
    if set_aside:
        phrases.append(f"{len(set_aside)} set aside ({named_files(set_aside, troubled)})")
    if missing:
        phrases.append(f"{len(missing)} {RAW_MISSING}")
    arriving = sum(status == ARRIVING_STATUS for status, _ in troubled.values())
    if arriving:
        phrases.append(f"{arriving} left for the next run")
    return f"ccdflow: {', '.join(phrases)}, in {duration(seconds)}"


def others_made(run_counts):
    """Return the number of products other than frames, with the noun of the run's summary."""
    return count(
        run_counts["other_products"], "other product", run_counts.get("what") or "other products"
    )


def new_troubles(status, reported, troubled):
    """Return the files that have a status now and were not reported with it before.

    Parameters
    ----------
    status : str
    reported : dict of str to str
        Status by file as reported before.
    troubled : dict of str to (str, str)
        As `troubled_frames` returns it.

    Returns
    -------
    list of str
    """
    return [
        file for file in troubled if troubled[file][0] == status and reported.get(file) != status
    ]


def reported_frames(results):
    """Return {raw file: status} of earlier reports; {} if there was none, or for no results."""
    if results is None:
        return {}
    try:
        statuses = json.loads((results / REPORTED_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(statuses, dict):
        return {}
    return {file: _STATUS_NOW.get(status, status) for file, status in statuses.items()}


def remember_reported(results, troubled):
    """Write the file of reported frames, so that each frame is reported once.

    Parameters
    ----------
    results : pathlib.Path
        The results folder.
    troubled : dict of str to (str, str)
        As `troubled_frames` returns it.
    """
    statuses = {file: status for file, (status, _) in troubled.items() if status != ARRIVING_STATUS}
    try:
        notes.write_if_changed(results / REPORTED_FILE, json.dumps(statuses))
    except OSError as error:
        print(f"ccdflow: the report cannot be kept ({error})", file=sys.stderr)


def named_files(files, troubled):
    """Return the first few files with their reasons, on one line.

    Parameters
    ----------
    files : sequence of str
    troubled : dict of str to (str, str)
        As `troubled_frames` returns it.

    Returns
    -------
    str
    """
    texts = [f"{escape_unprintable(file)}: {troubled[file][1]}" for file in files[:_MOST_NAMED]]
    if len(files) > _MOST_NAMED:
        texts.append(f"and {len(files) - _MOST_NAMED} more")
    return "; ".join(texts)


@dataclass(frozen=True)
class DailyReport:
    """The result of a run, as it is printed and remembered.

    Attributes
    ----------
    text : str
        The lines to print; '' for none.
    status : int
        The exit status.
    results : pathlib.Path or None
        The results folder; None if the run has not come to its end: nothing is remembered then.
    frames : dict of str to (str, str)
        As `troubled_frames` returns it.
    """

    text: str
    status: int
    results: Path | None = None
    frames: dict[str, tuple[str, str]] = field(default_factory=dict)


def daily(arguments):
    """Run once, and return the `DailyReport`."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace") as log,
    ):
        status = run(arguments, log=log, folder=folder)
        log.seek(0)
        output = log.read()
        run_summary = summary.read_summary(folder)
        reported = reported_frames(run_summary.results)
        troubled = troubled_frames(run_summary.inventory)
    end = run_summary.end
    if end.get("busy"):
        return DailyReport(f"ccdflow: nothing done: {end['error']}", 0)
    if "error" in end:
        return DailyReport(f"ccdflow: {end['error']}", FAILED_STATUS)
    text = news(end, reported, troubled, time.monotonic() - began) if end else ""
    log_path = keep_log(run_summary.results, output) if text or status else None
    if status:
        exit_status = FAILED_STATUS
        last_lines = output.strip().splitlines()[-_LAST_LINES:]
        closing = f"ccdflow failed; the whole log: {log_path}" if log_path else "ccdflow failed"
        text = "\n".join(filter(None, [text, *last_lines, closing]))
    else:
        has_newly_set_aside = bool(text and new_troubles(SET_ASIDE, reported, troubled))
        exit_status = NEWLY_SET_ASIDE_STATUS if has_newly_set_aside else 0
    # The summary of a run that was killed has no end: the next report names its frames.
    return DailyReport(text, exit_status, run_summary.results if end else None, troubled)


def keep_log(results, text):
    """Keep the log of a run with news; return its path, or None.

    Parameters
    ----------
    results : pathlib.Path or None
        The results folder.
    text : str
        The text of the run.

    Returns
    -------
    pathlib.Path or None
    """
    if results is None:
        return None
    path = results / LOG
    try:
        atomic_write.write_text(path, text)
    except OSError as error:
        print(f"ccdflow: the log cannot be kept ({error})", file=sys.stderr)
        return None
    return path


def parse(arguments):
    """Return the arguments of snakemake: settings without --config get one.

    Parameters
    ----------
    arguments : list of str

    Returns
    -------
    list of str
    """
    if {"--config", "-C"} & set(arguments):
        return list(arguments)
    names = schemas.read_schema(settings.CONFIG_SCHEMA)["properties"]
    settings_given = [word for word in arguments if word.partition("=")[0] in names and "=" in word]
    remaining = [word for word in arguments if word not in settings_given]
    return [*remaining, "--config", *settings_given] if settings_given else remaining


def main(arguments=None):
    """Run the command line and return its exit status."""
    try:
        command_lines.allow_interrupts()
        return report(arguments)
    except KeyboardInterrupt:
        # Snakemake has got the signal as well, and ends by itself.
        print("ccdflow: ended by Ctrl-C", file=sys.stderr)
        return command_lines.INTERRUPTED
    finally:
        command_lines.end_at_once()


def report(arguments):
    """Run once, print the report, and return the exit status.

    Parameters
    ----------
    arguments : list of str or None
        The arguments; without them those of the process.

    Returns
    -------
    int
    """
    arguments = parse(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(command_lines.help_text(__doc__))
        return 0
    try:
        command_lines.check_current_folder()
    except UserError as error:
        print(f"ccdflow: {error}", file=sys.stderr)
        return FAILED_STATUS
    if {"-n", "--dry-run", "--dryrun"} & set(arguments):
        return subprocess.call([*COMMAND, *arguments])
    outcome = daily(arguments)
    if outcome.text:
        stream = sys.stderr if outcome.status == FAILED_STATUS else sys.stdout
        print(outcome.text, file=stream, flush=True)
    if outcome.results is not None:
        remember_reported(outcome.results, outcome.frames)
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
