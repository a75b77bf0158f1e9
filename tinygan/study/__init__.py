"""Studies: some settings, each trained with some seeds, measured alike, and compared. The scripts in demos/ are made of them.

    study = Study(__file__, __doc__)                        # takes --full, --tiny, --seeds and --jobs
    runs = study.train({"with R1": "r1=0.2", "without": "r1=0"}, "quick", steps=study.choose(10, 1000, 5000))
    study.finding(f"FID {mean(run.fid for run in runs['with R1']):.1f} with R1, ...")

A study is run in one of three sizes. By default it takes minutes, trains anew each time, and leaves its figures in out/ beside
the script. `--full` is the real experiment: what it measured is kept in results/, NAME.json (numbers) and NAME.npz (samples), its figure in pictures/;
stopped, it goes on where it was. `--tiny` is a few steps of everything, to see that it runs.
"""

from .figures import bars, below, curves, evaluations, logarithmic, means, show, span
from .study import Run, Study
