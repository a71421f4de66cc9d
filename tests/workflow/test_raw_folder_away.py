"""The raw folder goes away while a run goes on, as an unmounted disk does, and comes back."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
from refused_folders import refuse_folder
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import use_stand_ins

from ccdflow import kinds
from ccdflow.errors import UserError
from ccdflow.files import raw_files
from ccdflow.run.raw_frames import header_reading, raw_folders

NIGHTS = ("2024-03-01", "2024-03-02")
CONFIG = {"bias": {"minimum": 3}, "flat": {"enabled": True}}
N_FRAMES = 16
# A way in which a folder goes away, as statements on its path and on that of its new place.
GOES = "os.rename(raw, away)"
IS_EMPTIED = f"{GOES}; os.mkdir(raw); os.mkdir(raw + '/lost+found')"
REASONS = {GOES: "there is no such folder", IS_EMPTIED: "the folder holds no raw frame"}
# Replaces the opening of raw files: so many are opened before the folder goes away. A lock keeps
# other threads and processes from opening a file of a half moved folder, and from moving it again.
GOES_AWAY = """
import fcntl, os
from ccdflow.files import raw_files
raw, away, n_opened = {raw!r}, {away!r}, []
open_raw = raw_files.open_raw
def open_or_go(*arguments, **options):
    n_opened.append(1)
    with open(away + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if len(n_opened) > {number} and not os.path.exists(away):
            {how}
        return open_raw(*arguments, **options)
raw_files.open_raw = open_or_go
"""


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(CONFIG))
    for seed, night in enumerate(NIGHTS):
        for number in range(4):
            for kind in ("bias", "flat"):
                made.put(
                    f"{night}/{kind}{number}.fits.gz", 10 * seed + number, kind=kind.upper(),
                    night=night, size=SMALL_FRAME, light=9000,
                )  # fmt: skip
    return made


def away_of(sandbox):
    return sandbox.root / "away"


def goes_away(sandbox, number, how=GOES):
    """Return the code by which the raw folder goes away after so many frames."""
    away = str(away_of(sandbox))
    return GOES_AWAY.format(raw=str(sandbox.raw), away=away, number=number, how=how)


def bring_back(sandbox):
    """Put the raw folder back in its place."""
    if sandbox.raw.is_dir():
        shutil.rmtree(sandbox.raw)
    away_of(sandbox).rename(sandbox.raw)


def check_lines(sandbox, lines, n_unread, reason=REASONS[GOES]):
    """Assert that one line tells of the raw folder, and none of a frame, a master, a remedy."""
    (line_on_folder,) = [line for line in lines if "the raw folder went away" in line]
    pictures = r"( and [12] pictures? of frames could not be made)?"
    assert re.sub(pictures, "", line_on_folder) == (
        f"{sandbox.raw}: the raw folder went away while the run went on ({reason}): {n_unread}"
        " frames could not be read; earlier products are kept; mount its disk or move it back,"
        " and run again"
    )
    assert not [line for line in lines if re.match("left for the next run:|no combined", line)]
    assert not [line for line in lines if re.search(r"take \d+ more", line)]
    assert f"{n_unread} left for the next run; table: " in lines[-1]


def reduced_frames(sandbox):
    """Return the bytes of the reduced frames."""
    made = products(sandbox.results)
    return {name: made[name] for name in made if name.startswith("reduced/")}


def all_reduced():
    """Return the products of all frames."""
    return {
        f"reduced/{night}/{kind}{number}.fits"
        for night in NIGHTS for kind in ("bias", "flat") for number in range(4)
    }  # fmt: skip


def check_the_rest(sandbox, missing):
    """Assert that the next run reduces the missing frames alone, and leaves nothing to do."""
    again = sandbox.run()
    assert again.status == 0
    assert {name for name in again.jobs if name.startswith("reduced/")} == missing
    assert sandbox.run().jobs == []
    clean = sandbox.clean()
    clean.run(cores=1)
    assert products(clean.results) == products(sandbox.results)


# -- through Snakemake -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "how", "config"),
    [
        (0, GOES, ()),
        (5, IS_EMPTIED, ()),
        (3, GOES, ("frames_per_batch=8",)),
        (2, IS_EMPTIED, ("frames_per_batch=4",)),
    ],
)
def test_a_raw_folder_that_goes_away_is_one_line_and_a_failure(sandbox, number, how, config):
    outcome = sandbox.snakemake(code=goes_away(sandbox, number, how), config=config)
    made = reduced_frames(sandbox)
    assert outcome.status == 1
    assert len(made) < N_FRAMES
    assert bool(made) == bool(number)
    check_lines(sandbox, outcome.lines, N_FRAMES - len(made), REASONS[how])
    assert "the raw folder went away; all else is made, see the lines above" in outcome.output
    assert "Traceback" not in outcome.output
    progress = [
        line for line in outcome.lines if line.startswith(f"{N_FRAMES} of {N_FRAMES} frames, ")
    ]
    assert [f"{N_FRAMES - len(made)} left for the next run" in line for line in progress] == [True]
    assert "set aside" not in progress[0]
    bring_back(sandbox)
    check_the_rest(sandbox, all_reduced() - made.keys())


def test_products_asked_for_by_name_have_the_one_line_too(sandbox):
    wanted = f"reduced/{NIGHTS[0]}/bias0.fits"
    outcome = sandbox.snakemake(f"{sandbox.results}/{wanted}", code=goes_away(sandbox, 0))
    assert outcome.status == 1
    (line_on_folder,) = [line for line in outcome.lines if "the raw folder went away" in line]
    assert ": 1 frame could not be read; " in line_on_folder
    assert sum("the product is not made" in line for line in outcome.lines) == 1
    bring_back(sandbox)
    assert sandbox.snakemake(f"{sandbox.results}/{wanted}").status == 0
    check_the_rest(sandbox, all_reduced() - {wanted})


# -- another folder in its place -------------------------------------------------------------------

# Other frames, in the place of a folder that was renamed: of other names, or of the same.
OTHER_NAMES = f"{GOES}; import shutil; shutil.copytree(away + '/2024-03-01', raw + '/other')"
SAME_NAMES = (
    f"{GOES}; import shutil; shutil.copytree(away, raw)\n"
    "            for place in __import__('pathlib').Path(raw).glob('*/*.gz'):\n"
    "                place.write_bytes(b'the frame of another night, of another length')"
)
PART = "2024-03-02"
PART_GOES = f"os.rename(raw + '/{PART}', away)"
OTHER_PART = f"{PART_GOES}; os.mkdir(raw + '/{PART}'); open(raw + '/{PART}/z.fits', 'w').close()"
EMPTY_PART = f"{PART_GOES}; os.mkdir(raw + '/{PART}')"


@pytest.mark.parametrize("config", [(), ("frames_per_batch=4",)], ids=["jobs", "batches"])
@pytest.mark.parametrize("how", [OTHER_NAMES, SAME_NAMES], ids=["other names", "same names"])
def test_another_folder_in_the_place_of_the_raw_folder_is_one_line_and_a_failure(
    sandbox, how, config
):
    """The frames counted as still being written or missing, and the run ended with status 0."""
    outcome = sandbox.snakemake(code=goes_away(sandbox, 3, how), config=config)
    made = reduced_frames(sandbox)
    assert outcome.status == 1
    assert 0 < len(made) < N_FRAMES
    check_lines(sandbox, outcome.lines, N_FRAMES - len(made), "another folder is in its place")
    assert "Traceback" not in outcome.output
    bring_back(sandbox)
    check_the_rest(sandbox, all_reduced() - made.keys())


@pytest.mark.parametrize("config", [(), ("frames_per_batch=4",)], ids=["jobs", "batches"])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (PART_GOES, "there is no such folder"),
        (OTHER_PART, "another folder is in its place"),
        (EMPTY_PART, "another folder is in its place"),
    ],
    ids=["gone", "other", "empty"],
)
def test_a_part_of_the_raw_folder_that_goes_away_is_named(sandbox, how, reason, config):
    sandbox.snakemake(code=goes_away(sandbox, 2, how), config=config)
    made = reduced_frames(sandbox)
    n_unread = N_FRAMES - len(made)
    assert 0 < n_unread <= 8
    part, away = sandbox.raw / PART, away_of(sandbox)
    shutil.rmtree(part, ignore_errors=True)
    away.rename(part)
    for name in made:
        (sandbox.results / name).unlink()
    outcome = sandbox.snakemake(code=goes_away(sandbox, 0, how), config=config)
    assert outcome.status == 1
    (line,) = [line for line in outcome.lines if "went away" in line and "frames" in line]
    n_unread = N_FRAMES - len(reduced_frames(sandbox))
    pictures = r"( and 1 picture of frames could not be made)?"
    assert re.sub(pictures, "", line) == (
        f"{part}: this part of the raw folder went away while the run went on ({reason}):"
        f" {n_unread} frames could not be read; earlier products are kept; mount its disk or move"
        " it back, and run again"
    )
    assert n_unread == 8
    shutil.rmtree(part, ignore_errors=True)
    away.rename(part)
    check_the_rest(sandbox, all_reduced() - reduced_frames(sandbox).keys())


def test_a_folder_with_a_new_inode_and_the_same_frames_is_the_same_folder(sandbox, monkeypatch):
    """Some network file systems number their folders anew; one frame was deleted meanwhile."""
    again = f"{GOES}; import shutil; shutil.copytree(away, raw)"
    again += f"; os.remove(raw + '/{PART}/bias3.fits.gz')"
    with monkeypatch.context() as patch:
        outcome = run_while_it_goes(sandbox, 0, patch, again)
    assert outcome.status == 0
    assert "went away" not in "\n".join(outcome.lines)
    assert reduced_frames(sandbox).keys() == all_reduced() - {f"reduced/{PART}/bias3.fits"}


@pytest.mark.parametrize("place", ["", PART])
def test_a_folder_that_is_replaced_while_headers_are_read_ends_the_run(sandbox, monkeypatch, place):
    read_all = header_reading.read_all
    folder = sandbox.raw / place

    def replace_and_read(*arguments, **options):
        folder.rename(away_of(sandbox))
        shutil.copytree(away_of(sandbox), folder / "deeper")
        return read_all(*arguments, **options)

    problem = f"{place} was replaced or removed" if place else "the folder was replaced"
    with monkeypatch.context() as patch:
        patch.setattr(header_reading, "read_all", replace_and_read)
        with pytest.raises(UserError, match=f"{problem} while headers were read"):
            sandbox.run()
    assert not products(sandbox.results)
    shutil.rmtree(folder)
    away_of(sandbox).rename(folder)
    check_the_rest(sandbox, all_reduced())


# -- earlier products, and frames that are left ----------------------------------------------------


def run_while_it_goes(sandbox, number, patch, how=GOES):
    """Run in this process; the raw folder goes away after so many frames."""
    patch.setattr(raw_files, "open_raw", raw_files.open_raw)
    make = kinds.make
    begun = []

    def make_or_go(*arguments, **options):
        if not begun:
            begun.append(1)
            exec(goes_away(sandbox, number, how), {})
        return make(*arguments, **options)

    patch.setattr(kinds, "make", make_or_go)
    return sandbox.run(may_lose=True, cores=1)


def test_products_of_earlier_runs_stay_although_they_are_outdated(sandbox, monkeypatch):
    sandbox.run()
    before = products(sandbox.results)
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    with monkeypatch.context() as patch:
        outcome = run_while_it_goes(sandbox, 0, patch)
    assert outcome.status == 1
    check_lines(sandbox, outcome.lines, N_FRAMES)
    now = products(sandbox.results)
    made_of_pixels = [name for name in before if name.startswith(("reduced/", "combined/"))]
    assert len(made_of_pixels) == N_FRAMES + 4
    assert {name: now.get(name) for name in made_of_pixels} == {
        name: before[name] for name in made_of_pixels
    }
    assert not (sandbox.results / "set_aside").exists()
    bring_back(sandbox)
    check_the_rest(sandbox, {name for name in made_of_pixels if name.startswith("reduced/")})


def test_a_folder_that_is_back_before_the_end_is_named_with_another_remedy(sandbox, monkeypatch):
    make = kinds.make

    def make_and_bring_back(context, job, **options):
        if job.kind != "frame" and not sandbox.raw.is_dir():
            bring_back(sandbox)
        return make(context, job, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "make", make_and_bring_back)
        outcome = run_while_it_goes(sandbox, 15, patch)
    assert outcome.status == 1
    (line,) = [line for line in outcome.lines if "the raw folder went away" in line]
    assert line.endswith("; it is there now: leave it there, and run again")
    assert ": 1 frame could not be read" in line
    missing = all_reduced() - reduced_frames(sandbox).keys()
    assert len(missing) == 1
    check_the_rest(sandbox, missing)


def test_single_frames_that_are_left_give_no_remedy_for_their_master(sandbox, monkeypatch):
    """Two of four biases are removed in mid-run: "take 1 more" would be untrue."""
    make = kinds.make
    gone = [sandbox.raw / NIGHTS[0] / f"bias{number}.fits.gz" for number in (0, 1)]
    contents = [path.read_bytes() for path in gone]

    def remove_and_make(*arguments, **options):
        for path in gone:
            path.unlink(missing_ok=True)
        return make(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "make", remove_and_make)
        outcome = sandbox.run(may_lose=True, cores=1)
    assert outcome.status == 0
    lines = [line for line in outcome.lines if line.startswith("no combined bias: ")]
    assert [line.partition(".fits: ")[2] for line in lines] == [
        "2 frames, fewer than the minimum of 3; 2 of its frames are left for the next run"
    ]
    assert "the raw folder went away" not in "\n".join(outcome.lines)
    for path, content in zip(gone, contents, strict=True):
        path.write_bytes(content)
    check_the_rest(sandbox, {f"reduced/{NIGHTS[0]}/bias{number}.fits" for number in (0, 1)})


def test_a_master_that_lacks_more_than_the_frames_left_has_the_rest_for_its_remedy(
    sandbox, monkeypatch
):
    sandbox.config["bias"] = {"minimum": 6}
    path, make = sandbox.raw / NIGHTS[0] / "bias0.fits.gz", kinds.make

    def remove_and_make(*arguments, **options):
        path.unlink(missing_ok=True)
        return make(*arguments, **options)

    monkeypatch.setattr(kinds, "make", remove_and_make)
    outcome = sandbox.run(may_lose=True, cores=1)
    line, other = [line for line in outcome.lines if line.startswith("no combined bias: ")]
    assert line.endswith(
        "3 frames, fewer than the minimum of 6; 1 of its frames is left for the next run;"
        " take 2 more"
    )
    assert ": 4 frames, fewer than the minimum of 6; take 2 more, or add " in other


def test_a_frame_still_being_written_may_be_the_one_that_lacks(sandbox):
    """The remedy has a condition: the header of that frame is not known yet."""
    folder = sandbox.raw / NIGHTS[0]
    for number in (2, 3):
        (folder / f"bias{number}.fits.gz").unlink()
    (folder / "late.fits").write_bytes(b"SIMPLE  = ")
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    outcome = sandbox.run()
    (line,) = [line for line in outcome.lines if line.startswith("no combined bias: ")]
    assert line.endswith(
        "2 frames, fewer than the minimum of 3; take 1 more, unless frames that are still being"
        " written belong to it"
    )


# -- before the first job --------------------------------------------------------------------------


@pytest.mark.parametrize("is_first_run", [True, False])
def test_a_folder_that_goes_while_headers_are_read_ends_the_run(sandbox, monkeypatch, is_first_run):
    """No frame counts as set aside or missing: the inventory stays as it was."""
    if not is_first_run:
        sandbox.run()
        for path in sandbox.raw.rglob("*.gz"):
            path.touch()
    before = products(sandbox.results) if not is_first_run else {}
    read_all = header_reading.read_all

    def go_and_read(*arguments, **options):
        sandbox.raw.rename(away_of(sandbox))
        return read_all(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(header_reading, "read_all", go_and_read)
        with pytest.raises(UserError, match="there is no such folder"):
            sandbox.run()
    assert (products(sandbox.results) if sandbox.results.exists() else {}) == before
    bring_back(sandbox)
    check_the_rest(sandbox, set() if before else all_reduced())


@pytest.mark.parametrize("comes_back_as", ["nothing", "an empty folder", "another disk"])
def test_a_folder_that_goes_while_it_is_looked_through_ends_the_run(
    sandbox, monkeypatch, comes_back_as
):
    sandbox.run()
    before = products(sandbox.results)
    visit = raw_folders._Walk.visit_next

    def visit_and_go(walk):
        visit(walk)
        if walk.stamps and not away_of(sandbox).exists():
            sandbox.raw.rename(away_of(sandbox))
            if comes_back_as != "nothing":
                sandbox.raw.mkdir()
            if comes_back_as == "another disk":
                shutil.copytree(away_of(sandbox) / NIGHTS[1], sandbox.raw / "other")

    with monkeypatch.context() as patch:
        patch.setattr(raw_folders._Walk, "visit_next", visit_and_go)
        with pytest.raises(UserError, match=r"no such folder|was replaced while it was looked"):
            raw_folders.find_frames(sandbox.raw, sandbox.results)
    assert away_of(sandbox).is_dir()
    assert products(sandbox.results) == before


def test_the_presence_of_a_raw_folder_is_known_by_its_first_frame(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    assert raw_folders.why_away(raw) == "there is no such folder"
    (raw / "night" / "deeper").mkdir(parents=True)
    (raw / "notes.txt").touch()
    assert raw_folders.why_away(raw) == "the folder holds no raw frame"
    (raw / "night" / "deeper" / "a.fits").touch()
    assert raw_folders.why_away(raw) == ""
    for number in range(9):
        (raw / f"z{number}").mkdir()
        (raw / f"z{number}" / "b.fits").touch()
    scanned, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(path) or scandir(path))
    assert raw_folders.why_away(raw) == ""
    assert len(scanned) == 2, "the raw folder and one with a frame"
    raw.rename(tmp_path / "elsewhere")
    Path(raw).touch()
    assert raw_folders.why_away(raw) == "there is no such folder"


def test_a_raw_folder_that_may_not_be_read_is_named_by_its_whole_path(tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    raw.mkdir()
    refuse_folder(monkeypatch, str(raw), PermissionError, errno.EACCES, "Permission denied")
    with pytest.raises(UserError, match="Permission denied") as caught:
        raw_folders.find_frames(raw)
    assert str(caught.value).startswith(f"{raw}: raw: cannot be read (Permission denied) (found ")


# -- lines on many frames, and names in another encoding -------------------------------------------


def test_frames_of_a_folder_that_share_their_reason_have_one_line(sandbox):
    """Five have a line each; six of one folder are a single line, which gives their number."""
    sandbox.put_small(f"{NIGHTS[1]}/more", 2, night=NIGHTS[1])
    sandbox.run()
    gone = sorted((sandbox.raw / NIGHTS[0]).iterdir())
    more = sorted((sandbox.raw / NIGHTS[1]).iterdir())[:5]
    for path in (*gone, *more):
        path.unlink()
    lines = [line for line in sandbox.run().lines if line.startswith("raw file missing: ")]
    reason = "it was deleted or moved; its product is kept"
    first, number = f"{NIGHTS[0]}/{gone[0].name}", len(gone)
    assert number == 8
    assert lines == [
        f"raw file missing: {first} (the first of {number} frames): {reason}",
        *(f"raw file missing: {NIGHTS[1]}/{path.name}: {reason}" for path in more),
    ]


def test_names_that_python_reads_in_another_encoding_end_the_run_with_one_line(sandbox):
    sandbox.put("f\u00fcnf.fits.gz", 3, size=SMALL_FRAME)
    assert sandbox.run().status == 0
    before = products(sandbox.results)
    (sandbox.raw / "new.fits").write_bytes((sandbox.raw / "f\u00fcnf.fits.gz").read_bytes())
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outcome = sandbox.snakemake(env=ascii_only.items())
    assert outcome.status == 1
    assert outcome.lines == [
        r"f\udcc3\udcbcnf.fits.gz: names of files are read as ascii, and this one has letters"
        " beyond ASCII; allowed: utf-8; set PYTHONUTF8=1, and run again"
    ]
    assert "Traceback" not in outcome.output
    assert products(sandbox.results) == before
    assert sandbox.snakemake(env={**ascii_only, "PYTHONUTF8": "1"}.items()).status == 0
