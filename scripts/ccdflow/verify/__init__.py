"""Products made again by ccdproc and astropy, from their headers alone, and compared.

Nothing here shares code with the makers of the products: a mistake there cannot hide here. Only
modules without arithmetic are the same: errors, names of files, the writing of files, and the
setting of astropy for texts of cards.
"""

from ccdflow.files.text_cards import keep_records_as_text

# OBJECT = 'field: 12' is a text for astropy in this process as well.
keep_records_as_text()
