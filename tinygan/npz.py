"""Another name for tinygan.files.npz, which scripts outside use."""

from tinygan.files.npz import load, save

__all__ = ["load", "save"]
