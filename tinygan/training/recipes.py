"""The registry of recipes, in the order in which `tinygan recipes` lists them."""

from typing import Any

from tinygan.errors import InputError, choose_from
from tinygan.files.checkpoint import Run
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
from tinygan.models.settings import Settings

DEFAULT = "quick"
RECIPES = {
    module.RECIPE.name: module.RECIPE
    for module in (
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


def find(name: str) -> Recipe:
    """Return the recipe called `name`. Raises InputError if there is none, and lists all names."""
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}: {choose_from(RECIPES, name)}")
    return RECIPES[name]


def settings_of(config: dict[str, Any]) -> Settings:
    """Return the Settings of a run, given the contents of its config.json."""
    return find(config["recipe"]).settings().updated(config["settings"])


def of_run(run: Run) -> tuple[Recipe, Settings]:
    """Return the recipe and the Settings of a run. Raises InputError, which names its config.json,
    if there is no such recipe, or if a setting is wrong."""
    try:
        return find(run.config["recipe"]), settings_of(run.config)
    except InputError as error:
        raise InputError(f"{run.folder / 'config.json'}: {error}") from None
