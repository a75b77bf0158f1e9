"""Games that show one thing each: PRESETS, by name."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A game to begin with. text: two sentences, what it shows and what to look for. settings: of
    Game. points: the real points for data="drawn", or None."""

    text: str
    settings: dict[str, Any]
    points: Any = None


RING = {"data": "ring", "hidden": 64, "batch_size": 128, "r1": 0.0, "d_lr": 3e-3}
SURE = RING | {"lr": 1e-4, "d_lr": 2e-3, "d_steps": 5}  # D is far ahead of G
DIRAC = {"dirac": True, "latent": 1, "loss": "bce-minimax", "beta1": 0.0, "lr": 0.02, "r1": 0.0}
POINT = [[0.0, 0.0]]  # the only real point of the Dirac-GAN

PRESETS = {
    "vanishing gradient": Preset(
        "D learns much faster than G, and is soon sure of all fakes; there, G's loss log(1 - D(x)) "
        "is flat. The arrows vanish, and G stands still.",
        SURE | {"loss": "bce-minimax"},
    ),
    "non-saturating": Preset(
        "D is as far ahead as in `vanishing gradient`, but G minimises -log D(x), which is steep "
        "where D is sure. The arrows are long, and G moves.",
        SURE,
    ),
    "mode collapse": Preset(
        "Nothing holds the samples apart: all of them follow arrows to where D is wrong at the "
        "moment. They gather at a few modes, and the others are lost.",
        RING,
    ),
    "cure: R1": Preset(
        "R1 keeps D flat around the reals, so that D is never sure. Arrows stay short, and samples "
        "reach all modes.",
        RING | {"r1": 0.3},
    ),
    "cure: WGAN-GP": Preset(
        "The slope of the critic is held near 1, so that its height says how far the samples have "
        "to go. They spread over all modes.",
        RING | {"loss": "wasserstein", "gp": 1.0, "d_steps": 3},
    ),
    "cure: relativistic": Preset(
        "D compares each fake with a real, and R1 and R2 keep it flat around both. The samples "
        "reach all modes; without the two penalties, they collapse.",
        RING | {"loss": "relativistic", "r1": 0.3, "r2": 0.3},
    ),
    "cure: unrolled": Preset(
        "G learns from the D of five updates ahead, which has answered its fakes. To gather at one "
        "mode pays less, and more modes survive, but not always all.",
        RING | {"unroll": 5},
    ),
    "cure: minibatch statistics": Preset(
        "D sees how much the points of a batch differ, and so samples that are too much alike give "
        "themselves away. More modes survive, but not always all.",
        RING | {"minibatch_stddev": True},
    ),
    "Dirac-GAN": Preset(
        "One real point, one fake, and D(x) = psi x: the arrow points to the real one, but when "
        "the fake gets there, D still has its slope. The fake goes round and round.",
        DIRAC,
        POINT,
    ),
    "Dirac-GAN with R1": Preset(
        "R1 pulls the slope psi towards 0. The circle of the Dirac-GAN becomes a spiral, and the "
        "fake comes to rest on the real point.",
        DIRAC | {"r1": 1.0},
        POINT,
    ),
    "WGAN's critic": Preset(
        "The critic has weights between -.1 and .1, and no sigmoid: its output is a height, and "
        "the samples climb it. Its slope does not vanish, however far they are.",
        {"data": "two-gaussians", "hidden": 64, "batch_size": 128, "r1": 0.0}
        | {"loss": "wasserstein", "clip": 0.1, "d_steps": 5, "optimizer": "rmsprop", "lr": 5e-4},
    ),
}
