"""The chain of kinds holds together: old results stay current, and each kind is complete."""

from __future__ import annotations

import html
import io
import re
import tarfile
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
from astropy.io import fits
from workflow.sandbox import Sandbox, products
from workflow.stand_ins import use_stand_ins

from ccdflow import kinds, paths, schemas
from ccdflow.frame.checks import subtraction_checks
from ccdflow.kinds.archive_product import ArchiveProduct
from ccdflow.kinds.kind import Chain, Kind
from ccdflow.kinds.measuring.measurement_kind import MeasurementKind
from ccdflow.kinds.product_writing import write_text_product
from ccdflow.kinds.reporting.calibrated_pictures import CalibrationPicture
from ccdflow.kinds.reporting.night_products import NightPicture, NightProduct
from ccdflow.pages.contents import Section
from ccdflow.run import job_records
from ccdflow.run.lines.plan_description import lines_on_plan, other_products_in_words
from ccdflow.run.plan import WantedProduct
from ccdflow.run.products.product_names import reduced_product

DATA = Path(__file__).parents[1] / "data"
OLD_RESULTS = DATA / "results_of_38e4045.tar.xz"


@pytest.fixture
def old_sandbox(tmp_path, monkeypatch):
    """A results folder that commit 38e4045 made, with its raw frames; pictures are stand-ins.

    Two nights of two cameras: a combined bias each, one group too small, a copy, a cut file, a raw
    file that is gone, a name with braces.
    """
    use_stand_ins(monkeypatch)
    with tarfile.open(OLD_RESULTS) as archive:
        # Python 3.11.2 of Debian 12 has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "old")
    # The clipping that the older version had: by default less than ten are clipped by noise now.
    return Sandbox.of_folder(tmp_path / "old", {"bias": {"clip_by": "mad"}})


def with_the_older_table(contents):
    """Products, their table as it was.

    Without grism, without the header values of a frame that is cut behind its header, and in the
    older words for a missing file.
    """
    table = [line.split(",") for line in contents["inventory.csv"].decode().splitlines()]
    grism, status = table[0].index("grism"), table[0].index("status")
    for row in table:
        if row[0].endswith("/cut.fits.gz"):
            assert row[4] == "bias"
            row[2:status] = [""] * (status - 2)
    cells = [",".join(row[:grism] + row[grism + 1 :]) + "\n" for row in table]
    older = "orphan,the raw file is gone; its product"
    text = "".join(cells).replace("raw file missing,it was deleted or moved; its product", older)
    return {**contents, "inventory.csv": text.encode()}


def without_drawn_from(contents):
    """Products without the hash, in a stand-in, of the values that a picture would be drawn from.

    Values that no picture shows are handed to none any more.
    """
    plain = {}
    for name, content in contents.items():
        text = re.sub(rb"drawn from\0[0-9a-f]{64}....", b"", content, flags=re.DOTALL)
        plain[name] = re.sub(rb"data:image/png;base64,[A-Za-z0-9+/=]+", b"", text)
    return plain


# Cards that version 2 of the header added, two that it words anew, and the checksum of the HDU.
NEW_CARDS = {
    "OSCAXIS",
    "AMPHDU",
    "AMPFLIP",
    "AMPSAT",
    "AMPTOP",
    "CCDPVER",
    "NINVALID",
    "CHECKSUM",
    "CCDFNAME",
}

# Cards to which version 4 of the header gave another comment, beside the same value.
NEW_COMMENTS = {"CCDFKEY", "COMBMETH", "OSCAXIS"}

# Products that an older version did not make, or made of another version.
PAGES = {
    *(f"nights/2024-03-0{day}/{name}" for day in (1, 2) for name in ("report.html", "frames.json")),
    *(
        f"nights/2024-03-0{day}/{name}.png"
        for day in (1, 2)
        for name in ("before_after", "bias_quality")
    ),
    "report.html",
}
NEW_PRODUCTS = PAGES | {
    "combined/2024-03-01/dark_alpha_40x24_5s.fits", "combined/2024-03-01/flat_alpha_40x24_V.fits",
    "calibrated/2024-03-02/gone.fits", "calibrated/2024-03-02/m31 {1}.fits",
    "nights/2024-03-01/masters.png", "nights/2024-03-02/calibrated.png",
    "dark_quality.csv", "flat_quality.csv", "associations.csv",
}  # fmt: skip


def test_results_of_an_older_version_are_up_to_date(old_sandbox):
    old_sandbox.config |= {"flat": {"enabled": True}}
    before = products(old_sandbox.results)
    plan = old_sandbox.plan().plan
    assert set(plan.jobs) == NEW_PRODUCTS, "\n".join(lines_on_plan(plan))
    assert plan.products_to_retire == []
    assert plan.planned_counts["frame"] == 13
    outcome = old_sandbox.run()
    assert set(outcome.jobs) == NEW_PRODUCTS
    after = with_the_older_table(products(old_sandbox.results))
    kept = before.keys() - NEW_PRODUCTS - {paths.INVENTORY}
    drawn = {name for name in after if paths.is_of_small_pictures(name.rpartition("/")[0])}
    # No frame is reduced for its small picture: each is made of the product that is there.
    assert len(drawn) == len([name for name in after if name.startswith(("reduced/", "calibr"))])
    changed = set(after[paths.INVENTORY].splitlines()) - set(before[paths.INVENTORY].splitlines())
    (line,) = changed
    assert line.startswith(b"2024-03-01/flat.fits.gz,")
    assert b"left out of its combined flat: its signal to noise in a pixel is 19.9" in line
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert outcome.lines[-1].startswith(
        "14 reduced frames, 2 combined biases, 0 combined darks, 0 combined flats,"
        " 2 calibrated frames, 1 set aside, 1 raw file missing"
    )
    assert old_sandbox.run().jobs == []


def test_results_of_an_older_version_stay_as_they_are_without_the_new_kinds(old_sandbox):
    before = products(old_sandbox.results)
    old_sandbox.config |= {name: {"enabled": False} for name in ("dark", "flat", "calibrate")}
    assert set(old_sandbox.run().jobs) == PAGES
    after = with_the_older_table(products(old_sandbox.results))
    kept = before.keys() - PAGES
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert old_sandbox.run().jobs == []


def test_products_have_the_bytes_that_the_older_version_gave_them(old_sandbox, monkeypatch):
    """All are made again but those that show the deleted raw file, and each file is as it was.

    Only the warnings on strips of six columns differ, which the older version did not examine.
    """
    monkeypatch.setattr(subtraction_checks, "judge_subtraction", lambda *_: ({}, []))
    before = products(old_sandbox.results)
    old_sandbox.config |= {name: {"enabled": False} for name in ("dark", "flat", "calibrate")}
    kept = {"inventory.csv", "reduced/2024-03-02/gone.fits", "nights/2024-03-02/before_after.png"}
    for product in before.keys() - kept:
        (old_sandbox.results / product).unlink()
    assert set(old_sandbox.run().jobs) == (before.keys() - kept) | PAGES
    contents = with_the_older_table(products(old_sandbox.results))
    after = without_drawn_from({name: contents[name] for name in before.keys() - PAGES})
    older = without_drawn_from({name: before[name] for name in before.keys() - PAGES})
    unexpected = unexpected_cards(after, older)
    assert unexpected == set(), f"new cards: write their names into NEW_CARDS here: {unexpected}"
    assert without_new_cards(after) == without_new_cards(older)


def unexpected_cards(after, older):
    """Return the keywords that products have, and neither the older ones nor `NEW_CARDS`."""
    unexpected = set()
    for name in filter(lambda name: name.endswith(".fits"), after):
        keywords = []
        for content in (after[name], older[name]):
            with fits.open(io.BytesIO(content)) as hdus:
                keywords.append({keyword for hdu in hdus for keyword in hdu.header})
        unexpected |= keywords[0] - keywords[1] - NEW_CARDS
    return unexpected


def text_of(card):
    """Return the text of a card, without its comment if newer headers have another one."""
    return repr(card.value) if card.keyword in NEW_COMMENTS else card.image


def without_new_cards(contents):
    """Products; of FITS files the pixels and the cards, without those that newer headers have.

    Cards of a new version of the header do not make a product again, but a new product has them.
    """
    plain = {}
    for name, content in contents.items():
        if name.endswith(".fits"):
            with fits.open(io.BytesIO(content)) as hdus:
                content = [
                    ([text_of(card) for card in hdu.header.cards if card.keyword not in NEW_CARDS],
                     None if hdu.data is None else (hdu.data.dtype, hdu.data.tobytes()))
                    for hdu in hdus
                ]  # fmt: skip
        plain[name] = content
    return plain


# -- a kind of product that is nowhere but here ----------------------------------------------------


class Levels(Kind):
    """A text a night: the overscan level of each of its frames."""

    name = "levels"
    rule = "levels"
    nouns = ("list of levels", "lists of levels")
    counted_nouns = nouns
    progress_nouns = ("list of levels", "lists of levels")
    is_in_batches = True
    path_prefix = "levels/"

    def has_name(self, product):
        return product.startswith(self.path_prefix)

    def products_on_page(self, context, night):
        frames = [row for row in context.rows_of(night) if row.status == "ok"]
        return [f"levels/{night}.txt"] if frames else []

    def plan(self, planner):
        context = planner.context
        for night in sorted({row.night for row in context.store.rows.values()}):
            for product in self.products_on_page(context, night):
                needs = kinds.FRAME.products_on_page(context, night)
                planner.want(
                    self, WantedProduct(product, night, self._basis_of(context, night), needs=needs)
                )

    def basis(self, context, job):
        return self._basis_of(context, job.night)

    def _basis_of(self, context, night):
        frames = kinds.FRAME.products_on_page(context, night)
        records = [r for r in map(context.outcome, frames) if r and r.status == job_records.MADE]
        return {"version": self.version, "frames": [[r.product, r.key] for r in records]}

    def make(self, context, job, *, threads):
        basis = self._basis_of(context, job.night)
        lines = [
            f"{product} {context.outcome(product).data['levels']['A']:.1f}\n"
            for product, _ in basis["frames"]
        ]
        return write_text_product(context, job, basis, "".join(lines))

    def closing_lines(self, context, records):
        return [f"levels of {len(records)} nights are listed"]

    def section(self, context, night):
        path = context.results / f"levels/{night}.txt"
        rows = tuple(tuple(line.split()) for line in path.read_text().splitlines())
        return Section(
            "levels", "Levels <of frames>", (f"{len(rows)} levels.",),
            headings=("Frame", "Level"), rows=rows,
        )  # fmt: skip


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Two nights of three frames each, and a chain with one kind more than ccdflow has."""
    use_stand_ins(monkeypatch)
    first, *rest = kinds.CHAIN
    monkeypatch.setattr(kinds, "CHAIN", Chain((first, Levels(), *rest)))
    sandbox = Sandbox(tmp_path / "box")
    for night in ("2024-03-01", "2024-03-02"):
        for number in range(3):
            sandbox.put(f"{night}/b{number}.fits.gz", seed_of(night, number), night=night)
    return sandbox


def seed_of(night, number):
    return int(night[-2:]) * 10 + number


def test_a_new_kind_is_planned_made_shown_and_counted_by_its_module_alone(toy):
    lines = lines_on_plan(toy.plan().plan)
    # Kinds of one noun are counted together: a line has no room for twenty nouns.
    assert lines[2] == (
        "2 lists of levels, 6 pictures, 3 pages, 1 table of bias quality to write: 12 new; nights"
        " 2024-03-01, 2024-03-02"
    )
    outcome = toy.run()
    assert {"levels/2024-03-01.txt", "levels/2024-03-02.txt"} < set(outcome.jobs)
    text = (toy.results / "levels/2024-03-01.txt").read_text()
    levels = dict(line.split() for line in text.splitlines())
    assert list(levels) == [f"reduced/2024-03-01/b{n}.fits" for n in range(3)]
    assert all(abs(float(level) - 1000) < 3 for level in levels.values())
    page = (toy.results / paths.night_page("2024-03-01")).read_text()
    assert '<h2 id="levels">Levels &lt;of frames&gt;</h2>' in page
    assert '<a href="#levels">' in page
    plain = re.sub(r"<[^>]*>", " ", re.sub("<wbr>|</?span[^>]*>", "", page))
    plain = " ".join(html.unescape(plain).split())
    assert "3 levels." in plain
    for product, level in levels.items():
        assert f"{product} {level}" in plain
    assert "levels of 2 nights are listed" in outcome.lines
    assert outcome.lines[-1].startswith(
        "6 reduced frames, 2 lists of levels, 2 combined biases, 0 set aside; "
    )


def test_a_run_names_its_products_beside_frames(toy):
    plan = toy.plan().plan
    assert (
        other_products_in_words(plan)
        == "lists of levels, combined biases, pictures, pages and tables"
    )
    del plan.jobs["bias_quality.csv"]
    for job in plan.jobs_of_kind("bias", "levels", "frames picture", "bias picture", "sheet"):
        del plan.jobs[job.product]
    assert other_products_in_words(plan) == "pages"
    jobs, first_kind = dict(plan.jobs), plan.context.chain.first.name
    for product, word in ((next(iter(jobs)), ""), ("report.html", "page")):
        plan.jobs.clear()
        plan.jobs[product] = jobs[product]
        assert (plan.jobs[product].kind == first_kind) == (not word)
        assert other_products_in_words(plan) == word, "1 of 1 page"


def test_a_new_kind_is_rebuilt_by_the_contract(toy):
    toy.run()
    assert toy.run().jobs == []
    # One raw frame changes: the list of its night is made again, and what shows it.
    toy.put("2024-03-02/b1.fits.gz", 99, night="2024-03-02")
    lines = "\n".join(lines_on_plan(toy.plan().plan))
    jobs = set(toy.run().jobs)
    assert {"reduced/2024-03-02/b1.fits", "levels/2024-03-02.txt"} < jobs, lines
    assert paths.night_page("2024-03-02") in jobs
    assert not any("2024-03-01" in job for job in jobs)
    # Deleted or damaged: that one alone, and no page, for it is what it was.
    for harm in (Path.unlink, lambda path: path.write_text("nothing")):
        harm(toy.results / "levels/2024-03-01.txt")
        assert toy.run().jobs == ["levels/2024-03-01.txt"]
    fresh = toy.clean()
    fresh.run()
    assert products(fresh.results) == products(toy.results)
    # A newer version of the kind: all of its lists and what shows them, and no frame.
    kinds.CHAIN.by_name("levels").version = 2
    jobs = set(toy.run().jobs)
    assert {f"levels/2024-03-0{n}.txt" for n in (1, 2)} < jobs
    assert {job for job in jobs if job.startswith(("reduced/", "combined/"))} == set()
    # A list of a night that is not there any more is moved away, and found by its name.
    (toy.results / "levels/2023-01-01.txt").write_text("of an earlier run")
    assert toy.plan().plan.files_to_retire == ("levels/2023-01-01.txt",)


# -- each kind is complete -------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]


def test_names_and_rules_of_kinds_are_unique_and_as_records_have_them():
    """A new kind is added here: its name stays, because the records of archives have it."""
    assert [kind.name for kind in kinds.CHAIN] == [
        "frame", "bias", "dark", "flat", "detector", "shutter", "science", "frames picture",
        "bias picture", "masters picture", "calibrated picture", "sheet", "page", "bias table",
        "dark table",
        "flat table", "associations", "bad pixels", "detector table", "trends", "index",
    ]  # fmt: skip
    assert len({kind.rule for kind in kinds.CHAIN}) == len(kinds.CHAIN)
    # Rules know the folders without the kinds.
    assert list(paths.PRODUCT_FOLDERS) == kinds.CHAIN.folders


def test_masters_and_measurements_take_all_cores():
    wide = {kind.name for kind in kinds.CHAIN if kind.takes_all_cores}
    assert wide == {"bias", "dark", "flat", "detector", "shutter", "bad pixels"}
    assert kinds.CHAIN.is_wide(SimpleNamespace(kind="dark"))
    assert not kinds.CHAIN.is_wide(SimpleNamespace(kind="frame"))
    # The longest job of a night would leave all cores but one idle.
    rule = (ROOT / "rules/detector.smk").read_text().partition("rule measure_detector:")[2]
    assert re.search(r"threads: all_cores\n.*make\(wildcards, params.kind, threads\)", rule, re.S)
    rule = (ROOT / "rules/combine.smk").read_text().partition("rule combine:")[2]
    assert re.search(
        r"threads: cores_of_master\n.*make\(wildcards, params.kind, threads\)", rule, re.S
    )


def test_pictures_and_tables_wait_for_the_products_that_others_need():
    """Pictures begin when a core has nothing else to do: a night ends up to a second earlier."""
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    rules = re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    first = {name for name, body in rules if "    priority: 1\n" in body}
    assert first == {"combine", "measure_detector", "calibrate"}


@pytest.mark.parametrize("kind", kinds.CHAIN, ids=lambda kind: kind.name)
def test_each_kind_has_a_rule_words_a_block_and_a_row_in_the_documents(kind):
    rules = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    head = rf"^(?:use rule (\w+) as {kind.rule} with|rule {kind.rule}):\n"
    own = re.search(rf"{head}(.*?)(?=^\S|\Z)", rules, re.MULTILINE | re.DOTALL)
    assert own, f"no file of rules/ has a rule {kind.rule}"
    assert re.match(r' +""".* -> .*"""\n', own[2]), "the rule has no docstring: SOURCE -> PRODUCT"
    # On a cluster only the rule `night` is a job; all others run where the run was started.
    base = own[1] or kind.rule
    full = re.search(rf"^rule {base}:\n(.*?)(?=^\S|\Z)", rules, re.MULTILINE | re.DOTALL)
    assert "    localrule: True\n" in full[1]
    # `make` compares it with the kind of the job.
    assert re.findall(r"^    params:\n +kind=(.*),$", own[2], re.M) == [f'"{kind.name}"']
    assert re.search(r"^    run:\n +make\(wildcards, params\.kind(, threads)?\)$", full[1], re.M)
    assert all(kind.nouns), "the kind has no words"
    assert kind.nouns[0] != kind.nouns[1], "the kind has no plural"
    assert kind.verb in ("reduce", "make", "calibrate", "write")
    assert kind.is_report == (kind.verb == "write")
    assert kind.path_prefix, "the kind has no path prefix"
    if kind.type:
        blocks = schemas.read_schema("config.schema.json")["properties"]
        assert kind.block in blocks, "config/schemas/config.schema.json lacks its block"
        assert kind.counted_nouns
    document = (ROOT / "docs" / "architecture.md").read_text()
    row = re.search(rf"^\| `{kind.name}` \| ", document, re.MULTILINE)
    assert row, "docs/architecture.md lacks its row"


def test_every_product_of_a_run_is_of_one_kind(old_sandbox):
    for product in products(old_sandbox.results).keys() - {paths.INVENTORY}:
        assert sum(kind.has_name(product) for kind in kinds.CHAIN) == 1, product
    assert kinds.CHAIN.kind_of("nights/2024-03-01/notes.txt") is None
    assert kinds.CHAIN.kind_of(reduced_product("a/b.fits.gz")) is kinds.FRAME


def test_the_docstring_of_a_kind_tells_more_than_its_name():
    """ "A combined flat." tells nothing that the class's name does not."""
    plain = [
        kind.name
        for kind in kinds.CHAIN
        if len(set(re.findall(r"\w{3,}", type(kind).__doc__.lower())) - words_of_name(kind)) < 4
    ]
    assert plain == []


def words_of_name(kind):
    return set(re.findall(r"\w{3,}", " ".join([kind.name, *kind.nouns]).lower())) | {"the", "all"}


@pytest.mark.parametrize(
    ("base", "method"),
    [
        *((Kind, name) for name in ("plan", "basis", "make")),
        *((base, "needs") for base in (ArchiveProduct, NightProduct)),
        (NightProduct, "night_basis"),
        (NightPicture, "drawn_groups"),
        (CalibrationPicture, "row"),
        *((MeasurementKind, name) for name in ("is_wanted", "new_groups")),
    ],
)
def test_a_kind_without_one_of_its_methods_is_named_with_the_method(base, method):
    """The message has the name of the kind and of the method: its author needs both."""
    function = getattr(base, method)
    values = dict.fromkeys(list(signature(function).parameters)[1:])
    with pytest.raises(NotImplementedError, match=rf"^kind levels must define {method}\(\)$"):
        function(Levels(), **values)
