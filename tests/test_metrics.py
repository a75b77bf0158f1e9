"""The statistics of tinygan.metrics, against independent ones: closed forms, loops and SciPy."""

import functools

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import scipy.special
from mistakes import error_of

from tinygan import plots
from tinygan.data import Dataset, pictures
from tinygan.metrics import neighbours, scores
from tinygan.metrics.fid import fid, frechet_distance, gaussian, kid
from tinygan.metrics.modes import modes
from tinygan.metrics.neighbours import memorisation, nearest, neighbours_picture
from tinygan.metrics.path_length import perceptual_path_length
from tinygan.metrics.precision_recall import density_coverage, precision_recall, squared_radii
from tinygan.metrics.separability import separability


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- FID ----


def spd(rng, d, rank=None):
    """Return a random covariance (d, d), of the given rank (default: full)."""
    a = rng.standard_normal((d, rank or d + 3))
    return a @ a.T / d


def test_frechet_distance_of_diagonal_gaussians(rng):
    m1, m2, a, b = rng.standard_normal(8), rng.standard_normal(8), *rng.uniform(0.1, 5, (2, 8))
    expected = np.sum((m1 - m2) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    np.testing.assert_allclose(
        frechet_distance(m1, np.diag(a), m2, np.diag(b)), expected, rtol=1e-12
    )


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_frechet_distance_by_eigenvalues_and_by_the_matrix_root(rng, d):
    """The trace of the root of c1 c2 is the sum of the roots of its eigenvalues. SciPy computes the
    root itself."""
    m1, m2, c1, c2 = *rng.standard_normal((2, d)), spd(rng, d), spd(rng, d)
    roots = (
        np.sqrt(np.linalg.eigvals(c1 @ c2).real).sum(),
        np.trace(scipy.linalg.sqrtm(c1 @ c2).real),
    )
    for root in roots:
        expected = np.sum((m1 - m2) ** 2) + np.trace(c1) + np.trace(c2) - 2 * root
        np.testing.assert_allclose(frechet_distance(m1, c1, m2, c2), expected, rtol=1e-9)


def test_frechet_distance_of_singular_covariances(rng):
    """The distance in a subspace of a larger space is the distance in the subspace alone, however
    the larger space is rotated."""
    c1, c2, zero = spd(rng, 3), spd(rng, 3), np.zeros(9)
    rotation = np.linalg.qr(rng.standard_normal((9, 9)))[0]
    big = [rotation @ scipy.linalg.block_diag(c, np.zeros((6, 6))) @ rotation.T for c in (c1, c2)]
    expected = frechet_distance(zero[:3], c1, zero[:3], c2)
    np.testing.assert_allclose(frechet_distance(zero, big[0], zero, big[1]), expected, rtol=1e-6)
    np.testing.assert_allclose(
        frechet_distance(zero, big[0], zero, np.zeros((9, 9))), np.trace(c1), rtol=1e-9
    )
    assert 0 <= frechet_distance(zero, big[0], zero, big[0]) < 1e-9
    lines = np.diag([2.0, 0.0]), np.diag([0.0, 3.0])  # orthogonal: the trace of the root is 0
    np.testing.assert_allclose(frechet_distance([0, 0], lines[0], [0, 0], lines[1]), 5)


def test_fid_of_features(rng):
    x, y = rng.standard_normal((500, 6)), rng.standard_normal((300, 6))
    y = y @ np.diag([1, 2, 1, 1, 0, 1]) + 1
    expected = frechet_distance(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    np.testing.assert_allclose(
        [fid(x, y), fid(y, x), fid(x.astype(np.float32), y)], expected, rtol=1e-5
    )
    assert fid(x, x) < 1e-9 and fid(x, x[::-1]) < 1e-9 and fid(x[:3], x[:3]) < 1e-9
    np.testing.assert_allclose(fid(x, x + 3), 6 * 9, rtol=1e-9)
    assert [array.shape for array in gaussian(x[:, :1])] == [(1,), (1, 1)]


def test_fid_grows_as_features_get_worse(rng):
    x = rng.standard_normal((2000, 10))
    distances = [fid(x, x + noise * rng.standard_normal(x.shape)) for noise in (0, 0.1, 0.3, 1, 3)]
    assert np.all(np.diff(distances) > 0) and distances[-1] > 100 * distances[1]
    assert fid(x, x[:100]) > fid(x, x[:1000]) > fid(x, x) + 1e-6  # the bias of few images


@pytest.mark.parametrize(
    "args, problem",
    [
        (([0, np.nan], np.eye(2), [0, 0], np.eye(2)), "finite"),
        (([0, 0], np.eye(2), [0], np.eye(1)), "one shape"),
        (([0, 0], np.eye(3), [0, 0], np.eye(2)), "(2, 2)"),
        (([], np.eye(0), [], np.eye(0)), "one shape"),
        (([0, 0], np.eye(2), [0, 0], np.full((2, 2), np.inf)), "finite"),
        (([0, 0], np.eye(2), [0, 0], np.diag([1, -1.0])), "negative"),
        (([0, 0], np.eye(2), [0, 0], np.array([[1, 0.5], [0, 1]])), "symmetric"),
    ],
)
def test_means_and_covariances_that_are_refused(args, problem):
    assert problem in error_of(frechet_distance, *args)


@pytest.mark.parametrize("metric", [fid, kid, precision_recall, density_coverage])
def test_features_that_are_refused(rng, metric):
    x = rng.standard_normal((20, 3))
    assert "finite" in error_of(metric, x, np.where(np.arange(3) == 1, np.nan, x))
    assert "finite" in error_of(metric, np.where(x == x.max(), np.inf, x), x)
    assert "(20, 3) and (20, 2)" in error_of(metric, x, x[:, :2])
    assert "(N, d)" in error_of(metric, x[0], x[0])
    assert "too few" in error_of(metric, x, x[:1])
    assert "too few" in error_of(metric, x[:1], x)


@pytest.mark.parametrize("metric", [fid, kid, precision_recall, density_coverage])
@pytest.mark.parametrize("largest", [2e25, 1e200, -1e308])
def test_features_too_large_for_the_metrics_are_refused(rng, metric, largest):
    x = rng.standard_normal((20, 3))
    huge = x.copy()
    huge[3, 1] = largest
    for pair in ((x, huge), (huge, x)):
        message = error_of(metric, *pair)
        assert "at most 1e+25" in message and "divide all features" in message


@pytest.mark.parametrize("metric", [fid, kid, precision_recall, density_coverage])
def test_the_largest_features_give_finite_metrics(rng, metric):
    sets = rng.uniform(-1e25, 1e25, (2, 30, 4))
    assert np.isfinite(metric(*sets)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_paths_and_latents_that_are_not_finite_are_refused(rng, bad):
    lengths, latents = rng.uniform(1, 2, 30), rng.standard_normal((40, 3))
    lengths[7] = latents[7, 1] = bad
    assert "finite" in error_of(perceptual_path_length, lengths)
    attributes = {"ink": (np.arange(40), np.arange(40) % 3 == 0)}
    assert "finite" in error_of(separability, latents, attributes)


def test_separability_does_not_depend_on_where_latents_are_or_on_their_unit(rng):
    latents = rng.standard_normal((400, 3))
    attributes = {"side": (np.arange(400), latents[:, 1] > 0)}
    assert separability(latents, attributes)["side"] < 0.1
    for moved in (latents * 1e-18, latents + 1e6, 1e9 * latents):
        assert separability(moved, attributes)["side"] < 0.1


def test_fid_of_features_far_from_zero(rng):
    x, y = rng.standard_normal((2, 500, 6)) + np.arange(2)[:, None, None]
    far = 2.0**30  # exact: a float64 can hold the sums
    x, y = (np.round(a * 2**20) / 2**20 for a in (x, y))
    np.testing.assert_allclose(fid(x + far, y + far), fid(x, y), rtol=1e-7)
    mean, cov = gaussian(np.full((1000, 3), 1e8 + 0.1))
    assert (mean == 1e8 + 0.1).all() and not cov.any()


# ---- KID ----


def mmd2_by_loops(x, y):
    n, d = x.shape
    k = lambda a, b: (sum(p * q for p, q in zip(a, b)) / d + 1) ** 3
    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(n) for j in range(n) if i != j) / (
        n * (n - 1)
    )
    return within - 2 * sum(k(a, b) for a in x for b in y) / n**2


def test_kid_by_loops(rng):
    x, y = rng.standard_normal((12, 4)), rng.standard_normal((12, 4)) + 0.5
    mean, std = kid(x, y, subsets=3)  # each subset has all images, in another order
    np.testing.assert_allclose(mean, mmd2_by_loops(x, y), rtol=1e-10)
    assert std < 1e-12


def test_kid_averages_over_subsets(rng):
    x, y = rng.standard_normal((12, 4)), rng.standard_normal((9, 4)) + 0.5
    draws, values = np.random.default_rng(5), []
    for _ in range(4):
        x_indices, y_indices = (draws.choice(n, 7, replace=False) for n in (12, 9))
        values.append(mmd2_by_loops(x[x_indices], y[y_indices]))
    np.testing.assert_allclose(
        kid(x, y, 4, 7, seed=5), (np.mean(values), np.std(values)), rtol=1e-10
    )
    assert kid(x, y, 4, 7, seed=6) != kid(x, y, 4, 7, seed=5)


def test_kid_is_unbiased(rng):
    """For two samples of one distribution its mean is 0. An estimate that included the terms i = j
    would be too large by 0.2 or more."""
    values = [kid(*rng.standard_normal((2, 20, 3)), subsets=1)[0] for _ in range(500)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values)) < 0.1
    assert kid(*rng.standard_normal((2, 2000, 3)) + [[[0]], [[1]]])[0] > 1
    assert "subsets of 2" in error_of(kid, np.ones((9, 2)), np.ones((9, 2)), subset_size=1)


# ---- precision, recall, density, coverage ----


def by_loops(real, fake, k):
    """Return (precision, recall, density, coverage), computed with one distance at a time."""
    distance = lambda a, b: np.sqrt(sum((p - q) ** 2 for p, q in zip(a, b)))
    radii = lambda points: [
        sorted(distance(a, b) for j, b in enumerate(points) if j != i)[k - 1]
        for i, a in enumerate(points)
    ]
    real_radii, fake_radii = radii(real), radii(fake)
    fake_in_ball = [[distance(y, x) <= r for x, r in zip(real, real_radii)] for y in fake]
    real_in_any = [any(distance(x, y) <= r for y, r in zip(fake, fake_radii)) for x in real]
    return (
        np.mean([any(row) for row in fake_in_ball]),
        np.mean(real_in_any),
        np.sum(fake_in_ball) / (k * len(fake)),
        np.mean([any(column) for column in zip(*fake_in_ball)]),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("kind", ["continuous", "grid", "copies"])
def test_neighbour_metrics_by_loops(rng, k, kind, monkeypatch):
    """On a grid of whole numbers, most distances are equal to others, and many points coincide."""
    monkeypatch.setattr("tinygan.metrics.precision_recall.BLOCK", 7)
    real, fake = rng.standard_normal((40, 3)), 1.5 * rng.standard_normal((33, 3)) + 0.5
    if kind == "grid":
        real, fake = np.rint(real), np.rint(fake)
    if kind == "copies":
        fake = real[:33]
    expected = by_loops(real.tolist(), fake.tolist(), k)
    assert len(set(expected)) > 1
    np.testing.assert_allclose(
        (*precision_recall(real, fake, k), *density_coverage(real, fake, k)), expected
    )


def test_neighbour_metrics_survive_rounding(rng):
    """Far from the origin, the rounding error of |x|^2 - 2 x.y + |y|^2 is large, and points on the
    border of a ball must still count."""
    real = rng.standard_normal((300, 8)) + 1000
    neighbours_of = np.argsort(scipy.spatial.distance.cdist(real, real), axis=1)
    on_the_border = real[neighbours_of[:, 5]]  # each is a 5th neighbour
    density, coverage = density_coverage(real, on_the_border)
    assert coverage == 1 and density >= 1 / 5
    assert precision_recall(real, real) == (1, 1) and density_coverage(real, real)[1] == 1


@pytest.mark.parametrize("far", [0, 1e4, 1e6, 1e8, 1e11])
def test_features_far_from_zero(rng, far):
    """Sets that are disjoint stay disjoint, and a set is still like itself."""
    far = far * rng.uniform(0.5, 1, 5)
    real, same, apart = rng.standard_normal((3, 300, 5)) + far
    apart += 20
    assert precision_recall(real, apart) == density_coverage(real, apart) == (0, 0)
    assert precision_recall(real, real) == (1, 1)
    # The same rounded features, moved to 0 without an error.
    moved = [a - real[0] for a in (real, same)]
    for metric in (precision_recall, density_coverage):
        assert metric(real, same) == metric(*moved)


def test_groups_of_features_far_from_each_other(rng):
    """There is no centre from which all features are near."""
    groups = np.where(np.arange(400)[:, None] % 2, 0.0, 1e9)
    real, apart = rng.standard_normal((2, 400, 5)) + groups
    apart += 20
    assert precision_recall(real, apart) == density_coverage(real, apart) == (0, 0)
    outlier = rng.standard_normal((400, 5))
    outlier[7] = 1e10  # its ball contains everything; no other ball does
    precision, recall = precision_recall(outlier, apart)
    assert (precision, recall) == (1, 0)
    assert density_coverage(outlier, apart, 5) == (1 / 5, 1 / 400)


@pytest.mark.parametrize("copies", [1, 3, 4, 100])
def test_copies_of_a_feature(rng, copies):
    x = np.repeat(rng.standard_normal((20, 4)) + 1e7, copies, axis=0)
    distances = scipy.spatial.distance.cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    expected = np.sort(distances, 1)[:, 2]
    np.testing.assert_allclose(np.sqrt(squared_radii(x, 3)), expected, rtol=1e-12)


def test_squared_radii_can_be_reused(rng):
    x, y = rng.standard_normal((300, 5)), rng.standard_normal((200, 5))
    distances = np.sort(scipy.spatial.distance.cdist(x, x), axis=1)  # the first is the point itself
    np.testing.assert_allclose(np.sqrt(squared_radii(x, 4)), distances[:, 4], rtol=1e-7)
    assert precision_recall(x, y, 4, squared_radii(x, 4)) == precision_recall(x, y, 4)
    assert density_coverage(x, y, 4, squared_radii(x, 4)) == density_coverage(x, y, 4)
    assert precision_recall(x, y, 4, np.zeros(300))[0] == 0


def test_precision_and_recall_distinguish_quality_from_variety(rng):
    real, far = rng.standard_normal((1000, 4)), rng.standard_normal((1000, 4)) + 30
    narrow = 0.1 * rng.standard_normal((1000, 4))
    assert precision_recall(real, far) == (0, 0) and density_coverage(real, far) == (0, 0)
    precision, recall = precision_recall(real, narrow)
    assert precision > 0.99 and recall < 0.1
    density, coverage = density_coverage(real, narrow)
    assert density > 1 and coverage < 0.3
    same = precision_recall(real, rng.standard_normal((1000, 4)))
    assert min(same) > 0.7
    assert "4 are needed" in error_of(precision_recall, real, real[:3])
    assert "6 are needed" in error_of(density_coverage, real[:5], real)


# ---- the classifier's predictions ----


def test_classifier_score(rng):
    p = rng.dirichlet(np.full(10, 0.2), 200)
    p[0] = np.eye(10)[3]  # has zeros: 0 log 0 is 0
    expected = np.exp(np.mean(scipy.special.rel_entr(p, p.mean(0)).sum(1)))
    np.testing.assert_allclose(
        [scores.classifier_score(p), scores.classifier_score(p[:, None])], expected
    )
    np.testing.assert_allclose(scores.classifier_score(np.eye(10)), 10)
    np.testing.assert_allclose(scores.classifier_score(np.full((7, 10), 0.1)), 1)
    np.testing.assert_allclose(scores.classifier_score(np.eye(10)[[4] * 7]), 1)


@pytest.mark.parametrize("channels", [2, 3])
def test_classifier_score_of_channels_is_that_of_their_joint_classes(rng, channels):
    p = rng.dirichlet(np.full(4, 0.3), (50, channels))
    joint = np.stack([functools.reduce(np.multiply.outer, x).ravel() for x in p])
    assert joint.shape == (50, 4**channels)
    np.testing.assert_allclose(scores.classifier_score(p), scores.classifier_score(joint))


def test_predictions():
    p = np.eye(10)[[3, 3, 7, 0]] * 0.9 + 0.01
    assert scores.predicted_classes(p).tolist() == [3, 3, 7, 0]
    assert scores.class_accuracy(p, [3, 4, 7, 1]) == 0.5
    assert scores.class_counts(p).tolist() == [1, 0, 0, 2, 0, 0, 0, 1, 0, 0]
    stack = np.eye(10)[[[3, 0, 7], [0, 0, 1]]]
    assert scores.predicted_classes(stack).tolist() == [307, 1]
    assert scores.class_accuracy(stack, [307, 100]) == 0.5
    counts = scores.class_counts(stack)
    assert counts.shape == (1000,) and counts.sum() == 2 and counts[307] == counts[1] == 1


@pytest.mark.parametrize(
    "p",
    [
        np.full((3, 10), 0.2),
        np.full((3, 10), np.nan),
        np.ones(10) / 10,
        np.zeros((0, 10)),
        np.eye(2) * 2 - 0.5 + [[0, 1], [-1, 0]],
    ],
)
def test_probabilities_that_are_refused(p):
    for function in scores.classifier_score, scores.predicted_classes, scores.class_counts:
        assert "probabilities" in error_of(function, p)


@pytest.mark.parametrize(
    "labels", [[0, 1], [0, 1, 10], [0, -1, 2], [0.0, 1.0, 2.0], [[0], [1], [2]]]
)
def test_labels_that_are_refused(labels):
    assert "labels" in error_of(scores.class_accuracy, np.eye(10)[:3], labels)
    assert "labels" in error_of(
        scores.fid_per_class, np.ones((3, 2)), labels, np.ones((3, 2)), [0, 1, 2]
    )


def test_fid_per_class(rng):
    real, fake = rng.standard_normal((90, 3)), rng.standard_normal((60, 3)) + 1
    real_labels, fake_labels = np.arange(90) % 3, np.minimum(np.arange(60) % 4, 2)
    fake_labels[fake_labels == 1] = 0
    fake_labels[0] = 1
    result = scores.fid_per_class(real, real_labels, fake, fake_labels, classes=4)
    assert result[1] is None and result[3] is None  # one fake image, and no image at all
    for k in 0, 2:
        np.testing.assert_allclose(result[k], fid(real[k::3], fake[fake_labels == k]))


# ---- modes ----


def test_modes_by_hand():
    assert modes([7] * 5) == (1, pytest.approx(np.log(1000)))
    assert modes(np.arange(1000)) == (1000, pytest.approx(0, abs=1e-12))
    count, kl = modes([1, 1, 1, 999])
    assert count == 2 and kl == pytest.approx(0.75 * np.log(750) + 0.25 * np.log(250))
    assert modes([0, 1, 1, 2], classes=3) == (
        3,
        pytest.approx(0.5 * np.log(1.5) + 0.5 * np.log(0.75)),
    )
    assert "labels" in error_of(modes, [0, 1000])
    assert "labels" in error_of(modes, [])


def test_modes_of_a_perfect_generator(rng):
    """26,000 stacks with MNIST's digit frequencies reach all modes and the published KL."""
    digits = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]) / 60_000
    results = [modes(rng.choice(10, (26_000, 3), p=digits) @ [100, 10, 1]) for _ in range(60)]
    counts, kls = zip(*results)
    assert set(counts) == {1000}
    assert abs(np.mean(kls) - 0.0236) < 0.0005 and 0.0005 < np.std(kls) < 0.0015


# ---- neighbours ----


def random_images(rng, n, channels=1, size=28):
    return rng.integers(0, 256, (n, size, size, channels), np.uint8)


@pytest.mark.parametrize("channels, k", [(1, 1), (1, 3), (3, 2), (1, 15), (1, 25)])
def test_nearest_by_brute_force(rng, monkeypatch, channels, k):
    monkeypatch.setattr(neighbours, "TRAINING_PER_BLOCK", 7)
    monkeypatch.setattr(neighbours, "SAMPLES_PER_BLOCK", 4)
    images, training = random_images(rng, 9, channels), random_images(rng, 25, channels)
    images[2] = training[17]  # a copy
    training[11] = images[4] = training[3]  # a copy of two equal training images
    distances = scipy.spatial.distance.cdist(
        *(x.reshape(len(x), -1) / 255.0 for x in (images, training))
    )
    indices, result = nearest(images, training, k)
    assert indices.shape == result.shape == (9, k)
    np.testing.assert_allclose(result, np.sort(distances, axis=1)[:, :k], rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(distances, indices, 1), result, rtol=1e-12)
    assert (indices[2, 0], result[2, 0], result[4, 0]) == (17, 0, 0) and indices[4, 0] in (3, 11)


def test_nearest_of_almost_equal_images(rng):
    """One grey level in one pixel makes the difference, in a bright and in a dark image."""
    for background in (0, 255, 128):
        image = np.full((1, 28, 28, 1), background, np.uint8)
        training = np.repeat(image, 200, axis=0).astype(int)
        pixels = rng.integers(0, 28, (200, 2))
        sign = 1 if background < 200 else -1
        training[np.arange(200), pixels[:, 0], pixels[:, 1], 0] += sign * (2 + np.arange(200) % 50)
        training[77] = image
        training[77, 3, 3] += sign
        indices, distances = nearest(image, training.astype(np.uint8))
        assert indices == [[77]] and distances == [[1 / 255]]


def test_nearest_of_padded_images(rng):
    small = random_images(rng, 5)
    padded = np.pad(small, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=9)
    indices, distances = nearest(padded, small)
    assert indices.ravel().tolist() == [0, 1, 2, 3, 4] and not distances.any()
    black_and_white = np.stack(
        [np.zeros((28, 28, 1), np.uint8), np.full((28, 28, 1), 255, np.uint8)]
    )
    assert nearest(black_and_white[:1], black_and_white[1:])[1] == pytest.approx(28)


def test_memorisation_detects_copies(rng):
    training, test = random_images(rng, 300), random_images(rng, 50)
    assert memorisation(training[:50], test, training) == 0
    assert 0.95 < memorisation(random_images(rng, 50), test, training) < 1.05
    half = training[:50] // 2 + random_images(rng, 50) // 2
    assert 0.3 < memorisation(half, test, training) < 0.7
    mixed = np.concatenate([training[:20], random_images(rng, 30)])  # fewer than half are copies
    assert memorisation(mixed, test, training) > 0.9
    assert "among the training images" in error_of(memorisation, test, training[:50], training)


def test_memorisation_uses_a_subset_of_many_images(rng, monkeypatch):
    monkeypatch.setattr(neighbours, "MAX_IMAGES", 10)
    training, test, images = random_images(rng, 40), random_images(rng, 30), random_images(rng, 30)
    draws, medians = np.random.default_rng(4), []
    for x in images, test:
        medians.append(np.median(nearest(x[draws.choice(30, 10, replace=False)], training)[1]))
    assert memorisation(images, test, training, seed=4) == pytest.approx(medians[0] / medians[1])
    assert memorisation(images, test, training, seed=5) != memorisation(
        images, test, training, seed=4
    )


def test_neighbours_picture(rng, tmp_path):
    training = random_images(rng, 30)
    neighbours_picture(tmp_path / "n.png", training[:5], training, k=2, columns=2)
    sheet = pictures.read(tmp_path / "n.png", 3)
    order = [
        image for i in range(5) for image in (i, *nearest(training[i : i + 1], training, 2)[0][0])
    ]
    np.testing.assert_array_equal(sheet, plots.grid(training[order], 6))
    assert order[:2] == [0, 0]  # here each sample is its own nearest training image
    dataset = Dataset("toy", "train", training, np.zeros(30, int), ("a",))
    neighbours_picture(tmp_path / "again.png", training[:5], dataset, k=2, columns=2)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "n.png").read_bytes()


def test_images_that_are_refused(rng):
    images = random_images(rng, 4)
    assert "uint8" in error_of(nearest, images / 255, images)
    assert "uint8" in error_of(nearest, images[0], images)
    assert "27x28" in error_of(nearest, images[:, 1:], images)
    assert "1 channels where 3" in error_of(nearest, images, random_images(rng, 4, 3))
    assert "k must be 1 to 4" in error_of(nearest, images, images, 5)
    assert "k must be 1 to 4" in error_of(nearest, images, images, 0)


def test_the_variance_within_classes_counts_images_of_the_requested_class_alone():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((60, 4)), np.arange(60) % 3
    p = np.eye(3)[labels]
    expected = np.mean([features[labels == k].var(0).sum() for k in range(3)])
    variance = functools.partial(scores.variance_within_classes, classes=3)
    assert variance(features, p, labels) == pytest.approx(expected)
    assert variance(features, p[:, None], labels) == pytest.approx(expected)
    far = np.concatenate([features, features + 99])  # wrong digits are no variety
    wrong = np.concatenate([p, np.roll(p, 1, 1)])
    assert variance(far, wrong, np.tile(labels, 2)) == pytest.approx(expected)
    assert variance(features[labels], p, labels) < 1e-28  # one image for each class; rounding
    assert variance(features, np.roll(p, 1, 1), labels) == 0
