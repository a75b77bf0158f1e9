"""Keep what a command has measured among the results, for the guides to show (readme.py).

    python -m demos.bench --growth -o new.json; python demos/keep.py bench growth new.json
    python tests/tools/flat.py -o new.json;     python demos/keep.py checks flat new.json
    tinygan ppl RUN -o new.png;                 python demos/keep.py commands path-length new-numbers.json

The first writes what new.json holds into demos/results/bench.json, under the name "growth".
"""

import sys
from pathlib import Path

from tinygan.study import kept

if len(sys.argv) != 4:
    sys.exit(__doc__)
_, file, name, new = sys.argv
numbers = kept.numbers(Path(new))
kept.change(Path(__file__).parent / "results" / f"{file}.json", lambda old: old | {name: numbers})
