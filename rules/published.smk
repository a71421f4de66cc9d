"""What `snakemake --report` shows: the pages and pictures that are there; nothing is made here."""


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
