# %% [markdown]
"""How training dies: five illnesses, by curve and picture, their causes and cures.

python demos/how_training_dies.py              # two to three minutes
python demos/how_training_dies.py --full       # MNIST, three seeds, about a minute per run
"""

# %% [markdown]
# ## Five illnesses
#
# Each run here is `quick` with a mistake, beside a run with the cure. (Some illnesses need several
# mistakes, and their cure mends all of them.) `tinygan train` warns of the first signs by itself
# (training/health.py): when D has been right about every image for long, or wrong about every
# image, when G's images hardly vary, and when G's gradient is nearly zero.
#
#     D wins        The loss log(1 - D) saturates, and D learns much faster than G: D is always
#                   right, and G's gradient vanishes. Cure: -log D, R1, and equal rates.
#     D sleeps      D's learning rate is a thousandth. G runs to wherever D happens to be wrong,
#                   and stays there. Cure: a rate like G's.
#     no leash      A critic has no threshold, and nothing bounds its slope; it learns fast, and its
#                   outputs run away. Cure: a gradient penalty, and a fifth of D's rate.
#     too fast      A rate of .02 for both networks: they overshoot at every step. Cure: a tenth.
#     by heart      With 50 images, D memorises them: it calls held-out images fake. Cure: ADA.
#
# ## The claims
#
# Each cure works: the FID is smaller than that of the ill run. The rule, fixed before the runs: a
# claim holds if all seeds of one side are beyond all seeds of the other, and the medians differ by
# at least a tenth. It is reversed if the same is true the other way round, and otherwise undecided
# at this scale. A run that diverges, or whose recall is below .05, has failed, and counts as worse
# than any other: so a cure that leaves its patient dead does not work. (With 50 training images,
# the recall is always small: there, only a run that diverges has failed.)

# %%
from typing import NamedTuple

import numpy as np

from tinygan.study import (
    COLORS,
    Study,
    median_and_all,
    median_over_seeds,
    plot_images,
    set_log_scale,
    smaller,
)
from tinygan.training import log

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("how_training_dies", __doc__, size=STUDY_SIZE)


class Illness(NamedTuple):
    """ill, cured: the settings. column: of the log, which shows the illness. title: of its plot.
    cure: in words."""

    ill: str
    cured: str
    column: str
    title: str
    cure: str


ILLNESSES = {
    "D wins": Illness(
        "loss=bce-minimax r1=0 lr=2e-4 d_lr=4e-3 d_steps=2",
        "loss=bce r1=0.2 lr=2e-3 d_lr=2e-3",
        "g_grad_norm",
        "length of G's gradient",
        "-log D, R1, equal rates",
    ),
    "D sleeps": Illness("d_lr=2e-6", "d_lr=2e-3", "d_accuracy", "D's accuracy", "a rate like G's"),
    "no leash": Illness(
        "loss=wasserstein r1=0 d_lr=1e-2",
        "loss=wasserstein r1=0 gp=10 d_lr=2e-3",
        "logit_real",
        "D's mean output on reals",
        "a penalty, a fifth of the rate",
    ),
    "too fast": Illness(
        "r1=0 lr=2e-2 d_lr=2e-2",
        "r1=0 lr=2e-3 d_lr=2e-3",
        "d_loss",
        "D's loss",
        "a tenth of the rates",
    ),
    "by heart": Illness(
        "train_size=50 r1=0",
        "train_size=50 r1=0 augment=ada ada_target=0.3",
        "logit_held_out",
        "D's mean logit of held-out images",
        "ADA",
    ),
}
LOGARITHMIC = {"g_grad_norm", "logit_real"}


def warnings(folder):
    """Return the warnings of a run: {"warnings": [first sentence of each]}."""
    texts = [text for row in log.rows(folder) for text in row.get("warnings", ())]
    return {"warnings": [text.split(":")[0] for text in texts]}


# %% [markdown]
# ## The runs

# %%
runs = {}
for name, illness in ILLNESSES.items():
    runs |= study.train(
        {name: illness.ill, f"{name}, cured": illness.cured},
        "quick",
        "g_channels=16 d_channels=16 batch_size=32 ema=0.99",
        steps=study.choose(4, 800, 2000),
        also=warnings,
        least_recall=0.0 if name == "by heart" else 0.05,
    )
study.compare("", runs, {"FID": ("fid", 1), "precision": ("precision", 2), "recall": ("recall", 2)})
for name in ILLNESSES:
    said = dict.fromkeys(text for run in runs[name] for text in run.also["warnings"])
    print(f"{name}: {'; '.join(said) or 'no warning'}")

# %% [markdown]
# ## The figure

# %%
fid = median_over_seeds(runs, "fid")
names = [[f"{what} {name}" for what in ("curve", "ill", "cured")] for name in ILLNESSES]
figure, panels = study.figure(names, 14.5, width_ratios=(1.15, 1, 1))
for name, illness in ILLNESSES.items():
    axes = panels[f"curve {name}"]
    for state, color in (("", COLORS[1]), (", cured", COLORS[0])):
        for run in runs[name + state]:
            rows = zip(run.log["step"], run.log.get(illness.column, ()))
            points = [(x, y) for x, y in rows if y is not None]
            steps, values = np.array(points).T if points else ((), ())
            if illness.column in LOGARITHMIC:
                values = np.abs(values)
            label = (name + state) if run is runs[name + state][0] else None
            axes.plot(steps, values, color=color, linewidth=1.5, label=label)
    if illness.column in LOGARITHMIC and study.size != "tiny":
        set_log_scale(axes)
    axes.set_title(f"{name}: {illness.title}", loc="left")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    for what, label in (("ill", name), (f"cured by {illness.cure}", f"{name}, cured")):
        images = runs[label][0].images
        shown = images.reshape(4, 10, *images.shape[1:])[:3, :6].reshape(-1, *images.shape[1:])
        fared = f"FID {fid[label]:.0f}" if np.isfinite(fid[label]) else "failed"
        plot_images(panels[f"{what.split()[0]} {name}"], shown, 6, f"{what}: {fared}")
claims = {
    f"{name}: the cure works": smaller(runs, "fid", f"{name}, cured", name, "FID")
    for name in ILLNESSES
}
cured = sum(claim.verdict() == "holds" for claim in claims.values())
study.save_figure(figure, f"How training dies: five illnesses, of which {cured} are cured")

# %% [markdown]
# ## The result

# %%
of = lambda label: median_and_all([run.number_or_none("fid") for run in runs[label]], 0)
study.finding(
    "FID of the ill and of the cured run: "
    + "; ".join(f"{name} {of(name)} and {of(f'{name}, cured')}" for name in ILLNESSES)
    + ".",
    claims,
    "Warnings: "
    + "; ".join(
        f"{name}: {', '.join(runs[name][0].also['warnings']) or 'none'}" for name in ILLNESSES
    )
    + ".",
    fid=fid,
)
