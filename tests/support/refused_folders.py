"""Folders that the system refuses to open: root may open any, so tests replace the calls."""

import os


def refuse_folder(patch, path_end, error_type, *error_arguments):
    """Replace the calls that open and list a folder by calls that raise.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
    path_end : str
        The end of the folder's path.
    error_type : type
        The class of the error, an OSError.
    *error_arguments
        Arguments of the error before the path.
    """

    def refuse_in(call):
        """Return a call that raises for the folder."""

        def refuse(path, *arguments, **options):
            """Raise for the folder, or call."""
            if str(path).rstrip("/").endswith(path_end):
                raise error_type(*error_arguments, str(path))
            return call(path, *arguments, **options)

        return refuse

    for name in ("open", "scandir"):
        patch.setattr(os, name, refuse_in(getattr(os, name)))
