"""A watch on a folder for tests: settings, lines, and the products of one run over all frames."""

import time
from dataclasses import dataclass, field

from small_frames import begin
from workflow.sandbox import products

from ccdflow import kinds
from ccdflow.run import worker
from ccdflow.run.ending import session_end
from ccdflow.run.watch import watching

SETTINGS = {"pictures": {"per_type": 0}, "detector": {"enabled": False}}


@dataclass
class WatchOutput:
    """Lines that a watch said."""

    lines: list = field(default_factory=list)

    def __call__(self, line):
        self.lines.append(line)


def settings_of(raw, results, chain):
    """Return the settings for a watch; no run is left at work."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "none.fits").write_bytes(b"")
    started = begin(raw, results, {"simcam": chain.profile}, **SETTINGS)
    started.lock.close()
    (raw / "none.fits").unlink()
    return started.context.settings


def watch_of(values, output, *, show_round=lambda _: None, **noticing):
    return watching.Watch(
        values,
        chain=kinds.CHAIN,
        cores=2,
        listener=watching.WatchListener(output, show_round),
        noticing=watching.Noticing(pause=0.02, **noticing),
    )


def run_from_scratch(raw, results, chain):
    """Return the products of one run over all frames."""
    results.parent.mkdir(exist_ok=True)
    running = begin(raw, results, {"simcam": chain.profile}, **SETTINGS)
    worker.work(running.context, running.plan.jobs.values(), threads=2, make=kinds.make)
    session_end.finish(running)
    running.lock.close()
    return products(results)


def wait_until(is_so, seconds=300):
    """Wait for something that another thread does; the time only bounds a failure."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
