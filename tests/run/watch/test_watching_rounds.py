"""Each event of a night has its effect on the rounds of a watch, row by row of docs/daily.md.

docs/daily.md names the other files that have tests of its table.
"""

import errno
import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_chain
from astropy.io import fits
from small_frames import begin
from watched_folders import (
    SETTINGS,
    WatchOutput,
    run_from_scratch,
    settings_of,
    wait_until,
    watch_of,
)
from workflow.sandbox import products

from ccdflow import kinds, paths
from ccdflow.files import file_access
from ccdflow.kinds.matching import association
from ccdflow.kinds.reporting.night_page import NIGHT_PAGE
from ccdflow.run import job_records, lock, worker
from ccdflow.run.batches import claims
from ccdflow.run.ending import session_end
from ccdflow.run.raw_frames import inventory_table, raw_folders, raw_names, rows
from ccdflow.run.watch import arrivals, looks, page_pace, timed_calls, watching

LATE = ("science_g2.fits",)
FRAME = {"frame", "science"}
LATE_START = "2024-03-01T23:00:00"
ARCHIVE = {"associations", "index"}


@pytest.fixture(scope="module")
def evening(tmp_path_factory):
    """A night of which all is made but the last science frame; its raw frames are in ``all``."""
    top = tmp_path_factory.mktemp("evening")
    chain = small_chain.make(top / "all", biases=3, flats=(("g", 3),), darks=((60.0, 3),),
                             science=(("g", 60.0, 2),))  # fmt: skip
    for path in (top / "all").glob("*.fits"):
        # Old frames are not read again by each round.
        os.utime(path, (1e9, 1e9))
    shutil.copytree(top / "all", top / "raw", ignore=shutil.ignore_patterns(*LATE))
    watch_of(settings_of(top / "raw", top / "results", chain), WatchOutput()).whole_round()
    return top, chain


# Products of runs from scratch, by the raw frames.
_SCRATCH = {}


class Night:
    """A copy of the evening, with a watch that has done a whole round."""

    def __init__(self, evening, tmp_path, **others):
        self.source, self.chain = evening
        self.top = tmp_path
        self.raw, self.results = tmp_path / "raw", tmp_path / "results"
        shutil.copytree(self.source / "raw", self.raw)
        shutil.copytree(self.source / "results", self.results)
        self.output = WatchOutput()
        self.values = settings_of_copy(self.raw, self.results, self.chain)
        self.watch = watch_of(self.values, self.output, **others)
        self.watch.whole_round(raw_folders.list_raw(self.raw))

    def arrive(self, name, *, of=None, content=None, **cards):
        """Put a frame into the raw folder; return the round that it leads to."""
        path = self.raw / name
        if content is None:
            shutil.copyfile(self.source / "all" / (of or name), path)
            if cards:
                with fits.open(path, mode="update") as hdus:
                    hdus[0].header.update(cards)
        else:
            path.write_bytes(content)
        return self.watch.do_round({name: file_access.stamp_of(path)})

    def is_as_from_scratch(self):
        """Return whether nothing is left to do, and all is as one run over all frames makes it."""
        frames = tuple((path.name, path.read_bytes()) for path in sorted(self.raw.iterdir()))
        if frames not in _SCRATCH:
            other = self.top / "other" / "results"
            _SCRATCH[frames] = run_from_scratch(self.raw, other, self.chain)
        return self.plan() == {} and products(self.results) == _SCRATCH[frames]

    def plan(self):
        """Return the products that a run would make now."""
        planned = begin(self.raw, self.results, {"simcam": self.chain.profile}, **SETTINGS)
        planned.lock.close()
        return planned.plan.jobs


def settings_of_copy(raw, results, chain):
    """Return the settings for a watch; nothing is planned."""
    other = results.with_name("none")
    raw_none = results.with_name("raw_none")
    values = settings_of(raw_none, other, chain)
    return values | {"raw": str(raw), "results": str(results)}


def kinds_of(done):
    return {record.kind for record in done.records}


@pytest.fixture
def watched_night(evening, tmp_path):
    night = Night(evening, tmp_path)
    # A second passes with each question: each round renews its pages.
    night.watch.pace = page_pace.PagePace(itertools.count().__next__)
    return night


def test_a_frame_of_the_sky_leads_to_its_products_and_its_page_alone(watched_night):
    done = watched_night.arrive(*LATE)
    assert done.is_short
    assert kinds_of(done) == {*FRAME, "page"}
    assert done.nights == [small_chain.NIGHT]
    # The whole plan wants none of it otherwise: tables and overview alone are left.
    assert kinds_of(watched_night.watch.whole_round()) == ARCHIVE
    assert watched_night.is_as_from_scratch()
    (line,) = [line for line in watched_night.output.lines if line.startswith("science_g2.fits")]
    assert all(word in line for word in ("level", "noise", "sky", "grade A"))


def test_a_page_that_was_just_renewed_is_put_off_and_comes_when_the_sky_is_quiet(watched_night):
    clock = Clock()
    watched_night.watch.pace = page_pace.PagePace(clock.monotonic)
    assert kinds_of(watched_night.arrive(*LATE)) == {*FRAME, "page"}
    page = watched_night.results / "nights/2024-03-01/report.html"
    before, count = file_access.stamp_of(page), len(watched_night.output.lines)
    done = [watched_night.arrive(f"fast_{n}.fits", of=LATE[0], OBJECT=f"field {n}") for n in (1, 2)]
    assert [kinds_of(each) for each in done] == [FRAME, FRAME]
    assert [each.nights for each in done] == [[], []], "the live page has nothing new to show"
    assert before == file_access.stamp_of(page) != ()
    # The width of the stars, which comes with the night's list, is still missing in their lines.
    assert len(watched_night.output.lines) == count
    assert watched_night.watch.pace.nights_owed == {"2024-03-01"}
    assert 0.0 < watched_night.watch.pace.seconds_to_wait(1.0) <= 0.5
    assert not watched_night.watch.pace.is_page_due()
    clock.now += 0.5
    assert watched_night.watch.pace.seconds_to_wait(1.0) == 0.0
    quiet = watched_night.watch.do_round({})
    assert quiet.is_short
    assert kinds_of(quiet) == {"page"}
    assert quiet.nights == ["2024-03-01"]
    assert all(f"fast_{n}.fits" in page.read_text() for n in (1, 2))
    lines = watched_night.output.lines[count:]
    assert [line.partition("  ")[0] for line in lines] == ["fast_1.fits", "fast_2.fits"]
    assert all("grade" in line for line in lines)
    assert not watched_night.watch.pace.nights_owed
    watched_night.watch.whole_round()
    assert watched_night.is_as_from_scratch()


def test_a_whole_round_makes_the_pages_and_lines_that_were_put_off(watched_night):
    watched_night.watch.pace = page_pace.PagePace(Clock().monotonic)
    watched_night.arrive(*LATE)
    watched_night.arrive("fast.fits", of=LATE[0], OBJECT="another field")
    done = watched_night.watch.whole_round()
    assert "page" in kinds_of(done)
    assert not watched_night.watch.pace.nights_owed
    assert sum(line.startswith("fast.fits  ") for line in watched_night.output.lines) == 1
    assert watched_night.is_as_from_scratch()


def test_pages_take_a_quarter_of_the_time_however_fast_frames_come():
    now, drawing, frames = 100.0, 0.0, 0
    pace = page_pace.PagePace(lambda: now)
    while now < 200.0:
        # A frame each 0.02 s; a page of 0.09 s, as of 2,000 tiny frames.
        frames, draws = frames + 1, pace.may_draw()
        now += 0.02 + 0.09 * draws
        drawing += 0.09 * draws
        pace.note_round(set() if draws else {"a night"}, 0.09 * draws)
    assert 0.2 < drawing / 100.0 <= 0.25
    # 909 with a page for each.
    assert frames > 3700
    # The last frames are shown 0.27 s after the last page.
    assert pace.seconds_to_wait(1.0) <= 0.27
    pace.note_round(set(), 0.35)
    pace.note_round({"a night"}, 0.01)
    assert pace.seconds_to_wait(1.0) == pytest.approx(0.5), (
        "a long page waits for no longer than that"
    )


def test_a_page_asks_once_which_master_a_frame_takes(watched_night, monkeypatch):
    asked, is_writing, decide, write = (
        Counter(),
        [],
        association._first_made_use,
        NIGHT_PAGE.make,
    )

    def count_decisions(context, step):
        asked.update([id(step)] if is_writing else [])
        return decide(context, step)

    def write_and_note(context, job, *, threads):
        is_writing.append(job)
        try:
            return write(context, job, threads=threads)
        finally:
            is_writing.clear()

    monkeypatch.setattr(association, "_first_made_use", count_decisions)
    monkeypatch.setattr(NIGHT_PAGE, "make", write_and_note)
    assert watched_night.arrive(LATE[0]).is_short
    # The two frames share three steps, and the flats have a dark of their own.
    assert sorted(asked.values()) == [1, 1, 1, 1]


def test_a_whole_round_has_the_room_of_the_last_one(watched_night, monkeypatch):
    watched_night.arrive(*LATE)
    last = [
        weakref.ref(watched_night.watch._warm_state),
        weakref.ref(watched_night.watch._warm_state.context),
    ]
    work, left = worker.work, []

    def look(*arguments, **options):
        left.append([each() for each in last])
        return work(*arguments, **options)

    monkeypatch.setattr(worker, "work", look)
    assert kinds_of(watched_night.watch.whole_round()) == ARCHIVE
    assert left == [[None, None]]


def test_a_run_after_a_short_round_takes_its_products_in(watched_night):
    # The watch is killed: nothing but the records is left of the round.
    watched_night.arrive(*LATE)
    assert {job.kind for job in watched_night.plan().values()} == ARCHIVE
    again = watch_of(watched_night.values, WatchOutput())
    assert kinds_of(again.whole_round()) == ARCHIVE
    assert watched_night.is_as_from_scratch()


def test_a_bias_is_reduced_at_once_and_its_master_comes_with_the_next_whole_round(watched_night):
    done = watched_night.arrive("bias4.fits", of="bias1.fits", OBJECT="one more")
    assert done.is_short
    assert kinds_of(done) == {"frame"}
    # A frame of the sky does not take the old master.
    done = watched_night.arrive(*LATE)
    assert not done.is_short
    assert {"bias", *FRAME} < kinds_of(done)
    # Nor does one that was made before keep it.
    assert "calibrated/science_g1.fits" in {record.product for record in done.records}
    assert watched_night.is_as_from_scratch()


def test_a_watch_notices_products_of_another_run(watched_night):
    shutil.copyfile(watched_night.source / "all" / LATE[0], watched_night.raw / LATE[0])
    running = begin(
        watched_night.raw,
        watched_night.results,
        {"simcam": watched_night.chain.profile},
        **SETTINGS,
    )
    assert watched_night.watch.do_round({LATE[0]: (1,)}).problem.startswith(
        "another run is at work"
    )
    worker.work(running.context, running.plan.jobs.values(), threads=2, make=kinds.make)
    session_end.finish(running)
    running.lock.close()
    done = watched_night.watch.do_round(
        {LATE[0]: file_access.stamp_of(watched_night.raw / LATE[0])}
    )
    assert (done.is_short, done.records) == (False, [])
    (line,) = [line for line in watched_night.output.lines if "another run is at work" in line]
    assert line.startswith(f"waiting: another run is at work here (process {os.getpid()} on ")
    assert "results folder" not in line
    assert "goes on" in watched_night.output.lines


def test_notes_that_another_process_wrote_are_read_again(watched_night):
    # Between two short rounds, without the watch having met its lock.
    running = begin(
        watched_night.raw,
        watched_night.results,
        {"simcam": watched_night.chain.profile},
        **SETTINGS,
    )
    running.context.ledger.pop(f"reduced/{LATE[0]}", None)
    running.context.ledger["reduced/bias1.fits"] = job_records.Record(
        "reduced/bias1.fits", "frame", "x"
    )
    session_end.finish(running)
    running.lock.close()
    done = watched_night.arrive(*LATE)
    assert not done.is_short
    assert any(record.product == "reduced/bias1.fits" for record in done.records)
    assert watched_night.plan() == {}


def test_a_watch_says_once_that_a_master_failed_and_tries_it_again(watched_night, monkeypatch):
    """A late flat comes while the folder of masters is read-only; then that is repaired."""
    frame, make = "calibrated/science_g1.fits", kinds.CHAIN.make
    before = products(watched_night.results)[frame]

    def refuse_flat(self, context, job, *, threads=1):
        if job.kind == "flat":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return make(context, job, threads=threads)

    with monkeypatch.context() as patch:
        patch.setattr(type(kinds.CHAIN), "make", refuse_flat)
        watched_night.arrive("flat_g9.fits", of="flat_g1.fits", **{"DATE-OBS": LATE_START})
        rounds = [watched_night.watch.whole_round() for _ in range(3)]
    assert products(watched_night.results)[frame] == before
    for done in rounds:
        assert (done.n_failed, done.has_failed_products, done.problem) == (1, True, "")
        statuses = {record.product: record.status for record in done.records}
        assert statuses[frame] == job_records.WAITING
    assert watched_night.watch.schedule.has_whole_round
    lines = watched_night.output.lines
    assert sum("failed: combined/" in line for line in lines) == 1
    assert sum("kept in the earlier version: 1 calibrated frame" in line for line in lines) == 1
    # No line says of the frame that it is not calibrated, or was made again.
    assert not [line for line in lines if line.startswith("science_g1.fits")]
    repaired = watched_night.watch.whole_round()
    assert (repaired.n_failed, repaired.has_failed_products) == (0, False)
    assert products(watched_night.results)[frame] != before
    assert watched_night.is_as_from_scratch()


def test_a_full_disk_in_a_short_round_is_reported_once_and_made_good(watched_night, monkeypatch):
    make = type(kinds.CHAIN).make

    def make_until_full(self, context, job, *, threads=1):
        if job.kind == "science":
            raise OSError(errno.ENOSPC, "No space left on device", job.product)
        return make(self, context, job, threads=threads)

    monkeypatch.setattr(type(kinds.CHAIN), "make", make_until_full)
    # The first round is a short one, the second a whole one.
    for is_short in (True, False):
        done = watched_night.arrive(*LATE)
        assert "no space is left" in done.problem
        assert done.is_short == is_short
    (line,) = [line for line in watched_night.output.lines if line.startswith("waiting: ")]
    assert line.endswith("make room; the watch goes on by itself")
    assert not any("run again" in line for line in watched_night.output.lines)
    monkeypatch.setattr(type(kinds.CHAIN), "make", make)
    assert watched_night.arrive(*LATE).problem == ""
    assert watched_night.output.lines.count("goes on") == 1
    assert watched_night.is_as_from_scratch()


def test_a_live_page_that_cannot_be_written_does_not_end_the_watch(evening, tmp_path):
    def raise_full_disk(done):
        raise OSError(errno.ENOSPC, "No space left on device", "live.js")

    night = Night(evening, tmp_path, show_round=raise_full_disk)
    assert kinds_of(night.arrive(*LATE)) == {*FRAME, "page"}
    assert "waiting: live.js: No space left on device" in night.output.lines


def test_a_bad_frame_has_a_line_and_costs_no_other(watched_night):
    watched_night.watch.settings["limits"] = watched_night.values["limits"] | {"settle": 0}
    watched_night.watch.whole_round()
    watched_night.arrive("bad.fits", content=b"no FITS file at all" * 200)
    (line,) = [line for line in watched_night.output.lines if line.startswith("bad.fits")]
    assert line.startswith("bad.fits: set aside: ")
    assert kinds_of(watched_night.arrive(*LATE)) == {*FRAME, "page"}
    watched_night.watch.whole_round()
    table = inventory_table.read_inventory(watched_night.results / paths.INVENTORY).set_index(
        "file"
    )
    assert table.loc["bad.fits", "status"] == rows.SET_ASIDE


def test_a_product_that_failed_is_tried_again_without_another_frame(watched_night):
    """Somebody moves the folder that was in the way, and no frame comes any more."""
    night = watched_night
    (night.results / "reduced" / "science_g2.fits" / "x").mkdir(parents=True)
    night.arrive(*LATE)
    assert night.watch.schedule.has_whole_round
    before = len(night.output.lines)
    for _ in range(2):
        night.watch.whole_round()
    failures = [line for line in night.output.lines if line.startswith("failed: ")]
    assert len(failures) == 1
    assert "; the watch goes on by itself" in failures[0]
    assert night.output.lines[before - 1 :]
    assert not any("run again" in line for line in night.output.lines[before - 1 :])
    assert night.watch.n_failed == 1
    shutil.rmtree(night.results / "reduced" / "science_g2.fits")
    assert night.watch.schedule.has_whole_round
    night.watch.whole_round()
    assert (night.watch.n_failed, night.watch.schedule.has_whole_round) == (0, False)
    assert night.is_as_from_scratch()


def test_the_last_round_gives_the_remedies_of_a_run(watched_night):
    """After Ctrl-C, and with `--once`, no watch goes on by itself."""
    night = watched_night
    (night.results / "reduced" / "science_g2.fits" / "x").mkdir(parents=True)
    night.watch.end()
    night.arrive(*LATE)
    night.watch.whole_round()
    (line,) = [line for line in night.output.lines if line.startswith("failed: ")]
    assert "a file or folder is in the way: move it, and run again" in line


def test_the_live_page_shows_the_last_night_with_a_date():
    """The name of a folder of undated frames stands behind all dates in the alphabet."""
    this_round = watching.Round()
    this_round.add_nights({"2024-03-02", "undated", ""})
    this_round.add_nights({"2024-03-01", "old/tests"})
    assert this_round.nights == ["old/tests", "undated", "2024-03-01", "2024-03-02"]


def test_midnight_passes_between_two_frames_and_back(watched_night):
    # The profile has no longitude: nights change at noon UT, whatever the order of arrival.
    for name, date in (("a", "2024-03-02T11:00:00"), ("b", "2024-03-02T13:00:00"),
                       ("c", "2024-03-02T11:30:00")):  # fmt: skip
        done = watched_night.arrive(
            f"{name}.fits", of=LATE[0], **{"DATE-OBS": date, "OBJECT": name}
        )
        assert done.is_short
        assert done.nights == ["2024-03-02" if name == "b" else small_chain.NIGHT]
    assert kinds_of(watched_night.watch.whole_round()) == ARCHIVE
    assert watched_night.plan() == {}


def test_a_camera_that_is_new_in_mid_night_is_reduced_and_its_profile_taken_up(watched_night):
    watched_night.arrive(*LATE)
    done = watched_night.arrive("new.fits", of=LATE[0], INSTRUME="NEWCAM")
    assert not done.problem
    kept = watched_night.watch._warm_state.context.store.rows
    assert (kept["new.fits"].camera, kept[LATE[0]].camera) == ("newcam", "simcam")
    generic = kept["new.fits"].geometry
    watched_night.watch.whole_round()
    assert not watched_night.watch.needs_whole_round()
    text = watched_night.chain.profile.replace("simcam", "newcam").replace("SIMCAM", "NEWCAM")
    (Path(watched_night.values["cameras"]) / "newcam.yaml").write_text(text)
    assert watched_night.watch.needs_whole_round()
    done = watched_night.watch.whole_round()
    assert "reduced/new.fits" in {record.product for record in done.records}
    kept = watched_night.watch._warm_state.context.store.rows
    assert kept["new.fits"].geometry not in (generic, "")


def test_a_half_written_frame_waits_and_is_made_when_it_is_whole(watched_night):
    content = (watched_night.source / "all" / LATE[0]).read_bytes()
    for part in (0, 100, len(content) // 2):
        done = watched_night.arrive(LATE[0], content=content[:part])
        assert (done.is_short, done.records, done.n_arriving) == (True, [], 1)
    done = watched_night.arrive(*LATE)
    assert done.is_short
    assert kinds_of(done) == {*FRAME, "page"}
    assert watched_night.output.lines
    assert not any("set aside" in line for line in watched_night.output.lines)
    watched_night.watch.whole_round()
    assert watched_night.is_as_from_scratch()


def test_a_bias_that_is_written_anew_is_looked_at_until_it_is_whole_or_known_to_be_bad(
    watched_night,
):
    """No frame comes any more: nothing else would lead to a round."""
    before = products(watched_night.results)
    content = (watched_night.raw / "bias1.fits").read_bytes()
    done = watched_night.arrive("bias1.fits", content=content[:3000])
    assert (done.is_short, done.records, done.n_arriving) == (False, [], 1)
    assert products(watched_night.results) == before
    assert watched_night.watch.schedule.has_whole_round
    watched_night.watch.settings["limits"] = watched_night.values["limits"] | {"settle": 0}
    done = watched_night.watch.do_round({})
    assert {r.product for r in done.records if r.status == job_records.REFUSED} >= {
        name for name in before if name.startswith("combined/2024-03-01/bias")
    }
    assert done.n_arriving == 0
    assert not watched_night.watch.schedule.has_whole_round
    assert any(line.startswith("bias1.fits: set aside: ") for line in watched_night.output.lines)


def test_a_frame_that_is_written_anew_is_made_anew(watched_night):
    watched_night.arrive(*LATE)
    first = (watched_night.results / "calibrated" / LATE[0]).read_bytes()
    assert watched_night.output.lines[-1].startswith(f"{LATE[0]}  science  ")
    done = watched_night.arrive(LATE[0], of="science_g1.fits", OBJECT="another")
    assert any(
        line.startswith(f"{LATE[0]}  again  science  ") for line in watched_night.output.lines
    )
    assert not done.is_short
    assert kinds_of(done) >= FRAME
    assert (watched_night.results / "calibrated" / LATE[0]).read_bytes() != first
    assert watched_night.plan() == {}


def test_a_frame_that_is_read_once_more_and_is_the_same_leads_to_nothing(watched_night):
    watched_night.arrive(*LATE)
    done = watched_night.arrive(*LATE)
    assert (done.is_short, done.records) == (True, [])


def test_the_product_of_a_frame_that_is_deleted_is_kept(watched_night):
    watched_night.arrive(*LATE)
    watched_night.watch.looks.request_look()
    (watched_night.raw / LATE[0]).unlink()
    watched_night.watch.looks.look_through()
    assert watched_night.watch.needs_whole_round()
    watched_night.watch.do_round({})
    table = inventory_table.read_inventory(watched_night.results / paths.INVENTORY).set_index(
        "file"
    )
    assert table.loc[LATE[0], "status"] == rows.RAW_MISSING
    assert (watched_night.results / "calibrated" / LATE[0]).is_file()
    assert not watched_night.watch.needs_whole_round()


def test_two_files_of_one_product_are_left_to_a_whole_round(watched_night):
    watched_night.arrive(*LATE)
    packed = gzip.compress((watched_night.raw / LATE[0]).read_bytes())
    done = watched_night.arrive("science_g2.fits.gz", content=packed)
    assert not done.is_short
    assert sum("would become the same product" in line for line in watched_night.output.lines) == 2


def test_a_file_that_does_not_answer_is_named_and_holds_nobody(evening, tmp_path, monkeypatch):
    night = Night(evening, tmp_path, way="polling", limit=0.1)
    gate, read = threading.Event(), looks._read_through

    def hang(path):
        if path.name == "hangs.fits":
            gate.wait()
        read(path)

    monkeypatch.setattr(looks, "_read_through", hang)
    for name, of in (("hangs.fits", "science_g1.fits"), (LATE[0], LATE[0])):
        shutil.copyfile(night.source / "all" / of, night.raw / name)
    thread = threading.Thread(target=night.watch.run, daemon=True)
    thread.start()
    try:
        wait_until((night.results / "calibrated" / LATE[0]).is_file)
        wait_until(lambda: any("has not been read within 0.1 s" in t for t in night.output.lines))
        assert not (night.results / "calibrated" / "hangs.fits").exists()
        gate.set()
        wait_until((night.results / "calibrated" / "hangs.fits").is_file)
    finally:
        gate.set()
        night.watch.end()
        thread.join()
    assert sum("hangs.fits has not" in line for line in night.output.lines) == 1


def test_a_pipe_among_the_frames_holds_no_look(evening, tmp_path):
    """Where a folder is looked through, a pipe was read for ever, and named as the disk's fault."""
    night = Night(evening, tmp_path)
    os.mkfifo(night.raw / "pipe.fits")
    pipe = raw_folders.list_raw(night.raw)["pipe.fits"]
    assert night.watch.looks.readable_files({"pipe.fits": pipe}) == {"pipe.fits": pipe}
    assert night.watch._patience.hanging_calls == []
    night.watch.do_round({"pipe.fits": pipe})
    assert "pipe.fits: set aside: not a regular file; move it out of the raw folder" in (
        night.output.lines
    )


@pytest.mark.parametrize("is_there", [True, False])
def test_a_frame_without_an_event_of_its_own_does_not_wait_for_a_second_look(
    evening, tmp_path, monkeypatch, is_there
):
    """Frames at the start of a watch, and the first ones of a new folder, were ten seconds late."""
    monkeypatch.setattr(looks, "_LOOK_SECONDS", 1e9)
    night = Night(evening, tmp_path)
    folder, name = night.top / "new", LATE[0]
    folder.mkdir()
    shutil.copyfile(night.source / "all" / name, folder / name)
    if is_there:
        folder.rename(night.raw / "new")
    thread = threading.Thread(target=night.watch.run, daemon=True)
    thread.start()
    if not is_there:
        wait_until(lambda: night.watch.looks.unseen_files is not None)
        folder.rename(night.raw / "new")
    wait_until(lambda: (night.results / "calibrated" / "new" / name).is_file(), seconds=60)
    night.watch.end()
    thread.join()
    assert night.watch.n_waiting == 0


def test_a_folder_that_does_not_answer_does_not_hold_the_end(evening, tmp_path, monkeypatch):
    night, gate = Night(evening, tmp_path, limit=0.1), threading.Event()

    def hang(*_):
        gate.wait()
        return {}

    monkeypatch.setattr(raw_folders, "list_raw", hang)
    thread = threading.Thread(target=night.watch.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: any("has not answered for 0.1 s" in t for t in night.output.lines))
        night.watch.end()
        thread.join()
        assert not gate.is_set()
    finally:
        gate.set()


def test_a_round_that_waits_for_an_earlier_job_blames_no_folder(evening, tmp_path, monkeypatch):
    """A killed run has left the job on a cluster; the system here counts no turns of threads."""
    night = Night(evening, tmp_path, limit=0.2)
    batch = night.results / paths.BATCHES / "2024-03-01.0123456789abcdef.json"
    batch.parent.mkdir(parents=True, exist_ok=True)
    batch.write_text("{}")
    claim = claims.claim(batch)
    clock = SimpleNamespace(
        time=time.time, monotonic=time.monotonic, sleep=lambda seconds: time.sleep(0.02)
    )
    monkeypatch.setattr(claims, "time", clock)
    monkeypatch.setattr(timed_calls, "_turns_of", lambda thread: None)
    line = claims.waiting_line(batch)
    with watch_at_work(night):
        shutil.copyfile(night.source / "all" / LATE[0], night.raw / LATE[0])
        # The next round is a whole one.
        night.watch.schedule.note_short(has_failure=True)
        wait_until(lambda: line in night.output.lines)
        time.sleep(1)
        claim.close()
        wait_until((night.results / "calibrated" / LATE[0]).is_file)
        lines = list(night.output.lines)
    assert line in lines
    assert not any("has not answered" in text and "frame at work waits" in text for text in lines)


def test_a_look_that_takes_long_because_it_works_blames_no_folder(evening, tmp_path, monkeypatch):
    night, ended = Night(evening, tmp_path, way="polling", limit=0.05), []
    # A disk that is busy with other tests may let a look wait as well.
    listed = raw_folders.list_raw(night.raw, night.results)

    def work(raw, results=None):
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            sum(range(100))
        ended.append(end)
        return listed

    monkeypatch.setattr(raw_folders, "list_raw", work)
    with watch_at_work(night):
        wait_until(lambda: len(ended) > 1)
    assert night.output.lines == []


@contextmanager
def watch_at_work(night):
    """Run a watch in a thread, and end it."""
    thread = threading.Thread(target=night.watch.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        night.watch.end()
        thread.join()


def test_a_frame_that_is_removed_before_it_is_read_leads_to_nothing(watched_night):
    """A telescope's program may give a file its last name after it was noticed."""
    path = watched_night.raw / "taken_back.fits"
    shutil.copyfile(watched_night.source / "all" / LATE[0], path)
    before = products(watched_night.results)
    gone = {path.name: file_access.stamp_of(path)}
    path.unlink()
    done = watched_night.watch.do_round(gone)
    assert (done.problem, done.records) == ("", [])
    assert products(watched_night.results) == before
    # The whole round that follows at once forgets it.
    assert watched_night.watch.whole_round().n_arriving == 0
    assert not watched_night.watch.needs_whole_round()
    # Beside a frame that stays.
    shutil.copyfile(watched_night.source / "all" / LATE[0], path)
    shutil.copyfile(watched_night.source / "all" / LATE[0], watched_night.raw / LATE[0])
    both = {name: file_access.stamp_of(watched_night.raw / name) for name in (path.name, *LATE)}
    path.unlink()
    done = watched_night.watch.do_round(both)
    assert {r.product for r in done.records} >= {f"calibrated/{LATE[0]}"}
    watched_night.watch.whole_round()
    assert watched_night.is_as_from_scratch()
    assert watched_night.output.lines
    assert not any(path.name in line for line in watched_night.output.lines)


def test_a_frame_that_is_removed_between_its_plan_and_its_reduction_costs_no_other(
    watched_night, monkeypatch
):
    names = ("taken_back.fits", *LATE)
    for name in names:
        shutil.copyfile(watched_night.source / "all" / LATE[0], watched_night.raw / name)
    stamps = {name: file_access.stamp_of(watched_night.raw / name) for name in names}
    work = worker.work

    def remove(*arguments, **options):
        (watched_night.raw / names[0]).unlink(missing_ok=True)
        return work(*arguments, **options)

    monkeypatch.setattr(worker, "work", remove)
    watched_night.watch.do_round(stamps)
    assert (watched_night.results / "calibrated" / LATE[0]).is_file()
    assert not (watched_night.results / "calibrated" / names[0]).exists()
    watched_night.watch.whole_round()
    assert watched_night.is_as_from_scratch()
    assert watched_night.output.lines
    assert not any("Traceback" in line for line in watched_night.output.lines)


@pytest.mark.parametrize("way", arrivals.WATCH_WAYS[1:])
@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_raw_folder_that_vanishes_in_mid_watch_and_comes_back(
    evening, tmp_path, way, is_emptied, monkeypatch
):
    """A disk is unmounted, with or without its mount point: no product is lost, no line says so."""
    monkeypatch.setattr(looks, "_LOOK_SECONDS", 0.1)
    night = Night(evening, tmp_path, way=way)
    before, away = products(night.results), tmp_path / "away"
    with watch_at_work(night):
        wait_until(lambda: night.watch.looks.unseen_files is not None)
        if is_emptied:
            away.mkdir()
            for path in night.raw.iterdir():
                path.rename(away / path.name)
        else:
            night.raw.rename(away)
        wait_until(lambda: any("waiting: " in line for line in night.output.lines))
        time.sleep(0.3)
        assert products(night.results) == before
        if is_emptied:
            for path in away.iterdir():
                path.rename(night.raw / path.name)
        else:
            away.rename(night.raw)
        wait_until(lambda: "goes on" in night.output.lines)
        shutil.copyfile(night.source / "all" / LATE[0], night.raw / LATE[0])
        wait_until((night.results / "calibrated" / LATE[0]).is_file)
    words = "no frame has arrived in" if is_emptied else "there is no folder"
    problems = [line for line in night.output.lines if line.startswith("waiting: ")]
    assert [line.startswith(f"waiting: {words} {night.raw} yet") for line in problems] == [True]
    assert night.output.lines.count("goes on") == 1
    assert night.is_as_from_scratch()
    table = inventory_table.read_inventory(night.results / paths.INVENTORY)
    assert set(table["status"]) == {"ok"}, "no frame counts as lost"


@pytest.mark.parametrize("is_emptied", [False, True])
@pytest.mark.parametrize("is_short", [False, True])
def test_a_raw_folder_that_goes_away_in_a_round_has_one_line_until_it_is_back(
    evening, tmp_path, monkeypatch, is_emptied, is_short
):
    """Neither its frames nor their masters have lines; the watch goes on by itself."""
    night = Night(evening, tmp_path)
    names = [LATE[0], *(f"late_{number}.fits" for number in range(3))]
    for number, name in enumerate(names):
        shutil.copyfile(night.source / "all" / LATE[0], night.raw / name)
        with fits.open(night.raw / name, mode="update") as hdus:
            hdus[0].header["OBJECT"] = f"field {number}"
    stamps = {name: file_access.stamp_of(night.raw / name) for name in names}
    before, away, work = products(night.results), tmp_path / "away", worker.work

    def go_and_work(*arguments, **options):
        if not away.exists():
            night.raw.rename(away)
            if is_emptied:
                night.raw.mkdir()
        return work(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "work", go_and_work)
        do_round = night.watch.do_round if is_short else night.watch.whole_round
        do_round(stamps)
    for _ in range(2):
        night.watch.whole_round()
        night.watch.looks.look_through()
    lines = [line for line in night.output.lines if line != "goes on"]
    assert [line for line in lines if any(name in line for name in names)] == []
    (problem,) = [line for line in lines if line.startswith("waiting: ")]
    if is_short:
        words = "no frame has arrived in" if is_emptied else "there is no folder"
        assert problem == f"waiting: {words} {night.raw} yet"
    else:
        assert f"{night.raw}: the raw folder went away while the run went on (" in problem
        assert f": {len(names)} frames could not be read; earlier products are kept; " in problem
        assert problem.endswith("or move it back; the watch goes on by itself")
    now = products(night.results)
    pixels = ("reduced/", "combined/", "calibrated/")
    pixels_before = {name: each for name, each in before.items() if name.startswith(pixels)}
    assert pixels_before
    assert {name: now.get(name) for name in pixels_before} == pixels_before
    assert "goes on" not in night.output.lines
    if is_emptied:
        night.raw.rmdir()
    away.rename(night.raw)
    night.watch.looks.look_through()
    night.watch.whole_round()
    assert night.output.lines.count("goes on") == 1
    assert night.is_as_from_scratch()


def test_a_killed_watch_leaves_to_the_next_run_only_its_unfinished_jobs(evening, tmp_path):
    night = Night(evening, tmp_path)
    shutil.copyfile(night.source / "all" / LATE[0], night.raw / LATE[0])
    begin_watch = "watching.Watch(json.loads(sys.argv[1]), chain=CHAIN, cores=1).run()"
    imports = "import json, sys; from ccdflow.kinds import CHAIN"
    code = f"{imports}; from ccdflow.run.watch import watching; {begin_watch}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(night.values)],
        env={**os.environ, "PYTHONPATH": str(Path(watching.__file__).parents[3])},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until((night.results / "calibrated" / LATE[0]).is_file)
    finally:
        process.kill()
        process.wait()
    left = {job.kind for job in night.plan().values()}
    assert "frame" not in left
    running = begin(night.raw, night.results, {"simcam": night.chain.profile}, **SETTINGS)
    worker.work(running.context, running.plan.jobs.values(), threads=2, make=kinds.make)
    session_end.finish(running)
    running.lock.close()
    assert not list(night.results.rglob("*.part"))
    assert night.is_as_from_scratch()


@dataclass
class Clock:
    """A time that stands still until it is set."""

    now: float = 1e9

    def monotonic(self):
        return self.now


@dataclass
class Source:
    """Reports one frame once, then nothing."""

    names: set
    way: str = arrivals.EVENTS_WAY
    is_lost: bool = False

    def wait_for_news(self, seconds):
        names, self.names = self.names, set()
        return arrivals.FolderEvents(complete_files=names)


@pytest.mark.parametrize(("problem", "tries"), [("full", 2), ("busy", 4)])
def test_a_frame_is_tried_again_until_the_problem_has_passed(
    evening, tmp_path, monkeypatch, problem, tries
):
    clock, asked = Clock(), []
    watched_night = Night(evening, tmp_path, clock=clock.monotonic)
    watched_night.watch.claim.take_within_limit()
    shutil.copyfile(watched_night.source / "all" / LATE[0], watched_night.raw / LATE[0])

    def fails(results):
        asked.append(clock.now)
        if problem == "busy":
            raise lock.Busy("another run is at work here", file="x", remedy="wait")
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(lock, "take_lock", fails)
    source = Source(set(LATE))
    for clock.now in (1e9, 1e9 + 1, 1e9 + 2, 1e9 + 11):
        watched_night.watch.step(source)
    assert len(asked) == tries
    monkeypatch.undo()
    clock.now += 10
    watched_night.watch.step(source)
    assert (watched_night.results / "calibrated" / LATE[0]).is_file()
    watched_night.watch.claim.give_up()


def test_looks_through_a_large_folder_leave_time_for_frames(evening, tmp_path, monkeypatch):
    clock, begun, listed = Clock(), [], raw_folders.list_raw
    watched_night = Night(evening, tmp_path, clock=clock.monotonic)

    def slow(raw, results):
        begun.append(clock.now)
        clock.now += 2.0
        return listed(raw, results)

    monkeypatch.setattr(raw_folders, "list_raw", slow)
    source = Source(set())
    for _ in range(100):
        watched_night.watch.step(source)
        clock.now += 1.0
    # Two seconds of a look, forty until the next one.
    assert [at - begun[0] for at in begun] == [0.0, 42.0, 84.0]


def test_names_that_differ_in_capitals_are_one_product_where_the_disk_says_so(
    evening, tmp_path, monkeypatch
):
    monkeypatch.setattr(raw_names, "is_case_insensitive", lambda results: True)
    watched_night = Night(evening, tmp_path)
    assert not watched_night.arrive("SCIENCE_G1.fits", of=LATE[0]).is_short
    assert watched_night.arrive(*LATE).is_short
