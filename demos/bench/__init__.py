"""`python -m demos.bench`: how fast a training step is, beside PyTorch or JAX, and where that comes from.

workloads.py                 six training steps, in tinygan
torch_side.py, jax_side.py   the same steps in the others, imported only if asked for
worker.py                    runs steps in a process of its own, and times or weighs them
report.py                    the tables
__main__.py                  the command line
"""
