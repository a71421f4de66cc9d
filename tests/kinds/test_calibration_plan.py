"""Frames that share their plan have the keys and masters that each would have by itself."""

import random
from dataclasses import replace

import small_chain
from small_frames import begin

from ccdflow.kinds import science
from ccdflow.kinds.calibrating import calibration
from ccdflow.kinds.calibrating.calibration_plan import StepsOfClass
from ccdflow.run import plan
from ccdflow.run.context import Context, Planning
from ccdflow.run.rawframes.rows import Facts, digest


def many(store):
    """Add science frames of several nights, exposures, temperatures, filters and modes."""
    chance = random.Random(5)
    rows = list(store.rows.values())
    like = next(row for row in rows if row.facts["type"] == "science")
    for night in ("2024-02-20", "2024-03-01", "2024-03-09"):
        for number in range(40):
            facts = dict(like.facts) | {
                "night": night,
                "exptime": chance.choice([0.5, 20.0, 20.01, 60.0, 61.003, 90.0, 400.0, ""]),
                "filter": chance.choice(["g", "r", "z"]),
                "temperature": chance.choice([-100.0, -100.03, -99.8, -90.0, ""]),
                "readmode": chance.choice(["", "fast"]),
            }
            file = f"{night}/{number:02}.fits"
            store.add(replace(like, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))


def test_keys_and_masters_are_those_of_each_frame_alone(tmp_path):
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3), ("r", 3)))
    session = begin(tmp_path / "raw", tmp_path / "results", {"simcam": chain.profile})
    session.lock.close()
    before = session.context
    many(before.store)
    names = ("settings", "raw", "results", "store", "ledger", "chain", "outdated")
    context = Context(*(getattr(before, name) for name in names), cameras=before.cameras)
    jobs = plan.make_plan(context).jobs
    planning, found = Planning.of(context), set()
    frames = [job for job in jobs.values() if job.kind == "science"]
    assert len(frames) == 3 + 120
    for job in frames:
        group = context.groups[job.product]
        row = context.store.rows[group.files[0]]
        kinds = science.SCIENCE.steps_for(planning, row.facts["type"])
        assert group.steps == StepsOfClass(planning, kinds, row).steps_of(row)
        own = calibration.Calibration(planning, group)
        assert job.key == digest(own.basis)
        found.add((tuple(sorted(own.uses)), own.grade))
    # Frames with and without each master, of all grades.
    assert {grade for _, grade in found} == {"A", "B", "C"}
    assert {uses for uses, _ in found} >= {("bias", "dark", "flat"), ("bias", "flat"), ("bias",)}
