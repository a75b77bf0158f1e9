"""`tinygan gradcheck FILE.py:FUNCTION`: right derivatives pass, wrong ones are shown, and every
mistake of the user is one line."""

import sys

import numpy as np
import pytest
from test_cli import fails

from tinygan.autograd.gradcheck import GradReport
from tinygan.cli import main

pytestmark = pytest.mark.cpu  # the files of the user's compute with NumPy

FILE = """
import numpy as np
from helper import two
from tinygan import nn, ops
from tinygan.autograd import op

@op
def cube(x, /):
    return x.data**3, lambda g: g * 3.0 * x * x

@op
def wrong(x, /):
    return x.data**3, lambda g: g * two * x * x

@op
def of_another_shape(x, /):
    return x.data**3, lambda g: ops.sum(g)

@op
def detached(x, /):
    return x.data**3, lambda g: g * 3.0 * x * x.detach()

def layer(x, w, slope=0.1):
    return ops.leaky_relu(x @ w, slope=slope)

def logarithm(x):
    return ops.log(x)

def root(x):
    return ops.sqrt(x - 1.5)

class Net(nn.Module):
    def __init__(self):
        self.linear = nn.Linear(3, 2, rng=np.random.default_rng(0))
        self.classes = nn.Embedding(4, 2, rng=np.random.default_rng(1))

    def forward(self, x, labels):
        return ops.tanh(self.linear(x)) * self.classes(labels)

class OfWidth(nn.Module):
    def __init__(self, width):
        self.width = width

net = nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)), nn.Tanh())

def Net_inputs():
    return np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 1, 3, 2])

def cube_inputs():
    return [1.0, 2.0, 3.0]

def wrong_inputs():
    return {"x": 1.0}

def energy(w):
    return float(np.sum(np.sin(w) ** 2))

def its_gradient(w):
    return np.sin(2 * w)

def off_by_a_millionth(w):
    return np.where(np.arange(w.size) == 2, 1 + 1e-6, 1.0) * np.sin(2 * w)

def its_hessian(w):
    return np.diag(2 * np.cos(2 * w))

def its_hessp(w, v):
    return 2 * np.cos(2 * w) * v

def wrong_hessian(w):
    return np.diag(np.cos(2 * w))

def value_and_gradient(w):
    return energy(w), its_gradient(w)

def products(x, y):
    return x * y

def products_jvp(x, y, v, w):
    return v * y + x * w

def products_vjp(x, y, g):
    return g * y, g * x

def sum_of_gradient(w):
    return np.sin(2 * w).sum()

def raises(x):
    return {}["entry"]

def later(x):
    import beside_nothing
    return x

def nothing():
    return 1.0

constant = 3.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of a user."""
    folder = tmp_path_factory.mktemp("homework")
    (folder / "my.py").write_text(FILE)
    (folder / "helper.py").write_text("two = 2.0\n")
    (folder / "other.py").write_text("from helper import two\ndef twice(w): return two * w\n")
    (folder / "random.py").write_text("def f(x):\n    return x * x\n")
    (folder / "syntax.py").write_text("x = 1\ndef f(x):\n    return x +\n")
    (folder / "imports.py").write_text("import syntax\n")
    (folder / "crash.py").write_text("x = 1\n1 / 0\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("three = 3.0\n")
    (package / "main.py").write_text("from .part import three\ndef f(x): return three * x * x\n")
    return folder


@pytest.fixture(autouse=True)
def beside_the_files(folder, monkeypatch):
    monkeypatch.chdir(folder)


def check(capsys, words, code=0):
    """Run the command with `words`; return what it prints."""
    assert main(["gradcheck", *words.split()]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize(
    "words, lines",
    [
        ("my.py:cube --shape 3,4", ["cube, order 1: right", "cube, order 2: right"]),
        ("my.py:cube", ["cube, order 2: right"]),  # at cube_inputs()
        ("my.py:cube --shape scalar --order 3", ["cube, order 3: right"]),
        ("my.py:cube --shape (3,) --seed 1 --full", ["each of the 3 entries was changed"]),
        ("my.py:layer --shape 3,4 --shape 4,2 --order 1", ["layer, order 1: right", ": x, w"]),
        ("my.py:logarithm --shape 3 --positive --eps 1e-3 --miss 1e-9", ["off by 1.0e-03 of"]),
        ("my.py:root --shape 3 --range 2 3", ["root, order 2: right"]),
        ("my.py:net --shape 5,3", ["Sequential in training mode, order 2: right", "0.weight"]),
        ("my.py:Net --order 1", ["Net in training mode, order 1: right", "classes.weight"]),
        ("package/main.py:f --shape 3", ["f, order 2: right"]),
        ("random.py:f --shape 3", ["f, order 2: right"]),
        ("my.py:energy --shape 5 --gradient its_gradient", ["energy, order 1: right", ": w"]),
        ("my.py:energy --shape 5 --gradient my.py:its_gradient", ["energy, order 1: right"]),
        ("my.py:energy --shape 5 --hessian its_hessian", ["energy, order 2: right", "symmetry"]),
        ("my.py:energy --shape 5 --hessp its_hessp", ["energy, order 2: right"]),
        ("my.py:value_and_gradient --shape 5 --gradient True", ["gradient, order 1: right"]),
        ("my.py:products --shape 3 --shape 3 --jvp products_jvp", ["products, order 1: right"]),
        ("my.py:products --shape 3 --shape 3 --vjp products_vjp", ["products, order 1: right"]),
        (
            "my.py:energy --shape 3 --gradient off_by_a_millionth --rtol 1e-4 --atol 0",
            ["within the tolerance that you set"],
        ),
    ],
)
def test_a_right_derivative(capsys, words, lines):
    out = check(capsys, words)
    assert all(line in out for line in lines), out


@pytest.mark.parametrize(
    "words, lines",
    [
        (
            "my.py:wrong --shape 3,4",
            ["FAIL\n    wrong, order 1: the gradient of x is wrong at index (", "0.66666"],
        ),
        (
            "my.py:detached --shape 3",
            ["detached, order 1: right", "FAIL\n    detached, order 2: the gradient of x is wrong"],
        ),
        ("my.py:of_another_shape --shape 3", ["FAIL\n    my.py: ValueError: of_another_shape: "]),
        (
            "my.py:energy --shape 5 --gradient off_by_a_millionth",
            ["FAIL\n    energy, order 1: the gradient of w is wrong at index (2,)"],
        ),
        (
            "my.py:energy --shape 5 --gradient its_gradient --hessian wrong_hessian",
            ["energy, order 1: right", "FAIL\n    energy, order 2: the gradient of w is wrong"],
        ),
        ("my.py:energy --shape 5 --gradient other.py:twice", ["FAIL\n    energy, order 1: "]),
    ],
)
def test_a_wrong_derivative(capsys, words, lines):
    out = check(capsys, words, code=1)
    assert all(line in out for line in lines), out


@pytest.mark.parametrize("name, code", [("cube", 0), ("wrong", 1)])
def test_the_picture(capsys, monkeypatch, folder, name, code):
    def plot(report, path):
        path.write_text(str(len(report.orders)))

    monkeypatch.setattr(GradReport, "plot", plot)
    out = check(capsys, f"my.py:{name} --shape 3 --plot {folder / name}.png", code)
    assert f"picture: {folder / name}.png" in out
    assert (folder / f"{name}.png").read_text() == ("2" if code == 0 else "0")


@pytest.mark.parametrize(
    "words, message",
    [
        ("no.py:f --shape 3", "no.py does not exist"),
        ("package:f", "no op or layer has package:f in its name"),
        (".py:f --shape 3", ".py does not exist"),
        ("my.py --shape 3", "my.py: write my.py:NAME, where NAME is the function or network"),
        ("my.py: --shape 3", "write my.py:NAME"),
        ("my.py:a.b --shape 3", "write my.py:NAME"),
        ("my.py:cub --shape 3", "my.py has no cub: did you mean cube? (choose from cube, wrong, "),
        ("my.py:constant --shape 3", "my.py:constant is of type float: name a function or a netw"),
        ("my.py:np --shape 3", "my.py:np is of type module"),
        ("my.py:OfWidth --shape 3", "my.py:OfWidth needs arguments: put a network into the file"),
        ("my.py:cube tanh", "check one function at a time: my.py:cube without tanh"),
        ("syntax.py:f --shape 3", "syntax.py, line 3: SyntaxError: invalid syntax"),
        ("imports.py:f --shape 3", "syntax.py, line 3: SyntaxError: invalid syntax"),
        ("crash.py:f --shape 3", "crash.py, line 2: ZeroDivisionError: division by zero"),
        ("leaves.py:f --shape 3", "leaves.py, line 2: SystemExit: 0 (put what the script does un"),
        ("my.py:raises --shape 3", "KeyError: 'entry'"),
        ("my.py:later --shape 3", "ModuleNotFoundError: No module named 'beside_nothing'"),
        ("my.py:energy --shape 3", "energy returns float, not a Tensor: for a function of NumPy"),
        ("my.py:products --shape 3 --shape 4", "ValueError: mul: the shapes do not broadcast"),
        ("my.py:logarithm --shape 9", "logarithm is NaN or infinite at these arguments: draw oth"),
        ("my.py:layer", "layer: it takes 2 arguments (x, w): give the shape of each argument, su"),
        ("my.py:layer --shape 3", "layer takes 2 arguments (x, w), but 1 --shape was given"),
        ("my.py:cube --shape 3 --shape 3", "cube takes 1 argument (x), but 2 --shape were given"),
        ("my.py:nothing --shape 3", "nothing takes 0 arguments, but 1 --shape was given"),
        ("my.py:wrong", "my.py:wrong_inputs must return an array of finite numbers, or a list"),
        ("my.py:cube --shape 3x4", "3x4 is not a shape: write whole numbers of at least 1"),
        ("my.py:cube --shape 0,3", "0,3 is not a shape"),
        ("my.py:cube --shape 10000,10000", "has more than 10,000,000 entries: check a smaller"),
        ("my.py:cube --shape 3 --range 2 2", "--range 2 2: the first number must be smaller"),
        ("my.py:cube --shape 3 --range 0 inf", "inf is not a finite number"),
        ("my.py:cube --shape 3 --range 1 2 --positive", "not allowed with argument --range"),
        ("my.py:cube --positive", "--positive says how to draw arguments: give a --shape for each"),
        ("my.py:cube --shape 3 --full --miss 0.1", "--full compares every entry, and misses none"),
        ("my.py:cube --shape 3 --eps 2", "2 is not between 0 and 1"),
        ("my.py:cube --shape 3 --rtol -1", "-1 is negative"),
        ("my.py:cube --shape 3 --order 0", "0 is not between 1 and 9"),
        ("my.py:cube --shape 3 --plot no/a.png", "the folder no does not exist"),
        ("my.py:energy --shape 3 --gradient its_gradien", "did you mean its_gradient?"),
        ("my.py:energy --shape 3 --gradient a:b", "--gradient a:b: write NAME, or FILE.py:NAME"),
        ("my.py:energy --shape 3 --gradient constant", "constant is of type float: name a functi"),
        ("my.py:energy --shape 3 --gradient raises", "KeyError: 'entry'"),
        (
            "my.py:energy --shape 3 --gradient sum_of_gradient",
            "my.py:energy: the gradient must have the shape (3,), not ()",
        ),
        ("my.py:energy --shape 3 --gradient True", "must return (value, gradient)"),
        ("my.py:cube --shape 3 --gradient twice", "cube returns a Tensor, whose gradients tinygan"),
        ("my.py:net --shape 3 --gradient twice", "my.py:net is a network: leave --gradient out"),
        (
            "my.py:energy --shape 3 --gradient its_gradient --order 1",
            "--order is for functions of Tensors: leave it out with --gradient",
        ),
        ("my.py:energy --shape 3 --hessian a --hessp b", "choose one of them"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(capsys, words, message):
    assert message in fails(capsys, "gradcheck", *words.split())


@pytest.mark.parametrize(
    "option",
    ["--shape 3", "--positive", "--range 0 1", "--order 1", "--gradient f", "--jvp f", "--vjp f"]
    + ["--hessian f", "--hessp f", "--seed 0", "--full", "--eps 0.1", "--miss 0.1", "--rtol 0"]
    + ["--atol 0", "--plot a.png"],
)
def test_the_table_has_none_of_these_options(capsys, option):
    line = fails(capsys, "gradcheck", "tanh", *option.split())
    assert f"{option.split()[0]} is only for your own functions" in line


def test_the_file_leaves_nothing_behind(capsys, folder):
    before, search_path = {*sys.modules}, [*sys.path]
    check(capsys, "my.py:cube --shape 3")
    check(capsys, "package/main.py:f --shape 3")
    check(capsys, "random.py:f --shape 3")
    new = {*sys.modules} - before
    assert not {"my", "helper", "main", "package"} & new and sys.path == search_path
    assert not any(str(folder) in str(getattr(sys.modules[m], "__file__", "")) for m in new)
    assert "randrange" in dir(sys.modules["random"])


def test_the_file_is_read_again(capsys, folder):
    (folder / "changing.py").write_text("def f(x): return x * x\n")
    check(capsys, "changing.py:f --shape 3")
    (folder / "changing.py").write_text("def f(x): return x.data\n")
    assert "returns ndarray, not a Tensor" in fails(
        capsys, "gradcheck", "changing.py:f", "--shape", "3"
    )


def test_shapes_and_seeds_draw_what_they_say(capsys, folder):
    (folder / "seen.py").write_text(
        "import numpy as np\nfrom tinygan import ops\nseen = []\n"
        "def f(x, y):\n    seen.extend([x.detach().numpy(), y.detach().numpy()])\n"
        "    np.savez('seen.npz', *seen[:2])\n    return ops.sum(x) * y\n"
        "def f_inputs():\n    raise AssertionError('not called')\n"
    )

    def drawn(options):
        check(capsys, f"seen.py:f --shape 100 --shape scalar --order 1 {options}")
        with np.load(folder / "seen.npz") as arrays:
            return arrays["arr_0"], arrays["arr_1"]

    rng = np.random.default_rng(0)
    x, y = drawn("")
    assert np.array_equal(x, rng.standard_normal(100)) and y == rng.standard_normal()
    x, y = drawn("--seed 1 --range -3 -2")
    assert -3 <= x.min() < x.max() < -2 and -3 <= y < -2
    x, y = drawn("--seed 1 --positive")
    assert 0.5 <= x.min() < 0.7 and 1.8 < x.max() < 2 and 0.5 <= y < 2
