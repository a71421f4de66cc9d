"""Products made again by ccdproc and astropy, from their headers alone, and compared.

Nothing here shares code with the modules that made the products: a mistake there cannot hide here.
"""

from ccdflow.files.text_cards import keep_records_as_text

# A frame's OBJECT = 'field: 12' is a text here as well.
keep_records_as_text()
