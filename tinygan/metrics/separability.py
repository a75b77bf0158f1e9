"""Linear separability: do latents know an attribute of their image by a hyperplane? (Karras et al.
2019, section 4.2)

The paper trains 40 classifiers of faces. What can be told of a digit or a piece of clothing without
training anything: its ten classes, by the metrics' classifier, and how it is drawn, by moments of
its ink.
"""

import numpy as np
from scipy.optimize import minimize

from tinygan.errors import InputError

CONFIDENT = 0.5  # share of the images that is kept, those whose attribute is surest


def drawn(images):
    """{"ink", "slant", "width", "height"}: numbers (N,) of uint8 images (N, H, W, C), of all
    channels together.

    ink: the mean. The others are those of the ink as a distribution over the plane: deviation along
    both axes, and the covariance of row and column, divided by the variance of the rows.
    """
    ink = images.astype(np.float64).mean(3)
    total = ink.sum((1, 2)) + 1e-9
    rows, columns = np.arange(ink.shape[1]), np.arange(ink.shape[2])
    mean = lambda values, weights: (weights * values).sum(1, keepdims=True) / total[:, None]
    by_row, by_column = ink.sum(2), ink.sum(1)
    y, x = rows - mean(rows, by_row), columns - mean(columns, by_column)
    var_y, var_x = ((w * v * v).sum(1) / total for w, v in ((by_row, y), (by_column, x)))
    slant = -np.einsum("nhw,nh,nw->n", ink, y, x) / total / (var_y + 1e-9)
    return {"ink": ink.mean((1, 2)), "slant": slant, "width": var_x**0.5, "height": var_y**0.5}


def attributes(images, probabilities=None):
    """{name: (which images count, of them whether they have it)}: index and bool arrays.

    How it is drawn: above the median or not, of the half of the images that is furthest from it.
    With probabilities (N, 10): is it of class k? of the half whose class is surest.
    """
    found, n = {}, len(images)
    keep = max(int(n * CONFIDENT), 2)
    for name, values in drawn(images).items():
        sure = np.argsort(-np.abs(values - np.median(values)), kind="stable")[:keep]
        found[name] = sure, values[sure] > np.median(values)
    if probabilities is not None:
        sure = np.argsort(-probabilities.max(1), kind="stable")[:keep]
        predicted = probabilities[sure].argmax(1)
        found |= {f"class {k}": (sure, predicted == k) for k in range(probabilities.shape[1])}
    return found


def hyperplane(x, y, weight=1e-3):
    """(direction (F,), offset) of a linear support vector machine with squared hinge loss, fitted
    to x (N, F) and bool y.

    minimises weight/2 |direction|^2 + mean max(0, 1 - (+-1)(x . direction + offset))^2
    """
    sign, (n, size) = np.where(y, 1.0, -1.0), x.shape

    def loss(v):
        slack = np.maximum(1 - sign * (x @ v[:size] + v[size]), 0)
        slope = -2 / n * slack * sign
        return (
            weight / 2 * v[:size] @ v[:size] + (slack**2).mean(),
            np.append(weight * v[:size] + slope @ x, slope.sum()),
        )

    v = minimize(loss, np.zeros(size + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return v[:size], v[size]


def conditional_entropy(y, guess):
    """H(y | guess) in nats of two bool arrays (N,): what remains unknown of y once the guess is
    known."""
    total = 0.0
    for value in (False, True):
        part = y[guess == value]
        for share in (part.mean(), 1 - part.mean()) if len(part) else ():
            total -= len(part) / len(y) * share * np.log(share) if share else 0.0
    return total


def separability(latents, found):
    """{name: conditional entropy} of attributes, as `attributes` gives them, by hyperplanes in
    latents (N, F).

    Each is fitted to one half of the images and judged on the other. 0: linearly separable; log 2
    at most. The score of the paper is exp of their sum. Raises InputError where there are too few
    images.
    """
    entropies = {}
    scaled = (latents - latents.mean(0)) / (latents.std(0) + 1e-12)
    for name, (index, y) in found.items():
        if len(index) < 20:
            raise InputError(f"{len(index)} images are too few to separate: take at least 40")
        x, half = scaled[index], np.arange(len(index)) % 2 == 0
        direction, offset = hyperplane(x[half], y[half])
        entropies[name] = conditional_entropy(y[~half], x[~half] @ direction + offset > 0)
    return entropies
