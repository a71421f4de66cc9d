"""An error of the system costs no product the version that it has: it waits for the repair."""

from __future__ import annotations

import shutil

import pytest
import small_chain
from astropy.io import fits
from failing_jobs import products_after, run_all_jobs
from small_frames import begin
from workflow.sandbox import products
from workflow.stand_ins import use_stand_ins

from ccdflow import kinds as kinds_module
from ccdflow import paths
from ccdflow.combine import member_reader
from ccdflow.errors import DamagedProduct, FrameError, UserError
from ccdflow.run import failures, job_records, ledger, worker
from ccdflow.run.batches import batch_splitting, batch_work
from ccdflow.run.ending import session_end

NIGHT = "2024-03-01"
BIAS = f"combined/{NIGHT}/bias_simcam_103x101_1x1.fits"
DARK = f"combined/{NIGHT}/dark_simcam_103x101_1x1_60s.fits"
FLAT = f"combined/{NIGHT}/flat_simcam_103x101_1x1_g.fits"
PIXELS = f"detector/simcam/{NIGHT}/pixels_103x101_1x1.fits"
MAP = "detector/simcam/bad_pixels_all_103x101_1x1.fits"
OLD_FRAME, NEW_FRAME = "calibrated/science_g1.fits", "calibrated/science_g2.fits"
LATE_FRAMES = ("bias4.fits", "flat_g4_4.fits", "science_g2.fits")
# As `failing_jobs.run_all_jobs` has them.
SETTINGS = {"pictures": {"per_type": 1}, "detector": {"enabled": True}}
NO_PERMISSION = PermissionError(13, "Permission denied")


class LateNight:
    """A finished night, to which a bias, a flat and a frame of the sky come late."""

    def __init__(self, top):
        self.chain = small_chain.make(
            top / "raw", biases=4, darks=((60.0, 3),), flats=(("g", 4, 4.0),),
            science=(("g", 60.0, 2),),
        )  # fmt: skip
        self.raw, self.results = top / "raw", top / "results"
        (top / "late").mkdir()
        for name in LATE_FRAMES:
            (self.raw / name).rename(top / "late" / name)
        self.run_all_jobs()
        self.before = products(self.results)
        self.records = ledger.load_ledger(self.results)
        for name in LATE_FRAMES:
            (top / "late" / name).rename(self.raw / name)
        run_all_jobs(self.chain, self.raw, top / "scratch")
        self.wanted = products(top / "scratch")

    def copy(self, top):
        """Return the night in another folder, where runs may change it."""
        copied = object.__new__(LateNight)
        copied.__dict__ = {**self.__dict__, "results": top / "results"}
        shutil.copytree(self.results, copied.results)
        return copied

    def run_all_jobs(self, errors=None, before=None):
        """Run all jobs, some with an error or with an action before them.

        Parameters
        ----------
        errors : dict of str to Exception, optional
            By product, the error that its job raises.
        before : dict of str to callable, optional
            By product, a function that is called before its job, with the context and the job.
        """
        errors, before = errors or {}, before or {}

        def make(context, job, *, threads=1):
            if job.product in before:
                before[job.product](context, job)
            if job.product in errors:
                raise errors[job.product]
            return kinds_module.make(context, job, threads=threads)

        return run_all_jobs(self.chain, self.raw, self.results, make=make)

    def check_repaired(self):
        """The next run leaves what a run from scratch does, and the run after it does nothing."""
        self.run_all_jobs()
        made = products(self.results)
        assert sorted(n for n in {*made, *self.wanted} if made.get(n) != self.wanted.get(n)) == []
        assert self.run_all_jobs()[2] == {}


@pytest.fixture(scope="module")
def finished_night(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        yield LateNight(tmp_path_factory.mktemp("late"))


@pytest.fixture
def night(finished_night, tmp_path):
    return finished_night.copy(tmp_path)


# Products whose jobs fail, and the data products that wait for it with their earlier version.
WAITING = {
    "reduced/bias4.fits": {BIAS, DARK, FLAT, PIXELS, MAP, OLD_FRAME},
    BIAS: {DARK, FLAT, PIXELS, MAP, OLD_FRAME},
    DARK: {FLAT, PIXELS, MAP, OLD_FRAME},
    FLAT: {PIXELS, MAP, OLD_FRAME},
    PIXELS: {MAP, OLD_FRAME},
}


@pytest.mark.parametrize("failed", WAITING, ids=lambda product: product.partition("_")[0])
def test_products_wait_for_one_that_the_system_did_not_let_be_made(night, failed):
    records, lines, jobs = night.run_all_jobs({failed: NO_PERMISSION})
    assert records[failed].status == job_records.FAILED
    waiting = {n for n, record in records.items() if record.status == job_records.WAITING}
    assert waiting == WAITING[failed] <= products_after(jobs, failed)
    made = products(night.results)
    assert all(made[name] == night.before[name] for name in waiting)
    assert made.get(failed) == night.before.get(failed)
    # Pages and tables are made: they show the present products.
    reports = {n for n, job in jobs.items() if kinds_module.CHAIN.by_name(job.kind).is_report}
    assert reports
    assert {records[name].status for name in reports} == {job_records.MADE}
    # The frame that came late has no earlier version, so it is calibrated in any case.
    assert records[NEW_FRAME].status == job_records.MADE
    kept = [line for line in lines if line.startswith("kept in the earlier version: ")]
    assert len(kept) == 1
    assert "1 calibrated frame" in kept[0]
    assert f"{failed} could not be made" in kept[0]
    (without,) = [line for line in lines if line.startswith("made with what there is: ")]
    assert "1 calibrated frame" in without
    night.check_repaired()


def test_a_new_frame_takes_the_earlier_version_of_a_master_of_the_same_recipe(night):
    night.run_all_jobs({FLAT: NO_PERMISSION})
    header = fits.getheader(night.results / NEW_FRAME)
    assert (header["FLATIM"], header["FLATKEY"]) == (FLAT, night.records[FLAT].key)
    assert header["CALGRADE"] == "A"
    # The page says that the flat is an earlier one, and why.
    page = (night.results / f"nights/{NIGHT}/report.html").read_text()
    assert "its earlier version is kept: Permission denied (EACCES)" in page
    assert "its earlier version is kept" in (night.results / "flat_quality.csv").read_text()
    # The table names the flat that both frames have.
    table = (night.results / "associations.csv").read_text().splitlines()
    assert sum(f",flat,{FLAT}," in line for line in table) == 2
    night.check_repaired()
    key = fits.getheader(night.results / FLAT)["CCDFKEY"]
    assert fits.getheader(night.results / NEW_FRAME)["FLATKEY"] == key != night.records[FLAT].key


def test_the_page_says_why_a_frame_is_an_earlier_one(night):
    night.run_all_jobs({OLD_FRAME: NO_PERMISSION})
    text = (night.results / f"nights/{NIGHT}/report.html").read_text()
    assert "its earlier version is kept: Permission denied (EACCES)" in text
    night.check_repaired()


def test_frames_of_another_recipe_do_not_take_an_earlier_master(night):
    """All is reduced anew, with the mean of the overscan; the flat cannot be written."""
    other = night.chain.profile + "\nreduction: {statistic: mean}\n"
    night.chain = type(night.chain)(night.raw, other, night.chain.detector, night.chain.exposures)
    records, _, _ = night.run_all_jobs({FLAT: NO_PERMISSION})
    assert records[OLD_FRAME].status == job_records.WAITING
    assert products(night.results)[OLD_FRAME] == night.before[OLD_FRAME]
    header = fits.getheader(night.results / NEW_FRAME)
    assert "FLATIM" not in header
    assert (header["CALGRADE"], header["BIASKEY"]) == ("C", records[BIAS].key)
    run_all_jobs(night.chain, night.raw, night.results.with_name("scratch"))
    night.wanted = products(night.results.with_name("scratch"))
    night.check_repaired()


def test_an_earlier_version_that_was_damaged_is_not_kept(night):
    """Neither is that of a frame, whose bytes are not those of its record."""
    path = night.results / OLD_FRAME
    path.write_bytes(path.read_bytes()[:-2880])
    records, _, _ = night.run_all_jobs({FLAT: NO_PERMISSION})
    assert records[OLD_FRAME].status == job_records.MADE
    assert fits.getheader(path)["FLATKEY"] == night.records[FLAT].key
    night.check_repaired()


def test_a_folder_in_the_place_of_a_master_costs_no_calibrated_frame_its_flat(night):
    (night.results / FLAT).unlink()
    (night.results / FLAT / "mine").mkdir(parents=True)
    records, lines, _ = night.run_all_jobs()
    assert records[FLAT].status == job_records.FAILED
    assert records[OLD_FRAME].status == job_records.WAITING
    assert products(night.results)[OLD_FRAME] == night.before[OLD_FRAME]
    assert any(line.startswith(f"failed: {FLAT}: Is a directory") for line in lines)
    shutil.rmtree(night.results / FLAT)
    night.check_repaired()


def test_an_error_that_may_come_in_each_run_holds_nothing_up(night):
    """The bias is new, and the frames take it; of the flat they have the earlier version."""
    records, lines, _ = night.run_all_jobs({FLAT: ValueError("on purpose")})
    assert {record.status for record in records.values()} == {job_records.MADE, job_records.FAILED}
    header = fits.getheader(night.results / OLD_FRAME)
    assert header["BIASKEY"] == records[BIAS].key != night.records[BIAS].key
    assert header["FLATKEY"] == night.records[FLAT].key
    assert lines
    assert not [line for line in lines if "earlier version" in line]
    night.check_repaired()


def test_late_frames_that_go_again_leave_nothing_to_do(night):
    """The products that waited are those that the run wants then: no key and no byte differs."""
    night.run_all_jobs({BIAS: NO_PERMISSION})
    away = night.raw.parent / "away"
    away.mkdir(exist_ok=True)
    for name in LATE_FRAMES:
        (night.raw / name).rename(away / name)
        (night.results / "reduced" / name).unlink()
    try:
        (night.results / NEW_FRAME).unlink()
        night.run_all_jobs()
        made = products(night.results)
        wrong = {n for n in {*made, *night.before} if made.get(n) != night.before.get(n)}
        assert wrong == set()
        assert night.run_all_jobs()[2] == {}
    finally:
        for name in LATE_FRAMES:
            (away / name).rename(night.raw / name)


def test_a_run_that_is_killed_among_waiting_jobs_is_gone_on_with(night):
    """Records of waiting jobs are on the disk when the next run begins."""
    running = begin(night.raw, night.results, {"simcam": night.chain.profile}, **SETTINGS)

    def make(context, job, *, threads=1):
        if job.product == FLAT:
            raise NO_PERMISSION
        return kinds_module.make(context, job, threads=threads)

    jobs = [job for job in running.plan.jobs.values() if not job.product.startswith("nights/")]
    worker.work(running.context, jobs, threads=2, make=make)
    running.lock.close()
    night.check_repaired()


class FailingChain(type(kinds_module.CHAIN)):
    """The chain of kinds, whose combined bias cannot be written."""

    def make(self, context, job, *, threads=1):
        if job.product == BIAS:
            raise NO_PERMISSION
        return super().make(context, job, threads=threads)


def test_batches_keep_the_same_products(night, tmp_path):
    """A process of a batch has the rows and records of its own jobs alone."""
    other = night.copy(tmp_path / "other")
    other.run_all_jobs({BIAS: NO_PERMISSION})
    chain, profiles = FailingChain(kinds_module.CHAIN), {"simcam": night.chain.profile}
    running = begin(night.raw, night.results, profiles, frames_per_batch=1, **SETTINGS)
    try:
        batches = batch_splitting.split(running, is_split_by_night=False)
        assert len(batches) > 3
        for batch in batches:
            path = night.results / batch.path
            assert batch_work.make_all(path, chain=chain, threads=2, say=pytest.fail) == 0
        in_batches = {product for batch in batches for product in batch.products}
        assert {BIAS, DARK, FLAT, OLD_FRAME, NEW_FRAME} <= in_batches
        rest = [job for job in running.plan.jobs.values() if job.product not in in_batches]
        worker.work(running.context, rest, threads=1, make=chain.make)
        lines, _ = session_end.finish(running)
    finally:
        running.lock.close()
    assert sum(line.startswith("kept in the earlier version: ") for line in lines) == 1
    assert products(night.results) == products(other.results)
    night.check_repaired()


def test_a_reduced_frame_that_cannot_be_read_is_an_error_of_the_system(night, monkeypatch):
    """A reader puts the error into words; the line of the master names the file."""
    open_member, bias = member_reader.os.open, str(night.results / "reduced/bias1.fits")

    def refuse_bias(path, *arguments, **options):
        if str(path) == bias:
            raise OSError(5, "Input/output error", str(path))
        return open_member(path, *arguments, **options)

    monkeypatch.setattr(member_reader.os, "open", refuse_bias)
    records, lines, _ = night.run_all_jobs()
    monkeypatch.undo()
    assert records[BIAS].status == job_records.FAILED
    waiting = {n for n, record in records.items() if record.status == job_records.WAITING}
    assert waiting == WAITING[BIAS]
    (line,) = [line for line in lines if line.startswith(f"failed: {BIAS}: ")]
    assert f"{bias}: cannot be read: Input/output error" in line
    night.check_repaired()


def test_a_master_that_is_cut_while_the_run_goes_on_is_named_where_it_is_missing(night):
    """The dark that needs the bias fails, and what is made of the dark waits."""

    def cut_bias(context, job):
        path = context.results / BIAS
        path.write_bytes(path.read_bytes()[:5760])

    records, lines, _ = night.run_all_jobs(before={DARK: cut_bias})
    assert records[DARK].status == job_records.FAILED
    assert records[OLD_FRAME].status == job_records.WAITING
    (line,) = [line for line in lines if line.startswith(f"failed: {DARK}: ")]
    assert f"{night.results / BIAS}: cannot be combined: the file ends before" in line
    assert "delete it and make it again" in line
    night.check_repaired()


def test_an_overview_beside_frames_without_a_record_is_made_again(night, monkeypatch):
    """A job that can leave no record is not made again by the keys of the others."""
    write, done = job_records.write_record, f"{paths.DONE_FOLDER}/calibrated/"

    def refuse_records(results, record, path):
        if path.startswith(done):
            raise OSError(30, "Read-only file system", path)
        write(results, record, path)

    monkeypatch.setattr(job_records, "write_record", refuse_records)
    running = begin(night.raw, night.results, {"simcam": night.chain.profile}, **SETTINGS)
    try:
        jobs = running.plan.jobs.values()
        done_work = worker.work(running.context, jobs, threads=2, make=kinds_module.make)
        session_end.finish(running)
    finally:
        running.lock.close()
    assert done_work.unrecorded.keys() == {OLD_FRAME, NEW_FRAME}
    monkeypatch.undo()
    night.check_repaired()


@pytest.mark.parametrize(
    ("error", "is_of_system"),
    [
        (OSError(5, "Input/output error"), True),
        (PermissionError(13, "Permission denied"), True),
        (MemoryError(), True),
        (DamagedProduct("the product is cut", file="x"), True),
        # astropy's, for bytes that it cannot read.
        (OSError("No SIMPLE card found"), False),
        (FrameError("no pixel has a value", file="x"), False),
        (UserError("no such key"), False),
        (ValueError("on purpose"), False),
        (SystemExit(3), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_system_are_those_that_say_nothing_about_the_data(error, is_of_system):
    assert failures.is_of_system(error) is is_of_system
