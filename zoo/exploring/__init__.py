"""A data set looked at before anything is trained: the parts of `python -m zoo.explore`."""
