"""The parts of `python -m zoo.serve`: from a request's bytes to its answer.

    door -> api or page -> service -> decoders (processes) -> batcher (threads) -> answer

What a stranger sends is untrusted until it has become samples. Imports no torch, but for models
that need it.
"""
