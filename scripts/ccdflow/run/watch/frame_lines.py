"""The line on each frame: the findings of several products, joined once the last one is made.

An observer reads one line a frame: the facts of its header, level and noise, sky, width of the
stars, and warnings at the end.
"""

from __future__ import annotations

import threading
import time

from ccdflow.run import job_records
from ccdflow.run.job import OF_A_FRAME, OF_A_NIGHT


class FrameLines:
    """The lines of a round.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    jobs : iterable of ccdflow.run.job.Job
        Jobs of the round.
    complaints : ccdflow.run.watch.complaints.Complaints
        It writes the lines, and words remedies as a watch does.
    waits_for_lists : bool
        Whether a line waits for its frame's entry in the night's list.
    begun_lines : dict of str to (list of str, list of str)
        Texts and warnings, by raw file, of lines that earlier rounds have begun. It is changed in
        place, and keeps the lines that this round does not write.
    nights_put_off : set of str, optional
        Nights whose lists a later round makes.

    Attributes
    ----------
    last_frame_at : float
        When the last product of a single frame was made (`time.monotonic`), at first now.
    """

    def __init__(
        self, context, jobs, complaints, *, waits_for_lists, begun_lines, nights_put_off=frozenset()
    ):
        self._context, self._complaints, self._chain = context, complaints, context.chain
        self.last_frame_at = time.monotonic()
        self._lock = threading.Lock()
        self._begun_lines = begun_lines
        # Frames of which a product was made before.
        self._frames_made_again = set()
        # Products that were not made because the raw folder went away.
        self._unread_products = set()
        # Products still to be made, by frame; nights for whose lists the lines wait.
        self._products_left, self._nights_with_lists = {}, set(nights_put_off)
        for job in jobs:
            kind = self._chain.by_name(job.kind)
            if kind.reach == OF_A_FRAME:
                file = self._raw_file(job.product)
                former_record = context.earlier_record(job.product)
                self._products_left.setdefault(file, set()).add(job.product)
                if former_record is not None and former_record.status == job_records.MADE:
                    self._frames_made_again.add(file)
            elif kind.reach == OF_A_NIGHT and kind.reports_frames and waits_for_lists:
                self._nights_with_lists.add(job.night)

    def _raw_file(self, product):
        """Return the raw file of a frame's product; for a group of frames, the first file."""
        group = self._context.find_group(product)
        return self._context.row_of_product(product).file if group is None else group.files[0]

    def add(self, record):
        """Take the findings of a product on frames; write the lines that it completes."""
        kind = self._chain.by_name(record.kind)
        if kind.reach not in (OF_A_FRAME, OF_A_NIGHT):
            return
        if kind.reach == OF_A_FRAME:
            self.last_frame_at = time.monotonic()
        self._note_unread(record)
        # All products that wait for another one have a line together, after the round, and so have
        # all frames that a raw folder took away with it.
        has_report = (
            kind.reports_frames
            and record.status != job_records.WAITING
            and record.product not in self._unread_products
        )
        reports = (
            kind.frame_reports(self._context, self._complaints.record_with_remedy(record))
            if has_report
            else []
        )
        with self._lock:
            for file, text, warnings in reports:
                # A night's list only adds to lines that were begun before.
                if kind.reach == OF_A_FRAME or file in self._begun_lines:
                    first_texts = ["again"] if file in self._frames_made_again else []
                    texts, frame_warnings = self._begun_lines.setdefault(file, (first_texts, []))
                    texts.append(text)
                    frame_warnings += warnings
            if kind.reach == OF_A_FRAME:
                self._note_product(record.product)
            elif kind.reports_frames:
                self.say_all()

    def _note_unread(self, record):
        """Note a product that was not made because the raw folder went away."""
        source = record.data.get(job_records.MISSING_SOURCE)
        is_without_source = record.status == job_records.REFUSED and source in self._unread_products
        if record.data.get(job_records.RAW_AWAY) or is_without_source:
            self._unread_products.add(record.product)

    def _note_product(self, product):
        """Note a product of a frame as made; after the frame's last product, write its line."""
        file = self._raw_file(product)
        self._products_left.get(file, set()).discard(product)
        products_left = self._products_left.get(file)
        if not products_left and self._context.row(file).night not in self._nights_with_lists:
            self._say_line(file)

    def say_all(self):
        """Write all lines that were begun, in this round or before."""
        for file in list(self._begun_lines):
            self._say_line(file)

    def _say_line(self, file):
        """Write the line of a frame, with the warnings at its end, if it was begun."""
        if file in self._begun_lines:
            texts, warnings = self._begun_lines.pop(file)
            line = "  ".join([file, *filter(None, texts)])
            line += "".join(f"; {warning}" for warning in warnings)
            self._complaints.say(line)
