"""A dry run plans the same jobs, and makes the keys of new pages and tables only when asked."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import small_chain
from small_frames import begin

from ccdflow.kinds.reporting.contact_sheet import SHEET
from ccdflow.kinds.reporting.night_page import NIGHT_PAGE
from ccdflow.run import plan
from ccdflow.run.batches import batch_splitting
from ccdflow.run.context import JobContext, PlanContext
from ccdflow.run.job import UnhashedJob
from ccdflow.run.job_records import Record
from ccdflow.run.raw_frames.rows import Facts, digest
from ccdflow.run.session import Session

# Kinds of products of a night or of all nights that the small chain plans.
REPORTS = {
    "frames picture", "bias picture", "masters picture", "calibrated picture", "sheet", "page",
    "bias table",
    "dark table", "flat table", "associations", "detector table", "trends", "index",
}  # fmt: skip


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Return the contents of a planned archive of one night, and of two with copies of frames."""
    folder = tmp_path_factory.mktemp("archive")
    chain = small_chain.make(folder / "raw", biases=3, flats=(("g", 3),))
    session = begin(folder / "raw", folder / "results", {"simcam": chain.profile})
    session.lock.close()
    store, chance = session.context.store, random.Random(3)
    for row in list(store.rows.values()):
        for night in ("2024-03-02", "2024-03-09"):
            if chance.random() < 0.8:
                file = f"{night}/{Path(row.file).name}"
                facts = Facts.of({**row.facts, "night": night})
                store.add(replace(row, file=file, facts=facts, fingerprint=f"{file}-1"))
    return session.context


def fresh(contents, ledger):
    """Return a context of the same rows that nothing is planned in."""
    names = ("raw", "results", "store", "chain", "outdated_files", "cameras")
    fixed = {name: getattr(contents, name) for name in names}
    changed = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
    settings = {
        name: {**value, **changed[name]} if name in changed else value
        for name, value in contents.settings.items()
    }
    return JobContext(**fixed, settings=settings, ledger=dict(ledger))


def values_of(jobs):
    """Return the values of jobs, with their keys."""
    return [
        (j.kind, j.product, j.key, j.reason, j.night, j.needs, j.attempt, j.spare)
        for j in jobs.values()
    ]


@pytest.mark.parametrize("share_made", [0.0, 0.6])
def test_the_jobs_of_a_dry_run_are_those_of_the_run(contents, share_made):
    chance, notes = random.Random(1), {}
    context = fresh(contents, {})
    for job in plan.make_plan(context).jobs.values():
        if chance.random() < share_made:
            key = job.key if chance.random() < 0.7 else "0" * 16
            basis = context.chain.by_name(job.kind).basis(PlanContext.of(context), job)
            notes[job.product] = Record(job.product, job.kind, key, stamp=(1, 2, 3), basis=basis)
    wet = plan.make_plan(fresh(contents, notes))
    dry = plan.make_plan(fresh(contents, notes), is_dry=True)
    later = {job.kind for job in dry.jobs.values() if isinstance(job, UnhashedJob)}
    assert later == REPORTS if not share_made else set() < later < REPORTS, later ^ REPORTS
    assert not any(isinstance(job, UnhashedJob) for job in wet.jobs.values())
    # A dry run writes no record, so the name of a record needs no key. It stays the same once the
    # keys are computed, as `values_of` does.
    names = {product: job.record_path for product, job in dry.jobs.items()}
    assert names
    assert all(re.search(r"\.[0-9a-f]{16}\.json$", name) for name in names.values())
    assert values_of(dry.jobs) == values_of(wet.jobs)
    assert {product: job.record_path for product, job in dry.jobs.items()} == names
    assert list(dry.jobs.values()) == list(wet.jobs.values())
    assert set(dry.jobs.values()) == set(wet.jobs.values())
    assert dry.planned_counts == wet.planned_counts
    assert dry.context.planned_products == wet.context.planned_products


def test_a_dry_run_makes_no_basis_of_a_new_page(contents, monkeypatch):
    asked = []
    pages, sheets = NIGHT_PAGE.night_basis, SHEET.night_basis
    monkeypatch.setattr(
        NIGHT_PAGE, "night_basis", lambda *about: asked.append("page") or pages(*about)
    )
    monkeypatch.setattr(
        SHEET, "night_basis", lambda *about: asked.append("sheet") or sheets(*about)
    )
    dry = plan.make_plan(fresh(contents, {}), is_dry=True)
    session = Session(dry, is_dry=True)
    assert batch_splitting.split(session, is_split_by_night=True, writes_files=False)
    assert dry.dry_run_lines()
    assert asked == []
    page = next(job for job in dry.jobs.values() if job.kind == "page")
    assert page.record_path == f".ccdflow/done/{page.product}.0000000000000000.json"
    assert page.key == digest(pages(PlanContext.of(dry.context), page.night))
    # The page has the keys of the pictures and of the contact sheet.
    assert asked == ["page", "sheet"]


def test_a_dry_run_for_one_product_has_the_key_of_the_whole_plan(contents):
    wet = plan.make_plan(fresh(contents, {}))
    dry = plan.make_plan(fresh(contents, {}), is_dry=True)
    page = next(job.product for job in wet.jobs.values() if job.kind == "page")
    dry.keep_only([page])
    assert len(dry.jobs) < len(wet.jobs)
    assert dry.jobs[page].key == wet.jobs[page].key


def test_where_records_are_left_a_dry_run_compares_their_keys(contents):
    """The record of a run that was cut off has the key in its name, and is not written again."""
    wet = plan.make_plan(fresh(contents, {}))
    page = next(job for job in wet.jobs.values() if job.kind == "page")
    left = [contents.results / page.record_path]
    dry = plan.make_plan(fresh(contents, {}), records=left, is_dry=True)
    assert dry.jobs[page.product].attempt == 1
    assert dry.jobs[page.product].record_path == page.record_path.replace(".json", ".1.json")
