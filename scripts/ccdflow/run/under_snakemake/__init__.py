"""A run under Snakemake: functions for the rules, options and messages of Snakemake, its views."""
