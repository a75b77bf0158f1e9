"""Augmentation of D's input, against overfitting to few images.

diffaug.py and ada.py have the transforms. This file decides which images are augmented, and adapts
the probability of ADA's transforms. Augmentations of the fakes in G's step are differentiable, so
that G learns from D through them.
"""

import numpy as np

from tinygan.autograd import Tensor
from tinygan.backend import Rng, generator
from tinygan.errors import InputError

from .ada import ADA
from .diffaug import DiffAugment

__all__ = ["ADA", "Augment", "Controller", "DiffAugment", "from_settings"]

KINDS = ("none", "diffaug", "ada")
DEFAULT_POLICY = {"diffaug": "color,translation,cutout", "ada": "digits"}
WHERE = ("both", "reals", "d_step")


class Augment:
    """Augments each batch that D is about to see.

    kind: one of KINDS.
    policy: the transforms, as DiffAugment or ADA take them; "" for the default.
    where: one of WHERE. "both", reals and fakes in the steps of D and of G, is right. The other two
        teach G something wrong (Zhao et al. 2020, section 3.1). With "reals", only reals are
        augmented, so G learns to generate augmented images. With "d_step", reals and fakes are
        augmented, but not in G's step, where G then learns from a D that has not seen such images.
    p: the probability of each of ADA's transforms.
    rng: a generator that draws for augmentation alone, so that all other draws of a run are the
        same with and without augmentation.

    Raises InputError for an unknown kind, policy or where, and for settings of another kind.
    """

    def __init__(
        self,
        kind: str = "none",
        policy: str = "",
        where: str = "both",
        p: float = 0.0,
        rng: Rng | None = None,
    ):
        if kind not in KINDS or where not in WHERE:
            raise InputError(
                f"augment={kind} augment_where={where}: choose augment from {', '.join(KINDS)} "
                f"and augment_where from {', '.join(WHERE)}"
            )
        if policy and kind == "none":
            raise InputError(
                f"setting policy={policy} needs an augmentation: set augment=diffaug or augment=ada"
            )
        if p and kind != "ada":
            raise InputError(f"setting ada_p={p:g}: set augment=ada as well")
        self.rng = generator(0 if rng is None else rng)
        self.where = where
        policy = policy or DEFAULT_POLICY.get(kind)
        self.pipe = {
            "none": lambda: None,
            "diffaug": lambda: DiffAugment(policy),
            "ada": lambda: ADA(policy, p),
        }[kind]()

    def __call__(
        self, x: Tensor, real: bool, d_step: bool = True, rng: Rng | None = None
    ) -> Tensor:
        """Return images x (N, H, W, C) as D sees them.

        real: True for reals, False for fakes; d_step: True in D's step, False in G's; rng: a
        generator to use instead of the usual one.
        """
        applies = {"both": True, "reals": real, "d_step": d_step}[self.where]
        return self.pipe(x, self.rng if rng is None else rng) if applies and self.pipe else x


class Controller:
    """Adapts the probability p of an ADA pipe so that D does not overfit (Karras et al. 2020a,
    section 3.1).

    r_t = E[sign D(real)] approaches 1 when D is sure of all reals, as it is when it has memorised
    them. After every `every` steps of training, p rises if r_t was above `target` on average over
    these steps, and falls if it was below. The change is such that p goes from 0 to 1 in `kimg`
    thousand images. p does not fall below 0. It may rise above 1 (where ADA treats it as 1), and
    must then come back down from there.
    """

    def __init__(self, pipe: ADA, target: float = 0.6, kimg: float = 500.0, every: int = 4):
        self.pipe, self.target, self.kimg, self.every = pipe, target, kimg, every
        self.steps = self.images = 0  # since p last moved
        self.signs = 0.0  # the sum over these steps of r_t * images

    def __call__(self, r_t, n: int) -> None:
        """Take account of a step of training, in which D's updates had n reals in all.

        r_t: the mean sign of D's logits on reals in the last of these updates. It may be an array
        on a GPU. Its value is read only when p moves.
        """
        self.steps += 1
        self.images += n
        self.signs += r_t * n
        if self.steps == self.every:
            sign = np.sign(float(self.signs) / self.images - self.target)
            change = sign * self.images / (1000 * self.kimg)
            self.pipe.p = max(float(self.pipe.p + change), 0.0)
            self.steps, self.images, self.signs = 0, 0, 0.0

    def state(self) -> dict[str, float]:
        """Return the state, with values that JSON can store, for `restore`."""
        return {
            "p": self.pipe.p,
            "updates": self.steps,  # the name in checkpoints
            "images": self.images,
            "signs": float(self.signs),
        }

    def restore(self, state: dict[str, float]) -> None:
        keys = "p", "updates", "images", "signs"
        self.pipe.p, self.steps, self.images, self.signs = (state[key] for key in keys)


def from_settings(settings, rng: Rng) -> tuple[Augment, Controller | None]:
    """Return the Augment for these settings, and the Controller of its p (None if p is fixed).

    Raises InputError if the settings contradict each other.
    """
    augment = Augment(
        settings.augment, settings.policy, settings.augment_where, settings.ada_p, rng
    )
    if settings.augment == "ada" and not (settings.ada_p or settings.ada_target):
        raise InputError(
            "settings ada_p=0 ada_target=0 would never augment an image: set one of them above 0"
        )
    if settings.augment != "ada" or not settings.ada_target:
        return augment, None
    return augment, Controller(augment.pipe, settings.ada_target, settings.ada_kimg)
