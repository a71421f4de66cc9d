"""The row of a raw file from its headers, whatever the file holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from ccdflow.camera.reduction_marks import is_called_master, refuse_reduced
from ccdflow.errors import CcdflowError
from ccdflow.files import file_errors, raw_files, raw_headers
from ccdflow.files.scaling import scaling_of
from ccdflow.run import failures
from ccdflow.run.raw_frames.raw_names import check_name
from ccdflow.run.raw_frames.reading_settings import ReadingHashes, ReadingSettings
from ccdflow.run.raw_frames.rows import (
    ARRIVING_STATUS,
    FACTS,
    OK,
    SET_ASIDE,
    Facts,
    Row,
    RowMark,
    plain_row,
    unread_row,
)

_LOG = logging.getLogger(__name__)

_WENT_AWAY = "it went away while its header was read"
# Once more cards of headers than this are read, they are interpreted; a card takes some 200 bytes.
# Chosen: 20 MB.
_MOST_CARDS = 100_000

_facts_of = attrgetter(*FACTS)
_TYPE_INDEX = FACTS.index("type")


# Not frozen: an object of a frozen class takes longer to make, and each frame has one.
@dataclass(slots=True)
class _FileValues:
    """The values of a file's headers that could be read.

    Attributes
    ----------
    row_values : dict of str to object
        The values of the row's fields that could be read, by name.
    geometry, recipe : dict of str to object, or None
        In canonical form.
    raw : ccdflow.files.raw_files.RawFile or None
        Closed once its headers are read; None where the file could not be opened.
    headers : sequence of ccdflow.files.raw_headers.RawHeader
        Headers of all HDUs; () where not all could be read.
    error : Exception or None
        Why the reading ended before its end.
    """

    row_values: dict[str, object]
    geometry: dict[str, object] | None = None
    recipe: dict[str, object] | None = None
    raw: raw_files.RawFile | None = None
    headers: Sequence[raw_headers.RawHeader] = ()
    error: Exception | None = None


class ReadRow(NamedTuple):
    """The row of a raw file, with its geometry, its recipe and an unforeseen error.

    Attributes
    ----------
    row : Row
    geometry, recipe : dict of str to object, or None
        In canonical form; None where they could not be read, or the earlier row stays.
    traceback : str
        Traceback of an unforeseen error, with the file's name; '' for none.
    """

    row: Row
    geometry: dict[str, object] | None = None
    recipe: dict[str, object] | None = None
    traceback: str = ""


@dataclass(frozen=True)
class RawRowReader:
    """Reads the rows of raw files; it can be pickled and sent to other processes.

    Attributes
    ----------
    settings : ReadingSettings
    hashes : ReadingHashes
    now : float
        Seconds since the epoch.
    """

    settings: ReadingSettings
    hashes: ReadingHashes
    now: float

    def __call__(self, files):
        """Return (row, geometry, recipe, traceback) of each (file, stamp, earlier row or None).

        The row has the form of `plain_row`: to send plain values to another process takes half the
        time of a `Row`.
        """
        return [(plain_row(row), *values) for row, *values in self.read_rows(files)]

    def read_rows(self, files):
        """Read the headers of some raw frames; an error sets aside its own file alone.

        A file with an earlier row and new times is inflated to its end: its fingerprint may be the
        earlier one although its middle is damaged.

        All files are opened before headers are split into cards, and many headers are split before
        cards are interpreted. File by file, these steps would push each other out of the
        processor's caches.

        Parameters
        ----------
        files : list of (str, tuple of int, Row or None)
            Path of each file relative to the raw folder, which is named in errors; its size, mtime
            and ctime in ns; and its row of the last run.

        Returns
        -------
        list of ReadRow
        """
        opened_files = [(file_to_read, self._open(file_to_read[0])) for file_to_read in files]
        rows, unjudged_files, n_cards = [], [], 0
        for file_to_read, file_values in opened_files:
            if file_values.raw is not None:
                self._read_headers(file_values, earlier_row=file_to_read[2])
                n_cards += sum(map(len, file_values.raw.headers))
            unjudged_files.append((file_to_read, file_values))
            if n_cards > _MOST_CARDS:
                rows += self._judge_all(unjudged_files)
                unjudged_files, n_cards = [], 0
        return rows + self._judge_all(unjudged_files)

    def _judge_all(self, unjudged_files):
        """Return the `ReadRow` of each (file as `read_rows` takes it, its `_FileValues`)."""
        return [
            self._judge(*file_to_read, file_values) for file_to_read, file_values in unjudged_files
        ]

    def _judge(self, file, stamp, earlier_row, file_values):
        """Return the `ReadRow` of a file whose headers were read.

        Parameters
        ----------
        file : str
        stamp : tuple of int
        earlier_row : Row or None
            Row of the file in the last run, as `read_rows` takes them.
        file_values : _FileValues
            With the headers; the values of the cards are added.
        """
        if file_values.headers:
            self._read_cards(file, file_values)
        # After an error the row has the values that were read before it.
        row = self._make_row(file, stamp, file_values.row_values)
        error, traceback = file_values.error, ""
        if isinstance(error, MemoryError):
            # The fault is not the frame's: the next run reads it again.
            error = file_errors.memory_error(file)
        if isinstance(error, file_errors.UnreadableRawFile):
            return ReadRow(
                _row_of_unreadable_file(row, earlier_row, error, self.settings.raw / file)
            )
        if self._is_arriving(row, error):
            if earlier_row is not None and earlier_row.status == OK and earlier_row.geometry:
                # The file is written once more: until that is done its row stays.
                return ReadRow(replace(earlier_row, stamp=()))
            reason = f"still being written: {error.reason}"
            row = row.with_verdict(ARRIVING_STATUS, reason)
        elif isinstance(error, CcdflowError):
            # An error of one frame, such as that two profiles recognise it, must not stop the other
            # frames.
            row = row.with_verdict(SET_ASIDE, error.reason)
            row = self._row_with_facts_before_fault(row, file_values.raw)
        elif error is not None:
            traceback = failures.raw_log_text(file, error)
            reason = file_errors.unforeseen_error(file, error).reason
            row = row.with_verdict(SET_ASIDE, reason)
        if self._is_young(row.stamp) or _is_first_verdict(earlier_row, row):
            # A file that is still being written may keep its times, and one failed reading proves
            # nothing: the next run reads it again.
            row = replace(row, stamp=())
        return ReadRow(row, file_values.geometry, file_values.recipe, traceback)

    def _open(self, file):
        """Return the `_FileValues` of a file that is open, and whose first bytes are read."""
        file_values = _FileValues({})
        try:
            check_name(file)
            with file_errors.raw_file_errors(file):
                file_values.raw = raw_files.open_raw(f"{self.settings.raw}/{file}", file)
            file_values.row_values["stamp"] = file_values.raw.stamp
            file_values.raw.read_ahead()
        # No content of a file may cost another file its row.
        except Exception as error:
            file_values.error = error
        return file_values

    def _read_headers(self, file_values, *, earlier_row):
        """Add the headers of a file that is open, and close it.

        Parameters
        ----------
        file_values : _FileValues
            As `_open` returns it; changed in place.
        earlier_row : Row or None
            See `read_rows`.
        """
        try:
            with file_values.raw as raw:
                if file_values.error is not None:
                    return
                layout = raw.layout(memory=self.settings.frame_memory)
                file_values.row_values["fingerprint"] = layout.fingerprint
                file_values.headers = layout.headers
                if not layout.is_checked:
                    file_values.row_values["packed"] = self._packed_checksum(
                        raw, layout, earlier_row
                    )
        except Exception as error:
            file_values.error = error

    def _read_cards(self, file, file_values):
        """Add the values that the cards of a file give; an error in them comes before any other.

        Parameters
        ----------
        file : str
        file_values : _FileValues
            With all headers; changed in place.
        """
        values, headers = file_values.row_values, file_values.headers
        try:
            camera = self.hashes.identify(headers, self.settings.cameras, file)
            values |= {"camera": camera.name, "basis": self.hashes.hash_of(camera.name)}
            remembered = self.hashes.remembered_of(camera.name)
            values |= _values_of_cards(file, camera, headers, remembered)
            if not camera.is_raw and is_called_master(headers):
                refuse_reduced(headers, file=file)
            file_values.geometry, file_values.recipe, notes = remembered(
                "arranged",
                lambda headers: _geometry_and_recipe(file, camera, headers, self.settings),
                headers,
            )
            values |= _values_of_notes(values, notes)
        except Exception as error:
            file_values.error = error
            # `packed` is noted only for a file whose cards are good.
            values.pop("packed", None)

    def _make_row(self, file, stamp, values):
        """Return the row of a file with the values that could be read."""
        basis = self.hashes.hash_of("")
        if "facts" not in values:
            return replace(unread_row(file, stamp, basis), **values)
        return Row(file, **{"stamp": stamp, "basis": basis, **values})

    def _is_arriving(self, row, error):
        """Return whether an error shows that a file is still being written.

        A file that ends early counts as such while it is young.
        """
        if isinstance(error, file_errors.IncompleteRawFile):
            return self._is_young(row.stamp[:2])
        return isinstance(error, file_errors.ChangedRawFile)

    def _is_young(self, stamp):
        """Return whether a file was written to, or got its name, a short while ago, by its times.

        Times that lie ahead by as little count as well: the clock of another machine may be fast.

        Parameters
        ----------
        stamp : tuple of int
            Size, mtime and ctime in ns, or the first two.

        Returns
        -------
        bool
        """
        return any(abs(self.now - time_ns / 1e9) < self.settings.settle for time_ns in stamp[1:])

    def _row_with_facts_before_fault(self, row, raw):
        """Return the row of a frame that is set aside, with facts of the headers before the fault.

        With them, a file that was cut off is on the page of its night. The reason in its row stays.

        Parameters
        ----------
        row : Row
        raw : ccdflow.files.raw_files.RawFile or None
            None where the file could not be opened.

        Returns
        -------
        Row
        """
        if raw is None or not raw.headers or row.camera:
            return row
        try:
            camera = self.hashes.identify(raw.headers, self.settings.cameras, row.file)
            remembered = self.hashes.remembered_of(camera.name)
            values = _values_of_cards(row.file, camera, raw.headers, remembered)
        except MemoryError:
            return replace(row, stamp=())
        except Exception as error:
            # Two profiles recognise the frame, or its cards cannot be read: its row has a reason
            # already.
            _LOG.debug("%s: no camera for a frame that is set aside", row.file, exc_info=error)
            return row
        basis = self.hashes.hash_of(camera.name)
        return replace(row, camera=camera.name, basis=basis, facts=values["facts"])

    def _packed_checksum(self, raw, layout, earlier_row):
        """Return ``Row.packed`` of a file; read all its pixels if its headers may hide damage.

        A young file is read again by the next run. If its bytes are then the same as now, they need
        not be inflated once more.

        Parameters
        ----------
        raw : ccdflow.files.raw_files.RawFile
        layout : ccdflow.files.fits_structure.RawLayout
        earlier_row : Row or None
            The row of the last run.

        Returns
        -------
        str
            The checksum of the bytes of a young file, '' of an older one.
        """
        is_young, packed = self._is_young(raw.stamp), ""
        was_young = earlier_row is not None and earlier_row.stamp == () and earlier_row.packed != ""
        if is_young or was_young:
            packed = raw.bytes_checksum()
        has_same_bytes = was_young and earlier_row.status == OK and earlier_row.packed == packed
        if not has_same_bytes and _may_be_damaged(earlier_row, raw.stamp, layout.fingerprint):
            raw.read_all(layout, memory=self.settings.frame_memory)
        return packed if is_young else ""


def _is_first_verdict(earlier_row, row):
    """Return whether this is the first reading that sets the file aside for this reason."""
    if row.status != SET_ASIDE:
        return False
    return (
        earlier_row is None
        or (earlier_row.status, earlier_row.reason) != (row.status, row.reason)
        or earlier_row.stamp not in ((), row.stamp)
    )


def _values_of_cards(file, camera, headers, remembered):
    """Return the values of a row that its headers give, with warnings on unreadable cards.

    Parameters
    ----------
    file : str
        Named in errors.
    camera : ccdflow.camera.cameras.Camera
    headers : sequence of ccdflow.files.raw_headers.RawHeader
        Headers of all HDUs.
    remembered : ccdflow.files.remembered_results.Remembered
        Results on equal headers of the same camera, which are computed once.

    Returns
    -------
    dict of str to object
    """
    description = camera.describe(headers, file=file, remembered=remembered)
    facts = ["" if value is None else value for value in _facts_of(description)]
    facts[_TYPE_INDEX] = facts[_TYPE_INDEX] or "other"
    warnings = "\n".join(description.warnings)
    # The only reason that cards give is an unknown image type.
    marks = str(RowMark.UNKNOWN_TYPE) if description.reason else ""
    if description.is_named_by_object:
        marks = f"{marks} {RowMark.NAMED_BY_OBJECT}"
    return {
        "facts": Facts(facts),
        "reason": description.reason,
        "marks": marks,
        "warnings": warnings,
    }


def _values_of_notes(values, notes):
    """Return the fields of a row in which the notes on its amplifiers are added to its cards.

    Parameters
    ----------
    values : dict of str to object
        The row's values by its cards, as `_values_of_cards` returns them.
    notes : sequence of ccdflow.camera.geometry.Note

    Returns
    -------
    dict of str to str
    """
    if not notes:
        # Nearly all frames have no notes.
        return {}
    texts, marks = (note.table_text for note in notes), (note.mark for note in notes)
    return {
        "reason": "; ".join(filter(None, (values["reason"], *texts))),
        "amplifier_warnings": "\n".join(
            f"{note.topic}\t{note.text}" for note in notes if note.topic
        ),
        "marks": " ".join(dict.fromkeys(filter(None, (values["marks"], *marks)))),
    }


def _geometry_and_recipe(file, camera, headers, settings):
    """Return geometry and recipe of a raw frame in canonical form, and notes on them.

    The two decide how its pixels are reduced. A frame that they cannot describe raises an error, is
    set aside, and gets no job.

    Parameters
    ----------
    file : str
        Named in errors.
    camera : ccdflow.camera.cameras.Camera
    headers : sequence of ccdflow.files.raw_headers.RawHeader
        Headers of all HDUs.
    settings : ReadingSettings

    Returns
    -------
    geometry, recipe : dict of str to object
        Plain values, which the row names by their hashes.
    notes : tuple of ccdflow.camera.geometry.Note

    Raises
    ------
    FrameError
        If it cannot be reduced.
    """
    if not camera.is_raw:
        refuse_reduced(headers, file=file, is_master_sought=False)
    recipe = camera.recipe(settings.reduction)
    frame_geometry = camera.geometry(headers, file=file, layout=recipe.layout)
    for hdu, _ in frame_geometry.raw_shapes:
        scaling_of(headers[hdu], file)
    return (
        frame_geometry.canonical(),
        recipe.for_geometry(frame_geometry).canonical(),
        frame_geometry.notes,
    )


def _row_of_unreadable_file(row, earlier_row, error, path):
    """Return the row of a file that cannot be read.

    A file that was good before keeps its values and its product: its disk may be unmounted. The
    next run reads each unreadable file once more.

    Parameters
    ----------
    row : Row
        With the values that could be read.
    earlier_row : Row or None
        The row of the last run.
    error : CcdflowError
    path : pathlib.Path
    """
    if not os.path.lexists(path):
        # The file was there when the folder was looked through.
        row = earlier_row or row.with_verdict(ARRIVING_STATUS, _WENT_AWAY)
        return replace(row, stamp=())
    if earlier_row is not None and earlier_row.geometry:
        return replace(earlier_row, gone=error.reason, stamp=())
    return row.with_verdict(SET_ASIDE, error.reason, stamp=())


def _may_be_damaged(earlier_row, stamp, fingerprint):
    """Return whether the pixels of a file with its earlier fingerprint may be damaged."""
    if earlier_row is None or earlier_row.fingerprint != fingerprint:
        return False
    return earlier_row.stamp != stamp or earlier_row.status == SET_ASIDE
