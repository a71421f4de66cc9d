"""Make a release: version, changelog and citation agree, and a tag names them.

python scripts/release.py VERSION

Example, which changes nothing and reports whether this version can be released:

python scripts/release.py 0.1.0 --check

Without `--check` it writes the version into the library and into CITATION.cff, dates the first
section of CHANGELOG.md, commits these three and tags the commit `vVERSION`. It pushes nothing.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

from ccdflow import command_lines
from ccdflow.errors import UserError
from ccdflow.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
LIBRARY, CITATION, CHANGES = "scripts/ccdflow/__init__.py", "CITATION.cff", "CHANGELOG.md"
_VERSION = r"\d+\.\d+\.\d+"


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="report whether the release could be made; change nothing",
    )
    return command_lines.parse_arguments(parser, arguments)


def git(root, *arguments):
    """Run git in a folder and return its output.

    Parameters
    ----------
    root : path-like
    *arguments : str

    Returns
    -------
    str

    Raises
    ------
    UserError
        If git fails.
    """
    process = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
    if process.returncode:
        raise UserError(
            f"git {arguments[0]}: {process.stderr.strip()}",
            file=str(root),
            remedy="correct it, and run the script again",
        )
    return process.stdout.strip()


def dated_changelog(text, version, day):
    """Return the changelog with its first section dated.

    Parameters
    ----------
    text : str
        Text of the changelog.
    version : str
        Version that is released.
    day : datetime.date
        Date of the release.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If the first section is of another version, or dated already.
    """
    heading = re.search(r"^## (.*)$", text, re.MULTILINE)
    heading_wanted = f"{version}, not released yet"
    if heading is None or heading[1] != heading_wanted:
        raise UserError(
            "the first section is of something else",
            file=CHANGES,
            keyword="## of the first section",
            value=heading and heading[1],
            allowed=heading_wanted,
            remedy=f"begin it with '## {heading_wanted}'",
        )
    return text[: heading.start()] + f"## {version}, {day}" + text[heading.end() :]


def replace_version(text, pattern, version, *, name):
    """Return a file's text with its version replaced.

    Parameters
    ----------
    text : str
        Text of the file.
    pattern : str
        A regular expression with a group before the version and a group after it.
    version : str
    name : str
        The file, named in the error.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If the file does not name one version, in one place.
    """
    text, count = re.subn(pattern, rf"\g<1>{version}\g<2>", text, flags=re.MULTILINE)
    if count != 1:
        raise UserError(
            "names no version, or several",
            file=name,
            keyword="version",
            value=count,
            allowed="one",
            remedy="write it once",
        )
    return text


def texts(root, version, day):
    """Return {file: its text in the release}.

    Parameters
    ----------
    root : pathlib.Path
        The checkout.
    version : str
    day : datetime.date
        Day of the release.

    Returns
    -------
    dict of str to str
    """
    text_by_file = {name: (root / name).read_text("utf-8") for name in (LIBRARY, CITATION, CHANGES)}
    return {
        LIBRARY: replace_version(
            text_by_file[LIBRARY], rf'^(__version__ = "){_VERSION}(")$', version, name=LIBRARY
        ),
        CITATION: replace_version(
            text_by_file[CITATION], rf"^(version: ){_VERSION}()$", version, name=CITATION
        ),
        CHANGES: dated_changelog(text_by_file[CHANGES], version, day),
    }


def release(options, *, root=ROOT, day=None):
    """Make the release, or with ``--check`` only its checks; return the text to print.

    Parameters
    ----------
    options : argparse.Namespace
    root : pathlib.Path, optional
        The checkout.
    day : datetime.date, optional
        Today if absent.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If the version is not one, or has a tag already, or if changes are not committed.
    """
    version = options.words.pop(0) if options.words else ""
    command_lines.refuse_further_words(options)
    if not re.fullmatch(_VERSION, version):
        raise UserError(
            "is not a version" if version else "is not given",
            keyword="VERSION",
            value=version or None,
            allowed="three numbers, such as 1.2.3",
            remedy="give it as the first word",
        )
    new_texts = texts(root, version, day or datetime.datetime.now(datetime.UTC).date())
    tag = f"v{version}"
    if git(root, "tag", "--list", tag):
        raise UserError(
            "the tag exists already",
            keyword="tag",
            value=tag,
            allowed="a tag that git does not have",
            remedy="give a new version",
        )
    if options.check:
        return f"{tag} can be released: git has no such tag, and version and changelog agree"
    if git(root, "status", "--porcelain"):
        raise UserError(
            "there are changes that are not committed",
            file=str(root),
            remedy="commit or stash them first",
        )
    for name, text in new_texts.items():
        atomic_write.write_text(root / name, text)
    git(root, "add", *new_texts)
    git(root, "commit", "--message", f"Release {version}")
    git(root, "tag", "--annotate", tag, "--message", f"ccdflow {version}")
    return f"{tag} is committed and tagged; to publish it: git push --follow-tags"


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(release, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
