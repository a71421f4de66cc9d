"""Frames that share their plan have the keys and masters that each would have by itself."""

import random
from dataclasses import replace

import small_chain
from small_frames import begin

from ccdflow.kinds.calibrating import calibration, calibration_plan, science
from ccdflow.kinds.calibrating.calibration_plan import steps_choice_of
from ccdflow.kinds.forecasting.planned_masters import plain_step
from ccdflow.kinds.matching import temperatures
from ccdflow.kinds.matching.answers import answers_of, has_reasons_of_its_own
from ccdflow.kinds.reporting import associations_table
from ccdflow.run import plan
from ccdflow.run.context import JobContext, PlanContext
from ccdflow.run.raw_frames.rows import Facts, digest

# The nights that science frames are added in, and their frames.
NIGHTS, FRAMES_A_NIGHT = ("2024-02-20", "2024-03-01", "2024-03-09"), 40


def add_varied_frames(store):
    """Add science frames of several nights, exposures, temperatures, filters and modes."""
    chance = random.Random(5)
    rows = list(store.rows.values())
    like = next(row for row in rows if row.facts["type"] == "science")
    for night in NIGHTS:
        for number in range(FRAMES_A_NIGHT):
            facts = dict(like.facts) | {
                "night": night,
                "exptime": chance.choice([0.5, 20.0, 20.01, 60.0, 61.003, 90.0, 400.0, ""]),
                "filter": chance.choice(["g", "r", "z"]),
                "temperature": chance.choice([-100.0, -100.03, -99.8, -90.0, ""]),
                "readmode": chance.choice(["", "fast"]),
            }
            file = f"{night}/{number:02}.fits"
            store.add(replace(like, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))


def _context_with(added, chain, folder):
    """Return the context of a night's plan, after frames were added to its store."""
    session = begin(folder / "raw", folder / "results", {"simcam": chain.profile})
    session.lock.close()
    before = session.context
    added(before.store)
    names = ("settings", "raw", "results", "store", "ledger", "chain", "outdated_files")
    return JobContext(**{name: getattr(before, name) for name in (*names, "cameras")})


def test_keys_and_masters_are_those_of_each_frame_alone(tmp_path):
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3), ("r", 3)))
    context = _context_with(add_varied_frames, chain, tmp_path)
    jobs = plan.make_plan(context).jobs
    planning, choices = PlanContext.of(context), set()
    frames = [job for job in jobs.values() if job.kind == "science"]
    assert len(frames) == 3 + len(NIGHTS) * FRAMES_A_NIGHT
    for job in frames:
        group = context.groups[job.product]
        row = context.store.rows[group.files[0]]
        kinds = science.SCIENCE.steps_for(planning, row.facts["type"])
        assert group.steps == steps_choice_of(planning, kinds, row).choose(row)
        own = calibration.Calibration(planning, group)
        assert job.key == digest(own.basis)
        choices.add((tuple(sorted(own.uses)), own.grade))
    # Frames with and without each master, of all grades.
    assert {grade for _, grade in choices} == {"A", "B", "C"}
    assert {uses for uses, _ in choices} >= {("bias", "dark", "flat"), ("bias", "flat"), ("bias",)}


def test_frames_at_zero_and_minus_zero_degrees_have_the_key_of_each_alone(tmp_path):
    """Headers have both: equal numbers that are written in two ways."""
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3),))

    def cool_to_zero(store):
        rows = list(store.rows.values())
        for row in rows:
            if row.facts["type"] == "dark":
                facts = dict(row.facts) | {"set_temperature": -0.0, "temperature": ""}
                store.add(replace(row, facts=Facts.of(facts)))
        like = next(row for row in rows if row.facts["type"] == "science")
        for number, degrees in enumerate((0.0, -0.0)):
            facts = dict(like.facts) | {"set_temperature": degrees, "temperature": ""}
            file = f"2024-03-01/{number}.fits"
            store.add(replace(like, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))

    context = _context_with(cool_to_zero, chain, tmp_path)
    jobs = plan.make_plan(context).jobs
    for number in range(2):
        product = f"calibrated/2024-03-01/{number}.fits"
        # As in a job of this frame alone, which has looked up no other frame.
        temperatures._numbers_of.cache_clear()
        own = calibration.Calibration(PlanContext.of(context), context.groups[product])
        assert [how[3] for how in own.basis["how"] if how[0] == "dark"] == [0.0]
        assert jobs[product].key == digest(own.basis)


def test_frames_with_an_exact_dark_share_key_and_needs_where_second_choices_differ(tmp_path):
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3),))

    def add_two_alike(store):
        """Add two copies of a frame whose exposures differ by a thousandth of a second."""
        like = next(row for row in store.rows.values() if row.facts["type"] == "science")
        for number in range(2):
            facts = dict(like.facts) | {"exptime": 20.0005 + number / 1000, "filter": "g"}
            file = f"2024-03-01/{number}.fits"
            store.add(replace(like, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))

    context = _context_with(add_two_alike, chain, tmp_path)
    jobs = plan.make_plan(context).jobs
    one, other = (jobs[f"calibrated/2024-03-01/{number}.fits"] for number in range(2))
    groups = [context.groups[job.product] for job in (one, other)]
    scales = [[use.scale for use in group.steps[1].uses] for group in groups]
    assert [each[0] for each in scales] == [1.0, 1.0]
    assert scales[0][1] != scales[1][1]
    # The first need is the frame's own reduced frame; masters and their substitutes are common.
    assert one.needs[1:] == other.needs[1:]
    assert one.spare == other.spare
    assert {use.product for group in groups for use in group.steps[1].uses} <= set(one.needs)
    # The key differs by that of the reduced frame alone.
    planning = PlanContext.of(context)
    bases = [calibration.Calibration(planning, group).basis for group in groups]
    assert bases[0] != bases[1]
    assert {**bases[0], "frame": ""} == {**bases[1], "frame": ""}
    assert [job.key for job in (one, other)] == [digest(basis) for basis in bases]


def test_frames_whose_second_choices_differ_share_one_basis(tmp_path, monkeypatch):
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3), ("r", 3)))

    def add_twenty_of_a_shutter(store):
        """Add frames whose exposures differ by thousandths of a second, as a shutter gives them."""
        like = next(row for row in store.rows.values() if row.facts["type"] == "science")
        for number in range(20):
            facts = dict(like.facts) | {"exptime": 20.0005 + number / 1000, "filter": "g"}
            file = f"2024-03-01/{number:02}.fits"
            store.add(replace(like, file=file, facts=Facts.of(facts), fingerprint=f"{file}-1"))

    class CountedBasis(calibration_plan.SharedBasis):
        """A `SharedBasis` that counts its objects."""

        n_objects = 0

        def __init__(self, one):
            CountedBasis.n_objects += 1
            super().__init__(one)

    context = _context_with(add_twenty_of_a_shutter, chain, tmp_path)
    monkeypatch.setattr(calibration_plan, "SharedBasis", CountedBasis)
    plan.make_plan(context)
    groups = [g for product, g in context.groups.items() if "2024-03-01/" in product]
    groups = [group for group in groups if group.kind == "science"]
    assert len(groups) == 20
    darks = [next(step for step in group.steps if step.kind == "dark") for group in groups]
    # All take the exact dark. The second choice has another scale for each exposure.
    assert {dark.uses[0].scale for dark in darks} == {1.0}
    assert len({dark.uses[1].scale for dark in darks}) == 20
    # One object for the twenty frames; the night's own three frames have two filters.
    assert CountedBasis.n_objects == 3


def test_page_and_table_hash_each_frame_as_if_it_were_alone(tmp_path):
    """Answers that differ only in the scales of masters of a low rank share a hash."""
    chain = small_chain.make(tmp_path / "raw", biases=3, flats=(("g", 3), ("r", 3)))
    context = _context_with(add_varied_frames, chain, tmp_path)
    plan.make_plan(context)
    planning = PlanContext.of(context)
    groups = science.SCIENCE.calibrated_groups(planning)
    reasons = set()
    for values_of in (plain_step, associations_table.table_cells):
        hashes = associations_table.hashes_by_steps(planning, groups, values_of)
        for group in groups:
            alone = PlanContext.of(context)
            answers = answers_of(alone, group)
            expected = [digest(values_of(alone, answer)) for answer in answers]
            assert hashes[id(group.steps)] == expected
            reasons |= {has_reasons_of_its_own(each) for each in answers if each.use is not None}
    assert reasons == {True, False}
