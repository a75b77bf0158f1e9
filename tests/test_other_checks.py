"""tests/tools/other_checks.py plants the same mistakes in every library, and counts them right."""

import json

import numpy as np
import other_checks
import pytest
from other_mistakes import MISTAKES

from tinygan import check_grads, grad, tensor

pytestmark = pytest.mark.cpu


def title(mistake):
    return f"{mistake.kind}: {mistake.name}"


def of_kind(kind):
    return next(mistake for mistake in MISTAKES if mistake.kind == kind)


def planted(mistake, side, library="tinygan"):
    """Return the library's custom function with the right or the wrong derivative; its inputs."""
    inputs = mistake.inputs(np.random.default_rng(0))
    custom = other_checks.LIBRARIES[library]().custom
    return custom(mistake.forward, getattr(mistake, side), len(inputs)), inputs


def test_there_are_forty_mistakes():
    assert len({title(mistake) for mistake in MISTAKES}) == len(MISTAKES) == 40


@pytest.mark.parametrize("mistake", MISTAKES, ids=title)
def test_tinygan_passes_the_right_derivative(mistake):
    f, inputs = planted(mistake, "right")
    check_grads(f, inputs, mistake.order)


@pytest.mark.parametrize("mistake", MISTAKES, ids=title)
def test_tinygan_catches_the_wrong_derivative(mistake):
    f, inputs = planted(mistake, "wrong")
    refused = mistake.name == "gradient of a bias not summed"  # the engine refuses the shape
    with pytest.raises(ValueError if refused else AssertionError, match="the gradient of"):
        check_grads(f, inputs, mistake.order)


@pytest.mark.parametrize(
    "mistake", [mistake for mistake in MISTAKES if mistake.kind == "in float32 only"], ids=title
)
def test_a_mistake_in_float32_is_there(mistake):
    """Whether a check sees it or not: the gradients differ in float32, and in float32 alone."""
    gradients = {}
    for side in ("right", "wrong"):
        for dtype in ("float32", "float64"):
            f, inputs = planted(mistake, side)
            xs = [tensor(x, requires_grad=True, dtype=dtype) for x in inputs]
            gradients[side, dtype] = grad(f(*xs).sum(), xs[0]).numpy()
    assert np.array_equal(gradients["right", "float64"], gradients["wrong", "float64"])
    assert not np.allclose(gradients["right", "float32"], gradients["wrong", "float32"], atol=1e-3)


SOME = "factor 2.001", "second order only", "ties and zeros only", "with groups only"


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("name", ["PyTorch", "JAX", "HIPS autograd"])
def test_other_libraries_know_right_from_wrong(name, kind):
    pytest.importorskip({"PyTorch": "torch", "JAX": "jax", "HIPS autograd": "autograd"}[name])
    libraries = {name: other_checks.LIBRARIES[name]()}
    (row,) = other_checks.measure(libraries, [of_kind(kind)])
    assert not any(message for check, message in row["right"].items() if "float32" not in check)
    assert all(row["wrong"].values()) and not any(
        word in message for message in row["wrong"].values() for word in ("TypeError", "Attribute")
    )


def test_pytorch_sums_a_gradient_that_was_broadcast():
    torch = pytest.importorskip("torch")
    (mistake,) = [mistake for mistake in MISTAKES if mistake.repaired]
    gradients = []
    for side in ("right", "wrong"):
        f, inputs = planted(mistake, side, mistake.repaired)
        xs = [torch.tensor(x, requires_grad=True) for x in inputs]
        y = f(*xs)
        gradients.append(torch.autograd.grad(y, xs[1], torch.ones_like(y).cumsum(0))[0])
    assert gradients[0].shape == (3,) and torch.equal(*gradients)


def library_that_misses():
    """A library whose checks find the sign alone, and find fault with every cube."""

    def check(f, inputs, order):
        if f[0].__name__ == "cube" or f[1].__name__ == "difference_sign":
            raise ValueError("\n first line\nsecond line")

    return other_checks.Library("numpy", lambda *args: args, {"a check": check})


def broken():
    raise ImportError("No module named 'broken'")


def test_the_tables_and_the_file(monkeypatch, tmp_path, capsys):
    signs = [m for m in MISTAKES if m.kind == "sign"]
    broadcast = [m for m in MISTAKES if m.repaired]
    libraries = {"Careless": library_that_misses, "Broken": broken, "PyTorch": library_that_misses}
    monkeypatch.setattr(other_checks, "MISTAKES", [MISTAKES[0], *signs, *broadcast])
    monkeypatch.setattr(other_checks, "LIBRARIES", libraries)
    path = tmp_path / "checks.json"
    assert other_checks.main(["--markdown", "--only", "Careless", "--only", "Broken",
                              "--out", str(path)]) == 0  # fmt: skip
    printed = capsys.readouterr()
    assert printed.err == "Broken is left out: No module named 'broken'\n"
    assert printed.out.splitlines() == [
        "| mistake | a check |",
        "| --- | ---: |",
        "| factor 2 or N | 1/1 |",
        "| sign | 1/2 |",
        "| broadcast sum missing | 0/1 |",
        "| all mistakes | 2/4 |",
        "| false alarms | 1/4 |",
        "",
        f"numpy {np.__version__}",
    ]
    stored = json.loads(path.read_text())
    assert stored["versions"] == {"numpy": np.__version__}
    assert stored["mistakes"][1] == {
        "kind": "sign",
        "name": "second argument of a difference",
        "wrong": {"a check": "ValueError:  first line"},
        "right": {"a check": ""},
    }
    other_checks.main(["--all", "--only", "PyTorch"])
    table = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    results = {line[0]: line[-1].strip() for line in table}
    assert results["sign: second argument of a difference"] == "caught"
    assert results["sign: denominator of a quotient"] == "missed"
    assert results["broadcast sum missing: gradient of a bias not summed"] == "repaired"
    assert results["all mistakes"] == "2/3" and results["false alarms"] == "1/4"
