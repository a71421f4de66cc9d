"""A night in one screen of a terminal: scripts/night.py and pages/terminal.py."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from camera_headers import geometry, header

import night as script
from ccdflow.camera.geometry import NO_OVERSCAN
from ccdflow.pages import terminal

ROOT = Path(__file__).parents[2]


def frame(name, kind, *, filter="", seconds="0.0", status="ok", reason="", **others):
    row = {"file": name, "night": "2020-01-01", "camera": "cam", "type": kind, "filter": filter}
    return row | {
        "exptime": seconds, "object": "", "status": status, "reason": reason, **others,
    }  # fmt: skip


FRAMES = [
    *(frame(f"b{n}", "bias") for n in range(7)),
    frame("f1", "flat", filter="g'", seconds="70.001"),
    frame("f2", "flat", filter="g'", seconds="70.011"),
    frame("s1", "science", filter="g'", seconds="300.06", object="m 31"),
    frame("s2", "science", filter="g'", seconds="300.01", object="ngc 1"),
    frame("x1", "", status="set aside", reason="the file is no FITS file"),
    frame("y1", "dark", seconds="10", status="arriving", reason="the file is incomplete"),
]  # fmt: skip
BIAS = {
    "night": "2020-01-01", "group": "bias_cam", "frames": "7", "level": "1139.18",
    "read_noise": "9.99927",
    "product": "combined/2020-01-01/bias_cam.fits", "note": "",
}  # fmt: skip
STEP = {
    "night": "2020-01-01",
    "frame": "calibrated/s1.fits",
    "step": "dark",
    "master": "combined/2020-01-01/dark.fits",
    "reason": "none",
    "grade": "C",
    "calibrated": "yes",
}


def text(**tables):
    return terminal.night_text("2020-01-01", terminal.Tables(**({"frames": FRAMES} | tables)))


def test_frames_of_one_group_share_a_line_with_their_number():
    lines = text().splitlines()
    assert lines[:2] == [
        "night 2020-01-01  cam",
        "13 frames: 11 readable, 1 still being written, 1 set aside",
    ]
    table = [line.split() for line in lines[4:8]]
    assert table == [
        ["bias", "–", "0", "7"],
        ["dark", "–", "10", "1"],
        ["flat", "g'", "70", "2"],
        ["science", "g'", "300", "2", "m", "31,", "ngc", "1"],
    ]


def test_faults_of_a_night_are_named_with_their_reasons():
    output = text()
    assert "set aside   x1: the file is no FITS file\n" in output
    assert "incomplete  y1: the file is incomplete" in output


def test_a_night_whose_overscan_no_card_names_has_a_line():
    """A reader without a browser would believe the level subtracted."""
    headers = header(12, 9), header(12, 9, DATASEC="[1:10,1:9]")
    notes = [note for made in headers for note in geometry(made).notes]
    assert [note.mark for note in notes] == [NO_OVERSCAN] * 2
    whole = [
        frame(f"x{n}", "bias", reason=f"{note.table_text}; warning: odd")
        for n, note in enumerate(notes)
    ]
    lines = text(frames=[*FRAMES, *whole]).splitlines()
    assert "overscan    none was subtracted from 2 frames: no card names one" in lines
    assert "overscan" not in text()


def test_many_frames_set_aside_are_counted():
    many = [frame(f"x{n}", "", status="set aside", reason="r") for n in range(9)]
    output = text(frames=many).splitlines()
    assert sum(line.endswith(": r") for line in output) == 5
    assert output[-1].strip() == "and 4 more, see inventory.csv"


def test_masters_and_grades():
    refused = BIAS | {"group": "bias_b", "product": "", "note": "two levels"}
    output = text(
        biases=[BIAS | {"note": "noisy"}, refused],
        steps=[STEP, STEP | {"step": "bias", "grade": "A"}, STEP | {"frame": "s2", "grade": "A"}],
    )
    assert "bias (bias_cam)   7 frames  level 1139.2 adu, read noise 10.00 adu" in output
    assert "bias (bias_b): not made: two levels" in output
    assert "calibrated  2 frames: 1 of grade A, 1 of grade C" in output
    assert "1 frame: none (dark)" in output
    assert "warnings    bias_cam: noisy" in output
    assert output.count("bias_b") == 1


def test_every_amplifier_has_its_figures():
    other = BIAS | {"level": "965.24", "amplifier": "right"}
    tables = terminal.Tables(FRAMES, biases=[BIAS | {"amplifier": "left"}, other])
    output = terminal.night_text("2020-01-01", tables, width=200)
    assert "level 1139.2 / 965.2 adu, read noise 10.00 / 10.00 adu (left / right)" in output


def test_warnings_on_frames_are_shown_once_for_each_kind():
    why = "warning: the overscan has a noise of {} adu; look at it; warning: another"
    odd = [frame(f"w{n}", "flat", reason=why.format(20 + n / 4)) for n in range(3)]
    output = text(frames=[*FRAMES, *odd, frame("w9", "flat", reason="other words")])
    output = " ".join(output.split())
    assert (
        "warnings w0 (the first of 3 frames): the overscan has a noise of 20.0 adu; look at it"
        " w0 (the first of 3 frames): another set aside"
    ) in output
    assert "other words" not in output


def test_two_warnings_of_one_kind_on_one_frame_are_counted():
    reason = "warning: amplifier 1 is off by 3.5 adu; warning: amplifier 2 is off by 4.5 adu"
    lines = text(frames=[frame("f1", "flat", reason=reason)]).splitlines()
    (line,) = (line for line in lines if "is off by" in line)
    assert line == "warnings    f1 (the first of 2 warnings): amplifier 1 is off by 3.5 adu"


def test_lines_of_one_type_are_in_the_order_of_their_exposures():
    exposures = ("300", "", "10", "0.5", "2.25", "1800")
    frames = [frame(f"d{n}", "dark", seconds=each) for n, each in enumerate(exposures)]
    lines = [line.split() for line in text(frames=frames).splitlines()]
    seconds = [words[2] for words in lines if words[:1] == ["dark"]]
    assert seconds == ["0.5", "2.25", "10", "300", "1800", "–"]


def test_reasons_go_on_in_the_next_line_of_a_narrow_terminal():
    why = "no dark for 600 s of a camera with a long name: there is none at all"
    output = terminal.night_text(
        "2020-01-01", terminal.Tables(FRAMES, steps=[STEP | {"reason": why}]), width=50
    )
    assert why in " ".join(output.split())
    assert max(map(len, output.splitlines())) <= 50


def test_flats_are_called_by_their_light_and_by_their_name_where_it_is_the_same():
    flat = BIAS | {
        "unit": "adu",
        "light": "Gr#3",
        "group": "flat_cam_Gr_3_slit_1",
        "signal_to_noise": "276.2",
    }
    output = text(flats=[flat, flat | {"light": "g'", "group": "flat_cam_g"}])
    assert "flat Gr#3         7 frames" in output
    assert "flat g'           7 frames" in output
    output = text(flats=[flat, flat | {"group": "flat_cam_Gr_3_slit_5"}])
    assert "flat Gr#3 (flat_cam_Gr_3_slit_1)" in output
    assert "flat Gr#3 (flat_cam_Gr_3_slit_5)" in output


def test_frames_of_two_cameras_have_lines_of_their_own():
    frames = [
        *(frame(f"b{n}", "bias") for n in range(3)),
        *(frame(f"o{n}", "bias", camera="othercam") for n in range(2)),
        frame("s1", "science", filter="g'", seconds="60", object="m 31"),
        frame("s2", "science", filter="g'", seconds="60", object="m 33", camera="othercam"),
    ]
    table = [line.split() for line in text(frames=frames).splitlines()[3:8]]
    assert table == [
        ["type", "camera", "filter", "seconds", "frames", "objects"],
        ["bias", "cam", "–", "0", "3"],
        ["bias", "othercam", "–", "0", "2"],
        ["science", "cam", "g'", "60", "1", "m", "31"],
        ["science", "othercam", "g'", "60", "1", "m", "33"],
    ]


def test_darks_whose_exposures_are_written_alike_have_their_names():
    dark = {"night": "2020-01-01", "frames": "3", "unit": "adu", "rate": "0.1", "hot": "4",
            "product": "p", "note": ""}  # fmt: skip
    output = text(
        darks=[
            dark | {"group": f"dark_cam_{seconds}s", "seconds": seconds}
            for seconds in ("300.0", "300.4", "20.0")
        ]
    )
    for words in ("dark 300 s (dark_cam_300.0s)", "dark 300 s (dark_cam_300.4s)", "dark 20 s  "):
        assert output.count(words) == 1, words


def test_lines_are_cut_at_the_width_of_the_terminal():
    output = terminal.night_text("2020-01-01", terminal.Tables(FRAMES), width=30, page="p" * 50)
    *lines, last = output.splitlines()
    assert max(map(len, lines)) == 30
    assert last.endswith("p" * 50)


def results(tmp_path):
    with (tmp_path / "inventory.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, FRAMES[7])
        table.writeheader()
        for row in FRAMES[:9]:
            table.writerow({name: row[name] for name in FRAMES[7]})
            table.writerow({name: row[name] for name in FRAMES[7]} | {"night": "2019-12-31"})
    return tmp_path


def test_the_last_night_is_the_default(tmp_path, capsys):
    folder = results(tmp_path)
    assert script.main([f"results={folder}"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("night 2020-01-01  cam\n9 frames: all 9 readable\n")
    assert output.endswith("\nothers      2019-12-31; night=NIGHT prints one\n")
    assert script.main([f"results={folder}", "2019-12-31"]) == 0
    assert capsys.readouterr().out.startswith("night 2019-12-31  cam\n")


@pytest.mark.parametrize("folder_of_undated", ["undated", "2020 tests", "0000"])
def test_frames_without_a_date_are_not_the_last_night(tmp_path, capsys, folder_of_undated):
    """One file that is not FITS would be shown instead of the night: 'u' comes behind '2'."""
    folder = results(tmp_path)
    with (folder / "inventory.csv").open("a", newline="") as file:
        file.write(f"notes.fits,{folder_of_undated}{',' * (len(FRAMES[7]) - 2)}\n")
    assert script.main([f"results={folder}"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("night 2020-01-01  cam\n9 frames: all 9 readable\n")
    assert folder_of_undated in output.splitlines()[-1]


def test_a_table_of_masters_by_an_older_ccdflow_is_one_line(tmp_path, capsys):
    """Frames without masters would count as calibrated."""
    folder = results(tmp_path)
    older = {name: text for name, text in STEP.items() if name != "calibrated"}
    table = f"{','.join(older)}\n{','.join(older.values())}\n"
    (folder / "associations.csv").write_text(table)
    assert script.main([f"results={folder}"]) == 1
    captured = capsys.readouterr()
    assert "associations.csv: the table lacks the column calibrated" in captured.err
    assert captured.out == ""


def test_of_many_other_nights_the_last_are_named():
    others = [f"2019-12-{day}" for day in range(10, 20)]
    last = text_of_page(others).splitlines()[-1]
    assert last.split() == [
        "others", "5", "earlier", "ones,", *(f"{night}," for night in others[5:9]),
        "2019-12-19;", "night=NIGHT", "prints", "one",
    ]  # fmt: skip


def text_of_page(others):
    return terminal.night_text("2020-01-01", terminal.Tables(FRAMES), page="p", other_nights=others)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "results: is not given; write results=FOLDER"),
        (["results=/nix"], "there is no inventory"),
        (["results=HERE", "2020"], "allowed: nights 2019-12-31, 2020-01-01; give night=NIGHT"),
        (["results=HERE", "a", "b"], "b: the word is not understood"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, capsys, words, message):
    folder = results(tmp_path)
    assert script.main([word.replace("HERE", str(folder)) for word in words]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, ROOT / "scripts" / "night.py", f"results={results(tmp_path)}"]
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("height", [14, 20, 24, 40, 60])
def test_a_night_of_many_kinds_fits_the_screen(height):
    frames = [frame(f"f{n}", "flat", filter=f"f{n}", seconds="7") for n in range(20)]
    frames += [frame(f"x{n}", "", status="set aside", reason="no FITS") for n in range(9)]
    steps = [STEP | {"frame": f"calibrated/s{n}.fits"} for n in range(4)]
    tables = terminal.Tables(frames, [BIAS] * 9, steps=steps)
    output = terminal.night_text("2020-01-01", tables, page="p" * 150, width=80, height=height)
    lines = output.splitlines()
    whole = terminal.night_text("2020-01-01", tables, page="p" * 150).splitlines()
    assert len(lines) + 1 + 1 <= height  # the page takes two lines, the prompt one
    assert lines[:2] == whole[:2]
    assert lines[-1] == whole[-1]
    labels = {line.split(" ")[0] for line in lines}
    assert {"type", "masters", "calibrated", "set", "page"} <= labels
    # Whatever is left out is counted.
    counted = sum(int(line.split()[2]) for line in lines if "... and" in line and "more" in line)
    entries = [line for line in lines if line and not line.strip().startswith("... and")]
    assert len(entries) + counted >= len([line for line in whole if line])


def test_frames_that_were_not_calibrated_are_not_counted_as_calibrated():
    why, own = (
        "no flat in r of simcam: there is none at all",
        {"frame": "calibrated/s2.fits", "calibrated": "no"},
    )
    steps = [
        STEP | {"grade": "A", "reason": "own night"},
        STEP | own | {"grade": "A", "reason": "own night"},
        STEP | own | {"step": "flat", "reason": why},
    ]
    output = " ".join(text(steps=steps).split())
    assert f"calibrated 1 frame: 1 of grade A; 1 frame not calibrated 1 frame: {why} (not" in output
    assert "grade C" not in output
    assert "calibrated 0 frames; 1 frame not" in " ".join(text(steps=steps[1:]).split())


def test_reasons_beyond_the_fifth_are_counted():
    steps = [
        STEP | {"frame": f"calibrated/s{n}.fits", "grade": "B", "reason": f"{n} nights before"}
        for n in range(1, 8)
    ]
    output = text(steps=steps)
    assert "1 frame: 5 nights before" in output
    assert "6 nights before" not in output
    assert "and 2 more reasons, see associations.csv" in output
