# %% [markdown]
"""How gradients are computed: from two numbers to a GAN's gradient penalty, in eight short steps.

python demos/autograd_tour.py              # a few seconds; graphs are drawn into demos/out/
"""

# %% [markdown]
# ## 1. An expression is a graph
#
# A Tensor remembers how it was computed. `trace` records this, so that we can look at it: one line
# per operation, each with its value.

# %%
import numpy as np

import tinygan
from tinygan import Parameter, check_grads, grad, ops, tensor
from tinygan.autograd import op
from tinygan.autograd.drawing import draw_graph
from tinygan.study import COLORS, Study

STUDY_SIZE = None  # in a notebook: "tiny" (seconds), "fast" (the default) or "full" (hours)
study = Study("autograd_tour", __doc__, size=STUDY_SIZE)
rng = np.random.default_rng(0)


def draw(graph, name):
    for folder in study.picture_folders():
        draw_graph(graph, folder / f"{study.name}-{name}.png")
    path = study.out / f"{study.name}-{name}.png"
    print(f"\n[picture: {path}]\n")
    study.show_picture(path)


x, y = tensor(2.0, requires_grad=True), tensor(3.0, requires_grad=True)
with tinygan.trace() as t:
    z = x * y + x
print(t.graph(z, x=x, y=y, z=z))

# %% [markdown]
# ## 2. The backward pass walks through the graph in reverse
#
# Every operation has one rule: from the gradient g of its result, it computes the gradients of its
# arguments. add passes g on to both arguments; mul multiplies g by the other argument. The pass
# starts at the result with dz/dz = 1, and gives every value its gradient. x is used twice, so its
# two gradients add up: y + 1 = 4.

# %%
graph = t.graph(z, gradients=True, x=x, y=y, z=z)
print(graph)
draw(graph, "expression")
print("grad(z, [x, y]) =", [g.item() for g in grad(z, [x, y])])

# %% [markdown]
# ## 3. A gradient is a computation too
#
# Derivatives are written in the same operations as everything else: the derivative of tanh is g *
# (1 - y * y), or g * sech_squared(x), the same without cancellation. With create_graph=True,
# these operations are recorded while they run. The gradient then has a graph of its own, which
# can be differentiated again. Higher derivatives need nothing more. In the pictures, green marks
# the operations of a backward pass.

# %%
x = tensor(0.5, requires_grad=True)
with tinygan.trace() as t:
    y = x.tanh()
    dy = grad(y, x, create_graph=True)
    ddy = grad(dy, x, create_graph=True)
print(t.graph(dy, x=x, y=y, dy=dy))
draw(t.graph(dy, x=x, y=y, dy=dy), "gradient")
draw(t.graph(ddy, x=x, y=y, dy=dy, ddy=ddy), "second_derivative")

# %% [markdown]
# ## 4. By the engine, by hand, and by finite differences
#
# Here are three ways to compute each derivative of tanh, at many points, in float64. The finite
# difference (f(x + h) - f(x - h)) / 2h uses no rules of differentiation, so it is an independent
# check of the other two.

# %%
points = tensor(np.linspace(-3, 3, 61), requires_grad=True, dtype="float64")
engine = [points.tanh()]
for _ in range(3):
    engine.append(grad(engine[-1].sum(), points, create_graph=True))
engine = [values.detach().numpy() for values in engine]
x = points.detach().numpy()
Y = np.tanh(x)
by_hand = [Y, 1 - Y**2, -2 * Y * (1 - Y**2), (6 * Y**2 - 2) * (1 - Y**2)]


def difference(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


def derivative(order):
    """Return tanh's derivative of this order, by the engine, as a function of arrays."""

    def f(x):
        x = tensor(x, requires_grad=True, dtype="float64")
        y = x.tanh()
        for _ in range(order):
            y = grad(y.sum(), x, create_graph=True)
        return y.detach().numpy()

    return f


numeric = [Y, *(difference(derivative(order), x) for order in range(3))]
engine_errors = {  # order: (largest distance from `by_hand`, largest distance from `numeric`)
    order: (
        np.abs(engine[order] - by_hand[order]).max(),
        np.abs(engine[order] - numeric[order]).max(),
    )
    for order in (1, 2, 3)
}
for order, (hand, differences) in engine_errors.items():
    print(
        f"derivative {order}: the engine differs by {hand:.0e} from the result by hand, "
        f"by {differences:.0e} from finite differences"
    )

# %% [markdown]
# ## 5. Your own operation
#
# An op is a plain function that returns its value and one derivative per Tensor argument. As an
# example, we write the sine ourselves. The derivatives of sine and cosine are written in terms of
# each other, so that both have derivatives of every order. check_grads compares each order with
# finite differences.


# %%
@op
def sin(x, /):
    return np.sin(x.data), lambda g: g * cos(x)


@op
def cos(x, /):
    return np.cos(x.data), lambda g: -g * sin(x)


print("check_grads(sin):", check_grads(sin, rng.normal(size=5), order=3))

# %% [markdown]
# ## 6. What a wrong derivative looks like
#
# The first derivative is wrong by a factor; any check finds this mistake. The second is more
# treacherous: its value is right, but it is computed from the bare array x.data, which the engine
# treats as a constant. It passes every first-order check, but a gradient penalty would silently
# train on wrong gradients.


# %%
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

# %% [markdown]
# ## 7. Where does the NaN come from?
#
# When a loss prints nan, the cause is hundreds of operations back. Inside `anomaly`, the first NaN
# or infinity raises an error that names the operation and your line of code. Here are two classics
# of GAN training: the sigmoid of -200 rounds to 0, whose logarithm is infinite; and the derivative
# of the square root is infinite at 0.


# %%
def generator_loss(logit):
    return -(logit.sigmoid().log()).mean()


def length(v):
    return (v * v).sum().sqrt()


for f, start in (generator_loss, [3.0, -200.0]), (length, [0.0, 0.0]):
    start = tensor(start, requires_grad=True)
    try:
        with tinygan.anomaly():
            grad(f(start), start)
        raise SystemExit("anomaly missed a NaN or an infinity")
    except FloatingPointError as error:
        print(f"FloatingPointError: {error}\n")

# The cures: write -log(sigmoid(x)) as softplus(-x), which never computes the 0; and use norm, whose
# derivative at 0 is defined as 0.
with tinygan.anomaly():
    logit = tensor([3.0, -200.0], requires_grad=True)
    origin = tensor([0.0, 0.0], requires_grad=True)
    print("softplus:", grad(ops.softplus(-logit).mean(), logit).numpy())
    print("norm:    ", grad(origin.norm(), origin).numpy())

# %% [markdown]
# ## 8. The gradient penalty
#
# WGAN-GP (Gulrajani et al. 2017) requires that the critic's gradient with respect to its input
# image have length 1. The penalty (|gradient| - 1)^2 contains a gradient, so training with it needs
# a second derivative, through the convolution. Here is the whole computation, for a critic with one
# layer. The picture shows in blue the part of the forward pass that the gradient needs, in green
# the backward pass that computes the gradient, and then, in blue again, the penalty. Every value in
# it has its own gradient: this is the second derivative.


# %%
def penalty(image, w, v):
    scores = (ops.conv2d(image, w, stride=2, padding=1).tanh() * v).sum()
    gradient = grad(scores, image, create_graph=True)  # recorded, so that it can be differentiated
    return (gradient.norm() - 1) ** 2


image = tensor(rng.standard_normal((1, 6, 6, 1), dtype=np.float32), requires_grad=True)
w = Parameter(rng.standard_normal((4, 4, 1, 8), dtype=np.float32) * 0.25, name="w")
v = Parameter(rng.standard_normal(8, dtype=np.float32), name="v")
with tinygan.trace() as t:
    loss = penalty(image, w, v)
draw(t.graph(loss, gradients=True, image=image, penalty=loss), "gradient_penalty")
dw, dv = grad(loss, [w, v])
print(
    f"penalty {loss.item():.3f}; lengths of its gradients: {dw.norm().item():.3f} for w, "
    f"{dv.norm().item():.3f} for v"
)

# In this check, order 1 is already a second derivative of the critic, and order 2 is a third one.
image64 = tensor(image.data, requires_grad=True, dtype="float64")
checked = check_grads(lambda w, v: penalty(image64, w, v), [w, v], order=2)
print("check_grads(penalty):", checked)

# %% [markdown]
# ## The figure
#
# (a) tanh and its derivatives, by the engine (lines) and by finite differences (dots). (b) The
# distance of the right derivative and of the two wrong ones from finite differences, at first and
# at second order.


# %%
def error_of(f, order):
    """Return the largest distance, at the points `at`, between the derivative of the op f of this
    order and finite differences."""

    def lower(x):
        x = tensor(x, requires_grad=True, dtype="float64")
        y = f(x)
        for _ in range(order - 1):
            y = grad(y.sum(), x, create_graph=True)
        return x, y

    x, y = lower(at)
    try:
        exact = grad(y.sum(), x).numpy()
    except ValueError:  # the engine treats y as a constant, which has no gradient
        exact = np.zeros_like(at)
    return np.abs(exact - difference(lambda x: lower(x)[1].detach().numpy(), at)).max()


figure, panels = study.figure("ab", 5)
left, right = panels["a"], panels["b"]
for order, (line, dots) in enumerate(zip(engine, numeric)):
    label = ("tanh", "first", "second", "third derivative")[order]
    left.plot(x, line, COLORS[order], label=label, linewidth=2)
    left.plot(x[::3], dots[::3], ".", color=COLORS[order], markersize=7)
left.set(title="tanh and its derivatives", xlabel="x", ylabel="engine: lines, differences: dots")
left.grid(alpha=0.3)
kinds = {"right": lambda x: x**3, "a wrong factor": cube_with_slip, "a bare array": cube_with_array}
errors = {name: [error_of(f, order) for order in (1, 2)] for name, f in kinds.items()}
for order in (0, 1):
    right.bar(
        np.arange(3) + 0.4 * order - 0.2,
        [by_order[order] for by_order in errors.values()],
        0.4,
        color=COLORS[order],
        label=f"order {order + 1}",
    )
right.set_xticks(range(3), kinds)
right.set(
    title="derivatives of x cubed (lower is better)",
    yscale="log",
    ylim=(1e-12, 1e3),
    ylabel="distance from differences",
)
for axes in (left, right):
    axes.legend(frameon=False)
study.save_figure(
    figure, "Derivatives by the engine, and a mistake that only the second order shows"
)

# %% [markdown]
# ## The result

# %%
from_hand, from_differences = (max(column) for column in zip(*engine_errors.values()))
study.finding(
    f"The engine's first three derivatives of tanh agree with derivatives computed by hand to "
    f"{from_hand:.0e} and with finite differences to {from_differences:.0e}. check_grads finds "
    "that a derivative of x cubed, computed from a bare array, is right at first order (error "
    f"{errors['a bare array'][0]:.0e}) but wrong at second order (error "
    f"{errors['a bare array'][1]:.1f}).",
    apart={str(order): list(distances) for order, distances in engine_errors.items()},
    errors=errors,
)
