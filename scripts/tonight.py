"""The frames that tonight still lacks: which darks, flats and biases to take now.

python scripts/tonight.py raw=FOLDER [results=FOLDER] [night=2016-01-16]

Example, after `make demo`:

python scripts/tonight.py raw=demo/raw results=demo/results

Reads headers only, and writes nothing. It needs no result; where there are results, headers read
before are not read again, and the noise is that of the measured sky. Without `night=` it takes the
last night. Settings that are given to a run by --config are given here as well:
calibrate='{scale_up: 1}'.
"""

from __future__ import annotations

import shutil
import sys

from ccdflow import command_lines, settings
from ccdflow.kinds import CHAIN
from ccdflow.kinds.forecasting import lacking_frames
from ccdflow.pages import terminal
from ccdflow.run import read_only_plan
from ccdflow.run.context import PlanContext

NAMES = ("raw", "results", "night", "cameras", *settings.block_names())


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=NAMES)
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Return the lines on a night."""
    command_lines.refuse_further_words(options)
    command_lines.path(options, "raw")
    settings_given = dict(options.settings_given)
    night = settings_given.pop("night", None)
    context = PlanContext.of(read_only_plan.plan_only(settings_given, chain=CHAIN).context)
    lines = lacking_frames.lines_on_night(context, night or lacking_frames.last_night(context))
    if sys.stdout.isatty():
        lines = terminal.folded_lines(lines, shutil.get_terminal_size().columns)
    return "\n".join(lines)


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
