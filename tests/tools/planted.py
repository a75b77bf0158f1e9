"""Plant derivative mistakes, and count those that check_grads catches; plant none, and count false
alarms. The check as it was when its verdict was a tolerance runs for comparison.

    python tests/tools/planted.py                       # all of them
    python tests/tools/planted.py --kind "second order"
    python tests/tools/planted.py --name batch_norm -v  # with the messages
    python tests/tools/planted.py --markdown            # the table for tests/README.md
    python tests/tools/planted.py -o planted.json       # also every mistake with both messages

The exit code is 1 if a mistake is missed without an explanation, or a right derivative is found
wrong.
"""

import argparse
import sys
import time

import tqdm
from planted import table

from tinygan.files import write_json


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ", ".join(table.KINDS)
    parser.add_argument("--kind", default="", help=f"only mistakes of this kind: {kinds}")
    parser.add_argument("--name", default="", help="only those whose names contain this text")
    parser.add_argument("--seed", type=int, default=0, help="of inputs and directions")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every message")
    parser.add_argument("-o", "--output", metavar="FILE.json", help="also write all to a file")
    args = parser.parse_args(argv)
    if args.kind and args.kind not in table.KINDS:
        parser.error(f"--kind {args.kind}: it is one of {kinds}")
    mistakes, right = table.selected(args.kind, args.name)
    if not mistakes and not right:
        parser.error(f"--name {args.name}: no name contains it")
    start = time.perf_counter()
    bar = lambda jobs: tqdm.tqdm(jobs, unit="case", smoothing=0.1, disable=None)
    results = table.run(mistakes, right, args.seed, bar)
    results["seconds"] = time.perf_counter() - start
    results["table"], results["alarms"] = table.table(results), table.alarms(results)
    show = table.as_markdown if args.markdown else table.as_text
    if mistakes:
        print(show(table.MISTAKE_COLUMNS, results["table"]))
    if right:
        print("", show(table.RIGHT_COLUMNS, results["alarms"]), sep="\n")
    if args.verbose:
        for m in results["mistakes"]:
            print(f"\n{m['name']} [{m['kind']}]\n  now:    {m['message'] or 'nothing found'}")
            print(f"  before: {m['message_before'] or 'nothing found'}")
    problems = table.problems(results)
    for heading, lines in (
        ("Not visible:", table.explained(results)),
        (f"{len(problems)} problems:", problems),
    ):
        if lines:
            print("", heading, *(f"* {line}" for line in lines), sep="\n")
    if not args.markdown:
        print(f"\n{len(mistakes)} mistakes, {len(right)} right ones, {results['seconds']:.0f} s")
    if args.output:
        write_json(args.output, results)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
