"""What the tables of `benchmarks.measures` amount to, computed from the files alone, without torch.

A module has the name of its measure and a function `summarize(folder, result)`, which returns a
table with a row for each figure.
"""
