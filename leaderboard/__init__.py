"""Which runs did best: tables of results that may be compared, from the runs' own files.

Reads result.json and the score tables beside it, checks one against the other, and imports no
torch.
"""
