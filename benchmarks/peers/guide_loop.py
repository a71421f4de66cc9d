"""The loop of the CCD guide's notebook on biases: one process, one frame after the other.

`python guide_loop.py RAW OUT`.
"""

import sys
from pathlib import Path

from ccdproc import ImageFileCollection, subtract_overscan, trim_image

raw, out = Path(sys.argv[1]), Path(sys.argv[2])
files = ImageFileCollection(raw)
for ccd, name in files.ccds(imagetyp="BIAS", ccd_kwargs={"unit": "adu"}, return_fname=True):
    ccd = subtract_overscan(ccd, overscan=ccd[:, 2055:], median=True)
    ccd = trim_image(ccd[:, :2048])
    # A .gz name would make astropy compress, at over a minute a frame.
    ccd.write(out / name.removesuffix(".gz"))
