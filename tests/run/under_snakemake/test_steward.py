"""The steward of a run without Snakemake: a `Host` of the test has Snakemake's options."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_frames
from refusals import refusal_of

from ccdflow import settings
from ccdflow.errors import UserError
from ccdflow.kinds import CHAIN, drawn_pictures
from ccdflow.pages.pictures import combined_picture
from ccdflow.run import job_records, worker
from ccdflow.run.batches import claims
from ccdflow.run.under_snakemake import host, snakemake_views, steward
from ccdflow.run.under_snakemake.host import Host

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def run_settings(tmp_path):
    """Settings for two nights of six small biases."""
    # Taken after midnight, at the longitude of the camera's profile.
    for night, date in (("2020-02-29", "2020-03-01"), ("2020-03-01", "2020-03-02")):
        for number, image in enumerate(small_frames.biases(6, seed=int(night[-1]))):
            cards = small_frames.bias_cards(number)
            cards["DATE-OBS"] = cards["DATE-OBS"].replace("2020-03-01", date)
            small_frames.write_raw(tmp_path / "raw" / night / f"{number}.fits", (image, cards))
    cameras = tmp_path / "cameras"
    cameras.mkdir()
    (cameras / "testcam.yaml").write_text(small_frames.LFC_LIKE.format(name="TESTCAM"))
    given = {"raw": str(tmp_path / "raw"), "results": str(tmp_path / "results")}
    given |= {"cameras": str(cameras), "pictures": {"per_type": 0}, "limits": {"settle": 0}}
    return settings.load_settings(given)


@pytest.fixture
def begin(run_settings):
    """Return a function that begins a run and returns its steward.

    The lock of the run before is released first, and that of the last run after the test.
    """
    begun = []

    def release():
        for run in begun:
            if run.session is not None and run.session.lock is not None:
                run.session.lock.close()

    def make(*, frames_per_batch=1000, chain=lambda: CHAIN, **options):
        own = {**run_settings, "frames_per_batch": frames_per_batch}
        run = steward.Steward(own, chain, stream=io.StringIO())
        release()
        begun.append(run)
        run.begin(Host(**options))
        return run

    yield make
    release()


def test_a_run_with_nothing_to_do_imports_no_kinds(begin, run_settings):
    first = begin()
    make_all(first)
    assert first.end() == ""
    # This one leaves the seal.
    idle = begin()
    assert idle.end() == ""

    def refuse():
        raise AssertionError("the kinds were imported")

    sealed = begin(chain=refuse)
    assert (sealed.session.seal is not None, sealed.targets, sealed.end()) == (True, [], "")
    assert sealed.stream.getvalue() == idle.stream.getvalue()


def make_all(run):
    """Make each job as the rules do, in the order of the plan."""
    for product in list(run.session.plan.jobs):
        run.make(product, run.jobs.job(product).kind)


def test_a_rule_that_names_another_kind_makes_nothing(begin):
    run = begin()
    (bias, _) = [job for job in run.session.plan.jobs.values() if job.kind == "bias"]
    problem = (
        "of the kind 'bias', and its rule names 'dark': correct kind= or the pattern of product="
    )
    with pytest.raises(steward.JobFailed, match=problem):
        run.make(bias.product, "dark")
    assert not (run.session.context.results / bias.record_path).exists()


def test_a_record_of_another_node_that_does_not_appear_is_named_with_the_remedy(begin):
    run = begin(is_local=False, latency=0.0)
    (overview,) = [job for job in run.session.plan.jobs.values() if job.kind == "index"]
    made_elsewhere = {product for batch in run.batches for product in batch.products}
    first = next(need for need in overview.needs if need in made_elsewhere)
    missing = run.jobs.record_path_of(run.session.plan.jobs[first])
    with pytest.raises(steward.JobFailed) as raised:
        run.make(overview.product, "index")
    assert str(raised.value) == (
        f"{overview.product}: {missing} has not appeared; raise --latency-wait"
    )


def test_a_run_from_its_first_target_to_its_last_line(begin):
    run = begin()
    assert len(run.targets) == len(run.session.plan.jobs) == 12 + 2 + 2 + 2 + 3
    frame = "reduced/2020-02-29/3.fits"
    assert run.jobs.raw_frame(frame).endswith("raw/2020-02-29/3.fits")
    assert run.jobs.sources_in_words(frame) == "2020-02-29/3.fits"
    (bias,) = [p for p in run.session.plan.jobs if p.startswith("combined/2020-02-29")]
    assert run.jobs.sources_in_words(bias) == "6 frames"
    records = {
        run.jobs.record_path_of(run.jobs.job(f"reduced/2020-02-29/{n}.fits")) for n in range(6)
    }
    assert set(run.jobs.record_paths_needed(bias)) == records
    make_all(run)
    assert run.end() == ""
    assert run.end() == "", "said twice"
    output = run.stream.getvalue()
    assert output.count("12 reduced frames, 2 combined biases") == 1
    again = begin()
    assert again.targets == []
    assert "nothing to do" in again.stream.getvalue()


def test_two_masters_are_made_side_by_side_where_memory_has_room(begin, run_settings):
    run = begin(cores=5)
    biases = [product for product in run.session.plan.jobs if product.startswith("combined/")]
    page = "nights/2020-02-29/report.html"
    assert [run.jobs.cores_of(product, 5) for product in (*biases, page)] == [2, 2, 1]
    assert [run.jobs.cores_of(product, 1) for product in biases] == [1, 1]
    # 40 bytes for each pixel of one of the two, or 4 for each pixel of its members.
    ny, nx = next(small_frames.biases(1)).shape
    for factor, cores in ((1.01, 2), (0.99, 5)):
        run_settings["limits"]["combine_memory"] = factor * 2 * 40 * ny * nx / 1e6
        assert [run.jobs.cores_of(product, 5) for product in biases] == [cores, cores]


def test_the_only_master_of_a_kind_takes_all_cores(begin):
    run = begin()
    first, _ = [product for product in run.session.plan.jobs if product.startswith("combined/")]
    only = begin(cores=5, targets=(f"{run.results}/{first}",))
    assert only.jobs.cores_of(first, 5) == 5


def test_the_page_of_a_night_finds_the_picture_of_its_combined_bias_drawn(begin, monkeypatch):
    """All else has ended when pages are written: their pictures are drawn beside other jobs."""
    run, drawn_for = begin(), []
    draw = combined_picture.combined_bias_picture
    monkeypatch.setattr(drawn_pictures, "_kept_pictures", OrderedDict())
    monkeypatch.setattr(
        combined_picture,
        "combined_bias_picture",
        lambda *a, **k: (drawn_for.append(product), draw(*a, **k))[1],
    )
    for product in list(run.session.plan.jobs):
        run.make(product, run.jobs.job(product).kind)
    nights = ("2020-02-29", "2020-03-01")
    assert drawn_for == [f"nights/{night}/bias_quality.png" for night in nights]


def test_only_as_many_pictures_are_drawn_ahead_as_are_kept(monkeypatch):
    monkeypatch.setattr(drawn_pictures, "_kept_pictures", OrderedDict())
    monkeypatch.setattr(drawn_pictures, "_MOST_KEPT_PICTURES", 2)
    drawn = []
    for key in "abc":
        drawn_pictures.draw_ahead(key, lambda key=key: drawn.append(key) or b"")
    assert drawn == ["a", "b"]


def test_a_run_of_which_a_job_failed_is_a_failure_and_names_it(begin, monkeypatch):
    run = begin()
    make = run.chain.make
    product = "reduced/2020-03-01/4.fits"

    def fail(context, job, *, threads):
        if job.product == product:
            raise ZeroDivisionError("on purpose")
        return make(context, job, threads=threads)

    run.chain = SimpleNamespace(make=fail, first=CHAIN.first, by_name=CHAIN.by_name)
    make_all(run)
    assert run.end().startswith("1 job failed")
    assert f"failed: {product}: ZeroDivisionError: on purpose" in run.stream.getvalue()


def test_a_dry_run_names_products_and_their_sources(begin, run_settings):
    few = begin(is_dry=True).stream.getvalue()
    assert "  2020-02-29/0.fits -> reduced/2020-02-29/0.fits (new)\n" in few
    assert "  ... and 4 more; -np names all\n" in few
    every = begin(is_dry=True, names_all_jobs=True).stream.getvalue()
    assert every.count(" -> reduced/") == 12
    assert not (begin(is_dry=True).session.context.results).exists()


def test_products_asked_for_by_name_cut_the_plan_down(begin, run_settings):
    target = f"{run_settings['results']}/reduced/2020-03-01/1.fits"
    run = begin(targets=(target,))
    assert list(run.session.plan.jobs) == ["reduced/2020-03-01/1.fits"]
    with pytest.raises(UserError, match="no such product"):
        begin(targets=(f"{run_settings['results']}/reduced/none.fits",), is_dry=True)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"forced": frozenset({"combine"})}, {"bias"}),
        (
            {"forces_all": True},
            {"frame", "bias", "bias picture", "page", "bias table", "trends", "index"},
        ),
    ],
)
def test_rules_that_are_forced_are_kinds_of_products(begin, options, kinds):
    run = begin()
    make_all(run)
    run.end()
    again = begin(**options, is_dry=True)
    assert {job.kind for job in again.session.plan.jobs.values()} == kinds


def test_a_former_name_of_a_setting_is_reported_first(run_settings):
    output = io.StringIO()
    notices = settings.lines_on_former_names({"frames_per_order": 7})
    steward.Steward(run_settings, lambda: CHAIN, notices=notices, stream=output).begin(
        Host(is_dry=True)
    )
    first, second = output.getvalue().splitlines()[:2]
    assert first == f"ccdflow: {notices[0]}"
    assert " to reduce: " in second


def test_many_frames_are_handed_on_and_the_rest_is_made_here(begin):
    run = begin(frames_per_batch=7)
    assert [batch.name for batch in run.batches] == ["2020-02-29", "2020-03-01"]
    own = set(run.targets) - {f"{run.results}/{batch.record_path}" for batch in run.batches}
    assert own == {
        run.jobs.record_path_of(job)
        for job in run.session.plan.jobs.values()
        if job.kind in ("page", "bias table", "trends", "index")
    }
    page = "nights/2020-03-01/report.html"
    assert f"{run.results}/{run.batches[1].record_path}" in run.jobs.record_paths_needed(page)
    assert list(run.lines_on_interruption()) == [
        "2 of 2 batches were not finished (2020-02-29, 2020-03-01): run again"
    ]
    run.messages.note_failed_batch("... died with <Signals.SIGKILL: 9>.")
    assert "SIGKILL" in list(run.lines_on_interruption())[1]


def test_after_a_failure_pages_are_made_of_finished_products(begin):
    run = begin()
    for product, job in list(run.session.plan.jobs.items()):
        if job.night == "2020-02-29" and job.kind not in ("page",):
            run.make(product, run.jobs.job(product).kind)
    run.make_remaining()
    made = {
        job.product
        for job in run.session.plan.jobs.values()
        if job_records.read_record(run.session.context.results / job.record_path)
    }
    assert {"nights/2020-02-29/report.html", "report.html", "bias_quality.csv"} <= made
    assert "nights/2020-03-01/report.html" not in made


def test_nothing_is_made_after_the_last_line(begin):
    run = begin()
    make_all(run)
    assert run.end() == ""
    output, done = run.stream.getvalue(), run.progress.count
    # The records are in the ledger now, so that each job looks as if it had not run.
    run.make_remaining()
    assert (run.stream.getvalue(), run.progress.count) == (output, done)
    assert run.session.plan.jobs
    assert not any((run.session.context.results / job.record_path).exists()
                   for job in run.session.plan.jobs.values())  # fmt: skip


def test_a_linked_snakefile_is_no_module(tmp_path):
    project, linked = tmp_path / "project", tmp_path / "linked"
    project.mkdir()
    linked.mkdir()
    (project / "Snakefile").touch()
    (linked / "Snakefile").symlink_to(project / "Snakefile")
    (tmp_path / "folder").symlink_to(project)
    for used, snakefile in (
        (linked, linked / "Snakefile"),
        (project, project / "Snakefile"),
        (project, tmp_path / "folder" / "Snakefile"),
    ):
        assert not host.is_used_as_module(SimpleNamespace(basedir=str(used)), snakefile)
    assert host.is_used_as_module(SimpleNamespace(basedir=str(linked)), project / "Snakefile")


def test_a_full_disk_ends_the_run_once(begin, monkeypatch):
    run, sent = begin(), []
    monkeypatch.setattr(steward.os, "kill", lambda process, number: sent.append(number))

    def raise_full_disk(context, job, *, threads):
        raise OSError(errno.ENOSPC, "full")

    run.chain = SimpleNamespace(make=raise_full_disk, first=CHAIN.first, by_name=CHAIN.by_name)
    for product in list(run.session.plan.jobs)[:3]:
        with pytest.raises(steward.JobFailed, match="make room"):
            run.make(product, run.jobs.job(product).kind)
    assert len(sent) == 1
    assert run.stream.getvalue().count("make room") == 1


def test_a_record_that_cannot_be_written_fails_its_job_and_no_other(begin, monkeypatch):
    run = begin()
    first, second = list(run.session.plan.jobs)[:2]
    attempt = worker.attempt

    def refuse_first(context, job, **options):
        if job.product == first:
            raise PermissionError(
                errno.EACCES, "Permission denied", str(context.results / job.record_path)
            )
        return attempt(context, job, **options)

    monkeypatch.setattr(steward.worker, "attempt", refuse_first)
    problem = f"{first}: its record cannot be written: .*Permission denied.*; "
    with pytest.raises(steward.JobFailed, match=problem):
        run.make(first, run.jobs.job(first).kind)
    run.make(second, run.jobs.job(second).kind)
    assert (run.session.context.results / second).is_file()


def test_a_batch_that_cannot_be_written_ends_the_run(begin, run_settings, monkeypatch):
    def raise_full_disk(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "batch.json")

    monkeypatch.setattr(steward.batch_splitting, "split", raise_full_disk)
    # More frames than a batch takes: they are written as batches.
    assert refusal_of(begin, frames_per_batch=7) == (
        UserError,
        f"{run_settings['results']}: a batch cannot be written (No space left on device "
        "(ENOSPC)); make room, and run again; all finished products are whole",
    )


def test_jobs_that_snakemake_starts_early_wait_for_a_core(begin):
    # Batches are processes of their own, and a cluster's login node does small jobs only.
    assert not begin(cores=2, frames_per_batch=7).may_start_one_more
    assert not begin(is_local=False).may_start_one_more
    run, running, running_counts = begin(cores=2), [], []
    assert run.may_start_one_more
    make = run.chain.make

    def count(context, job, *, threads):
        running.append(job.product)
        running_counts.append(len(running))
        record = make(context, job, threads=threads)
        running.remove(job.product)
        return record

    run.chain = SimpleNamespace(make=count, first=CHAIN.first, by_name=CHAIN.by_name)
    frames = [job.product for job in run.session.plan.jobs.values() if job.kind == "frame"]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda product: run.make(product, "frame"), frames))
    assert (len(running_counts), max(running_counts)) == (12, 2)


def test_a_view_has_all_products_and_tells_which_are_out_of_date(begin, run_settings):
    run = begin()
    make_all(run)
    run.end()
    lost = "reduced/2020-02-29/2.fits"
    (run.session.context.results / lost).unlink()
    drawn = steward.Steward(run_settings, lambda: CHAIN, stream=io.StringIO())
    products = drawn.view(Host())
    assert len(products) == 12 + 2 + 2 + 2 + 3
    needs, newer = drawn.view_needs("reduced/2020-02-29/3.fits")
    assert (needs, newer) == ([f"{run_settings['raw']}/2020-02-29/3.fits"], [])
    assert drawn.view_needs(lost)[1] == [snakemake_views.CHANGED_FILE]


def test_debug_messages_are_lines_where_they_are_asked_for(begin, run_settings):
    """Each reason for a plan that a run might have spared."""
    make_all(begin())
    # The records are still there, as of a run that was killed.
    left = begin(is_verbose=True)
    start = "ccdflow: debug: no seal, the run is planned anew: "
    assert [line.startswith(start) for line in debug_lines_of(left)] == [True]
    assert ": an earlier run has left " in debug_lines_of(left)[0]
    assert left.end() == ""
    assert begin().end() == ""
    assert debug_lines_of(begin(is_verbose=True)) == []
    Path(run_settings["raw"], "2020-03-01/0.fits").touch()
    assert debug_lines_of(begin()) == []
    changed = begin(is_verbose=True)
    assert debug_lines_of(changed) == [
        "ccdflow: debug: the seal does not hold, the run is planned anew:"
        " files, settings or code have changed"
    ]
    assert changed.end() == ""
    # The run has ended: what other runs of this process note is not its own.
    logging.getLogger("ccdflow.run.sealing.seal").debug("a later message")
    assert len(debug_lines_of(changed)) == 1


def debug_lines_of(run):
    return [line for line in run.stream.getvalue().splitlines() if "debug:" in line]


# -- the host --------------------------------------------------------------------------------------


def workflow():
    """A stand-in for Snakemake's object with all that `host` needs."""
    made = SimpleNamespace()
    for name in host.NEEDED_ATTRIBUTES:
        holder, _, last = name.rpartition(".")
        if holder:
            if not hasattr(made, holder):
                setattr(made, holder, SimpleNamespace())
            setattr(getattr(made, holder), last, ())
        else:
            setattr(made, name, None)
    made.cores, made.local_exec, made.is_rule = 3, True, lambda name: name == "all"
    made.executor_plugin = "local"
    made.dag_settings.targets = {"all", "results/a.fits"}
    made.dag_settings.forceall = made.dag_settings.forcetargets = False
    made.execution_settings.latency_wait, made.output_settings.verbose = 7, True
    return made


def test_every_attribute_of_snakemake_that_is_used_has_its_reason():
    used = set()
    for path in (Path(host.__file__), *ROOT.glob("rules/*.smk"), ROOT / "Snakefile"):
        for line in path.read_text("utf-8").splitlines():
            code = line.partition("#")[0]
            used.update(re.findall(r'(?<![\w.])workflow(?:\.|, ")([a-z_]+)', code))
    # Without --cores the number of cores cannot be read, and so not be checked.
    used -= {"cores"}
    assert len(used) > 10
    assert used == {name.partition(".")[0] for name in host.NEEDED_ATTRIBUTES}


def test_the_host_has_the_options_that_snakemake_was_given(tmp_path):
    call = host.read_host(workflow(), ["snakemake", "-np"])
    assert (call.cores, call.latency, call.targets) == (3, 7, ("results/a.fits",))
    assert (call.names_all_jobs, call.makes_products, call.forces_all) == (True, True, False)
    assert call.is_verbose
    on_cluster = workflow()
    on_cluster.local_exec = False
    assert host.read_host(on_cluster).cores == 2


def test_any_number_of_jobs_are_as_many_as_the_machine_has_cores():
    """With `-j unlimited` Snakemake's number of cores is `sys.maxsize`, too many for slots."""
    unlimited = workflow()
    unlimited.cores = sys.maxsize
    assert host.read_host(unlimited).cores == len(os.sched_getaffinity(0))


class WithoutCores(SimpleNamespace):
    """A workflow without --cores: Snakemake's own error at the question for them."""

    @property
    def cores(self):
        raise RuntimeError("Workflow requires a total number of cores to be defined")


def test_a_view_needs_no_number_of_cores():
    view = vars(workflow()) | {"executor_plugin": None}
    del view["cores"]
    call = host.read_host(WithoutCores(**view))
    assert (call.cores, call.makes_products) == (1, False)


@pytest.mark.parametrize("name", host.NEEDED_ATTRIBUTES)
def test_an_attribute_that_a_snakemake_lacks_is_named(name):
    lacking = workflow()
    holder, _, last = name.rpartition(".")
    delattr(getattr(lacking, holder) if holder else lacking, last)
    assert host.missing_attributes(lacking) == [name]
    with pytest.raises(UserError, match=f"this version of Snakemake has no workflow.{name} "):
        host.check_attributes(lacking)


@pytest.mark.parametrize(
    ("line", "is_view", "all_lines"),
    [
        ("--dag", True, False), ("--summary", True, False), ("-D", True, False),
        ("--report", False, False), ("-n", False, False), ("-np", False, True),
        ("-n -p", False, True), ("--printshellcmds", False, True), ("--profile x", False, False),
    ],
)  # fmt: skip
def test_a_command_line_asks_for_a_view_or_for_all_lines(line, is_view, all_lines):
    assert host.is_view(line.split()) == is_view
    assert host.wants_all_lines(line.split()) == all_lines


def test_memory_that_jobs_of_a_kind_share_is_freed_after_the_last_of_them(begin, monkeypatch):
    calls = []
    frame = CHAIN.by_name("frame")
    monkeypatch.setattr(
        type(frame), "free_memory", lambda self, *, is_done=False: calls.append(is_done)
    )
    run = begin()
    products = [job.product for job in run.session.plan.jobs.values() if job.kind == "frame"]
    for product in products:
        assert calls == []
        run.make(product, "frame")
    assert (len(products), calls) == (12, [True])


def test_a_run_on_one_machine_waits_for_jobs_of_a_killed_one_and_a_cluster_does_not(
    begin, monkeypatch
):
    killed = begin(is_local=False)
    batch = killed.batches[0]
    claim = claims.claim(f"{killed.results}/{batch.path}")
    monkeypatch.setattr(claims.time, "sleep", lambda seconds: claim.close())
    try:
        on_cluster = begin(is_local=False)
        assert on_cluster.session.busy_batches.keys() == {batch.path}
        assert not claim.closed
        here = begin()
    finally:
        claim.close()
    assert here.session.busy_batches == {}
    line = claims.waiting_line(Path(batch.path))
    assert f"batch {batch.name}.{batch.key}; " in line
    assert here.stream.getvalue().splitlines()[0] == f"ccdflow: {line}"


@pytest.mark.parametrize("has_made_it", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("way", ["rule", "remaining"])
def test_a_job_of_the_main_process_waits_for_an_earlier_job_on_the_same_product(
    begin, monkeypatch, has_made_it, way
):
    """On a cluster the main process makes tables and the overview itself."""
    run, made = begin(is_local=False), []
    context, product = run.session.context, "bias_quality.csv"
    job = run.session.plan.jobs[product]
    batch = context.results / ".ccdflow/batches/earlier.0123.json"
    batch.write_text("{}")
    run.session.busy_batches = {".ccdflow/batches/earlier.0123.json": {product: job.record_path}}
    claim = claims.claim(batch)
    theirs = job_records.Record(product, job.kind, job.key, data={"by": "the earlier job"})

    def end_earlier(seconds):
        assert made == []
        if has_made_it:
            job_records.write_record(context.results, theirs, job.record_path)
        claim.close()

    def make(context, job, *, threads=1):
        made.append(job.product)
        return job_records.Record(job.product, job.kind, job.key)

    monkeypatch.setattr(claims.time, "sleep", end_earlier)
    monkeypatch.setattr(type(CHAIN), "make", lambda self, *args, **options: make(*args, **options))
    monkeypatch.setattr(run.jobs, "await_records_needed", lambda job, seconds: "")
    if way == "rule":
        run.make(product, job.kind)
    else:
        monkeypatch.setattr(run.jobs, "remaining_jobs", lambda chain, *, makes_all: [job])
        run.make_remaining()
    assert claim.closed
    assert made == ([] if has_made_it else [product])
    record = job_records.read_record(context.results / job.record_path)
    assert dict(record.data.items()) == (theirs.data if has_made_it else {})
    assert f"ccdflow: {claims.waiting_line(batch)}" in run.stream.getvalue().splitlines()
    # Another product waits for nobody.
    run.make("report.html", "index")
    assert made[-1] == "report.html"
