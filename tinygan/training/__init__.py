"""Training, in three rooms.

    the algorithm   algorithm.py: one step, as in the papers; statistics.py, ema.py: what it measures, and averages
    the execution   execution.py: how a step is computed: whole or in parts, on one process or several (ranks.py), recorded
    the run         trainer.py: a folder with its log.py, gallery.py, evaluation.py; health.py: what goes wrong, in words

Beside them: recipes.py, the registry of recipes; sampling.py and projector.py, what is done with a
trained generator.
"""
