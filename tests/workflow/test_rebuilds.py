"""Rebuild exactly what changed: a test for each row of the table in docs/rebuilds.md.

Each asserts the exact set of jobs, and that all else kept its bytes and times. Frames are larger
than 1 MB, below which Snakemake treats inputs in another way.
"""

import gzip
import os
import shutil
from importlib.util import cache_from_source
from pathlib import Path

import pytest
from sandbox import LARGE_FRAME, ROOT, SMALL_FRAME, Sandbox, frame_bytes, products, snapshot
from stand_ins import copy_with_stand_ins, use_stand_ins

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.files import checksum, raw_files
from ccdflow.frame import reduction
from ccdflow.kinds.reporting import frame_pictures
from ccdflow.run.ledger import load_ledger
from ccdflow.run.lines.plan_description import lines_on_plan
from ccdflow.run.raw_frames.inventory_table import read_inventory

FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"
TABLES = {"bias_quality.csv", "report.html"}


def frame(night, camera, number):
    return f"{night}/{camera}{number}.fits.gz"


def reduced_frames(*names):
    return {paths.reduced_frame(frame(*name)) for name in names}


def bias(night, camera, size="200x100"):
    return f"combined/{night}/bias_{camera}_{size}.fits"


def page_products(night, *names):
    return {f"nights/{night}/{name}" for name in names}


def products_of_night(night, *cameras):
    """The products of a night's biases of some cameras, without the picture of frames."""
    return {bias(night, camera) for camera in cameras} | page_products(
        night, "bias_quality.png", "report.html"
    )


def fill(sandbox, night, cameras=("alpha", "beta"), **options):
    for camera in cameras:
        for number in range(4):
            kind = "FLAT" if number == 3 else "BIAS"
            seed = [int(night[-2:]), len(camera), number]
            sandbox.put(
                frame(night, camera, number), seed, kind=kind, camera=camera, night=night, **options
            )


CONFIG = {"bias": {"minimum": 2}}


def archive(folder, **options):
    """Two nights of two cameras, and all that is made of them."""
    made = Sandbox(folder, dict(CONFIG))
    for night in (FIRST, SECOND):
        fill(made, night, **options)
    made.run()
    return made


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        return archive(tmp_path_factory.mktemp("original") / "box")


@pytest.fixture
def sandbox(original_archive, tmp_path, monkeypatch):
    """A copy of the archive and its results, with nothing to do."""
    return copy_with_stand_ins(original_archive, tmp_path / "box", monkeypatch)


def nights_of(products):
    """The nights of reduced frames: the list of a night's small pictures follows its frames."""
    return {name.split("/")[1] for name in products if name.startswith("reduced/")}


def small(products):
    """The small pictures of reduced frames."""
    return {
        paths.small_picture(name.split("/")[1], name)
        for name in products
        if name.startswith("reduced/")
    }


def run_and_check(sandbox, expected, *, lost=(), moved=(), unmade=(), run=None, lists=None):
    """Run; assert that exactly the expected jobs ran and wrote, and that nothing is to do then.

    The list of a night's small pictures is expected if one of its frames is made or lost; in other
    cases ``lists`` are the nights whose list is expected. Returns the outcome of the run, and the
    lines of the plan that `snakemake -n` would have written before it.
    """
    before = snapshot(sandbox.results)
    drawn = small(set(expected) - set(unmade))
    nights = nights_of([*expected, *lost]) if lists is None else lists
    lost = {*lost, *(small([*lost, *unmade]) & set(before.stamps))}
    expected = {*expected, *(f"nights/{night}/{paths.SHEET_FILE}" for night in nights)}
    dry = sandbox.plan().plan
    outcome = (run or sandbox.run)()
    after = snapshot(sandbox.results)
    assert sorted(outcome.jobs) == sorted(expected)
    assert sorted(dry.jobs) == sorted(expected)
    written = {name for name in before.changed_names(after) if name != "inventory.csv"}
    assert written == (set(expected) - set(unmade)) | set(moved) | drawn
    assert set(before.lost(after)) == set(lost)
    assert list(sandbox.plan().plan.jobs) == []
    return outcome, "\n".join(lines_on_plan(dry))


def check_from_scratch(sandbox):
    clean = sandbox.clean()
    clean.run(cores=1)
    assert products(clean.results) == products(sandbox.results)


def check_as_at_first(sandbox, original_archive):
    """Frames and settings are again those of the archive: its products are of one run."""
    assert products(original_archive.raw) == products(sandbox.raw)
    given, first = sandbox.values(), original_archive.values()
    folders = ("raw", "results", "cameras")
    assert given == first | {name: given[name] for name in folders}
    assert sandbox.profiles == original_archive.profiles
    assert products(original_archive.results) == products(sandbox.results)


# -- nothing changed -------------------------------------------------------------------------------


def test_nothing_changed(sandbox, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file was opened for its pixels")

    monkeypatch.setattr(raw_files, "open_raw", refuse)
    monkeypatch.setattr(checksum, "datasum_and_key", refuse)
    before = snapshot(sandbox.results, has_notes=True)
    _, output = run_and_check(sandbox, [])
    after = snapshot(sandbox.results, has_notes=True)
    changed = set(before.changed_names(after))
    assert changed == {".ccdflow/lock"}
    assert output == "nothing to do: 16 frames reduced and up to date"


def test_raw_touched(sandbox):
    for path in sandbox.raw.rglob("*.gz"):
        os.utime(path)
    run_and_check(sandbox, [])


def test_raw_copied_elsewhere_and_back(sandbox):
    elsewhere = sandbox.root / "elsewhere"
    shutil.copytree(sandbox.raw, elsewhere, copy_function=shutil.copy)
    shutil.rmtree(sandbox.raw)
    elsewhere.rename(sandbox.raw)
    run_and_check(sandbox, [])


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_results_moved(sandbox, how):
    other = Sandbox(sandbox.root / "other disk", dict(CONFIG))
    for name in ("raw", "results"):
        target = getattr(other, name)
        shutil.rmtree(target, ignore_errors=True)
        if how == "renamed":
            getattr(sandbox, name).rename(target)
        else:
            shutil.copytree(getattr(sandbox, name), target, copy_function=shutil.copy)
    run_and_check(other, [])


# -- raw frames come and change --------------------------------------------------------------------


def test_new_night(sandbox):
    fill(sandbox, THIRD)
    frames = [(THIRD, camera, n) for camera in ("alpha", "beta") for n in range(4)]
    expected = reduced_frames(*frames) | products_of_night(THIRD, "alpha", "beta") | TABLES
    _, output = run_and_check(sandbox, expected | page_products(THIRD, "before_after.png"))
    assert output.startswith(f"8 of 24 frames to reduce: 8 new; night {THIRD}\n2 combined biases")
    check_from_scratch(sandbox)


def test_late_frame_in_an_old_night(sandbox):
    sandbox.put(frame(FIRST, "alpha", 9), 9, camera="alpha", night=FIRST)
    # The second night's page shows the level of the nights before it.
    later = page_products(SECOND, "report.html")
    _, output = run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 9)) | products_of_night(FIRST, "alpha") | later | TABLES,
    )
    assert output.splitlines()[:2] == [
        f"1 of 17 frames to reduce: 1 new; night {FIRST}",
        f"1 combined bias to make: 1 its frames changed; night {FIRST}",
    ]
    check_from_scratch(sandbox)


def test_a_late_flat_makes_only_its_page_and_tables_again(sandbox):
    sandbox.put(frame(SECOND, "beta", 9), 9, kind="FLAT", camera="beta", night=SECOND)
    run_and_check(
        sandbox,
        reduced_frames((SECOND, "beta", 9))
        | page_products(SECOND, "report.html")
        | {"report.html"},
    )


@pytest.mark.parametrize("times", ["new", "kept"])
def test_raw_content_changed(sandbox, times):
    path = sandbox.raw / frame(SECOND, "alpha", 1)
    old = path.stat()
    sandbox.put(frame(SECOND, "alpha", 1), 99, camera="alpha", night=SECOND)
    if times == "kept":
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    _, output = run_and_check(
        sandbox,
        reduced_frames((SECOND, "alpha", 1)) | products_of_night(SECOND, "alpha") | TABLES,
    )
    assert output.startswith(f"1 of 16 frames to reduce: 1 raw changed; night {SECOND}\n")
    check_from_scratch(sandbox)


# -- settings --------------------------------------------------------------------------------------

ALPHAS = [(night, "alpha", number) for night in (FIRST, SECOND) for number in range(4)]
ALL_FRAMES = ALPHAS + [(night, "beta", number) for night, _, number in ALPHAS]
PAGES = {
    f"nights/{night}/{name}"
    for night in (FIRST, SECOND)
    for name in ("before_after.png", "bias_quality.png", "report.html")
}


def products_of_camera(camera, size="200x100"):
    names = [(night, camera, number) for night in (FIRST, SECOND) for number in range(4)]
    return reduced_frames(*names) | {bias(night, camera, size) for night in (FIRST, SECOND)}


@pytest.mark.parametrize(
    "change", [{"statistic": "mean"}, {"dtype": "float64"}, {"model": "spline"}]
)
def test_camera_recipe_edited(sandbox, change):
    sandbox.profile("alpha", reduction=change)
    _, output = run_and_check(sandbox, products_of_camera("alpha") | PAGES | TABLES)
    assert f"8 of 16 frames to reduce: 8 camera alpha edited; nights {FIRST}, {SECOND}" in output
    check_from_scratch(sandbox)


def test_camera_region_edited(sandbox):
    regions = {"data": {"python": "[:, 4:-8]"}, "overscan": {"python": "[:, -6:]"}}
    sandbox.profile("alpha", amplifiers=[{"name": "A", **regions}])
    # The combined biases get another name, for they have another size.
    lost = {bias(night, "alpha") for night in (FIRST, SECOND)}
    _, output = run_and_check(
        sandbox,
        products_of_camera("alpha", "196x100") | PAGES | TABLES,
        moved={f"set_aside/{product}" for product in lost},
        lost=lost,
    )
    assert "8 camera alpha edited" in output
    assert f"{bias(FIRST, 'alpha')} to be moved into set_aside/" in output
    check_from_scratch(sandbox)


def test_default_recipe_edited(sandbox):
    # The profile of beta has a statistic, so the default does not concern its frames.
    sandbox.profile("beta", reduction={"statistic": "median"})
    run_and_check(sandbox, [])
    sandbox.config["reduction"] = {"statistic": "mean"}
    run_and_check(sandbox, products_of_camera("alpha") | PAGES | TABLES)


def test_settings_that_change_no_pixel(sandbox):
    before = dict(sandbox.config)
    for change in (
        {"strict": True},
        {"progress": "none"},
        {"frames_per_batch": 7},
        {"limits": {"settle": 5, "frame_memory": 100}},
        {"limits": {"settle": 0, "frame_memory": 50, "combine_memory": 500}},
        {"reduction": {"order": 7}},
    ):
        sandbox.config = before | change
        run_and_check(sandbox, [])


def test_thread_count(sandbox):
    run_and_check(sandbox, [], run=lambda: sandbox.run(cores=1))
    run_and_check(sandbox, [], run=lambda: sandbox.run(cores=7))


def test_camera_text_that_changes_no_pixel(sandbox):
    sandbox.profile(
        "alpha", description="the blue one", types=[{"imagetyp": "ZERO", "type": "bias"}]
    )
    with (sandbox.cameras / "beta.yaml").open("a") as file:
        file.write("# a comment\n")
    (sandbox.cameras / "gamma.yaml").write_text("recognise: {INSTRUME: gamma}\n")
    run_and_check(sandbox, [])


def test_an_epoch_that_changes_no_map_of_a_shutter_but_its_line(tmp_path, monkeypatch):
    """The line of a map names the epoch, on which the map itself does not depend."""
    use_stand_ins(monkeypatch)
    enabled = {"enabled": True, "minimum": 2}
    config = {**CONFIG, "detector": {"enabled": True}, "dark": enabled, "flat": enabled}
    sandbox = Sandbox(tmp_path / "box", config)
    frames = [("BIAS", 0.0, 0), ("BIAS", 0.0, 0), ("DARK", 5.0, 300), ("DARK", 5.0, 300)]
    frames += [("FLAT", seconds, 20000) for seconds in (2.0, 5.0, 5.0)]
    for number, (kind, seconds, light) in enumerate(frames):
        sandbox.put(
            frame(FIRST, "beta", number), number, kind=kind, camera="beta", exptime=seconds,
            light=light, size=SMALL_FRAME,
        )  # fmt: skip
    sandbox.run()
    report = sandbox.results / f"nights/{FIRST}/report.html"
    assert 'id="shutter"' in report.read_text()
    overview = load_ledger(sandbox.results)["report.html"].basis["shutter"]
    sandbox.profile("beta", epochs=[FIRST])
    old, new = (f"detector/beta/bad_pixels_{name}_40x24.fits" for name in ("all", FIRST))
    pages = {"report.html", f"nights/{FIRST}/report.html"}
    run_and_check(
        sandbox, {new, "events.csv", *pages}, lost={old}, moved={f"set_aside/{old}"}, lists=()
    )  # fmt: skip
    assert "beta 40x24 from" in report.read_text()
    assert load_ledger(sandbox.results)["report.html"].basis["shutter"] != overview
    check_from_scratch(sandbox)


def test_colour_of_a_picture(sandbox, monkeypatch):
    monkeypatch.setattr(frame_pictures, "PICTURES_VERSION", frame_pictures.PICTURES_VERSION + 1)
    run_and_check(sandbox, PAGES)


def test_number_of_pictures(sandbox):
    sandbox.config["pictures"] = {"per_type": "all"}
    drawn = {
        f"nights/{n}/{name}"
        for n in (FIRST, SECOND)
        for name in ("before_after.png", "report.html")
    }
    run_and_check(sandbox, drawn)


def test_settings_of_combining(sandbox):
    sandbox.config["bias"] = {"minimum": 2, "clip": 4.0}
    combined = {bias(night, camera) for night in (FIRST, SECOND) for camera in ("alpha", "beta")}
    shown_too = {
        f"nights/{n}/{name}"
        for n in (FIRST, SECOND)
        for name in ("bias_quality.png", "report.html")
    }
    _, output = run_and_check(sandbox, combined | shown_too | TABLES)
    assert output.startswith("4 combined biases to make: 4 settings changed; nights")


def test_fewer_types(sandbox, original_archive):
    """Products not asked for are not touched, and are current when they are asked for again."""
    sandbox.config["types"] = ["flat"]
    left = {name for name in PAGES if not name.endswith("bias_quality.png")}
    lost = {f"nights/{night}/bias_quality.png" for night in (FIRST, SECOND)}
    nights = (FIRST, SECOND)
    biases = small(reduced_frames(*(name for name in ALL_FRAMES if name[2] != 3)))
    run_and_check(sandbox, left | TABLES, lost=lost | biases, lists=nights)
    sandbox.config["types"] = "all"
    # No frame is reduced for its small picture.
    run_and_check(sandbox, PAGES | TABLES, moved=biases, lists=nights)
    check_as_at_first(sandbox, original_archive)


def test_no_combining(sandbox, original_archive):
    sandbox.config["bias"] = {"enabled": False}
    lost = {f"nights/{night}/bias_quality.png" for night in (FIRST, SECOND)}
    shown_now = {f"nights/{n}/report.html" for n in (FIRST, SECOND)} | {paths.REPORT_PAGE}
    outcome, _ = run_and_check(sandbox, shown_now, lost=lost)
    assert "no combined bias" not in "".join(outcome.lines)
    sandbox.config["bias"] = CONFIG["bias"]
    pages = {name for name in PAGES if not name.endswith("after.png")}
    run_and_check(sandbox, pages | {paths.REPORT_PAGE})
    check_as_at_first(sandbox, original_archive)


def test_release_with_new_arithmetic(sandbox, monkeypatch):
    monkeypatch.setattr(reduction, "PIXELS_VERSION", reduction.PIXELS_VERSION + 1)
    _, output = run_and_check(
        sandbox, products_of_camera("alpha") | products_of_camera("beta") | PAGES | TABLES
    )
    assert output.startswith("16 of 16 frames to reduce: 16 new arithmetic; nights")


def test_release_with_a_new_header(sandbox, monkeypatch):
    """No pixel is made again. `-R` writes the headers of frames; a line offers those of masters."""
    monkeypatch.setattr(reduction, "HEADER_VERSION", reduction.HEADER_VERSION + 1)
    _, output = run_and_check(sandbox, [])
    assert "16 frames with a header of an older version: `-R reduce` writes it anew" in output
    frames = {paths.reduced_frame(file) for file in sandbox.plan().context.store.rows}
    outcome = sandbox.run(forced={"frame"})
    assert set(outcome.jobs) == frames
    plan = sandbox.plan().plan
    combined = {bias(night, camera) for night in (FIRST, SECOND) for camera in ("alpha", "beta")}
    assert plan.jobs == {}
    assert {kind: set(names) for kind, names in plan.older_headers.items()} == {"bias": combined}


def test_release_without_new_arithmetic(sandbox, monkeypatch):
    monkeypatch.setattr("ccdflow.__version__", "99.0")
    run_and_check(sandbox, [])


# -- raw frames go ---------------------------------------------------------------------------------


def test_raw_deleted(sandbox):
    gone = frame(FIRST, "alpha", 0)
    (sandbox.raw / gone).unlink()
    outcome, output = run_and_check(sandbox, [])
    assert (
        outcome.lines[0]
        == f"raw file missing: {gone}: it was deleted or moved; its product is kept"
    )
    assert outcome.lines[-1].endswith(
        "1 raw file missing; table: " + str(sandbox.results / "inventory.csv")
    )
    assert "beside them: 1 raw file missing" in output
    table = read_inventory(sandbox.results / "inventory.csv").set_index("file")
    assert table.loc[gone, "status"] == "raw file missing"
    assert table.loc[gone, "reason"] == "it was deleted or moved; its product is kept"
    # The rest of its night goes on, and it is still a member of its group.
    sandbox.put(frame(FIRST, "alpha", 8), 8, camera="alpha", night=FIRST)
    later = page_products(SECOND, "report.html")
    run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 8)) | products_of_night(FIRST, "alpha") | later | TABLES,
    )
    combined = sandbox.results / bias(FIRST, "alpha")
    assert f"'{gone}'".encode() in combined.read_bytes()
    # It was never away, as far as products are concerned.
    sandbox.put(gone, [1, 5, 0], camera="alpha", night=FIRST)
    run_and_check(sandbox, [])
    check_from_scratch(sandbox)


def test_raw_deleted_and_its_product_too(sandbox):
    (sandbox.raw / frame(FIRST, "alpha", 1)).unlink()
    product = paths.reduced_frame(frame(FIRST, "alpha", 1))
    (sandbox.results / product).unlink()
    lost = small([product])
    expected = products_of_night(FIRST, "alpha") | page_products(SECOND, "report.html") | TABLES
    run_and_check(sandbox, expected, lost=lost, lists={FIRST})
    check_from_scratch(sandbox)


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_raw_deleted_and_its_product_damaged(sandbox, original_archive, how):
    """The product cannot be made again: it is moved away, and its group goes on without it."""
    gone = frame(FIRST, "alpha", 1)
    kept = (sandbox.raw / gone).read_bytes()
    (sandbox.raw / gone).unlink()
    run_and_check(sandbox, [])
    product = sandbox.results / paths.reduced_frame(gone)
    content = flip_bit(product.read_bytes())
    product.write_bytes(content if how == "flipped" else content[: len(content) // 2])
    _, output = run_and_check(
        sandbox,
        products_of_night(FIRST, "alpha") | page_products(SECOND, "report.html") | TABLES,
        lost={paths.reduced_frame(gone)},
        moved={paths.set_aside(paths.reduced_frame(gone))},
    )
    moved = f"{paths.reduced_frame(gone)} to be moved into set_aside/"
    assert f"{moved}: raw file missing, and the product is damaged" in output
    assert (sandbox.results / paths.set_aside(paths.reduced_frame(gone))).is_file()
    assert f"'{gone}'".encode() not in (sandbox.results / bias(FIRST, "alpha")).read_bytes()
    run_and_check(sandbox, [])
    (sandbox.raw / gone).write_bytes(kept)
    run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 1))
        | products_of_night(FIRST, "alpha")
        | page_products(SECOND, "report.html")
        | TABLES,
    )
    shutil.rmtree(sandbox.results / "set_aside")
    check_as_at_first(sandbox, original_archive)


def test_raw_deleted_and_its_notes_lost(sandbox):
    """The product stays where it is: it may be all that is left."""
    gone = frame(FIRST, "alpha", 1)
    (sandbox.raw / gone).unlink()
    run_and_check(sandbox, [])
    (sandbox.results / paths.HEADERS).unlink()
    product = sandbox.results / paths.reduced_frame(gone)
    before = product.read_bytes()
    sandbox.run()
    assert product.read_bytes() == before
    assert sandbox.run().jobs == []


def test_folder_of_products_behind_a_link(sandbox, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (sandbox.results / "reduced" / FIRST).rename(elsewhere)
    (sandbox.results / "reduced" / FIRST).symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(sandbox.results / "reduced")
    run_and_check(sandbox, [])


def test_raw_deleted_and_its_camera_edited(sandbox):
    """A product that cannot be made again stays, and is not combined with new ones."""
    gone = frame(FIRST, "alpha", 0)
    (sandbox.raw / gone).unlink()
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    kept = {paths.reduced_frame(gone)}
    run_and_check(sandbox, (products_of_camera("alpha") - kept) | PAGES | TABLES)
    assert f"'{gone}'".encode() not in (sandbox.results / bias(FIRST, "alpha")).read_bytes()
    assert (sandbox.results / paths.reduced_frame(gone)).exists()


def test_raw_of_a_whole_night_deleted(sandbox):
    """The night stays as it is, even when its camera is edited."""
    shutil.rmtree(sandbox.raw / FIRST)
    run_and_check(sandbox, [])
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    of_second = {name for name in products_of_camera("alpha") | PAGES if SECOND in name}
    run_and_check(sandbox, of_second | TABLES)


def test_raw_folder_not_there(sandbox):
    """A disk that is not mounted is no archive whose frames are gone."""
    before = snapshot(sandbox.results)
    sandbox.raw.rename(sandbox.root / "away")
    with pytest.raises(UserError, match=r"raw: there is no such folder"):
        sandbox.run()
    sandbox.raw.mkdir()
    with pytest.raises(UserError, match=r"raw: the folder holds no raw frame"):
        sandbox.run()
    assert snapshot(sandbox.results) == before


def test_raw_renamed(sandbox):
    """One raw file is gone and one is new; the frame is not averaged twice."""
    old, new = frame(FIRST, "alpha", 0), frame(FIRST, "alpha", 7)
    (sandbox.raw / old).rename(sandbox.raw / new)
    later = page_products(SECOND, "report.html")
    picture = page_products(FIRST, "before_after.png")
    run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 7))
        | products_of_night(FIRST, "alpha")
        | picture
        | later
        | TABLES,
        lost=[paths.reduced_frame(old)],
        moved=[paths.set_aside(paths.reduced_frame(old))],
    )
    header = (sandbox.results / bias(FIRST, "alpha")).read_bytes()
    assert f"'{new}'".encode() in header
    assert f"'{old}'".encode() not in header
    assert not (sandbox.results / paths.reduced_frame(old)).exists()
    assert (sandbox.results / paths.set_aside(paths.reduced_frame(old))).exists()


# -- products --------------------------------------------------------------------------------------

PRODUCTS = [
    paths.reduced_frame(frame(FIRST, "alpha", 1)),
    bias(FIRST, "alpha"),
    *(f"nights/{FIRST}/{name}" for name in ("before_after.png", "bias_quality.png", "report.html")),
    "bias_quality.csv",
    "report.html",
]


def test_product_deleted(sandbox):
    for product in PRODUCTS:
        content = (sandbox.results / product).read_bytes()
        (sandbox.results / product).unlink()
        _, output = run_and_check(sandbox, [product], lists=())
        assert (sandbox.results / product).read_bytes() == content
        assert "1 product missing" in output


@pytest.mark.parametrize("how", ["bit", "cut", "empty", "times kept"])
def test_product_damaged(sandbox, how):
    for product in PRODUCTS:
        path = sandbox.results / product
        old, content = path.stat(), path.read_bytes()
        bad = bytearray(content)
        bad[len(bad) // 3] ^= 1
        path.write_bytes({"cut": bad[: len(bad) // 2], "empty": b""}.get(how, bad))
        if how == "times kept":
            os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        _, output = run_and_check(sandbox, [product], lists=())
        assert path.read_bytes() == content
        assert "1 product damaged" in output


def test_small_pictures_deleted_or_damaged(sandbox):
    """Pictures come back by the night's list alone: no frame and no page is made again."""
    folder = sandbox.results / "nights" / FIRST / paths.SMALL_PICTURES_FOLDER
    sheet = f"nights/{FIRST}/{paths.SHEET_FILE}"
    before = products(sandbox.results)
    for how in ("one", "cut", "foreign", "all", "list"):
        one, *_ = sorted(folder.iterdir())
        if how == "one":
            one.unlink()
        elif how == "cut":
            one.with_suffix(".part").write_bytes(one.read_bytes()[:-20])
            one.with_suffix(".part").replace(one)
        elif how == "foreign":
            (folder / "reduced_gone.fits@4a717244.png").write_bytes(b"else")
        elif how == "all":
            shutil.rmtree(folder)
        else:
            (sandbox.results / sheet).unlink()
        assert list(sandbox.plan().plan.jobs) == [sheet], how
        assert sandbox.run().jobs == [sheet]
        assert products(sandbox.results) == before
        assert sandbox.run().jobs == []


def test_products_touched(sandbox):
    for product in PRODUCTS:
        os.utime(sandbox.results / product)
    run_and_check(sandbox, [])


def test_product_of_another_setting_put_back(sandbox):
    """A whole file with the right pixels under the right name, but of another making."""
    product = paths.reduced_frame(frame(FIRST, "alpha", 3))
    old = (sandbox.results / product).read_bytes()
    # The gain stands in the header; no pixel depends on it.
    sandbox.profile(
        "alpha", amplifiers=[{**sandbox.profiles["alpha"]["amplifiers"][0], "gain": 1.6}]
    )
    sandbox.run()
    new = (sandbox.results / product).read_bytes()
    assert new[-4 * 200 * 100 :] == old[-4 * 200 * 100 :]
    assert new != old
    (sandbox.results / product).write_bytes(old)
    run_and_check(sandbox, [product], lists=())
    assert (sandbox.results / product).read_bytes() == new


@pytest.mark.parametrize("name", [paths.LEDGER, paths.HEADERS, paths.INVENTORY])
def test_own_notes_lost(sandbox, name):
    """Lost notes cost time, never a product, and are never believed when damaged."""
    before = products(sandbox.results)
    everything = {n for n in before if "/frames/" not in n} - {"inventory.csv"}
    path = sandbox.results / name
    copy = sandbox.results / paths.COPIES_OF_FIRST_LINES.get(name, "no copy")
    for how in ("lost", "cut", "bit", "zeros"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if how == "lost":
            path.unlink()
        elif how == "zeros":
            path.write_bytes(bytes(len(content)))
            copy.unlink(missing_ok=True)
        else:
            path.write_bytes(content[: len(content) // 2] if how == "cut" else content)
        lines = lines_on_plan(sandbox.plan().plan)
        named = [line for line in lines if f"{path}: " in line and "on finished products" in line]
        # The line tells why thousands of frames are new, and that a copy of the notes would help.
        assert len(named) == (name == paths.LEDGER and how != "lost"), how
        jobs = set(sandbox.run().jobs)
        if name != paths.LEDGER:
            assert not jobs, how
        elif how in ("lost", "zeros"):
            assert jobs == everything, how
        else:
            # Sound lines count: `test_damaged_notes.py` has the exact products.
            assert 0 < len(jobs) < len(everything), how
        assert products(sandbox.results) == before
        assert sandbox.run().jobs == []


# -- frames that are bad ---------------------------------------------------------------------------


def flip_bit(content, place=0.5):
    content = bytearray(content)
    content[int(len(content) * place)] ^= 16
    return bytes(content)


def test_raw_gone_bad(sandbox):
    bad = frame(FIRST, "alpha", 1)
    product = paths.reduced_frame(bad)
    was = (sandbox.results / product).read_bytes()
    path = sandbox.raw / bad
    path.write_bytes(flip_bit(path.read_bytes()))
    outcome, output = run_and_check(
        sandbox,
        products_of_night(FIRST, "alpha") | page_products(SECOND, "report.html") | TABLES,
        moved={f"set_aside/{product}"},
        lost={product},
    )
    assert f"{product} to be moved into set_aside/: gzip stream is damaged" in output
    assert outcome.lines[0].startswith(f"set aside: {bad}: gzip stream is damaged")
    assert outcome.status == 0
    assert (sandbox.results / f"set_aside/{product}").read_bytes() == was
    header = (sandbox.results / bias(FIRST, "alpha")).read_bytes()
    assert f"'{bad}'".encode() not in header
    check_from_scratch(sandbox)


def test_bad_file_replaced_by_a_good_one(sandbox, original_archive):
    bad = frame(FIRST, "alpha", 1)
    good = (sandbox.raw / bad).read_bytes()
    for content in (flip_bit(good), good[: len(good) // 2], b"", b"not FITS at all"):
        sandbox.write(bad, content)
        outcome = sandbox.run()
        assert outcome.lines[0].startswith(f"set aside: {bad}: "), content[:20]
    sandbox.write(bad, good)
    later = page_products(SECOND, "report.html")
    run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 1)) | products_of_night(FIRST, "alpha") | later | TABLES,
    )
    check_as_at_first(sandbox, original_archive)


def test_new_frame_found_bad_while_inflated(sandbox):
    """The night is finished without the frame in the same run."""
    # The header is in the first 8192 bytes, the damage is not.
    content = gzip.compress(frame_bytes(7, camera="alpha", night=FIRST), 1, mtime=0)
    bad = frame(FIRST, "alpha", 7)
    sandbox.write(bad, flip_bit(content, 0.95))
    later = page_products(SECOND, "report.html")
    product = paths.reduced_frame(bad)
    outcome, _ = run_and_check(
        sandbox,
        {product} | products_of_night(FIRST, "alpha") | later | TABLES,
        unmade={product},
    )
    assert outcome.lines[0].startswith(f"set aside: {bad}: gzip stream is damaged")
    assert ", 1 set aside; table: " in outcome.lines[-1]
    assert f"'{bad}'".encode() not in (sandbox.results / bias(FIRST, "alpha")).read_bytes()
    table = read_inventory(sandbox.results / "inventory.csv").set_index("file")
    assert table.loc[bad, "status"] == "set aside"
    assert table.loc[bad, "reason"].startswith("gzip stream is damaged")
    check_from_scratch(sandbox)


def test_frame_still_being_written(sandbox):
    """An unfinished file is no damaged one, and costs nothing; when it is whole it is reduced."""
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    new = frame(FIRST, "alpha", 7)
    content = gzip.compress(frame_bytes(7, camera="alpha", night=FIRST), 1, mtime=0)
    for size in (0, 10, len(content) // 2, len(content) - 1):
        sandbox.write(new, content[:size])
        outcome, _ = run_and_check(sandbox, [])
        assert outcome.lines[0].startswith(f"left for the next run: {new}: still being written: ")
        assert outcome.status == 0
    sandbox.write(new, content)
    later = page_products(SECOND, "report.html")
    run_and_check(
        sandbox,
        reduced_frames((FIRST, "alpha", 7)) | products_of_night(FIRST, "alpha") | later | TABLES,
    )


def test_a_cut_file_with_a_wrong_time_is_damaged(sandbox):
    """A cut file from the future, or from long ago, is a damaged one."""
    sandbox.config["limits"] = {"settle": 1000, "frame_memory": 50}
    bad = frame(FIRST, "beta", 3)
    sandbox.write(bad, (sandbox.raw / bad).read_bytes()[:-20])
    for shift in (-1e6, 1e6):
        now = (sandbox.raw / bad).stat().st_ctime
        os.utime(sandbox.raw / bad, (now + shift, now + shift))
        outcome = sandbox.run()
        assert outcome.lines[0].startswith(f"set aside: {bad}: gzip stream ends early")


def test_strict(sandbox):
    """A frame that was set aside makes each run a failure, also one with nothing to do."""
    sandbox.config["strict"] = True
    assert sandbox.run().status == 0
    sandbox.write(frame(FIRST, "alpha", 1), b"no")
    assert sandbox.run().status == 1
    outcome = sandbox.run()
    assert (outcome.jobs, outcome.status) == ([], 1)
    sandbox.config["strict"] = False
    assert sandbox.run().status == 0


# -- the same, by Snakemake ------------------------------------------------------------------------


def keep_compiled(checkout):
    """Give compiled modules the times of their copied sources: else two runs compile for 5 s."""
    for source in checkout.rglob("*.py"):
        compiled = Path(cache_from_source(source))
        if compiled.is_file():
            content = bytearray(compiled.read_bytes())
            # PEP 552: magic number, flags, the source's time and size, 4 bytes each.
            content[8:12] = (int(source.stat().st_mtime) & 0xFFFFFFFF).to_bytes(4, "little")
            compiled.write_bytes(content)


def test_the_rows_by_snakemake(tmp_path):
    """The rows of the table as a user runs them, one after the other on one results folder."""
    sandbox = Sandbox(tmp_path / "box", dict(CONFIG))
    for night in (FIRST, SECOND):
        fill(sandbox, night, size=LARGE_FRAME)
    assert min(path.stat().st_size for path in sandbox.raw.rglob("*.gz")) > 1_000_000

    def run_snakemake():
        outcome = sandbox.snakemake()
        assert outcome.status == 0, outcome.output
        return outcome

    def resize_products(products):
        return {product.replace("200x100", "1632x400") for product in products}

    everything = products_of_camera("alpha") | products_of_camera("beta") | PAGES | TABLES
    run_and_check(sandbox, resize_products(everything), run=run_snakemake)

    # Raw files touched, all moved to another path, and the code checked out anew, there.
    for path in sandbox.raw.rglob("*.gz"):
        os.utime(path)
    sandbox.root = sandbox.root.rename(tmp_path / "other path")
    shutil.rmtree(sandbox.root / "work")
    sandbox.project = tmp_path / "checkout"
    for name in ("rules", "scripts", "config", "profiles"):
        shutil.copytree(ROOT / name, sandbox.project / name, copy_function=shutil.copy)
    shutil.copy(ROOT / "Snakefile", sandbox.project)
    keep_compiled(sandbox.project)
    state = snapshot(sandbox.results, has_notes=True)
    dry = sandbox.snakemake("-n")
    assert dry.lines[0] == "nothing to do: 16 frames reduced and up to date"
    assert snapshot(sandbox.results, has_notes=True) == state, "-n wrote something"
    outcome, _ = run_and_check(sandbox, [], run=run_snakemake)
    assert outcome.lines[0] == "nothing to do: 16 frames reduced and up to date"
    # From here on by the checkout of the tests: its modules are imported already.
    sandbox.project = ROOT

    # A late frame in one night, another one's content changed, its times kept.
    sandbox.put(frame(FIRST, "alpha", 9), 9, camera="alpha", night=FIRST, size=LARGE_FRAME)
    old = (sandbox.raw / frame(SECOND, "beta", 1)).stat()
    sandbox.put(frame(SECOND, "beta", 1), 99, camera="beta", night=SECOND, size=LARGE_FRAME)
    os.utime(sandbox.raw / frame(SECOND, "beta", 1), ns=(old.st_atime_ns, old.st_mtime_ns))
    made = reduced_frames((FIRST, "alpha", 9), (SECOND, "beta", 1)) | TABLES
    made |= products_of_night(FIRST, "alpha") | products_of_night(SECOND, "beta")
    outcome, output = run_and_check(sandbox, resize_products(made), run=run_snakemake)
    assert output.startswith(
        f"2 of 17 frames to reduce: 1 new, night {FIRST}; 1 raw changed, night {SECOND}\n"
    )
    assert outcome.lines[: len(output.splitlines())] == output.splitlines()

    # One camera edited.
    sandbox.profile("beta", reduction={"statistic": "mean"})
    run_and_check(
        sandbox, resize_products(products_of_camera("beta") | PAGES | TABLES), run=run_snakemake
    )

    # A raw file deleted; products deleted and damaged.
    (sandbox.raw / frame(FIRST, "beta", 0)).unlink()
    lost = paths.reduced_frame(frame(SECOND, "alpha", 2))
    (sandbox.results / lost).unlink()
    (damaged,) = resize_products([bias(FIRST, "beta")])
    content = bytearray((sandbox.results / damaged).read_bytes())
    content[10000] ^= 1
    (sandbox.results / damaged).write_bytes(content)
    outcome, _ = run_and_check(sandbox, {lost, damaged}, run=run_snakemake, lists=())
    assert (
        f"raw file missing: {frame(FIRST, 'beta', 0)}: it was deleted or moved; its product is kept"
        in (outcome.lines)
    )

    # A new frame that is bad, found while it is inflated; that is a failure if one wants it so.
    bad = frame(SECOND, "alpha", 8)
    good = sandbox.put(bad, 8, camera="alpha", night=SECOND, size=LARGE_FRAME)
    sandbox.write(bad, flip_bit(good))
    product = paths.reduced_frame(bad)
    made = {product} | products_of_night(SECOND, "alpha") | TABLES
    outcome, _ = run_and_check(sandbox, resize_products(made), unmade={product}, run=run_snakemake)
    assert any(line.startswith(f"set aside: {bad}: gzip stream") for line in outcome.lines)
    strict = sandbox.snakemake(config=["strict=true"])
    assert strict.status == 1
    assert strict.jobs == []
    assert any(line.startswith(f"set aside: {bad}: gzip stream") for line in strict.lines)

    # And is replaced by a good one.
    sandbox.write(bad, good)
    run_and_check(sandbox, resize_products(made), run=run_snakemake)
