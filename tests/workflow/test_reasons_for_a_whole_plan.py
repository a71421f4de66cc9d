"""A run reports its reason to plan all nights: changes by a user, and the words of the line."""

import ast
import os
import re
import shutil
from pathlib import Path

import pytest
from sandbox import SMALL_FRAME, Sandbox, damage
from stand_ins import copy_with_stand_ins, use_stand_ins

from ccdflow import kinds, paths
from ccdflow.files import file_access
from ccdflow.files.text_files import note_columns
from ccdflow.run import late_notes, session
from ccdflow.run.ending import retiring, saving
from ccdflow.run.nights import night_notes, partial_plan
from ccdflow.run.run_start import RunRequest

SOURCE = Path(session.__file__).parents[1]
NIGHTS = [f"2024-03-{day:02}" for day in range(1, 5)]
LATER_NIGHT = "2024-03-08"


CARDS = {"READMODE": "slow", "RDNOISE": 5.0}


def take(sandbox, night, *kinds_of_frames, **cards):
    """Put frames of a night into the raw folder, each with pixels of its own."""
    for kind in kinds_of_frames:
        count = len(list((sandbox.raw / night).glob("*"))) if (sandbox.raw / night).is_dir() else 0
        sandbox.put(
            f"{night}/{count}.fits", int(night[-2:]) * 100 + count, is_packed=False, kind=kind,
            night=night, size=SMALL_FRAME, cards=CARDS | cards,
        )  # fmt: skip


@pytest.fixture(scope="module")
def original_archive(tmp_path_factory):
    """An archive of which all nights are closed."""
    with pytest.MonkeyPatch.context() as patch:
        use_stand_ins(patch)
        config = {"bias": {"minimum": 2}, "pictures": {"per_type": 0}}
        made = Sandbox(tmp_path_factory.mktemp("whole") / "box", config)
        for night in NIGHTS:
            take(made, night, "BIAS", "BIAS", "OBJECT")
        made.run()
        yield made


def start(sandbox, **asked):
    """Return the session of the next run, which leaves all files as they are."""
    with pytest.MonkeyPatch.context() as patch:
        writers = (
            (retiring, "retire"),
            (saving, "save_session"),
            (session, "remove_logs"),
            (session, "remove_parts"),
        )
        for module, name in writers:
            patch.setattr(module, name, lambda *_: {})
        started = session.start(
            sandbox.values(), chain=kinds.CHAIN, request=RunRequest(accepts_seal=True, **asked)
        )
        if started.lock is not None:
            started.lock.close()
    return started


@pytest.fixture
def box(original_archive, tmp_path, monkeypatch):
    return copy_with_stand_ins(original_archive, tmp_path / "box", monkeypatch)


def add_late_frame(box):
    """Put a frame of a new night, which opens no other night than the last one."""
    take(box, LATER_NIGHT, "OBJECT")


def rewrite(box, change_first=lambda shared_values: None, change_cells=lambda cells: None):
    """Write the notes of closed nights anew with some values changed."""
    path = box.results / paths.CLOSED_NIGHTS
    before = note_columns.read_columns(path)
    shared_values = dict(before.shared_values)
    cells = {name: before.cells(name) for name in before}
    change_first(shared_values)
    change_cells(cells)
    note_columns.write_columns(path, cells.items(), shared_values=shared_values, names=before.names)
    add_late_frame(box)


def odd_folder(box):
    (box.results / "reduced" / "odd").mkdir()
    (box.results / "reduced" / "odd" / "x.fits").write_bytes(b"x")


def keep_late_notes(box):
    take(box, NIGHTS[1], "OBJECT")
    box.run()
    assert late_notes.stamp_of_late_notes(box.results)


def close_with_late_notes(box):
    """Close a night whose rows stand in the late notes, and put a late frame."""
    take(box, LATER_NIGHT, "OBJECT")
    box.run()
    box.run()
    take(box, NIGHTS[1], "OBJECT")


def damage_last_record(box):
    """Change a bit in the last line of the ledger, which a disk does without new times."""
    path = box.results / paths.LEDGER
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    stamps = [list(file_access.stamp_of(box.results / n)) for n in (paths.HEADERS, paths.LEDGER)]
    rewrite(box, lambda shared_values: shared_values.update(files=stamps))


def leave_record(box):
    folder = box.results / paths.DONE_FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "left").write_text("{}")


def lines_elsewhere(cells):
    """Say that the rows of the last night are where those of the first are."""
    cells["rows"][-1] = cells["rows"][0]


def no_table(box):
    take(box, LATER_NIGHT, "BIAS", "BIAS")
    (box.results / paths.ASSOCIATIONS_FILE).unlink()


def gone_night(box):
    (box.raw / NIGHTS[1] / "2.fits").unlink()
    box.run()
    take(box, LATER_NIGHT, "OBJECT")
    box.put(
        f"{NIGHTS[1]}/9.fits", 9, is_packed=False, kind="OBJECT", night=NIGHTS[1], size=SMALL_FRAME
    )


def odd_name(box):
    """Put a frame whose name's bytes are no UTF-8 into a folder of an open night."""
    take(box, LATER_NIGHT, "OBJECT")
    shutil.copy(
        box.raw / LATER_NIGHT / "0.fits", os.fsencode(box.raw / LATER_NIGHT) + b"/a\xff.fits"
    )


def no_summary(cells):
    for name in cells:
        if name.startswith("summary: "):
            cells[name][0] = b""


# By reason, as the code has it with {} for each value: what is done to an archive with nothing to
# do. A second part is what is replaced in the code for the time of the run.
REACHED_REASONS = {
    "settings, profiles or code have changed": lambda box, _: box.config.update(strict=True),
    "inventory.csv is not as it was written": lambda box, _: (
        box.results / paths.INVENTORY
    ).write_text("mine"),
    "associations.csv is not as it was written": lambda box, _: no_table(box),
    "the notes of closed nights are damaged": lambda box, _: (
        damage(box.results / paths.CLOSED_NIGHTS) or add_late_frame(box)
    ),
    "the notes of closed nights are of another version of ccdflow": lambda box, _: rewrite(
        box, lambda shared_values: shared_values.update(form=-1)
    ),
    "inventory or ledger are not those that nights were closed with": lambda box, _: rewrite(
        box, lambda shared_values: shared_values.update(files=[])
    ),
    "the late notes, of frames since nights were closed, are lost": lambda box, _: (
        close_with_late_notes(box) or (box.results / paths.LATE_NOTES).unlink()
    ),
    "some late notes are damaged": lambda box, _: (
        close_with_late_notes(box) or damage(box.results / paths.LATE_NOTES)
    ),
    "{} has damaged lines": lambda box, _: damage_last_record(box),
    "there are many late notes": lambda box, patch: (
        keep_late_notes(box)
        or add_late_frame(box)
        or patch.setattr(night_notes, "_MOST_LATE_LINES", 0)
    ),
    "an earlier run has left work, or a folder cannot be looked into": lambda box, _: leave_record(
        box
    ),
    "the disk of the results does not distinguish capitals": lambda box, patch: (
        add_late_frame(box)
        or patch.setattr(session.raw_names, "is_case_insensitive", lambda _: True)
    ),
    "{} is gone": lambda box, _: (box.raw / NIGHTS[1] / "2.fits").unlink(),
    "{} belongs to no open night": lambda box, _: odd_folder(box),
    "a night with masters of its own is not the last one": lambda box, _: take(
        box, NIGHTS[1], "BIAS"
    ),
    "all nights have changed, or need what has changed": lambda box, _: [
        take(box, night, "OBJECT") for night in NIGHTS
    ],
    "the rows of {} are not where they were": lambda box, _: rewrite(
        box, change_cells=lines_elsewhere
    ),
    "a raw file is missing": lambda box, _: gone_night(box),
    "{} is not a plain name": lambda box, _: odd_name(box),
    "frames of one setup have two noises: the first counts": lambda box, _: take(
        box, LATER_NIGHT, "OBJECT", RDNOISE=9.0
    ),
    "a readout mode or a filter has two spellings": lambda box, _: take(
        box, LATER_NIGHT, "OBJECT", READMODE="SLOW"
    ),
    "other cards tell the masters of {} apart": lambda box, _: take(
        box, LATER_NIGHT, "BIAS", "BIAS", "OBJECT", SPEED="fast"
    ),
    "{} was not noted of all nights": lambda box, _: rewrite(box, change_cells=no_summary),
    "the nights that have to be opened do not come to an end": lambda box, patch: (
        take(box, NIGHTS[1], "OBJECT") or patch.setattr(partial_plan, "_MOST_ATTEMPTS", 0)
    ),
}

_CLOSING = "raised while nights are closed or notes are merged: no night is closed then"
_WATCH = "of a short round of the watch: a whole one follows, which may open a few nights"
_NOTES = "the notes have a checksum and hold only beside inventory and ledger as they were"
# The other reasons, and why no change of this small archive leads to them.
NOT_REACHED = {
    "no night was ever closed": "a first run prints no line, and a test of its own holds that",
    "another version of ccdflow wrote the notes": "test_unknown_forms.py has such notes",
    "products are asked for by name": "the test of a named product has it",
    "there are nights that were never closed": _CLOSING,
    "the settings let nights depend on one another": _CLOSING,
    "a folder cannot be looked into": _CLOSING,
    "{} belongs to no night": _CLOSING,
    "{} has lines that belong to no night": _CLOSING,
    "{} has {} lines than it should have": _CLOSING,
    "the first line of {} cannot be read": _CLOSING,
    "the late notes are damaged, or of other notes": _CLOSING,
    "{} is damaged": _CLOSING,
    "masters are to be made before frames are calibrated with them": _WATCH,
    "another raw file has the same product": _WATCH,
    "reading a frame ended in an error that was not foreseen": _WATCH,
    "a frame was written once more": _WATCH,
    "a frame is of a closed night": _WATCH,
    "{} is shorter than its lines were noted": _NOTES,
    "{} is not as it was": _NOTES,
    "{} cannot be read: {}": "the look for the seal fails first",
    "{} belongs to a closed night": "records are taken in by a watch alone",
    "a frame is a copy of one of {}": "its header says the night of the first one, which is opened",
    "warnings on frames of closed nights change": "a warning needs a dozen frames",
    "the sky of frames of all nights is asked for": "test_budget_of_nights.py asks for it",
}


def reasons_in_code():
    """Return the reasons of all raises, with {} for each value; texts of other errors left out."""
    texts = set()
    for path in SOURCE.rglob("*.py"):
        code = path.read_text()
        # A module without them is not parsed: all but twenty.
        is_silent = "NeedsWholePlan(" not in code and "NothingClosed(" not in code
        for node in () if is_silent else ast.walk(ast.parse(code)):
            name = node.func.id if isinstance(node, ast.Call) and hasattr(node.func, "id") else ""
            if name not in ("NeedsWholePlan", "NothingClosed"):
                continue
            [text] = node.args
            if isinstance(text, ast.JoinedStr):
                values = (getattr(part, "value", "") for part in text.values)
                texts.add("".join(v if isinstance(v, str) else "{}" for v in values))
            elif isinstance(text, ast.Constant):
                texts.add(text.value)
            else:
                assert ast.unparse(text) == "str(error)", path
    return texts


def test_each_reason_is_reached_or_the_list_says_why_not():
    assert reasons_in_code() == REACHED_REASONS.keys() | NOT_REACHED.keys()
    assert not REACHED_REASONS.keys() & NOT_REACHED.keys()


def test_no_raise_of_a_whole_plan_is_without_a_reason():
    """A bare class would be a line without an end."""
    texts = {path: path.read_text() for path in SOURCE.rglob("*.py")}
    assert sum("raise NeedsWholePlan(" in text for text in texts.values()) > 3
    for path, text in texts.items():
        assert not re.search(r"raise NeedsWholePlan$", text, re.MULTILINE), path


def test_a_first_run_and_a_run_of_some_nights_give_no_reason(box, tmp_path):
    assert start(box.clean()).why_all_nights == ""
    add_late_frame(box)
    some = start(box)
    assert (some.why_all_nights, some.context.closed_nights is None) == ("", False)


def test_the_line_is_of_large_archives_and_of_dry_runs_too(box, monkeypatch):
    product = f"reduced/{NIGHTS[0]}/2.fits"
    box.config.update(strict=True)
    of_run, of_dry_run = start(box), start(box, is_dry=True)
    named = start(box, requested=frozenset([product]))
    # 12 frames are planned in no time.
    assert [each.lines_on_nights() for each in (of_run, of_dry_run, named)] == [[], [], []]
    monkeypatch.setattr(session, "_MANY_FRAMES", 12)
    line = "all nights are planned: settings, profiles or code have changed"
    assert of_run.lines_on_nights() == of_dry_run.lines_on_nights() == [line]
    assert named.lines_on_nights() == ["all nights are planned: products are asked for by name"]


@pytest.mark.parametrize("reason", REACHED_REASONS)
def test_each_reason_leads_to_a_whole_plan_and_is_given(reason, box, monkeypatch):
    REACHED_REASONS[reason](box, monkeypatch)
    started = start(box)
    assert started.context.closed_nights is None
    pattern = ".+".join(map(re.escape, reason.split("{}")))
    assert re.fullmatch(pattern, started.why_all_nights), started.why_all_nights
