"""The base of the products in a night's folder: its page, its pictures, the list of these."""

from __future__ import annotations

from functools import partial

from ccdflow import paths
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reducing.frame_sources import shown_nights
from ccdflow.kinds.reducing.small_pictures import is_drawn
from ccdflow.pages.contents import Picture
from ccdflow.run.job import OF_A_NIGHT, Size
from ccdflow.run.plan import WantedProduct


class NightProduct(Kind):
    """A file in a night's folder.

    Attributes
    ----------
    file : str
        Its name there.
    """

    file = ""
    path_prefix = f"{paths.NIGHTS_FOLDER}/"
    reach = OF_A_NIGHT

    def has_name(self, product):
        """Return whether a path is that of this file of a night."""
        return paths.is_file_of_night(product, self.file)

    def product(self, night):
        """Return the path of a night's file."""
        return f"{paths.night_folder(night)}/{self.file}"

    # -- planning ----------------------------------------------------------------------------------

    def is_wanted(self, context, night):
        """Return whether a night has this file.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        bool
        """
        return True

    def needs(self, context, night):
        """Return the products that come before this file of a night.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        night : str

        Returns
        -------
        list of str
        """
        raise NotImplementedError(f"kind {self.name} must define needs()")

    def night_basis(self, context, night):
        """Return the sources of this file of a night, as `basis` returns them for a job.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str

        Returns
        -------
        dict of str to object
        """
        raise NotImplementedError(f"kind {self.name} must define night_basis()")

    def keep_or_forget(self, planner, night):
        """Return whether this file of a night stays as it is, and needs no place in the plan.

        The notes on the file in the planner and the ledger may change: it may count as missing.

        Parameters
        ----------
        planner : ccdflow.run.plan.Planner
        night : str

        Returns
        -------
        bool
        """
        return False

    def plan(self, planner):
        """Plan this file of each night that has it."""
        context = planner.context
        for night in shown_nights(context):
            if self.is_wanted(context, night) and not self.keep_or_forget(planner, night):
                basis, needs = partial(self.night_basis, context, night), self.needs(context, night)
                planner.want(self, WantedProduct(self.product(night), night, basis, needs=needs))

    def basis(self, context, job):
        """Return the sources of this file of the job's night."""
        return self.night_basis(context, job.night)


class NightPicture(NightProduct):
    """A picture in a night's folder, or the list of its small pictures."""

    progress_nouns = ("picture", "pictures")

    def size(self, context, job):
        """Return the size of one picture."""
        return Size(pictures=1)

    def drawn_groups(self, context, night):
        """Return the groups whose products are drawn, if they are made.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        raise NotImplementedError(f"kind {self.name} must define drawn_groups()")

    def needs(self, context, night):
        """Return the products that are drawn."""
        return [group.product for group in self.drawn_groups(context, night)]

    def rows_and_groups(self, context, job):
        """Return the rows of the members, and the groups, whose products are drawn."""
        groups = self.drawn_groups(context, job.night)
        return [context.row(file) for group in groups for file in group.files], groups

    def products_on_page(self, context, night):
        """Return the picture of a night that has one."""
        return [self.product(night)] if self.is_wanted(context, night) else []

    def page_basis(self, context, night):
        """Return the key of the picture."""
        return self.keys_on_page(context, night)


class PictureOfFrames(NightPicture):
    """A picture, or a list of pictures, of the frames of a night that has some."""

    def is_wanted(self, context, night):
        """Return whether a night has frames to draw."""
        return bool(is_drawn(context) and FRAME.products_on_page(context, night))


def file_picture(context, product, alt):
    """Return a picture that another job has drawn, or nothing if it was not to be drawn.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    product : str
        Path relative to the results folder.
    alt : str
        The text in its place.

    Returns
    -------
    tuple of ccdflow.pages.contents.Picture
    """
    path = context.results / product
    if context.made_record(product) is None or not path.is_file():
        return ()
    return (Picture(path.read_bytes(), alt),)
