"""A tour of the engine: from two numbers to the gradient penalty of a GAN, in eight short stops.

    python demos/autograd_tour.py [--out FOLDER]

Read it beside its output. It takes a few seconds, downloads nothing, and saves the graphs that it talks
about as PNG files in FOLDER (default: runs/autograd_tour).
"""

import argparse
import textwrap
from pathlib import Path

import numpy as np

import tinygan
from tinygan import Parameter, check_grads, grad, ops, tensor
from tinygan.autograd import op
from tinygan.drawing import draw_graph

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--out", type=Path, default=Path("runs/autograd_tour"), metavar="FOLDER",
                    help="where the pictures go (default: %(default)s)")
out = parser.parse_args().out
rng = np.random.default_rng(0)


def normal(*shape):
    """Random numbers, float32 like everything in training. (float64 is for check_grads.)"""
    return rng.standard_normal(shape, dtype=np.float32)


def stop(title, text):
    print(f"\n\n{title}\n{'=' * len(title)}\n")
    say(text)


def say(text):
    print(textwrap.fill(" ".join(text.split()), 100), end="\n\n")


def draw(graph, name):
    draw_graph(graph, out / name)
    print(f"\n[picture: {out / name}]\n")


# ------------------------------------------------------------------------------------------------------
stop("1. An expression is a graph", """
    A Tensor remembers how it was computed. `trace` watches, so that we can look at what it remembers:
    one line per operation, each with its value.""")

x = tensor(2.0, requires_grad=True)
y = tensor(3.0, requires_grad=True)
with tinygan.trace() as t:
    z = x * y + x
print(t.graph(z, x=x, y=y, z=z))

# ------------------------------------------------------------------------------------------------------
stop("2. The gradient walks it backwards", """
    Every operation knows one thing: given the gradient g of its result, the gradients of its arguments.
    add passes g on to both; mul gives g times the other argument. Starting from dz/dz = 1 and going up,
    every value gets its gradient. x is used twice, and its two gradients add up: y + 1 = 4.""")

graph = t.graph(z, gradients=True, x=x, y=y, z=z)
print(graph)
draw(graph, "1_expression.png")
print("grad(z, [x, y]) =", [g.item() for g in grad(z, [x, y])])

# ------------------------------------------------------------------------------------------------------
stop("3. A gradient is a computation too", """
    Derivatives are written in the same operations as everything else: that of tanh is g * (1 - y * y).
    With create_graph=True they are recorded while they run, and then the gradient has a graph of its own,
    which can be differentiated again. That is all there is to higher derivatives.""")

x = tensor(0.5, requires_grad=True)
with tinygan.trace() as t:
    y = x.tanh()
    dy = grad(y, x, create_graph=True)
    ddy = grad(dy, x, create_graph=True)
print(t.graph(dy, x=x, y=y, dy=dy))
draw(t.graph(dy, x=x, y=y, dy=dy), "2_gradient_of_tanh.png")  # green: made by a backward pass
draw(t.graph(ddy, x=x, y=y, dy=dy, ddy=ddy), "3_second_derivative_of_tanh.png")

Y = np.tanh(0.5)
dddy = grad(ddy, x)
print("                      engine     by hand")
print(f"first derivative   {dy.item():9.6f}   {1 - Y**2:9.6f}   1 - y^2")
print(f"second derivative  {ddy.item():9.6f}   {-2 * Y * (1 - Y**2):9.6f}   -2 y (1 - y^2)")
print(f"third derivative   {dddy.item():9.6f}   {(6 * Y**2 - 2) * (1 - Y**2):9.6f}   (6 y^2 - 2) (1 - y^2)")

# ------------------------------------------------------------------------------------------------------
stop("4. Your own operation", """
    An op is a plain function: its value, then one derivative per Tensor argument. There is no sine in
    tinygan, so here it is. The derivative of each is written with the other, and so both have derivatives
    of every order. check_grads believes nothing: it compares each order with finite differences.""")


@op
def sin(x, /):
    return np.sin(x.data), lambda g: g * cos(x)


@op
def cos(x, /):
    return np.cos(x.data), lambda g: -g * sin(x)


print("check_grads(sin):", check_grads(sin, rng.normal(size=5), order=3))

# ------------------------------------------------------------------------------------------------------
stop("5. Two wrong derivatives", """
    The first is off by a factor, a slip that any check finds. The second is the treacherous kind: its
    value is right, but it is computed from the bare array x.data, which the engine takes for a constant.
    Every first-order check passes; a gradient penalty trained with it would quietly train on nonsense.""")


@op
def cube_with_slip(x, /):
    return x.data ** 3, lambda g: g * (2 * x * x)


@op
def cube_with_array(x, /):
    return x.data ** 3, lambda g: g * tensor(3 * x.data ** 2)


points = rng.normal(size=5)
for wrong in cube_with_slip, cube_with_array:
    try:
        check_grads(wrong, points)
        raise SystemExit("check_grads missed a wrong derivative")
    except tinygan.GradientError as error:
        print(f"GradientError: {error}\n")
print("cube_with_array, first order only:", check_grads(cube_with_array, points, order=1))

# ------------------------------------------------------------------------------------------------------
stop("6. Where does the NaN come from?", """
    By the time a loss prints nan, the cause is hundreds of operations back. Inside `anomaly` the first NaN
    or infinity is an error that names the operation and your line. Two classics of GAN training follow.""")


def generator_loss(logit):
    return -(logit.sigmoid().log()).mean()  # right on paper; but the sigmoid of -200 rounds to 0


def length(v):
    return (v * v).sum().sqrt()  # fine forward; but the square root has slope infinity at 0


def what_goes_wrong(f, x):
    try:
        with tinygan.anomaly():
            grad(f(x), x)
        raise SystemExit("anomaly missed it")
    except FloatingPointError as error:
        print(f"FloatingPointError: {error}\n")


what_goes_wrong(generator_loss, tensor([3.0, -200.0], requires_grad=True))
what_goes_wrong(length, tensor([0.0, 0.0], requires_grad=True))

say("""The cures: say -log(sigmoid(x)) as softplus(-x), which never forms the 0; and use norm, whose
    derivative at 0 is defined to be 0.""")
with tinygan.anomaly():
    logit = tensor([3.0, -200.0], requires_grad=True)
    origin = tensor([0.0, 0.0], requires_grad=True)
    print("softplus:", grad(ops.softplus(-logit).mean(), logit).numpy())
    print("norm:    ", grad(origin.norm(), origin).numpy())

# ------------------------------------------------------------------------------------------------------
stop("7. Where does the time go?", """
    A small critic on 64 images of 28 x 28: forward, then backward. conv2d_weight and conv_transpose2d, its
    two adjoints, are the derivatives of conv2d. A name with a prime is a derivative that computes by itself,
    such as the fused one of batch-norm; all other derivatives are made of ops, which have lines of their own.""")

# Weights are (rows, columns, channels in, channels out); images are (N, height, width, channels).
w1 = Parameter(normal(4, 4, 1, 64) * 0.25, name="w1")
w2 = Parameter(normal(4, 4, 64, 128) * 0.03, name="w2")
w3 = Parameter(normal(7, 7, 128, 1) * 0.01, name="w3")


def critic(images):
    """One number per image: 28 x 28 -> 14 x 14 -> 7 x 7 -> 1."""
    h = ops.conv2d(images, w1, stride=2, padding=1).leaky_relu()
    h = ops.batch_norm(ops.conv2d(h, w2, stride=2, padding=1)).leaky_relu()
    return ops.conv2d(h, w3).reshape(-1)


images = tensor(normal(64, 28, 28, 1))
grad(critic(images).mean(), [w1, w2, w3])  # once unmeasured: first calls start threads and touch fresh memory
with tinygan.profile():
    loss = ops.binary_cross_entropy_with_logits(critic(images), 1.0)
    grad(loss, [w1, w2, w3])

# ------------------------------------------------------------------------------------------------------
stop("8. The gradient penalty", """
    WGAN-GP (Gulrajani et al. 2017) asks that the critic's slope with respect to its image be 1. The penalty
    (|slope| - 1)^2 contains a gradient, so that training on it takes a second derivative, through the
    convolution. Here is all of it, for a critic with one layer. The picture shows, in blue, what the slope
    needs of the forward pass; in green, the backward pass that makes the slope; and then the penalty, in
    blue again. Every value carries its gradient: that is the second derivative at work.""")


def penalty(image, w, v):
    scores = (ops.conv2d(image, w, stride=2, padding=1).tanh() * v).sum()
    slope = grad(scores, image, create_graph=True)  # recorded, for we are going to differentiate it
    return (slope.norm() - 1) ** 2


image = tensor(normal(1, 6, 6, 1), requires_grad=True)
w = Parameter(normal(4, 4, 1, 8) * 0.25, name="w")
v = Parameter(normal(8), name="v")
with tinygan.trace() as t:
    loss = penalty(image, w, v)
draw(t.graph(loss, gradients=True, image=image, penalty=loss), "4_gradient_penalty.png")
dw, dv = grad(loss, [w, v])
print(f"penalty {loss.item():.3f}; lengths of its gradients: {dw.norm().item():.3f} for w, "
      f"{dv.norm().item():.3f} for v")

# Order 1 of this check is already a second derivative of the critic; order 2 is a third.
image64 = tensor(image.data, requires_grad=True, dtype="float64")
print("check_grads(penalty):", check_grads(lambda w, v: penalty(image64, w, v), [w, v], order=2))
