"""Games that show one thing each: PRESETS, by name."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A game to begin with. text: two sentences, what it shows and what to look for. settings: of
    Game. points: the real points for data="drawn", or None."""

    text: str
    settings: dict[str, Any]
    points: Any = None


RING = {"data": "ring", "hidden": 64, "batch_size": 128, "r1": 0.0}
DIRAC = {"dirac": True, "latent": 1, "loss": "bce-minimax", "beta1": 0.0, "lr": 0.02, "r1": 0.0}
POINT = [[0.0, 0.0]]  # the only real point of the Dirac-GAN

PRESETS = {
    "vanishing gradient": Preset(
        "D makes ten updates before each of G, so that it is always sure, and log(1 - s(fake)) is "
        "flat where D is sure. The arrows vanish, and G stands still.",
        RING | {"loss": "bce-minimax", "d_steps": 10},
    ),
    "non-saturating": Preset(
        "D is as far ahead as in `vanishing gradient`, but G minimises -log s(fake), which is "
        "steep where D is sure. The arrows are long, and G moves.",
        RING | {"loss": "bce", "d_steps": 10},
    ),
    "mode collapse": Preset(
        "Nothing holds the samples apart: all of them follow the same arrows to where D is wrong. "
        "They gather at a few modes, D learns that, and they move on.",
        RING,
    ),
    "cure: R1": Preset(
        "R1 keeps D flat around the reals. Arrows are short there, and samples that have found a "
        "mode stay.",
        RING | {"r1": 0.1},
    ),
    "cure: WGAN-GP": Preset(
        "A critic whose slope is held near 1 says how far the samples have to go, also where D "
        "would be sure. The samples spread over all modes.",
        RING | {"loss": "wasserstein", "gp": 1.0, "d_steps": 3, "beta1": 0.0},
    ),
    "cure: relativistic": Preset(
        "D compares each fake with a real, and R1 and R2 keep it flat around both. With few reals "
        "covered, the comparison pulls fakes towards them.",
        RING | {"loss": "relativistic", "r1": 0.1, "r2": 0.1},
    ),
    "cure: unrolled": Preset(
        "G learns from the D of five updates ahead, which has answered its fakes. To gather at one "
        "mode does not pay, because that D expects it.",
        RING | {"unroll": 5},
    ),
    "cure: minibatch statistics": Preset(
        "D sees how much the points of a batch differ. Samples that are too much alike are fakes "
        "at a glance, and so they spread.",
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
