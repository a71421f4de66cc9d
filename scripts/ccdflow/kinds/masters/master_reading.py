"""The masters that the plan chose for a frame, read and cut to the frame's window."""

from __future__ import annotations

from ccdflow.calibrate import master_windows
from ccdflow.calibrate.applied_masters import AppliedMaster
from ccdflow.camera.sections import Region
from ccdflow.combine.preparation import open_image
from ccdflow.errors import MAKE_AGAIN, FrameError
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus


def read_applied_master(context, store, kind, use, path, degrees_warmer):
    """Return the master that is applied to a frame, read and cut to the frame's window.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    store : ccdflow.calibrate.master_store.MasterStore
    kind : {'bias', 'dark', 'flat'}
    use : ccdflow.run.master_choices.Use
    path : pathlib.Path
        The reduced frame.
    degrees_warmer : float or None
        Degrees Celsius by which the dark is warmer than the frame.

    Returns
    -------
    ccdflow.calibrate.applied_masters.AppliedMaster

    Raises
    ------
    FrameError
        If the master or the frame cannot be read, or if their cards give another region of the
        master than the planned one.
    """
    file = context.results / use.product
    if not use.cut:
        master = store.get(file, kind, name=use.product)
        return AppliedMaster(master, use.scale, use.lag, degrees_warmer)
    name = path.relative_to(context.results).as_posix()
    hdu = master_windows.first_image_hdu(read_stored_hdus(path, name=name))
    master, cut = master_windows.master_for(store, kind, file, hdu, file=name, name=use.product)
    if cut != use.cut:
        raise FrameError(
            "its section on the chip differs from that of the raw frame's header",
            file=name,
            keyword="CCDSEC or DETSEC",
            value=cut or "all of the master",
            allowed=f"{use.cut} of {use.product}",
            remedy=MAKE_AGAIN,
        )
    return AppliedMaster(master, use.scale, use.lag, degrees_warmer, cut)


def cut_pixels(member, use):
    """Return those pixels of a master's image that the frame has, read on access.

    Parameters
    ----------
    member : ccdflow.combine.member_reader.Member
    use : ccdflow.run.master_choices.Use

    Returns
    -------
    ccdflow.combine.member_reader.Member or numpy.ndarray of shape (ny, nx), the stored type
        ``member`` itself where all its pixels are used.
    """
    return open_image(member)[Region.from_fits(use.cut).slices] if use.cut else member
