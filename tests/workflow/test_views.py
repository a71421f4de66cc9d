"""The views of Snakemake on the workflow, and the workflow as a module of another one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import ready_python
import yaml
from sandbox import SMALL_FRAME, Sandbox, products

from ccdflow import kinds

ROOT = Path(__file__).parents[2]
NIGHT = "2024-03-01"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Twelve frames of two nights, reduced."""
    made = Sandbox(tmp_path_factory.mktemp("views") / "box", {"bias": {"minimum": 3}})
    for night in (NIGHT, "2024-03-02"):
        for number in range(6):
            kind = "FLAT" if number == 5 else "BIAS"
            made.put(f"{night}/{number}.fits.gz", number, night=night, kind=kind, size=SMALL_FRAME)
    run = made.snakemake()
    assert run.status == 0, run.output
    return made


def edges(text):
    """Return the (from, to) pairs of a drawing, by the first line of their labels."""
    names = dict(re.findall(r'(\d+)\[label = "(\w+)', text))
    return {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", text)}


CHAIN = {
    ("reduce", "combine"), ("reduce", "picture"), ("reduce", "page"), ("combine", "page"),
    ("combine", "quality_picture"), ("combine", "bias_table"), ("picture", "page"),
    ("quality_picture", "page"), ("page", "index_page"), ("index_page", "all"),
}  # fmt: skip


@pytest.mark.parametrize("view", ["--rulegraph", "--dag"])
def test_drawings_show_the_chain_though_all_is_made(sandbox, view):
    drawn = sandbox.snakemake(view)
    assert drawn.status == 0, drawn.output
    assert edges(drawn.output) >= CHAIN
    if view == "--dag":
        assert f"product: reduced/{NIGHT}/3.fits" in drawn.output
        assert drawn.output.count('label = "reduce') == 12


def test_the_drawing_of_files_names_products(sandbox):
    drawn = sandbox.snakemake("--filegraph").output
    assert {"reduce", "combine", "page"} <= set(re.findall(r"<b><font [^>]*>(\w+)<", drawn))
    assert ".ccdflow/done" not in drawn


def test_the_summary_tells_which_products_are_current(sandbox, tmp_path):
    def status():
        lines = [line.split("\t") for line in sandbox.snakemake("--summary").output.splitlines()]
        return {
            line[0].removeprefix(f"{sandbox.results}/"): (line[-2], line[-1])
            for line in lines
            if len(line) == 6 and line[0] != "output_file"
        }

    before = products(sandbox.results)
    states = status()
    small = {name for name in before if "/frames/" in name}
    assert states.keys() == before.keys() - {"inventory.csv"} - small
    assert set(states.values()) == {("ok", "no update")}

    lost = sandbox.results / "reduced" / NIGHT / "5.fits"
    lost.rename(tmp_path / "lost.fits")
    whole = (sandbox.raw / NIGHT / "4.fits.gz").read_bytes()
    sandbox.put(f"{NIGHT}/4.fits.gz", 99, night=NIGHT, size=SMALL_FRAME)
    states = status()
    assert states[f"reduced/{NIGHT}/5.fits"] == ("missing", "update pending")
    assert states[f"reduced/{NIGHT}/4.fits"] == ("updated input files", "update pending")
    assert states["reduced/2024-03-02/4.fits"] == ("ok", "no update")
    assert states[f"nights/{NIGHT}/report.html"][1] == "update pending"
    sandbox.write(f"{NIGHT}/4.fits.gz", whole)
    (tmp_path / "lost.fits").rename(lost)
    assert products(sandbox.results) == before


def test_a_dry_run_lists_products_with_their_sources(sandbox):
    few = sandbox.snakemake("-n", "-F").output.splitlines()
    all_ = sandbox.snakemake("-np", "-F").output.splitlines()
    line = f"  {NIGHT}/0.fits.gz -> reduced/{NIGHT}/0.fits (asked for again)"
    assert line in few
    assert "  ... and 4 more; -np names all" in few
    reduced = [each for each in all_ if " -> reduced/" in each]
    assert len(reduced) == 12
    assert line in all_
    assert f"  night {NIGHT} -> nights/{NIGHT}/report.html (asked for again)" in few
    assert any(re.fullmatch(rf"  5 frames -> combined/{NIGHT}/\S+ \(.*\)", each) for each in few)
    assert few + all_
    assert not [each for each in few + all_ if ".ccdflow/done" in each]


def test_rules_name_their_sources_and_products(sandbox):
    output = sandbox.snakemake("--list-rules").output
    for rule in ("night", *(kind.rule for kind in kinds.CHAIN)):
        assert re.search(rf"^{rule} \(.* -> .*\)$", output, re.M), rule


MODULE = """
configfile: "settings.yaml"


module ccdflow:
    snakefile:
        "{root}/Snakefile"
    config:
        config


use rule * from ccdflow
"""


def test_a_module_of_another_workflow_makes_the_same_bytes(sandbox, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "Snakefile").write_text(MODULE.format(root=ROOT))
    (other / "settings.yaml").write_text(
        yaml.safe_dump(
            {"raw": str(sandbox.raw), "results": "results", "cameras": str(sandbox.cameras)}
            | {"limits": {"settle": 0, "frame_memory": 50}}
            | {name: {"enabled": False} for name in ("flat", "detector")}
            | sandbox.used_config
        )
    )
    without_profile = [ready_python.interpreter(), "-m", "snakemake", "--cores", "2"]
    command = [*without_profile, "--workflow-profile", str(ROOT / "profiles" / "default")]
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here / 'hooks'}:{here}"}
    options = {"cwd": other, "capture_output": True, "text": True, "env": environment}
    # Jobs were processes then, which did not know the plan: none was done.
    run = subprocess.run(without_profile, check=False, **options)
    assert run.returncode == 0, run.stderr
    assert "12 reduced frames, 2 combined biases" in run.stderr
    assert products(other / "results") == products(sandbox.results)
    again = subprocess.run(command, check=False, **options)
    assert "nothing to do" in again.stderr
    broken = subprocess.run([*command, "-F"], check=False, **options | {
        "env": {**environment, "CCDFLOW_TEST_FAULTS": f'{{"reduced/{NIGHT}/0.fits": "OSError(5)"}}'}
    })  # fmt: skip
    assert broken.returncode == 1
    assert f"failed: reduced/{NIGHT}/0.fits" in broken.stderr


def test_another_profile_in_the_place_of_ccdflows_makes_the_same_bytes(sandbox):
    before = products(sandbox.results)
    run = sandbox.snakemake("--workflow-profile", "none", "-R", "combine")
    assert run.status == 0, run.output
    assert run.lines[-1].startswith("12 reduced frames, 2 combined biases")
    assert "Error" not in run.output
    assert products(sandbox.results) == before
