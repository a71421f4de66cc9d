"""Whatever a maker, reader or writer raises costs its own product and what is made of it."""

from __future__ import annotations

import shutil

import pytest
from failing_jobs import ERRORS, KINDS, products_after, run_all_jobs, whole_night

from ccdflow import kinds as kinds_module
from ccdflow.run import job_records

# Each kind with an error, each error at a kind; all pairs in the long form.
PAIRS = [(kind, list(ERRORS)[number % len(ERRORS)]) for number, kind in enumerate(KINDS)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return whole_night(tmp_path_factory.mktemp("archive"))


def check(archive, tmp_path, raised):
    """Make a job of each of these kinds raise: {kind: the error's maker}."""
    chain, raw, before, jobs = archive
    made_before = {name for name, record in before.items() if record.status == job_records.MADE}
    victims = {
        sorted(n for n, job in jobs.items() if job.kind == kind and n in made_before)[0]: maker
        for kind, maker in raised.items()
    }

    def make(context, job, *, threads=1):
        if job.product in victims:
            raise victims[job.product]()
        return kinds_module.make(context, job, threads=threads)

    records, lines, _ = run_all_jobs(chain, raw, tmp_path / "results", make=make)
    assert {records[victim].status for victim in victims} == {job_records.FAILED}
    made = {name for name, record in records.items() if record.status == job_records.MADE}
    followers = {name for victim in victims for name in products_after(jobs, victim)}
    assert made_before - made <= victims.keys() | followers
    # Pages and tables that only show it are made without it.
    shown = {n for n in followers if jobs[n].kind in ("page", "index", "associations")}
    assert shown & made_before - victims.keys() <= made
    failed = [line for line in lines if line.startswith("failed: ")]
    assert sorted(line.split(": ")[1] for line in failed) == sorted(victims)
    for line in failed:
        with open(line.rpartition("log: ")[2]) as file:  # noqa: PTH123
            assert "Traceback (most recent call last)" in file.read()
    records, _, again = run_all_jobs(chain, raw, tmp_path / "results")
    assert victims.keys() <= set(again)
    # Products without it are made again: the same bytes as if nothing had failed.
    for name in made_before:
        whole = (raw.parent / "whole" / "results" / name).read_bytes()
        assert (tmp_path / "results" / name).read_bytes() == whole, name
    shutil.rmtree(tmp_path / "results")


# Kinds whose jobs fail in one run: none of them needs another. The remaining kinds are in the long
# form.
KIND_SETS = [
    ("frame", "index"),
    ("bias",),
    ("dark", "calibrated picture"),
    ("shutter", "flat table"),
    ("science",),
]


@pytest.mark.parametrize("together", KIND_SETS, ids=" ".join)
def test_an_error_of_a_job_costs_only_the_products_made_of_it(archive, tmp_path, together):
    errors = dict(PAIRS)
    check(archive, tmp_path, {kind: ERRORS[errors[kind]] for kind in together})


@pytest.mark.torture
@pytest.mark.parametrize("kind", KINDS)
def test_each_error_at_each_kind(archive, tmp_path, kind):
    for error in ERRORS.values():
        check(archive, tmp_path, {kind: error})
