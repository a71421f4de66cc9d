"""Whatever a reader or writer raises inside a job costs its own product and what is made of it."""

from __future__ import annotations

import errno
import functools
import itertools
import shutil
import struct
import sys
import zlib

import numpy as np
import pytest
from astropy.io.fits import VerifyError
from astropy.utils.exceptions import AstropyUserWarning
from failing_jobs import ERRORS, JobAtWork, products_after, run_all_jobs, whole_night

from ccdflow.calibrate import master_store
from ccdflow.combine import member_reader, members
from ccdflow.errors import MAKE_AGAIN, DamagedProduct, FrameError
from ccdflow.files import atomic_write, raw_files, row_files
from ccdflow.files.fits_products import multi_image_products
from ccdflow.kinds.measuring import pixel_tables
from ccdflow.run import job_records

# Where jobs read and write: the functions of a module, and the methods of a class.
PLACES = {
    "read a raw frame": (raw_files, "open_raw"),
    "read its rows": (row_files.RowStream, "blocks"),
    "read headers of members": (members, "read_hdus"),
    "find pixels of members": (member_reader, "member_of_file"),
    "read headers of products": (multi_image_products, "read_stored_hdus"),
    "read rows of products": (multi_image_products, "read_rows"),
    "read a master": (master_store.MasterStore, "get"),
    "read a night's bad pixels": (pixel_tables, "read_night_bad_pixels"),
    "begin to write": (atomic_write.Part, "__enter__"),
    "write": (atomic_write.Part, "write"),
    "give the name": (atomic_write.Part, "keep"),
}


class Injection:
    """Raises an error once, at a place in the job of one product; notes all places of all kinds."""

    def __init__(self, patch):
        self.job = JobAtWork()
        self.seen = set()
        self.victim, self.place, self.error = "", "", None
        for name, (owner, attribute) in PLACES.items():
            self._install(patch, name, owner, attribute)

    def _install(self, patch, name, owner, attribute):
        function = getattr(owner, attribute)

        @functools.wraps(function)
        def guard_call(*arguments, **options):
            self._pass_by(name)
            return function(*arguments, **options)

        patch.setattr(owner, attribute, guard_call)
        for module in [m for n, m in sys.modules.items() if n.startswith("ccdflow.")]:
            if getattr(module, attribute, None) is function:
                patch.setattr(module, attribute, guard_call)

    def _pass_by(self, name):
        job = self.job.now
        if job is None:
            return
        self.seen.add((job.kind, name))
        if job.product == self.victim and name == self.place:
            self.victim = ""
            raise self.error()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return whole_night(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def injection():
    with pytest.MonkeyPatch.context() as patch:
        yield Injection(patch)


def strike(archive, tmp_path, injection, kind, place, error):
    """Raise an error at a place in a job; return whether the job came by this place.

    Products that do not depend on the job are not lost, and the next run makes all others.
    """
    chain, raw, before, jobs = archive
    made_before = {name for name, record in before.items() if record.status == job_records.MADE}
    victim = sorted(n for n, job in jobs.items() if job.kind == kind and n in made_before)[0]
    injection.victim, injection.place, injection.error = victim, place, error
    results = tmp_path / "results"
    records, lines, _ = run_all_jobs(chain, raw, results, make=injection.job.make)
    came_by = not injection.victim
    injection.victim = ""
    made = {name for name, record in records.items() if record.status == job_records.MADE}
    if came_by and victim not in made:
        assert made_before - made <= {victim} | products_after(jobs, victim)
        messages = [
            line for line in lines if victim.removesuffix(".fits").partition("/")[2] in line
        ]
        assert len([text for text in messages if text.startswith(OUTCOMES)]) == 1, lines
        if records[victim].status == job_records.GONE:
            assert place in RAW
        elif records[victim].status == job_records.SET_ASIDE:
            assert kind == "frame"
        else:
            assert records[victim].status == job_records.FAILED, records[victim]
    run_all_jobs(chain, raw, results)
    _, _, rest = run_all_jobs(chain, raw, results)
    assert {name for name in made_before if (results / name).is_file()} == made_before
    assert rest == {}
    shutil.rmtree(results)
    return came_by


# A raw file that cannot be opened is no verdict on the frame.
OUTCOMES = ("failed: ", "set aside: ", "left for the next run: ")
# A reader of products raises DamagedProduct, a reader of raw frames raises FrameError.
ERRORS_INSIDE = {
    **{name: error for name, error in ERRORS.items() if name != "FrameError"},
    "damaged": lambda: DamagedProduct("on purpose", file="x", remedy=MAKE_AGAIN),
}
RAW = ("read a raw frame", "read its rows")


def pairs(injection, archive, tmp_path):
    """Return the (kind, place) that a run comes by."""
    chain, raw, _, _ = archive
    injection.seen.clear()
    run_all_jobs(chain, raw, tmp_path / "results", make=injection.job.make)
    shutil.rmtree(tmp_path / "results")
    return sorted(injection.seen)


@pytest.mark.parametrize(
    ("kind", "place", "error"),
    [
        ("flat", "find pixels of members", "ValueError"),
        ("science", "read a master", "damaged"),
    ],
)
def test_an_error_of_a_reader_or_writer_costs_no_other_product(
    archive, tmp_path, injection, kind, place, error
):  # fmt: skip
    assert strike(archive, tmp_path, injection, kind, place, ERRORS_INSIDE[error])


# Other errors of libraries.
LIBRARY_ERRORS = {
    "zlib": lambda: zlib.error("Error -3 while decompressing data"),
    "struct": lambda: struct.error("unpack requires a buffer of 4 bytes"),
    "KeyError": lambda: KeyError("NAXIS1"),
    "AttributeError": lambda: AttributeError("on purpose"),
    "VerifyError": lambda: VerifyError("on purpose"),
    "FITSFixedWarning": lambda: AstropyUserWarning("on purpose"),
    "LinAlgError": lambda: np.linalg.LinAlgError("Singular matrix"),
    "ZeroDivisionError": lambda: ZeroDivisionError("division by zero"),
    "EOFError": EOFError,
    "AssertionError": AssertionError,
    **{
        name: lambda name=name: OSError(getattr(errno, name), "on purpose", "x")
        for name in ("EROFS", "ELOOP", "ENAMETOOLONG", "ENOMEM", "EMFILE", "EINTR", "EAGAIN")
    },
    "TimeoutError": TimeoutError,
    "ESTALE": lambda: OSError(errno.ESTALE, "Stale file handle", "x"),
    "BrokenPipeError": lambda: BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "group": lambda: ExceptionGroup("on purpose", [ValueError("a\nb"), KeyError(3)]),
    "lines": lambda: RuntimeError("of several\nlines \x1b[31m {and} %s"),
}


@pytest.mark.torture
def test_errors_at_each_reader_and_writer(archive, tmp_path, injection):
    """All pairs of a kind and a place where it reads or writes, in runs from nothing."""
    count, errors = 0, itertools.cycle({**ERRORS_INSIDE, **LIBRARY_ERRORS}.values())
    for kind, place in pairs(injection, archive, tmp_path):
        count += strike(archive, tmp_path, injection, kind, place, next(errors))
    assert count > 40


@pytest.mark.torture
@pytest.mark.parametrize("error", [*ERRORS_INSIDE, *LIBRARY_ERRORS, "FrameError"])
def test_each_error_at_each_reader_and_writer(archive, tmp_path, injection, error):
    """All pairs, in an archive in which only the victim is missing."""
    chain, raw, before, jobs = archive
    results, whole_results = tmp_path / "work" / "results", raw.parent / "whole" / "results"
    make_error = {
        **ERRORS_INSIDE,
        **LIBRARY_ERRORS,
        "FrameError": lambda: FrameError("on purpose", file="x"),
    }[error]
    places = pairs(injection, archive, tmp_path)
    results.parent.mkdir()
    run_all_jobs(chain, raw, results)
    wanted = {name for name, record in before.items() if record.status == job_records.MADE}
    wanted = {name: (whole_results / name).read_bytes() for name in wanted}
    count, wrong = 0, []
    for kind, place in places:
        if error == "FrameError" and place not in RAW:
            continue
        victim = sorted(n for n, job in jobs.items() if job.kind == kind and n in wanted)[0]
        (results / victim).unlink()
        injection.victim, injection.place, injection.error = victim, place, make_error
        records, lines, planned = run_all_jobs(chain, raw, results, make=injection.job.make)
        came_by, injection.victim = not injection.victim, ""
        count += came_by
        now = {name: read(results / name) for name in wanted if name != victim}
        # Pages and tables that show it are made without it.
        shown = products_after(jobs, victim)
        lost = {n for n, c in now.items() if c is None or (n not in shown and c != wanted[n])}
        is_made = records[victim].status == job_records.MADE
        named = [line for line in lines if line.startswith(OUTCOMES) and "\x1b" not in line]
        if lost or victim not in planned or (came_by and len(named) != (not is_made)):
            wrong.append((kind, place, sorted(lost), lines))
        run_all_jobs(chain, raw, results)
        if {n for n, c in wanted.items() if read(results / n) != c}:
            wrong.append((kind, place, "not mended"))
    assert wrong == []
    assert count > (1 if error == "FrameError" else 30)


def read(path):
    """Return the content of a file, None where there is none."""
    return path.read_bytes() if path.is_file() else None
