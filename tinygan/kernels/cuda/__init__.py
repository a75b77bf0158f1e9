"""The fast kernels for CuPy: kernels in CUDA C, products by cuBLAS, and recorded steps."""
