"""The registry of recipes: those of models/, in the order in which `tinygan recipes` lists them."""

from tinygan.errors import InputError
from tinygan.models import (
    acgan,
    biggan,
    cgan,
    dcgan,
    gan,
    lsgan,
    progan,
    projection,
    quick,
    sngan,
    stylegan,
    stylegan2,
    wgan,
    wgan_gp,
)
from tinygan.models.recipe import Recipe

DEFAULT = "quick"
RECIPES = {
    paper.RECIPE.name: paper.RECIPE
    for paper in (
        quick,
        gan,
        dcgan,
        lsgan,
        wgan,
        wgan_gp,
        sngan,
        cgan,
        acgan,
        projection,
        progan,
        biggan,
        stylegan,
        stylegan2,
    )
}


def find(name) -> Recipe:
    """The recipe of that name. Raises InputError listing what exists."""
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


def settings_of(config):
    """The Settings of a run, by what its config.json holds: its recipe, and the settings."""
    return find(config["recipe"]).settings().updated(config["settings"])
