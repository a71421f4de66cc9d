"""The templates of pages, and the filters that write values for HTML."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from urllib.parse import quote

import jinja2
from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ccdflow.pages.contents import NamedFile
from ccdflow.pages.glossary import REMARKS, hint_of
from ccdflow.pages.pictures.small_picture import chunks
from ccdflow.pages.pictures.style import footer_height
from ccdflow.pages.text_formatting import (
    EMPTY_CELL,
    capitalised_text,
    figure_text,
    night_title,
    number_in_words,
    span_text,
    type_words,
    value_with_error,
)
from ccdflow.wording import count

_EMPTY_CELLS = ("", "-", EMPTY_CELL)


def _format_fixed(values, decimals):
    """Return the figures of all amplifiers as text, with this number of decimals."""
    figures = [f"{value:.{decimals}f}" if math.isfinite(value) else EMPTY_CELL for value in values]
    return " / ".join(figures).replace("-", "−") if figures else EMPTY_CELL


def _exposure_text(value):
    """Return an exposure time in seconds as text: to the millisecond, without zeros at the end."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if math.isfinite(value) else EMPTY_CELL


# Matches a cell with a number: 3.5, 1.2e-5, 3.5 ± 0.1, 20 %.
_FIGURE = re.compile(r"[−-]?\d[\d.]*(e[−+-]?\d+)?( ± [\d.e−+-]+)?( %)?")


def is_figure(text):
    """Return whether a cell of a table is a number, with or without its error."""
    return _FIGURE.fullmatch(text) is not None


# A space at which no line ends: it can be printed, but `str.isprintable` is False for it.
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def escape_unprintable(text):
    """Return a text with escapes for the characters that cannot be printed.

    These are line breaks, control characters, and bytes of names that are no UTF-8.

    Parameters
    ----------
    text : object
        Its ``str`` is the text.

    Returns
    -------
    str
        Printable characters and no-break spaces only, which UTF-8 can always encode.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in _NO_BREAK_SPACE
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def href(path):
    """Return a relative path as a link; bytes of a name that are no UTF-8 are kept.

    With ``./`` at its beginning no browser takes the beginning of a name for a scheme or a host.
    """
    quoted = quote(path, safe="/", errors="surrogateescape")
    return quoted if quoted.startswith(("./", "../")) else f"./{quoted}"


def _data_uri(png):
    """Return a PNG as a data URI."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode("ascii"))


def _png_size(png):
    """Return the width and height in pixels, from the header of a PNG."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def explanation(png):
    """Return the explanation below the panels of one of our pictures; '' for none."""
    text = next((data for kind, data in chunks(png) if kind == b"iTXt"), b"")
    return text.rpartition(b"\0")[2].decode("utf-8")


def panels_height(png):
    """Return the height of one of our pictures without its explanation, pixels."""
    height = _png_size(png)[1]
    text = explanation(png)
    return height - footer_height(text) if text else height


# Patterns that match the ASCII spellings of lines on a terminal, and the signs of print for each.
_SIGNS = (
    (re.compile(r"(?<=[\d,] )e-(?=[\s/,;.)]|$)"), "e⁻"),
    (re.compile(r"\(e-(?=[)/])"), "(e⁻"),
    (re.compile(r"(?<=\d )e2(?= a pixel)"), "(e⁻)²"),
    (re.compile(r"(?<=\()-(?=\d[\d.]* %)"), "−"),
    (re.compile(r"(?<![\w.])-(?=\d[\d.]* C\b)"), "−"),
    (re.compile(r"(?<=\d) C\b"), " °C"),
    (re.compile(r"(?<=\d) (?=%|e⁻|°C|adu\b)"), "\u00a0"),
)


def signs(text):
    """Return a text with the signs of print, and no line break between a number and its unit.

    Examples
    --------
    >>> signs("22,173 e- (-19 %); adds 21 e2 a pixel").replace("\N{NO-BREAK SPACE}", "_")
    '22,173_e⁻ (−19_%); adds 21 (e⁻)² a pixel'
    >>> signs("darks at -80.35 C, 3.78 adu").replace("\N{NO-BREAK SPACE}", "_")
    'darks at −80.35_°C, 3.78_adu'
    >>> signs("Gain (e-/adu), Noise (e-)")
    'Gain (e⁻/adu), Noise (e⁻)'
    """
    for pattern, sign in _SIGNS:
        text = pattern.sub(sign, text)
    return text


def markup_of_value(value):
    """Return a value as markup with the signs of print.

    Examples
    --------
    >>> markup_of_value("12 e- <b>").replace("\N{NO-BREAK SPACE}", "_")
    Markup('12_e⁻ &lt;b&gt;')
    """
    return _markup_with_whole_dates(signs(escape_unprintable(value)))


# Matches a date: year, month and day, or month and day alone.
_DATE = re.compile(r"(?<![\w.-])(?:\d{4}-)?\d\d-\d\d(?![\w-])")


def _markup_with_whole_dates(text):
    """Return a text as markup in which no line ends within a date.

    Examples
    --------
    >>> _markup_with_whole_dates("bias of 2022-01-26 <b>")
    Markup('bias of <span class="whole">2022-01-26</span> &lt;b&gt;')
    """
    return Markup(_DATE.sub(r'<span class="whole">\g<0></span>', str(escape(text))))


def share(fraction):
    """Return a fraction in percent as text, to two digits.

    Examples
    --------
    >>> share(0.0077), share(5e-7), share(0.0)
    ('0.77 %', 'less than 0.001 %', '0 %')
    """
    # A fraction of 1e-5 is 0.001 %: smaller ones are not distinguished.
    return "less than 0.001 %" if 0 < fraction < 1e-5 else f"{figure_text(100 * fraction, 2)} %"


@dataclass(frozen=True)
class Column:
    """A column of a section's table.

    Attributes
    ----------
    index : int
        Index of the column's cells in the rows.
    heading, hint : str
    is_number : bool
        Whether all values of the column are numbers.
    """

    index: int
    heading: str
    hint: str
    is_number: bool


def columns(section):
    """Return the `Column` of each column of a section's table, but for those of empty cells."""
    columns_with_values = []
    for index, heading in enumerate(section.headings):
        cells = [cell for row in section.rows if (cell := row[index]) not in _EMPTY_CELLS]
        if not cells and section.rows:
            continue
        is_number = bool(cells) and all(map(is_figure, cells))
        hint = hint_of(heading, section)
        columns_with_values.append(
            Column(index, markup_of_value(heading or REMARKS), hint, is_number)
        )
    return columns_with_values


def check_pictures(pictures, page):
    """Check that pictures are PNG files and have a text for readers who cannot see them.

    Parameters
    ----------
    pictures : iterable of ccdflow.pages.contents.Picture
    page : str
        Name of the page for the error.

    Raises
    ------
    ValueError
        For the first picture that fails: the kind that drew it has a fault.
    """
    for picture in pictures:
        if not picture.png.startswith(b"\x89PNG\r\n\x1a\n"):
            name = picture.title or picture.alt
            raise ValueError(f"{name}: a picture of {page} is no PNG: it is {picture.png[:8]!r}")
        if not picture.alt.strip():
            raise ValueError(f"{picture.title or page}: a picture has no alternative text")


# A name of at most this many letters stays on one line. With more, names widen the columns of a
# table; with fewer, short names are broken into two lines. Chosen, not measured.
_SHORT_LETTERS = 16


def breakable(text):
    """Return a cell as markup: a line may end after underscores and slashes of names, not of units.

    A `NamedFile` gets the path of its file on hovering, and a link to the file.
    """
    cell = EMPTY_CELL if text in _EMPTY_CELLS else signs(escape_unprintable(text))
    parts = re.split(r"(?<=_)|(?<=/)(?=[^\s/]{3})", cell)
    words = Markup("<wbr>").join(_markup_with_whole_dates(part) for part in parts if part)
    if not isinstance(text, NamedFile):
        return words
    hint = escape_unprintable(text.hint)
    if text.path:
        class_attribute = Markup(' class="whole"') if len(text) <= _SHORT_LETTERS else ""
        link = Markup('<a{} href="{}" title="{}">{}</a>')
        return link.format(class_attribute, href(text.path), hint, words)
    return Markup('<span title="{}">{}</span>').format(hint, words)


def markup_of_sentence(text):
    """Return a sentence as markup, with the words between backquotes in the letters of code."""
    parts = escape_unprintable(text).split("`")
    if len(parts) % 2 == 0:
        return markup_of_value(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part)
        if number % 2
        else _markup_with_whole_dates(signs(part))
        for number, part in enumerate(parts)
    )


_TEMPLATES = Path(__file__).with_name("templates")


class _CompiledTemplates(FileSystemBytecodeCache):
    """Compiled templates, kept where Python keeps its own compiled modules.

    A template is compiled again when the template, the code of the pages or Jinja's version
    changes.
    """

    def __init__(self):
        super().__init__(str(Path(cache_from_source(str(_TEMPLATES / "page.py"))).parent))
        parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
        self._code = b"\0".join([jinja2.__version__.encode(), *parts])

    def get_source_checksum(self, source):
        """Return the hash of a template, Jinja's version and the code of the pages."""
        return hashlib.sha1(self._code + b"\0" + source.encode()).hexdigest()

    def load_bytecode(self, bucket):
        """Load a compiled template; if it cannot be read, Jinja compiles the template again."""
        try:
            super().load_bytecode(bucket)
        except OSError:
            # Jinja itself catches only some errors of the system.
            return

    def dump_bytecode(self, bucket):
        """Keep a compiled template, unless Python is asked to write no bytecode."""
        if sys.dont_write_bytecode:
            return
        try:
            Path(self.directory).mkdir(parents=True, exist_ok=True)
            super().dump_bytecode(bucket)
        except OSError:
            # Without a folder that can be written, each process compiles the templates anew.
            return


@cache
def template_environment():
    """Return the environment that the templates are rendered in."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        bytecode_cache=_CompiledTemplates(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_make_printable,
    )
    environment.filters |= {
        "figure": figure_text,
        "fixed": _format_fixed,
        "seconds": _exposure_text,
        "span": span_text,
        "capitalize_first": capitalised_text,
        "value_with_error": value_with_error,
        "number_in_words": number_in_words,
        "href": href,
        "data_uri": _data_uri,
        "png_size": _png_size,
        "type_words": type_words,
        "night_title": night_title,
        "count": count,
        "is_figure": is_figure,
        "breakable": breakable,
        "markup_of_sentence": markup_of_sentence,
        "columns": columns,
        "explanation": explanation,
        "panels_height": panels_height,
        "share": share,
        "signs": markup_of_value,
    }
    return environment


def _make_printable(value):
    """Return the value of an expression in a template, printable; markup stays as it is."""
    return escape_unprintable(value) if type(value) is str else value


def template(name):
    """Return the compiled template with the name of its file."""
    return template_environment().get_template(name)
