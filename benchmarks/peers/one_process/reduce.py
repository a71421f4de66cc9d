"""One frame by the calls of the guide; the `script:` directive defines `snakemake` here."""

from astropy.nddata import CCDData
from ccdproc import subtract_overscan, trim_image

ccd = CCDData.read(snakemake.input[0], unit="adu")  # noqa: F821
ccd = subtract_overscan(ccd, overscan=ccd[:, 2055:], median=True)
ccd = trim_image(ccd[:, :2048])
ccd.write(snakemake.output[0])  # noqa: F821
