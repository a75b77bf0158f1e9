"""The settings that all recipes have, and their default values.

The weights of penalties come from the table in gan/penalties.py. The file of each paper adds the
settings of its networks. tinygan/settings.py reads settings from a command line.
"""

import dataclasses
from functools import partial

from tinygan.gan.augment import KINDS, WHERE
from tinygan.gan.losses import LOSSES
from tinygan.gan.penalties import PENALTIES
from tinygan.settings import MAX_COUNT, Documented, setting

loss_setting = partial(setting, group="loss")
optimizer_setting = partial(setting, group="optimiser")
scheduled_setting = partial(optimizer_setting, scheduled=True)
augmentation_setting = partial(setting, group="augmentation")
run_setting = partial(setting, group="run")


@dataclasses.dataclass
class General(Documented):
    """The settings of all recipes, without the weights of penalties.

    `Settings` adds those from the table of penalties.
    """

    steps: int = run_setting(1000, "training steps, each with one update of G", 1, MAX_COUNT)
    batch_size: int = run_setting(
        64, "images in each update; larger batches give steadier gradients", 2, MAX_COUNT
    )
    micro_batch: int = run_setting(
        0,
        "process each batch in parts of N images, to save memory; such steps are not recorded, "
        "which takes time; 0: whole batches",
        0,
        MAX_COUNT,
    )
    loss: str = loss_setting(
        "bce", "loss functions of D and G", choices=tuple(LOSSES), from_file=True
    )
    penalty: str = loss_setting(
        "", "a penalty of your own, FILE.py:NAME; by default none", from_file=True
    )
    penalty_weight: float = loss_setting(
        1.0, "weight of the setting penalty; 0: off", 0, scheduled=True
    )
    optimizer: str = optimizer_setting(
        "adam",
        "optimiser of G and D; adamw has a decoupled weight decay",
        choices=("adam", "adamw", "rmsprop"),
    )
    lr: float = scheduled_setting(
        2e-4, "learning rate of G, and of D unless d_lr is set; lower it if losses diverge", 0
    )
    d_lr: float = scheduled_setting(
        0.0, "learning rate of D; set it if D learns too fast or too slowly for G; 0: lr", 0
    )
    beta1: float = scheduled_setting(
        0.5, "decay of Adam's running mean of the gradient (its momentum)", 0, 0.9999
    )
    beta2: float = scheduled_setting(
        0.999, "decay of the running mean of the squared gradient (for RMSprop: alpha)", 0, 0.999999
    )
    eps: float = optimizer_setting(
        1e-8, "constant that the optimiser adds to the root of the mean squared gradient", 0
    )
    weight_decay: float = scheduled_setting(
        0.0,
        "decay of all weights: with adamw, by lr * weight_decay of themselves in each update; "
        "otherwise, weight_decay * weight is added to the gradient; 0: off",
        0,
    )
    clip_grad_norm: float = scheduled_setting(
        0.0,
        "clip the gradient of each update of G and of D to this norm, against rare large ones; "
        "0: off",
        0,
        off_at_zero=True,
    )
    d_steps: int = optimizer_setting(
        1, "updates of D in each step, before the update of G; critics need several", 1
    )
    d_boost: int = optimizer_setting(
        0,
        "updates of D in each of the first 25 steps and in every 500th step (WGAN); 0: d_steps",
        0,
    )
    penalty_every: int = loss_setting(
        1,
        "apply the gradient penalties of D at every N-th update of D, N times as strong, to save "
        "time",
        1,
        MAX_COUNT,
    )
    path_every: int = loss_setting(
        4,
        "apply G's penalties, such as path_length, at every N-th update of G, N times as strong, "
        "to save time",
        1,
        MAX_COUNT,
    )
    unroll: int = loss_setting(
        0,
        "let G learn from the D of N updates ahead, with a gradient that flows through these "
        "updates, against lost modes (unrolled GANs); each takes about 1.5 times as long as a step "
        "without them; 0: off",
        0,
        100,
    )
    unroll_stop: bool = loss_setting(
        False, "with unroll, let no gradient flow through the updates of D, to compare"
    )
    lecam_start: int = loss_setting(
        1000, "steps before lecam begins, while D's logits settle", 0, MAX_COUNT
    )
    sanitize: bool = optimizer_setting(
        False, "replace NaN in gradients by 0, and infinities by +-1e5 (StyleGAN2)"
    )
    latent: int = setting(100, "length of the latent vector z", 1)
    g_class: str = setting(
        "none",
        "how G receives the class; none: G is unconditional",
        choices=("none", "concat", "cbn", "mapping"),
    )
    d_class: str = setting(
        "none",
        "how D receives the class; none: D ignores it",
        choices=("none", "concat", "auxiliary", "projection", "select", "mapping"),
    )
    embedding: int = setting(10, "length of G's class embedding (g_class=concat, biggan, r3gan)", 1)
    pack: int = setting(
        1,
        "number of images, all real or all fake, that D judges together (PacGAN, against a lack of "
        "variety); 1: each on its own",
        1,
        100,
    )
    class_weight: float = loss_setting(
        1.0, "weight of the classification losses (for d_class=auxiliary)", 0, scheduled=True
    )
    train_size: int = run_setting(
        0,
        "number of training images, drawn equally from all classes; 0: use all images",
        0,
        MAX_COUNT,
    )
    balanced_batches: bool = run_setting(
        False,
        "let each batch have equally many images of each class, for imbalanced data: D then sees "
        "rare classes as often as common ones, and G learns to generate them as often; the few "
        "images of a rare class are repeated, which D may learn by heart (augment helps)",
    )
    augment: str = augmentation_setting(
        "none",
        "augmentation of D's input, against overfitting to few training images",
        choices=KINDS,
    )
    policy: str = augmentation_setting(
        "",
        "transforms of the augmentation, separated by commas; default: color,translation,cutout "
        "for diffaug, digits for ada (gan/augment/ lists all transforms); steps with rotations are "
        "not recorded, which takes time",
    )
    augment_where: str = augmentation_setting(
        "both",
        "images to augment; reals (only the reals) and d_step (only in updates of D) are known to "
        "mislead G",
        choices=WHERE,
    )
    ada_p: float = augmentation_setting(0.0, "initial probability p of each transform of ada", 0, 1)
    ada_target: float = augmentation_setting(
        0.6,
        "value at which ada holds r_t, the mean sign of D's logits on reals, by adapting p; 0: p "
        "stays fixed",
        0,
        0.999,
        scheduled=True,
    )
    ada_kimg: float = augmentation_setting(
        50.0, "thousands of images in which ada's p can rise from 0 to 1 (in the paper: 500)", 0.01
    )
    pad: int = run_setting(0, "width in pixels of a black border to add around the images", 0, 64)
    ema: float = scheduled_setting(
        0.995,
        "decay of the average of G's weights; the averaged G generates the samples",
        0,
        0.99999,
    )
    ema_images: int = scheduled_setting(
        0,
        "half-life, in images, of the average of G's weights; a number is at most a twentieth of "
        "the images so far (StyleGAN2), and a schedule at most a third; 0: use ema",
        0,
        MAX_COUNT,
    )
    ema_start: int = optimizer_setting(
        0, "steps before the averaging of G's weights begins", 0, MAX_COUNT
    )
    freeze: str = optimizer_setting(
        "",
        "parameters to leave as they are: names of layers or patterns, separated by commas, such "
        "as D.main.0,D.main.2 or G.blocks.* (`tinygan show` prints the layers); batch-norm "
        "statistics and other buffers still follow the data",
    )
    standing: int = run_setting(
        0,
        "number of batches of 64 images from which the batch-norm statistics of the averaged G are "
        "measured before it generates samples; 0: use G's running averages",
        0,
    )
    sample_every: int = run_setting(200, "save a grid of samples every N steps", 1, MAX_COUNT)
    checkpoint_every: int = run_setting(500, "save a checkpoint every N steps", 1, MAX_COUNT)
    keep: int = run_setting(2, "number of checkpoints to keep: the latest N", 1)
    eval_every: int = run_setting(
        0,
        "evaluate against held-out images every N steps, and keep the best G; 0: never",
        0,
        MAX_COUNT,
    )
    eval_images: int = run_setting(5000, "number of samples in each evaluation", 100, 100_000)

    def updates_of_D(self, step: int) -> int:
        """Return the number of updates of D in the step with this index (0, 1, ...)."""
        boosted = self.d_boost and (step < 25 or step % 500 == 0)
        return max(self.d_steps, self.d_boost) if boosted else self.d_steps


def _weight(entry):
    """Return the setting of a penalty's weight."""
    # For a constraint on weights, 0 means "off", but a small number clips almost all of them.
    off_at_zero = entry.applied_to == "weights"
    return loss_setting(0.0, entry.meaning, 0, scheduled=True, off_at_zero=off_at_zero)


class Settings(
    dataclasses.make_dataclass(
        "Settings", [(entry.name, float, _weight(entry)) for entry in PENALTIES], bases=(General,)
    )
):
    """The settings of all recipes."""
