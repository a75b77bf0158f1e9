# %% [markdown]
"""A GAN on points in the plane: what D sees, where it sends G, and which modes G keeps.

python demos/game2d.py              # one to two minutes
python demos/game2d.py --full       # longer games on two data sets, three seeds: about half an hour
"""

# %% [markdown]
# ## The game
#
# In the plane, one can see everything. The real points are given. G makes points of latents z. D
# gives each point of the plane a number: the probability that a point there is real. A step has two
# halves. D learns to tell reals from fakes; then G moves its fakes along the arrows
#
#     arrow at a fake x_n = - N dL_G / dx_n        (L_G: G's loss, the mean over N fakes)
#
# `tinygan.lab` plays this game with the losses, penalties and optimisers of all recipes. In three
# experiments, we ask what G receives from a D that is sure, which games keep all modes of a ring,
# and how far a trained D is from the optimal one.
#
# These are the rules, which were stated before the full runs. (Learning rates and weights of
# penalties were chosen in short games on the ring, with the seeds 0 and 1, and the set-up of the
# optimal D with the seeds 0 to 2.) A claim holds if all seeds of one side are beyond all seeds of
# the other, and the medians differ by at least a tenth. It is reversed if the same is true the
# other way round, and otherwise undecided at this scale. A run that diverges is counted, but has no
# part in a median, and a comparison with it is undecided. (By default, there is a single seed: then
# the verdict is about this seed alone.)

# %%
import re
from functools import partial

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap

from tinygan import data, grad, no_grad, plots, tensor
from tinygan.data.points import DISTRIBUTIONS
from tinygan.errors import Diverged
from tinygan.gan import losses
from tinygan.lab import Game
from tinygan.metrics.points import mode_metrics
from tinygan.study import Comparison, Study, median, median_and_all

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("game2d", __doc__, size=STUDY_SIZE)

# %% [markdown]
# ## What G receives from a D that is sure
#
# In the original game, G minimises log(1 - D(x)), which saturates: with D = s(l) for a logit l, its
# slope in l is -s(l), which is 0 where D is sure that x is a fake. So G minimises -log D(x)
# instead, whose slope is -s(-l), nearly -1 there. The two have the same direction at each fake.
# D is sure at the beginning, when G is poor. We keep G as it is before its first step (lr=0), let D
# learn alone on the ring, and measure the mean length of the arrows of both losses: at the same
# fakes, against the same D.

# %%
LOSS_OF_G = {"saturating": "bce-minimax", "non-saturating": "bce"}
UPDATES = study.choose([0, 2, 4], [0, 20, 40, 80, 160, 320, 640], [0, 20, 40, 80, 160, 320, 640])
SURE_SETTINGS = {"data": "ring", "hidden": 64, "batch_size": 128, "r1": 0}


def arrows_of(game, loss, fakes):
    """Return the arrows that a loss of G gives against the present D, at fakes (n, 2)."""
    x = tensor(fakes, requires_grad=True)
    return -len(x) * grad(losses.find(loss).generator(None, game.D(x)), x).numpy()


def arrow_lengths(game):
    """Return the mean length of the arrows of both losses."""
    lengths = lambda loss: np.hypot(*arrows_of(game, loss, game.fakes(500)).T)
    return {label: float(lengths(loss).mean()) for label, loss in LOSS_OF_G.items()}


def train_D_alone(seed, measure, steps, **settings):
    """Play some steps; then stop G, and train a new D, without R1. Return its game, and
    measure(game) at each of UPDATES."""
    before = Game(seed=seed, **settings)
    before.step(steps)
    game, found = Game(seed=seed, **settings | {"lr": 0, "d_lr": 1e-3, "r1": 0}), []
    game.G.load_state_dict(before.G.state_dict())
    for updates in UPDATES:
        game.step(updates - game.steps)
        found.append(measure(game))
    return game, found


lengths = [
    study.cached(
        f"sure-{seed}", lambda seed=seed: train_D_alone(seed, arrow_lengths, 0, **SURE_SETTINGS)[1]
    )
    for seed in study.seeds
]
at_the_end = {label: [rows[-1][label] for rows in lengths] for label in LOSS_OF_G}

# %% [markdown]
# ## Which games keep all modes of the ring?
#
# The data are a ring of 8 Gaussians with a radius of 2 and a deviation of .02 (with `--full` also a
# grid of 25). All games have the same networks and the same rates, in which D learns faster than G;
# they differ in one thing. At every eighth of the steps, 2,500 samples are measured. A mode is
# found if at least 20 of them are nearer than 15 deviations: in so few steps, samples come near a
# mode, but seldom as near as 3 deviations, within which a sample is good. A game keeps as many
# modes as it finds in the worst of its last three measurements, and its share of good samples is
# the mean over these three. Calm is measured by how far samples move between the last two pictures.
# Each cure is compared with the plain game, "non-saturating": it should keep more modes. Two more
# claims: the saturating loss makes fewer good samples than the plain game, and with R1, the samples
# move less in the end.
#
# The critic of WGAN-GP makes three updates for each of G. "Relativistic" is shown without and with
# the two penalties that R3GAN adds to it.

# %%
STEPS = study.choose(8, 2400, 10_000)
SHOTS = study.choose(8, 24, 40)  # pictures of each game, for the animation
STRIP = study.choose([0, 1, 8], [1, 3, 6, 12, 24], [1, 3, 8, 20, 40])  # those in the figure
DATA = study.choose(["ring"], ["ring"], ["ring", "grid"])
COMMON = {"hidden": 64, "batch_size": 128, "r1": 0, "lr": 1e-3, "d_lr": 3e-3}
GAMES = {
    "saturating": {"loss": "bce-minimax"},
    "non-saturating": {},
    "R1": {"r1": 0.3},
    "WGAN-GP": {"loss": "wasserstein", "gp": 1, "d_steps": 3},
    "relativistic": {"loss": "relativistic"},
    "relativistic, R1, R2": {"loss": "relativistic", "r1": 0.3, "r2": 0.3},
    "unrolled, K = 5": {"unroll": 5},
    "minibatch statistics": {"minibatch_stddev": True},
}
shown = {}  # {(data, label): the frames and the losses of a game of the first seed}


def play(name, label, seed):
    """Play a game. Return its measurements, or None if it diverges."""
    game, rows = Game(data=name, seed=seed, **COMMON | GAMES[label]), []
    frames = [game.frame()]
    try:
        for k in range(1, SHOTS + 1):
            game.step(k * STEPS // SHOTS - game.steps)
            frames.append(game.frame())
            if 8 * k % SHOTS == 0:
                distances = game.distribution.distances(game.fakes(2500))
                found = mode_metrics(distances * 3 / 15)["modes_found"]
                rows.append((found, mode_metrics(distances)["good_samples"]))
    except Diverged as error:
        print(f"{name}, {label}, seed {seed}: {error}")
        rows = None
    if seed == study.seeds[0]:
        shown[name, label] = frames, [(row["d_loss"], row["g_loss"]) for row in game.history]
    return rows and {
        "found": [found for found, _ in rows],
        "kept": min(found for found, _ in rows[-3:]),
        "good": float(np.mean([good for _, good in rows[-3:]])),
        "moved": float(np.hypot(*(frames[-1].fakes - frames[-2].fakes).T).mean()),
    }


def of_all_seeds(name, label):
    """Return the measurements of a game for each seed."""
    short = re.sub("[^a-z0-9]+", "-", label.lower())
    return [
        study.cached(f"{name}-{short}-{seed}", partial(play, name, label, seed))
        for seed in study.seeds
    ]


measured = {(name, label): of_all_seeds(name, label) for name in DATA for label in GAMES}
numbers = lambda name, label, key: [row and row[key] for row in measured[name, label]]
diverged = sum(values.count(None) for values in measured.values())
for name in DATA:
    study.table(
        (f"{name}: the game", "modes kept", "good samples", "samples move", "diverged"),
        *(
            (
                label,
                *(
                    median_and_all(numbers(name, label, key), digits)
                    for key, digits in (("kept", 0), ("good", 2), ("moved", 2))
                ),
                f"{numbers(name, label, 'kept').count(None)} of {len(study.seeds)}",
            )
            for label in GAMES
        ),
    )

# %% [markdown]
# ## How far is D from the optimal one?
#
# For a fixed G, the best D is D*(x) = p(x) / (p(x) + q(x)), where p and q are the densities of data
# and fakes. The cross-entropy of D* is 2 log 2 - 2 JSD, where JSD is the Jensen-Shannon divergence
# of p and q. No D has a smaller loss, so that log 2 - loss / 2 of any D is a lower bound of the
# JSD. `tinygan/lab/optimal.py` derives this. It also says how q is estimated from 10,000 samples
# with a blur of .05, and what this estimate cannot see.
#
# The data are two Gaussians with a deviation of .5, ten times the blur. G learns for 300 steps, and
# with R1, because without it the fakes gather on lines that are thinner than the blur. Then we stop
# G, let a new D learn alone, without R1, and measure its loss on new points with the same blur. The
# claim is that its bound comes within a tenth of the divergence, and does not exceed it by more
# than .01 (the estimate is about as accurate). It holds if this is true for every seed, is reversed
# if it is true for none, and otherwise undecided.

# %%
WIDE_SETTINGS = {"data": "two-gaussians", "hidden": 64, "batch_size": 256, "r1": 0.1}
BEFORE = study.choose(2, 300, 300)  # steps of G
BLUR = 0.05
reals = data.load("two-gaussians", "test").images


def bound(game):
    """Return log 2 - loss / 2 of D, on points that it has not learnt from."""
    rng, blurred = np.random.default_rng(3), []
    for points in (reals, game.fakes(len(reals), seed=2)):
        noise = BLUR * rng.standard_normal(points.shape)
        blurred.append((points + noise).astype(np.float32))
    with no_grad():
        loss = losses.find("bce").discriminator(*map(game.D, blurred))
    return float(np.log(2) - loss.item() / 2)


def divergence_and_bounds(seed):
    game, bounds = train_D_alone(seed, bound, BEFORE, **WIDE_SETTINGS)
    return {"jsd": game.optimal_D(BLUR).jsd, "bounds": bounds}


trained = [
    study.cached(f"optimal-{seed}", partial(divergence_and_bounds, seed)) for seed in study.seeds
]
share = float(np.median([result["bounds"][-1] / result["jsd"] for result in trained]))
print(f"a D that learns alone finds {share:.0%} of the Jensen-Shannon divergence")

# %% [markdown]
# ## The pictures
#
# Blue is real and orange is fake, for the points and for D's output alike (the colours of Okabe and
# Ito, which the colour-blind can tell apart). Arrows show where D sends the fakes. In the figures
# of games, their lengths are in proportion within a panel, but not from panel to panel.

# %%
BLUE, ORANGE, GREY, EMPTY = "#0072B2", "#D55E00", "#666666", "#DDDDDD"
SHADES = LinearSegmentedColormap.from_list("", ["#EDA274", "#FFFFFF", "#8CC3E6"], N=15)
SHADES = SHADES.with_extremes(bad=EMPTY)
FONT = 13  # points


def draw_D(ax, axis, output, middle=0.5):
    """Draw D's output on a grid, in the shades from fake to real."""
    edge = 0.5 if middle == 0.5 else np.nanmax(np.abs(output - middle))
    low, high = axis[0], axis[-1]
    ax.imshow(
        output,
        SHADES,
        vmin=middle - edge,
        vmax=middle + edge,
        extent=(low, high, low, high),
        origin="lower",
        interpolation="bilinear",
    )
    ax.set(xlim=(low, high), ylim=(low, high), xticks=[], yticks=[], facecolor=EMPTY)


def draw_points(ax, reals, fakes, size=3):
    ax.plot(*reals.T, "o", color=BLUE, markersize=1.8 * size, markeredgewidth=0)
    ax.plot(*fakes.T, "o", color=ORANGE, markersize=size, markeredgewidth=0)


def draw_arrows(ax, fakes, arrows, longest=None):
    """Draw the arrows at fakes. An arrow of the length `longest` (default: the 90th percentile) is
    a tenth of the panel long, and none is longer."""
    lengths = np.hypot(*arrows.T)[:, None]
    longest = longest or max(np.percentile(lengths, 90), 1e-12)
    arrows = arrows / np.maximum(lengths, longest) * 0.1 * np.diff(ax.get_xlim())
    style = {"angles": "xy", "scale_units": "xy", "scale": 1, "headwidth": 5, "headlength": 5}
    ax.quiver(*fakes.T, *arrows.T, color="black", width=0.009, minlength=0.3, **style)


def draw(ax, frame):
    """Draw a Frame of a game."""
    draw_D(ax, frame.axis, frame.heat_map, frame.middle)
    draw_points(ax, frame.reals[:200], frame.fakes, 2.5)
    draw_arrows(ax, frame.fakes[:40], frame.arrows[:40])


def draw_losses(ax, rows, until=None):
    """Plot the losses of a game, (D's, G's) for each step, as means over the time of a picture."""
    each = STEPS // SHOTS
    parts = [np.array(rows[i : i + each]) for i in range(0, len(rows), each)][:until]
    steps = each * (np.arange(len(parts)) + 0.5)
    for i, (name, style) in enumerate((("D", "-"), ("G", "--"))):
        ax.plot(steps, [part[:, i].mean() for part in parts], style, color="black", label=name)
    ax.set_xlim(0, STEPS)
    ax.set_xticks([0, STEPS], ["0", f"{STEPS:,}"])
    ax.locator_params(axis="y", nbins=3)
    ax.tick_params(labelsize=12)


def note(ax, text, at, up, color):
    """Write a text to the left of a point, some points (of a font) above or below it."""
    style = {"ha": "right", "va": "bottom" if up > 0 else "top", "color": color, "fontsize": FONT}
    ax.annotate(text, at, (0, up), textcoords="offset points", **style)


def pixels(figure):
    """Return a figure as a picture, uint8 (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


# %% [markdown]
# ## The same D, two losses
#
# The arrows of both losses at the same fakes, against the same D, drawn to the same scale.

# %%
game, _ = train_D_alone(study.seeds[0], arrow_lengths, 0, **SURE_SETTINGS)
frame = game.frame()
by_loss = {label: arrows_of(game, loss, frame.fakes) for label, loss in LOSS_OF_G.items()}
longest = np.percentile(np.hypot(*by_loss["non-saturating"].T), 90)
ratio = np.median(at_the_end["non-saturating"]) / np.median(at_the_end["saturating"])

figure, panels = study.figure("abc", 5)
for letter, (label, arrows) in zip("ab", by_loss.items()):
    ax = panels[letter]
    draw_D(ax, frame.axis, frame.heat_map)
    draw_points(ax, frame.reals, frame.fakes)
    draw_arrows(ax, frame.fakes[:20], arrows[:20], longest)
    ax.set_title(f"{label}: arrows of G")
for label, color, up in (("saturating", ORANGE, False), ("non-saturating", BLUE, True)):
    for rows in lengths:
        panels["c"].plot(UPDATES, [row[label] for row in rows], "o-", color=color)
    note(panels["c"], label, (UPDATES[-1], lengths[0][-1][label]), 9 if up else -9, color)
panels["c"].margins(y=0.18)
panels["c"].set_yscale("log")
panels["c"].set(title="mean length of the arrows", xlabel="updates of D, while G waits")
panels["c"].grid(alpha=0.3)
study.save_figure(
    figure,
    f"Against a D that is sure, the saturating loss makes the arrows {ratio:,.0f} times shorter"
    if ratio > 2
    else "Against this D, the arrows of both losses are about as long",
    part="gradient",
)

# %% [markdown]
# ## Games over time
#
# A strip: a row for each game, a column for each time, and the losses on the right.


# %%
def frames_and_losses(name, label):
    """Return what `play` has kept of the first seed. If its measurements are from an earlier run of
    this script, it is played again: the same seed, the same game."""
    if (name, label) not in shown:
        play(name, label, study.seeds[0])
    return shown[name, label]


def middle(name, label, key):
    """Return the median over the seeds that did not diverge; 0 if all did."""
    return np.nan_to_num(median(numbers(name, label, key)))


CURES = [label for label in GAMES if label not in LOSS_OF_G]
IN_STRIP = ["non-saturating", *(label for label in CURES if label != "relativistic")]


def save_strip(name, **part):
    """Write the figure of the games on a data set."""
    times = [f"step {k * STEPS // SHOTS:,}" for k in STRIP]
    mosaic = [[f"{label}, {what}" for what in (*times, "losses")] for label in IN_STRIP]
    figure, panels = study.figure(mosaic, 12)
    modes = DISTRIBUTIONS[name].modes
    for label in IN_STRIP:
        frames, rows = frames_and_losses(name, label)
        row = [panels[f"{label}, {what}"] for what in (*times, "losses")]
        for ax, k in zip(row, STRIP):
            draw(ax, frames[min(k, len(frames) - 1)])
        draw_losses(row[-1], rows)
        short = label.replace("relativistic, ", "relativistic,\n").replace(" statis", "\nstatis")
        ends = f"keeps {middle(name, label, 'kept'):.0f} of {modes}"
        all_diverged = not any(measured[name, label])
        row[0].set_ylabel(f"{short}\n{'diverges' if all_diverged else ends}")
        if label == IN_STRIP[0]:
            for ax, what in zip(row, (*times, "losses")):
                ax.set_title(what)
            row[-1].legend(frameon=False)
        if label == IN_STRIP[-1]:
            row[-1].set_xlabel("step")
        else:
            row[-1].tick_params(labelbottom=False)
    cured = [label for label in CURES if middle(name, label, "kept") == modes]
    study.save_figure(
        figure,
        f"The plain game keeps {middle(name, 'non-saturating', 'kept'):.0f} of {modes} modes; "
        f"{len(cured)} of {len(CURES)} cures keep all",
        **part,
    )


save_strip("ring")
for name in DATA[1:]:
    save_strip(name, part=name)

# %% [markdown]
# ## What the games keep

# %%
figure, panels = study.figure("ab", 5, sharey=True)
keys = {"kept": "modes kept, of 8 (higher is better)", "good": "good samples (higher is better)"}
for letter, (key, title) in zip("ab", keys.items()):
    ax = panels[letter]
    for i, label in enumerate(GAMES):
        values = [x for x in numbers("ring", label, key) if x is not None]
        color = BLUE if label in CURES else ORANGE
        ax.barh(i, middle("ring", label, key), color=color, alpha=0.35)
        ax.plot(values, [i] * len(values), "o", color=color)
    ax.set_title(title)
    ax.set_yticks(range(len(GAMES)), list(GAMES))
    ax.set_xlim(left=0)
    ax.grid(axis="x", alpha=0.3)
panels["a"].invert_yaxis()
best = max(GAMES, key=lambda label: middle("ring", label, "good"))
most = max(middle("ring", label, "kept") for label in GAMES)
keeps = middle("ring", best, "kept")
study.save_figure(
    figure,
    f'The game with the most good samples, "{best}", keeps {keeps:.0f} modes'
    + f"; others keep {most:.0f}" * bool(keeps < most),
    part="modes",
)

# %% [markdown]
# ## The optimal D beside the trained one
#
# Where there are hardly any points, neither real nor fake, the optimal D means nothing: these
# places are grey.

# %%
game, _ = train_D_alone(study.seeds[0], bound, BEFORE, **WIDE_SETTINGS)
optimal = game.optimal_D(BLUR)
grid = np.stack(np.meshgrid(optimal.axis, optimal.axis), 2).reshape(-1, 2).astype(np.float32)
density = optimal.real + optimal.fake
empty = density < 1e-3 * density.max()
x, y = np.abs(grid[~empty.ravel()]).max(0) + 2 * BLUR

figure, panels = study.figure("ac;bc", 7, width_ratios=(1.3, 1))
trained_D = game.output(grid).reshape(density.shape)
titles = "the optimal D", f"the trained D, after {UPDATES[-1]} updates"
for letter, title, D in zip("ab", titles, (optimal.D, trained_D)):
    ax = panels[letter]
    draw_D(ax, optimal.axis, np.where(empty, np.nan, D))
    draw_points(ax, reals[:200], game.fakes(200), 2.5)
    ax.set(xlim=(-x, x), ylim=(-y, y), title=title)
ax = panels["c"]
for result in trained:
    ax.axhline(result["jsd"], color=GREY, linestyle="--")
    ax.plot(UPDATES, result["bounds"], "o-", color=BLUE)
end = UPDATES[-1], trained[0]["jsd"]
note(ax, "dashed: divergence (JSD)", end, -45, GREY)
note(ax, "log 2 - loss / 2 of D", end, -70, BLUE)
ax.set(title="divergence and bound, in nats", xlabel="updates of D, while G waits")
ax.grid(alpha=0.3)
study.save_figure(
    figure, f"A D that learns alone finds {share:.0%} of the divergence", part="optimal"
)

# %% [markdown]
# ## Side by side, as an animation


# %%
def animation():
    """Yield the pictures of all games side by side, with their losses so far."""
    rows = [list(GAMES)[:4], list(GAMES)[4:]]
    mosaic = [[f"{what} {label}" for label in row] for row in rows for what in ("game", "losses")]
    figure, panels = study.figure(mosaic, 9, height_ratios=(4, 1.3, 4, 1.3))
    for k in range(SHOTS + 1):
        for label in GAMES:
            above, below = (panels[f"{what} {label}"] for what in ("game", "losses"))
            frames, of_losses = frames_and_losses("ring", label)
            above.clear()
            draw(above, frames[min(k, len(frames) - 1)])
            above.set_title(label, fontsize=FONT)
            below.clear()
            draw_losses(below, of_losses, until=max(k, 1))
        first = panels[f"losses {rows[0][0]}"]
        first.set_ylabel("losses", fontsize=12)
        first.legend(frameon=False, fontsize=12, ncols=2, loc="upper right")
        figure.suptitle(f"step {k * STEPS // SHOTS:,}", fontsize=16)
        yield pixels(figure)
        figure.set_layout_engine("none")  # the panels stay where they are


pictures = list(animation())
for folder in study.picture_folders():
    plots.save_animation(folder / "game2d.gif", pictures + [pictures[-1]] * 6, milliseconds=250)
print(f"animation: {study.out / 'game2d.gif'}")
study.show_picture(study.out / "game2d.gif")

# %% [markdown]
# ## The result

# %%
more = lambda quantity, large, small, values: Comparison(quantity, (small, large), values[::-1])
plain = "non-saturating"
claims = {
    "against a D that is sure, the saturating loss gives G less": more(
        "mean length of the arrows",
        plain,
        "saturating",
        (at_the_end[plain], at_the_end["saturating"]),
    )
}
for name in DATA:
    of = partial(numbers, name)
    claims[f"the saturating loss makes fewer good samples ({name})"] = more(
        "good samples", plain, "saturating", (of(plain, "good"), of("saturating", "good"))
    )
    claims[f"with R1, samples move less in the end ({name})"] = more(
        "movement", plain, "R1", (of(plain, "moved"), of("R1", "moved"))
    )
    for label in CURES:
        claims[f"{label}: keeps more modes than the plain game ({name})"] = more(
            "modes kept", label, plain, (of(label, "kept"), of(plain, "kept"))
        )
claims["a D that learns alone comes within a tenth of the divergence"] = [
    0.9 * result["jsd"] <= result["bounds"][-1] <= result["jsd"] + 0.01 for result in trained
]
kept, good = ({label: numbers("ring", label, key) for label in GAMES} for key in keys)
study.finding(
    f"Against a D that is sure, the arrows of the non-saturating loss are {ratio:,.0f} times as "
    "long as those of the saturating one. Of the ring's 8 modes, G keeps "
    + ", ".join(f"{median_and_all(values, 0)} ({label})" for label, values in kept.items())
    + f". A D that learns alone finds {share:.0%} of the Jensen-Shannon divergence.",
    claims,
    "Share of good samples: "
    + ", ".join(f"{label} {median_and_all(values, 2)}" for label, values in good.items())
    + f". Runs that diverged: {diverged} of {len(DATA) * len(GAMES) * len(study.seeds)}.",
    kept=kept,
    good=good,
    ratio=float(ratio),
    share=share,
    diverged=diverged,
)
