"""Whatever a maker, reader or writer raises costs its own product and what is made of it."""

from __future__ import annotations

import shutil

import pytest
from failing_jobs import ERRORS, KINDS, after, go, whole_night

from ccdflow import kinds as kinds_module
from ccdflow.run import ledger

# Each kind with an error, each error at a kind; all pairs in the long form.
PAIRS = [(kind, list(ERRORS)[number % len(ERRORS)]) for number, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return whole_night(tmp_path_factory.mktemp("archive"))


def check(archive, tmp_path, kind, raised):
    chain, raw, before, jobs = archive
    made_before = {name for name, record in before.items() if record.status == ledger.MADE}
    victim = sorted(n for n, job in jobs.items() if job.kind == kind and n in made_before)[0]

    def make(context, job, *, threads=1):
        if job.product == victim:
            raise raised()
        return kinds_module.make(context, job, threads=threads)

    records, lines, _ = go(chain, raw, tmp_path / "results", make=make)
    assert records[victim].status == ledger.FAILED
    made = {name for name, record in records.items() if record.status == ledger.MADE}
    assert made_before - made <= {victim} | after(jobs, victim)
    # What only shows it is made without it.
    shown = {n for n in after(jobs, victim) if jobs[n].kind in ("page", "index", "associations")}
    assert shown & made_before <= made
    (line,) = [line for line in lines if line.startswith("failed: ")]
    assert line.startswith(f"failed: {victim}: ")
    log = line.rpartition("log: ")[2]
    with open(log) as file:  # noqa: PTH123
        assert "Traceback (most recent call last)" in file.read()
    records, _, again = go(chain, raw, tmp_path / "results")
    assert victim in again
    # What was made without it is made again: the same bytes as if nothing had failed.
    for name in made_before:
        whole = (raw.parent / "whole" / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == whole, name
    shutil.rmtree(tmp_path / "results")


# The kinds of pixels and what shows them; the others are in the long form.
SOON = [pair for number, pair in enumerate(PAIRS) if number < 3 or number % 5 == 0]


@pytest.mark.parametrize(("kind", "error"), SOON)
def test_what_a_job_raises_costs_only_what_is_made_of_it(archive, tmp_path, kind, error):
    check(archive, tmp_path, kind, ERRORS[error])


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_each_error_at_each_kind(archive, tmp_path, kind):
    for error in ERRORS.values():
        check(archive, tmp_path, kind, error)
