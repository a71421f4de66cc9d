"""The kinds of products; `CHAIN` is the order in which they are made.

The folders are layers: `matching`, `reducing`, `masters`, `measuring`, `calibrating`,
`forecasting`, `reporting`, `explaining`. Each kind lies in one of them, and no module imports one
of a later folder.

A kind plans its products with their sources, and makes them. It also has the lines on them at the
end of a run and the sections of a night's page (`kind.Kind`). The code that plans, makes or counts
products gets the chain as an argument and knows no kind by name.
"""

from __future__ import annotations

from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.kind import Chain
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.measuring.bad_pixel_map import BAD_PIXELS
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_table import DETECTOR_TABLE
from ccdflow.kinds.measuring.shutter import SHUTTER
from ccdflow.kinds.measuring.trends import TRENDS_TABLE
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS
from ccdflow.kinds.reporting.bias_quality_picture import BIAS_PICTURE
from ccdflow.kinds.reporting.calibrated_pictures import MASTERS_PICTURE, SCIENCE_PICTURE
from ccdflow.kinds.reporting.contact_sheet import SHEET
from ccdflow.kinds.reporting.frame_pictures import FRAMES_PICTURE
from ccdflow.kinds.reporting.night_page import NIGHT_PAGE
from ccdflow.kinds.reporting.overview import OVERVIEW
from ccdflow.kinds.reporting.quality_tables import BIAS_TABLE, DARK_TABLE, FLAT_TABLE

CHAIN = Chain(
    (
        FRAME, BIAS_KIND, DARK_KIND, FLAT_KIND, DETECTOR, SHUTTER, SCIENCE, FRAMES_PICTURE,
        BIAS_PICTURE, MASTERS_PICTURE, SCIENCE_PICTURE, SHEET, NIGHT_PAGE, BIAS_TABLE,
        DARK_TABLE, FLAT_TABLE, ASSOCIATIONS, BAD_PIXELS, DETECTOR_TABLE, TRENDS_TABLE, OVERVIEW,
    )
)  # fmt: skip
"""All kinds of products, in the order in which they are made."""


def make(context, job, *, threads=1):
    """Make the product of a job and return its record, by the chain of the context.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    job : ccdflow.run.job.Job
    threads : int, optional
        Threads that the making of the product may use.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    return context.chain.make(context, job, threads=threads)
