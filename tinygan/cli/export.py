"""The command export."""

from tinygan.errors import InputError
from tinygan.training import sampling
from tinygan.training.exporting import export_trained

from .options import add, add_output


def export_options(parser):
    add(parser, "run_folder")
    parser.add_argument(
        "--network",
        choices=("G", "D"),
        default="G",
        help="the network: the generator G (the default) or the discriminator D",
    )
    add(
        parser,
        "--weights",
        default=None,
        help="for G: the moving average of its weights (the default), or those of the last step; "
        "of D, there are those of the last step",
    )
    add(parser, "--model", "--trust")
    add_output(
        parser,
        ".safetensors",
        help="the output: names and axes are those of PyTorch's layers, images NCHW",
    )


def run_export(args):
    if args.network == "D" and args.weights == "average":
        raise InputError("--network D --weights average: D has no average: leave out --weights")
    average = args.network == "G" and args.weights != "last"
    network, _, config, path = sampling.open_network(
        args.run_folder, args.network, average, args.model, args.trust
    )
    export_trained(network, args.output, config, args.network, average, path.name)
    print(f"{args.network} ({path.name}): {args.output}")
