"""The job of a master of any image type: frames are chosen, compared, combined and measured.

The steps in which image types differ are methods of
`ccdflow.kinds.masters.makers.master_maker.MasterMaker`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ccdflow.combine import combined_header
from ccdflow.combine.members import read_hdus
from ccdflow.combine.row_sample import rows_within
from ccdflow.combine.stack import CombineOptions
from ccdflow.combine.tiling.combine_job import TooLittleMemory
from ccdflow.detector import member_selection
from ccdflow.errors import FrameError
from ccdflow.files import atomic_write, checksum, file_access
from ccdflow.files.fits_products.hdus import array_hdu, data_unit, hdu_header
from ccdflow.frame.products import product_images
from ccdflow.kinds.masters import disagreement, group_queries, memory_limits
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.reducing.frame_sources import SOURCE_HEADER, oldest_header
from ccdflow.run import job_records
from ccdflow.run.context import JobContext
from ccdflow.run.job import Job
from ccdflow.run.job_records import Record
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import digest

if TYPE_CHECKING:
    from ccdflow.kinds.masters.master import MasterKind

# Older results: records of groups whose frames agree, but are too few, have this text in their
# reason and no entry `too_few`.
_OLDER_TOO_FEW_TEXT = "fewer than the minimum of"


class FramesDisagree(Exception):
    """Pixels show that some members are unlike the others.

    Parameters
    ----------
    left_out : list of ccdflow.detector.member_selection.LeftOut
        The unlike members, with the reasons.
    """

    def __init__(self, left_out):
        super().__init__()
        self.left_out = left_out


@dataclass(frozen=True)
class CombineRequest:
    """A group whose frames are to be combined, before members are selected.

    Attributes
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    members : list of (str, ccdflow.run.job_records.Record)
        Raw file and reduced frame of each member.
    threads : int
    """

    kind: MasterKind
    context: JobContext
    job: Job
    members: list[tuple[str, Record]]
    threads: int


@dataclass(frozen=True)
class CombineWork:
    """The selected members of a group, and the settings by which they are combined.

    Attributes
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
    context : ccdflow.run.context.Context
    record : ccdflow.run.job_records.Record
        The master's record, as far as it is known before the combination.
    records_of_files : list of (str, ccdflow.run.job_records.Record)
        Raw files and records of the members.
    left_out : list of (str, ccdflow.detector.member_selection.LeftOut)
        Raw files of the frames that are left out, and why.
    threads : int
    """

    kind: MasterKind
    context: JobContext
    record: Record
    records_of_files: list[tuple[str, Record]]
    left_out: list[tuple[str, member_selection.LeftOut]]
    threads: int

    @property
    def group(self):
        """The `ccdflow.run.job.Group` of the master."""
        return self.context.group(self.record.product)

    @property
    def maker(self):
        """The `MasterMaker` of the kind."""
        return self.kind.maker

    @property
    def members(self):
        """The members with their rows, noises, and the masters that are applied to them."""
        return Members(self.context, self.group, self.records_of_files)

    @property
    def settings(self):
        """The kind's block of the configuration."""
        return self.kind.configuration(self.context)

    @property
    def files(self):
        """The members' raw files."""
        return [file for file, _ in self.records_of_files]

    @property
    def facts(self):
        """The header values of the members."""
        return [
            self.context.row_of_product(record.product).facts for _, record in self.records_of_files
        ]

    @property
    def dates(self):
        """The dates and times at which the members were taken, ISO (UT); '' for unknown ones."""
        return [facts["date_obs"] or "" for facts in self.facts]

    @property
    def hours(self):
        """Hours from the first member to each member; NaN where a date has no time."""
        times = np.array([_unix_seconds(text) for text in self.dates], dtype=np.float64)
        known_times = times[np.isfinite(times)]
        return ((times - known_times.min()) / 3600 if known_times.size else times).tolist()

    @property
    def flags(self):
        """The flags of amplifiers, {name: 'saturated' or 'dead'}: selected members share them."""
        return self.records_of_files[0][1].data.get("flags", {})

    @property
    def reduction(self):
        """The `ReductionRecipe` by which the members were reduced."""
        return self.context.store.recipe(self._row.recipe)

    @property
    def images(self):
        """The images that each member has, as `ccdflow.frame.products.product_images` has them."""
        return product_images(self.context.store.geometry(self._row.geometry), self.reduction)

    def combine_options(self, *, has_uncertainty=True):
        """Return the `CombineOptions` of the combination, in the type of the reduced frames."""
        dtype = np.dtype(self.reduction.dtype)
        source = "scatter" if has_uncertainty else None
        return CombineOptions(self.threads, self.memory, dtype, source)

    @property
    def _row(self):
        """The row of the first member."""
        return self.context.row_of_product(reduced_product(self.files[0]))

    @property
    def memory(self):
        """The bytes for combining with which the process stays below its limit of memory."""
        return memory_limits.bytes_for_combining(
            memory_limits.megabytes_allowed(self.context) * 1e6
        )

    def region_of(self, amplifier):
        """Return the region of an amplifier in an image of the members."""
        return self.reduction.region_of(amplifier)

    def sampled_rows_of(self, combined, amplifier):
        """Return the members' sampled rows of an amplifier, shape (n, k, nx).

        Parameters
        ----------
        combined : ccdflow.combine.stack.Combined
        amplifier : ccdflow.camera.geometry.Amplifier

        Returns
        -------
        numpy.ndarray of shape (n, k, nx), float32 or float64
        """
        region = self.region_of(amplifier)
        rows = rows_within(combined.sample_rows, region)
        return combined.sample[:, rows, region.x0 : region.x1]

    def hdus_of_members(self):
        """Return the `ProductHdu` list of each member, up to the HDU of the last image."""
        n_hdus = self.images[-1].hdu + 1
        return [
            read_hdus(self.context.results / record.product, n_hdus)
            for _, record in self.records_of_files
        ]


def combine_group(kind, context, job, *, threads):
    """Combine the frames of a group, or refuse it with the reason; return the record.

    Parameters
    ----------
    kind : ccdflow.kinds.masters.master.MasterKind
        Kind of the master.
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
        Job of the master.
    threads : int
        Number of threads that combine.

    Returns
    -------
    ccdflow.run.job_records.Record
        ``refused`` with its reason where the frames are too few or do not agree, where they lack a
        master that they need, or where the memory allowed does not suffice.

    Raises
    ------
    OSError
        If the product cannot be written.
    ccdflow.errors.CcdflowError
        If a member, or a master that is subtracted from it, cannot be read; or if no pixel has a
        value in any member.
    """
    group = context.group(job.product)
    members = group_queries.reduced_members(context, group)
    request = CombineRequest(kind, context, job, members, threads)
    if why_missing := kind.why_lacking(context, group):
        selection = member_selection.Selection(
            tuple(range(len(members))), (), agrees=True, reason=""
        )
        work = _work_on_selection(request, selection)
        work.record.data["quality"] = []
        return replace(work.record, status=job_records.REFUSED, reason=why_missing)
    selection = kind.maker.select(context, group, members)
    while True:
        try:
            return _combine_selected(request, selection)
        except FramesDisagree as error:
            selection = member_selection.leave_out(selection, error.left_out)


def _work_on_selection(request, selection):
    """Return the `CombineWork` of a selection.

    Parameters
    ----------
    request : CombineRequest
    selection : ccdflow.detector.member_selection.Selection
    """
    kind, context, job, members = request.kind, request.context, request.job, request.members
    group = context.group(job.product)
    basis = kind.group_basis(context, group)
    members_kept = [members[index] for index in selection.kept]
    left_out = disagreement.explain_left_out(context, members, members_kept, selection.left_out)
    data = {
        "group": [group.night, group.camera, list(map(list, group.shared))],
        "left_out": [
            [file, each.text, each.figure, each.value, each.threshold] for file, each in left_out
        ],
        "members": [file for file, _ in members_kept],
        "header": kind.header_version,
        SOURCE_HEADER: oldest_header(context, [file for file, _ in members_kept]),
    }
    record = Record(job.product, job.kind, digest(basis), basis=basis, data=data)
    return CombineWork(
        kind=kind,
        context=context,
        record=record,
        records_of_files=members_kept,
        left_out=left_out,
        threads=request.threads,
    )


def _combine_selected(request, selection):
    """Return the record of the master of a selection, or of its refusal.

    Parameters
    ----------
    request : CombineRequest
    selection : ccdflow.detector.member_selection.Selection
    """
    context, members = request.context, request.members
    work = _work_on_selection(request, selection)
    data = work.record.data
    reason = _why_no_master(selection, len(members), work.settings["minimum"])
    if not selection.agrees and selection.kept:
        reason += disagreement.odd_frames_in_words(context, members, selection.left_out)
    try:
        if not reason:
            return _make_master(work)
        if not selection.agrees and selection.kept:
            # All frames are measured, because their figures show the disagreement.
            work = replace(work, records_of_files=members)
        data["quality"] = _measure_only(work) if len(work.records_of_files) > 1 else []
        if selection.agrees:
            data["too_few"] = True
    except TooLittleMemory as error:
        megabytes = memory_limits.megabytes_allowed(context)
        megabytes_needed = memory_limits.least_megabytes(error.bytes_needed)
        reason = (
            f"{megabytes:g} MB of memory ({memory_limits.MEMORY_SETTING}) are too little to combine"
            f" {len(work.records_of_files)} frames; allowed: {megabytes_needed} or more"
        )
        # A run with another limit tries again, a run with this limit does not.
        data |= {"quality": [], "memory": megabytes, "enough": megabytes_needed}
    return replace(work.record, status=job_records.REFUSED, reason=reason)


def _why_no_master(selection, n_available, minimum):
    """Return why a selection makes no master, or ''.

    Parameters
    ----------
    selection : ccdflow.detector.member_selection.Selection
    n_available : int
        Number of all frames of the group.
    minimum : int
        Fewest members of a master.
    """
    if not selection.agrees:
        return selection.reason
    n_selected = len(selection.kept)
    if n_selected >= minimum:
        return ""
    out_of_all = f" of {n_available}" if n_selected < n_available else ""
    noun = "frame" if n_selected == n_available == 1 else "frames"
    return f"{n_selected}{out_of_all} {noun}, fewer than the minimum of {minimum}"


def is_below_minimum(record):
    """Return whether a master was refused because its frames, which agree, are too few."""
    is_refused = record.status == job_records.REFUSED
    return is_refused and record.data.get("too_few", _OLDER_TOO_FEW_TEXT in record.reason)


def has_members_below_minimum(record):
    """Return whether a master was refused because its frames, two or more that agree, are too few.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record
        Record of a master.

    Returns
    -------
    bool
    """
    return is_below_minimum(record) and len(record.data["members"]) > 1


# -- the product -----------------------------------------------------------------------------------


class _MasterFile:
    """The parts of a master's file and its figures, added image by image.

    All images come before their extensions, as in a reduced frame: an image has the same index in
    both.

    Parameters
    ----------
    work : CombineWork
    hdus_of_members : list of list of ccdflow.combine.members.ProductHdu
        HDUs of each member.

    Attributes
    ----------
    figures : list of dict
        The figures of each amplifier, image by image.
    remarks : list of (str, str)
        The amplifier and the text of each warning; '' for an image as a whole.
    n_rejected : int
        Number of rejected values.
    recipe : str
        The recipe by which the last image was combined.
    """

    def __init__(self, work, hdus_of_members):
        self._work = work
        self._images, self._extensions = [], []
        # The DATASUM of the first image, for the record.
        self._datasum = ""
        self.figures, self.remarks, self.n_rejected, self.recipe = [], [], 0, ""
        if work.images[0].hdu:
            primary = combined_header.shared_cards([hdus[0] for hdus in hdus_of_members])
            work.maker.write_group_cards(work, primary)
            self._images += array_hdu(primary, None, is_primary=True)

    def add(self, image, hdus, combined):
        """Add a combined image with its header, figures and extensions.

        Parameters
        ----------
        image : ccdflow.frame.products.ProductImage
        hdus : list of ccdflow.combine.members.ProductHdu
            The image's HDU of each member.
        combined : ccdflow.combine.stack.Combined
        """
        work, maker = self._work, self._work.maker
        unit = combined_header.unit_of_member(hdus[0])
        figures = maker.measure_image(work, combined, image, unit)
        cards = combined_header.shared_cards(hdus)
        is_first = not self._images
        if is_first:
            maker.write_group_cards(work, cards)
        combined_header.write_clipping_cards(cards, combined.recipe)
        remarks = maker.remarks(
            work, figures, has_several_amplifiers=len(work.images) * len(figures) > 1
        )
        if combined.n_empty:
            text = f"{combined.n_empty} pixels have no value in any frame: they are NaN"
            remarks.append(("", text))
        texts = [text for _, text in remarks]
        maker.write_image_cards(cards, combined, figures, texts, unit)
        name = combined_header.extension_name_cards(hdus[0])
        pixels, datasum = data_unit(combined.image)
        header = hdu_header(cards, combined.image, datasum, name=name, is_primary=is_first)
        self._images += [header, *pixels]
        self._extensions += maker.extensions(work, combined, image.suffix, unit)
        self._datasum = self._datasum or str(datasum)
        self.figures += figures
        self.remarks += remarks
        self.n_rejected += int(combined.n_clipped.sum())
        self.recipe = str(combined.recipe)

    def write(self, target):
        """Write the file; return the checksum of its content for the record."""
        parts = self._images + self._extensions
        atomic_write.write_whole(target, parts)
        return checksum.product_checksum(self._datasum, checksum.headers_among(parts))


def _make_master(work):
    """Combine the members and write the master; return its record."""
    hdus_of_members = work.hdus_of_members()
    master = _MasterFile(work, hdus_of_members)
    for image, hdus, combined in work.maker.combined_images(work, hdus_of_members):
        _check_values(work, combined)
        if unlike := work.maker.unlike_members(work, combined, image):
            raise FramesDisagree(unlike)
        master.add(image, hdus, combined)
    target = work.context.results / work.record.product
    content = master.write(target)
    data = {
        **work.record.data,
        **work.maker.more_data(work),
        "quality": master.figures,
        "remarks": [text for _, text in master.remarks],
        **_amplifiers_of(master.remarks),
        "recipe": master.recipe,
        "rejected": master.n_rejected,
        "pixels": len(work.records_of_files) * sum(math.prod(image.shape) for image in work.images),
    }
    return replace(work.record, stamp=file_access.stamp_of(target), content=content, data=data)


def _amplifiers_of(remarks):
    """Return the record's entry with the amplifier of each remark; {} where none is on one."""
    names = [name for name, _ in remarks]
    return {"remarks_on": names} if any(names) else {}


def _check_values(work, combined):
    """Raise `FrameError` for a combined frame without any value: it would mask whole frames."""
    if combined.n_empty == combined.image.size:
        raise FrameError(
            "no pixel has a value in any member",
            file=work.record.product,
            remedy="look at its frames: all their pixels are NaN or infinite",
        )


def _measure_only(work):
    """Return the figures of frames that are combined only to be measured, without a master."""
    figures = []
    for image, hdus, combined in work.maker.combined_images(work, work.hdus_of_members()):
        _check_values(work, combined)
        figures += work.maker.measure_image(
            work, combined, image, combined_header.unit_of_member(hdus[0])
        )
    absent_figures = dict.fromkeys(work.maker.figures_of_masters_only, math.nan)
    return [{**each, **absent_figures} for each in figures]


# -- figures ---------------------------------------------------------------------------------------


def claimed_read_noise(work):
    """Return the read noise that the members' headers agree on, electrons, or None."""
    claimed_noises = {facts["rdnoise"] for facts in work.facts}
    claimed_noise = claimed_noises.pop() if len(claimed_noises) == 1 else ""
    return claimed_noise if isinstance(claimed_noise, int | float) else None


def _unix_seconds(text):
    """Return a date and time (ISO, UT) in seconds; NaN for a date alone and for other texts."""
    try:
        moment = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        return math.nan
    return math.nan if moment is None else moment.replace(tzinfo=UTC).timestamp()
