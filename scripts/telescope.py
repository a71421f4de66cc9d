"""Let the frames of a folder arrive in another one, as at a telescope: to try watch.py.

python scripts/telescope.py source=FOLDER raw=FOLDER [--every SECONDS]

Example, after `make demo`:

python scripts/telescope.py source=demo/raw raw=demo/tonight --every 0.1

Each frame is written in two halves.
"""

from __future__ import annotations

import sys

from ccdflow import command_lines
from ccdflow.simulate.frame_arrivals import observe
from ccdflow.wording import count


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("source", "raw"))
    parser.add_argument(
        "--every", default=5.0, type=command_lines.seconds_type("--every", least=0),
        help="seconds from one frame to the next (default: 5)",
    )  # fmt: skip
    return command_lines.parse_arguments(parser, arguments)


def run(options):
    """Let the frames arrive; return the last line, and the exit status where it is not 0."""
    source = command_lines.path(options, "source", must_exist=True)
    raw = command_lines.path(options, "raw")
    command_lines.refuse_further_words(options)
    number, is_complete = 0, True
    try:
        for _ in observe(source, raw, every=options.every):
            number += 1
    except KeyboardInterrupt:
        is_complete = False
    line = f"{count(number, 'frame')} arrived in {raw}"
    if is_complete:
        return line
    return (
        f"ccdflow: ended by Ctrl-C: {line}; one more may be half-written",
        command_lines.INTERRUPTED,
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
