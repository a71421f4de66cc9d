"""Folders and disks that fail ccdflow: one line each, no traceback; the next run repairs all."""

from __future__ import annotations

import os
import signal
import time

import pytest
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import use_stand_ins

from ccdflow import command_lines
from ccdflow.errors import UserError
from ccdflow.run.under_snakemake import host

# Run when the first job begins.
REMOVING_FAILS = """
import os, pathlib
def guarded(function):
    def removed(path, *arguments, **options):
        if "/.ccdflow/done/" in str(path):
            raise OSError(5, "Input/output error", str(path))
        return function(path, *arguments, **options)
    return removed
os.unlink, os.remove = guarded(os.unlink), guarded(os.remove)
pathlib.Path.unlink = guarded(pathlib.Path.unlink)
"""
FOLDERS_FAIL = """
import os
makedirs = os.makedirs
def refused(path, *arguments, **options):
    if "/.ccdflow/" in str(path):
        raise OSError(28, "No space left on device", str(path))
    return makedirs(path, *arguments, **options)
os.makedirs = refused
"""
MOVED_AT_ONCE = 'import os; os.rename(f"{context.results}/.ccdflow", f"{context.results}/../away")'
# In the middle of the third job.
MOVED_LATER = """
import os
from ccdflow.run import job_records, ledger
write, count = job_records.write_record, []
def moved(results, record, path):
    write(results, record, path)
    count.append(path)
    if len(count) == 3:
        os.rename(f"{results}/.ccdflow", f"{results}/../away")
job_records.write_record = moved
"""
# The reader of all that is printed goes away, as with `| head` or a terminal that is closed.
READER_GOES = """
import os
reader, writer = os.pipe()
os.close(reader)
for number in (1, 2):
    os.dup2(writer, number)
os.close(writer)
"""


def values_of_torture(*values):
    """Return values that only `make torture` tries."""
    return [pytest.param(value, marks=pytest.mark.torture) for value in values]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("whole") / "box", {"bias": {"minimum": 2}})
    fill(sandbox)
    sandbox.snakemake()
    return products(sandbox.results)


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    fill(made)
    return made


def fill(sandbox):
    for number in range(4):
        sandbox.put(f"n/a{number}.fits.gz", number, size=SMALL_FRAME)


def own_lines(run):
    """Return the lines of ccdflow; assert that no other program wrote one."""
    own = [line for line in run.output.splitlines() if line.startswith("ccdflow: ")]
    after = run.output.partition("Building DAG of jobs...\n")[2].strip().splitlines()
    after = [line for line in after if not line.endswith("see the lines above")]
    others = [line for line in after if line and line not in own]
    assert not [line for line in others if not line.startswith("WorkflowError") and line[0] != " "]
    assert "Traceback" not in run.output
    return run.lines


def check_next(sandbox, reference):
    """The next run, by the library for its speed, makes the rest; the one after it, nothing."""
    again = sandbox.run()
    assert again.status == 0, again.lines
    assert products(sandbox.results) == reference
    assert sandbox.run().jobs == []


def test_a_run_whose_terminal_has_gone_makes_all_products(sandbox, reference):
    assert sandbox.snakemake(code=READER_GOES).status == 0
    assert products(sandbox.results) == reference
    assert sandbox.run().jobs == []


@pytest.mark.parametrize(
    "code",
    [REMOVING_FAILS, pytest.param(FOLDERS_FAIL, marks=pytest.mark.torture)],
    ids=["remove", "make"],
)
def test_notes_that_cannot_be_removed_or_made_end_the_run_with_one_line(sandbox, reference, code):
    run = sandbox.snakemake(code=code)
    assert run.status == 1
    line, remedy = {
        REMOVING_FAILS: ("OSError: [Errno 5] Input/output error: '", "check the disk"),
        FOLDERS_FAIL: ("OSError: [Errno 28] No space left on device: '", "make room"),
    }[code]
    (line_of_end,) = [text for text in own_lines(run) if text.startswith("the run ended early (")]
    assert line in line_of_end
    assert f"all finished products are whole; {remedy}" in line_of_end
    check_next(sandbox, reference)


@pytest.mark.parametrize(
    "code",
    [pytest.param(MOVED_AT_ONCE, marks=pytest.mark.torture), MOVED_LATER],
    ids=["at once", "later"],
)
def test_notes_moved_while_the_run_goes_on(sandbox, reference, code):
    run = sandbox.snakemake(code=code)
    notes = f"{sandbox.results}/.ccdflow"
    line = f"{notes} was moved or replaced while the run went on; the next run makes"
    assert [text.startswith(line) for text in own_lines(run)].count(True) == 1
    assert run.status == (code == MOVED_LATER)
    check_next(sandbox, reference)


@pytest.mark.parametrize(
    "code",
    [MOVED_LATER, pytest.param(MOVED_AT_ONCE, marks=pytest.mark.torture)],
    ids=["later", "at once"],
)
def test_results_moved_while_the_run_goes_on(sandbox, reference, code):
    """Earlier products lie where the folder was moved to, later ones where they were wanted."""
    elsewhere = sandbox.root / "moved"
    results = code.replace("/.ccdflow", "").replace("/../away", "/../moved")
    assert results.count("/../moved") == 1
    run = sandbox.snakemake(code=results)
    line = f"{sandbox.results} was moved to {elsewhere} while the run went on; move it back before"
    assert [text.startswith(line) for text in own_lines(run)].count(True) == 1
    check_next(sandbox, reference)
    # The table was as the run found the archive; a job that was writing leaves its part.
    moved = {
        name: content
        for name, content in products(elsewhere).items()
        if name != "inventory.csv" and not name.endswith(".part")
    }
    assert moved.items() <= reference.items()


def test_a_home_that_cannot_be_written_costs_nothing(sandbox, reference):
    home = {"HOME": "/proc/none", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "MPLCONFIGDIR": ""}
    run = sandbox.snakemake(env=home)
    assert run.status == 0, run.output
    assert "/proc/none" not in run.output
    assert products(sandbox.results) == reference


@pytest.mark.parametrize(
    "name",
    [".ccdflow", ".ccdflow/done", *values_of_torture(".ccdflow/logs", ".ccdflow/batches")],
)
def test_a_file_where_a_folder_of_notes_has_to_be(sandbox, reference, name):
    path = sandbox.results / name
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    run = sandbox.snakemake()
    assert run.status == 1
    (line,) = own_lines(run)
    assert line.startswith(
        f"{path}: the results folder cannot be written (Not a directory); a file"
    )
    assert path.read_text() == "in the way"
    path.unlink()
    check_next(sandbox, reference)


@pytest.mark.parametrize(
    "name",
    ["ledger.json", "lock", *values_of_torture("headers.json", "../inventory.csv")],
)
def test_a_folder_where_a_file_of_notes_has_to_be(sandbox, reference, name):
    path = sandbox.results / ".ccdflow" / name
    path.mkdir(parents=True)
    (path / "mine").write_text("in the way")
    run = sandbox.snakemake()
    assert run.status == 1
    text = "the results folder cannot be written (Is a directory); a file or folder is in the way"
    assert [text in line for line in own_lines(run)].count(True) == 1
    assert (path / "mine").read_text() == "in the way"
    path.rename(sandbox.root / "elsewhere")
    check_next(sandbox, reference)


@pytest.mark.parametrize("which", ["raw", "results"])
def test_a_file_where_raw_or_results_have_to_be(sandbox, reference, which):
    path = getattr(sandbox, which)
    if which == "raw":
        path.rename(sandbox.root / "kept")
    path.write_text("in the way")
    run = sandbox.snakemake()
    assert run.status == 1
    assert len(own_lines(run)) == 1
    assert str(path) in run.lines[0]
    path.unlink()
    if which == "raw":
        (sandbox.root / "kept").rename(path)
    check_next(sandbox, reference)


def test_a_current_folder_in_which_snakemake_cannot_keep_its_notes(tmp_path, monkeypatch):
    """Snakemake would end with a traceback; a folder that can be written gets its notes."""
    host.check_notes_folder(tmp_path / ".snakemake")
    assert (tmp_path / ".snakemake").is_dir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file: Snakemake cannot keep .* \(a file is in the way"):
        host.check_notes_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    # As on a disk that is mounted read-only: root may do all else.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(
        UserError, match=r"read-only disk\); run it in a folder that can be written"
    ):
        host.check_notes_folder(tmp_path / ".snakemake")


def test_ctrl_c_while_the_plan_is_made_ends_the_run_at_once_with_one_line(monkeypatch):
    """Snakemake would finish the plan first, and then show a traceback."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(host, "stop", lambda *words, **options: pytest.fail(f"{words} {options}"))

    def plan():
        with host.ended_by_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    with pytest.raises(pytest.fail.Exception, match=r"ended by Ctrl-C before any.*'status': 130"):
        plan()
    assert signal.getsignal(signal.SIGINT) == before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with host.ended_by_ctrl_c():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.torture
def test_a_file_in_the_place_of_snakemakes_notes(sandbox, reference):
    (sandbox.root / "work").mkdir()
    (sandbox.root / "work/.snakemake").write_text("mine")
    run = sandbox.snakemake()
    assert run.status == 1
    (line,) = own_lines(run)
    assert line.startswith(f"{sandbox.root}/work/.snakemake: Snakemake cannot keep its notes")
    assert not sandbox.results.exists()
    (sandbox.root / "work/.snakemake").unlink()
    check_next(sandbox, reference)


def test_a_current_folder_that_is_gone_is_one_line_of_a_script(tmp_path, monkeypatch, capsys):
    """The folder holds the configuration: without it a script would go by the defaults."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert command_lines.run(pytest.fail, pytest.fail, []) == 1
    assert capsys.readouterr().err == (
        "ccdflow: the current folder is gone; go to a folder that is there, and try again\n"
    )
    monkeypatch.chdir(tmp_path)


def test_an_error_of_the_system_is_one_line_of_a_script_with_its_remedy(capsys):
    def refuse_permission(options):
        raise PermissionError(13, "Permission denied", "notes.json")

    assert command_lines.run(refuse_permission, lambda arguments: None, []) == 1
    line = "ccdflow: notes.json: Permission denied; repair the permissions\n"
    assert capsys.readouterr().err == line


def test_notes_on_headers_lost_and_a_raw_file_deleted(sandbox):
    """The product without a raw file is named, counts nowhere, and goes once it is deleted."""
    sandbox.run()
    (sandbox.results / ".ccdflow" / "headers.json").unlink()
    (sandbox.raw / "n/a1.fits.gz").unlink()
    outcome = sandbox.run()
    text = "no raw file is known for 1 reduced frame (reduced/n/a1.fits), because the notes"
    assert [line.startswith(text) for line in outcome.lines].count(True) == 1
    assert (sandbox.results / "reduced/n/a1.fits").is_file()
    again = sandbox.run()
    assert again.jobs == []
    (sandbox.results / "reduced/n/a1.fits").unlink()
    lines = sandbox.run().lines
    assert lines
    assert not [line for line in lines if "no raw file is known" in line]
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)


def test_notes_on_headers_lost_and_a_raw_file_renamed(sandbox):
    """The record of the product has the fingerprint of its raw file, which shows the new name."""
    sandbox.run()
    (sandbox.results / ".ccdflow" / "headers.json").unlink()
    (sandbox.raw / "n/a1.fits.gz").rename(sandbox.raw / "n/z.fits.gz")
    outcome = sandbox.run(may_lose=True)
    assert "reduced/n/z.fits" in outcome.jobs
    assert not (sandbox.results / "reduced/n/a1.fits").exists()
    assert (sandbox.results / "set_aside/reduced/n/a1.fits").is_file()
    again = sandbox.run()
    assert again.jobs == []
    assert "no raw file is known" not in "\n".join(outcome.lines)
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)
