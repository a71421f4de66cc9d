"""What `snakemake --report` shows: the pages and pictures that are there; nothing is made here."""


def published(wildcards=None):
    """Return the pages, pictures and tables that stand in the results folder."""
    top = Path(RESULTS)
    found = [top / paths.INDEX_PAGE, top / paths.INVENTORY, top / paths.BIAS_QUALITY]
    found += sorted(top.glob("nights/*/*.html")) + sorted(top.glob("nights/*/*.png"))
    return [str(path) for path in found if path.is_file()]


rule published_night:
    output:
        report(f"{RESULTS}/nights/{{night}}/{{picture}}.png", category="{night}"),


rule published_page:
    output:
        report(f"{RESULTS}/nights/{{night}}/report.html", category="{night}"),


rule published_tables:
    output:
        report(f"{RESULTS}/{{table}}.csv", category="tables"),


rule published_index:
    output:
        report(f"{RESULTS}/report.html", category="all nights"),
