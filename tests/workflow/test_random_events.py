"""Events in random order: the short form. `make torture` has the long one."""

import os

from events import Archive
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sandbox import Sandbox


def test_whatever_happens_the_products_are_those_of_a_run_from_scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("CCDFLOW_TORTURE", str(tmp_path))
    monkeypatch.setattr(Archive, "is_long", bool(os.environ.get("N")))
    run_state_machine_as_test(
        Archive,
        settings=settings(
            max_examples=int(os.environ.get("N", 2)),
            stateful_step_count=int(os.environ.get("STEPS", 12)),
            deadline=None,
            phases=[Phase.generate] if os.environ.get("N") else list(Phase),
            database=None,
            derandomize=not os.environ.get("N"),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(Archive.events, "events,", Archive.runs, "runs,", dict(Archive.drawn.most_common()))
    print("runs that opened some of the nights:", Sandbox.opened)
