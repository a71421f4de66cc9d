"""Events in random order: the short form. `make torture` has the long one.

CCDFLOW_TORTURE_ARCHIVES draws as many archives, other ones in each run, and tells their events;
CCDFLOW_TORTURE_EVENTS is the number of events of each (12).
"""

import os

from events import EventArchive
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sandbox import Sandbox

from ccdflow import paths

NIGHT = "2024-03-01"


ARCHIVES = int(os.environ.get("CCDFLOW_TORTURE_ARCHIVES", "0"))
EVENTS = int(os.environ.get("CCDFLOW_TORTURE_EVENTS", "12"))


def test_products_after_random_events_are_those_of_a_run_from_scratch(tmp_path, monkeypatch, tell):
    monkeypatch.setenv("CCDFLOW_TORTURE", str(tmp_path))
    monkeypatch.setattr(EventArchive, "is_long", bool(ARCHIVES))
    run_state_machine_as_test(
        EventArchive,
        settings=settings(
            max_examples=ARCHIVES or 2,
            stateful_step_count=EVENTS,
            deadline=None,
            phases=[Phase.generate] if ARCHIVES else list(Phase),
            database=None,
            derandomize=not ARCHIVES,
            suppress_health_check=list(HealthCheck),
        ),
    )
    if ARCHIVES:
        tell(
            f"{EventArchive.events} events, {EventArchive.runs} runs, of which {Sandbox.opened}"
            f" opened some of the nights; {dict(EventArchive.drawn.most_common())}"
        )


def test_a_file_without_permission_whose_product_is_damaged_after_another_was_replaced(
    tmp_path, monkeypatch
):
    """No event gives files back the permission that another event took."""
    monkeypatch.setenv("CCDFLOW_TORTURE", str(tmp_path))
    archive = EventArchive()
    for number in range(3):
        archive.put(f"{NIGHT}/alpha{number}.fits.gz", (number, "BIAS", "alpha", NIGHT))
    archive.replace_while_it_is_read(cores=1, number=0, seed=7, when=1)
    archive.shut_file(number=2)
    product = paths.reduced_frame(f"{NIGHT}/alpha2.fits.gz")
    archive.damage_product(
        cut=True, number=sorted(archive.existing_products()).index(product), place=280
    )
    archive.run(1)
    assert (
        archive.sandbox.run()
        .lines[0]
        .startswith(f"set aside: {NIGHT}/alpha2.fits.gz: cannot be read")
    )
    archive.teardown()
