"""The fast floor for CuPy: kernels in CUDA C, products by cuBLAS, recorded graphs."""
