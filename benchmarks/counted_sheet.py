"""The `snakemake` command, and one line after it: the CPU seconds of the contact sheet.

python benchmarks/counted_sheet.py ARGUMENTS OF SNAKEMAKE

The line counts the work that a run without a contact sheet would not do: the sums of each frame's
rows, its small picture, the list of the night, and two parts of the night's page. All jobs of a run
of up to 2,000 frames are threads of this process.
"""

from __future__ import annotations

import re
import sys
import time
from functools import wraps
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import ccdflow.lean_imports  # noqa: F401  before numpy

LINE = "contact sheet: {:.4f} CPU s"


def counted_functions():
    """Return (owner, name) of the counted functions, none of which calls another."""
    from ccdflow.frame.small_images import SmallImage
    from ccdflow.kinds.reducing import reduce_job
    from ccdflow.kinds.reporting.contact_sheet import Sheet

    of_frames = [(SmallImage, name) for name in ("__init__", "add", "result")]
    of_nights = [(Sheet, name) for name in ("plan", "make", "sections")]
    return [*of_frames, (reduce_job, "write_small_picture"), *of_nights]


def count_calls(owner, name, seconds):
    """Replace a function by one that notes the CPU seconds of each call, of its thread.

    Parameters
    ----------
    owner : type or module
    name : str
    seconds : list of float
        Gets the seconds of each call.
    """
    function = getattr(owner, name)

    @wraps(function)
    def time_call(*arguments, **keywords):
        """Call the function, and note the CPU seconds."""
        start_time = time.thread_time()
        try:
            return function(*arguments, **keywords)
        finally:
            seconds.append(time.thread_time() - start_time)

    setattr(owner, name, time_call)


def seconds_in(log):
    """Return the CPU seconds in the log of a run; None without the line."""
    match = re.search(r"^contact sheet: ([\d.]+) CPU s$", log, re.MULTILINE)
    return None if match is None else float(match[1])


def run(arguments):
    """Run Snakemake, and print the seconds."""
    from snakemake.cli import main

    seconds = []
    for owner, name in counted_functions():
        count_calls(owner, name, seconds)
    sys.argv = ["snakemake", *arguments]
    try:
        main()
    finally:
        print(LINE.format(sum(seconds)), flush=True)


if __name__ == "__main__":
    run(sys.argv[1:])
