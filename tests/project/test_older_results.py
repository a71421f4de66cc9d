"""Code for results of earlier commits is marked, so that it can be found and, one day, deleted.

docs/decisions/older-results.md says whose results these are, and until when they are read.
"""

import re

import pytest
from library_trees import ROOT

from ccdflow.kinds import CHAIN

MARK = "# Older results: "
# The code that only older results need: a module below scripts/, and the beginning of the line.
PLACES = [
    ("daily.py", "_STATUS_NOW ="),
    ("night.py", 'if any("calibrated" not in row'),
    ("ccdflow/command_lines.py", "if value is None and may_lack_name"),
    ("ccdflow/settings.py", "_FORMER_BATCH_SIZE ="),
    ("ccdflow/camera/hashed_text.py", "_FORMER_NAMES ="),
    ("ccdflow/files/checksum.py", "return content.partition"),
    ("ccdflow/kinds/masters/bias.py", "_VERSION_OF_MAD_CLIPPING ="),
    ("ccdflow/kinds/reporting/calibrated_pictures.py", "starts = {name:"),
    ("ccdflow/kinds/calibrating/master_help.py", 'if data.get("helps")'),
    ("ccdflow/kinds/masters/combining.py", "_OLDER_TOO_FEW_TEXT ="),
    ("ccdflow/kinds/measuring/pixel_tables.py", "no_bits = np.zeros"),
    ("ccdflow/kinds/calibrating/calibrated_lines.py", "sentences = noise_sentences"),
    ("ccdflow/kinds/reducing/record_entries.py", "return record is not None and"),
    ("ccdflow/pages/pictures/small_picture.py", "return PictureValues("),
    ("ccdflow/run/former_kinds.py", "_PRESENT_NAMES ="),
    ("ccdflow/run/late_notes.py", 'count, heads = head.get("count")'),
    ("ccdflow/run/late_notes.py", "if checked_lines.CHECKSUM not in head"),
    ("ccdflow/run/nights/merging.py", "has_checksums = checked_lines.CHECKSUM in head"),
    ("ccdflow/run/nights/note_lines.py", "is_sound = reader.is_sound if"),
    ("ccdflow/run/ledger.py", "_BATCH_KINDS ="),
    ("ccdflow/run/raw_frames/header_store.py", "self._fields = head.get("),
    ("ccdflow/kinds/reducing/frame_sources.py", "version = data.get(SOURCE_HEADER"),
    ("ccdflow/run/raw_frames/older_rows.py", "_WARNING ="),
    ("ccdflow/run/raw_frames/rows.py", "_LATER_FACTS ="),
    ("ccdflow/verify/calibrated/grading.py", '(re.compile(r"(bias|dark|flat) (\\d+ nights?'),
    ("ccdflow/verify/calibrated/masking.py", "_NOT_ALL_NAMED ="),
    ("ccdflow/verify/comparing/amplifiers.py", "is_frame = card("),
    ("ccdflow/verify/comparing/extensions.py", '"Signal, read noise, rounding, level'),
    ("ccdflow/verify/comparing/noted_settings.py", "must_name_masters = bool("),
    ("ccdflow/verify/comparing/source_cards.py", "_COMMENTS_OF_VERSIONS ="),
    ("ccdflow/verify/detector/detector_products.py", "names = lines.dtype.names"),
    ("ccdflow/verify/detector/measured_cards.py", "columns_of_older_tables = {"),
    ("ccdflow/verify/reading/accounts.py", 'comment = header.comments["CCDPVER"]'),
    ("ccdflow/verify/reading/accounts.py", "spans_columns = ("),
    ("ccdflow/verify/reduced/reduced_verdict.py", "if card_value is None and"),
    ("ccdflow/verify/reduced/reduced_verdict.py", "expected_mask[stored_mask == NO_DATA]"),
    ("ccdflow/verify/reduced/reduced_verdict.py", "if top is None or number_of_card("),
    ("ccdflow/verify/reduced/reduced_verdict.py", "if not (places_named := places_without_level"),
]
# A comment on a version before the one of today.
OLDER_VERSION = re.compile(
    r"\b(?:an? |the )?(?:earlier|older|former) (?:versions?|ccdflow)\b|\bversion 1|\bformerly\b"
    r"|\bolder results\b",
    re.IGNORECASE,
)


def comments_of(text):
    """Return the comments of a module on lines of their own, and the code below each."""
    blocks = re.findall(r"((?:^ *# .*\n)+)(.*)", text, re.MULTILINE)
    return [(re.sub(r"\s*\n\s*# ", " ", comment.strip()), code.strip()) for comment, code in blocks]


@pytest.fixture(scope="module")
def comments():
    scripts = ROOT / "scripts"
    return {
        path.relative_to(scripts).as_posix(): comments_of(path.read_text("utf-8"))
        for path in scripts.rglob("*.py")
    }


def test_each_place_has_the_mark_and_no_other_has(comments):
    marked = [
        (file, code) for file, each in comments.items() for comment, code in each if MARK in comment
    ]
    lost = [
        (file, beginning) for file, beginning in PLACES
        if not any(f == file and code.startswith(beginning) for f, code in marked)
    ]  # fmt: skip
    assert lost == []
    assert len(marked) == len(PLACES)


def test_a_comment_on_an_older_version_begins_with_the_mark(comments):
    without = [
        f"{file}: {comment}"
        for file, each in comments.items()
        for comment, _ in each
        if OLDER_VERSION.search(comment) and not comment.startswith(MARK)
    ]
    assert comments
    assert without == []


def test_each_mark_is_followed_by_a_sentence(comments):
    """A sentence of four words or more behind the mark."""
    short = [
        (file, comment)
        for file, each in comments.items()
        for comment, _ in each
        if comment.startswith(MARK)
        and not re.match(r"(?:\S+ ){3,}\S+.*[.:]$", comment.removeprefix(MARK))
    ]
    assert comments
    assert short == []


def test_the_decision_names_results_that_are_there():
    text = (ROOT / "docs" / "decisions" / "older-results.md").read_text("utf-8")
    (file,) = re.findall(r"`(tests/data/\S+)`", text)
    assert (ROOT / file).is_file()
    assert MARK.strip() in text


@pytest.mark.parametrize("kind", CHAIN, ids=lambda kind: kind.name)
def test_products_made_again_have_the_words_of_the_dry_run(kind):
    """Each product in the lines of `snakemake -n` is among those that are announced.

    Maps of shutters were missing: they are made again for their flats, whose version went up.
    """
    text = (ROOT / "docs" / "decisions" / "older-results.md").read_text("utf-8")
    table = text.partition("| made again by itself |")[2].partition("\n\n")[0]
    announced = "\n".join(row.split("|")[1] for row in table.splitlines() if row.startswith("| "))
    words = kind.nouns[1]
    # All pictures have one row, and all tables of the archive.
    head = words.partition(" of ")[0]
    assert (head if head in ("pictures", "tables") else words) in announced


def test_the_changelog_tells_features_and_no_history():
    """A reader of a first release holds nothing that was wrong before."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = changes[changes.index("\n## 0.1.0") :]
    words = r"are made again[.:]|it was|they were|no longer|came out|as before|it failed"
    of_history = [line for line in first.splitlines() if re.search(words, line)]
    assert of_history == []
    assert len(first.splitlines()) <= 80
    older = (ROOT / "docs" / "decisions" / "older-results.md").read_text("utf-8")
    assert "decisions/older-results.md" in first
    assert older.count("\n## What an archive of an earlier commit makes again\n") == 1


def test_every_rule_that_makes_older_results_again_is_one():
    """A rule behind -R in the document: a former name would end the run with an error."""
    text = (ROOT / "docs" / "decisions" / "older-results.md").read_text("utf-8")
    lists = re.findall(r"`-R ([\w ]+)`", text)
    rules = [rule for words in lists for rule in words.split()]
    assert len(rules) > 10
    assert [rule for rule in rules if CHAIN.by_rule(rule) is None] == []
