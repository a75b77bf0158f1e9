"""Time a training step of six workloads and of three recipes, alone or compared with PyTorch or
JAX. In a checkout:

python -m demos.bench                          # all nine
python -m demos.bench mlp "recipe quick" --against torch
python -m demos.bench --memory --growth -o FILE.json
python -m demos.bench --time-to-fid --against torch
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from tinygan import backend
from tinygan.cli import run_command
from tinygan.cli.common import print_table
from tinygan.cli.options import Parser, add, add_output, positive
from tinygan.errors import InputError
from tinygan.files import write_json

from . import report, second_core, time_to_fid
from .recipes import ALL, RECIPES
from .workloads import WORKLOADS


def make_parser():
    parser = Parser(
        prog="python -m demos.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=bench)
    parser.add_argument(
        "names", nargs="*", metavar="WORKLOAD", help=f"{', '.join(ALL)} (default: all)"
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
    parser.add_argument(
        "--time-to-fid",
        action="store_true",
        help="train the default recipe until its samples have a FID of "
        f"{time_to_fid.FID:g}, with {len(time_to_fid.SEEDS)} seeds; the seeds that are in the "
        "file already (-o, or demos/results/time_to_fid.json) are not trained again",
    )
    parser.add_argument("--profile", action="store_true", help="profile each workload, op by op")
    add_output(parser, ".json", required=False, help="also write the numbers of the tables")
    add(parser, "--device")
    return parser


CPU_NOTES = [
    "GFLOP/s count a plain convolution; Winograd's algorithm needs fewer operations",
    "allocator: on all sides, the C library keeps freed memory for the next array (mallopt)",
]
GPU_NOTE = (
    "launches: kernels and copies in a step; tinygan records a step, and replays it as one CUDA "
    "graph"
)


def bench(args):
    """Run the measurements that args select, and print their tables. Returns 1 if a target is
    missed, otherwise 0."""
    unknown = [name for name in args.names if name not in ALL]
    if unknown:
        raise InputError(f"unknown workload {unknown[0]!r}; choose from {', '.join(ALL)}")
    on_gpu = backend.device() == "gpu"
    if args.time_to_fid:
        return bench_time_to_fid(args, on_gpu)
    known = WORKLOADS if on_gpu or args.against == "jax" else ALL
    names = args.names or list(known)
    if others := [name for name in names if name not in known]:
        raise InputError(f"{others[0]} is measured on a CPU and against torch only")
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
                rows, targets_met, numbers["versions"] = report.gpu_times(
                    names, args.against, args.rounds, progress
                )
                show("steps", rows, 12)
                notes = [GPU_NOTE]
            else:
                with second_core.SecondCore() as cores:
                    for table, of in ("steps", WORKLOADS), ("recipes", RECIPES):
                        if chosen := [name for name in names if name in of]:
                            compiled = of is RECIPES and args.against == "torch"
                            rows, met, numbers["versions"] = report.times(
                                chosen, args.against, args.rounds, progress, cores, compiled
                            )
                            targets_met &= met
                            show(table, rows, 6)
                numbers["second_core"] = cores.summary()
                notes = [second_core.sentence(numbers["second_core"]), *CPU_NOTES]
            print("", numbers["versions"], *notes, sep="\n")
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
            for name, table, steps, inside, alone in report.profiles(names):
                progress.clear()
                print(
                    f"\n{name} ({ALL[name].summary}), {steps} steps\n{table}\ntime per step: in "
                    f"ops {1e3 * inside:.1f} ms; without the profiler {1e3 * alone:.1f} ms"
                )
    if args.output:
        write_json(args.output, numbers)
        print(f"\nnumbers: {args.output}")
    return 0 if targets_met else 1


def bench_time_to_fid(args, on_gpu):
    """Measure the time to a FID, and print it. Returns 0."""
    others = ("memory", "overhead", "growth", "augment", "profile", "rounds", "names")
    if on_gpu or args.against == "jax" or any(getattr(args, name) for name in others):
        raise InputError(
            "--time-to-fid trains the default recipe on the CPU: leave out workloads and other "
            "measurements, and compare it with torch only"
        )
    path = args.output or time_to_fid.FILE
    against = (args.against, report.variants(args.against)) if args.against else ()
    time_to_fid.measure(Path(path), *against)
    return 0


def main(argv=None) -> int:
    return run_command(make_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
