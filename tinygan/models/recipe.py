"""Recipe: the networks of a paper, and the settings that train them, under a name."""

import copy
from typing import Any, Callable, NamedTuple

from tinygan import nn
from tinygan.backend import Rng, generator
from tinygan.errors import InputError, choose_from
from tinygan.gan import conditioning
from tinygan.gan.packing import Packed

from .contract import check_attributes, check_calls, check_draws, check_pair, check_shared_losses
from .freezing import freeze
from .image_sizes import SizeError


class Sizes(NamedTuple):
    """The sizes of the inputs and outputs that G and D must have.

    image: the shape (H, W, C) of G's images, or (2,) for points.
    latent: the length of G's latents. With g_class=concat, it includes the class embedding.
    d_image_channels: the number of channels of D's images. With d_class=concat, it includes the
    image of the class; with the setting pack, it is that of a pack of images.
    g_classes: the number of classes if G itself takes labels (g_class cbn, mapping), else None.
    d_classes: the number of classes if D itself takes labels (d_class select, mapping), else None.
    """

    image: tuple[int, ...]
    latent: int
    d_image_channels: int
    g_classes: int | None
    d_classes: int | None


class Recipe(NamedTuple):
    """Networks and settings with a name.

    summary: a one-line description.
    settings_class: a subclass of Settings.
    networks: a function of (settings, sizes, rng) that returns (G, D). The docstring of
    `tinygan.models` says what these must have.
    defaults: {setting: value}, the values that differ from the defaults of settings_class.
    truncation: "z" if the truncation trick limits the latents, "w" if it limits the styles, None if
    the recipe has no truncation trick.
    g_class_choices, d_class_choices: the values that the settings g_class and d_class may have.
    point_defaults: None if the networks take images only. Otherwise they also take points, of shape
    (2,) where images have (H, W, C), and these are the defaults that differ for points.
    source: None, or the files of a recipe of the user's own, which are copied into its runs.
    shared_losses: {name: function}, losses that G and D minimise together, if D returns a second
    output. Each is a function of (G, z, output), the latents of some fakes and D's second output on
    them, that returns its mean over the fakes, a Tensor of shape (). It is added to D's loss and to
    G's, times the setting NAME_weight, and logged as d_NAME_loss and g_NAME_loss.
    """

    name: str
    summary: str
    settings_class: type[Any]
    networks: Callable[..., tuple[nn.Module, nn.Module]]
    defaults: dict[str, Any] = {}
    truncation: str | None = "z"
    g_class_choices: tuple[str, ...] = ("none", "concat")
    d_class_choices: tuple[str, ...] = ("none", "concat", "auxiliary", "projection")
    point_defaults: dict[str, Any] | None = None
    source: Any = None
    shared_losses: dict[str, Callable[..., Any]] = {}

    def variant(self, name: str, summary: str, **changes: Any) -> "Recipe":
        """Return a recipe with the same networks, another name, and changed settings."""
        return self._replace(name=name, summary=summary, defaults=self.defaults | changes)

    def settings(self, for_points: bool = False) -> Any:
        """Return the recipe's Settings. `updated` changes them. for_points: those for points."""
        changes = (self.point_defaults or {}) if for_points else {}
        return self.settings_class().updated(self.defaults | changes)

    def build(
        self, s: Any, image_shape: tuple[int, ...], classes: int, rng: Rng
    ) -> tuple[Any, Any]:
        """Return (G, D) for images of image_shape (H, W, C), or for points, whose shape is (2,);
        `rng` draws the initial weights. Parameters that match the setting freeze are frozen.

        s: the settings. classes: the number of classes of the data. Raises InputError if the
        settings contradict each other, or if the networks lack something; and SizeError, whose
        `pad` is the value of the setting pad that would help, or None, for images of a size that
        the networks cannot have. For these checks, it builds a second pair, from a copy of `rng`,
        and calls it on two latents and two images.
        """
        self.check_shape(s, image_shape)
        for name, choices in (("g_class", self.g_class_choices), ("d_class", self.d_class_choices)):
            if getattr(s, name) not in choices:
                advice = (
                    f"for the networks of {self.name}, {choose_from(choices, getattr(s, name))}"
                )
                if choices == ("none",):
                    advice = f"the recipe {self.name} has no classes: leave it out"
                raise InputError(f"setting {name}={getattr(s, name)}: {advice}")
        if (s.g_class == "none") != (s.d_class == "none"):
            raise InputError(
                f"settings g_class={s.g_class} d_class={s.d_class}: give the class to both "
                "networks, or to neither"
            )
        if s.pack > 1 and s.d_class != "none":
            raise InputError(
                f"settings pack={s.pack} d_class={s.d_class}: a pack has no class: set pack=1, or "
                "g_class=none d_class=none"
            )
        check_shared_losses(self.name, self.shared_losses, s)
        rng = generator(rng)
        rng_before = copy.deepcopy(rng)
        g_classes = None if s.g_class == "none" else classes

        try:
            pair = self._pair(s, image_shape, classes, rng)
        except SizeError as error:
            raise error.with_advice(s.pad) from None
        twins = self._pair(s, image_shape, classes, rng_before)
        for role, network, twin in zip("GD", pair, twins):
            check_draws(role, network, twin, rng)
        check_calls(*twins, image_shape, s, g_classes, self.shared_losses)
        freeze(dict(zip("GD", pair)), s.freeze)
        return pair

    def check_shape(self, s: Any, image_shape: tuple[int, ...]) -> None:
        """Raise InputError for points, whose shape is (2,), if the recipe takes none, or if a
        setting needs images."""
        if len(image_shape) == 3:
            return
        if self.point_defaults is None:
            raise InputError(
                f"the recipe {self.name} takes images, not points: choose the recipe gan, or "
                "other data"
            )
        for name, instead in (("augment", "none"), ("d_class", "projection")):
            if getattr(s, name) not in ("none", "auxiliary", "projection"):
                raise InputError(
                    f"setting {name}={getattr(s, name)} needs images: for points, set "
                    f"{name}={instead}"
                )

    def _pair(self, s, image_shape, classes, rng):
        """The (G, D) of `networks`; a network that does not take labels itself is wrapped in a
        Module that gives it the class."""
        sizes = Sizes(
            image_shape,
            s.latent + s.embedding * (s.g_class == "concat"),
            image_shape[-1] * s.pack + (s.d_class == "concat"),
            classes if s.g_class in ("cbn", "mapping") else None,
            classes if s.d_class in ("select", "mapping") else None,
        )
        G, D = check_pair(self.networks(s, sizes, rng))
        check_attributes(G, D, sizes, s.d_class)
        if s.g_class == "concat":
            G = conditioning.ConcatLatent(G, classes, s.embedding, rng=rng)
        if s.d_class == "concat":
            D = conditioning.ConcatImage(D, classes, image_shape[:2], rng=rng)
        elif s.d_class == "auxiliary":
            D = conditioning.AuxiliaryClassifier(D, classes, rng=rng)
        elif s.d_class == "projection":
            D = conditioning.Projection(D, classes, rng=rng)
        return G, Packed(D, s.pack) if s.pack > 1 else D
