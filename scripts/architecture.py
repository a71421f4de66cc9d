"""Draw docs/architecture.svg: the kinds of products with their sources, and the layers.

python scripts/architecture.py out=FILE

The kinds are those of `ccdflow.kinds.CHAIN`, as a plan of the guide's simulated night joins them;
the layers are those of the table in docs/architecture.md. No arrow is drawn between two boxes that
a path of other arrows joins. Example:

python scripts/architecture.py out=docs/architecture.svg
"""

from __future__ import annotations

import re
import sys
import tempfile
from html import escape
from itertools import pairwise
from pathlib import Path

from ccdflow import command_lines, settings, simulate
from ccdflow.files import atomic_write
from ccdflow.kinds import CHAIN
from ccdflow.run import session
from ccdflow.run.run_start import DRY_RUN

RAW, RULES, SCRIPTS = "raw frames", "rules", "scripts"
# Units of the drawing: its width, the height of a box, the gap between two boxes, the distance from
# one row of boxes to the next.
WIDTH, BOX_HEIGHT, GAP, ROW_STEP = 1000, 44, 18, 84
_STYLE = """
text { font: 13px sans-serif; text-anchor: middle; fill: #1d2733; }
.small { font-size: 11px; fill: #51606f; }
.title { font-size: 17px; font-weight: bold; text-anchor: start; }
rect.box { fill: #eef3f8; stroke: #4a6b8a; stroke-width: 1.2; }
rect.master { fill: #fdf1dd; stroke: #a9772b; }
rect.shown { fill: #eaf5ea; stroke: #4d8a57; }
path { fill: none; stroke: #7d8b99; stroke-width: 1.3; marker-end: url(#end); }
"""


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("out",))
    return command_lines.parse_arguments(parser, arguments)


def sources_of_kinds():
    """Return {kind: kinds that it is made of}, from a plan of the guide's night.

    Returns
    -------
    dict of str to set of str
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, results = Path(folder, "raw"), Path(folder, "results")
        simulate.simulate_night(raw, scale=0.0625)
        config = {"raw": str(raw), "results": str(results), "progress": "none"}
        plan = session.start(settings.load_settings(config), chain=CHAIN, request=DRY_RUN).plan
    needs_of_kinds = {kind.name: set() for kind in CHAIN}
    for job in plan.jobs.values():
        needs_of_kinds[job.kind] |= {
            plan.jobs[need].kind for need in job.needs if need in plan.jobs
        }
    return {RAW: set(), **needs_of_kinds, CHAIN.first.name: {RAW}}


def imports_of_layers(text):
    """Return {package: packages that it may import}, from the document's table.

    Parameters
    ----------
    text : str
        docs/architecture.md.

    Returns
    -------
    dict of str to set of str
    """
    table = text.partition("Inside the library")[2].partition("\n\n| ")[2].partition("\n\n")[0]
    needs_of_packages = {}
    for line in table.splitlines()[2:]:
        names_cell, _, imports_cell = line.strip("| ").split(" | ")
        names = re.findall(r"`(\w+)/?`", names_cell)
        # The single modules, which stand in one row of the table, are one box.
        box_name = "errors, paths, settings ..." if len(names) > 1 else names[0]
        needs_of_packages[box_name] = set(re.findall(r"`(\w+)/?`", imports_cell))
    single_modules = next(iter(needs_of_packages))
    needs_of_boxes = {
        name: {need for need in needs if need in needs_of_packages} | {single_modules}
        for name, needs in needs_of_packages.items()
    }
    needs_of_boxes[single_modules] = set()
    return {**needs_of_boxes, SCRIPTS: set(needs_of_boxes), RULES: {"kinds", "run"}}


def remove_implied_arrows(needs):
    """Return a graph without the arrows between boxes that a path of other arrows joins.

    Parameters
    ----------
    needs : dict of str to set of str
        By the name of each box, the boxes from which an arrow leads to it.

    Returns
    -------
    dict of str to set of str
    """
    return {
        name: {
            need
            for need in needs_of_name
            if not any(need in _boxes_above(box, needs) for box in needs_of_name - {need})
        }
        for name, needs_of_name in needs.items()
    }


def _boxes_above(name, needs):
    """Return the names of all boxes from which a path of arrows leads to a box."""
    return set().union(*({need} | _boxes_above(need, needs) for need in needs[name]))


def rows_of(needs):
    """Return the names of boxes in rows: each is in a row below those of its needs."""
    row_numbers = {}

    def row_number(name):
        """Return the number of the row of a box, from 0."""
        if name not in row_numbers:
            row_numbers[name] = 1 + max(map(row_number, needs[name]), default=-1)
        return row_numbers[name]

    rows = [[] for _ in range(1 + max(map(row_number, needs)))]
    for name in needs:
        rows[row_numbers[name]].append(name)
    return rows


def graph_elements(needs, labels, *, top):
    """Return (SVG elements, height) of a graph; its arrows lead down, from source to product.

    Parameters
    ----------
    needs : dict of str to set of str
    labels : dict of str to (str, str)
        The second line of a box, and its class.
    top : int
        Where the first row begins.

    Returns
    -------
    (list of str, int)
    """
    rows, places = rows_of(needs), {}
    for number, row in enumerate(rows):
        width = min(172, (WIDTH - GAP) / len(row) - GAP)
        start = (WIDTH - len(row) * (width + GAP) + GAP) / 2
        for column, name in enumerate(row):
            places[name] = (start + column * (width + GAP), top + number * ROW_STEP, width)
    arrows, boxes = [], []
    for name, (x, y, width) in places.items():
        arrows += [arrow(rows, places, source, name) for source in sorted(needs[name])]
        second_line, box_class = labels.get(name, ("", ""))
        name_y = y + (19 if second_line else 27)
        boxes.append(
            f'<rect class="box {box_class}" x="{x:.0f}" y="{y}" width="{width:.0f}"'
            f' height="{BOX_HEIGHT}" rx="6"/>'
            f'<text x="{x + width / 2:.0f}" y="{name_y}">{escape(name)}</text>'
            f'<text class="small" x="{x + width / 2:.0f}" y="{y + 35}">{escape(second_line)}</text>'
        )
    return arrows + boxes, len(rows) * ROW_STEP


def arrow(rows, places, source, name):
    """Return the path from one box down to another, between the boxes of the rows passed.

    Parameters
    ----------
    rows : list of list of str
    places : dict of str to (float, int, float)
        Left edge, upper edge and width of each box.
    source, name : str

    Returns
    -------
    str
        Elements of an SVG.
    """
    (x0, y0, from_width), (x1, y1, width) = places[source], places[name]
    start, end = x0 + from_width / 2, x1 + width / 2
    points = [(start, y0 + BOX_HEIGHT)]
    for row in rows:
        y = places[row[0]][1]
        if y0 < y < y1:
            crossing = start + (end - start) * (y - y0) / (y1 - y0)
            edges = [places[each][0] - GAP / 2 for each in row]
            edges.append(places[row[-1]][0] + places[row[-1]][2] + GAP / 2)
            crossing = min(edges, key=lambda edge: abs(edge - crossing))
            points += [(crossing, y), (crossing, y + BOX_HEIGHT)]
    points.append((end, y1 - 4))
    path = f"M{points[0][0]:.0f},{points[0][1]}"
    for (xa, ya), (xb, yb) in pairwise(points):
        middle = (ya + yb) / 2
        path += f" C{xa:.0f},{middle:.0f} {xb:.0f},{middle:.0f} {xb:.0f},{yb}"
    return f'<path d="{path}"/>'


def labels_of_kinds():
    """Return the second line and the class of each kind's box: its rule, and its sort."""
    return {
        kind.name: (
            f"rule {kind.rule}",
            "master" if kind.type else "shown" * kind.is_report,
        )
        for kind in CHAIN
    }


def svg(text):
    """Return the drawing, for the text of docs/architecture.md."""
    kind_elements, kind_height = graph_elements(
        remove_implied_arrows(sources_of_kinds()), labels_of_kinds(), top=60
    )
    needs_of_layers = remove_implied_arrows(imports_of_layers(text))
    labels_of_layers = {RULES: ("Snakemake", ""), SCRIPTS: ("command lines", "")}
    layer_elements, layer_height = graph_elements(
        needs_of_layers, labels_of_layers, top=kind_height + 110
    )
    height = kind_height + layer_height + 110
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>ccdflow: kinds of products and layers of the code</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
            ' markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" style="fill:#7d8b99;'
            'stroke:none;marker-end:none"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            '<text class="title" x="20" y="34">What is made of what: ccdflow.kinds.CHAIN</text>',
            *kind_elements,
            f'<text class="title" x="20" y="{kind_height + 84}">Who imports whom:'
            " arrows lead to the importing package</text>",
            *layer_elements,
            "</svg>\n",
        ]
    )


def run(options):
    """Write the drawing and return the line that names it."""
    drawing_path = command_lines.path(options, "out", placeholder="FILE")
    command_lines.refuse_further_words(options)
    atomic_write.write_text(
        drawing_path, svg((settings.ROOT / "docs" / "architecture.md").read_text("utf-8"))
    )
    return f"{drawing_path}: {len(CHAIN)} kinds of products"


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
