"""What every recipe can be told, and by default is told.

The weights of penalties come from their table (gan/penalties.py); what else the networks of a paper
can be told is in its own file. How a setting is read from a command line is in tinygan/settings.py.
"""

import dataclasses

from tinygan.gan.augment import KINDS, WHERE
from tinygan.gan.losses import LOSSES
from tinygan.gan.penalties import PENALTIES
from tinygan.settings import MANY, Documented, setting


@dataclasses.dataclass
class General(Documented):
    """What every recipe can be told, but for the weights of penalties, which `Settings` adds from
    their table."""

    steps: int = setting(1000, "training steps: one update of G each", 1, MANY)
    batch_size: int = setting(64, "images per update", 2, MANY)
    micro_batch: int = setting(
        0,
        "images in memory at a time: gradients are accumulated over such parts of a batch; 0: "
        "all of it",
        0,
        MANY,
    )
    loss: str = setting("bce", "what D and G minimise", choices=tuple(LOSSES))
    optimizer: str = setting("adam", "rule of the updates", choices=("adam", "rmsprop"))
    lr: float = setting(2e-4, "learning rate of G, and of D unless d_lr is set", 0)
    d_lr: float = setting(0.0, "learning rate of D; 0: the same as G's", 0)
    beta1: float = setting(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = setting(
        0.999, "decay of the mean squared gradient (RMSprop's alpha)", 0, 0.999999
    )
    eps: float = setting(
        1e-8, "what the optimiser adds to the root of the mean squared gradient", 0
    )
    d_steps: int = setting(1, "updates of D to one of G", 1)
    d_boost: int = setting(
        0, "updates of D in each of the first 25 steps, and in every 500th (WGAN); 0: d_steps", 0
    )
    penalty_every: int = setting(
        1, "updates of D between penalties, which then weigh as many times as much", 1, MANY
    )
    path_every: int = setting(
        4,
        "updates of G between path-length penalties, which then weigh as many times as much",
        1,
        MANY,
    )
    sanitize: bool = setting(
        False, "of gradients, NaN becomes 0 and infinities become 1e5 (StyleGAN2)"
    )
    latent: int = setting(100, "length of the latent z", 1)
    g_class: str = setting(
        "none", "how G is told the class", choices=("none", "concat", "cbn", "mapping")
    )
    d_class: str = setting(
        "none",
        "how D is told the class",
        choices=("none", "concat", "auxiliary", "projection", "select", "mapping"),
    )
    embedding: int = setting(
        10, "length of the class embedding (beside z: g_class=concat; in every block: biggan)", 1
    )
    class_weight: float = setting(1.0, "weight of the classification losses (d_class=auxiliary)", 0)
    train_size: int = setting(
        0, "images to train on, drawn by the seed, of each class as many; 0: all", 0, MANY
    )
    augment: str = setting("none", "how the images that D sees are augmented", choices=KINDS)
    policy: str = setting(
        "",
        "which transforms, separated by commas; by default, of diffaug "
        "color,translation,cutout, of ada digits (gan/augment/ has more)",
    )
    augment_where: str = setting(
        "both",
        "what of: reals and fakes; the two wrong ways: reals only, D's step only",
        choices=WHERE,
    )
    ada_p: float = setting(0.0, "probability of each of ada's transforms, in the beginning", 0, 1)
    ada_target: float = setting(
        0.6,
        "r_t, the mean sign of D's logits on reals, at which ada keeps p; 0: p is fixed",
        0,
        0.999,
    )
    ada_kimg: float = setting(
        50.0, "thousands of images in which p can get from 0 to 1 (as published: 500)", 0.01
    )
    pad: int = setting(0, "border of black pixels around the images", 0, 64)
    ema: float = setting(
        0.995, "decay of the average of G's weights that samples are drawn with", 0, 0.99999
    )
    ema_images: int = setting(
        0,
        "half-life of that average in images, but at most a twentieth of those seen so far "
        "(StyleGAN2); 0: ema is its decay",
        0,
        MANY,
    )
    ema_start: int = setting(
        0, "steps before the average begins; until then it is G itself", 0, MANY
    )
    standing: int = setting(
        0,
        "batches of 64 that give the averaged G its own batch-norm statistics before it draws; "
        "0: it has G's running averages",
        0,
    )
    sample_every: int = setting(200, "steps between sample grids", 1, MANY)
    checkpoint_every: int = setting(500, "steps between checkpoints", 1, MANY)
    keep: int = setting(2, "checkpoints that are kept: the last ones", 1)
    eval_every: int = setting(
        0,
        "steps between evaluations on held-out images, of which the best is kept; 0: none",
        0,
        MANY,
    )
    eval_images: int = setting(5000, "samples of an evaluation", 100, 100_000)

    def updates_of_D(self, step):
        """Updates of D in step number `step` (0, 1, ...)."""
        boosted = self.d_boost and (step < 25 or step % 500 == 0)
        return max(self.d_steps, self.d_boost) if boosted else self.d_steps


Settings = dataclasses.make_dataclass(
    "Settings",
    [(entry.name, float, setting(0.0, entry.meaning, 0)) for entry in PENALTIES],
    bases=(General,),
    namespace={"__doc__": "What every recipe can be told.", "__module__": __name__},
)
