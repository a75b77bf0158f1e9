"""Time a training step of six workloads, alone or compared with PyTorch or JAX. In a checkout:

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
        help="also measure this framework, in turns with tinygan; the exit code is 1 if a "
        "ratio misses its target",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="number of rounds, in which every framework runs for half a second (default: 8)",
    )
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of a step")
    parser.add_argument(
        "--overhead", action="store_true", help="measure the overhead of ops, on tiny tensors"
    )
    parser.add_argument(
        "--growth", action="store_true", help="measure time by batch and image size"
    )
    parser.add_argument(
        "--augment", action="store_true", help="measure the time that DiffAugment and ADA add"
    )
    parser.add_argument("--profile", action="store_true", help="profile each workload, op by op")
    add_output(parser, ".json", required=False, help="also write the numbers of the tables")
    add(parser, "--device")
    return parser


def bench(args):
    """Run the measurements that args select, and print their tables. Returns 1 if a target is
    missed, otherwise 0."""
    unknown = [name for name in args.names if name not in WORKLOADS]
    if unknown:
        raise InputError(f"unknown workload {unknown[0]!r}; choose from {', '.join(WORKLOADS)}")
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
        raise InputError(f"--{tables[0]} takes no workloads: leave them out")
    if on_gpu and tables:
        raise InputError(f"--{tables[0]} measures the CPU: leave out --device gpu")
    numbers = {"machine": backend.gpu_and_software() if on_gpu else report.machine()}
    if args.rounds and tables and "augment" not in tables:
        raise InputError(f"--{tables[0]} has no rounds: leave out --rounds")
    args.rounds = args.rounds or 8
    targets_met = True
    print(numbers["machine"])
    with tqdm(total=0, unit="turn", dynamic_ncols=True, leave=False) as progress:

        def show(name, rows, columns):
            numbers[name] = rows
            progress.clear()
            print()
            print_table(rows, right=range(1, columns))

        if not tables:
            progress.total = args.rounds * len(names)
            if on_gpu:
                measure, columns = report.gpu_times, 12
                note = (
                    "launches: kernels and copies in a step; tinygan records a step, and replays "
                    "it as one CUDA graph"
                )
            else:
                measure, columns = report.times, 6
                note = (
                    "GFLOP/s count a plain convolution; Winograd's algorithm needs fewer operations"
                )
            rows, targets_met, numbers["versions"] = measure(
                names, args.against, args.rounds, progress
            )
            show("steps", rows, columns)
            print(f"\n{numbers['versions']}\n{note}")
        if args.memory:
            progress.reset(len(names) * sides)
            rows, met = report.memory(names, args.against, progress)
            targets_met &= met
            show("memory", rows, 3)
        if args.overhead:
            show("overhead", report.overhead(), 3)
        if args.growth:
            progress.reset(len(report.GROWTH[0]) * len(report.GROWTH[1]))
            show("growth", report.growth(progress), 6)
        if args.augment:
            progress.reset(args.rounds * len(report.AUGMENTED))
            rows, met = report.augmentation(args.rounds, progress)
            targets_met &= met
            show("augmentation", rows, 5)
        if args.profile:
            for name, table, inside, alone in report.profiles(names):
                progress.clear()
                print(
                    f"\n{name} ({WORKLOADS[name].summary}), 10 steps\n{table}\ntime per step: in "
                    f"ops {1e3 * inside:.1f} ms; without the profiler {1e3 * alone:.1f} ms"
                )
    if args.output:
        write_json(args.output, numbers)
        print(f"\nnumbers: {args.output}")
    return 0 if targets_met else 1


def main(argv=None) -> int:
    return run_command(make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
