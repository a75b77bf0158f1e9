"""Linear separability: does a hyperplane in the space of latents separate images that have an
attribute from the others? (Karras et al. 2019, section 4.2)

The paper trains 40 classifiers of attributes of faces. Here, the attributes of a digit or a piece
of clothing need no training: its class, by the metrics' classifier, and ink statistics.
"""

import numpy as np
from scipy.optimize import minimize

from tinygan.autograd import Array
from tinygan.errors import InputError

from .checks import as_features

CONFIDENT_SHARE = 0.5  # the share of the images that is used: those with the surest attribute


def ink_statistics(images: Array) -> dict[str, Array]:
    """Return {"ink", "slant", "width", "height"}, each (N,), for uint8 images (N, H, W, C), with
    the mean over the channels as the ink of a pixel.

    ink: the mean over the pixels, 0..255. The others take the ink as a distribution over the plane:
    width and height are its standard deviations in pixels; slant is minus the covariance of row and
    column, divided by the variance of the rows: positive if the image leans to the right.
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


def attributes(images: Array, probabilities: Array | None = None) -> dict[str, tuple[Array, Array]]:
    """Return {attribute: (indices of the images to use (M,), whether they have it: bool (M,))}.

    Ink statistics: an image has the attribute if its value is above the median; the half of the
    images that is furthest from the median is used. "class k", if the classifier's probabilities
    (N, 10) are given: an image has the attribute if k is its most likely class; the half of the
    images with the most confident predictions is used.

    images: uint8 (N, H, W, C).
    """
    result, n = {}, len(images)
    keep = max(int(n * CONFIDENT_SHARE), 2)
    for name, values in ink_statistics(images).items():
        surest = np.argsort(-np.abs(values - np.median(values)), kind="stable")[:keep]
        result[name] = surest, values[surest] > np.median(values)
    if probabilities is not None:
        surest = np.argsort(-probabilities.max(1), kind="stable")[:keep]
        predicted = probabilities[surest].argmax(1)
        result |= {f"class {k}": (surest, predicted == k) for k in range(probabilities.shape[1])}
    return result


def hyperplane(x: Array, y: Array, weight: float = 1e-3) -> tuple[Array, float]:
    """Fit a linear support vector machine with a squared hinge loss to x (N, F) and bool y (N,);
    return (direction (F,), offset). It minimises

        weight/2 |direction|^2 + mean max(0, 1 - s (x . direction + offset))^2,  s = 1 if y else -1
    """
    sign, (n, size) = np.where(y, 1.0, -1.0), x.shape

    def loss_and_gradient(v):
        slack = np.maximum(1 - sign * (x @ v[:size] + v[size]), 0)
        gradient = -2 / n * slack * sign  # of the hinge loss by x . direction + offset
        return (
            weight / 2 * v[:size] @ v[:size] + (slack**2).mean(),
            np.append(weight * v[:size] + gradient @ x, gradient.sum()),
        )

    options = {"maxiter": 500}
    v = minimize(
        loss_and_gradient, np.zeros(size + 1), jac=True, method="L-BFGS-B", options=options
    ).x
    return v[:size], v[size]


def conditional_entropy(y: Array, guess: Array) -> float:
    """Return H(y | guess) in nats of two bool arrays (N,): what remains unknown of y once the guess
    is known."""
    total = 0.0
    for value in (False, True):
        part = y[guess == value]
        for share in (part.mean(), 1 - part.mean()) if len(part) else ():
            total -= len(part) / len(y) * share * np.log(share) if share else 0.0
    return total


def separability(latents: Array, attributes: dict[str, tuple[Array, Array]]) -> dict[str, float]:
    """Return {attribute: H(attribute | side of the hyperplane)} in nats, for hyperplanes in the
    space of latents (N, F). The paper's score is exp of the sum of the entropies.

    Each hyperplane is fitted to one half of the images and evaluated on the other. An entropy of 0
    means linearly separable; the maximum is log 2.

    attributes: the result of `attributes` for the latents' images. Raises InputError if an
    attribute has fewer than 20 images, and for latents with a wrong shape, nan or inf.
    """
    entropies = {}
    (latents,) = as_features(latents)
    centred = latents - latents.mean(0)
    deviation = centred.std(0)
    scaled = (centred - centred.mean(0)) / np.where(deviation > 0, deviation, 1)
    for name, (index, y) in attributes.items():
        if len(index) < 20:
            raise InputError(f"{len(index)} images are too few to separate: use at least 40")
        x, half = scaled[index], np.arange(len(index)) % 2 == 0
        direction, offset = hyperplane(x[half], y[half])
        entropies[name] = conditional_entropy(y[~half], x[~half] @ direction + offset > 0)
    return entropies
