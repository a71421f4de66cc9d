"""Lines of a watch: names with control characters, a terminal that goes away, the last line."""

import importlib
import json
import os
import re
import signal
import sys
import threading

import pytest
from watched_folders import WatchOutput, wait_until, watch_of

from ccdflow import paths
from ccdflow.pages import live_page
from ccdflow.run import job_records, lock, read_only_plan
from ccdflow.run.watch import arrivals, watching

watch = importlib.import_module("watch")


def read_live(results):
    """Return the values that an open page reads."""
    text = (results / live_page.LIVE_SCRIPT).read_text("utf-8")
    return json.loads(text.removeprefix("live(").removesuffix(");\n"))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty raw folder and the arguments that watch it; signals are as before at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # The program that starts the tests may ignore signals, as `nohup` does.
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield tmp_path, ["raw=raw", "results=results", "--pause", "0.02"]
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("terminal", ["full", "closed"])
def test_a_terminal_that_is_gone_ends_nothing_and_the_page_tells_the_end(
    folders, monkeypatch, end, terminal
):
    top, arguments = folders
    if terminal == "full":
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    stream = os.fdopen(writer, "w")

    def tell():
        wait_until(lambda: (top / "results" / live_page.LIVE_SCRIPT).is_file())
        wait_until(lambda: any("waiting" in line for line in read_live(top / "results")["lines"]))
        os.kill(os.getpid(), end)

    monkeypatch.setattr(sys, "stdout", stream)
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    watch.main(arguments)
    thread.join()
    assert read_live(top / "results")["state"] == live_page.ENDED_STATE
    stream.close()


def test_a_second_watch_on_a_results_folder_ends_with_one_line(folders, capsys):
    top, arguments = folders
    results = top / "results"
    output = WatchOutput()
    first = watch_of(read_only_plan.settings_of({"raw": "raw", "results": "results"}), output)
    thread = threading.Thread(target=first.run, daemon=True)
    thread.start()
    wait_until(lambda: any("no frame has arrived" in line for line in output.lines))
    assert watch.main(arguments) == 1
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert f"another watch is at work here (process {os.getpid()} on " in error
    # The page is that of the first watch.
    assert not (results / live_page.LIVE_SCRIPT).exists()
    # Between rounds a run by hand gets its lock.
    lock.take_lock(results).close()
    first.end()
    thread.join()
    lock.take_lock(results, paths.WATCH_LOCK).close()


def test_a_watch_whose_folder_was_replaced_waits_for_the_watch_that_took_it(folders):
    top, _ = folders
    output, results = WatchOutput(), top / "results"
    first = watch_of(read_only_plan.settings_of({"raw": "raw", "results": "results"}), output)
    first.claim.take_within_limit()
    results.rename(top / "moved")
    with lock.take_lock(results, paths.WATCH_LOCK):
        first.claim_and_do_round({})
        assert "waiting: another watch is at work here" in output.lines[-1]
        with pytest.raises(lock.Busy, match="another watch is at work here"):
            first.claim.take_within_limit()
    first.claim.take_within_limit()
    assert first.claim.is_held
    first.claim.give_up()
    assert not first.claim.is_held


def test_control_characters_of_names_are_written_as_escapes(tmp_path, capsys):
    observer = watch.Observer(tmp_path)
    observer.say("\x1b[31mred\r\n\udcff.fits  dark")
    assert capsys.readouterr().out.partition("  ")[2] == "\\x1b[31mred\\r\\n\\udcff.fits  dark\n"


def test_the_last_line_gives_the_number_of_frames_that_wait(folders):
    top, _ = folders
    watched = watch_of(
        read_only_plan.settings_of({"raw": "raw", "results": "results"}), WatchOutput()
    )
    assert "was not looked through; start again" in watch.words_on_work_left(watched)
    for name in ("a.fits", "b.fits"):
        (top / "raw" / name).write_bytes(b"a frame")
    source = arrivals.Polling(lambda _: None)
    watched.step(source)
    assert watch.words_on_work_left(watched).endswith(
        "2 frames wait: start again, or run snakemake"
    )
    # The last round, which no new frame leads to, does them.
    watched.whole_round()
    assert watch.words_on_work_left(watched) == "nothing is half made"
    watched.n_failed = 2
    assert watch.words_on_work_left(watched).endswith(
        "2 products failed: start again, or run snakemake"
    )


def test_the_error_on_a_lock_names_the_watch_that_may_hold_it(tmp_path):
    with lock.take_lock(tmp_path), pytest.raises(lock.Busy) as caught:
        lock.take_lock(tmp_path)
    assert "if it is a watch, which goes on by itself, try again in a moment or end it" in str(
        caught.value
    )


@pytest.mark.parametrize(("failed", "status"), [(0, 0), (2, 1)])
def test_one_round_ends_with_status_1_where_jobs_failed(
    folders, monkeypatch, capsys, failed, status
):
    """`--once` is a run like any other."""
    record = job_records.Record("combined/flat.fits", "flat", "", job_records.FAILED)
    last_round = watching.Round(records=[record] * failed)
    ended = []

    def do_last_round(self):
        ended.append(self.is_ended.is_set())
        return last_round

    monkeypatch.setattr(watching.Watch, "whole_round", do_last_round)
    assert watch.main([*folders[1], "--once"]) == status
    output = "".join(capsys.readouterr())
    assert ("2 jobs failed, see the lines above" in output) == bool(failed)
    assert ("nothing more to do" in output) != bool(failed)
    assert ended == [True], "its remedies are those of a watch that goes on"


def test_a_watch_takes_the_settings_that_a_run_is_given(folders, capsys):
    """Without them it would make all products again, otherwise than cron's run."""
    _, arguments = folders
    options = watch.parse(["--config", *arguments, "bias={method: median}"])
    assert read_only_plan.settings_of(options.settings_given)["bias"]["method"] == "median"
    assert watch.main([*arguments, "bias={method: mode}"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(r"bias\.method: .*found 'mode'.*median", error)
