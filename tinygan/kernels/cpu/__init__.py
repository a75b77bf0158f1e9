"""The fast kernels for NumPy: they compute in blocks that fit the cache, on several threads."""
