"""The scripts are one family: their words, their help, their examples, their table."""

import ast
import errno
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from astropy.io import fits
from refusals import refusal_of

from ccdflow import command_lines
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.run.processes import forked_frames

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


def examples(name):
    """Return the arguments of each example in a script's docstring."""
    doc = importlib.import_module(name).__doc__
    _, heading, text = doc.partition("Example")
    assert heading, f"{name}.py shows no example"
    lines = re.findall(rf"^python scripts/{name}\.py (.*)$", text, re.MULTILINE)
    assert lines, f"the example of {name}.py is no command line"
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_has_the_purpose_and_the_example_in_the_width_of_the_terminal(
    name, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    # The usage begins with the name of the program, which is that of pytest here.
    monkeypatch.setattr(sys, "argv", [f"scripts/{name}.py", "--help"])
    script = importlib.import_module(name)
    try:
        status = script.main(["--help"])
    except SystemExit as ended:
        status = ended.code
    assert status in (0, None)
    output = capsys.readouterr().out
    assert " ".join(script.__doc__.split()) in " ".join(output.split())
    # A command is pasted as it is.
    long_lines = [line for line in output.splitlines() if len(line) > 80]
    assert [line for line in long_lines if not line.startswith("python ")] == []
    if name not in ("batch", "daily"):
        # The words of a call, which argparse would leave out of the usage.
        assert re.match(r"usage: \S+ \[OPTIONS\] \S", output)
        assert "demo/" not in output.splitlines()[0], "its docstring begins with no usage"
    assert "==SUPPRESS==" not in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("calibrate", "out=FOLDER [bias=FILE] [dark=FILE] [flat=FILE] FRAME ..."),
        ("verify", "raw=FOLDER results=FOLDER [PRODUCT ...]"),
        ("simulate", "raw=FOLDER"),
    ],
)
def test_the_usage_has_the_words_of_the_docstring(name, words):
    """A list of its own had no brackets around words that may be left out."""
    assert command_lines.usage_words(importlib.import_module(name).__doc__) == words


@pytest.mark.parametrize("name", SCRIPTS)
def test_examples_are_understood(name):
    all_arguments = list(examples(name))
    assert all_arguments != []
    for arguments in all_arguments:
        options = importlib.import_module(name).parse(arguments)
        if name == "daily":
            # Its arguments are those of snakemake, whose import takes seconds of each worker.
            from snakemake.cli import parse_args

            _, options = parse_args(options)
            assert options.config == ["raw=demo/raw", "results=demo/results"]
            assert str(options.cores) == "2"
        for word in arguments:
            setting, is_setting, value = word.partition("=")
            if is_setting and name != "daily":
                assert options.settings_given[setting] == value


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in ("daily", "batch")])
def test_an_unknown_word_is_one_line(name, capsys):
    assert importlib.import_module(name).main(["resluts=there"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ccdflow: resluts: the setting is unknown; allowed: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("verify", "raw: is not given; write raw=FOLDER"),
        ("demo", "raw: is not given; write raw=FOLDER"),
        ("simulate", "raw: is not given; write raw=FOLDER"),
        ("combine", "out: is not given; write out=FILE"),
        ("calibrate", "out: is not given; write out=FOLDER"),
        ("new_camera", "FRAME: one or two frames are needed (found 'none'); allowed: one or two"),
    ],
)
def test_a_missing_word_is_one_line(name, missing, capsys):
    assert importlib.import_module(name).main([]) == 1
    assert capsys.readouterr().err.startswith(f"ccdflow: {missing}")


def test_the_list_of_scripts_has_each_with_its_words():
    text = (ROOT / "docs/scripts.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)\.py` \| (.*?) \|", text, re.MULTILINE))
    assert sorted(rows) == SCRIPTS
    for name in SCRIPTS:
        if name in ("daily", "batch"):
            continue
        known = importlib.import_module(name).parse([]).names
        named = tuple(re.findall(r"(\w+)=", rows[name]))
        blocks = yaml.safe_load((ROOT / "config/config.yaml").read_text("utf-8"))
        rest = blocks.keys() if "blocks of `config.yaml`" in rows[name] else ()
        assert tuple(word for word in known if word in named or word not in rest) == named, name


def test_settings_and_other_words_are_distinguished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x=1.fits").touch()
    allowed = ("raw", "results")
    words = ["raw=a=b", "x=1.fits", "reduced/y=2.fits", "results=r"]
    settings_given, other_words = command_lines.split_words(words, allowed=allowed)
    assert settings_given == {"raw": "a=b", "results": "r"}
    assert other_words == ["x=1.fits", "reduced/y=2.fits"]
    for wrong, reason in (
        (["raw=a", "raw=b"], "raw: the setting is given twice"),
        (["raw="], "raw: the setting has no value"),
        (["row=a"], "row: the setting is unknown; allowed: raw=... results=..."),
    ):
        with pytest.raises(UserError, match=re.escape(reason)):
            command_lines.split_words(wrong, allowed=allowed)


def test_a_setting_that_is_no_folder_is_refused(tmp_path):
    options = SimpleNamespace(settings_given={"raw": str(tmp_path / "none")}, words=[])
    assert refusal_of(command_lines.path, options, "raw", must_exist=True) == (
        UserError,
        f"raw: is not a folder (found '{tmp_path}/none'); give a folder that exists",
    )


def test_settings_of_the_daily_run_may_stand_anywhere():
    daily = importlib.import_module("daily")
    given = ["raw=a", "--cores", "2", "strict=true", "-n"]
    assert daily.parse(given) == ["--cores", "2", "-n", "--config", "raw=a", "strict=true"]
    usual = ["--cores", "2", "--config", "raw=a"]
    assert daily.parse(usual) == usual
    assert daily.parse(["--cores", "2"]) == ["--cores", "2"]


def test_the_former_forms_still_work(tmp_path, capsys):
    simulate = importlib.import_module("simulate")
    former = [str(tmp_path / "raw"), "--biases", "2", "--scale", "0.01", "--threads", "1"]
    assert simulate.main(former) == 0
    assert len(list((tmp_path / "raw").glob("*.fits.gz"))) == 2
    demo = importlib.import_module("demo")
    assert demo.main([str(tmp_path / "raw"), str(tmp_path / "results")]) == 1
    assert "there is no inventory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("terminal", "ci", "browser", "answer", "opened"),
    [
        (True, "", True, "y", True),
        (True, "", True, "Yes ", True),
        (True, "", True, "", False),
        (True, "", True, "n", False),
        (True, "", True, None, False),
        (True, "1", True, "y", False),
        (False, "", True, "y", False),
        (True, "", False, "y", False),
    ],
)
def test_the_demo_opens_its_page_only_where_it_is_asked_to(
    tmp_path, monkeypatch, terminal, ci, browser, answer, opened
):
    demo = importlib.import_module("demo")
    index, seen = tmp_path / "report.html", []
    index.write_text("")

    def get():
        if not browser:
            raise demo.webbrowser.Error("there is none")
        return SimpleNamespace(open=lambda page: seen.append(page) or True)

    def ask(_):
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setenv("CI", ci)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(demo.sys, stream, SimpleNamespace(isatty=lambda: terminal))
    monkeypatch.setattr(demo.webbrowser, "get", get)
    monkeypatch.setattr("builtins.input", ask)
    is_open = demo.offer_to_open(index)
    monkeypatch.undo()
    assert (is_open, seen) == (opened, [index.as_uri()] * opened)
    assert demo.offer_to_open(tmp_path / "none.html") is False


@pytest.mark.parametrize("content", ["text", "nothing", "cube", "absent"])
@pytest.mark.parametrize(
    ("name", "words"), [("combine", ["out=x.fits"]), ("calibrate", ["out=x"]), ("explain", [])]
)
def test_a_file_that_is_no_frame_is_one_line_with_a_remedy(tmp_path, capsys, name, words, content):
    path = tmp_path / "odd.fits"
    if content == "cube":
        fits.PrimaryHDU(np.zeros((2, 3, 4), "f4")).writeto(path)
    elif content != "absent":
        path.write_text("no frame\n" * 99 if content == "text" else "")
    words = [word.replace("=", f"={tmp_path}/") for word in words]
    assert importlib.import_module(name).main([*words, str(path)])
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "odd.fits" in last
    assert "raw folder" not in last
    assert "; " in last


@pytest.mark.parametrize(
    ("name", "words", "allowed"),
    [
        *((name, ("--cores", number), "a whole number, 1 or more")
          for name in ("watch", "verify", "simulate", "combine", "calibrate")
          for number in ("0", "-1", "x")),
        ("batch", ("b.json", "--cores", "0"), "a whole number, 1 or more"),
        *(("watch", (option, number), "seconds from 0.01 to 86400")
          for option in ("--pause", "--limit") for number in ("-1", "0", "nan", "inf", "x")),
        *(("telescope", ("--every", number), "seconds from 0 to 86400")
          for number in ("-0.1", "nan", "inf", "x")),
    ],
)  # fmt: skip
def test_an_impossible_number_is_one_line_with_the_allowed_ones(name, words, allowed, capsys):
    assert importlib.import_module(name).main([*words[:-1], words[-1]]) == 1
    message = capsys.readouterr().err
    option, number = words[-2:]
    problem = f"the value is not allowed (found '{number}'); allowed: {allowed}"
    assert message == f"ccdflow: {option}: {problem}; give one within these limits\n"


@pytest.mark.parametrize("raw", ["source", "source/tonight", ".", "link", "beside"])
def test_the_telescope_never_writes_over_an_original(tmp_path, monkeypatch, capsys, raw):
    monkeypatch.chdir(tmp_path)
    Path("source").mkdir()
    Path("source/a.fits").write_bytes(b"original")
    Path("link").symlink_to("source")
    Path("beside").mkdir()
    os.link("source/a.fits", "beside/a.fits")
    telescope = importlib.import_module("telescope")
    assert telescope.main(["source=source", f"raw={raw}", "--every", "0"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "original" in message
    assert [path.read_bytes() for path in Path().rglob("*.fits")] == [b"original"] * 2


def test_ctrl_c_ends_the_telescope_with_one_line(tmp_path, monkeypatch, capsys):
    telescope = importlib.import_module("telescope")

    def observe(source, raw, *, every):
        yield raw / "a.fits"
        raise KeyboardInterrupt

    monkeypatch.setattr(telescope, "observe", observe)
    (tmp_path / "source").mkdir()
    assert telescope.main([f"source={tmp_path}/source", f"raw={tmp_path}/raw"]) == 130
    captured = capsys.readouterr()
    assert "1 frame arrived" in captured.out + captured.err
    assert (captured.out + captured.err).count("\n") == 1


# A module that Python imports first of all. It sends Ctrl-C as soon as a script imports a module
# other than the one that is prepared for it, and those that this one needs.
CTRL_C = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        package, _, module = name.partition(".")
        own = package == "ccdflow" and module not in ("", "command_lines", "errors")
        if own or package in ("numpy", "astropy", "yaml", "isal", "scipy", "matplotlib"):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_during_the_imports_is_one_line(name, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    ended = subprocess.run(
        [sys.executable, ROOT / f"scripts/{name}.py"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "ccdflow: ended by Ctrl-C\n"


# -- products and the files that they could take the place of --------------------------------------


@pytest.fixture
def frames(tmp_path):
    """Two frames of 4 x 6, b among them linked as c, in a folder whose name has a blank."""
    folder = tmp_path / "of mine"
    folder.mkdir()
    for name in "ab":
        cards = fits.Header({"BUNIT": "adu", "GAIN": 1.5, "RDNOISE": 6.0})
        fits.PrimaryHDU(np.full((4, 6), ord(name), "f4"), cards).writeto(folder / f"{name}.fits")
    (folder / "c.fits").symlink_to("b.fits")
    return folder


@pytest.mark.parametrize(
    ("name", "words", "problem"),
    [
        (
            "combine",
            "out=a.fits a.fits b.fits --overwrite",
            "the product would take the place of a file that is read; give another place as out",
        ),
        (
            "combine",
            "out=b.fits a.fits c.fits --overwrite",
            "the product would take the place of a file that is read; give another place as out",
        ),
        ("combine", "out=new.fits a.fits a.fits", "the frame is given twice"),
        (
            "combine",
            "out=b.fits a.fits",
            "the file exists already; give another place, or --overwrite",
        ),
        (
            "calibrate",
            "out=. a.fits --overwrite",
            "the product would take the place of a file that is read; give another place as out",
        ),
        (
            "calibrate",
            "out=. c.fits --overwrite",
            "the product would take the place of a file that is read; give another place as out",
        ),
        (
            "calibrate",
            "out=../of bias=b.fits b.fits ./b.fits",
            "several frames would have this product; give each frame once",
        ),
        ("calibrate", "out=new a.fits --gain nan", "--gain: the value is not allowed"),
        ("calibrate", "out=new a.fits --read-noise -1", "--read-noise: the value is not allowed"),
        ("calibrate", "out=new a.fits --saturation 0", "--saturation: the value is not allowed"),
        ("combine", "out=new.fits a.fits --memory nan", "--memory: the value is not allowed"),
        ("combine", "out=new.fits a.fits --clip inf", "--clip: the value is not allowed"),
        ("combine", "out=new.fits ''", "no frame is given"),
        ("calibrate", "out=new ''", "no frame is given"),
    ],
)
def test_no_product_takes_the_place_of_a_file(frames, monkeypatch, capsys, name, words, problem):
    monkeypatch.chdir(frames)
    before = {path.name: path.read_bytes() for path in frames.iterdir()}
    assert importlib.import_module(name).main(shlex.split(words)) == 1
    message = capsys.readouterr().err
    assert problem in message
    assert message.count("\n") == 1
    assert before
    assert {path.name: path.read_bytes() for path in frames.iterdir()} == before


def test_a_calibrated_frame_is_replaced_where_that_is_wanted(frames, monkeypatch, capsys):
    calibrate = importlib.import_module("calibrate")
    monkeypatch.chdir(frames)
    assert calibrate.main(["out=new", "a.fits"]) == 0
    made = (frames / "new" / "a.fits").read_bytes()
    assert calibrate.main(["out=new", "a.fits", "--gain", "3"]) == 1
    assert (
        "new/a.fits: the file exists already; give another place, or --overwrite"
        in capsys.readouterr().err
    )
    assert (frames / "new" / "a.fits").read_bytes() == made
    assert calibrate.main(["out=new", "a.fits", "--gain", "3", "--overwrite"]) == 0
    assert (fits.getdata("new/a.fits") == 3 * ord("a")).all()


@pytest.mark.parametrize(("card", "unit"), [(0, "adu"), (-2, "adu"), ("x", "adu"), (2, "electron")])
def test_a_gain_that_is_none_is_unknown(frames, capsys, card, unit):
    fits.setval(frames / "a.fits", "GAIN", value=card)
    calibrate = importlib.import_module("calibrate")
    assert calibrate.main([f"out={frames / 'new'}", str(frames / "a.fits")]) == 0
    assert capsys.readouterr().out == f"{frames / 'new'}: 1 frame, in {unit}\n"


def test_members_of_any_name_have_cards(frames, tmp_path):
    combine = importlib.import_module("combine")
    (frames / "b.fits").rename(frames / "\u00e9 b.fits")
    names = [frames / "a.fits", frames / "\u00e9 b.fits"]
    out = tmp_path / "out" / "of.fits"
    assert combine.main([f"out={out}", *map(str, names)]) == 0
    header = fits.getheader(out)
    assert (header["IMCMB001"], header["IMCMB002"]) == ("a.fits", "%C3%A9 b.fits")


def test_a_combination_has_the_unit_of_its_members(frames, tmp_path, capsys):
    combine = importlib.import_module("combine")
    names = [str(frames / name) for name in ("a.fits", "b.fits")]
    for name, unit in zip(names, ("electron", "e-"), strict=True):
        fits.setval(name, "BUNIT", value=unit)
    assert combine.main([f"out={tmp_path / 'of.fits'}", *names]) == 0
    assert fits.getheader(tmp_path / "of.fits")["BUNIT"] == "electron"
    fits.setval(names[1], "BUNIT", value="adu")
    assert combine.main([f"out={tmp_path / 'two.fits'}", *names]) == 1
    message = capsys.readouterr().err
    assert f"{names[1]}: BUNIT: is in another unit than {names[0]} (found 'adu')" in message
    assert not (tmp_path / "two.fits").exists()


def test_a_member_without_a_finite_pixel_is_reported(frames, tmp_path, capsys):
    combine = importlib.import_module("combine")
    names = [str(frames / name) for name in ("a.fits", "b.fits")]
    with fits.open(names[1], mode="update") as hdus:
        hdus[0].data[:] = np.nan
    assert combine.main([f"out={tmp_path / 'of.fits'}", *names]) == 0
    assert capsys.readouterr().err == (
        f"ccdflow: {names[1]}: no pixel is finite, so nothing of it is in the product;"
        " leave it out\n"
    )
    assert (fits.getdata(tmp_path / "of.fits") == ord("a")).all()


def full_disk(file, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["combine", "calibrate"])
def test_a_full_disk_is_one_line(frames, monkeypatch, capsys, name):
    monkeypatch.chdir(frames)
    monkeypatch.setattr(atomic_write, "write_all", full_disk)
    assert importlib.import_module(name).main(["out=new", "a.fits", "b.fits"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ccdflow: new: No space left on device; ")
    assert message.endswith("; this concerns 2 frames\n") == (name == "calibrate")
    assert message.count("\n") == 1
    assert any(frames.rglob("*"))
    assert not any(path.name.startswith(".") for path in frames.rglob("*"))


def test_a_closed_output_is_no_error(frames, monkeypatch):
    monkeypatch.chdir(frames)
    monkeypatch.setattr(sys, "stdout", None)
    assert importlib.import_module("combine").main(["out=new.fits", "a.fits", "b.fits"]) == 0
    assert (fits.getdata("new.fits") == 97.5).all()


@pytest.mark.parametrize("name", ["combine", "calibrate"])
def test_a_pipe_is_not_waited_for(frames, capsys, name):
    os.mkfifo(frames / "pipe.fits")
    words = [f"out={frames / 'new'}", str(frames / "pipe.fits")]
    assert importlib.import_module(name).main(words) == 1
    message = capsys.readouterr().err
    assert "pipe.fits: " in message
    assert message.count("\n") == 1


def children():
    """Return the ids of this process's children, of which other tests may have some."""
    lists = Path("/proc/self/task").glob("*/children")
    return {pid for listed in lists for pid in listed.read_text().split()}


def test_a_process_that_is_killed_is_one_line_and_leaves_nothing(frames, monkeypatch, capsys):
    calibrate = importlib.import_module("calibrate")
    monkeypatch.chdir(frames)
    monkeypatch.setattr(forked_frames.threading, "active_count", lambda: 1)
    real, parent, before = calibrate.calibrate, os.getpid(), children()

    def kill_child(path, out, options, store):
        if os.getpid() != parent:
            atomic_write.Part(out / path.name).__enter__()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, out, options, store)

    monkeypatch.setattr(calibrate, "calibrate", kill_child)
    assert calibrate.main(["out=new", "a.fits", "b.fits", "c.fits", "--cores", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    problem = (
        "a process that worked on frames was killed, perhaps for lack of memory (found 2);"
        " allowed: as many as have room in the memory"
    )
    assert line.endswith(
        f"--cores: {problem}; give fewer cores, and the frames that are missing once more"
    )
    made = sorted(path.name for path in (frames / "new").iterdir())
    # This process may have been faster than the other's death.
    assert made in (["a.fits"], ["a.fits", "b.fits"], ["a.fits", "c.fits"])
    assert children() == before


def test_frames_are_divided_among_as_many_processes_as_cores(tmp_path, monkeypatch):
    monkeypatch.setattr(forked_frames.threading, "active_count", lambda: 1)
    parent, (begun, release) = os.getpid(), (os.pipe(), os.pipe())

    def process_of(path):
        if path != 0 and os.getpid() != parent:
            # The other process is at work at the same time.
            os.write(begun[1], b"x")
            os.read(release[0], 1)
        elif path != 0:
            os.read(begun[0], 1)
            os.write(release[1], b"x")
        return path, os.getpid()

    done = forked_frames.map_forked(process_of, [0, 1, 2], 2)
    assert [path for path, _ in done] == [0, 1, 2]
    assert done[0][1] == parent
    assert len({process for _, process in done}) == 2

    done = forked_frames.map_forked(lambda path: (path, os.getpid()), range(20), 3)
    assert [path for path, _ in done] == list(range(20))
    assert len({process for _, process in done} - {parent}) <= 2


def test_results_of_forked_processes_may_be_arrays(monkeypatch):
    """Every array is compared with None by identity: `==` would compare it value by value."""
    monkeypatch.setattr(forked_frames.threading, "active_count", lambda: 1)
    done = forked_frames.map_forked(lambda path: np.full(2, path), range(5), 2)
    assert [image.tolist() for image in done] == [[path, path] for path in range(5)]


def test_a_fault_of_a_forked_process_is_raised_with_its_lines(monkeypatch):
    monkeypatch.setattr(forked_frames.threading, "active_count", lambda: 1)
    parent, before = os.getpid(), children()

    def fail(path):
        if os.getpid() != parent:
            raise ZeroDivisionError("of a helper")
        time.sleep(0.001)
        return path

    with pytest.raises(ZeroDivisionError) as caught:
        forked_frames.map_forked(fail, range(2000), 2)
    assert "in fail" in caught.value.__notes__[0]
    assert children() == before


def test_each_option_of_a_script_has_a_help():
    """`scripts/combine.py --help` told nothing of `--cores`."""
    options = [
        (f"{path.name}: {ast.unparse(node.args[0])}", node)
        for path in sorted((ROOT / "scripts").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument")
    ]
    assert len(options) > 40
    helps = [(name, {each.arg: each.value for each in node.keywords}) for name, node in options]
    assert helps
    assert [name for name, keywords in helps if "help" not in keywords] == []
