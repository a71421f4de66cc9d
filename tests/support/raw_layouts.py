"""The layout of a raw file, read in the way of a job."""

from ccdflow.files.file_errors import raw_file_errors
from ccdflow.files.raw_files import open_raw


def read_layout(path, *, name=None, memory=None):
    """Return the layout of a raw file by its headers; errors have the name, or the path."""
    name = str(path) if name is None else name
    with raw_file_errors(name), open_raw(path, name) as file:
        return file.layout(memory=memory)
