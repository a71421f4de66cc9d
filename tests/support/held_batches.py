"""Batches that stop themselves after their first record: a test finds them at work for certain.

A test that looks for a record and stops the process then may come too late: on a busy machine a
batch of some tiny frames has ended by then. So the process itself does it::

    environment = held_batches.environment(folder, "2016-01-15")  # of the run; folder is empty
    wait_until(lambda: held_batches.held_process(folder, "2016-01-15"))

Of each night the first process is held, and none that takes its batch up later. `recorded_keys`
returns the products that have a record then: no later run may make them again. The product of a
process that was held before it wrote the record is made again.
"""

from __future__ import annotations

import importlib.machinery
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# The variable with folder and nights, as `environment` gives them.
_HOLDERS = "CCDFLOW_TEST_HELD"
_RECORDS = "ccdflow.run.job_records"


# -- the test --------------------------------------------------------------------------------------


def environment(folder, *nights):
    """Return the variables of a run whose first batches of some nights are held."""
    folder.mkdir()
    here = Path(__file__).parent
    return {
        "PYTHONPATH": f"{here / 'holding'}:{here}",
        _HOLDERS: ":".join((str(folder), *nights)),
    }


def held_process(folder, night):
    """Return the id of the held process of a night; None while no process is held."""
    with suppress(OSError, ValueError):
        process = int((folder / night).read_text())
        status = Path(f"/proc/{process}/stat").read_text()
        if status.rpartition(")")[2].split()[0] == "T":
            return process
    return None


def release(folder, night):
    """Let the held process of a night continue."""
    process = held_process(folder, night)
    if process is not None:
        os.kill(process, signal.SIGCONT)


def recorded_keys(results):
    """Return {product: key} of the made products with a record, in a file or in the ledger.

    Files are read first: a run writes their records into the ledger, and then removes them.
    """
    from ccdflow.run import job_records, ledger

    made = {
        record.product: record.key
        for _, record in job_records.unfolded_records(results)
        if record is not None and record.status == job_records.MADE
        if not record.product.startswith("batches/")
    }
    known = ledger.load_ledger(results).items()
    return {name: each.key for name, each in known if each.status == job_records.MADE} | made


# -- the processes of the run ----------------------------------------------------------------------


def change_on_import(name, change):
    """Change a module when it is imported, or at once where it is imported already."""
    if name in sys.modules:
        change(sys.modules[name])
        return

    class Finder:
        """A finder of one module, which is changed after its import."""

        @staticmethod
        def find_spec(other, path=None, target=None):
            """Return the spec of the module; None for another one."""
            if other != name:
                return None
            spec = importlib.machinery.PathFinder.find_spec(other, path, target)
            run = spec.loader.exec_module

            def exec_module(module):
                """Run the module, and change it."""
                run(module)
                change(module)

            spec.loader.exec_module = exec_module
            return spec

    sys.meta_path.insert(0, Finder)


def hold_batches():
    """Make this process stop itself after its first record, if it is the first of its night."""
    if _HOLDERS in os.environ:
        change_on_import(_RECORDS, _hold_after_a_record)


def _hold_after_a_record(job_records):
    """Replace the writing of records by one that stops the process after the first record."""
    folder, *nights = os.environ[_HOLDERS].split(":")
    write = job_records.write_record

    def write_and_stop(results, record, path):
        """Write a record, and stop the process if it is the first of its night."""
        write(results, record, path)
        for night in nights:
            if record.product.startswith(f"reduced/{night}/") and _is_first(f"{folder}/{night}"):
                os.kill(os.getpid(), signal.SIGSTOP)

    job_records.write_record = write_and_stop


def _is_first(mark):
    """Write the id of this process, and return True; False if another process wrote its id."""
    try:
        with Path(mark).open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
