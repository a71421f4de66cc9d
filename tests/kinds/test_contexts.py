"""Each method of a kind gets the type of context that its docstring names, and no other."""

import inspect
import re
from dataclasses import fields

import pytest
import small_chain
from small_frames import begin

from ccdflow import kinds
from ccdflow.kinds.kind import Kind
from ccdflow.run import context as contexts
from ccdflow.run import job_records, worker
from ccdflow.run.context import Context, JobContext, PageContext, PlanContext
from ccdflow.run.ending import session_end
from ccdflow.run.job import OF_A_FRAME, OF_A_MASTER, Job


def documented_contexts():
    """Return {method of a kind: the types of its argument context} as docstrings have them."""
    types = {}
    for name, method in inspect.getmembers(Kind, inspect.isfunction):
        line = re.search(r"^ *context : (.*)$", method.__doc__ or "", re.MULTILINE)
        if line:
            names = re.findall(r"ccdflow\.run\.context\.(\w+)", line[1])
            types[name] = tuple(getattr(contexts, each) for each in names)
    return types


@pytest.fixture(scope="module")
def contexts_given(tmp_path_factory):
    """Return [(kind, method, type of the context it was given)] of a night's run."""
    folder, calls = tmp_path_factory.mktemp("contexts"), []
    chain = small_chain.make(
        folder / "raw", biases=3, darks=((60.0, 3),), flats=(("g", 3),), science=(("g", 60.0, 1),)
    )

    def record_calls(kind, name, method):
        def call(context, *others, **named):
            calls.append((kind, name, type(context)))
            return method(context, *others, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind in kinds.CHAIN:
            for name in documented_contexts():
                patch.setattr(kind, name, record_calls(kind, name, getattr(kind, name)))
        running = begin(folder / "raw", folder / "results", {"simcam": chain.profile})
        running.plan.dry_run_lines()
        jobs = running.plan.jobs_of_kind(
            "frame", "bias", "dark", "flat", "science", "page", "bias table"
        )
        worker.work(running.context, jobs, threads=1, make=kinds.make)
        session_end.finish(running)
        running.lock.close()
    return calls


def test_each_method_gets_the_context_of_its_docstring(contexts_given):
    types = documented_contexts()
    assert {name for _, name, _ in contexts_given} >= {
        "basis", "closing_lines", "dry_run_lines", "flags", "make", "page_basis",
        "products_on_page", "section", "sections",
    }  # fmt: skip
    wrong = {
        (kind.name, name, of)
        for kind, name, of in contexts_given
        if of not in expected_contexts(types, name)
    }
    assert wrong == set()


def expected_contexts(types, name):
    """Return the types that a method may be given: of a plain `Context` each of the three."""
    own = types[name]
    return (PlanContext, JobContext, PageContext) if own == (Context,) else own


def test_a_page_is_made_when_no_record_changes_and_a_frame_while_others_do(contexts_given):
    made = {(kind.reach in (OF_A_FRAME, OF_A_MASTER), of) for kind, name, of in contexts_given
            if name == "make"}  # fmt: skip
    assert made == {(True, JobContext), (False, PageContext)}


PRODUCT = "combined/n/bias.fits"


def context_of_job(tmp_path, of):
    job = Job("bias", PRODUCT, "new key", "new", "n")
    before = job_records.Record(PRODUCT, "bias", "old key")
    return of(
        settings={"types": "all"}, raw=tmp_path, results=tmp_path, chain=(),
        store=None, ledger={PRODUCT: before}, jobs={PRODUCT: job}, planned_products={PRODUCT},
    ), job  # fmt: skip


def test_the_record_of_a_product_while_planning_in_a_job_and_on_a_page(tmp_path):
    planning, job = context_of_job(tmp_path, PlanContext)
    running, page = JobContext.of(planning), PageContext.of(planning)
    assert planning.outcome(PRODUCT).key == "new key"
    assert planning.will_be_made(PRODUCT)
    assert running.outcome(PRODUCT) is None
    assert page.outcome(PRODUCT) is None
    assert not running.will_be_made(PRODUCT)
    assert not page.will_be_made(PRODUCT)
    job_records.write_record(
        tmp_path, job_records.Record(PRODUCT, "bias", "new key"), job.record_path
    )
    # A job that begins later finds the record; a page was told already.
    assert running.outcome(PRODUCT).key == "new key"
    assert page.outcome(PRODUCT) is None
    assert PageContext.of(running).outcome(PRODUCT).key == "new key"


def test_an_answer_on_outcomes_is_kept_where_they_do_not_change(tmp_path):
    planning, _ = context_of_job(tmp_path, PlanContext)
    asked = {}
    for context in (planning, JobContext.of(planning), PageContext.of(planning)):
        numbers = iter(range(9)).__next__
        asked[type(context)] = [context.kept_by_key(("a",), numbers) for _ in range(3)]
    assert asked == {PlanContext: [0, 0, 0], JobContext: [0, 1, 2], PageContext: [0, 0, 0]}


def test_a_context_of_another_type_shares_the_contents_and_no_answer(tmp_path):
    planning, _ = context_of_job(tmp_path, PlanContext)
    planning.kept_by_key(("a",), list)
    page = PageContext.of(planning)
    for each in fields(Context):
        assert getattr(page, each.name) is getattr(planning, each.name), each.name
    assert page.kept_by_key(("a",), dict) == {}
    with pytest.raises(TypeError, match="abstract class Context"):
        Context({}, tmp_path, tmp_path, None, {}, ())
