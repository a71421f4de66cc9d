"""Folders that the system refuses to open: root may open all, so a test has to refuse them."""

import os


def refuse_folder(patch, path_end, error_type, *error_arguments):
    """Refuse to open and to list a folder.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
    path_end : str
        The end of its path.
    error_type : type
        The OSError that is raised.
    *error_arguments
        Its arguments but for the path, which is the last one.
    """

    def refusing(call):
        def refuse(path, *arguments, **options):
            if str(path).rstrip("/").endswith(path_end):
                raise error_type(*error_arguments, str(path))
            return call(path, *arguments, **options)

        return refuse

    for name in ("open", "scandir"):
        patch.setattr(os, name, refusing(getattr(os, name)))
