"""Training, in three rooms.

    the algorithm   algorithm.py: one step, as in the papers; what it measures (statistics.py) and
                    averages (ema.py)
    the execution   execution.py: how a step is computed: whole or in parts, on one process or
                    several (ranks.py), recorded
    the run         trainer.py: a folder with its log.py, gallery.py, evaluation.py; what goes
                    wrong, in words (health.py)

Beside them: recipes.py, the registry of recipes; sampling.py and projector.py, what is done with a
trained generator.
"""
