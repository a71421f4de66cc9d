"""Jobs wait for the cores of a run, in the order in which they ask, and share buffers by core."""

import threading
import time
from types import SimpleNamespace

import pytest

from ccdflow.files.thread_buffers import thread_buffer
from ccdflow.run.under_snakemake import host
from ccdflow.run.under_snakemake.core_slots import CoreSlots


class Jobs:
    """Jobs in threads of their own, each held in its slots until it is told to end."""

    def __init__(self, slots):
        self.slots, self.changed = slots, threading.Condition()
        self.running, self.ended, self.threads = [], set(), []

    def start(self, name, number):
        def work():
            with self.slots.hold(number), self.changed:
                self.running.append(name)
                self.changed.notify_all()
                self.changed.wait_for(lambda: name in self.ended)
                self.running.remove(name)

        waiting = len(self.slots._waiting_jobs) + len(self.running)
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()
        self.wait(lambda: len(self.slots._waiting_jobs) + len(self.running) > waiting)

    def end(self, name):
        with self.changed:
            self.ended.add(name)
            self.changed.notify_all()

    def wait(self, is_so):
        end = time.monotonic() + 300
        with self.changed:
            # A thread that begins to wait for a slot notifies nobody.
            while not is_so():
                assert time.monotonic() < end
                self.changed.wait(0.01)


@pytest.fixture
def jobs():
    """Jobs of a run with two cores."""
    jobs = Jobs(CoreSlots(2))
    yield jobs
    for thread in jobs.threads:
        thread.join(300)
        assert not thread.is_alive()
    assert len(jobs.slots._free_slots) == 2


def test_no_more_jobs_than_cores_and_none_beside_one_that_takes_all(jobs):
    for name in "ab":
        jobs.start(name, 1)
    # Three cores of two are both of them.
    jobs.start("wide", 3)
    jobs.start("late", 1)
    assert sorted(jobs.running) == ["a", "b"]
    jobs.end("a")
    jobs.wait(lambda: jobs.running == ["b"])
    # One core is free. The job that asked first needs two, and the job after it waits as well.
    jobs.wait(lambda: len(jobs.slots._free_slots) == 1)
    assert jobs.running == ["b"]
    jobs.end("b")
    jobs.wait(lambda: jobs.running == ["wide"])
    jobs.end("wide")
    jobs.wait(lambda: jobs.running == ["late"])
    jobs.end("late")


def test_a_job_that_fails_gives_its_slot_back():
    slots = CoreSlots(1)
    with pytest.raises(ZeroDivisionError), slots.hold(1):
        raise ZeroDivisionError
    with slots.hold(1):
        assert slots._free_slots == []
    assert len(slots._free_slots) == 1


def test_jobs_of_many_threads_use_the_buffers_of_their_core():
    """Three threads at one core hold one buffer, as large as the largest; each has its own too."""
    slots, buffers = CoreSlots(1), []

    def work(size):
        with slots.hold(1):
            buffers.append(thread_buffer("rows", size).obj)
        buffers.append(thread_buffer("rows", size).obj)

    for size in (3000, 2000, 1000):
        thread = threading.Thread(target=work, args=(size,))
        thread.start()
        thread.join()
    in_slots, outside = buffers[::2], buffers[1::2]
    assert in_slots[0] is in_slots[1] is in_slots[2]
    assert len({id(buffer) for buffer in (in_slots[0], *outside)}) == 4


def test_snakemake_may_start_one_job_more_than_there_are_cores():
    resources = {"_cores": 2, "_job_count": 5}
    workflow = SimpleNamespace(scheduler=SimpleNamespace(resources=resources))
    host.start_one_more(workflow, is_module=False)
    assert resources == {"_cores": 3, "_job_count": 5}
    # Jobs of another workflow's own rules do not wait for a core.
    host.start_one_more(workflow, is_module=True)
    assert resources == {"_cores": 3, "_job_count": 5}
