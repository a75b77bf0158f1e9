"""Augmentation of what D sees, against overfitting to few images.

Which transforms, of which images, and with what probability. Whatever is done to the fakes in G's
step is differentiable, so that G learns from D through it.
"""

import numpy as np

from tinygan.errors import InputError

from .ada import ADA
from .diffaug import DiffAugment

KINDS = ("none", "diffaug", "ada")
DEFAULT_POLICY = {"diffaug": "color,translation,cutout", "ada": "digits"}
WHERE = ("both", "reals", "d_step")


class Augment:
    """Call it with a batch that D is about to judge.

    kind: of KINDS; policy: of its kind, "" for the default. p: of ADA's transforms. rng: a numpy
    Generator for its draws alone, so that all other draws of a run are the same with and without
    augmentation.

    where: "both" is right: reals and fakes, in D's step and in G's. The other two are ways in which
    G learns what it should not (Zhao et al. 2020, section 3.1): "reals" only, so that G has to
    imitate augmented images; and "d_step", reals and fakes but not in G's step, so that G is judged
    by a D that has not seen such images.
    """

    def __init__(self, kind="none", policy="", where="both", p=0.0, rng=None):
        if kind not in KINDS or where not in WHERE:
            raise InputError(
                f"augment={kind} augment_where={where}: choose of {', '.join(KINDS)} "
                f"and of {', '.join(WHERE)}"
            )
        if policy and kind == "none":
            raise InputError(
                f"setting policy={policy}: of what? Set augment=diffaug or augment=ada"
            )
        if p and kind != "ada":
            raise InputError(f"setting ada_p={p:g}: set augment=ada as well")
        self.rng, self.where = rng or np.random.default_rng(0), where
        policy = policy or DEFAULT_POLICY.get(kind)
        self.pipe = {
            "none": lambda: None,
            "diffaug": lambda: DiffAugment(policy),
            "ada": lambda: ADA(policy, p),
        }[kind]()

    def __call__(self, x, real, d_step=True, rng=None):
        """Images x, a Tensor (N, H, W, C), as D sees them. real: are they reals, or fakes; d_step:
        in D's step, or in G's; rng: another generator for the draws."""
        wanted = {"both": True, "reals": real, "d_step": d_step}[self.where]
        return self.pipe(x, rng or self.rng) if wanted and self.pipe else x


def from_settings(settings, rng):
    """(the Augment that settings ask for, the Controller of its p or None). Raises InputError for
    settings that do not go together."""
    s = settings
    augment = Augment(s.augment, s.policy, s.augment_where, s.ada_p, rng)
    if s.augment == "ada" and not (s.ada_p or s.ada_target):
        raise InputError(
            "settings ada_p=0 ada_target=0: nothing would ever be augmented; give one of them"
        )
    adaptive = s.augment == "ada" and s.ada_target > 0
    return augment, Controller(augment.pipe, s.ada_target, s.ada_kimg) if adaptive else None


class Controller:
    """Moves the p of an ADA pipe such that D does not overfit (Karras et al. 2020a, section 3.1).

    r_t = E[sign D(real)] is 1 where D is sure of all reals, as it is once it knows them by heart.
    Every `every` updates of D, p takes a step up if r_t was above the target since the last one, or
    down; its size is such that p needs `kimg` thousand images from 0 to 1. p does not fall below 0;
    above 1 it goes on to rise, and has to come back from there.
    """

    def __init__(self, pipe, target=0.6, kimg=500.0, every=4):
        self.pipe, self.target, self.kimg, self.every = pipe, target, kimg, every
        self.updates = self.images = 0  # since the last step
        self.signs = 0.0  # their sum over these images

    def __call__(self, r_t, n):
        """Take in the mean sign of an update of D on n reals: a number, or an array, which is not
        waited for until p moves."""
        self.updates += 1
        self.images += n
        self.signs += r_t * n
        if self.updates == self.every:
            sign = np.sign(float(self.signs) / self.images - self.target)
            step = sign * self.images / (1000 * self.kimg)
            self.pipe.p = max(float(self.pipe.p + step), 0.0)
            self.updates, self.images, self.signs = 0, 0, 0.0

    def state(self):
        """What JSON can hold, for `restore`."""
        return {
            "p": self.pipe.p,
            "updates": self.updates,
            "images": self.images,
            "signs": float(self.signs),
        }

    def restore(self, state) -> None:
        keys = "p", "updates", "images", "signs"
        self.pipe.p, self.updates, self.images, self.signs = (state[key] for key in keys)
