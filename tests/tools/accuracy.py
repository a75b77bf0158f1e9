"""Print the largest error of every elementwise op, loss and softmax, in ulps (see accuracy.py)."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import accuracy  # noqa: E402


def main():
    print(
        f"{'':34}{'float32':>27}{'float64':>27}\n{'':34}" + f"{'value':>9}{'1st':>9}{'2nd':>9}" * 2
    )
    found = [accuracy.all_errors(dtype) for dtype in (np.float32, np.float64)]
    for name in found[0]:
        numbers = [error for dtype in found for error, _ in dtype[name]]
        print(f"{name:34}" + "".join(f"{number:9.3g}" for number in numbers))


if __name__ == "__main__":
    main()
