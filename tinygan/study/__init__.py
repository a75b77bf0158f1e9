"""Studies: a few settings, each trained with several seeds, measured alike, and compared.

    study = Study(__file__, __doc__)          # takes --full, --tiny, --seeds, --jobs and --again
    runs = study.train({"with R1": "r1=0.2", "without": "r1=0"}, "quick",
                       steps=study.choose(10, 1000, 5000))
    study.finding(f"FID {mean(run.fid for run in runs['with R1']):.1f} with R1, ...")

The scripts in demos/ are studies. A study is run in one of three sizes. By default it takes
minutes, trains anew each time, and leaves its figures in out/ beside the script. `--full` is the
real experiment. What it measured is kept in results/ (NAME.json has the numbers, NAME.npz the
samples), and its figure in pictures/; if it was stopped, it goes on where it was. `--tiny` is a few
steps of everything, to see that it runs.

study.py has Study and Run; measure.py trains and measures a run, processes.py several of them side
by side; kept.py keeps what was measured; figures.py draws.
"""

from .figures import bars, below, curves, evaluations, logarithmic, means, show, span
from .study import Run, Study

# fmt: off
__all__ = [
    "bars", "below", "curves", "evaluations", "logarithmic", "means", "Run", "show", "span",
    "Study",
]
# fmt: on
