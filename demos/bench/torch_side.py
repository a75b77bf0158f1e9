"""The workloads in PyTorch, written for speed: only the gradients that are needed, and fused Adam.

The variant selects the memory format of images and weights; the benchmark uses the faster one. On a
GPU there is a third variant, "graph": the whole step is recorded as a CUDA graph.
torch.compile(mode="reduce-overhead") does the same for code that it can compile, which excludes
second derivatives.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .torch_stylegan2 import ResidualDiscriminator, SkipGenerator, TwiceDifferentiable
from .workloads import (
    BETAS,
    GP_WEIGHT,
    LAZY,
    LR,
    PATH_LAZY,
    PATH_WEIGHT,
    R1_GAMMA,
    Batches,
    Fixed,
    Job,
)

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def version(device="cpu"):
    return f"PyTorch {torch.__version__}" + (
        f", {torch.get_num_threads()} threads" if device == "cpu" else ""
    )


def make(name, batch_size, image_size, variant, device="cpu"):
    """Return the Job of a workload. variant: a key of FORMATS, or "graph" on device "cuda"."""
    if device == "cuda":  # no TF32, so that both sides compute in float32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    format = FORMATS.get(variant, torch.contiguous_format)
    with torch.device(device):  # only here, because a default device slows down every call
        batches = TorchBatches(batch_size, image_size, format)
        job = JOBS[name](batches, image_size, format)
    return (
        job._replace(parts={part: graphed(step, batches) for part, step in job.parts.items()})
        if variant == "graph"
        else job
    )


def graphed(step, batches):
    """Return `step` as a CUDA graph. It reads its batch from fixed arrays, to which the batches are
    copied."""
    batches.recorded = [array.clone() for array in batches()]
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):  # PyTorch's manual asks for warm-up steps on a side stream
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = step()
    recorded, batches.recorded = batches.recorded, None

    def run():
        for target, array in zip(recorded, batches()):
            target.copy_(array)
        graph.replay()
        return losses

    return run


def launches(step):
    """Return the number of kernels and copies in a step."""
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    return sum(
        event.device_type == torch.autograd.DeviceType.CUDA
        and not getattr(event, "is_user_annotation", False)
        and not event.name.startswith("Optimizer.")
        for event in profile.events()
    )


def results(*losses):
    """Return the losses of a step as floats, or on a GPU as tensors, so that nothing waits for them
    here."""
    return tuple(loss.item() if loss.device.type == "cpu" else loss.detach() for loss in losses)


def on_device(array):
    """Return a NumPy array as a tensor on the default device."""
    return torch.from_numpy(array).to(torch.get_default_device())


def load(networks, states):
    """Give the networks tinygan's weights. states: a list of arrays for each network, in order."""
    with torch.no_grad():
        for network, arrays in zip(networks, states, strict=True):
            embeddings = [m.weight for m in network.modules() if isinstance(m, nn.Embedding)]
            for parameter, array in zip(network.parameters(), arrays, strict=True):
                array = torch.from_numpy(array)
                # HWIO -> OIHW, HWC -> CHW, (in, out) -> (out, in)
                axes = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}[array.ndim]
                if any(parameter is weight for weight in embeddings):  # (count, size) in both
                    axes = (0, 1)
                parameter.copy_(array.permute(axes))


class TorchBatches:
    def __init__(self, batch_size, image_size, format):
        source = Batches(batch_size, image_size)
        self.batches = [
            (
                on_device(images).permute(0, 3, 1, 2).contiguous(memory_format=format),
                on_device(labels).long(),
                on_device(z),
            )
            for images, labels, z in source.batches
        ]
        self.recorded = None  # the batch that a CUDA graph reads, while the graph is recorded

    def __call__(self):
        if self.recorded:
            return self.recorded
        self.batches.append(self.batches.pop(0))
        return self.batches[-1]


def adam(network, lr=LR, betas=BETAS, eps=1e-8, change_gradients=None):
    """Return a function that takes a step of Adam for a loss. change_gradients: a function of the
    parameters that is called before the update, or None."""
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(
        parameters, lr, betas, eps, fused=True, capturable=parameters[0].is_cuda
    )

    def step(loss):
        # Unlike torch.autograd.grad, backward gives gradients the memory format of their weights,
        # which fused Adam needs. R1 does not depend on the bias of the logit, which then has no
        # gradient and stays unchanged.
        optimizer.zero_grad()
        loss.backward(inputs=parameters)
        if change_gradients:
            change_gradients(parameters)
        optimizer.step()

    return step


def gan_step(G, D, batches, penalty=None):
    g_step, d_step = adam(G), adam(D)

    def step():
        reals, _, z = batches()
        fakes = G(z)
        reals = reals.detach().requires_grad_(penalty is not None)
        real_logits = D(reals)
        d_loss = F.softplus(-real_logits).mean() + F.softplus(D(fakes.detach())).mean()
        if penalty:
            d_loss = d_loss + penalty(reals, real_logits)
        d_step(d_loss)
        g_loss = F.softplus(-D(fakes)).mean()
        g_step(g_loss)
        return results(d_loss, g_loss)

    return step


def squared_gradient_lengths(D, x):
    """Return |gradient of D at image|^2 for each image (N,), which can be differentiated."""
    x = x.detach().requires_grad_()
    return squared_lengths_at(D(x), x)


def squared_lengths_at(logits, x):
    """Like `squared_gradient_lengths`, from D's logits on x, which requires a gradient."""
    (gradients,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradients.square().sum((1, 2, 3))


def dcgan_generator(image_size, latent=100, widths=(128, 64)):
    a, b = widths
    return nn.Sequential(
        nn.Unflatten(1, (latent, 1, 1)),
        nn.ConvTranspose2d(latent, a, image_size // 4, bias=False),
        nn.BatchNorm2d(a),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(b, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def dcgan(batches, image_size, format):
    G = dcgan_generator(image_size).to(memory_format=format)
    D = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(128, 1, image_size // 4, bias=False),
    ).to(memory_format=format)
    return Job([G, D], {"step": gan_step(G, D, batches)})


def dcgan_r1(batches, image_size, format):
    G = dcgan_generator(image_size).to(memory_format=format)
    D = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 128, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(128, 1, image_size // 4),
    ).to(memory_format=format)
    penalty = lambda reals, logits: squared_lengths_at(logits, reals).mean() * (R1_GAMMA / 2)
    return Job([G, D], {"step": gan_step(G, D, batches, penalty)})


def wgan_gp(batches, image_size, format):
    D = nn.Sequential(
        nn.Conv2d(1, 32, 3, 1, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 128, 3, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(128, 1, image_size // 4),
    ).to(memory_format=format)
    d_step = adam(D, LR, (0.0, 0.9))
    share = np.random.default_rng(1).random((len(batches.batches[0][0]), 1, 1, 1), dtype=np.float32)
    share = on_device(share)

    def step():
        reals, _, _ = batches()
        fakes = reals.flip(0, 2)
        length = squared_gradient_lengths(D, share * reals + (1 - share) * fakes).sqrt()
        loss = D(fakes).mean() - D(reals).mean() + GP_WEIGHT * (length - 1).square().mean()
        d_step(loss)
        return results(loss)

    return Job([D], {"step": step})


def stylegan2(batches, image_size, format):
    widths = [64] * (image_size.bit_length() - 2)
    G = SkipGenerator(100, widths, 64, 4).to(memory_format=format)
    D = ResidualDiscriminator(widths, format).to(memory_format=format)
    g_step, d_step = (adam(network, LR, (0.0, 0.99)) for network in (G, D))
    half = -(-len(batches.batches[0][0]) // 2)
    noise = on_device(Fixed().standard_normal((half, 1, image_size, image_size))) / image_size
    average = torch.zeros(())

    def path():
        _, _, z = batches()
        ws = G.styles(z[:half])
        with TwiceDifferentiable():
            images = G.synthesis(ws)
        (gradients,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
        lengths = gradients.square().sum(2).mean(1).sqrt()
        new = average.lerp(lengths.mean(), 0.01)
        average.copy_(new.detach())  # in place, because a CUDA graph has fixed addresses
        loss = (lengths - new).square().mean() * (PATH_WEIGHT * PATH_LAZY)
        g_step(loss)
        return results(loss)

    def r1():
        with TwiceDifferentiable():
            loss = squared_gradient_lengths(D, batches()[0]).mean() * (R1_GAMMA / 2 * LAZY)
        d_step(loss)
        return results(loss)

    return Job([G, D], {"step": gan_step(G, D, batches), "path": path, "r1": r1})


def lenet(batches, image_size, format):
    net = nn.Sequential(
        nn.Conv2d(1, 6, 5, 1, 2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 120, image_size // 4 - 2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.ReLU(inplace=True),
        nn.Linear(84, 10),
    ).to(memory_format=format)
    net_step = adam(net, 1e-3, (0.9, 0.999))

    def step():
        images, labels, _ = batches()
        loss = F.cross_entropy(net(images), labels)
        net_step(loss)
        return results(loss)

    return Job([net], {"step": step})


def mlp(batches, image_size, format):
    pixels = image_size * image_size
    G = nn.Sequential(
        nn.Linear(100, 256),
        nn.ReLU(inplace=True),
        nn.Linear(256, 256),
        nn.ReLU(inplace=True),
        nn.Linear(256, pixels),
        nn.Tanh(),
        nn.Unflatten(1, (1, image_size, image_size)),
    )
    D = nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, 256),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(256, 256),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Linear(256, 1),
    )
    return Job([G, D], {"step": gan_step(G, D, batches)})


JOBS = {
    "dcgan": dcgan,
    "dcgan-r1": dcgan_r1,
    "wgan-gp": wgan_gp,
    "stylegan2": stylegan2,
    "lenet": lenet,
    "mlp": mlp,
}
