"""What a watch prints: names with control characters, a terminal that goes away, its last line."""

import importlib
import json
import os
import signal
import sys
import threading

import pytest
from watched_folders import Told, wait_until, watch_of

from ccdflow.pages import live_page
from ccdflow.run import lock, read_only_plan

watch = importlib.import_module("watch")


def read_live(results):
    """Return what an open page reads."""
    text = (results / live_page.SCRIPT).read_text("utf-8")
    return json.loads(text.removeprefix("live(").removesuffix(");\n"))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty raw folder and the arguments that watch it; signals are as before at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Whoever starts the tests may ignore signals, as `nohup` does.
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
        wait_until(lambda: (top / "results" / live_page.SCRIPT).is_file())
        wait_until(lambda: any("waiting" in line for line in read_live(top / "results")["lines"]))
        os.kill(os.getpid(), end)

    monkeypatch.setattr(sys, "stdout", stream)
    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    watch.main(arguments)
    thread.join()
    assert read_live(top / "results")["state"] == live_page.ENDED
    stream.close()


def test_control_characters_of_names_are_written_as_escapes(tmp_path, capsys):
    observer = watch.Observer(tmp_path)
    observer.say("\x1b[31mred\r\n\udcff.fits  dark")
    assert capsys.readouterr().out.partition("  ")[2] == "\\x1b[31mred\\r\\n\\udcff.fits  dark\n"


def test_the_last_line_gives_the_number_of_frames_that_wait(folders):
    top, _ = folders
    watched = watch_of(read_only_plan.settings_of({"raw": "raw", "results": "results"}), Told())
    assert "was not looked through; start again" in watch._left(watched)
    for name in ("a.fits", "b.fits"):
        (top / "raw" / name).write_bytes(b"a frame")
    watched._look()
    assert watch._left(watched).endswith("2 frames wait: start again, or run snakemake")
    watched._seen.add(watched._found)
    assert watch._left(watched) == "nothing is half made"


def test_who_meets_the_lock_reads_that_a_watch_may_hold_it(tmp_path):
    with lock.take_lock(tmp_path), pytest.raises(lock.Busy) as caught:
        lock.take_lock(tmp_path)
    assert "if it is a watch, which goes on by itself, try again in a moment or end it" in str(
        caught.value
    )
