"""The benchmark harness: what it measures is what happened, and its verdicts follow the figures."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))

import calibrating
import combining
import counted_sheet
import floor
import frames
import grown
import measure
import scale


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_wall_and_cpu_times_are_those_of_the_command(tmp_path):
    code = "import time; e = time.process_time() + 0.2\nwhile time.process_time() < e: pass\n"
    busy = measure.run(python(code), log=tmp_path / "busy.log")
    idle = measure.run(python("import time; time.sleep(0.3)"), log=tmp_path / "idle.log")
    assert busy.cpu >= 0.2
    assert busy.wall >= 0.2
    assert idle.wall >= 0.3
    assert idle.cpu < 0.2


def test_memory_counts_all_processes_of_the_tree(tmp_path, monkeypatch):
    seen, large, look = tmp_path / "seen", set(), measure._resident

    def look_and_tell(process):
        resident = look(process)
        large.update({process} if resident[0] > 60e6 else ())
        if len(large) == 2:
            seen.touch()
        return resident

    monkeypatch.setattr(measure, "_resident", look_and_tell)
    # A busy machine may start one long after the other: each stays until both were seen.
    wait = f"while not os.path.exists({str(seen)!r}): time.sleep(0.01)"
    child = f"import os, time; b = bytearray(60_000_000)\n{wait}"
    parent = (
        "import subprocess, sys\n"
        f"jobs = [subprocess.Popen([sys.executable, '-S', '-c', {child!r}]) for _ in range(2)]\n"
        "[job.wait() for job in jobs]\n"
    )
    measured = measure.run(python(parent), log=tmp_path / "log")
    assert 120e6 < measured.peak_tree < 200e6
    assert measured.peak_main < 60e6


def test_cpu_time_of_children_counts(tmp_path):
    child = "import time; e = time.process_time() + 0.2\nwhile time.process_time() < e: pass\n"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    assert measure.run(python(parent), log=tmp_path / "log").cpu >= 0.2


def test_a_command_that_fails_is_an_error_with_the_end_of_its_output(tmp_path):
    with pytest.raises(measure.BenchmarkError, match=r"ended with 3\nwhat went wrong"):
        measure.run(python("print('what went wrong'); raise SystemExit(3)"), log=tmp_path / "log")


def scripts_with_tables():
    """Return the names of the benchmarks that write tables: their options have ``--out``."""
    folder = Path(measure.__file__).parent
    words = ("measure.parser(", "measure.add_output_option(", '"--out"')
    return sorted(
        path.name
        for path in folder.glob("*.py")
        if path.name != "measure.py" and any(word in path.read_text() for word in words)
    )


@pytest.mark.parametrize("script", scripts_with_tables())
def test_the_folder_of_the_tables_is_there_before_anything_is_measured(script, tmp_path):
    """A run of an hour ended with an error where its tables should have gone."""
    path, out = Path(measure.__file__).parent / script, tmp_path / "new" / "folder"
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r})\n"
        "import measure\n"
        "measure.main = lambda run, options: print(options.out)\n"
        f"sys.argv = [{script!r}, *sys.argv[1:]]\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    needed = [str(tmp_path / "no frame.fits")] if script == "compressing.py" else []
    command = [sys.executable, "-c", code, *needed, "--out", out / "table"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert out.is_dir()
    if script != "compressing.py":
        assert str(out / "table") in result.stdout


def test_a_folder_that_cannot_be_made_is_a_wrong_option(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    parser = measure.parser("Words.", [], repeats=1)
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", str(tmp_path / "file" / "folder")])
    assert f"{tmp_path}/file/folder cannot be made: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "measured", "at_least", "verdict"),
    [
        (5, 5.0, True, "reached"),
        (5, 4.99, True, "MISSED"),
        (1.8, 1.8, False, "reached"),
        (1.8, 1.81, False, "MISSED"),
        (1.8, None, False, "not measured"),
    ],
)
def test_verdict_of_a_bar(limit, measured, at_least, verdict):
    assert measure.Bar("a bar", limit, measured, is_least=at_least).verdict == verdict


def test_markdown_columns_are_padded():
    assert measure.markdown(["a", "bb"], [[100, 2]]) == "| a   | bb |\n| --- | -- |\n| 100 | 2  |"


def test_filesystem_is_that_of_the_deepest_mount():
    assert measure.filesystem("/proc") == "proc"


@pytest.fixture
def lfc_frame(tmp_path):
    """A frame of the LFC's size: a level for each row, known pixels on top of it."""
    rng = np.random.default_rng(5)
    raw = rng.integers(1100, 1300, size=(floor.NY, floor.NX), dtype=np.uint16)
    path = tmp_path / "bias.0001.fits"
    header = fits.Header({"BIASSEC": "[2049:2080,1:4127]", "OBJECT": "bias"})
    fits.PrimaryHDU(raw, header).writeto(path)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(floor.isal_zlib.compress(path.read_bytes(), 1, 31))
    return packed


def test_the_floor_makes_the_frame_the_check_expects(lfc_frame, tmp_path):
    target = tmp_path / "out" / "bias.0001.fits"
    target.parent.mkdir()
    floor.Worker(None, target.parent).reduce(lfc_frame, target)
    frames.check_products([lfc_frame], [target])
    with fits.open(target) as hdus:
        assert hdus[0].data.shape == (4128, 2048)
        assert hdus[0].header["OBJECT"] == "bias"
        assert "BZERO" not in hdus[0].header
    assert target.stat().st_size % 2880 == 0


def test_one_wrong_pixel_is_found(lfc_frame, tmp_path):
    wrong = frames.numpy_reduction(lfc_frame)
    wrong[17, 5] = np.nextafter(wrong[17, 5], np.float32(np.inf))
    path = tmp_path / "out.fits"
    fits.writeto(path, wrong)
    path = path.rename(tmp_path / "bias.0001.fits")
    with pytest.raises(measure.BenchmarkError, match="differs from the frame that numpy reduces"):
        frames.check_products([lfc_frame], [path])


def test_missing_products_are_found(lfc_frame):
    with pytest.raises(measure.BenchmarkError, match="1 frames, but 0 products"):
        frames.check_products([lfc_frame], [])


def measurement(wall, peak=5e8):
    return measure.Measurement(
        wall=wall, user=0.0, system=0.0, peak_tree=int(peak), peak_main=0, log=Path("log")
    )


def test_frame_bars_compare_the_time_a_frame_of_the_median_run():
    def result(name, wall, count=200):
        return frames.Result(
            contender=name, frames=count, measurement=measurement(wall), sync_seconds=0.0, n_bytes=0
        )

    runs = [result("ccdflow", wall) for wall in (30.0, 10.0, 20.0)]
    runs += [result("guide", 20.0, count=20), result("floor", 10.0), result("iraf", 39.0)]
    bars = {bar.name: bar for bar in frames.bars(measure.median_runs(runs))}
    assert bars["faster than the guide's loop"].value == pytest.approx(10.0)
    assert bars["time of the floor"].value == pytest.approx(2.0)
    assert bars["time of the floor"].verdict == "MISSED"
    assert bars["faster than IRAF with pigz"].verdict == "MISSED"
    assert bars["faster than one process a frame"].verdict == "not measured"
    assert bars["peak memory"].value == pytest.approx(500)


def test_agreement_is_in_units_of_the_largest_member():
    reference = np.array([[1.0, 100.0, 2.0]])
    largest = np.array([[10.0, 100.0, 4.0]], dtype=np.float32)
    eps = np.finfo(np.float32).eps
    values = reference + np.array([[5 * eps, 25 * eps, 0.0]])
    agreement = combining.compare(values, reference, largest)
    assert agreement.largest == pytest.approx(25 * eps)
    assert agreement.largest_eps == pytest.approx(0.5)
    # At 100 a float32 step is 64 eps, so 25 eps are lost in the cast; at 1 they are not.
    assert agreement.identical == pytest.approx(2 / 3)


def step(name, nights, made, wall, peak=1e8):
    measured = measure.Measurement(
        wall=wall, user=0.0, system=0.0, peak_tree=0, peak_main=int(peak), log=Path("log")
    )
    return scale.Step(name=name, nights=nights, frames=1, n_made=made, measurement=measured)


@pytest.mark.parametrize(
    ("agreement", "is_refused"),
    [
        ({"median": 1e-3, "largest_eps": 1.0}, False),
        ({"median": 1.01e-3, "largest_eps": 1.0}, True),
        ({"median": 1e-3, "largest_eps": 1.01}, True),
        ({"median": np.nan, "largest_eps": 1.0}, True),
        ({"median": 0.0, "largest_eps": np.nan}, True),
    ],
)
def test_differences_that_are_large_or_no_numbers_stop_the_run(agreement, is_refused):
    result = combining.Result(
        contender="ccdflow", frames=3, measurement=None,
        agreement=combining.Agreement(largest=0.0, identical=1.0, **agreement),
    )  # fmt: skip
    refusal = pytest.raises(measure.BenchmarkError, match="ccdflow of 3 frames")
    with refusal if is_refused else contextlib.nullcontext():
        combining.check_agreement(result)


@pytest.mark.parametrize("difference", [0.0201, np.nan])
def test_a_calibrated_frame_unlike_the_floors_stops_the_run(difference):
    calibrating.check_difference("ccdflow", 0.02)
    calibrating.check_difference("ccdproc", difference)
    with pytest.raises(measure.BenchmarkError, match=r"ccdflow: (0\.020|nan) sigma off"):
        calibrating.check_difference("ccdflow", difference)


def test_scale_bars_take_the_steps_of_the_right_archive():
    steps = [
        step("first run", 10, 999, 9.99),
        step("nothing to do", 10, 0, 1.0),
        step("one new night", 10, 100, 2.0),
        step("that night alone", 10, 100, 50.0),
        step("first run", 100, 9999, 149.985),
        step("nothing to do", 100, 0, 3.0),
        step("one new night", 100, 100, 6.0, peak=9e8),
        step("that night alone", 100, 100, 2.0),
        step("dry run", 1000, 0, 21.0, peak=5e8),
    ]
    cost, idle, dry_run, new, memory = scale.bars(
        steps, nights=100, few_nights=10, many_nights=1000
    )
    assert (cost.value, cost.verdict) == (pytest.approx(1.5), "MISSED")
    assert (idle.value, idle.verdict) == (3.0, "reached")
    assert (dry_run.value, dry_run.verdict) == (21.0, "MISSED")
    assert (new.limit, new.value, new.verdict) == (pytest.approx(5.4), 6.0, "MISSED")
    assert memory.value == pytest.approx(500)


def test_grown_bars_take_the_night_alone_from_the_new_one():
    steps = [
        step("nothing to do", 10000, 0, 17.0, peak=5e8),
        step("one late frame", 10000, 1, 26.0),
        step("one new night", 10000, 100, 31.5),
        step("that night alone", 10000, 100, 12.0),
    ]
    *_, idle, memory, floor, late, new = grown.bars(steps, [10000])
    assert (idle.value, idle.verdict) == (17.0, "reached")
    assert (memory.value, floor.verdict) == (500, "not measured")
    assert (late.value, late.verdict) == (26.0, "MISSED")
    assert (new.value, new.verdict) == (19.5, "reached")


def test_bars_of_scales_that_were_not_run_are_not_measured():
    bars = scale.bars(
        [step("first run", 10, 999, 9.99)], nights=100, few_nights=10, many_nights=1000
    )
    assert {bar.verdict for bar in bars} == {"not measured"}


class Sums:
    """A class whose calls take 20 ms of CPU time."""

    def add(self, value):
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return value + 1


def test_calls_are_counted_in_cpu_seconds_and_give_their_results(monkeypatch):
    monkeypatch.setattr(Sums, "add", Sums.add)  # put back at the end
    seconds = []
    counted_sheet.count_calls(Sums, "add", seconds)
    assert [Sums().add(value) for value in (1, 2)] == [2, 3]
    time.sleep(0.05)
    assert len(seconds) == 2
    assert 0.04 <= sum(seconds) < 0.08


def test_functions_counted_for_the_contact_sheet_exist():
    functions = list(counted_sheet.counted_functions())
    assert len(functions) > 3
    for owner, name in functions:
        assert callable(getattr(owner, name))


def test_the_contact_sheets_share_is_that_of_a_frame_alone(tmp_path):
    def result(name, cpu, count, log=""):
        path = tmp_path / name
        path.write_text(log)
        run = measure.Measurement(
            wall=cpu, user=cpu, system=0.0, peak_tree=0, peak_main=0, log=path
        )
        return frames.Result(
            contender=name, frames=count, measurement=run, sync_seconds=0.0, n_bytes=0
        )

    line = f"of 20 frames\n{counted_sheet.LINE.format(0.04)}\n"
    chosen = {
        "ccdflow": result("ccdflow", 20.0, 200),
        "ccdflow, all": result("ccdflow, all", 31.0, 200),
        "ccdflow, sheet": result("ccdflow, sheet", 5.0, 20, line),
    }
    bars = {bar.name: bar for bar in frames.bars(chosen)}
    # 2 ms of 100 ms.
    assert bars["contact sheet, of the frames' CPU time"].value == pytest.approx(2.0)
    assert bars["contact sheet, of the frames' CPU time"].verdict == "reached"
    assert bars["everything beside the frames alone"].value == pytest.approx(1.55)
    assert bars["everything beside the frames alone"].verdict == "MISSED"
    del chosen["ccdflow, sheet"]
    verdicts = {bar.name: bar.verdict for bar in frames.bars(chosen)}
    assert verdicts["contact sheet, of the frames' CPU time"] == "not measured"
