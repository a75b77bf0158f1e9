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
DIRAC = {"data": "drawn", "dirac": True, "latent": 1, "loss": "bce-minimax", "r1": 0.0}
DIRAC |= {"beta1": 0.0, "lr": 0.02}
POINT = [[0.0, 0.0]]  # the only real point of the Dirac-GAN

PRESETS = {
    "vanishing gradient": Preset(
        "D learns much faster than G and is soon sure of all fakes; there, G's loss log(1 - D(x)) "
        "hardly changes when a fake moves. The arrows vanish, and G stays where it is.",
        SURE | {"loss": "bce-minimax"},
    ),
    "non-saturating": Preset(
        "D is as far ahead as in the preset before, but G minimises -log D(x), which is steep "
        "where D is sure. The arrows stay long and G moves, although its fakes soon gather.",
        SURE,
    ),
    "mode collapse": Preset(
        "Every fake follows its arrow to where D takes points for real at the moment, and nothing "
        "keeps the fakes apart. After some time, several of the eight modes (clusters) are empty.",
        RING,
    ),
    "cure: R1": Preset(
        "R1 punishes D for being steep at the reals, so that it is never very sure. Arrows stay "
        "short, and fakes reach all eight modes.",
        RING | {"r1": 0.3},
    ),
    "cure: WGAN-GP": Preset(
        "D is a critic now: its output is a height and no probability, and a penalty (gp) keeps "
        "its slope near 1. The fakes climb it and spread over all modes.",
        RING | {"loss": "wasserstein", "gp": 1.0, "d_steps": 3},
    ),
    "cure: relativistic": Preset(
        "D compares each fake with a real point, and R1 and R2 keep it flat around both. Fakes "
        "reach all modes; set r1 and r2 to 0, and they do not.",
        RING | {"loss": "relativistic", "r1": 0.3, "r2": 0.3},
    ),
    "partial cure: unrolled": Preset(
        "Before G moves, it looks at how D would answer in its next five updates, so that crowding "
        "at one mode pays less. More modes keep fakes, but seldom all of them.",
        RING | {"unroll": 5},
    ),
    "partial cure: minibatch statistics": Preset(
        "D sees how much the points of a batch differ, so that fakes which are too much alike give "
        "themselves away. More modes have fakes, though unevenly, and not always all.",
        RING | {"minibatch_stddev": True},
    ),
    "Dirac-GAN": Preset(
        "One real point, one fake, and D(x) = psi x: a tilted plane, which turns after the fake. "
        "It is always late, so that the fake goes round the real point and does not stop there.",
        DIRAC,
        POINT,
    ),
    "Dirac-GAN with R1": Preset(
        "R1 pulls the slope psi towards 0, which damps the turning of the Dirac-GAN. The fake "
        "comes to rest on the real point.",
        DIRAC | {"r1": 1.0},
        POINT,
    ),
    "WGAN's critic": Preset(
        "The critic's weights are clipped at .1, and it has no sigmoid: its output is a height, "
        "which the fakes climb. Its slope is small but does not vanish where a fake is far away.",
        {"data": "two-gaussians", "hidden": 64, "batch_size": 128, "r1": 0.0}
        | {"loss": "wasserstein", "clip": 0.1, "d_steps": 5, "optimizer": "rmsprop", "lr": 5e-4},
    ),
}
