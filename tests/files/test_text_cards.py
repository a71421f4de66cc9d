"""Texts such as 'field: 12', which astropy takes for records of FITS, are texts everywhere."""

import ast
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from conftest import ROOT
from library_trees import modules, nodes

from ccdflow.files import cards, header_text, raw_headers
from ccdflow.files.header_text import CardList

TEXTS = ("field: 12", "r: 2", "Light: 1", "a.b: 1.50", "AXIS.1: 2", "x: 1D3", "x: 1E400", "n: 007")
KEYWORDS = ("OBJECT", "FILTER", "IMAGETYP", "EXPTIME", "DATE-OBS", "GAIN", "DP1", "RAWFILE")
PAIRS = list(itertools.product(KEYWORDS, TEXTS))


def _card(keyword, text):
    return f"{keyword:<8}= '{text:8}' / of: 1".ljust(80)


@pytest.mark.parametrize(("keyword", "text"), PAIRS)
def test_a_text_like_a_record_is_read_as_the_text(keyword, text):
    """By its bytes, by its text, beside another card of its keyword, and by astropy's cards."""
    lines = ["SIMPLE  =                    T".ljust(80), _card(keyword, text)]
    other = f"{keyword:<8}= 'other'".ljust(80)
    data = "".join([*lines, other, "END".ljust(80)])
    headers = [
        raw_headers.parse_raw_header(data),
        raw_headers.parse_usual_header(data.encode()),
        fits.Header.fromstring("".join([*lines, other])),
    ]
    for header in headers:
        assert list(header) == ["SIMPLE", keyword, keyword]
        assert [content.value for content in cards.contents_of_cards(header, keyword)] == [
            text,
            "other",
        ]
        assert cards.contents_of_cards(header, keyword)[0].comment == "of: 1"
        assert cards.has_card(header, keyword)
        assert cards.count_cards(header, keyword) == 2
        assert header[keyword] == text
        assert header.cards[1].image == lines[1]
        assert cards.contents_of_cards(header.copy(), keyword)[0].value == text


@pytest.mark.parametrize(("keyword", "text"), PAIRS)
def test_a_text_like_a_record_is_written_as_it_is(keyword, text):
    """With a comment, without, and with one that has no room."""
    for comment in ("", "a comment", "long " * 20):
        written = header_text.card_text(keyword, text, comment)
        assert written.startswith(f"{keyword:<8}= '{text:8}'")
        assert (fits.Card.fromstring(written).keyword, fits.Card.fromstring(written).value) == (
            keyword,
            text,
        )
    cards_of_product = CardList.parse(_card(keyword, text))
    assert [*cards_of_product] == [(keyword, _card(keyword, text))]


def test_astropy_reads_and_writes_whole_files_with_such_texts():
    header = fits.Header()
    for number, text in enumerate(TEXTS):
        header[f"TEXT{number}"] = text
    file = io.BytesIO()
    fits.PrimaryHDU(np.zeros((2, 3), "u2"), header).writeto(file)
    with fits.open(io.BytesIO(file.getvalue())) as hdus:
        assert tuple(hdus[0].header[f"TEXT{n}"] for n in range(len(TEXTS))) == TEXTS


@pytest.mark.parametrize("module", ["files.cards", "files.header_text", "verify", "verify.command"])
def test_each_reader_and_writer_of_cards_keeps_records_as_texts(module):
    """In a process of its own: another module of the tests may have done it before."""
    program = (
        f"import ccdflow.{module}; from astropy.io import fits;"
        " print(fits.Header.fromstring(\"OBJECT  = 'field: 12'\")['OBJECT'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT / "scripts"
    )
    assert (done.returncode, done.stdout) == (0, "field: 12\n"), done.stderr


def _imported_names(statements):
    """Return the modules that some statements import, and the names that may be modules."""
    names = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
            names.add(statement.module)
    return names


def test_each_module_that_uses_cards_of_astropy_imports_the_setting():
    """By its imports, and theirs: a process may begin with any module."""
    trees = {
        ".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts): tree
        for path, _, tree in modules()
    }
    trees = {name.removesuffix(".__init__"): tree for name, tree in trees.items()}
    # Imports in functions are too late.
    at_start = {name: _imported_names(tree.body) for name, tree in trees.items()}

    def is_set(name):
        seen, names = set(), {name}
        while names:
            seen |= names
            packages = {each.rpartition(".")[0] for each in names}
            names = set().union(packages, *(at_start[each] for each in names)) & set(trees) - seen
        return "ccdflow.files.text_cards" in seen

    users = [
        name
        for name, tree in trees.items()
        if any(
            each.startswith(("astropy.io", "astropy.nddata", "astropy.wcs", "ccdproc"))
            for each in _imported_names(nodes(tree))
        )
    ]
    assert len(users) > 30
    assert [name for name in users if not is_set(name)] == []


def test_records_can_be_turned_on_again():
    """Another library in the process may need them: astropy's own setting decides."""
    with fits.conf.set_temp("enable_record_valued_keyword_cards", value=True):
        header = fits.Header.fromstring("DP1     = 'AXIS.1: 2'".ljust(80))
        assert (list(header), header["DP1.AXIS.1"]) == (["DP1.AXIS.1"], 2.0)
    assert fits.Header.fromstring("DP1     = 'AXIS.1: 2'".ljust(80))["DP1"] == "AXIS.1: 2"
