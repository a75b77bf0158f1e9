"""Weights carried to PyTorch and back: a PyTorch network of the same structure loads them,
strictly, and computes the same; and the other way round. Skipped without PyTorch or safetensors."""

import numpy as np
import pytest

import tinygan
from tinygan import nn, no_grad
from tinygan.gan import conditioning
from tinygan.models import dcgan, r3gan, stylegan2

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
twins = pytest.importorskip("torch_twins")

pytestmark = pytest.mark.cpu
TOLERANCE = 1e-4  # of the range of the results


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rng():
    return np.random.default_rng(0)


def randomised(network, seed=1):
    """Give a network other weights, biases, statistics and noise strengths than those at its
    start, so that none of them is 0 or 1."""
    draw = np.random.default_rng(seed)
    state = network.state_dict()
    for path, array in state.items():
        change = draw.uniform(0.1, 0.6, array.shape)
        state[path] = array + (change if path.endswith("var") else change - 0.3)
    network.load_state_dict(state)
    return network.eval()


def nchw(x):
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def run(network, *inputs):
    """Return the results of a network of tinygan, with images as NCHW."""
    with no_grad():
        results = network(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    return [nchw(y.data) for y in results]


def run_torch(twin, *inputs):
    tensors = [torch.tensor(np.ascontiguousarray(nchw(x))) for x in inputs]
    with torch.no_grad():
        results = twin.eval()(*tensors)
    results = results if isinstance(results, tuple) else (results,)
    return [y.numpy() for y in results]


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and np.ptp(a) > 1e-3
        assert np.abs(a - b).max() <= TOLERANCE * np.ptp(a)


def check_both_ways(path, network, twin, *inputs, inputs_of_export=None):
    """Compare a network with its twin: first with the network's weights, then with the twin's."""
    randomised(network)
    before = run(network, *inputs)
    tinygan.export_weights(network, path, inputs_of_export)
    twin.load_state_dict(safetensors_torch.load_file(path), strict=True)
    same(before, run_torch(twin, *inputs))
    torch.manual_seed(0)
    with torch.no_grad():
        for value in twin.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand_like(value)
    safetensors_torch.save_file(twin.state_dict(), path)
    tinygan.import_weights(network, path, inputs_of_export)
    after = run(network, *inputs)
    assert np.abs(after[0] - before[0]).max() > 1e-2 * np.ptp(before[0])
    same(after, run_torch(twin, *inputs))


# ---- layers ----

CONVS = {
    "conv": (nn.Conv2d, torch.nn.Conv2d, (3, 5, 3), {}),
    "conv of pairs": (nn.Conv2d, torch.nn.Conv2d, (2, 4, (3, 2)), {"stride": (1, 2), "groups": 2}),
    "conv, no bias": (nn.Conv2d, torch.nn.Conv2d, (2, 3, 1), {"bias": False}),
    "transposed": (nn.ConvTranspose2d, torch.nn.ConvTranspose2d, (3, 5, 4), {"stride": 2}),
    "transposed groups": (
        nn.ConvTranspose2d,
        torch.nn.ConvTranspose2d,
        (4, 6, (3, 2)),
        {"stride": 2, "padding": 1, "output_padding": (1, 0), "groups": 2},
    ),
}
OLD, NEW = torch.nn.utils.spectral_norm, torch.nn.utils.parametrizations.spectral_norm


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("spectral", [False, True])
def test_convolutions(tmp_path, name, spectral):
    kind, twin, shape, settings = CONVS[name]
    layer, other = kind(*shape, **settings, rng=rng()), twin(*shape, **settings)
    if spectral:
        layer, other = nn.SpectralNorm(layer, rng=rng()), NEW(other)
    x = rng().standard_normal((2, 6, 5, shape[0])).astype("float32")
    check_both_ways(tmp_path / "x.safetensors", layer, other, x)


@pytest.mark.parametrize("spectral", [False, True])
def test_linear_and_embedding(tmp_path, spectral):
    x, labels = rng().standard_normal((2, 6)).astype("float32"), np.array([3, 0])
    for ours, theirs, x in (
        (nn.Linear(6, 4, rng=rng()), torch.nn.Linear(6, 4), x),
        (nn.Linear(6, 1, bias=False, rng=rng()), torch.nn.Linear(6, 1, bias=False), x),
        (nn.Embedding(5, 4, rng=rng()), torch.nn.Embedding(5, 4), labels),
    ):
        if spectral:
            ours, theirs = nn.SpectralNorm(ours, rng=rng()), NEW(theirs)
        example = (np.zeros((1, 6)),) if x is not labels else (np.zeros(1, int),)
        path = tmp_path / "x.safetensors"
        check_both_ways(path, ours, theirs, x, inputs_of_export=example)


@pytest.mark.filterwarnings("ignore::FutureWarning:torch")
def test_the_older_names_of_spectral_norm(tmp_path):
    path, x = tmp_path / "x.safetensors", rng().standard_normal((2, 6, 5, 3)).astype("float32")
    twin = OLD(torch.nn.Conv2d(3, 4, 3))
    twin(torch.zeros(1, 3, 5, 5))
    safetensors_torch.save_file(twin.state_dict(), path)
    layer = nn.SpectralNorm(nn.Conv2d(3, 4, 3, rng=rng()), rng=rng())
    tinygan.import_weights(layer, path)
    same(run(layer.eval(), x), run_torch(twin, x))


def test_features_of_maps(tmp_path):
    """Between maps and features, tinygan's order is h w c, and PyTorch's c h w: weights, biases and
    batch-norms of features are reordered."""
    ours = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, rng=rng()), nn.BatchNorm(4), nn.LeakyReLU(0.2), nn.Flatten()),
        *(nn.BatchNorm(4 * 3 * 2), nn.Linear(4 * 3 * 2, 6, rng=rng()), nn.ReLU()),
        *(nn.Linear(6, 5 * 2 * 3, rng=rng()), nn.BatchNorm(5 * 2 * 3), nn.SiLU()),
        *(nn.Reshape(2, 3, 5), nn.ConvTranspose2d(5, 2, 3, rng=rng())),
    )
    t = torch.nn
    theirs = t.Sequential(
        *(t.Conv2d(3, 4, 3), t.BatchNorm2d(4), t.LeakyReLU(0.2), t.Flatten()),
        *(t.BatchNorm1d(4 * 3 * 2), t.Linear(4 * 3 * 2, 6), t.ReLU()),
        *(t.Linear(6, 5 * 2 * 3), t.BatchNorm1d(5 * 2 * 3), t.SiLU()),
        *(t.Unflatten(1, (5, 2, 3)), t.ConvTranspose2d(5, 2, 3)),
    )
    x = rng().standard_normal((3, 5, 4, 3)).astype("float32")
    check_both_ways(tmp_path / "x.safetensors", ours, theirs, x, inputs_of_export=(x[:1],))


# ---- networks ----


@pytest.mark.parametrize("classes", [None, 4])
def test_dcgan_generator(tmp_path, classes):
    G = dcgan.Generator(8, (12, 20), 3, (6, 4), classes, rng=rng())
    twin = twins.DCGANGenerator(8, (3, 5), (6, 4), 3, classes)
    inputs = [rng().standard_normal((5, 8)).astype("float32")]
    inputs += [np.array([0, 3, 1, 3, 2])] if classes else []
    check_both_ways(tmp_path / "G.safetensors", G, twin, *inputs)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_dcgan_discriminator(tmp_path, auxiliary):
    D = dcgan.Discriminator((12, 20), 3, (4, 6), rng=rng())
    twin = twins.DCGANDiscriminator((3, 5), (4, 6), 3)
    if auxiliary:
        D = conditioning.AuxiliaryClassifier(D, 4, rng=rng())
        twin = twins.AuxiliaryClassifier(twin, 6 * 3 * 5, 4)
    x = rng().uniform(-1, 1, (5, 12, 20, 3)).astype("float32")
    check_both_ways(tmp_path / "D.safetensors", D, twin, x)


@pytest.mark.parametrize("classes, psi", [(None, 1.0), (3, 0.7)])
def test_stylegan2_generator(tmp_path, classes, psi):
    size, start, widths = (16, 24), (4, 6), (6, 5, 4)
    G = stylegan2.Generator(8, size, 3, widths, 7, 2, classes, rate=0.1, rng=rng())
    twin = twins.StyleGAN2Generator(8, 7, start, widths, 3, 2, classes, 0.1, psi)
    inputs = [rng().standard_normal((3, 8)).astype("float32")]
    inputs += [np.array([0, 2, 1])] if classes else []
    G.psi = psi
    check_both_ways(tmp_path / "G.safetensors", G, twin, *inputs)


@pytest.mark.parametrize("projection", [False, True])
def test_stylegan2_discriminator(tmp_path, projection):
    size, start, widths = (16, 24), (4, 6), (6, 5, 4)
    D, twin = (
        stylegan2.Discriminator(size, 3, widths, rng=rng()),
        twins.StyleGAN2Discriminator(start, widths, 3),
    )
    inputs = [rng().uniform(-1, 1, (8, *size, 3)).astype("float32")]
    if projection:
        D, twin = conditioning.Projection(D, 3, rng=rng()), twins.Projection(twin, 6, 3)
        inputs.append(np.arange(8) % 3)
    check_both_ways(tmp_path / "D.safetensors", D, twin, *inputs)


R3GAN_STAGES = [(6, 1, 3), (6, 2, 1), (4, 1, 2)]


@pytest.mark.parametrize("classes", [None, 3])
def test_r3gan(tmp_path, classes):
    size, start, rest = (16, 24), (4, 6), (classes, 5) if classes else ()
    labels = [np.array([0, 2, 1])] if classes else []
    G = r3gan.Generator(8, size, 3, R3GAN_STAGES, *rest, rng=rng())
    twin = twins.R3GANGenerator(8, start, 3, R3GAN_STAGES, *rest)
    z = rng().standard_normal((3, 8)).astype("float32")
    check_both_ways(tmp_path / "G.safetensors", G, twin, z, *labels)
    D = r3gan.Discriminator(size, 3, R3GAN_STAGES, *rest, rng=rng())
    twin = twins.R3GANDiscriminator(start, 3, R3GAN_STAGES, *rest)
    x = rng().uniform(-1, 1, (3, *size, 3)).astype("float32")
    check_both_ways(tmp_path / "D.safetensors", D, twin, x, *labels)
