"""Errors of the system and their remedies: one table for jobs and for the results folder."""

import ast
import errno
import json
import re

import pytest
import small_frames
from library_trees import ROOT, modules, nodes

from ccdflow.errors import UserError
from ccdflow.run import failures, job_records, lock
from ccdflow.run.ending import saving, session_end

# First words of remedies: actions of the user. Any other first word gives a consequence or a fault.
VERBS = re.findall(
    r"\w+",
    """
    add allow begin calibrate check choose combine commit copy correct delete divide end expose
    find give go keep leave look lower make mask measure mount move name raise reduce remove rename
    repair report run say see set split start subtract take use wait write
    """,
)
# A question that the user answers, or a command that stands first.
OTHER_REMEDIES = ("did you mean ", "if the frame was read ", "-n lists ")


@pytest.mark.parametrize(
    ("number", "action"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "mount its disk for writing"),
        (errno.ENOTDIR, "a file or folder is in the way: move it"),
        (errno.ESTALE, "check the disk or the network"),
    ],
)
def test_a_job_and_the_results_folder_have_one_remedy(tmp_path, number, action):
    error = OSError(number, "of the system", "in/the/way")
    assert failures.remedy_of(error) == f"{action}, and run again"
    refused = lock.error_of_writing(tmp_path, error)
    assert refused.remedy == f"{action}; no result was changed"
    assert refused.file == ("in/the/way" if number == errno.ENOTDIR else str(tmp_path))


@pytest.mark.parametrize(
    ("error", "remedy", "needs_run"),
    [
        (OSError(errno.EROFS, "read-only"), "mount its disk for writing", True),
        (OSError(errno.ENAMETOOLONG, "too long"), "give the raw file a shorter name", False),
        (UserError("x", remedy="remove the link", needs_run=True), "remove the link", True),
        (UserError("x", remedy="remove it"), "remove it", False),
    ],
)
def test_a_watch_has_its_own_words_after_a_remedy_that_needs_a_run(error, remedy, needs_run):
    """The remedy is stored without the words after it, so none are searched for in a line."""
    failure = failures.JobFailure.of(error)
    assert str(failure) == f"{failures.error_words(error)}; {remedy}{', and run again' * needs_run}"
    record = job_records.Record("a.fits", "frame", "1", "failed", str(failure), data=failure.data)
    stored = job_records.Record.from_dict(json.loads(json.dumps(record.as_dict())))
    assert (
        failures.record_with_words_after_remedy(stored, ", and run again").reason == record.reason
    )
    other_end = "; it goes on" * needs_run
    assert failures.record_with_words_after_remedy(stored, "; it goes on").reason == (
        f"{failures.error_words(error)}; {remedy}{other_end}"
    )


def test_the_line_of_an_error_has_the_words_that_are_asked_for():
    error = UserError("x", file="a", remedy="remove it", needs_run=True)
    assert str(error) == error.line() == "a: x; remove it, and run again"
    assert error.line("; it goes on") == "a: x; remove it; it goes on"
    assert UserError("x", remedy="remove it").line("; it goes on") == "x; remove it"


def test_an_error_without_an_action_asks_for_permissions_and_disk(tmp_path):
    circle = lock.error_of_writing(tmp_path, OSError(errno.ELOOP, "too many links"))
    assert circle.remedy.startswith("remove the link, which leads to itself; ")
    refused = lock.error_of_writing(tmp_path, OSError(errno.EINVAL, "invalid argument"))
    assert refused.remedy.startswith("check its permissions and its disk; ")


def test_notes_that_cannot_be_written_at_the_end_leave_the_products_that_were_made(
    tmp_path, monkeypatch
):
    """The words "no result was changed" are true only of a run that has made no product."""
    for number, frame in enumerate(small_frames.biases(3)):
        cards = small_frames.bias_cards(number)
        small_frames.write_raw(tmp_path / "raw" / f"b{number}.fits", (frame, cards))
    cameras = {"testcam": small_frames.LFC_LIKE.format(name="TESTCAM")}
    running = small_frames.begin(tmp_path / "raw", tmp_path / "results", cameras)
    running.lock.close()
    running.lock = None

    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "save_session", fill)
    with pytest.raises(UserError) as caught:
        session_end.finish(running)
    assert caught.value.remedy == (
        "make room; all finished products are whole, and the next run takes them in"
    )


def first_words(node):
    """Return the texts with which a remedy may begin; [] for an expression that is no text."""
    if isinstance(node, ast.IfExp):
        return [*first_words(node.body), *first_words(node.orelse)]
    if isinstance(node, ast.JoinedStr):
        return first_words(node.values[0])
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return [node.value] if is_text else []


def remedies(module):
    """Yield (line, text) of the remedies of a module's errors, also those that have a name."""
    for node in nodes(module.tree):
        values = []
        if isinstance(node, ast.Call):
            values = [each.value for each in node.keywords if each.arg == "remedy"]
        elif isinstance(node, ast.Assign):
            names = [ast.unparse(each) for each in node.targets]
            is_remedy = any(name in ("REMEDY", "_REMEDY", "MAKE_AGAIN") for name in names)
            values = [node.value] if is_remedy else []
        yield from ((node.lineno, text) for value in values for text in first_words(value))


def test_a_remedy_begins_with_an_imperative():
    number, others = 0, []
    for module in modules():
        for line, text in remedies(module):
            number += 1
            if (
                text
                and text.split()[0].strip(",:;") not in VERBS
                and not text.startswith(OTHER_REMEDIES)
            ):
                others.append(f"{module.path.relative_to(ROOT)}:{line}: {text}")
    assert others == []
    assert number > 200


# A text that needs a file or a keyword before it, as its subject.
_WITHOUT_SUBJECT = re.compile(r"(is|are|has|have|was|cannot|names|holds|lies|ends|differs)\b")
# A text that leaves open which of two things is at fault.
_TWO_SUBJECTS = re.compile(
    r"\b((?!one or two)\w+,? or (?:that of )?(?:an? |the )?\w+|one of the two)(?: \w+)?"
    r",? (is|are|was|has|differs|lies)\b"
)


def problems(module):
    """Yield (line, text, keywords) of the problems of a module's errors."""
    for node in nodes(module.tree):
        if isinstance(node, ast.Call) and node.args:
            keywords = {each.arg for each in node.keywords}
            if "remedy" in keywords:
                for text in first_words(node.args[0]):
                    yield node.lineno, text, keywords
                if isinstance(node.args[0], ast.JoinedStr):
                    parts = [e.value for e in node.args[0].values if isinstance(e, ast.Constant)]
                    yield node.lineno, " ... ".join(parts), keywords | {"file"}


def test_a_problem_names_its_subject():
    """In its text, or by the file or keyword before it; and one subject, not one of two."""
    wrong, count = [], 0
    for module in modules():
        for line, text, keywords in problems(module):
            count += 1
            has_subject = keywords & {"file", "keyword"} or not _WITHOUT_SUBJECT.match(text)
            if not has_subject or text.startswith("one is ") or _TWO_SUBJECTS.search(text):
                wrong.append(f"{module.path.name}:{line}: {text}")
    assert count > 200
    assert wrong == []
