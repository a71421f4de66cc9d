"""Raw files that are moved within the raw folder: their products follow, and nothing is lost."""

import errno
import gzip
import shutil
from pathlib import Path

import pytest
from refused_folders import refuse_folder
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import use_stand_ins

from ccdflow import paths
from ccdflow.run.lines.plan_description import lines_on_plan

NIGHTS = ("2024-03-01", "2024-03-02")
CONFIG = {
    "bias": {"minimum": 3}, "dark": {"enabled": True, "minimum": 2},
    "flat": {"enabled": True, "minimum": 2}, "calibrate": {"enabled": True},
}  # fmt: skip
FRAMES = ("bias0", "bias1", "bias2", "flat0", "flat1", "object0")


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(CONFIG))
    for seed, night in enumerate(NIGHTS):
        for number, name in enumerate(FRAMES):
            made.put(
                f"{night}/{name}.fits", 10 * seed + number, kind=name[:-1].upper(), night=night,
                is_packed=False, size=SMALL_FRAME, light=0 if name.startswith("bias") else 9000,
            )  # fmt: skip
    made.run()
    assert made.run().jobs == []
    return made


def pixel_products(folder):
    """Return the reduced and calibrated products of a night in a folder."""
    reduced = {f"reduced/{folder}/{name}.fits" for name in FRAMES}
    return reduced | {f"calibrated/{folder}/object0.fits"}


def check_as_from_scratch(sandbox):
    """Assert that nothing is left to do, and all products are those of a first run."""
    again = sandbox.run()
    assert again.jobs == []
    assert "table: " in again.lines[-1]
    assert "raw file missing" not in "\n".join(again.lines)
    clean = sandbox.clean()
    clean.run()
    assert products(clean.results) == products(sandbox.results)


@pytest.mark.parametrize("how", ["renamed", "copied and removed", "compressed on the way"])
def test_the_products_of_a_night_that_was_moved_go_with_it(sandbox, how):
    """Products of the former path stayed as "raw file missing" beside the new ones for ever."""
    old, new = sandbox.raw / NIGHTS[0], sandbox.raw / "2024" / NIGHTS[0]
    before = products(sandbox.results)
    if how == "renamed":
        new.parent.mkdir()
        old.rename(new)
    else:
        shutil.copytree(old, new, copy_function=shutil.copyfile)
        shutil.rmtree(old)
    if how == "compressed on the way":
        for path in new.iterdir():
            Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    ending = ".gz" if how == "compressed on the way" else ""
    line = (
        f"raw file moved: {NIGHTS[0]}/bias0.fits is now 2024/{NIGHTS[0]}/bias0.fits{ending} (the"
        " first of 6 files): their former products are to be moved into set_aside/"
    )
    assert line in lines_on_plan(sandbox.plan().plan)
    outcome = sandbox.run(may_lose=True)
    assert outcome.status == 0
    assert {job for job in outcome.jobs if job.startswith(("reduced/", "calibrated/"))} >= (
        pixel_products(f"2024/{NIGHTS[0]}")
    )
    for product in pixel_products(NIGHTS[0]):
        assert not (sandbox.results / product).exists()
        assert (sandbox.results / paths.set_aside(product)).read_bytes() == before[product]
    header = (sandbox.results / f"combined/{NIGHTS[0]}").glob("bias_*")
    (bias,) = header
    assert f"'2024/{NIGHTS[0]}/bias0.fits".encode() in bias.read_bytes()
    check_as_from_scratch(sandbox)


def test_a_night_that_is_missing_in_part_keeps_the_products_of_the_rest(sandbox):
    """Two frames are elsewhere, and four are nowhere: a disk may be away."""
    (sandbox.raw / "2024").mkdir()
    for name in ("bias0", "flat0"):
        (sandbox.raw / NIGHTS[0] / f"{name}.fits").rename(sandbox.raw / "2024" / f"{name}.fits")
    shutil.rmtree(sandbox.raw / NIGHTS[0])
    outcome = sandbox.run(may_lose=True)
    gone = {f"reduced/{NIGHTS[0]}/{name}.fits" for name in ("bias0", "flat0")}
    kept = {f"reduced/{NIGHTS[0]}/{name}.fits" for name in FRAMES} - gone
    now = products(sandbox.results)
    assert {name for name in kept | gone if name in now} == kept
    assert "4 raw file missing" in outcome.lines[-1]
    assert sandbox.run().jobs == []


def test_a_frame_of_other_pixels_or_of_another_time_is_no_proof(sandbox):
    """The new file has the name and size of the missing one, and other pixels."""
    for name in FRAMES:
        path = sandbox.raw / NIGHTS[0] / f"{name}.fits"
        content = bytearray(path.read_bytes())
        content[-3000] ^= 1
        moved = sandbox.raw / "2024" / f"{name}.fits"
        moved.parent.mkdir(exist_ok=True)
        moved.write_bytes(content)
        path.unlink()
    outcome = sandbox.run(may_lose=True)
    kept = {f"reduced/{NIGHTS[0]}/{name}.fits" for name in FRAMES}
    assert {name for name in kept if (sandbox.results / name).is_file()} == kept
    assert "6 raw file missing" in outcome.lines[-1]


def test_a_folder_that_cannot_be_read_moves_nothing(sandbox, monkeypatch):
    """The same frames are elsewhere, but those of this folder may be there as well."""
    shutil.copytree(sandbox.raw / NIGHTS[0], sandbox.raw / "copy")
    sandbox.run(may_lose=True)
    before = products(sandbox.results)
    folder = str(sandbox.raw / NIGHTS[0])
    refuse_folder(monkeypatch, folder, PermissionError, errno.EACCES, "Permission denied")
    outcome = sandbox.run(may_lose=True)
    assert "raw file moved" not in "\n".join(outcome.lines)
    now = products(sandbox.results)
    assert f"calibrated/{NIGHTS[0]}/object0.fits" in now
    for name in FRAMES:
        product = f"reduced/{NIGHTS[0]}/{name}.fits"
        assert now[product] == before[product]


def test_a_night_that_is_moved_and_moved_back_is_as_before(sandbox):
    before = products(sandbox.results)
    for source, target in ((NIGHTS[0], "elsewhere"), ("elsewhere", NIGHTS[0])):
        (sandbox.raw / source).rename(sandbox.raw / target)
        sandbox.run(may_lose=True)
        assert sandbox.run().jobs == []
    assert products(sandbox.results) == before
    check_as_from_scratch(sandbox)


@pytest.mark.parametrize("lost", ["reduced", "calibrated"])
def test_a_night_that_is_moved_after_its_products_were_deleted_leaves_none(sandbox, lost):
    """The calibrated frames of the former path stayed for ever."""
    shutil.rmtree(sandbox.results / lost / NIGHTS[0])
    (sandbox.raw / NIGHTS[0]).rename(sandbox.raw / "elsewhere")
    sandbox.run(may_lose=True)
    check_as_from_scratch(sandbox)
