"""A run under Snakemake: what the rules call, the options and messages of Snakemake, its views."""
