"""Make the products of a batch: a night, or a part of one.

python scripts/batch.py BATCH [--cores N]

The run that wrote the batch starts this script, as a process of its own or as a cluster's job. It
can be started by hand as well. Example:

python scripts/batch.py results/.ccdflow/batches/2016-01-15.0123456789abcdef.json --cores 4

Exit status 0: each product was made or has left a record of why it was not.
"""

from __future__ import annotations

import argparse
import sys

from ccdflow import command_lines
from ccdflow.errors import UserError
from ccdflow.kinds import CHAIN
from ccdflow.run.batches import batch_work
from ccdflow.run.under_snakemake import lasting_streams


def say(text):
    """Write a line to standard error."""
    print(f"ccdflow: {text}", file=sys.stderr, flush=True)


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=command_lines.HelpFormatter
    )
    parser.add_argument("batch", help="the batch's file below results/.ccdflow/batches")
    command_lines.add_cores(parser, default=2)
    parser.add_argument("--parent", type=int, help="end when this process has ended")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Run the command line and return its exit status."""
    command_lines.allow_interrupts()
    lasting_streams.outlast()
    try:
        options = parse(arguments)
    except UserError as error:
        say(error)
        return 1
    return batch_work.make_all(
        options.batch, chain=CHAIN, threads=options.cores, parent=options.parent, say=say
    )


if __name__ == "__main__":
    sys.exit(main())
