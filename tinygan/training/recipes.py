"""The registry of recipes, in the order in which `tinygan recipes` lists them."""

import dataclasses
import os
from pathlib import Path
from typing import Any

from tinygan.data import holds_points
from tinygan.errors import InputError, choose_from, quoted
from tinygan.files.checkpoint import Run
from tinygan.models import (
    acgan,
    biggan,
    cgan,
    dcgan,
    gan,
    hour,
    infogan,
    lsgan,
    progan,
    projection,
    quick,
    r3gan,
    sngan,
    stylegan,
    stylegan2,
    wgan,
    wgan_gp,
)
from tinygan.models.recipe import Recipe
from tinygan.models.settings import Settings

from . import own_code

DEFAULT = "quick"
RECIPES = {
    module.RECIPE.name: module.RECIPE
    for module in (
        quick,
        hour,
        gan,
        dcgan,
        lsgan,
        wgan,
        wgan_gp,
        sngan,
        cgan,
        acgan,
        projection,
        infogan,
        progan,
        biggan,
        stylegan,
        stylegan2,
        r3gan,
    )
}


def find(name: str) -> Recipe:
    """Return the recipe called `name`. Raises InputError if there is none, and lists all names."""
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}: {choose_from(RECIPES, name)}")
    return RECIPES[name]


def choose(name: str | Path) -> Recipe:
    """Return the recipe called `name`; or if it ends in .py, execute that file of the user's, and
    return its RECIPE. Raises InputError if there is none."""
    name = os.fspath(name)
    if name.endswith(".py"):
        return own_code.load_recipe(own_code.read(name))
    if name not in RECIPES and os.path.isfile(f"{name}.py"):
        raise InputError(f"unknown recipe {name!r}: for the file here, write {name}.py")
    if name not in RECIPES and os.path.isdir(name):
        raise InputError(
            f"unknown recipe {name!r}: to train on the pictures in this folder, write "
            f"--data {quoted(name)}"
        )
    return find(name)


def settings_of(config: dict[str, Any]) -> Settings:
    """Return the Settings of a run, given the contents of its config.json. If its recipe is the
    user's own, which is not executed here, they are only those that all recipes have."""
    if "recipe" not in config.get("code", {}):
        for_points = holds_points(config["data"])
        return find(config["recipe"]).settings(for_points).updated(config["settings"])
    general = {field.name for field in dataclasses.fields(Settings)}
    settings = config["settings"].items()
    return Settings().updated({name: value for name, value in settings if name in general})


def of_run(
    run: Run, model: str | Path | None = None, trust: bool = False
) -> tuple[Recipe, Settings]:
    """Return the recipe and the Settings of a run.

    For a run whose recipe is the user's own: model is its file, which must be the one with which
    the run began; trust=True executes the copy in the run folder instead. A loss or penalty of the
    user's own is not loaded. Raises InputError without model and trust, or if the file differs;
    and, naming config.json, if there is no such recipe, or if a setting is wrong.
    """
    recipe = own_code.recipe_of_run(run, model, trust)
    try:
        recipe = recipe or find(run.config["recipe"])
        if recipe.name != run.config["recipe"]:
            raise InputError(f"it names another recipe than {recipe.name}: undo the change")
        return recipe, recipe.settings().updated(run.config["settings"])
    except InputError as error:
        raise InputError(f"{run.folder / 'config.json'}: {error}") from None
