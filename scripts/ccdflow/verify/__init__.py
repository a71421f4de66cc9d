"""Products made again by ccdproc and astropy, from their headers alone, and compared.

Nothing here shares code with the modules that made the products: a mistake there cannot hide here.
But astropy's setting on texts of cards is the same, and tables are written by the same module.
"""

from ccdflow.files.text_cards import keep_records_as_text

# OBJECT = 'field: 12' is a text for astropy in this process as well.
keep_records_as_text()
