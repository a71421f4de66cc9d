"""Batches of plans drawn at random: their jobs, their order, and the jobs left after a failure."""

from __future__ import annotations

import os
import random
from types import SimpleNamespace

import pytest

from ccdflow.kinds.kind import Chain
from ccdflow.run.batches import batch_splitting
from ccdflow.run.job import Job, Size
from ccdflow.run.plan import Plan
from ccdflow.run.under_snakemake import job_list


def kind(name, verb, *, is_in_batches=True):
    return SimpleNamespace(
        name=name,
        is_in_batches=is_in_batches,
        is_report=verb == "write",
        size=lambda context, job: Size(),
    )


# The kind in the middle is in no batch: the main process makes its products and all made of them.
KINDS = Chain(
    (
        kind("frame", "reduce"),
        kind("bias", "make"),
        kind("flat", "make"),
        kind("map", "make", is_in_batches=False),
        kind("science", "calibrate"),
        kind("small sheet", "write"),
        kind("page", "write", is_in_batches=False),
    )
)


def draw_session(seed, results):
    """Return a session with jobs of some nights; each needs some of earlier kinds, of any night."""
    rng, jobs = random.Random(seed), {}
    most = rng.choice((3, 5, 12, 40))
    nights = [f"2024-03-0{n}" for n in range(1, rng.randint(2, 7))]
    for each in KINDS:
        for number in range(rng.choice((0, 2, 12, 30))):
            night = rng.choice(nights)
            pool = (
                [job for job in jobs if jobs[job].kind != each.name] if rng.random() < 0.9 else []
            )
            if rng.random() < 0.5:
                pool = [job for job in pool if jobs[job].night == night]
            needs = tuple(rng.sample(pool, min(len(pool), rng.randint(0, 4))))
            needs = () if each.name == "frame" else needs
            product = f"{each.name}/{night}/{number}"
            jobs[product] = Job(each.name, product, "0123456789abcdef", "new", night, needs)
    context = SimpleNamespace(chain=KINDS, settings={"frames_per_batch": most}, results=results)
    return SimpleNamespace(plan=Plan(context, jobs, []), context=context), most


@pytest.mark.parametrize("each_night", [False, True])
def test_each_job_is_in_one_batch_or_left_with_all_that_needs_it(each_night, tmp_path):
    gathered = left_here = 0
    for seed in range(100):
        session, most = draw_session(seed, tmp_path)
        jobs = session.plan.jobs
        parts = batch_splitting.split(session, is_split_by_night=each_night, writes_files=False)
        home = {product: batch for batch in parts for product in batch.products}
        assert sum(len(batch.products) for batch in parts) == len(home)
        assert len({batch.name for batch in parts}) == len({batch.record_path for batch in parts})
        earlier, places = [], list(jobs)
        for batch in parts:
            own = [jobs[product] for product in batch.products]
            assert own == sorted(own, key=lambda job: places.index(job.product))
            needed = {home[need].record_path for job in own for need in job.needs} - {
                batch.record_path
            }
            assert set(batch.earlier_record_paths) == needed <= set(earlier), seed
            assert sum(job.kind == "frame" for job in own) <= most
            if batch.earlier_record_paths:
                kinds = {job.kind for job in own if {home[need] for need in job.needs} - {batch}}
                assert len(kinds) == 1
                assert sum(job.kind in kinds for job in own) <= most, seed
            earlier.append(batch.record_path)
        staged = {each.name for each in KINDS if each.is_in_batches}
        alone = [job for job in jobs.values() if job.kind in staged and job.product not in home]
        hindered = [job for job in alone if any(need not in home for need in job.needs)]
        if each_night or len(alone) > most:
            assert alone == hindered
        gathered += any(batch.earlier_record_paths for batch in parts)
        left_here += len(alone) > len(hindered)
    # The cases above were there.
    assert gathered > 20
    if not each_night:
        assert left_here > 10


def records_without(dead, made, parts, listed, jobs):
    """Return the records there are once Snakemake has ended and a batch has done a part only."""
    records = {jobs[product].record_path for product in dead.products[:made]}
    stopped = {dead.record_path}
    for batch in parts:
        if batch is dead or stopped & set(batch.earlier_record_paths):
            stopped.add(batch.record_path)
        else:
            records |= {
                batch.record_path,
                *(jobs[product].record_path for product in batch.products),
            }
    elsewhere = {product for batch in parts for product in batch.products}
    for product in (each for each in jobs if each not in elsewhere):
        if set(listed.record_paths_of(jobs[product].needs)) <= {
            f"results/{each}" for each in records
        }:
            records.add(jobs[product].record_path)
    return records


def reports_of_made_products(jobs, records, written):
    """Return the reports that are missing, all other needs of their own nights being made."""
    waiting = {
        product
        for product, job in jobs.items()
        for need in map(jobs.__getitem__, job.needs)
        if need.night == job.night and need.kind not in written and need.record_path not in records
    }
    reports = {product for product, job in jobs.items() if job.kind in written} - waiting
    return {product for product in reports if jobs[product].record_path not in records}


def os_with_files(there):
    """Return a stand-in for `os` with the functions that the list of jobs uses, and these files."""
    path = SimpleNamespace(exists=there.__contains__, relpath=os.path.relpath)
    return SimpleNamespace(path=path)


@pytest.mark.parametrize("each_night", [False, True])
def test_a_batch_that_dies_costs_only_its_own_jobs_and_their_products(
    each_night, tmp_path, monkeypatch
):
    saved = reports_saved = 0
    written = {each.name for each in KINDS if each.is_report}
    for seed in range(100):
        session, _ = draw_session(seed, tmp_path)
        jobs, rng = session.plan.jobs, random.Random(seed)
        parts = batch_splitting.split(session, is_split_by_night=each_night, writes_files=False)
        if not parts:
            continue
        listed = job_list.JobList("results", session, parts)
        dead = rng.choice(parts)
        made = rng.randint(0, len(dead.products))
        records = records_without(dead, made, parts, listed, jobs)
        there = {f"results/{each}" for each in records}
        monkeypatch.setattr(job_list, "os", os_with_files(there))
        concerned = set(dead.products[made:])
        for product, job in jobs.items():
            if concerned & set(job.needs):
                concerned.add(product)
        want = {
            product for product, job in jobs.items() if job.record_path not in records
        } - concerned
        want = {product for product in want if jobs[product].kind not in written}
        left = [job.product for job in listed.remaining_jobs(KINDS, makes_all=True)]
        assert {product for product in left if jobs[product].kind not in written} == want, seed
        assert left == [product for product in jobs if product in left]
        on_cluster = {job.product for job in listed.remaining_jobs(KINDS, makes_all=False)}
        assert on_cluster == reports_of_made_products(jobs, records, written)
        assert on_cluster <= set(left)
        assert listed.is_batch_done(dead) == (made == len(dead.products))
        saved += len(want)
        reports_saved += len(on_cluster)
    assert saved > 200
    assert reports_saved > 200
