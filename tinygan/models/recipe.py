"""A recipe: the networks of a paper, and the settings that it trains them with, under a name."""

import copy
from typing import Callable, NamedTuple

from tinygan.errors import InputError
from tinygan.gan import conditioning

from . import check_attributes, check_calls, check_draws


class Sizes(NamedTuple):
    """What the networks of a pair are made for.

    image: the shape (H, W, C) of the images. latent: the length of the vectors that G is given.
    d_image_channels: the channels of the images that D is given. g_classes, d_classes: the number of
    classes, for a network that takes the labels itself (g_class cbn, mapping; d_class select,
    mapping), or None.
    """

    image: tuple
    latent: int
    d_image_channels: int
    g_classes: int | None
    d_classes: int | None


class Recipe(NamedTuple):
    """Networks, settings and a name.

    summary: one line about it. settings_class: a subclass of Settings. networks(settings, sizes,
    rng): a function that returns (G, D), which must have what the docstring of `tinygan.models`
    lists. defaults: {setting: value}, where they differ from those of settings_class. truncation:
    what the truncation trick limits, the latents "z" or the styles "w"; None where neither makes
    sense. g_class_choices, d_class_choices: the ways of telling the networks the class.
    """

    name: str
    summary: str
    settings_class: type
    networks: Callable
    defaults: dict = {}
    truncation: str | None = "z"
    g_class_choices: tuple = ("none", "concat")
    d_class_choices: tuple = ("none", "concat", "auxiliary", "projection")

    def variant(self, name, summary, **changes):
        """A recipe with the same networks, which differs in its name and in these settings."""
        return self._replace(name=name, summary=summary, defaults=self.defaults | changes)

    def settings(self):
        """The recipe's Settings, to be changed with `updated`."""
        return self.settings_class().updated(self.defaults)

    def build(self, s, image_shape, classes, rng):
        """(G, D) for images (H, W, C) of `classes` classes; `rng` draws their initial weights.

        Raises InputError if the settings do not go together, or if the networks lack something. To
        find out, it builds them once more, from a copy of `rng`, and tries that pair on two images.
        """
        if (s.g_class == "none") != (s.d_class == "none"):
            raise InputError(
                f"settings g_class={s.g_class} d_class={s.d_class}: tell both "
                "networks the class, or neither"
            )
        for name, choices in (("g_class", self.g_class_choices), ("d_class", self.d_class_choices)):
            if getattr(s, name) not in choices:
                raise InputError(
                    f"setting {name}={getattr(s, name)}: the networks of {self.name} "
                    f"take {', '.join(choices)}"
                )
        rng_before = copy.deepcopy(rng)
        pair = self._pair(s, image_shape, classes, rng)
        twins = self._pair(s, image_shape, classes, rng_before)
        for role, network, twin in zip("GD", pair, twins):
            check_draws(role, network, twin, rng)
        check_calls(*twins, image_shape, s.latent, None if s.g_class == "none" else classes)
        return pair

    def _pair(self, s, image_shape, classes, rng):
        """The (G, D) of `networks`, wrapped in what tells them the class if they do not take it."""
        sizes = Sizes(
            image_shape,
            s.latent + s.embedding * (s.g_class == "concat"),
            image_shape[2] + (s.d_class == "concat"),
            classes if s.g_class in ("cbn", "mapping") else None,
            classes if s.d_class in ("select", "mapping") else None,
        )
        G, D = self.networks(s, sizes, rng)
        check_attributes(G, D, sizes, s.d_class)
        if s.g_class == "concat":
            G = conditioning.ConcatLatent(G, classes, s.embedding, rng=rng)
        if s.d_class == "concat":
            D = conditioning.ConcatImage(D, classes, image_shape[:2], rng=rng)
        elif s.d_class == "auxiliary":
            D = conditioning.AuxiliaryClassifier(D, classes, rng=rng)
        elif s.d_class == "projection":
            D = conditioning.Projection(D, classes, rng=rng)
        return G, D
