"""Studies: train a few variants of a recipe with several seeds, measure all alike, compare them.

    study = Study("quick_r1", __doc__)        # takes --full, --tiny, --seeds, --jobs and --again
    runs = study.train({"with R1": "r1=0.2", "without": "r1=0"}, "quick",
                       steps=study.choose(10, 1000, 5000))
    study.finding(f"FID {mean(run.fid for run in runs['with R1']):.1f} with R1, ...")

The scripts in demos/ are studies. A study has three sizes. By default it takes minutes, trains anew
each time, and writes its figures to out/ beside the script. `--full` is the real experiment. It
keeps its measurements in results/ (numbers in NAME.json, samples in NAME.npz) and its figure in
pictures/; if it is interrupted, the same command continues it. `--tiny` takes a few steps of
everything, as a test that the script runs. A notebook has no command line: there, the size is an
argument of Study.

    study.py         Study
    run.py           Run, the measurements of one run
    claims.py        what a claim compares, and its verdict
    measure.py       train and measure one run
    processes.py     train and measure several runs in parallel
    command_line.py  the options of a study
    result_files.py  the files in results/
    figures.py       plots and summaries that several studies share
"""

from .claims import Comparison, larger, smaller
from .figures import (
    COLORS,
    lowest,
    mean_and_range,
    median,
    median_and_all,
    median_over_seeds,
    plot_bars,
    plot_evaluations,
    plot_images,
    plot_log,
    set_log_scale,
)
from .run import Run
from .study import Study

# fmt: off
__all__ = [
    "COLORS", "Comparison", "larger", "lowest", "mean_and_range", "median", "median_and_all",
    "median_over_seeds", "plot_bars", "plot_evaluations", "plot_images", "plot_log", "Run",
    "set_log_scale", "smaller", "Study",
]
# fmt: on
