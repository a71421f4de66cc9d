"""The base of the products in a night's folder: its page, its pictures, their list."""

from __future__ import annotations

from functools import partial

from ccdflow import paths
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reducing.frame_sources import nights_with_page
from ccdflow.kinds.reducing.small_pictures import wants_pictures
from ccdflow.pages.contents import Picture
from ccdflow.run.job import OF_A_NIGHT, Size
from ccdflow.run.plan import WantedProduct


class NightProduct(Kind):
    """A kind with one file in the folder of each night.

    Attributes
    ----------
    file : str
        Name of the file in the night's folder.
    """

    file = ""
    path_prefix = f"{paths.NIGHTS_FOLDER}/"
    reach = OF_A_NIGHT

    def has_name(self, product):
        """Return whether a path is that of this file in any night's folder."""
        return paths.is_file_of_night(product, self.file)

    def product(self, night):
        """Return the path of this file of a night, relative to the results folder."""
        return f"{paths.night_folder(night)}/{self.file}"

    # -- planning ----------------------------------------------------------------------------------

    def is_wanted(self, context, night):
        """Return whether a night is to have this file.

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
        """Return the products that are made before this file of a night.

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
        """Return the sources of this file of a night, for its `basis`.

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
        """Return whether this file of a night stays as it is, and is not planned.

        It may also change the notes on the file, so that the file counts as missing.

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
        """Plan this file of each night that is to have it."""
        context = planner.context
        for night in nights_with_page(context):
            if self.is_wanted(context, night) and not self.keep_or_forget(planner, night):
                basis, needs = partial(self.night_basis, context, night), self.needs(context, night)
                planner.want(self, WantedProduct(self.product(night), night, basis, needs=needs))

    def basis(self, context, job):
        """Return the sources of this file of the job's night."""
        return self.night_basis(context, job.night)


class NightPicture(NightProduct):
    """A picture of a night, or the list of its small pictures."""

    progress_nouns = ("picture", "pictures")

    def size(self, context, job):
        """Return the amount of work: one picture."""
        return Size(n_pictures=1)

    def drawn_groups(self, context, night):
        """Return the groups whose products the picture shows, if these are made.

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
        """Return the products that the picture shows."""
        return [group.product for group in self.drawn_groups(context, night)]

    def rows_and_groups(self, context, job):
        """Return the groups whose products the picture shows, and the rows of their members."""
        groups = self.drawn_groups(context, job.night)
        return [context.row(file) for group in groups for file in group.files], groups

    def products_on_page(self, context, night):
        """Return [the picture of a night]; [] where the night has none."""
        return [self.product(night)] if self.is_wanted(context, night) else []

    def page_basis(self, context, night):
        """Return the key of the picture."""
        return self.keys_on_page(context, night)


class PictureOfFrames(NightPicture):
    """A picture of a night's frames, or the list of their small pictures."""

    def is_wanted(self, context, night):
        """Return whether a night has frames, and pictures are enabled."""
        return bool(wants_pictures(context) and FRAME.products_on_page(context, night))


def file_picture(context, product, alt):
    """Return the picture in a file that another job has drawn; () without such a file.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    product : str
        Path relative to the results folder.
    alt : str
        The content of the picture in words, for readers who cannot see it.

    Returns
    -------
    tuple of ccdflow.pages.contents.Picture
    """
    path = context.results / product
    if context.made_record(product) is None or not path.is_file():
        return ()
    return (Picture(path.read_bytes(), alt),)
