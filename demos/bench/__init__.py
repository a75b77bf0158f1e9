"""`python -m demos.bench`: how fast is a training step, also compared with PyTorch or JAX, and why?

workloads.py                       six training steps in tinygan
recipes.py                         the whole training steps of three recipes
torch_side.py, torch_stylegan2.py  the six steps in PyTorch, imported only with --against torch
torch_recipes.py                   the recipes in PyTorch, likewise
jax_side.py                        the six steps in JAX, imported only with --against jax
worker.py                          runs steps in their own process; measures time and memory
second_core.py                     what the machine's second core is worth at the moment
time_to_fid.py                     how long the default recipe trains until a given FID
report.py                          the tables
__main__.py                        the command line
"""
