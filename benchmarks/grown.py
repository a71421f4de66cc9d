"""A late frame and a new night in an archive of years, whose old nights are copies.

`REAL_NIGHTS` nights are really reduced. All nights before them are copies of one of these with
other dates. Their raw frames and products are hard links. Their lines are in the notes, the tables,
and the note of closed nights (`ccdflow.run.nights.closed_nights`). A plan of the whole archive
would notice that their keys belong to another night. The measured runs open only the changed nights
and the last one, which are real.

    python benchmarks/grown.py --nights 200 1000 10000
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import os
import re
import shutil
from datetime import date, timedelta
from pathlib import Path

import measure
import million
import scale

from ccdflow import kinds, paths
from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines, note_columns, notes
from ccdflow.run import ledger, session
from ccdflow.run.nights import closed_nights, note_lines
from ccdflow.run.raw_frames import header_store
from ccdflow.run.sealing import seal

REAL_NIGHTS, COPIED_INDEX, LATE_INDEX = 10, 5, 6
NEW_NIGHT_STEP, NIGHT_ALONE_STEP = "one new night", "that night alone"
INTRODUCTION = """\
# A late frame and a new night in an archive that has grown

Written by `make bench-scale` (benchmarks/grown.py). Ten nights of 100 tiny frames (ten biases, ten
flats, five darks, the rest of the sky) are really reduced; all nights before them are copies of one
of these under other dates, in the notes as well. The runs open the nights that changed and the last
one. "The next run" plans the open nights and finds nothing to do; "nothing to do" is by the seal.
"""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_FOLDERS_OF_ALL_NIGHTS = ("combined/", "detector/")


class Copies:
    """The dates of the copies of a night, and texts of this night with these dates."""

    def __init__(self, night, number):
        self.night = night
        last_date = date(2015, 12, 31)
        self.dates = sorted((last_date - timedelta(days=n)).isoformat() for n in range(number))
        self._pattern = re.compile(f"{night}|{_next_day(night)}")

    def text(self, text, date_of_copy):
        """Return a text with the date of a copy and the day after it, in place of the night's."""
        new_dates = {self.night: date_of_copy, _next_day(self.night): _next_day(date_of_copy)}
        return self._pattern.sub(lambda found: new_dates[found[0]], text)

    def merge_lines(self, lines):
        """Yield (name, line) of a file's lines and of copies of the night's lines, sorted by name.

        Parameters
        ----------
        lines : dict of str to str
            By name.
        """
        starts = {}
        for name in sorted(lines):
            if self.night in name:
                starts.setdefault(name.partition(self.night)[0], []).append(name)
        yield from heapq.merge(
            sorted(lines.items()),
            *(self._copied_lines(names, lines) for names in starts.values()),
            key=lambda each: each[0],
        )

    def _copied_lines(self, names, lines):
        """Yield (name, line) of the copies of some lines, by date."""
        for night in self.dates:
            for name in names:
                yield self.text(name, night), self.text(lines[name], night)


def _next_day(day):
    """Return the day after a day, YYYY-MM-DD."""
    return (date.fromisoformat(day) + timedelta(days=1)).isoformat()


def grow(archive, night, number):
    """Add copies of a night to an archive, as if they had been reduced before.

    Parameters
    ----------
    archive : scale.Archive
        Archive in which nothing is to be done.
    night : str
    number : int
    """
    copies, results = Copies(night, number), archive.results
    for top in (archive.raw, results):
        _link_night(top, copies)
    for name in (paths.INVENTORY, paths.ASSOCIATIONS_FILE):
        _copy_table(results / name, copies)
    table, masters = (
        file_access.stamp_of(results / n) for n in (paths.INVENTORY, paths.ASSOCIATIONS_FILE)
    )
    _copy_notes(results, paths.HEADERS, copies, lambda first: {**first, "table": table})
    _copy_notes(results, paths.LEDGER, copies, stamps={paths.ASSOCIATIONS_FILE: masters})
    _copy_closed(archive, copies)


def _link_night(top, copies):
    """Link all files of a night into folders of other dates, under names with these dates."""
    folders = [
        Path(folder)
        for folder, _, _ in os.walk(top)
        if Path(folder).name == copies.night or Path(folder).parent.name == copies.night
    ]
    for folder in folders:
        for night in copies.dates:
            target = Path(copies.text(str(folder), night))
            target.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if path.is_file():
                    os.link(path, target / copies.text(path.name, night))


def _copy_table(path, copies):
    """Write a CSV table with copies of the lines of the night."""
    head, *lines = path.read_text().splitlines()
    lines_by_name = {}
    for line in lines:
        lines_by_name.setdefault(next(csv.reader([line]))[0], []).append(line)
    lines_by_name = {
        name: "\n".join(lines_of_name) for name, lines_of_name in lines_by_name.items()
    }
    with path.open("w") as file:
        file.write(f"{head}\n")
        file.writelines(f"{text}\n" for _, text in copies.merge_lines(lines_by_name))


def _copy_notes(results, name, copies, change=lambda first: first, stamps=()):
    """Write notes with copies of the lines of the night; `change` is called with their first line.

    `stamps` has the new stamps of products by name.
    """
    first, *lines = notes.read_checked(results / name)
    head = change(json.loads(first))
    seed = _seed_finder(name, head)
    lines_by_name = {}
    for line_with_checksum in lines:
        line = checked_lines.remove_checksum(line_with_checksum, seed(line_with_checksum))
        values, end = json.JSONDecoder().raw_decode(line)
        if values[0] in stamps:
            values[5] = stamps[values[0]]
            line = json.dumps(values, separators=(",", ":")) + line[end:]
        lines_by_name[values[0]] = line
    texts = (text for _, text in copies.merge_lines(lines_by_name))
    checked_lines.write_lines(
        results / name,
        checked_lines.first_line_of(head),
        (checked_lines.add_checksum(text, seed(text)) for text in texts),
        copy_path=results / paths.COPIES_OF_FIRST_LINES[name],
    )


def _seed_finder(name, head):
    """Return a function that returns the seed of the checksum of a line of some notes."""
    if name == paths.HEADERS:
        return lambda _: header_store._seed_of_rows(head)
    reader = ledger.RecordReader(head)
    return lambda line: reader._seeds[json.JSONDecoder().raw_decode(line)[0][-1]]


def _night_in_name(name):
    """Return the night in a product's name; '' for a product of all nights."""
    match = None if name.startswith(_FOLDERS_OF_ALL_NIGHTS) else _DATE.search(name)
    return match[0] if match else ""


def _names(path):
    """Return the names in the lines of some notes, as a generator."""
    lines = notes.read_checked(path)
    next(lines)
    decode = json.JSONDecoder().raw_decode
    return (decode(line)[0][0] for line in lines)


def _copy_closed(archive, copies):
    """Write the note of closed nights with copies of the cells of the night."""
    results, path = archive.results, archive.results / paths.CLOSED_NIGHTS
    real_columns = note_columns.read_columns(path)
    if real_columns is None:
        raise measure.BenchmarkError(f"{path} is missing: the real nights were not closed")
    places = {
        name: note_lines.ranges_of(results / file, _names(results / file), _night_in_name)
        for name, file in (("rows", paths.HEADERS), ("records", paths.LEDGER))
    }
    values = million.settings_of_run(archive.raw, results)
    state = seal.state_of(values, session.reading_settings(values).cameras, kinds.CHAIN)
    shared_values = real_columns.shared_values | {
        "files": closed_nights._stamps_of_noted_files(results),
        "folders": state.folders,
    }
    shared_values["always"] = places["records"][""]
    nights = [*copies.dates, *real_columns.names]

    def cells():
        """Yield (name, cells of all nights) of each column."""
        for name in real_columns:
            if name in places:
                yield name, [note_columns.cell(places[name][night]) for night in nights]
                continue
            cells_by_night = dict(zip(real_columns.names, real_columns.cells(name), strict=True))
            text = cells_by_night[copies.night].decode()
            yield (
                name,
                [copies.text(text, night).encode() for night in copies.dates]
                + [*cells_by_night.values()],
            )

    note_columns.write_columns(path, cells(), shared_values=shared_values, names=nights)


def steps_of(work, nights):
    """Return the `scale.Step` of each event in an archive with this number of nights."""
    source, names = scale.simulated_archive(work, REAL_NIGHTS + 1)
    *old_nights, new_night = names
    archive_of_night = scale.Archive(source, work / "grown-alone", nights=nights)
    archive_of_night.add_night(new_night)
    archive_of_night.run(NIGHT_ALONE_STEP, n_made=scale.FRAMES_PER_NIGHT)
    archive = scale.Archive(source, work / "grown", nights=nights)
    *_, first_frame, late_frame = sorted(
        path.name for path in (source / old_nights[LATE_INDEX]).glob("*.fits.gz")
    )
    for night in old_nights:
        archive.add_night(
            night, without=(first_frame, late_frame) if night == old_nights[LATE_INDEX] else ()
        )
    real_results = work / "grown-real"
    if real_results.is_dir():
        shutil.copytree(real_results, archive.results, dirs_exist_ok=True)
        archive.reduced_before = archive.reduced_times()
    else:
        archive.run("first run", n_made=REAL_NIGHTS * scale.FRAMES_PER_NIGHT - 2)
        shutil.copytree(archive.results, real_results)
    for _ in range(2):
        archive.run("as reduced", n_made=0)
    archive.steps.clear()
    grow(archive, old_nights[COPIED_INDEX], nights - REAL_NIGHTS)
    archive.reduced_before = archive.reduced_times()
    # These runs bring tables and pages of the real nights up to date with the copies.
    archive.add_frame(old_nights[LATE_INDEX], first_frame)
    archive.run("as copied", n_made=1)
    for _ in range(2):
        archive.run("as copied", n_made=0)
    archive.steps.clear()
    archive.run(scale.IDLE, n_made=0)
    archive.add_floor()
    archive.add_frame(old_nights[LATE_INDEX], late_frame)
    archive.run("one late frame", n_made=1)
    archive.run("the next run", n_made=0)
    archive.add_night(new_night)
    archive.run(NEW_NIGHT_STEP, n_made=scale.FRAMES_PER_NIGHT)
    if not (archive.results / paths.LATE_NOTES).is_file():
        raise measure.BenchmarkError("the whole archive was planned")
    return archive.steps + archive_of_night.steps


def bars(steps, sizes):
    """Return the bars, the figures to be reached, for archives of these numbers of nights."""
    rows = scale.sealed_bars(steps)
    for nights in sizes:
        late_seconds, new_seconds, alone_seconds = (
            scale.wall_seconds(scale.find_step(steps, name, nights))
            for name in ("one late frame", NEW_NIGHT_STEP, NIGHT_ALONE_STEP)
        )
        frames = f"{nights * scale.FRAMES_PER_NIGHT:,}"
        seconds_beyond = (
            None if new_seconds is None or alone_seconds is None else new_seconds - alone_seconds
        )
        rows += [
            measure.Bar(f"one late frame in {frames}", 25, late_seconds, is_least=False, unit="s"),
            measure.Bar(
                f"a new night in {frames}, over the night alone", 20, seconds_beyond,
                is_least=False, unit="s",
            ),
        ]  # fmt: skip
    return rows


def run(options):
    """Measure archives of the sizes in the options, and print the table."""
    work = options.work.resolve()
    steps = []
    for nights in options.nights:
        steps += steps_of(work, nights)
        measure.make_empty_folder(work / "grown")
        measure.make_empty_folder(work / "grown-alone")
    text = "\n".join(
        [
            INTRODUCTION,
            measure.bars_table(bars(steps, options.nights)),
            "",
            scale.table(steps),
            "",
            measure.markdown(["machine", ""], measure.describe_machine(work)),
            "",
            measure.markdown(["version", ""], measure.versions()),
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def arguments():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, nargs="+", default=[200])
    parser.add_argument("--work", type=Path, default=scale.ROOT / "bench-data")
    parser.add_argument("--out", type=measure.output_file, help="file for the table")
    return parser.parse_args()


if __name__ == "__main__":
    measure.main(run, arguments())
