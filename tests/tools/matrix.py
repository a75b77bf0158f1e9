"""Run the tests on every Python that is here, with the oldest and the newest dependencies.

    python tests/tools/matrix.py                                   # everything
    python tests/tools/matrix.py --python 3.10 3.13 --only oldest  # some of it
    python tests/tools/matrix.py -- -x tests/test_ops.py           # these options go to pytest

pyproject.toml says what is tried: its classifiers name the Pythons, and the lower bounds of its
dependencies are the oldest versions. Where a bound has no wheel for a Python, the next release that
has one is the oldest. An interpreter is looked for as python3.N on the PATH, then among pyenv's
versions.

Each combination of a Python with oldest or newest dependencies is a cell. A cell gets a virtual
environment of its own, and tinygan is installed there by the README's command. A failing cell does
not stop the others. An interrupted matrix continues: cells that have passed with the same files,
versions and options are not run again.

Where a Python is missing and all that are here are newer, the oldest of these stands in for it,
with the versions that the missing Python would get.

The table says for each cell which versions it had, how many tests passed, failed and were skipped,
and how many minutes they took. The exit code is 1 if any cell failed.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
PYTHONS = [
    match[1]
    for text in PROJECT["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))
]
NOTHING = {"ok": False, "failures": [], "versions": {}} | dict.fromkeys(
    ("passed", "failed", "skipped", "minutes"), "-"
)
# Without PYTHONPATH and the like, which could bring in another tinygan.
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def lower_bounds():
    """Return {package: lower bound} of every dependency; each must have one."""
    bounds = {}
    for requirement in REQUIREMENTS:
        match = re.match(r"([\w.-]+)>=([\d.]+)", requirement)
        if not match:
            sys.exit(
                f"matrix: pyproject.toml: {requirement} has no lower bound: write NAME>=VERSION"
            )
        bounds[match[1]] = match[2]
    return bounds


def as_numbers(version):
    """Return a version as a tuple that sorts and compares: (2, 0) for "2.0" and for "2.0.0"."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def run(*words, **settings):
    return subprocess.run(
        [str(word) for word in words], env=ENVIRONMENT, cwd=ROOT, text=True, **settings
    )


def full_version(python):
    """Return the version of an interpreter that can make virtual environments, such as "3.10.13";
    None if it cannot, or does not start."""
    code = "import ensurepip, platform, venv; print(platform.python_version())"
    try:
        process = run(python, "-c", code, capture_output=True)
    except OSError:
        return None
    return process.stdout.strip() if process.returncode == 0 else None


def find_interpreter(version):
    """Return (path, full version) of an interpreter of Python `version`, such as "3.10"; None if
    there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{version}.*"), key=lambda path: as_numbers(path.name))
    paths = [shutil.which(f"python{version}"), *(path / "bin/python" for path in installed[::-1])]
    for path in filter(None, [*paths, sys.executable]):
        full = full_version(path)
        if full and full.startswith(f"{version}."):
            return path, full
    return None


@functools.cache
def releases(package, version):
    """Return the releases of a package that have a wheel for Python `version`, the oldest first.

    pip lists them where it finds none that was asked for: no release is below 0.
    """
    options = "--no-deps", "--only-binary=:all:", "--python-version", version
    command = sys.executable, "-m", "pip", "download", *options, f"{package}<0"
    error = run(*command, capture_output=True).stderr
    match = re.search(r"\(from versions: (.*)\)", error)
    if not match:
        raise RuntimeError(f"pip does not list the releases of {package}: {error.strip()}")
    finished = re.compile(r"[\d.]+(\.post\d+)?")  # not 2.1.0rc1
    return sorted(filter(finished.fullmatch, match[1].split(", ")), key=as_numbers)


def releases_to_try(version, age):
    """Return {package: its oldest or newest release} for Python `version`."""
    chosen = {}
    for package, bound in lower_bounds().items():
        allowed = [r for r in releases(package, version) if as_numbers(r) >= as_numbers(bound)]
        if not allowed:
            raise RuntimeError(f"{package}>={bound} has no wheel for Python {version}")
        chosen[package] = allowed[0 if age == "oldest" else -1]
    return chosen


def fingerprint():
    """Return a hash of all files that the tests may read."""
    digest = hashlib.sha256()
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        made = any(p[0] == "." or p in ("__pycache__", "runs", "out") for p in parts)
        if path.is_file() and not made and not parts[0].endswith(".egg-info"):
            digest.update("/".join(parts).encode() + path.read_bytes())
    return digest.hexdigest()


def install(python, folder, constraints):
    """Install tinygan in a new virtual environment in `folder`, as the README says, and return the
    environment's Python.

    constraints: {package: the release to install}; pip chooses the rest.
    """
    shutil.rmtree(folder / "venv", ignore_errors=True)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    commands = [
        [python, "-m", "venv", folder / "venv"],
        [scripts / "pip", "install", "-q", "-e", ".[test]", "-c", folder / "constraints.txt"],
    ]
    lines = [f"{package}=={release}\n" for package, release in constraints.items()]
    (folder / "constraints.txt").write_text("".join(lines))
    with open(folder / "install.txt", "w") as log:
        for command in commands:
            if run(*command, stdout=log, stderr=subprocess.STDOUT).returncode:
                raise RuntimeError(f"installing failed: see {log.name}")
    return scripts / "python"


def installed_versions(python):
    """Return {package: version} of the dependencies in a virtual environment."""
    code = (
        "import importlib.metadata, json, sys\n"
        "print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))"
    )
    process = run(python, "-c", code, *lower_bounds(), capture_output=True, check=True)
    return json.loads(process.stdout)


def counts(report):
    """Return the numbers of tests in pytest's report, and the names of those that failed."""
    tests = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    broken = [t for t in tests if t.find("failure") is not None or t.find("error") is not None]
    skipped = sum(t.find("skipped") is not None for t in tests)
    return {
        "passed": len(tests) - len(broken) - skipped,
        "failed": len(broken),
        "skipped": skipped,
        "failures": sorted({f"{t.get('classname')}::{t.get('name')}" for t in broken}),
    }


def run_cell(python, releases, constrained, folder, options):
    """Run the tests with `python` and return the result; from a file if they have passed before.

    releases: {package: the release to try}. constrained: whether pip must be told so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    result_file, report = folder / "result.json", folder / "report.xml"
    key = [fingerprint(), releases, options]
    if result_file.exists():
        before = json.loads(result_file.read_text())
        if before["ok"] and before["key"] == key:
            print("  passed before")
            return before
    venv = install(python, folder, releases if constrained else {})
    report.unlink(missing_ok=True)
    command = [venv, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    command.append(f"--junitxml={report}")
    start = time.monotonic()
    with open(folder / "tests.txt", "w") as log:
        code = run(*command, *options, stdout=log, stderr=subprocess.STDOUT).returncode
    minutes = f"{(time.monotonic() - start) / 60:.1f}"
    if not report.exists():
        raise RuntimeError(f"pytest ended early, with exit code {code}: see {log.name}")
    result = {
        **{"key": key, "ok": code == 0, "note": f"pytest's exit code is {code}: see {log.name}"},
        **{"minutes": minutes, "versions": installed_versions(venv), **counts(report)},
    }
    result_file.write_text(json.dumps(result, indent=1))
    return result


def print_table(results):
    """Print a row for each cell, and below what failed. results: {(python, age): result}."""
    packages = list(lower_bounds())
    rows = [["python", "versions", *packages, "passed", "failed", "skipped", "minutes"]]
    for names, result in results.items():
        versions = [result["versions"].get(package, "-") for package in packages]
        tests = [str(result[column]) for column in rows[0][-4:]]
        rows.append([*names, *versions, *tests])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    for names, result in results.items():
        if not result["ok"]:
            print(f"\n{' '.join(names)}: {result['note']}", *result["failures"], sep="\n  ")


def cells(pythons, ages):
    """Yield (interpreter, its full version, the Python whose releases it gets, age) of each cell,
    and say which Pythons are missing."""
    here = {version: found for version in PYTHONS if (found := find_interpreter(version))}
    for version in pythons:
        if version in here:
            for age in ages:
                yield *here[version], version, age
            continue
        print(f"Python {version} is missing", flush=True)
        newer = [other for other in here if as_numbers(other) > as_numbers(version)]
        if newer and len(newer) == len(here):
            for age in ages:  # the oldest releases must have wheels for the stand-in itself
                yield *here[newer[0]], newer[0] if age == "oldest" else version, age


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", nargs="+", choices=PYTHONS, default=PYTHONS, metavar="3.N")
    parser.add_argument("--only", choices=["oldest", "newest"], help="default: both")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / ".matrix",
        help="for the environments, logs and results (default: .matrix)",
    )
    parser.add_argument("options", nargs="*", help="options of pytest, after --")
    args = parser.parse_args()
    results = {}
    for python, full, version, age in cells(
        args.python, [args.only] if args.only else ["oldest", "newest"]
    ):
        stands_in = not full.startswith(f"{version}.")
        name = f"{full} for {version}" if stands_in else full
        if (name, age) in results:  # of a stand-in
            continue
        print(f"Python {name}, {age}: {python}", flush=True)
        folder = args.folder.resolve() / f"{name.replace(' ', '-')}-{age}"
        constrained = stands_in or age == "oldest"
        try:
            releases = releases_to_try(version, age)
            results[name, age] = run_cell(python, releases, constrained, folder, args.options)
        except RuntimeError as error:
            results[name, age] = {**NOTHING, "note": str(error)}
    if not results:
        parser.error("no Python to run the tests on")
    print()
    print_table(results)
    return any(not result["ok"] for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
