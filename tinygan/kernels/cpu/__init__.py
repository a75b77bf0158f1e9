"""The fast floor for NumPy: blocks that fit the cache, Winograd, threads."""
