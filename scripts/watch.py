"""Watch a raw folder: reduce, calibrate and show each frame as soon as it is complete.

python scripts/watch.py raw=FOLDER results=FOLDER [--cores N] [--pause SECONDS]

Example, after `make demo`, which does once what there is to do, and ends:

python scripts/watch.py raw=demo/raw results=demo/results --once

It prints a line for each frame, and renews the night's page: open results/live.html in a browser.
Its products are those of snakemake. Ctrl-C ends it after the frames that are being made.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from ccdflow import commandline, paths
from ccdflow.files import notes
from ccdflow.kinds import CHAIN
from ccdflow.pages import live
from ccdflow.run import looking, watching

NAMES = ("raw", "results", "cameras")


def parse(arguments=None):
    """Return the parsed command line."""
    parser = commandline.parser(__doc__, words="raw=FOLDER results=FOLDER", names=NAMES)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--cores", type=int, default=cores, help="frames at the same time")
    parser.add_argument("--pause", type=float, default=watching.PAUSE, help="between two looks, s")
    parser.add_argument("--once", action="store_true", help="do what there is to do, and end")
    return commandline.parse(parser, arguments)


def say(text):
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def watch(options):
    """Watch until told to end; return the last line."""
    commandline.path(options, "raw")
    results = commandline.path(options, "results")
    commandline.no_more_words(options)
    values = looking.settings_of(options.given)

    def after(done):
        if done.nights:
            script = live.live_script(paths.night_page(done.nights[-1]), time.time_ns())
            notes.write_atomically(results / live.SCRIPT, script)
            notes.write_atomically(results / live.PAGE, live.live_page())

    watched = watching.Watch(
        values, chain=CHAIN, cores=options.cores, say=say, pause=options.pause, after=after
    )
    if options.once:
        problem = watched.round().problem
        return ("ccdflow: nothing more to do", 0) if not problem else (f"ccdflow: {problem}", 1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: watched.end())
    say(f"watching {values['raw']}; Ctrl-C ends")
    watched.run()
    return "ccdflow: the watch has ended; nothing is half made"


def main(arguments=None):
    """Run the command line and return its exit status."""
    return commandline.run(watch, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
