"""How a gradient is made: from two numbers to the gradient penalty of a GAN, in eight short stops.

python demos/autograd_tour.py              # some seconds; graphs are drawn into demos/out/
"""

# %% 1. An expression is a graph
# A Tensor remembers how it was computed. `trace` watches, so that we can look at what it remembers: one line per
# operation, each with its value.
import numpy as np

import tinygan
from tinygan import Parameter, check_grads, grad, ops, tensor
from tinygan.autograd import op
from tinygan.autograd.drawing import draw_graph
from tinygan.study import Study

study = Study(__file__, __doc__)
rng = np.random.default_rng(0)


def draw(graph, name):
    for folder in study.folders():
        draw_graph(graph, folder / f"{study.name}-{name}.png")
    print(f"\n[picture: {study.out / f'{study.name}-{name}.png'}]\n")


x, y = tensor(2.0, requires_grad=True), tensor(3.0, requires_grad=True)
with tinygan.trace() as t:
    z = x * y + x
print(t.graph(z, x=x, y=y, z=z))

# %% 2. The gradient walks it backwards
# Every operation knows one thing: given the gradient g of its result, the gradients of its arguments. add passes g on
# to both; mul gives g times the other argument. Starting from dz/dz = 1 and going up, every value gets its gradient.
# x is used twice, and its two gradients add up: y + 1 = 4.
graph = t.graph(z, gradients=True, x=x, y=y, z=z)
print(graph)
draw(graph, "expression")
print("grad(z, [x, y]) =", [g.item() for g in grad(z, [x, y])])

# %% 3. A gradient is a computation too
# Derivatives are written in the same operations as everything else: that of tanh is g * (1 - y * y). With
# create_graph=True they are recorded while they run, and then the gradient has a graph of its own, which can be
# differentiated again. That is all there is to higher derivatives. In the pictures, green is what a backward pass has
# made.
x = tensor(0.5, requires_grad=True)
with tinygan.trace() as t:
    y = x.tanh()
    dy = grad(y, x, create_graph=True)
    ddy = grad(dy, x, create_graph=True)
print(t.graph(dy, x=x, y=y, dy=dy))
draw(t.graph(dy, x=x, y=y, dy=dy), "gradient")
draw(t.graph(ddy, x=x, y=y, dy=dy, ddy=ddy), "second_derivative")

# %% 4. By the engine, by hand, and by differences
# Each derivative of tanh three ways, at many points, in float64. A difference of two values (f(x + h) - f(x - h)) /
# 2h knows nothing of calculus: it is what the other two are held to.
points = tensor(np.linspace(-3, 3, 61), requires_grad=True, dtype="float64")
engine = [points.tanh()]
for _ in range(3):
    engine.append(grad(engine[-1].sum(), points, create_graph=True))
engine, x, Y = (
    [found.detach().numpy() for found in engine],
    points.detach().numpy(),
    np.tanh(points.detach().numpy()),
)
by_hand = [Y, 1 - Y**2, -2 * Y * (1 - Y**2), (6 * Y**2 - 2) * (1 - Y**2)]


def difference(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def derivative(order):
    """That derivative of tanh as a function of arrays, by the engine."""

    def f(x):
        x = tensor(x, requires_grad=True, dtype="float64")
        y = x.tanh()
        for _ in range(order):
            y = grad(y.sum(), x, create_graph=True)
        return y.detach().numpy()

    return f


numeric = [Y, *(difference(derivative(order), x) for order in range(3))]
apart = {
    order: (
        np.abs(engine[order] - by_hand[order]).max(),
        np.abs(engine[order] - numeric[order]).max(),
    )
    for order in (1, 2, 3)
}
for order, (hand, differences) in apart.items():
    print(
        f"derivative {order}: the engine is {hand:.0e} from what is found by hand, {differences:.0e} from differences"
    )

# %% 5. Your own operation
# An op is a plain function: its value, then one derivative per Tensor argument. There is no sine in tinygan, so here
# it is. The derivative of each is written with the other, and so both have derivatives of every order. check_grads
# believes nothing: it compares each order with differences.


@op
def sin(x, /):
    return np.sin(x.data), lambda g: g * cos(x)


@op
def cos(x, /):
    return np.cos(x.data), lambda g: -g * sin(x)


print("check_grads(sin):", check_grads(sin, rng.normal(size=5), order=3))

# %% 6. What a wrong derivative looks like
# The first is off by a factor, a slip that any check finds. The second is the treacherous kind: its value is right,
# but it is computed from the bare array x.data, which the engine takes for a constant. Every first-order check
# passes; a gradient penalty trained with it would quietly train on nonsense.


@op
def cube_with_slip(x, /):
    return x.data**3, lambda g: g * (2 * x * x)


@op
def cube_with_array(x, /):
    return x.data**3, lambda g: g * tensor(3 * x.data**2)


at = rng.normal(size=5)
for wrong in cube_with_slip, cube_with_array:
    try:
        check_grads(wrong, at)
        raise SystemExit("check_grads missed a wrong derivative")
    except tinygan.GradientError as error:
        print(f"GradientError: {error}\n")
print("cube_with_array, first order only:", check_grads(cube_with_array, at, order=1))

# %% 7. Where does the NaN come from?
# By the time a loss prints nan, the cause is hundreds of operations back. Inside `anomaly` the first NaN or infinity
# is an error that names the operation and your line. Two classics of GAN training: the sigmoid of -200 rounds to 0,
# whose logarithm is infinite; and the square root has an infinite slope at 0.


def generator_loss(logit):
    return -(logit.sigmoid().log()).mean()


def length(v):
    return (v * v).sum().sqrt()


for f, start in (generator_loss, [3.0, -200.0]), (length, [0.0, 0.0]):
    start = tensor(start, requires_grad=True)
    try:
        with tinygan.anomaly():
            grad(f(start), start)
        raise SystemExit("anomaly missed it")
    except FloatingPointError as error:
        print(f"FloatingPointError: {error}\n")

# The cures: say -log(sigmoid(x)) as softplus(-x), which never forms the 0; and use norm, whose derivative at 0 is
# defined to be 0.
with tinygan.anomaly():
    logit, origin = (
        tensor([3.0, -200.0], requires_grad=True),
        tensor([0.0, 0.0], requires_grad=True),
    )
    print("softplus:", grad(ops.softplus(-logit).mean(), logit).numpy())
    print("norm:    ", grad(origin.norm(), origin).numpy())

# %% 8. The gradient penalty
# WGAN-GP (Gulrajani et al. 2017) asks that the critic's slope with respect to its image be 1. The penalty (|slope| -
# 1)^2 contains a gradient, so that training on it takes a second derivative, through the convolution. Here is all of
# it, for a critic with one layer. The picture shows, in blue, what the slope needs of the forward pass; in green, the
# backward pass that makes the slope; and then the penalty, in blue again. Every value carries its gradient: that is
# the second derivative at work.


def penalty(image, w, v):
    scores = (ops.conv2d(image, w, stride=2, padding=1).tanh() * v).sum()
    slope = grad(scores, image, create_graph=True)  # recorded, for we are going to differentiate it
    return (slope.norm() - 1) ** 2


image = tensor(rng.standard_normal((1, 6, 6, 1), dtype=np.float32), requires_grad=True)
w = Parameter(rng.standard_normal((4, 4, 1, 8), dtype=np.float32) * 0.25, name="w")
v = Parameter(rng.standard_normal(8, dtype=np.float32), name="v")
with tinygan.trace() as t:
    loss = penalty(image, w, v)
draw(t.graph(loss, gradients=True, image=image, penalty=loss), "gradient_penalty")
dw, dv = grad(loss, [w, v])
print(
    f"penalty {loss.item():.3f}; lengths of its gradients: {dw.norm().item():.3f} for w, {dv.norm().item():.3f} for v"
)

# Order 1 of this check is already a second derivative of the critic; order 2 is a third.
image64 = tensor(image.data, requires_grad=True, dtype="float64")
checked = check_grads(lambda w, v: penalty(image64, w, v), [w, v], order=2)
print("check_grads(penalty):", checked)

# %% The figure
# Left: tanh and its derivatives, lines by the engine, dots by differences. Right: how far a derivative that is right
# and the two wrong ones are from differences, at first and at second order.


def error_of(f, order):
    """The largest distance of the derivative of that order of an op from differences, at `at`."""

    def lower(x):
        x = tensor(x, requires_grad=True, dtype="float64")
        y = f(x)
        for _ in range(order - 1):
            y = grad(y.sum(), x, create_graph=True)
        return x, y

    x, y = lower(at)
    try:
        exact = grad(y.sum(), x).numpy()
    except ValueError:  # what the engine took for a constant has no gradient
        exact = np.zeros_like(at)
    return np.abs(exact - difference(lambda x: lower(x)[1].detach().numpy(), at)).max()


figure, (left, right) = study.figure(9, 3.2, 1, 2)
for order, (line, dots) in enumerate(zip(engine, numeric)):
    left.plot(x, line, f"C{order}", label=("tanh", "first", "second", "third derivative")[order])
    left.plot(x[::3], dots[::3], f"C{order}.", markersize=4)
left.set(xlabel="x", ylabel="engine: lines, differences: dots")
left.grid(alpha=0.3)
kinds = {"right": lambda x: x**3, "a wrong factor": cube_with_slip, "a bare array": cube_with_array}
errors = {name: [error_of(f, order) for order in (1, 2)] for name, f in kinds.items()}
for order in (0, 1):
    right.bar(
        np.arange(3) + 0.4 * order - 0.2,
        [found[order] for found in errors.values()],
        0.4,
        label=f"order {order + 1}",
    )
right.set_xticks(range(3), kinds)
right.set(
    yscale="log",
    ylabel="distance from differences",
    title="derivative of x cubed\n(order 2: of order 1, as it is)",
)
for axes in (left, right):
    axes.legend(frameon=False, fontsize=7)
study.save(figure, right)

# %% What came of it
study.finding(
    f"By the engine, the first three derivatives of tanh are within {max(hand for hand, _ in apart.values()):.0e} of those found by "
    f"hand and within {max(differences for _, differences in apart.values()):.0e} of differences, and check_grads names a derivative "
    f"of x cubed that is computed from a bare array: right at first order (off by {errors['a bare array'][0]:.0e}), wrong at second "
    f"(off by {errors['a bare array'][1]:.1f}).",
    apart={str(order): list(found) for order, found in apart.items()},
    errors=errors,
)
