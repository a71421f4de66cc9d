"""Pictures and pages, drawn from values alone: nothing here knows of plans or configurations."""

import logging

# Where HOME cannot be written, Matplotlib warns of each folder that it would like to have there.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
