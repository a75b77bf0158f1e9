"""`python -m demos.bench`: how fast is a training step, also compared with PyTorch or JAX, and why?

workloads.py                       six training steps in tinygan
torch_side.py, torch_stylegan2.py  the same steps in PyTorch, imported only with --against torch
jax_side.py                        the same steps in JAX, imported only with --against jax
worker.py                          runs steps in their own process; measures time and memory
report.py                          the tables
__main__.py                        the command line
"""
