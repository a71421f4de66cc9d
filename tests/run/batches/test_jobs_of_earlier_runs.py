"""A run that begins while jobs of a killed one are at work: nothing is lost or made twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import small_frames

from ccdflow import kinds
from ccdflow.run import job_records, ledger, session, worker
from ccdflow.run.batches import batch_files, batch_splitting, claims
from ccdflow.run.ending import session_end
from ccdflow.run.run_start import EarlierJobs, RunRequest

CAMERAS = {"testcam": small_frames.LFC_LIKE.format(name="TESTCAM")}
NIGHT = "2020-02-29"


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A raw folder with three biases, and a results folder; waiting takes no time."""
    for number, frame in enumerate(small_frames.biases(3)):
        cards = small_frames.bias_cards(number)
        small_frames.write_raw(tmp_path / "raw" / f"b{number}.fits", (frame, cards))
    monkeypatch.setattr(claims.time, "sleep", lambda seconds: None)
    return tmp_path / "raw", tmp_path / "results"


class KilledRun:
    """A run whose main process is gone, and whose batch is at work."""

    def __init__(self, folders, **config):
        running = small_frames.begin(*folders, CAMERAS, limits={"settle": 0}, **config)
        (self.batch,) = batch_splitting.split(running, is_split_by_night=True)
        running.lock.close()
        self.settings, self.results = running.context.settings, running.context.results
        self.path = self.results / self.batch.path
        self.claim = claims.claim(self.path)

    def make(self, count=None):
        """Make some of its products, or all."""
        at_work = batch_files.read_batch(self.path, kinds.CHAIN)
        jobs = list(at_work.plan.jobs.values())[:count]
        made = worker.work(at_work.context, jobs, threads=1, make=kinds.make)
        return list(made.records)

    def end(self, line):
        """Make all products that are left, and end; called with the line of the waiting run."""
        assert line == claims.waiting_line(self.path)
        self.make()
        self.claim.close()


@pytest.fixture
def kill_run(folders):
    """Plan a run, and let its batch alone be at work."""
    killed = []

    def kill(**config):
        killed.append(KilledRun(folders, **config))
        return killed[-1]

    yield kill
    for run in killed:
        run.claim.close()


def start(values, *, say=pytest.fail, may_go_on=False):
    """Return a planned run, without its lock."""
    request = RunRequest(earlier_jobs=EarlierJobs(say, may_go_on))
    running = session.start(values, chain=kinds.CHAIN, request=request)
    running.lock.close()
    return running


def test_on_one_machine_the_plan_is_made_once_jobs_of_an_earlier_run_have_ended(kill_run):
    killed = kill_run()
    running = start(killed.settings, say=killed.end)
    assert running.busy_batches == {}
    assert not running.plan.jobs.keys() & set(killed.batch.products)
    assert ledger.load_ledger(killed.results).keys() >= set(killed.batch.products)


def test_a_record_left_while_the_plan_is_made_counts_for_the_new_job(kill_run, monkeypatch):
    """The ledger is without it, and a second attempt would make the product a second time."""
    killed, made = kill_run(), []
    update = session.inventory.update

    def update_after_a_job(*arguments, **options):
        made.extend(killed.make(1))
        return update(*arguments, **options)

    monkeypatch.setattr(session.inventory, "update", update_after_a_job)
    running = start(killed.settings, may_go_on=True)
    (product,) = made
    assert running.plan.jobs[product].attempt == 0
    (batch,) = batch_splitting.split(running, is_split_by_night=True)
    assert product in batch.products
    jobs = batch_files.read_batch(killed.results / batch.path, kinds.CHAIN).plan.jobs
    assert jobs.keys() == set(killed.batch.products) - {product}


def test_an_earlier_job_that_is_to_replace_a_product_that_stays_is_awaited(folders, kill_run):
    first = small_frames.run_jobs(*folders, CAMERAS, limits={"settle": 0})
    (bias,) = (product for product in first.records if product.startswith("combined/"))
    other = kill_run(bias={"method": "median"})
    assert bias in other.batch.products
    # It is replaced while the plan is made, and so it is made again.
    running = start(first.context.settings, may_go_on=True, say=other.end)
    assert running.busy_batches == {}
    assert running.plan.jobs[bias].key == first.records[bias].key


@pytest.mark.parametrize("may_go_on", [False, True], ids=["one machine", "cluster"])
def test_a_job_of_a_dead_machine_is_awaited_once(folders, kill_run, monkeypatch, may_go_on):
    """The lock stays and the job gives no sign of life: each wait for it takes ten minutes."""
    first = small_frames.run_jobs(*folders, CAMERAS, limits={"settle": 0})
    dead, waits = kill_run(bias={"method": "median"}), []
    monkeypatch.setattr(claims, "wait_for", lambda batch, **_: waits.append(batch))
    running = start(first.context.settings, may_go_on=may_go_on)
    assert (waits, list(running.busy_batches)) == ([dead.path], [dead.batch.path])
    (bias,) = (product for product in first.records if product.startswith("combined/"))
    running.plan.jobs[bias] = replace(first.context.jobs[bias], attempt=1)
    (batch,) = batch_splitting.split(running, is_split_by_night=True)
    assert batch_files.batches_awaited(dead.results / batch.path) == []


def test_on_a_cluster_the_plan_does_not_wait_for_jobs_that_make_the_same(kill_run):
    killed = kill_run()
    killed.make(1)
    running = start(killed.settings, may_go_on=True)
    assert running.busy_batches.keys() == {killed.batch.path}
    (batch,) = batch_splitting.split(running, is_split_by_night=True)
    assert batch_files.batches_awaited(killed.results / batch.path) == [killed.path]


def test_at_the_end_a_run_takes_in_the_records_of_its_own_jobs(kill_run):
    """Records of other attempts and keys stay as long as jobs of an earlier run are at work."""
    killed = kill_run()
    running = start(killed.settings, may_go_on=True)
    product, *_ = killed.batch.products
    own = replace(running.plan.jobs[product], attempt=1)
    running.plan.jobs[product] = own
    record = job_records.Record(product, own.kind, own.key)
    job_records.write_record(killed.results, record, own.record_path)
    for key, attempt in ((own.key, 0), ("0" * 16, 0), ("f" * 16, 0)):
        earlier = replace(own, key=key, attempt=attempt)
        failed = replace(record, key=key, status=job_records.FAILED, reason="an earlier one")
        job_records.write_record(killed.results, failed, earlier.record_path)
    running.lock = None
    session_end.finish(running)
    assert running.failed_records == []
    assert ledger.load_ledger(killed.results)[product].key == own.key


def test_a_run_that_waits_for_an_earlier_job_shows_that_it_lives(kill_run, monkeypatch):
    """Each look at the lock is a sign of life; a watch would say that a folder does not answer."""
    killed, signs, signs_at_sleeps, lines = kill_run(), [], [], []

    def sleep(seconds):
        signs_at_sleeps.append(len(signs))
        if len(signs_at_sleeps) == 3:
            killed.end(lines[0])

    monkeypatch.setattr(claims.time, "sleep", sleep)
    earlier_jobs = EarlierJobs(lines.append, note_life=lambda: signs.append(1))
    request = RunRequest(earlier_jobs=earlier_jobs)
    session.start(killed.settings, chain=kinds.CHAIN, request=request).lock.close()
    assert signs_at_sleeps == [1, 2, 3]
    assert lines == [claims.waiting_line(killed.path)]
    assert f"batch {killed.path.stem}; " in lines[0]
    assert "cancel that job on the cluster" in lines[0]
