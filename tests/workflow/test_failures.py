"""Jobs that raise what nobody foresaw: they cost their own products, and nothing else."""

from __future__ import annotations

import csv
import shutil
from collections import Counter

import pytest
from sandbox import SMALL_FRAME, Sandbox, frame_bytes, products
from stand_ins import use_stand_ins

from ccdflow.run import ledger

NIGHTS = [f"2024-03-{day:02d}" for day in range(1, 7)]
# Four biases of each camera, and as many flats of both.
FRAMES, BIASES = 12, 8
TINY_FRAME = (24, 40, 8)

# Errors of a maker, and the remedies that fit them.
ERRORS = {
    "ValueError('no such thing')": ("ValueError: no such thing", "report it with its log"),
    "MemoryError()": ("MemoryError", "fewer --cores"),
    "IsADirectoryError(21, 'Is a directory')": ("Is a directory (EISDIR)", "in the way: move it"),
    "PermissionError(13, 'Permission denied')": ("Permission denied (EACCES)", "the permissions"),
    "OSError(5, 'Input/output error')": ("Input/output error (EIO)", "check the disk"),
    "GeneratorExit()": ("GeneratorExit", "report it with its log"),
    "SystemExit(3)": ("SystemExit: 3", "report it with its log"),
    "UnicodeDecodeError('ascii', b'x', 0, 1, 'odd')": ("UnicodeDecodeError", "report it"),
}


def fill(sandbox, nights=NIGHTS, frames=FRAMES):
    """Put nights of tiny frames into a sandbox: four biases of each camera, the rest flats."""
    for night in nights:
        flats = [
            frame_bytes(number, kind="FLAT", camera=camera, size=TINY_FRAME, night=night)
            for number, camera in enumerate(("alpha", "beta"))
        ]
        for number in range(frames):
            content = flats[number % 2]
            if number < BIASES:
                seed, camera = [int(night[-2:]), number], ("alpha", "beta")[number % 2]
                content = frame_bytes(seed, camera=camera, size=TINY_FRAME, night=night)
            sandbox.write(f"{night}/{number:03d}.fits", content)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Six nights of tiny frames, and the products of a run to which nothing happened."""
    sandbox = Sandbox(tmp_path_factory.mktemp("archive") / "box", {"bias": {"minimum": 3}})
    fill(sandbox)
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        assert sandbox.run().status == 0
    return sandbox, products(sandbox.results)


@pytest.fixture
def sandbox(raw, tmp_path):
    """A sandbox of its own on the same raw frames."""
    made = Sandbox(tmp_path / "box", {"bias": {"minimum": 3}})
    shutil.rmtree(made.raw)
    made.raw.symlink_to(raw[0].raw)
    return made


def frame(night, number):
    return f"reduced/{NIGHTS[night]}/{number:03d}.fits"


def failures(run):
    return [line for line in run.lines if line.startswith("failed: ")]


@pytest.mark.parametrize("cores", [2, pytest.param(8, marks=pytest.mark.torture)])
def test_frames_that_fail_cost_no_other_frame_group_or_page(cores, raw, sandbox):
    # At least one frame of each night, among them biases, and the first and the last frame of all.
    places = [(0, 0), (1, 1), (2, 8), (3, 11), (4, 2), (5, 10), (5, 11), (0, 3)]
    faults = {frame(*place): error for place, error in zip(places, ERRORS, strict=True)}
    blocked = frame(2, 9)
    (sandbox.results / blocked).mkdir(parents=True)

    run = sandbox.snakemake(cores=cores, faults=faults)
    assert run.status == 1
    assert "Traceback" not in run.output
    made = products(sandbox.results)
    wanted = raw[1]
    lost = {name for name in wanted if name.startswith("reduced/")} - made.keys()
    assert lost == {*faults, blocked}
    whole = {name: data for name, data in wanted.items() if name.startswith("reduced/")}
    assert {name: data for name, data in made.items() if name.startswith("reduced/")} == {
        name: data for name, data in whole.items() if name not in lost
    }
    kinds = Counter(name.partition("/")[0] for name in made if "/frames/" not in name)
    assert (kinds["combined"], kinds["nights"]) == (12, 6 * 4)
    small = sum("/frames/" in name for name in made)
    assert small == sum(name.startswith("reduced/") for name in made)
    # Groups without a member that failed are as they would be; the others are of what there is.
    concerned = {"2024-03-01", "2024-03-02", "2024-03-05"}
    for name in made:
        if name.startswith("combined/") and name.split("/")[1] not in concerned:
            assert made[name] == wanted[name]
    with (sandbox.results / "bias_quality.csv").open() as file:
        counts = {(row["night"], row["camera"]): int(row["frames"]) for row in csv.DictReader(file)}
    full = {(night, camera): 4 for night in NIGHTS for camera in ("alpha", "beta")}
    short = {(NIGHTS[0], "alpha"): 3, (NIGHTS[0], "beta"): 3, (NIGHTS[1], "beta"): 3}
    assert counts == full | short | {(NIGHTS[4], "alpha"): 3}

    messages = failures(run)
    assert len(messages) == 9
    for product, error in faults.items():
        (line,) = [line for line in messages if line.startswith(f"failed: {product}: ")]
        cause, remedy = ERRORS[error]
        assert cause in line
        assert remedy in line
        assert "make room" not in line
        log = sandbox.results.parent / line.rpartition("log: ")[2]
        assert log.is_relative_to(sandbox.results / ".ccdflow" / "logs")
        assert "Traceback (most recent call last)" in log.read_text()
    with (sandbox.results / "inventory.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert Counter(row["status"] for row in rows.values()) == {"ok": 6 * FRAMES - 9, "arriving": 9}
    assert rows[f"{NIGHTS[0]}/000.fits"]["reason"].startswith("failed: ValueError: no such thing")
    assert "failed" in made[f"nights/{NIGHTS[0]}/report.html"].decode()

    (sandbox.results / blocked).rmdir()
    again = sandbox.snakemake()
    assert again.status == 0, again.output
    assert {name for name in again.jobs if name.startswith("reduced/")} == lost
    assert products(sandbox.results) == wanted
    assert not (sandbox.results / ".ccdflow" / "logs").exists()
    assert "nothing to do" in sandbox.snakemake("-n").output


# tests/run/test_errors_of_jobs.py lets the jobs of each kind fail, without Snakemake.
@pytest.mark.torture
def test_jobs_of_other_kinds_that_fail_cost_only_themselves(raw, sandbox):
    wanted = raw[1]
    bias = next(name for name in wanted if name.startswith(f"combined/{NIGHTS[1]}"))
    names = [bias, f"nights/{NIGHTS[2]}/report.html", f"nights/{NIGHTS[3]}/before_after.png"]
    names += [f"nights/{NIGHTS[4]}/bias_quality.png", "bias_quality.csv"]
    run = sandbox.snakemake(faults=dict.fromkeys(names, "RuntimeError('on purpose')"))
    assert run.status == 1
    made = products(sandbox.results)
    assert wanted.keys() - made.keys() == set(names)
    assert len(failures(run)) == len(names)
    assert "on purpose" in made[f"nights/{NIGHTS[1]}/report.html"].decode()

    again = sandbox.snakemake()
    assert again.status == 0, again.output
    assert len(again.jobs) >= len(names)
    assert set(names) <= set(again.jobs)
    assert not [name for name in again.jobs if name.startswith("reduced/")]
    assert products(sandbox.results) == wanted


@pytest.mark.torture
def test_a_product_that_was_made_before_stays_as_it_was(raw, sandbox):
    """The product is made again, with another setting, and that fails."""
    shutil.copytree(raw[0].results, sandbox.results)
    product = frame(3, 10)
    before = (sandbox.results / product).read_bytes()
    for camera in ("alpha", "beta"):
        sandbox.profile(camera, **raw[0].profiles[camera])
    sandbox.config["types"] = ["flat"]
    sandbox.profile("alpha", reduction={"statistic": "mean"})
    run = sandbox.snakemake(faults={product: "ValueError('on purpose')"})
    assert run.status == 1
    assert len(failures(run)) == 1
    assert (sandbox.results / product).read_bytes() == before
    again = sandbox.snakemake()
    assert again.status == 0
    assert product in again.jobs
    assert (sandbox.results / product).read_bytes() != before


def test_a_full_disk_ends_the_run_early_with_one_line(tmp_path, monkeypatch):
    sandbox = Sandbox(tmp_path / "box", {"bias": {"minimum": 3}})
    fill(sandbox, NIGHTS[:2], 24)
    faults = {frame(0, number): "OSError(28, 'No space left on device')" for number in range(15)}
    run = sandbox.snakemake(faults=faults)
    assert run.status == 1
    assert [line for line in run.lines if "make room, and run again" in line] == [
        line for line in run.lines if "no space is left" in line
    ]
    assert len([line for line in run.lines if "no space is left" in line]) == 1
    assert "Traceback" not in run.output
    assert "Error in rule" not in run.output
    assert len(list((sandbox.results / "reduced").rglob("*.fits"))) < 24
    # The next run, by the library for its speed.
    use_stand_ins(monkeypatch)
    again = sandbox.run()
    assert again.status == 0, again.lines


def test_a_frame_of_the_sky_that_is_set_aside_has_one_line_in_this_run_and_the_next(
    tmp_path, monkeypatch
):
    """The job of its calibrated frame found no reduced frame: the next plan wants neither."""
    use_stand_ins(monkeypatch)
    sandbox, night = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}}), NIGHTS[0]
    for number, kind in enumerate(("BIAS", "BIAS", "OBJECT", "OBJECT")):
        sandbox.put(f"{night}/{number}.fits.gz", number, kind=kind, night=night, is_packed=True)
    assert sandbox.run().status == 0
    damaged, product = sandbox.raw / night / "3.fits.gz", f"calibrated/{night}/3.fits"
    content = bytearray(damaged.read_bytes())
    content[-6] ^= 4
    damaged.write_bytes(content)
    seen = []
    for _ in range(2):
        lines = sandbox.run(may_lose=True).lines
        seen.append((lines, product in ledger.load_ledger(sandbox.results)))
    assert seen[0] == seen[1]
    lines, has_record = seen[0]
    assert not has_record
    assert not (sandbox.results / product).exists()
    (line,) = [line for line in lines if "3.fits" in line]
    assert line.startswith(f"set aside: {night}/3.fits.gz: gzip stream")
    # The other frame of the sky is told as before.
    assert f"calibrated/{night}/2.fits" in ledger.load_ledger(sandbox.results)


# -- a kind without a rule -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("-n",)], ids=["run", "dry run"])
def test_a_kind_without_a_rule_is_named_at_the_start(tmp_path, options):
    """Snakemake's MissingInputException named a record, and no kind."""
    sandbox = Sandbox(tmp_path / "box", {"bias": {"minimum": 2}})
    for number in range(2):
        sandbox.put(f"2024-03-01/b{number}.fits.gz", number, night="2024-03-01", size=SMALL_FRAME)
    project, checkout = sandbox.project, tmp_path / "checkout"
    for name in ("rules", "config", "profiles"):
        shutil.copytree(project / name, checkout / name)
    shutil.copy(project / "Snakefile", checkout)
    (checkout / "scripts").symlink_to(project / "scripts")
    rules = checkout / "rules" / "pages.smk"
    pattern = r"nights/[^/]+/report\.html"
    assert rules.read_text().count(pattern) == 1
    rules.write_text(rules.read_text().replace(pattern, r"nights/[^/]+/page\.html"))
    sandbox.project = checkout
    outcome = sandbox.snakemake(*options)
    assert outcome.status == 1
    (line,) = [line for line in outcome.lines if "no rule makes" in line]
    assert line == (
        f"{checkout}/rules: no rule makes nights/2024-03-01/report.html, a product of the kind"
        " 'page'; allowed: a rule with kind='page' in params, whose pattern of product has it; add"
        " the rule as CONTRIBUTING.md describes it (A new kind of product), and run again"
    )
    assert "MissingInputException" not in outcome.output
    assert "Traceback" not in outcome.output
    assert not (sandbox.results / "reduced").exists()
    sandbox.project = project
    again = sandbox.snakemake()
    assert again.status == 0
    assert "reduced/2024-03-01/b1.fits" in again.jobs
