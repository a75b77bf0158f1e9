"""Time a training step of six workloads, by itself or beside PyTorch or JAX. In a checkout:

python -m demos.bench                          # all six
python -m demos.bench mlp lenet --against torch
python -m demos.bench --memory --growth -o FILE.json
"""

import argparse
import sys

from tqdm import tqdm

from tinygan import backend
from tinygan.cli import run_command
from tinygan.cli.common import print_table
from tinygan.cli.options import Parser, add, add_output, positive
from tinygan.errors import InputError
from tinygan.files import write_json

from . import report
from .workloads import WORKLOADS


def make_parser():
    parser = Parser(
        prog="python -m demos.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=bench)
    parser.add_argument(
        "names", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)} (default: all)"
    )
    parser.add_argument(
        "--against",
        choices=("torch", "jax"),
        help="measure this one beside us, turn by turn; the exit code is 1 if a ratio "
        "misses its target",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=8,
        metavar="N",
        help="turns of half a second each (default: 8)",
    )
    parser.add_argument("--memory", action="store_true", help="peak memory of a step")
    parser.add_argument("--overhead", action="store_true", help="what an op costs on tiny tensors")
    parser.add_argument("--growth", action="store_true", help="time by batch size and image size")
    parser.add_argument(
        "--augment", action="store_true", help="what DiffAugment and ADA add to a step"
    )
    parser.add_argument(
        "--profile", action="store_true", help="where the time of each workload goes, op by op"
    )
    add_output(parser, ".json", required=False, help="write the numbers of the tables, too")
    add(parser, "--device")
    return parser


def bench(args):
    """Measure what was asked for, and print it table by table. Returns 1 if a target is missed."""
    unknown = [name for name in args.names if name not in WORKLOADS]
    if unknown:
        raise InputError(f"unknown workload {unknown[0]!r}; there are: {', '.join(WORKLOADS)}")
    names = args.names or list(WORKLOADS)
    on_gpu = backend.device() == "gpu"
    sides = 1
    if args.against:
        sides += len(report.variants(args.against, "gpu" if on_gpu else "cpu"))
    tables = [
        name
        for name in ("memory", "overhead", "growth", "augment", "profile")
        if getattr(args, name)
    ]
    if args.against and tables and tables != ["memory"]:
        raise InputError(
            f"--{tables[-1]} measures tinygan alone: leave out --against {args.against}"
        )
    if args.names and {"overhead", "growth", "augment"} >= {*tables} and tables:
        raise InputError(f"--{tables[0]} takes no workloads")
    if on_gpu and tables:
        raise InputError(f"--{tables[0]} measures the CPU: leave out --device gpu")
    kept, good = {"machine": backend.gpu_and_software() if on_gpu else report.machine()}, True
    print(kept["machine"])
    with tqdm(total=0, unit="turn", dynamic_ncols=True, leave=False) as progress:

        def show(name, rows, n):
            kept[name] = rows
            progress.clear()
            print()
            print_table(rows, right=range(1, n))

        if not tables:
            progress.total = args.rounds * len(names)
            measure, n, note = (
                report.times,
                6,
                "GFLOP/s are those of plain convolutions; Winograd's take fewer",
            )
            if on_gpu:
                measure, n, note = (
                    report.gpu_times,
                    12,
                    "launches: kernels and copies in a step; tinygan's are "
                    "recorded, and launched as one",
                )
            rows, good, kept["versions"] = measure(names, args.against, args.rounds, progress)
            show("steps", rows, n)
            print(f"\n{kept['versions']}\n{note}")
        if args.memory:
            progress.reset(len(names) * sides)
            rows, met = report.memory(names, args.against, progress)
            good &= met
            show("memory", rows, 3)
        if args.overhead:
            show("overhead", report.overhead(), 3)
        if args.growth:
            progress.reset(len(report.GROWTH[0]) * len(report.GROWTH[1]))
            show("growth", report.growth(progress), 6)
        if args.augment:
            progress.reset(args.rounds * len(report.AUGMENTED))
            rows, met = report.augmentation(args.rounds, progress)
            good &= met
            show("augmentation", rows, 5)
        if args.profile:
            for name, table, inside, alone in report.profiles(names):
                progress.clear()
                print(
                    f"\n{name} ({WORKLOADS[name].summary}), 10 steps\n{table}\na step: its ops "
                    f"{1e3 * inside:.1f} ms; without the profile {1e3 * alone:.1f} ms"
                )
    if args.output:
        write_json(args.output, kept)
        print(f"\nnumbers: {args.output}")
    return 0 if good else 1


def main(argv=None) -> int:
    return run_command(make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
