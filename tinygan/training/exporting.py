"""The weights of a run as a safetensors file."""

from pathlib import Path
from typing import Any, Mapping

from tinygan.errors import InputError
from tinygan.files import checkpoint
from tinygan.weights import export_weights

from . import sampling


def export_run(
    run: str | Path, path: str | Path, network: str = "G", average: bool = True, **options: Any
) -> Path:
    """Write the weights of a run's network to a safetensors file, as `export_weights` does. Return
    the path of the checkpoint that they are from.

    run: its folder, or one of its checkpoints. network: "G" or "D". average: the averaged weights
    of G; otherwise those of the last step. D has no average. options: those of
    `sampling.load_generator`. Raises InputError if there is no checkpoint, or if the file cannot be
    written.
    """
    if network == "G":
        found, config, source = sampling.load_generator(run, average, **options)
    else:
        opened = checkpoint.open_run(run)
        assert opened.path is not None  # else, open_run has raised an error
        source, config, average = opened.path, opened.config, False
        if source.name == checkpoint.BEST:
            raise InputError(f"{source} holds only G: for D, give a checkpoint-*.npz")
        _, found = sampling.load_networks(source, **options)
    export_weights(found, path, metadata=about(config, network, average, source.name))
    return source


def about(
    config: Mapping[str, Any], network: str, average: bool, checkpoint_name: str
) -> dict[str, str]:
    """Return what a file says about the weights of a run. config: the contents of config.json.
    network, average: as for `export_run`."""
    return {
        "recipe": config["recipe"],
        "network": network,
        "weights": "average" if average else "last",
        "checkpoint": checkpoint_name,
    }
