"""Watching a raw folder: products are those of a run, problems are one line, nothing is lost."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
import small_chain
from browser import act, needs_chromium
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

from ccdflow import kinds
from ccdflow.pages import live_page
from ccdflow.simulate.frame_arrivals import observe


@pytest.fixture(scope="module")
def raw_night(tmp_path_factory):
    """A night of raw frames, and the settings that reduce it."""
    top = tmp_path_factory.mktemp("night")
    chain = small_chain.make(top / "raw", biases=3, darks=((60.0, 3),), flats=(("g", 3),),
                             science=(("g", 60.0, 2),))  # fmt: skip
    return top, chain


def test_frames_that_arrive_half_first_end_as_in_a_run_from_scratch(raw_night, tmp_path):
    top, chain = raw_night
    raw, results, output, rounds = tmp_path / "raw", tmp_path / "results", WatchOutput(), []
    values = settings_of(raw, results, chain)
    watched = watch_of(values, output, show_round=rounds.append)
    thread = threading.Thread(target=watched.run, daemon=True)
    thread.start()
    count = 0
    for _ in observe(top / "raw", raw, every=0.1):
        count += 1
        # A slow machine sees several of the others at once.
        wait_until(lambda: rounds)
    calibrated = [f"calibrated/science_g{number}.fits" for number in (1, 2)]
    wait_until(lambda: all((results / name).is_file() for name in calibrated) and is_idle(watched))
    watched.end()
    thread.join()
    assert count == 11
    assert len(rounds) > 1
    after = begin(raw, results, {"simcam": chain.profile}, **SETTINGS)
    after.lock.close()
    assert after.plan.jobs == {}
    assert products(results) == run_from_scratch(raw, tmp_path / "other" / "results", chain)
    lines = [line for line in output.lines if "grade" in line]
    assert all("level" in line and "sky" in line for line in lines)
    assert sorted(line.partition("  ")[0] for line in lines) == [
        "science_g1.fits",
        "science_g2.fits",
    ]
    assert output.lines
    assert not any("traceback" in line.lower() for line in output.lines)


def is_idle(watched):
    """Return whether no round comes any more: nothing is new for a while."""
    seen_before = watched.looks.seen.missing_files({})
    time.sleep(0.5)
    is_same = watched.looks.seen.missing_files({}) == seen_before
    return is_same and not watched.n_waiting and not watched.schedule.has_whole_round


def test_a_raw_folder_that_is_away_is_reported_once_and_costs_nothing(raw_night, tmp_path):
    top, chain = raw_night
    raw, output = tmp_path / "raw", WatchOutput()
    values = settings_of(raw, tmp_path / "results", chain)
    raw.rmdir()
    watched = watch_of(values, output)
    thread = threading.Thread(target=watched.run, daemon=True)
    thread.start()
    wait_until(lambda: output.lines)
    time.sleep(0.2)
    assert len(output.lines) == 1
    assert output.lines[0] == f"waiting: there is no folder {raw} yet"
    raw.mkdir()
    wait_until(lambda: len(output.lines) == 2)
    assert output.lines[1] == f"waiting: no frame has arrived in {raw} yet"
    shutil.copytree(top / "raw", raw, dirs_exist_ok=True)
    wait_until(lambda: any("grade" in line for line in output.lines))
    watched.end()
    thread.join()
    assert output.lines.count("goes on") == 1


def test_the_live_page_leads_to_the_night_and_is_no_product():
    script = live_page.live_script("nights/a/report.html", 7, lines=["</script>é"], beat=9)
    state = json.loads(script.removeprefix("live(").removesuffix(");\n"))
    assert state == {"page": "nights/a/report.html", "time": 7, "lines": ["</script>é"],
                    "state": "watching", "beat": 9}  # fmt: skip
    assert script.isascii()
    assert "</" not in script
    assert f'script.src = "{live_page.LIVE_SCRIPT}?"' in live_page.live_page()
    assert (
        kinds.CHAIN.kind_of(live_page.LIVE_PAGE)
        is kinds.CHAIN.kind_of(live_page.LIVE_SCRIPT)
        is None
    )


@pytest.mark.torture
@needs_chromium
def test_the_open_page_shows_whether_the_watch_lives(tmp_path):
    page = tmp_path / live_page.LIVE_PAGE
    page.write_text(live_page.live_page(), "utf-8")
    (tmp_path / "night.html").write_text("<p>a night</p>")
    states = [("watching", 0), ("a full disk", 0), ("watching", -60), ("ended", 0)]
    texts, lines, shown = act(
        page,
        f"""
        const said = [];
        for (const [state, ago] of {json.dumps(states)}) {{
          live({{page: "night.html", time: 7, lines: ["first", "<b>last; warning"], state,
                beat: Math.floor(Date.now() / 1000) + ago}});
          said.push(document.getElementById("state").textContent);
        }}
        const lines = [...document.querySelectorAll("#lines li")];
        return [said, lines.map(each => [each.textContent, each.className]),
                document.querySelector("iframe").getAttribute("src")];
    """,
    )
    assert texts[:2] == ["Watching.", "Waiting: a full disk"]
    assert texts[2].startswith("No sign of life of the watch since")
    assert texts[3].startswith("The watch ended at")
    assert lines == [["<b>last; warning", "warned"], ["first", ""]]
    assert shown == "night.html?7"


def test_only_the_page_of_the_watch_renews_itself():
    templates = Path(live_page.__file__).parent / "templates"
    renews = ("setInterval", "location.reload", "http-equiv")
    names = [
        path.name
        for path in templates.iterdir()
        if path.is_file() and any(w in path.read_text() for w in renews)
    ]
    assert names == [live_page.LIVE_PAGE]
