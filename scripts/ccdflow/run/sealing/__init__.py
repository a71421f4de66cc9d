"""The seal of an archive in which nothing is to be done, and the look at its folders."""
