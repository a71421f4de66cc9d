"""Numbers of robust statistics: what turns a MAD into a standard deviation."""

MAD_TO_SIGMA = 1.482602218505602
"""Standard deviation of a normal distribution over its MAD (as in `astropy.stats.mad_std`)."""

MAD_TO_SIGMA_SHORT = 1.4826
"""The same to four digits, for limits that decide which pixels count: more digits might decide
otherwise for one of them, and so change the bytes of products."""
