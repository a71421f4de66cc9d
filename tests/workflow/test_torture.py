"""The long form of the tests with faults and events: `make torture`.

The environment says how much: CCDFLOW_KILLS (200), CCDFLOW_EVENTS (1200), CCDFLOW_PLACES (every
place; 10 takes every tenth), CCDFLOW_SEED.
"""

import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from events import EventArchive
from faults import KINDS
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RULE_MARKER, run_state_machine_as_test
from kills import kill_runs
from odd_events import OddEvents
from runs_with_faults import FIRST, check_results, fill, put_faults
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import use_stand_ins

pytestmark = pytest.mark.torture

KILLS = int(os.environ.get("CCDFLOW_KILLS", "200"))
EVENTS = int(os.environ.get("CCDFLOW_EVENTS", "1200"))
PLACES = int(os.environ.get("CCDFLOW_PLACES", "1"))
SEED = int(os.environ.get("CCDFLOW_SEED", "2016"))


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    use_stand_ins(monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_place(tmp_path, tell, kind):
    """Wherever the results folder is touched; two processes share the places."""
    started = time.monotonic()

    def put_part(number):
        folder = tmp_path / f"part{number}"
        folder.mkdir()
        return put_faults(folder, kind, 1 + number * PLACES, 2 * PLACES)

    with ThreadPoolExecutor(2) as pool:
        results = [result for of_part in pool.map(put_part, (0, 1)) for result in of_part]
    check_results(results)
    assert len(results) * PLACES > 150
    again = sum(result["again"] for result in results)
    tell(
        f"{kind}: {len(results)} faults, one at each place written to; nothing lost, nothing"
        f" half-written, {again} jobs in the runs after them"
        f" ({time.monotonic() - started:.0f} s)"
    )


@pytest.mark.parametrize("how", ["all", "main process alone"])
def test_runs_killed_at_random_moments_leave_whole_products(tmp_path, tell, how):
    """SIGKILL at random moments; once of a run that hands its frames on to other processes."""
    alone = how != "all"
    sandbox = Sandbox(tmp_path / "box", {"frames_per_batch": 8} if alone else {})
    fill(sandbox, frames=8)
    counts = kill_runs(sandbox, kills=KILLS // 2, seed=SEED + alone, is_main_alone=alone)
    assert counts["kills"] >= KILLS // 2
    tell(
        f"{counts['kills']} runs killed ({how}), {counts['in jobs']} of them after they had made"
        f" something, {counts['runs']} others came to their end;"
        f" {counts['products']} products looked at after them, all whole; each run from there ended"
        " with the bytes of one that was not killed"
    )


def test_archives_survive_random_events(tmp_path, tell, monkeypatch):
    monkeypatch.setenv("CCDFLOW_TORTURE", str(tmp_path))
    EventArchive.events = EventArchive.runs = EventArchive.jobs = Sandbox.opened = 0
    monkeypatch.setattr(EventArchive, "is_long", True)
    steps = 40
    run_state_machine_as_test(
        seed(SEED)(EventArchive),
        settings=settings(
            max_examples=-(-EVENTS // steps),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    tell(
        f"{EventArchive.events} events in random order, {EventArchive.runs} runs,"
        f" {EventArchive.jobs} jobs"
    )
    assert EventArchive.events >= EVENTS / 2
    # `Sandbox.run` holds each against a plan of all nights.
    tell(f"{Sandbox.opened} runs opened some of the nights")
    assert Sandbox.opened >= EventArchive.drawn["touch_a_night_beside_closed_ones"] / 4 > 0
    # Fewer events than by default need not draw each of 60 kinds.
    if EVENTS >= 1200:
        assert len(event_kinds()) >= 60
        assert event_kinds() <= EventArchive.drawn.keys()
    tell(f"drawn: {dict(EventArchive.drawn.most_common())}")


def event_kinds():
    """Return the names of all kinds of events."""
    rules = (getattr(method, RULE_MARKER, None) for method in vars(EventArchive).values())
    odd = (getattr(method, RULE_MARKER, None) for method in vars(OddEvents).values())
    return {each.function.__name__ for each in (*rules, *odd) if each is not None}


def test_events_by_snakemake(tmp_path, tell):
    """Some of the events, each followed by a run of Snakemake, against a run from scratch."""
    chance = random.Random(SEED)
    sandbox = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    fill(sandbox)
    counts = Counter()
    for number in range(25):
        event = _EVENTS[number % len(_EVENTS)] if number < len(_EVENTS) else chance.choice(_EVENTS)
        event(sandbox, chance)
        expected = list(sandbox.plan().plan.jobs)
        outcome = sandbox.snakemake(cores=chance.choice((1, 2, 4)))
        assert outcome.status == 0, outcome.output
        assert outcome.jobs == sorted(expected)
        counts["runs"] += 1
        counts["jobs"] += len(outcome.jobs)
        clean = sandbox.clean()
        clean.run()
        assert products(clean.results) == products(sandbox.results), event.__name__
        assert list(sandbox.plan().plan.jobs) == []
    tell(f"{counts['runs']} events followed by Snakemake, {counts['jobs']} jobs, as from scratch")


def _frames(sandbox):
    return sorted(path.relative_to(sandbox.raw).as_posix() for path in sandbox.raw.rglob("*.gz"))


def _change_nothing(sandbox, chance):
    """Change nothing: the first run makes all products."""


def _add(sandbox, chance):
    number = chance.randrange(100, 10**6)
    sandbox.put(
        f"{FIRST}/alpha{number}.fits.gz",
        number,
        night=FIRST,
        camera="alpha",
        size=SMALL_FRAME,
    )


def _change(sandbox, chance):
    file = chance.choice([name for name in _frames(sandbox) if "alpha" in name])
    sandbox.put(file, chance.randrange(10**6), night=file[:10], camera="alpha", size=SMALL_FRAME)


def _touch(sandbox, chance):
    for path in sandbox.raw.rglob("*.gz"):
        os.utime(path)


def _edit(sandbox, chance):
    sandbox.profile("beta", reduction={"statistic": chance.choice(("mean", "median"))})


def _lose(sandbox, chance):
    name = chance.choice(sorted(products(sandbox.results)))
    (sandbox.results / name).unlink()


def _damage(sandbox, chance):
    name = chance.choice(
        [name for name in sorted(products(sandbox.results)) if name != "inventory.csv"]
    )
    content = bytearray((sandbox.results / name).read_bytes())
    content[chance.randrange(len(content))] ^= 1
    (sandbox.results / name).write_bytes(content)


def _spoil(sandbox, chance):
    path = sandbox.raw / chance.choice(_frames(sandbox))
    content = bytearray(path.read_bytes())
    content[chance.randrange(20, len(content) - 9)] ^= 4
    path.write_bytes(content)


_EVENTS = [_change_nothing, _add, _change, _touch, _edit, _lose, _damage, _spoil]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-m", "torture"]))
