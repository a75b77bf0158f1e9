"""Store the numbers that a command has measured in demos/results/, for the guides (readme.py).

    python -m demos.bench --growth -o new.json
    python demos/keep.py bench growth new.json

    python tests/tools/flat.py -o new.json
    python demos/keep.py checks flat new.json

    tinygan ppl RUN -o new.png
    python demos/keep.py commands path-length new-numbers.json

The first pair stores the contents of new.json in demos/results/bench.json, under the name "growth".
"""

import sys
from pathlib import Path

from tinygan.study import result_files

if len(sys.argv) != 4:
    sys.exit(__doc__)
_, file, name, new = sys.argv
numbers = result_files.read_json(Path(new))
result_files.update_json(
    Path(__file__).parent / "results" / f"{file}.json", lambda old: old | {name: numbers}
)
