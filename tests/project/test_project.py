"""The project's own files: verbs, links and pointers that lead somewhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
DOCUMENTS += sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")])


def verbs():
    return set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE))


def test_every_verb_is_in_the_help():
    done = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True)
    assert set(re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE)) == verbs()
    assert {"demo", "test", "bench", "bench-scale", "torture", "new-camera"} <= verbs()


def test_make_alone_gives_the_help():
    alone, help_text = (
        subprocess.run(["make", "-s", "-C", ROOT, *verb], capture_output=True, text=True).stdout
        for verb in ([], ["help"])
    )
    assert alone == help_text != ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_documents_lead_to_files(document):
    text = document.read_text("utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= verbs()


@pytest.mark.parametrize("name", re.findall(r"(?:scripts|benchmarks)/\w+\.py", MAKEFILE))
def test_scripts_of_the_makefile_exist(name):
    assert (ROOT / name).is_file()


# Documents for people who have frames to reduce, and the verbs among theirs that are a developer's.
OBSERVERS = [
    "README.md",
    *(f"docs/{name}.md" for name in ("index", "tutorial", "laptop", "server")),
]
DEVELOPER_VERBS = {"dev-env", "test", "docs", "check"}


def commands_of(verb, folder):
    """Return the commands of a verb where no environment is yet."""
    done = subprocess.run(
        ["make", "-n", "-C", ROOT, verb, f"VENV={folder}", "FRAME=bias.fits"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("document", OBSERVERS)
def test_an_observer_needs_no_tools_of_a_developer(document, tmp_path):
    """A developer's tools take a third of the time of his environment: 52 of 138 CPU s."""
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / document).read_text("utf-8"))) & verbs()
    for verb in named - DEVELOPER_VERBS:
        commands = commands_of(verb, tmp_path)
        assert "install --no-compile -r envs/requirements.txt" in commands, verb
        assert "requirements-dev" not in commands, verb
    assert named & {"demo", "env"}


def test_a_developer_gets_all_tools(tmp_path):
    named = re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert {"dev-env", "check", "test"} <= set(named)
    for verb in {*named, "tests", "docs"}:
        assert "-r envs/requirements-dev.txt" in commands_of(verb, tmp_path), verb


def test_ci_runs_the_commands_that_the_readme_names():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    # The two parts of `make test`; the first one beside the installation of the tools.
    assert re.findall(r"^test: (.*) ##", MAKEFILE, re.MULTILINE) == ["check tests"]
    *_, style, tests = lines = script.read_text().splitlines()
    assert style == 'if [ -n "$preparation" ]; then wait "$preparation"; else prepare; fi'
    start = lines.index("prepare() {")
    body = lines[start : lines.index("}", start)]
    # The style is checked, and what it says is the end of the preparation.
    assert "    make check || style=$?" in body
    assert body[-1] == '    return "$style"'
    assert tests == "exec make tests"
    assert subprocess.run(["bash", "-n", script]).returncode == 0


@pytest.mark.parametrize(
    ("build", "chosen"),
    [
        ("3 11 False", True), ("3 11 True", False), ("3 12 False", False),
    ],
)  # fmt: skip
def test_ci_takes_debians_python_for_one_of_the_same_version_without_optimization(
    build, chosen, tmp_path
):
    script = (ROOT / ".ci" / "run").read_text()
    function = script[script.index("choose_python() {") : script.index("\nchoose_python\n")]
    debian = tmp_path / "debian"
    for program, answer in ((debian, "3 11 False"), (tmp_path / "python3", build)):
        program.write_text(f"#!/bin/sh\necho {answer}\n")
        program.chmod(0o755)
    command = f'set -euo pipefail\n{function}\nchoose_python {debian}\necho "${{PYTHON:-}}"'
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == (f"{debian}\n" if chosen else "\n")


def test_the_public_ci_has_the_steps_of_ours(tmp_path):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    steps = [step["run"] for step in job["steps"] if "run" in step]
    assert steps[-1] == "bash .ci/run"
    # The same tools: nobody but the administrator may install any, so .ci/run would skip them.
    tools = re.findall(r"missing\+=\((\S+)\)", (ROOT / ".ci" / "run").read_text())
    assert {*steps[0].split("recommends ")[1].split()} == {*tools} - {"make"}
    matrix = job["strategy"]["matrix"]
    assert matrix == {"python": ["3.11", "3.12", "3.13"], "snakemake": ["pinned", "oldest"]}
    # The step that takes the oldest Snakemake changes each file that pins one, and no other line.
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    shutil.copy(ROOT / "Snakefile", tmp_path)
    subprocess.run(["bash", "-ec", steps[1]], cwd=tmp_path, check=True)
    changed = {}
    for path in (tmp_path / "envs").iterdir():
        before = (ROOT / "envs" / path.name).read_text().splitlines()
        lines = zip(path.read_text().splitlines(), before, strict=True)
        if different := [line.strip(" -") for line, old in lines if line != old]:
            changed[path.name] = different
    assert changed == {
        "requirements.txt": ["snakemake==9.11.0"],
        "constraints.txt": [
            "pulp==3.2.2", "snakemake==9.11.0", "snakemake-interface-logger-plugins==1.2.4",
        ],
        "environment.yaml": ["snakemake=9.11.0"],
    }  # fmt: skip


def test_the_weekly_jobs_run_existing_files(tmp_path):
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text())
    run = {
        name: [step["run"] for step in job["steps"] if "run" in step]
        for name, job in workflow["jobs"].items()
    }
    assert {"make torture", "make coverage", "make docs"} <= {each[-1] for each in run.values()}
    assert "--fail-under" in MAKEFILE.partition("\ncoverage:")[2].partition("\n\n")[0]
    (conda,) = run["conda"]
    assert "--dry-run" in conda
    # The step that takes the newest packages leaves no pin, and the references among the files.
    newest = run["newest"][-1].splitlines()
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    subprocess.run(["bash", "-ec", newest[0]], cwd=tmp_path, check=True)
    for path in (tmp_path / "envs").glob("requirements*.txt"):
        before = (ROOT / "envs" / path.name).read_text()
        assert path.read_text() == re.sub("==.*", "", before)
    for file in re.findall(r"(?:envs|tests)/[\w./-]+\w", "\n".join(newest[1:])):
        assert (ROOT / file).is_file()


def rows_of(text, begin):
    """Return the rows of the first table whose heading begins so, as lists of cells."""
    lines = text[text.index(f"| {begin}") :].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return cells[0], cells[2:]


TABLES = {
    "frames": (
        "200 frames of 8 million pixels, 2 cores",
        "s a frame",
        {"ccdflow: o": "ccdflow", "IRAF": "iraf", "the loop": "guide", "one Snake": "one-process"},
    ),
    "masters": (
        "combined bias, dark and flat of 30",
        "wall s",
        {"ccdflow": "ccdflow", "Siril": "siril", "IRAF": "iraf", "ccdproc": "ccdproc"},
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_figures_of_the_readme_are_those_of_the_benchmarks(name):
    begin, column, names = TABLES[name]
    measured = (ROOT / f"benchmarks/{name}.md").read_text("utf-8")
    heads, rows = rows_of(measured, "contender")
    seconds = {row[0]: float(row[heads.index(column)].partition(" ")[0]) for row in rows}
    _, shown = rows_of((ROOT / "README.md").read_text("utf-8"), begin)
    assert len(shown) == len(names)
    for what, value, times in shown:
        own = next(mine for start, mine in names.items() if what.startswith(start))
        # Two digits are shown, of figures that are rounded themselves.
        assert float(value) == pytest.approx(seconds[own], rel=0.02), what
        ratio = seconds[own] / seconds["ccdflow"]
        assert float(times) == pytest.approx(ratio, rel=0.03), what
    assert {"ccdflow", *seconds} >= set(names.values())


def test_the_sizes_of_compressed_frames_in_the_documents_are_those_of_the_benchmark():
    _, rows = rows_of((ROOT / "benchmarks/compressing.md").read_text("utf-8"), "a calibrated frame")
    measured = {row[0].removeprefix("compress: "): row for row in rows}
    _, shown = rows_of((ROOT / "docs/products.md").read_text("utf-8"), "the guide's night, 2048")
    assert len(shown) == 3
    for name, size, write, read in shown:
        row = measured[{"uncompressed": "plain"}.get(name, name.strip("`"))]
        assert [size, write, read] == [row[1], *row[3:]], name
