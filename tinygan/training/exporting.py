"""The weights of a run as a safetensors file."""

from pathlib import Path

from tinygan.weights import export_weights

from . import sampling


def export_run(run: str | Path, path: str | Path, network: str = "G", average: bool = True) -> Path:
    """Write the weights of a run's network to a safetensors file, as `export_weights` does. Return
    the path of the checkpoint that they are from.

    run: its folder, or one of its checkpoints. network: "G" or "D". average: the averaged weights
    of G; otherwise those of the last step. D has no average. Raises InputError if there is no
    checkpoint, or if the file cannot be written.
    """
    if network == "G":
        found, config, checkpoint = sampling.load_generator(run, average)
    else:
        average = False
        found, config, checkpoint = sampling.load_discriminator(run)
    metadata = {
        "recipe": config["recipe"],
        "network": network,
        "weights": "average" if average else "last",
        "checkpoint": checkpoint.name,
    }
    export_weights(found, path, metadata=metadata)
    return checkpoint
