"""Whatever a reader or writer raises inside a job costs its own product and what is made of it."""

from __future__ import annotations

import functools
import shutil
import sys
import threading

import pytest
from test_errors_of_jobs import ERRORS, after, archive, go  # noqa: F401

from ccdflow import kinds as kinds_module
from ccdflow.calibrate import master_store
from ccdflow.combine import member_reader, members
from ccdflow.errors import DamagedError, FrameError
from ccdflow.files import planes, rawfile, rowio, whole
from ccdflow.kinds.measuring import pixel_tables
from ccdflow.run import ledger

# Where jobs read and write: the functions of a module, and the methods of a class.
PLACES = {
    "read a raw frame": (rawfile, "open_raw"),
    "read its rows": (rowio.RowStream, "blocks"),
    "read headers of members": (members, "read_hdus"),
    "find pixels of members": (member_reader, "locate"),
    "read headers of products": (planes, "read_units"),
    "read rows of products": (planes, "read_rows"),
    "read a master": (master_store.MasterStore, "get"),
    "read a night's bad pixels": (pixel_tables, "read_seen"),
    "begin to write": (whole.Part, "__enter__"),
    "write": (whole.Part, "write"),
    "give the name": (whole.Part, "keep"),
}


class Injection:
    """Raises at a place in the job of one product, once; else it notes which kinds come by."""

    def __init__(self, patch):
        self.job = threading.local()
        self.seen = set()
        self.victim, self.place, self.error = "", "", None
        for name, (owner, attribute) in PLACES.items():
            self._install(patch, name, owner, attribute)

    def _install(self, patch, name, owner, attribute):
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def guarded(*arguments, **options):
            self._pass_by(name)
            return function(*arguments, **options)

        patch.setattr(owner, attribute, guarded)
        for module in [m for n, m in sys.modules.items() if n.startswith("ccdflow.")]:
            if getattr(module, attribute, None) is function:
                patch.setattr(module, attribute, guarded)

    def _pass_by(self, name):
        job = getattr(self.job, "now", None)
        if job is None:
            return
        self.seen.add((job.kind, name))
        if job.product == self.victim and name == self.place:
            self.victim = ""
            raise self.error()

    def make(self, context, job, *, threads=1):
        self.job.now = job
        try:
            return kinds_module.make(context, job, threads=threads)
        finally:
            self.job.now = None


@pytest.fixture(scope="module")
def injection():
    with pytest.MonkeyPatch.context() as patch:
        yield Injection(patch)


def check(archive, tmp_path, injection, kind, place, error):  # noqa: F811
    """Return whether the job came by the place; assert what others lost: nothing."""
    chain, raw, before, jobs = archive
    made_before = {name for name, record in before.items() if record.status == ledger.MADE}
    victim = sorted(n for n, job in jobs.items() if job.kind == kind and n in made_before)[0]
    injection.victim, injection.place, injection.error = victim, place, error
    results = tmp_path / "results"
    records, lines, _ = go(chain, raw, results, make=injection.make)
    came_by = not injection.victim
    injection.victim = ""
    made = {name for name, record in records.items() if record.status == ledger.MADE}
    if came_by and victim not in made:
        assert made_before - made <= {victim} | after(jobs, victim)
        said = [line for line in lines if victim.removesuffix(".fits").partition("/")[2] in line]
        assert len([text for text in said if text.startswith(SAID)]) == 1, lines
        if records[victim].status == ledger.GONE:
            assert place in RAW
        elif records[victim].status == ledger.SET_ASIDE:
            assert kind == "frame"
        else:
            assert records[victim].status == ledger.FAILED, records[victim]
    go(chain, raw, results)
    _, _, rest = go(chain, raw, results)
    assert {name for name in made_before if (results / name).is_file()} == made_before
    assert rest == {}
    shutil.rmtree(results)
    return came_by


# A raw file that cannot be opened is no verdict on the frame.
SAID = ("failed: ", "set aside: ", "left for the next run: ")
# A reader of products says DamagedError, one of raw frames FrameError.
INSIDE = {
    **{name: error for name, error in ERRORS.items() if name != "FrameError"},
    "damaged": lambda: DamagedError("on purpose", file="x", remedy="make it again"),
}
RAW = ("read a raw frame", "read its rows")


def pairs(injection, archive, tmp_path):  # noqa: F811
    """Return the (kind, place) that a run comes by."""
    chain, raw, _, _ = archive
    injection.seen.clear()
    go(chain, raw, tmp_path / "results", make=injection.make)
    shutil.rmtree(tmp_path / "results")
    return sorted(injection.seen)


@pytest.mark.parametrize(
    ("kind", "place", "error"),
    [
        ("flat", "find pixels of members", "ValueError"),
        ("science", "read a master", "damaged"),
    ],
)
def test_what_a_reader_or_writer_raises_costs_no_other_product(
    archive, tmp_path, injection, kind, place, error  # noqa: F811
):  # fmt: skip
    assert check(archive, tmp_path, injection, kind, place, INSIDE[error])


@pytest.mark.torture
@pytest.mark.parametrize("error", [*INSIDE, "FrameError"])
def test_each_error_at_each_reader_and_writer(archive, tmp_path, injection, error):  # noqa: F811
    """All pairs of a kind and a place where it reads or writes."""
    count = 0
    for kind, place in pairs(injection, archive, tmp_path):
        if error == "FrameError" and place not in RAW:
            continue
        made = INSIDE.get(error, lambda: FrameError("on purpose", file="x"))
        count += check(archive, tmp_path, injection, kind, place, made)
    assert count > (1 if error == "FrameError" else 40)
