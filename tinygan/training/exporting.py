"""The weights of a run as a safetensors file."""

from pathlib import Path
from typing import Any, Mapping

from tinygan.weights import export_weights


def export_trained(
    network: Any,
    path: str | Path,
    config: Mapping[str, Any],
    role: str,
    average: bool,
    checkpoint_name: str,
) -> None:
    """Write the weights of a run's network as `export_weights` does, and say in the file what they
    are. config: the contents of config.json. role: "G" or "D". average: whether they are the
    averaged weights."""
    export_weights(
        network,
        path,
        metadata={
            "recipe": config["recipe"],
            "network": role,
            "weights": "average" if average else "last",
            "checkpoint": checkpoint_name,
        },
    )
