"""Training: the algorithm, its execution, and the run around it.

    the algorithm   algorithm.py: a step of training, as in the papers; objectives.py: what D and G
                    minimise in it; unrolled.py: what D will be some updates ahead; statistics.py:
                    the numbers for the log; ema.py: the moving average of G
    the execution   execution.py: how a step is computed: in micro-batches, on several processes
                    (ranks.py), recorded; batch_sizes.py: which batches can be divided so
    the run         start.py: how it begins and continues; session.py: the same on several
                    processes; own_code.py, own_modules.py, own_penalty.py: models, losses and
                    penalties of the user's own; trainer.py: a run with its folder; changes.py: what
                    a resumed run does differently; transfer.py: weights of another run;
                    run_data.py: its data; log.py, gallery.py, evaluation.py: what it writes;
                    health.py: warnings and errors when training goes wrong

Besides these, recipes.py lists the recipes; sampling.py, samples.py, report.py and projector.py use
trained generators.
"""
