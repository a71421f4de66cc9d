"""Products by their own names: as targets of a run, and for `snakemake --report`.

What makes a product leaves a record, and that is what the other rules are about (why:
docs/architecture.md). This rule only leads from a name to its record; in views the other rules
have the products themselves.
"""


def record_by_name(wildcards):
    """Return the record of a product that is a target of its own, if it is to be made."""
    if not host.read(workflow).makes:
        return []
    begin()
    return list(map(ancient, RUN.records_of([str(wildcards.product)])))


def category_of(wildcards):
    """Return the part of a report in which a product is shown."""
    folder, *rest = Path(wildcards.product).parts
    return rest[0] if folder == "nights" else "all nights"


def published():
    """Return the pages, pictures and tables that stand in the results folder."""
    top = Path(RESULTS)
    found = [top / paths.INDEX_PAGE, top / paths.INVENTORY, top / paths.BIAS_QUALITY]
    found += sorted(top.glob("nights/*/*.html")) + sorted(top.glob("nights/*/*.png"))
    return [str(path) for path in found if path.is_file()]


if not IS_VIEW:

    rule product:
        input:
            record_by_name,
        output:
            report(update(f"{RESULTS}/{{product}}"), category=category_of),
        log:
            f"{RESULTS}/{paths.LOGS}/{{product}}.log",
        wildcard_constraints:
            product=r"(reduced|combined|nights)/.+|[^/.]+\.(csv|html)",
        """Name of a product -> the product, by way of the rule that makes it."""
        localrule: True
        run:
            check_made(output[0])
