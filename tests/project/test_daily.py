"""The daily run: silence, one line, or an exit status to alarm on."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import held_batches
import pytest
import ready_python
from watched_folders import wait_until

import daily
from ccdflow import paths, simulate

ROOT = Path(__file__).parents[2]
COUNT = {"frames": 0, "set_aside": 0, "other_products": 0, "left": 0}


def test_nothing_new_is_silence():
    troubles = {"a.fits": ("set aside", "empty"), "b.fits": ("arriving", "truncated")}
    assert daily.news(COUNT, {"a.fits": "set aside"}, troubles, 3.0) == ""
    # A frame that has begun to arrive is no news either.
    assert daily.news(COUNT, {}, {"b.fits": ("arriving", "truncated")}, 3.0) == ""


def test_one_line_names_the_products_made_and_the_frames_not_reduced():
    after = {f"n/{name}.fits": ("set aside", "no image") for name in "abcde"}
    after |= {"n/x.fits": ("arriving", "truncated"), "n/y.fits": ("raw file missing", "gone")}
    before = {"n/e.fits": "set aside"}
    count = {"frames": 13, "set_aside": 2, "other_products": 4, "left": 1}
    count["what"] = "combined darks and pages"
    assert daily.news(count, before, after, 75.0) == (
        "ccdflow: 10 frames reduced, 4 combined darks and pages made, "
        "4 set aside (n/a.fits: no image; n/b.fits: no image; n/c.fits: no image; and 1 more), "
        "1 raw file missing, 1 left for the next run, in 1 min 15 s"
    )


@pytest.fixture
def run_daily(tmp_path):
    # However the settings are given.
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"raw: {tmp_path / 'raw'}\nresults: {tmp_path / 'results'}\n")

    def run():
        done = subprocess.run(
            [
                ready_python.interpreter(), str(ROOT / "scripts" / "daily.py"), "--cores", "2",
                "--directory", str(tmp_path), "--configfile", str(settings),
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        return done.returncode, (done.stdout + done.stderr).splitlines()

    return run


def test_a_morning_after_the_other(tmp_path, run_daily):
    source, raw, results = tmp_path / "source", tmp_path / "raw", tmp_path / "results"
    simulate.simulate_archive(source, nights=1, frames_per_night=5)
    night = source / "2016-01-15"

    status, (line,) = run_daily()
    assert status == 1
    assert line.startswith("ccdflow: config/config.yaml: raw: there is no such folder")

    shutil.copytree(night, raw / night.name)
    arriving = raw / night.name / "ccd.099.0.fits.gz"
    arriving.write_bytes((night / "ccd.001.0.fits.gz").read_bytes()[:1500])
    status, (line,) = run_daily()
    assert status == 0
    assert line.startswith("ccdflow: 5 frames reduced, ")
    assert "1 left for the next run" in line

    assert run_daily() == (0, [])

    # An hour later it is still not whole.
    hour_ago = time.time() - 3600
    os.utime(arriving, (hour_ago, hour_ago))
    status, (line,) = run_daily()
    assert status == 3
    assert f"1 set aside ({night.name}/{arriving.name}: " in line

    with (results / paths.LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, (line,) = run_daily()
    assert status == 0
    assert line.startswith("ccdflow: nothing done: ")
    assert "another run is at work here" in line


@pytest.mark.torture
def test_a_bad_frame_that_another_run_has_found_is_reported(tmp_path, run_daily):
    """Once: by the first daily run after it, even if another run brought the inventory to date."""
    simulate.simulate_archive(tmp_path / "raw", nights=1, frames_per_night=4)
    bad = tmp_path / "raw/2016-01-15/bad.fits"
    bad.write_bytes(b"no")
    os.utime(bad, (1e9, 1e9))
    by_hand = [*daily.COMMAND, "--cores", "2", "--directory", str(tmp_path), "--configfile"]
    subprocess.run([*by_hand, str(tmp_path / "settings.yaml")], check=True, capture_output=True)
    status, (line,) = run_daily()
    assert status == 3
    assert "1 set aside (2016-01-15/bad.fits: " in line


def morning(results, frames):
    """Return the frames newly set aside, as a daily run finds and remembers it."""
    before, after = (
        daily.reported_frames(results),
        {file: (status, "") for file, status in frames.items()},
    )
    daily.remember_reported(results, after)
    return daily.new_troubles("set aside", before, after)


def test_a_frame_set_aside_is_reported_once_and_again_after_it_was_mended(tmp_path):
    (tmp_path / paths.STATE).mkdir()
    bad = {"n/a.fits": "set aside", "n/b.fits": "arriving"}
    assert morning(tmp_path, bad) == ["n/a.fits"]
    assert morning(tmp_path, bad) == []
    # The inventory is lost: what was reported is not.
    assert morning(tmp_path, bad | {"n/b.fits": "set aside"}) == ["n/b.fits"]
    # Mended, and bad once more: news.
    assert morning(tmp_path, {"n/b.fits": "set aside"}) == []
    assert morning(tmp_path, bad) == ["n/a.fits"]


def test_lines_that_an_earlier_version_reported_are_not_reported_again(tmp_path):
    path = tmp_path / daily.REPORTED_FILE
    path.parent.mkdir(parents=True)
    path.write_text('{"n/a.fits": "orphan", "n/b.fits": "set aside"}', encoding="utf-8")
    before = daily.reported_frames(tmp_path)
    after = {"n/a.fits": ("raw file missing", ""), "n/b.fits": ("set aside", "no image")}
    assert daily.news(COUNT, before, after, 3.0) == ""


def is_signal_pending(process):
    """Return whether a process that is stopped has been sent SIGTERM."""
    status = Path(f"/proc/{process}/status").read_text()
    (pending,) = (line for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending.split()[1], 16) >> signal.SIGTERM - 1 & 1)


def test_a_signal_to_the_daily_run_ends_the_workflow(tmp_path):
    """SIGTERM, as from `timeout`: no run is left behind, and one line says what happened."""
    simulate.simulate_archive(tmp_path / "raw", nights=1, frames_per_night=100, workers=1)
    held, night = tmp_path / "held", "2016-01-15"
    process = subprocess.Popen(
        [
            ready_python.interpreter(), str(ROOT / "scripts" / "daily.py"), "--cores", "1",
            "--directory", str(tmp_path), "--config", f"raw={tmp_path / 'raw'}",
            f"results={tmp_path / 'results'}",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **held_batches.environment(held, night)},
    )  # fmt: skip
    # The workflow stops itself after its first frame, and goes on once it has the signal.
    wait_until(lambda: held_batches.held_process(held, night))
    process.terminate()
    wait_until(lambda: is_signal_pending(held_batches.held_process(held, night)))
    held_batches.release(held, night)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in output
    with (tmp_path / "results" / paths.LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    frames = list((tmp_path / "results").rglob("reduced/*/*.fits"))
    assert 0 < len(frames) < 100
