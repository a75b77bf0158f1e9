"""`load` and `save` of tinygan.files.npz, under the name that users' scripts import."""

from tinygan.files.npz import load, save

__all__ = ["load", "save"]
