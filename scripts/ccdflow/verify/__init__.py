"""Products made again by ccdproc and astropy, from their headers alone, and compared.

Nothing here shares code with the modules that made the products: a mistake there cannot hide here.
"""
