"""The guide's combination of reduced biases: `python ccdproc_combine.py FOLDER OUT`."""

import sys
from pathlib import Path

import ccdproc
import numpy as np
from astropy.stats import mad_std

folder, out = Path(sys.argv[1]), Path(sys.argv[2])
combined = ccdproc.combine(
    [str(path) for path in sorted(folder.glob("red*.fits"))],
    unit="adu",
    method="average",
    sigma_clip=True,
    sigma_clip_low_thresh=5,
    sigma_clip_high_thresh=5,
    sigma_clip_func=np.ma.median,
    sigma_clip_dev_func=mad_std,
    mem_limit=350e6,
)
combined.write(out)
