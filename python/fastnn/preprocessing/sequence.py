"""Sequences of different lengths, see `utils`."""
from ..utils import pad_sequences

__all__ = ["pad_sequences"]
