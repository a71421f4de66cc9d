"""The command lines of `scripts/`: the words and options that they share, and their errors.

Folders and files are given as ``NAME=VALUE`` (``raw=FOLDER results=FOLDER``), as in Snakemake's
``--config``; numbers and choices are options.

Each script imports this module before all imports that take time. From then on Ctrl-C ends the
script with one line instead of a traceback from an import.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
from pathlib import Path

from ccdflow.errors import FULL_DISK, CcdflowError, UserError, action_of, line_with_origin

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

# Longest pause that an option may ask for, seconds: a day. A longer pause is a mistake.
_LONGEST_PAUSE = 86400.0
# Largest number of an option: no option needs a larger number, in any unit.
_LARGEST_NUMBER = 1e15
_ENDED_TEXT = "ccdflow: ended by Ctrl-C"
_SCRIPTS = Path(__file__).parents[1]


def _end_process(number, frame):
    """End the process at once with one line: the handler of a signal."""
    # An exception raised here would be lost in callbacks of Python's imports.
    os.write(2, f"{_ENDED_TEXT}\n".encode())
    os._exit(INTERRUPTED)


def end_at_once():
    """Let Ctrl-C end a script with one line while nothing can be left half done.

    Ctrl-C does so until `allow_interrupts` is called. A program that is not one of the scripts, and
    imports this module, keeps its own handler of Ctrl-C.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if (
        script is not None
        and Path(script).resolve().parent == _SCRIPTS
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _end_process)


def allow_interrupts():
    """Let Ctrl-C raise `KeyboardInterrupt` again: the work begins, and cleans up when it ends."""
    if signal.getsignal(signal.SIGINT) is _end_process:
        signal.signal(signal.SIGINT, signal.default_int_handler)


end_at_once()

# Imported after the call of `end_at_once`: an import takes a tenth of a second, in which Ctrl-C may
# come.
import ccdflow.lean_imports  # noqa: E402, F401
from ccdflow import paths  # noqa: E402


def add_cores(script_parser, *further_names, default=None, counted_things="threads"):
    """Add the option `--cores`, a whole number from 1.

    Parameters
    ----------
    script_parser : argparse.ArgumentParser
    *further_names : str
        Other names of the option.
    default : int, optional
        Without it the cores of this machine.
    counted_things : str, optional
        The words for them in the help.
    """
    default_words = default or "one for each core"
    script_parser.add_argument(
        "--cores",
        *further_names,
        type=_number_parser(int, "--cores", least=1, allowed="a whole number, 1 or more"),
        default=default or len(os.sched_getaffinity(0)),
        help=f"{counted_things} (default: {default_words})",
    )


def number_type(name, *, above=None, allowed, number_class=float):
    """Return the `type` of an option that is a finite number.

    Parameters
    ----------
    name : str
        Name of the option, as the line on a wrong value shows it.
    above : float, optional
        The number has to be larger than this; without it, 0 or more.
    allowed : str
        These numbers in words.
    number_class : {float, int}, optional

    Returns
    -------
    callable
        Takes the text of the option and returns the number.
    """
    least = 0 if above is None else math.nextafter(above, math.inf)
    return _number_parser(number_class, name, least=least, most=_LARGEST_NUMBER, allowed=allowed)


def seconds_type(name, *, least):
    """Return the `type` of an option that is a time in seconds, up to a day.

    Parameters
    ----------
    name : str
        Name of the option, as the line on a wrong value shows it.
    least : float

    Returns
    -------
    callable
        Takes the text of the option and returns a float.
    """
    return _number_parser(
        float, name, least=least, most=_LONGEST_PAUSE,
        allowed=f"seconds from {least:g} to {_LONGEST_PAUSE:g}",
    )  # fmt: skip


def _number_parser(number_class, name, *, least, allowed, most=math.inf):
    """Return a function that reads a number from a word, and refuses a number out of range.

    Parameters
    ----------
    number_class : {int, float}
    name : str
        Name of the option.
    least : float
        The lower limit, itself allowed.
    allowed : str
        The limits in words.
    most : float, optional
        The upper limit, itself allowed.
    """

    def read(word):
        """Return the number of a word; raise `UserError` if the number is not allowed."""
        try:
            value = number_class(word)
        except ValueError:
            value = math.nan
        # NaN is neither below nor above.
        if not least <= value <= most:
            raise UserError(
                "the value is not allowed",
                keyword=name,
                value=word,
                allowed=allowed,
                remedy="give one within these limits",
            )
        return value

    return read


def help_text(doc, width=None):
    """Return a script's docstring in lines of the terminal's width; commands keep their lines.

    Parameters
    ----------
    doc : str
    width : int, optional
        Characters in a line; those of the terminal if absent.

    Returns
    -------
    str
    """
    width = width or shutil.get_terminal_size().columns - 2
    return "\n\n".join(
        paragraph
        if any(line.startswith("python ") for line in paragraph.splitlines())
        else textwrap.fill(paragraph, width)
        for paragraph in doc.strip().split("\n\n")
    )


class HelpFormatter(argparse.HelpFormatter):
    """The help of a script, with its docstring as `help_text` has it."""

    def _fill_text(self, text, width, indent):
        """Return the text of the docstring."""
        return help_text(text, width)


def usage_words(doc):
    """Return the words of a script's first command in its docstring, without the options.

    Examples
    --------
    >>> usage_words("python scripts/night.py results=FOLDER [night=NIGHT] [--verbose]")
    'results=FOLDER [night=NIGHT]'
    """
    command = re.search(r"^python \S+ (.*?)(?:  |$)", doc, re.MULTILINE)[1]
    return re.sub(r" \[--[^]]*\]", "", command)


def parser(doc, *, names=None):
    """Return a parser whose help is a script's docstring.

    Parameters
    ----------
    doc : str
        The docstring: a sentence, the usage, an example.
    names : sequence of str, optional
        Names that ``NAME=VALUE`` may have. Without them the script takes no words ``NAME=VALUE``.

    Returns
    -------
    argparse.ArgumentParser
    """
    words = usage_words(doc)
    # argparse leaves the lines of a usage that is given as they are.
    usage = textwrap.fill(
        f"usage: {Path(sys.argv[0]).name} [OPTIONS] {words}", subsequent_indent=" " * 7,
        width=shutil.get_terminal_size().columns - 2, break_long_words=False,
        break_on_hyphens=False,
    ).removeprefix("usage: ")  # fmt: skip
    argument_parser = argparse.ArgumentParser(
        usage=usage.replace("%", "%%"), description=doc, formatter_class=HelpFormatter
    )
    argument_parser.add_argument("words", nargs="*", metavar=words, help=argparse.SUPPRESS)
    if names and "raw" in names:
        # A line of snakemake or daily.py is often copied.
        argument_parser.add_argument(
            "--config", action="store_true",
            help="may stand before raw=... and the like, as for snakemake; it changes nothing",
        )  # fmt: skip
    argument_parser.set_defaults(names=tuple(names or ()))
    return argument_parser


def parse_arguments(argument_parser, arguments=None):
    """Parse a command line, and split its words into settings and other words.

    Parameters
    ----------
    argument_parser : argparse.ArgumentParser
        As `parser` returns it.
    arguments : sequence of str, optional
        The arguments; without them those of the process.

    Returns
    -------
    argparse.Namespace
        With ``settings_given``, the values of settings by their names, and ``words``, the other
        words.

    Raises
    ------
    UserError
        If a setting is unknown, given twice or empty.
    """
    options = argument_parser.parse_intermixed_args(arguments)
    options.settings_given, options.words = split_words(options.words, allowed=options.names)
    return options


def split_words(words, *, allowed):
    """Return the settings given as ``NAME=VALUE``, and the other words.

    Parameters
    ----------
    words : list of str
    allowed : sequence of str
        Names that a setting may have. A word with another name is not a setting unless it looks
        like one and names no file.

    Returns
    -------
    settings_given : dict of str to str
    other_words : list of str

    Raises
    ------
    UserError
        If a setting is unknown, given twice or empty.
    """
    settings_given, other_words = {}, []
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or (name not in allowed and (not name.isidentifier() or _is_file(word))):
            other_words.append(word)
        elif name not in allowed:
            raise UserError(
                "the setting is unknown",
                keyword=name,
                allowed=_as_words(allowed),
                remedy="correct its name",
            )
        elif not value or name in settings_given:
            problem = "the setting is given twice" if value else "the setting has no value"
            raise UserError(problem, keyword=name, remedy=f"write {name}=VALUE once")
        else:
            settings_given[name] = value
    return settings_given, other_words


def _is_file(word):
    """Return whether a word is the path of an existing file or folder."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def _as_words(names):
    """Return the names of settings as a usage line has them: ``raw=... results=...``."""
    return " ".join(f"{name}=..." for name in names) or "no NAME=VALUE here"


def path(options, name, *, placeholder="FOLDER", may_lack_name=False, must_exist=False):
    """Return the path that a setting gives.

    Parameters
    ----------
    options : argparse.Namespace
        As `parse_arguments` returns it. A word that is used as the path is taken out of ``words``.
    name : str
    placeholder : str, optional
        The word for the value in the remedy.
    may_lack_name : bool, optional
        Whether the first of ``words`` is the path if the setting is not given.
    must_exist : bool, optional
        Whether the path has to be that of an existing folder.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    UserError
        If the path is not given, or is not that of a folder.
    """
    value = options.settings_given.get(name)
    # Older results: the commands that made them gave a folder without its name.
    if value is None and may_lack_name and options.words:
        value = options.words.pop(0)
    if value is None:
        raise UserError("is not given", keyword=name, remedy=f"write {name}={placeholder}")
    if must_exist and not Path(value).is_dir():
        raise UserError(
            "is not a folder", keyword=name, value=value, remedy="give a folder that exists"
        )
    return Path(value)


def check_products(products, sources, *, may_replace_files):
    """Check that no product would replace a file that is read, another product or an old file.

    Parameters
    ----------
    products : sequence of path-like
    sources : sequence of path-like
        The files that are read.
    may_replace_files : bool
        Whether products may replace existing files that are not among the sources.

    Raises
    ------
    UserError
        For the first product that would.
    """
    source_identities = {_device_and_number(source) for source in sources} - {None}
    checked_products = set()
    for product in products:
        identity = _device_and_number(product)
        if identity in source_identities:
            raise UserError(
                "the product would take the place of a file that is read",
                file=product,
                remedy="give another place as out",
            )
        if os.fspath(product) in checked_products:
            raise UserError(
                "several frames would have this product",
                file=product,
                remedy="give each frame once, and frames of one name one after the other, each"
                " with a place of its own as out",
            )
        if identity is not None and not may_replace_files:
            raise UserError(
                "the file exists already", file=product, remedy="give another place, or --overwrite"
            )
        checked_products.add(os.fspath(product))


def _device_and_number(file):
    """Return device and inode of a file, the same for all its names; None without a file."""
    try:
        status = os.stat(file)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def refuse_further_words(options):
    """Refuse words of the command that the script does not use.

    Raises
    ------
    UserError
        For the first of the words.
    """
    if options.words:
        raise UserError(
            "the word is not understood",
            keyword=options.words[0],
            allowed=_as_words(options.names),
            remedy="see --help",
        )


def check_current_folder():
    """Check that the current folder exists: without it no configuration is found.

    Raises
    ------
    UserError
        If the folder was removed.
    """
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        raise UserError(
            "the current folder is gone", remedy="go to a folder that is there, and try again"
        ) from None


def error_line(error):
    """Return the line on an error; the line on an error of the system begins with its file.

    Parameters
    ----------
    error : ccdflow.errors.CcdflowError or OSError

    Returns
    -------
    str
    """
    if not isinstance(error, OSError):
        return str(error)
    text = error.strerror or str(error)
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{text}; {action_of(error)}"


def run(work, parse_all, arguments=None):
    """Run a script: print its lines, or its error as one line.

    Parameters
    ----------
    work : callable
        Takes the options; returns the text to print, or (text, exit status).
    parse_all : callable
        Takes the arguments and returns the options.
    arguments : list of str, optional

    Returns
    -------
    int
        Exit status: that of the work, 0 if it gives none; 1 for an error or an output that a full
        disk has lost, `INTERRUPTED` after Ctrl-C.
    """
    names_given = set()

    def parse_and_work():
        """Parse the command line, note the names given there, and do the work."""
        options = parse_all(arguments)
        names_given.update(getattr(options, "settings_given", ()))
        return work(options)

    return run_parsed(parse_and_work, names_given)


def run_parsed(work, names_given=()):
    """Do the work of a script without a command line of its own, as `run` does.

    Parameters
    ----------
    work : callable
        Takes nothing; returns the text to print, or (text, exit status).
    names_given : collection of str, optional
        Names of the settings given on the command line; the work may add some. The line of an error
        on one of these settings does not name the configuration file.

    Returns
    -------
    int
        Exit status: that of the work, 0 if it gives none; 1 for an error or an output that a full
        disk has lost, `INTERRUPTED` after Ctrl-C.
    """
    try:
        allow_interrupts()
        check_current_folder()
        output = work()
    except CcdflowError as error:
        print(
            f"ccdflow: {line_with_origin(error, paths.CONFIG_FILE, names_given)}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print(_ENDED_TEXT, file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"ccdflow: {error_line(error)}", file=sys.stderr)
        return 1
    finally:
        end_at_once()
    text, status = output if isinstance(output, tuple) else (output, 0)
    # Python has None for an output that was closed before the start.
    if text and sys.stdout is not None and not _print_text(text):
        return status or 1
    return status


def _print_text(text):
    """Print a text; return False if a full disk has lost it."""
    # A character that the encoding of the terminal lacks becomes a question mark.
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "replace").decode(encoding)
    try:
        print(text, flush=True)
    except OSError as error:
        # The reader of a pipe has ended, as `head` does, the terminal is gone, or the disk is full.
        # Without the next line Python would print an error of its own when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in FULL_DISK:
            print(f"ccdflow: the output cannot be written: {error.strerror}", file=sys.stderr)
            return False
    return True
