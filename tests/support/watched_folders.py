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
    """The lines of a watch, as a function that takes them."""

    lines: list = field(default_factory=list)

    def __call__(self, line):
        self.lines.append(line)


def settings_of(raw, results, chain):
    """Return the settings of a watch on a folder; no run holds the results afterwards."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "none.fits").write_bytes(b"")
    started = begin(raw, results, {"simcam": chain.profile}, **SETTINGS)
    started.lock.close()
    (raw / "none.fits").unlink()
    return started.context.settings


def watch_of(values, output, *, show_round=lambda _: None, **noticing):
    """Return a watch with these settings, whose lines go to an output."""
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


def wait_until(condition, seconds=300):
    """Wait until a function returns true; fail after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.02)
