"""Locks on batches that outlive the main process, and the signs of life beside them."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ccdflow import paths
from ccdflow.run import job
from ccdflow.run.batches import batch_files, batch_progress, claims, withdrawal
from ccdflow.run.lines.progress import BatchCount

SCRIPTS = Path(__file__).parents[3] / "scripts"
KEY = "0123456789abcdef"
HOLD = """
import sys, time
sys.path.insert(0, {scripts!r})
from ccdflow.run.batches import batch_files, claims
claim = claims.claim({batch!r})
print("held", flush=True)
time.sleep(600)
"""


def put_batch(results, name="2024-03-01.0123456789abcdef", products=("reduced/a.fits",)):
    batch = results / paths.BATCHES / f"{name}.json"
    batch.parent.mkdir(parents=True, exist_ok=True)
    jobs = [{"product": product, "key": KEY, "attempt": 0} for product in products]
    batch.write_text(f"{{}}\n{json.dumps({'jobs': jobs})}\n")
    return batch


@pytest.fixture
def holder():
    """Start a process that holds a batch's lock; it is killed at the end."""
    started = []

    def start(batch):
        code = HOLD.format(scripts=str(SCRIPTS), batch=str(batch))
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_process_reports_that_it_waits_for_the_first(tmp_path, holder):
    batch = put_batch(tmp_path)
    process = holder(batch)
    lines = []

    def say(line):
        assert process.poll() is None
        lines.append(line)
        process.kill()

    claims.claim(batch, say=say, poll_seconds=0.01).close()
    assert lines == [claims.waiting_line(batch)]


class FakeTime:
    """A clock that moves by its sleeps alone; `at_sleep` is called with each reading."""

    def __init__(self, at_sleep):
        self.now, self.at_sleep = 0.0, at_sleep

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.at_sleep(self.now)


def test_a_holder_without_sign_of_life_is_not_waited_for(tmp_path, holder):
    batch = put_batch(tmp_path)
    holder(batch)
    clock, lines = FakeTime(lambda now: None), []
    signs = claims.SignsOfLife(clock=clock)
    assert (
        claims.claim(batch, say=lines.append, most_silent_seconds=600, poll_seconds=1, signs=signs)
        is None
    )
    assert "no sign of life" in lines[-1]
    assert clock.now == 601


def test_silent_holders_are_waited_for_once_by_all_jobs_of_a_run(tmp_path, holder):
    """A dead machine may have left many batches, and a run many jobs for each."""
    batches = [put_batch(tmp_path, f"2024-03-0{day}.{KEY}") for day in (1, 2, 3)]
    for batch in batches:
        holder(batch)
    clock, lines = FakeTime(lambda now: None), []
    signs = claims.SignsOfLife(batches, clock=clock)
    clock.now = 100.0
    for batch in batches * 4:
        claims.wait_for(
            batch, say=lines.append, most_silent_seconds=600, poll_seconds=1, signs=signs
        )
    # The silence counts from the plan of the run, not from the beginning of each wait.
    assert clock.now == 601
    waiting = [claims.waiting_line(batch) for batch in batches]
    assert lines[::2] == waiting
    assert "after 600 s without a sign of life" in waiting[0]
    assert [f"job on {batch.stem} for 600 s: going on" in line
            for batch, line in zip(batches, lines[1::2], strict=True)] == [True] * 3  # fmt: skip


def test_a_sign_of_one_holder_is_none_of_another(tmp_path, holder):
    lively, silent = (put_batch(tmp_path, f"2024-03-0{day}.{KEY}") for day in (1, 2))
    for batch in (lively, silent):
        holder(batch)
        batch_progress.count_path(batch).write_text("")
    clock = FakeTime(
        lambda now: os.utime(batch_progress.count_path(lively), ns=(0, int(now * 1e9)))
    )
    signs = claims.SignsOfLife([lively, silent], clock=clock)
    claims.wait_for(silent, say=[].append, most_silent_seconds=600, poll_seconds=1, signs=signs)
    assert clock.now == 601
    # Its last sign of life was seen at the last look at it, and counts from then on.
    assert signs.silence_of(lively) == 0
    clock.now += 30
    assert (signs.silence_of(lively), signs.silence_of(silent)) == (30, 631)


def test_signs_of_life_keep_others_waiting(tmp_path, holder):
    batch = put_batch(tmp_path)
    process = holder(batch)

    def beat(now):
        if now < 3000:
            os.utime(batch_progress.count_path(batch), ns=(0, int(now * 1e9)))
        else:
            process.kill()
            process.wait()

    batch_progress.count_path(batch).write_text("")
    clock, lines = FakeTime(beat), []
    signs = claims.SignsOfLife(clock=clock)
    claims.claim(
        batch, say=lines.append, most_silent_seconds=600, poll_seconds=100, signs=signs
    ).close()
    assert lines == [claims.waiting_line(batch)]
    assert clock.now == 3000


def test_a_reporter_beats_until_its_end(tmp_path):
    batch, beats = put_batch(tmp_path), threading.Semaphore(0)

    def count():
        beats.release()
        return BatchCount(7)

    reporter = batch_progress.Reporter(batch, count, beat=0.01)
    reporter.start()
    assert all(beats.acquire(timeout=60) for _ in range(3))
    reporter.end()
    assert batch_progress.read_count(batch) == BatchCount(7)


def test_a_lock_that_fails_for_another_reason_than_the_file_system_is_an_error(
    tmp_path, monkeypatch
):
    batch = put_batch(tmp_path)

    def fail(file, operation):
        raise OSError(error, "no lock")

    monkeypatch.setattr(claims.fcntl, "flock", fail)
    error = errno.EIO
    with pytest.raises(OSError, match="no lock"):
        claims.claim(batch)
    error = errno.ENOLCK
    claims.claim(batch).close()


def test_a_batch_that_is_gone_is_withdrawn(tmp_path):
    with pytest.raises(claims.Withdrawn, match=r"none\.json"):
        claims.claim(tmp_path / "none.json")


def test_a_batch_withdrawn_while_another_batch_waits_for_the_first(tmp_path, holder):
    batch = put_batch(tmp_path)
    process = holder(batch)

    def withdraw(line):
        batch.unlink()
        process.kill()

    with pytest.raises(claims.Withdrawn, match=re.escape(str(batch))):
        claims.claim(batch, say=withdraw, poll_seconds=0.01)
    assert not claims.lock_path(batch).exists()


def test_withdrawing_leaves_batches_at_work(tmp_path, holder):
    idle = put_batch(tmp_path, "2024-03-01.0123456789abcdef")
    batch_progress.Reporter(idle, BatchCount).report()
    held = put_batch(tmp_path, "2024-03-02.fedcba9876543210", ("reduced/b.fits", "reduced/c.fits"))
    holder(held)
    busy = withdrawal.withdraw(tmp_path)
    records = {f"reduced/{name}.fits": f"{paths.DONE_FOLDER}/reduced/{name}.fits.{KEY}.json"
               for name in "bc"}  # fmt: skip
    assert busy == {f"{paths.BATCHES}/{held.name}": records}
    left = sorted(path.name for path in idle.parent.iterdir())
    assert left == [f"{held.stem}.json", f"{held.stem}.lock"]


def test_a_queueing_job_learns_that_its_batch_was_withdrawn(tmp_path):
    """Snakemake waits a minute for a file that is not there; a job that finds one looks into it."""
    batch = put_batch(tmp_path)
    batch.write_text(batch.read_text().replace("{}", '{"queued":true}', 1))
    claims.lock_path(batch).touch()
    for _ in range(2):
        assert withdrawal.withdraw(tmp_path) == {}
        assert [path.name for path in batch.parent.iterdir()] == [batch.name]
        with pytest.raises(claims.Withdrawn, match=re.escape(str(batch))):
            batch_files.read_batch(batch, ())
        assert batch_files.size_of(batch) == job.Size(0, 0, 0, 0, 0)
    long_ago = time.time() - 40 * 86400
    os.utime(batch, (long_ago, long_ago))
    withdrawal.withdraw(tmp_path)
    assert list(batch.parent.iterdir()) == []


def note_removals(monkeypatch, batch):
    """Return a list that gets, at each removal, the file's ending and whether the batch is free."""
    unlink, removals = Path.unlink, []

    def look_and_unlink(path, *, missing_ok=False):
        file = claims.try_lock(claims.lock_path(batch))
        removals.append((path.suffix, file is not None))
        if file is not None:
            file.close()
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look_and_unlink)
    return removals


def test_a_batch_is_locked_until_its_withdrawal_is_seen(tmp_path, monkeypatch):
    """A process that finds no lock may make a new one, and work on a batch that is still there."""
    batch = put_batch(tmp_path)
    removals = note_removals(monkeypatch, batch)
    withdrawal.withdraw(tmp_path)
    assert removals == [(".json", False), (".count", False), (".lock", False)]
    assert list(batch.parent.iterdir()) == []


def test_the_lock_of_a_withdrawn_batch_is_removed_while_it_is_locked(tmp_path, monkeypatch):
    batch, lock = put_batch(tmp_path), claims.fcntl.flock

    def lock_when_it_is_withdrawn(file, operation):
        lock(file, operation)
        batch.write_text(claims.WITHDRAWN_LINE)

    monkeypatch.setattr(claims.fcntl, "flock", lock_when_it_is_withdrawn)
    removals = note_removals(monkeypatch, batch)
    with pytest.raises(claims.Withdrawn, match=re.escape(str(batch))):
        claims.claim(batch)
    assert removals == [(".lock", False)]
    assert [path.name for path in batch.parent.iterdir()] == [batch.name]


def test_a_reporter_that_has_ended_writes_nothing(tmp_path):
    batch, is_in_thread, is_last = put_batch(tmp_path), threading.Event(), threading.Event()
    own_thread, overtaken = threading.current_thread(), []

    def count():
        if threading.current_thread() is not own_thread:
            is_in_thread.set()
            # The last count of the end comes after this one, for which it waits.
            overtaken.append(is_last.wait(0.1))
        elif is_in_thread.is_set():
            is_last.set()
        return BatchCount(7)

    reporter, threads = batch_progress.Reporter(batch, count, beat=0.001), threading.active_count()
    reporter.start()
    assert is_in_thread.wait(60)
    reporter.end()
    assert threading.active_count() == threads
    assert is_last.is_set()
    assert overtaken
    assert not any(overtaken)


def test_files_without_a_batch_are_cleared_away(tmp_path):
    batch = put_batch(tmp_path)
    batch_progress.Reporter(batch, BatchCount).report()
    claims.lock_path(batch).touch()
    batch.unlink()
    assert withdrawal.withdraw(tmp_path) == {}
    assert list(batch.parent.iterdir()) == []


def test_records_of_a_batch_at_work_are_not_removed(tmp_path):
    done = [
        tmp_path / paths.done_record(f"reduced/{name}.fits", "0123456789abcdef") for name in "abc"
    ]
    busy = {"batches/x.json": {"reduced/b.fits": "its record"}}
    assert withdrawal.removable_record_files(done, busy, tmp_path) == [done[0], done[2]]
    assert withdrawal.removable_record_files(done, {}, tmp_path) == done


def test_a_count_is_read_as_it_was_written(tmp_path):
    batch = put_batch(tmp_path)
    assert batch_progress.read_count(batch) == BatchCount(0, 0, 0)
    reporter = batch_progress.Reporter(batch, lambda: BatchCount(7, 2, 1), beat=60)
    reporter.start()
    assert batch_progress.read_count(batch) == BatchCount(7, 2, 1)
    batch_progress.count_path(batch).write_text("7 ")
    assert batch_progress.read_count(batch) == BatchCount(0, 0, 0)
    reporter.end()


def test_waiting_for_another_batch_leaves_that_batch_unclaimed(tmp_path):
    batch = put_batch(tmp_path)
    claims.wait_for(batch)
    assert not claims.lock_path(batch).exists()
    with claims.claim(batch):
        pass
    claims.wait_for(batch)
    with claims.claim(batch, say=pytest.fail):
        pass
