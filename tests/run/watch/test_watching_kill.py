"""A watch that is killed at any moment, beside runs of `daily.py`: nothing is lost or half made."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_chain
from workflow.sandbox import products

ROOT = Path(__file__).parents[3]
SHOWN_BY_THE_WATCH = {"live.html", "live.js"}

pytestmark = pytest.mark.torture


def command(script, raw, results, cameras, *options):
    """Return the command line of a script."""
    places = (f"raw={raw}", f"results={results}", f"cameras={cameras}")
    return [sys.executable, str(ROOT / "scripts" / script), *places, *options]


def start(raw, results, cameras):
    places = command("watch.py", raw, results, cameras, "--pause", "0.05", "--cores", "2")
    return subprocess.Popen(places, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def make_folders(folder):
    """Take a night into the folder ``all``; return the empty folders of a run of its camera."""
    chain = small_chain.make(folder / "all", biases=3, darks=((60.0, 3),), flats=(("g", 3),),
                             science=(("g", 60.0, 8),))  # fmt: skip
    raw, results, cameras = (folder / name for name in ("raw", "results", "cameras"))
    raw.mkdir()
    cameras.mkdir()
    (cameras / "simcam.yaml").write_text(chain.profile)
    return raw, results, cameras


@pytest.mark.parametrize("seed", range(4))
def test_a_watch_that_is_killed_again_and_again(seed, tmp_path):
    random_ = random.Random(seed)
    raw, results, cameras = make_folders(tmp_path)
    frames = sorted((tmp_path / "all").glob("*.fits"))
    watch, lines = start(raw, results, cameras), []
    for number, path in enumerate(frames):
        shutil.copyfile(path, raw / path.name)
        time.sleep(random_.uniform(0, 1.5))
        if number % 4 == 3:
            watch.kill()
            lines.append(watch.communicate()[0])
            if random_.random() < 0.5:
                daily = command("daily.py", raw, results, cameras, "--cores", "2")
                assert subprocess.run(daily, check=False).returncode == 0
            watch = start(raw, results, cameras)
    # A run of cron beside the watch: one of the two waits, or does the other's work.
    daily = command("daily.py", raw, results, cameras, "--cores", "2")
    assert subprocess.run(daily, check=False).returncode == 0
    wait_for_rest(results, watch)
    watch.terminate()
    lines.append(watch.communicate(timeout=120)[0])
    assert "nothing is half made" in lines[-1]
    assert not any("Traceback" in text for text in lines)
    after = subprocess.run(daily, capture_output=True, text=True, check=False)
    assert (after.returncode, after.stdout) == (0, "")
    scratch = tmp_path / "scratch"
    run = command("watch.py", raw, scratch, cameras, "--once")
    assert subprocess.run(run, stdout=subprocess.DEVNULL, check=False).returncode == 0
    contents = products(results)
    assert {n: v for n, v in contents.items() if n not in SHOWN_BY_THE_WATCH} == products(scratch)
    assert not list(results.rglob(".*.part"))


def test_a_watch_killed_at_ten_random_moments_and_then_snakemake(tmp_path):
    """One run of snakemake completes the products of a watch killed at any moment alone."""
    random_ = random.Random(9)
    raw, results, cameras = make_folders(tmp_path)
    frames, lines, lost = sorted((tmp_path / "all").glob("*.fits")), [], []
    for kill in range(10):
        watch = start(raw, results, cameras)
        for path in frames[kill * len(frames) // 10 : (kill + 1) * len(frames) // 10]:
            shutil.copyfile(path, raw / path.name)
        time.sleep(random_.uniform(1, 6))
        before = products(results) if results.is_dir() else {}
        watch.kill()
        lines.append(watch.communicate()[0])
        # Frames are never half made under their names, and none is taken away.
        after = products(results) if results.is_dir() else {}
        lost += [name for name in before.keys() - after.keys() if not name.endswith(".part")]
    assert not lost
    assert lines
    assert not any("Traceback" in text for text in lines)
    run = snakemake(raw, results, cameras)
    assert run.returncode == 0, run.stderr
    again = snakemake(raw, results, cameras)
    assert "Nothing to be done" in again.stdout + again.stderr
    scratch = tmp_path / "scratch"
    assert snakemake(raw, scratch, cameras).returncode == 0
    contents = products(results)
    assert {n: v for n, v in contents.items() if n not in SHOWN_BY_THE_WATCH} == products(scratch)
    assert not list(results.rglob(".*.part"))


def snakemake(raw, results, cameras):
    """Run snakemake on the folders to its end."""
    words = [str(Path(sys.executable).with_name("snakemake")), "--cores", "2", "--config"]
    places = (f"raw={raw}", f"results={results}", f"cameras={cameras}")
    return subprocess.run([*words, *places], cwd=ROOT, capture_output=True, text=True, check=False)


def wait_for_rest(results, watch):
    """Wait until all science frames are calibrated and nothing has been made for a while."""
    end, table = time.monotonic() + 120, results / "report.html"
    while time.monotonic() < end:
        assert watch.poll() is None
        made = list((results / "calibrated").glob("science*.fits"))
        if len(made) == 8 and table.is_file() and time.time() - table.stat().st_mtime > 5:
            return
        time.sleep(0.2)
    raise AssertionError("the watch did not come to rest")
