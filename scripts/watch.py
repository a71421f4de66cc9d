"""Watch a raw folder: reduce, calibrate and show each frame as soon as it is complete.

python scripts/watch.py raw=FOLDER results=FOLDER [--cores N] [--pause SECONDS]

Example, after `make demo`, which makes the missing products once, and ends:

python scripts/watch.py raw=demo/raw results=demo/results --once

Settings that are given to a run by --config are given here as well: 'bias={method: median}'.
It prints a line for each frame, and renews the night's page: open results/live.html in a browser.
Its products are those of snakemake. Ctrl-C ends it after the frames that are being made.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from contextlib import suppress

from ccdflow import command_lines, paths, settings
from ccdflow.files import atomic_write
from ccdflow.files.text_files import notes
from ccdflow.kinds import CHAIN
from ccdflow.pages import live_page, rendering
from ccdflow.run import read_only_plan
from ccdflow.run.lines import debug_lines
from ccdflow.run.watch import arrivals, watching
from ccdflow.wording import count

NAMES = ("raw", "results", "cameras", *settings.block_names())
# The page shows this many lines. Chosen: a screen full.
_MOST_LINES = 40
# Seconds between two signs of life of the page. Chosen: an observer notices a watch that has ended.
_BEAT_SECONDS = 10.0


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=NAMES)
    command_lines.add_cores(parser, counted_things="frames that are worked on at the same time")
    parser.add_argument(
        "--pause",
        type=command_lines.seconds_type("--pause", least=0.01),
        default=watching.PAUSE_SECONDS,
        help="seconds between two looks at a raw folder without events"
        f" (default: {watching.PAUSE_SECONDS:g})",
    )
    parser.add_argument(
        "--notice", choices=arrivals.WATCH_WAYS, default=arrivals.AUTO_WAY,
        help="events: the kernel reports frames; polling: for folders of other machines",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=command_lines.seconds_type("--limit", least=0.01),
        default=watching.SILENCE_SECONDS,
        help="seconds after which a folder that does not answer is named"
        f" (default: {watching.SILENCE_SECONDS:g})",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="give the reasons of whole plans")
    parser.add_argument(
        "--once", action="store_true", help="make the missing products once, and end"
    )
    return command_lines.parse_arguments(parser, arguments)


class Observer:
    """The observer's view: lines on the terminal, and the page in the browser.

    Parameters
    ----------
    results : pathlib.Path
    """

    def __init__(self, results):
        self._results = results
        self._lines = deque(maxlen=_MOST_LINES)
        self._page, self._page_time_ns, self._state = "", 0, live_page.WATCHING_STATE
        self._news_event = threading.Event()
        self._thread = threading.Thread(target=self._keep_showing, daemon=True)

    def begin(self):
        """Begin to show."""
        self._thread.start()

    def say(self, text):
        """Print a line with the time, and show it on the page."""
        line = f"{time.strftime('%H:%M:%S')}  {rendering.escape_unprintable(text)}"
        # The terminal may be gone, or the disk of its log full: the page still shows the line.
        with suppress(OSError):
            print(line, flush=True)
        self._lines.append(line)
        self._news_event.set()

    def show_round(self, watch_round):
        """Show the page of the last night with a new product."""
        if watch_round.nights:
            self._page = paths.night_page(watch_round.nights[-1])
            self._page_time_ns = time.time_ns()
            self._news_event.set()

    def show_problem(self, problem):
        """Show a problem in place of the state of the watch; '' shows that all have passed."""
        self._state = rendering.escape_unprintable(problem) or live_page.WATCHING_STATE
        self._news_event.set()

    def end(self):
        """Show that the watch has ended."""
        self._state = live_page.ENDED_STATE
        self._news_event.set()
        self._thread.join(_BEAT_SECONDS)

    def _keep_showing(self):
        """Write the page and its script for each news, and every `_BEAT_SECONDS` without news."""
        while True:
            self._news_event.clear()
            is_over = self._state == live_page.ENDED_STATE
            script = live_page.live_script(
                self._page,
                self._page_time_ns,
                lines=self._lines,
                state=self._state,
                beat=int(time.time()),
            )
            # On a full disk no page is written; a line of the watch reports the disk.
            with suppress(OSError):
                notes.write_if_changed(self._results / live_page.LIVE_PAGE, live_page.live_page())
                atomic_write.write_text(self._results / live_page.LIVE_SCRIPT, script)
            if is_over:
                return
            self._news_event.wait(_BEAT_SECONDS)


def watch(options):
    """Watch until a signal ends it; return the last line, with ``--once`` also the exit status."""
    command_lines.path(options, "raw")
    observer = Observer(command_lines.path(options, "results"))
    command_lines.refuse_further_words(options)
    if options.verbose:
        debug_lines.DebugLines(observer.say)
    watch_settings = read_only_plan.settings_of(options.settings_given)
    raw_watch = watching.Watch(
        watch_settings,
        chain=CHAIN,
        cores=options.cores,
        listener=watching.WatchListener(observer.say, observer.show_round, observer.show_problem),
        noticing=watching.Noticing(options.notice, options.pause, options.limit),
    )
    if options.once:
        # No round follows: the remedies are those of a run.
        raw_watch.end()
        last_round = raw_watch.whole_round()
        problem = last_round.problem
        if not problem and last_round.n_failed:
            problem = f"{count(last_round.n_failed, 'job')} failed, see the lines above"
        return ("ccdflow: nothing more to do", 0) if not problem else (f"ccdflow: {problem}", 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # `nohup` ignores SIGHUP, so that the watch outlives its terminal: this stays so.
        if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:
            signal.signal(number, lambda *_: raw_watch.end())
    # The lock is taken before the page is written, because another watch may be writing the page.
    raw_watch.claim.take_within_limit()
    observer.say(f"watching {watch_settings['raw']}; Ctrl-C ends")
    observer.begin()
    try:
        raw_watch.run()
    finally:
        observer.end()
    return f"ccdflow: the watch has ended; {words_on_work_left(raw_watch)}"


def words_on_work_left(ended_watch):
    """Return the words for the work that a watch leaves to the next run."""
    if ended_watch.is_hanging:
        return "a folder did not answer, the next run does the rest"
    number = ended_watch.n_waiting
    if number is None:
        return "the raw folder was not looked through; start again, or run snakemake"
    parts = [count(number, "frame waits", "frames wait")] if number else []
    if ended_watch.n_failed:
        parts.append(count(ended_watch.n_failed, "product failed", "products failed"))
    if parts:
        return f"nothing is half made; {', '.join(parts)}: start again, or run snakemake"
    return "nothing is half made"


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(watch, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
