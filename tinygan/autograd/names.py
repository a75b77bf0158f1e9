"""Names of PyTorch's and NumPy's that do not exist here, with what to write instead.

habits.py raises the errors that say so.
"""

_ARRAY = "write it of the array, x.detach().numpy()"
_DEVICE = "tinygan.use('cupy') computes on the GPU, and tinygan.use('numpy') on the CPU"
_NEW_AXIS = "write x[None], x[:, None] or x[..., None]"
_SLICES = "write slices, such as x[:, :n] and x[:, n:]"
_REPEAT = "write ops.concatenate([x] * n, axis), or along a new axis ops.broadcast_to(x, shape)"
_MASK = "write ops.where(mask, value, x)"
_TRIANGLE = "write ops.where(mask, x, 0.0), where mask = np.tril(np.ones(x.shape)) > 0"
_NO_GRAPH = "write with tinygan.no_grad():"
_HOOK = "x.register_hook(f) of a Tensor sees or replaces its gradient"
_INIT = "pass it to the layer: nn.Linear(2, 3, init=nn.init.normal(0.02)); or write w.assign(array)"
_LOGITS = "write ops.binary_cross_entropy_with_logits"

# What a Tensor does not have as a method, and `ops` not as a function.
FUNCTIONS = {
    **dict.fromkeys(("unsqueeze", "expand_dims"), _NEW_AXIS),
    **dict.fromkeys(("permute", "movedim", "moveaxis"), "write x.transpose(0, 2, 1)"),
    **dict.fromkeys(("split", "chunk", "tensor_split"), _SLICES),
    **dict.fromkeys(("repeat", "tile", "repeat_interleave"), _REPEAT),
    **dict.fromkeys(("mm", "bmm", "dot", "mv"), "write x @ y"),
    **dict.fromkeys(("outer", "ger"), "write x[:, None] * y"),
    **dict.fromkeys(("diag", "diagonal"), "write x[i, i], where i = np.arange(n)"),
    **dict.fromkeys(("tril", "triu"), _TRIANGLE),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), "write x.clip(low, high)"),
    **dict.fromkeys(("amax", "amin"), "write x.max(axis) or x.min(axis)"),
    "view": "write x.reshape(...)",
    "ravel": "write x.flatten()",
    "masked_fill": _MASK,
    "rsqrt": "write x ** -0.5",
    "reciprocal": "write 1.0 / x",
    "log1p": "write (1.0 + x).log(), which loses digits of a small x",
    "expm1": "write x.exp() - 1.0, which loses digits of a small x",
    "log2": "write x.log() / math.log(2)",
    "log10": "write x.log() / math.log(10)",
    "tan": "write x.sin() / x.cos()",
    **dict.fromkeys(("gather", "take", "index_select"), "write x[index], or x[:, index]"),
    "cumprod": "write (x.log().cumsum(axis)).exp() of positive x",
    **dict.fromkeys(
        ("argsort", "sort", "topk"), "write it of the array, such as np.sort(x.detach())"
    ),
    **{
        name: f"write np.{name}(x.detach())"
        for name in ("sign", "floor", "ceil", "median", "isnan", "isinf", "isfinite", "unique")
    },
}
TENSOR = {
    **FUNCTIONS,
    "cpu": "write x.detach().numpy(), which is on the CPU",
    **dict.fromkeys(("cuda", "to", "device"), f"{_DEVICE}; x.astype('float64') converts the dtype"),
    **dict.fromkeys(("float", "double", "half", "type"), "write x.astype('float32') or 'float64'"),
    **dict.fromkeys(
        ("int", "long", "bool"), "a Tensor holds floats: write x.detach().numpy().astype(int)"
    ),
    "retain_grad": "write grad(loss, x), which also takes Tensors in the middle of a graph",
    "zero_grad": "grad(loss, x) returns a new gradient; after backward(), set x.grad = None",
    "zero_": "Tensors are immutable; after backward(), set x.grad = None",
    "grad_fn": "tinygan.trace() shows how x was computed",
    "is_leaf": "x.node.op is None for a leaf",
    "t": "write x.T",
    "mT": "write x.swapaxes(-2, -1)",
    **dict.fromkeys(("view_as", "reshape_as"), "write x.reshape(y.shape)"),
    **dict.fromkeys(("expand", "expand_as"), "write ops.broadcast_to(x, shape)"),
    **dict.fromkeys(
        ("clone", "copy", "contiguous"),
        "a Tensor is immutable and needs no copy; tinygan.tensor(x.data) is a new leaf",
    ),
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "pow", "matmul"),
        "write x + y, x - y, x * y, x / y, x ** y or x @ y",
    ),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "write x == y, x != y, x < y, ..."),
    "dim": "write x.ndim",
    **dict.fromkeys(("numel", "nelement"), "write x.size"),
    **dict.fromkeys(("any", "all", "round", "nonzero", "tobytes", "nbytes", "strides"), _ARRAY),
    **dict.fromkeys(
        ("add_", "sub_", "mul_", "div_", "clamp_", "copy_", "fill_", "relu_", "exp_"),
        "a Tensor is immutable: write x = x + y, x = x.exp(), ...; a Parameter has w.assign(array)",
    ),
    **dict.fromkeys(("normal_", "uniform_"), "draw the array first, and write w.assign(array)"),
    "unfold": "write ops.conv2d or x[...] with slices",
    "where": _MASK,
    "unbind": "iterate over x",
    **{name: f"write ops.{name}(x)" for name in ("gelu", "silu")},
    **dict.fromkeys(
        ("new_zeros", "new_ones", "new_tensor"), "write tinygan.tensor(array, dtype=x.dtype)"
    ),
}
MODULE = {
    **dict.fromkeys(
        ("cpu", "cuda", "to", "device"),
        "tinygan.use('cupy') before the network is made computes"
        " on the GPU; net.astype('float64') converts it",
    ),
    **dict.fromkeys(("float", "double", "half"), "write net.astype('float32') or 'float64'"),
    "zero_grad": "grad(loss, net.parameters()) returns new gradients: there is nothing to reset",
    **dict.fromkeys(("freeze", "unfreeze"), "write net.requires_grad_(False) or (True)"),
    "named_modules": "write net.modules(), which gives (path, Module)",
    "named_children": "write net.children(), which gives (name, Module)",
    "get_submodule": "write dict(net.modules())[path]",
    "get_parameter": "write dict(net.named_parameters())[path]",
    "register_buffer": "set self.NAME = array, and list NAME in the class's buffer_names",
    "register_parameter": "set self.NAME = Parameter(array)",
    **dict.fromkeys(("add_module", "register_module"), "set self.NAME = module"),
    **dict.fromkeys(
        ("register_forward_hook", "register_forward_pre_hook"),
        "use nn.feature_maps(net) or nn.hooks.forward_hooks",
    ),
    **dict.fromkeys(("register_backward_hook", "register_full_backward_hook"), _HOOK),
    "apply": "write: for path, module in net.modules(): ...",
    **dict.fromkeys(
        ("append", "insert", "extend"), "keep layers in nn.Sequential, or set self.NAME = module"
    ),
    **dict.fromkeys(("copy", "clone"), "write copy.deepcopy(net)"),
    "summary": "write nn.summary(net, x)",
    **dict.fromkeys(
        ("num_parameters", "count_params"), "write sum(p.size for p in net.parameters())"
    ),
    "save": "write np.savez(path, **net.state_dict())",
    "load": "write net.load_state_dict(np.load(path))",
    "compile": "write tinygan.capture(step, net)",
}
OPTIMIZER = {
    "zero_grad": "grad(loss, parameters) returns new gradients: there is nothing to reset",
    "param_groups": "set optimizer.lr; for other settings, make an optimiser for each group",
    "add_param_group": "make another optimiser for these Parameters",
}
OPTIM = {
    "lr_scheduler": "write optimizer.lr = rate(step), with a rate from tinygan.schedules",
    "clip_grad_norm_": "write optimizer.step(optim.clip_grad_norm(gradients, max_norm))",
    "clip_grad_value_": "write optimizer.step([g.clip(-limit, limit) for g in gradients])",
    **dict.fromkeys(
        ("Adagrad", "Adadelta", "NAdam", "RAdam", "Adamax", "LBFGS"),
        "there are SGD, RMSprop, Adam and AdamW; derive others from optim.Optimizer",
    ),
}
NN = {
    **dict.fromkeys(("ModuleList", "ModuleDict"), "keep Modules in a list"),
    **dict.fromkeys(("Parameter", "ParameterList"), "write tinygan.Parameter(array)"),
    "functional": "write tinygan.ops",
    "utils": "write optim.clip_grad_norm(gradients, max_norm), or nn.SpectralNorm(layer)",
    "Identity": "write lambda x: x, which is a layer too",
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), "write nn.BatchNorm(channels)"),
    "InstanceNorm2d": "write ops.instance_norm",
    **dict.fromkeys(
        ("ELU", "PReLU", "SELU", "Hardswish", "Mish"), "write nn.LeakyReLU, nn.SiLU or nn.GELU"
    ),
    **dict.fromkeys(
        ("DataParallel", "parallel"), "tinygan trains in several processes: see training/README.md"
    ),
    "GroupNorm": "write nn.BatchNorm, or ops.instance_norm",
    "LayerNorm": "write lambda x: ops.normalize(x, -1), with ops.modulate for scale and shift",
    "MaxPool2d": "write lambda x: ops.max_pool2d(x, 2)",
    "AdaptiveAvgPool2d": "write lambda x: x.mean((1, 2))",
    "Upsample": "write ops.upsample_nearest",
    "ZeroPad2d": "write ops.pad, or the padding of nn.Conv2d",
    "Dropout2d": "write nn.Dropout",
    "Softmax": "write ops.softmax",
    "LogSoftmax": "write ops.log_softmax",
    "Hardtanh": "write lambda x: x.clip(-1, 1)",
    "Unflatten": "write nn.Reshape(...)",
    **dict.fromkeys(("MSELoss", "L1Loss"), "write ops.mse_loss or ops.l1_loss"),
    **dict.fromkeys(("BCELoss", "BCEWithLogitsLoss"), _LOGITS),
    "CrossEntropyLoss": "write ops.cross_entropy(logits, labels)",
}
INIT = dict.fromkeys(
    (
        *("normal_", "uniform_", "zeros_", "ones_", "constant_", "orthogonal_"),
        *("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"),
    ),
    _INIT,
)
OPS = {
    **FUNCTIONS,
    **dict.fromkeys(("cat", "concat", "hstack", "vstack"), "write ops.concatenate([x, y], axis)"),
    **dict.fromkeys(("divide", "multiply", "subtract", "power"), "write x / y, x * y, ..."),
    "absolute": "write ops.abs",
    "binary_cross_entropy": f"{_LOGITS}, which takes logits",
    "interpolate": "write ops.upsample_nearest or ops.upsample_bilinear",
    "dropout": "write nn.Dropout",
    **dict.fromkeys(("zeros_like", "ones_like"), "write tinygan.tensor(np.zeros(...), dtype=...)"),
    "one_hot": "write np.eye(classes)[labels]",
}
TINYGAN = {
    **dict.fromkeys(
        (
            *("randn", "rand", "zeros", "ones", "arange", "full", "eye", "linspace"),
            *("zeros_like", "ones_like", "randn_like"),
        ),
        "write tinygan.tensor(...) of a NumPy array",
    ),
    "manual_seed": "pass rng=np.random.default_rng(seed) to what draws",
    **dict.fromkeys(("from_numpy", "as_tensor", "FloatTensor"), "write tinygan.tensor(array)"),
    **dict.fromkeys(
        ("save", "load"),
        "write np.savez(path, **net.state_dict()), and net.load_state_dict(np.load(path))",
    ),
    **dict.fromkeys(
        (
            *("cat", "stack", "matmul", "exp", "relu", "concatenate", "sum", "mean", "sin", "cos"),
            *("log", "sqrt", "tanh", "sigmoid", "softmax", "einsum", "where", "abs", "norm"),
            *("clamp", "clip", "maximum", "minimum", "max", "min", "argmax", "std", "var", "prod"),
            *("squeeze", "flatten", "reshape", "transpose", "swapaxes", "flip", "roll", "cumsum"),
            *("square", "gelu", "argmin", "logsumexp", "log_softmax", "broadcast_to"),
        ),
        "tinygan.ops has the functions",
    ),
    **{
        name: f"write np.{name}(x.detach())"
        for name in ("isnan", "isinf", "isfinite", "sign", "floor", "round")
    },
    **{name: f"write np.{name}(x, y)" for name in ("allclose", "isclose", "array_equal")},
    "equal": "write np.array_equal(x, y)",
    **dict.fromkeys(
        ("randint", "randperm", "normal", "bernoulli", "multinomial"),
        "draw with a NumPy generator, np.random.default_rng(seed)",
    ),
    "backward": "write grad(loss, net.parameters()) or loss.backward()",
    **dict.fromkeys(("inference_mode", "set_grad_enabled", "enable_grad"), _NO_GRAPH),
    **dict.fromkeys(("cuda", "device"), _DEVICE),
    **dict.fromkeys(("float32", "float64"), "write dtype='float32' or 'float64'"),
    **dict.fromkeys(("long", "int64"), "indices and labels are NumPy arrays of integers"),
    "Module": "write tinygan.nn.Module",
    "is_tensor": "write isinstance(x, tinygan.Tensor)",
    **dict.fromkeys(("compile", "jit"), "write tinygan.capture(step, net)"),
    "utils": "write tinygan.data.load(name) for a Dataset, whose batch(...) draws minibatches",
}

DATA = dict.fromkeys(
    ("DataLoader", "TensorDataset", "ImageFolder", "random_split"),
    "data.load(name or folder) returns a Dataset; its batch(...) draws minibatches",
)

# What to write for a function of NumPy's, of a Tensor that requires a gradient: an op of the same
# name, or something else.
OF_ONE = "exp log sin cos sqrt square tanh sum mean var std prod max min".split()
SAME_NAME = (
    *("maximum", "minimum", "clip", "where", "reshape", "transpose", "flip", "roll", "pad"),
    *("broadcast_to", "concatenate", "stack", "einsum", "squeeze", "swapaxes", "cumsum"),
)
NUMPY = {
    "add": "x + y",
    "subtract": "x - y",
    "multiply": "x * y",
    **dict.fromkeys(("divide", "true_divide"), "x / y"),
    **dict.fromkeys(("power", "float_power"), "x ** y"),
    "negative": "-x",
    "reciprocal": "1.0 / x",
    "log1p": "ops.log(1.0 + x)",
    "expm1": "ops.exp(x) - 1.0",
    "tan": "ops.sin(x) / ops.cos(x)",
    **dict.fromkeys(("matmul", "dot", "inner", "vdot"), "x @ y"),
    "outer": "x[:, None] * y",
    "tensordot": "ops.einsum(...)",
    **dict.fromkeys(("absolute", "fabs"), "ops.abs(x) or x.abs()"),
    "amax": "ops.max(x) or x.max()",
    "amin": "ops.min(x) or x.min()",
    "linalg.norm": "ops.norm(x) or x.norm()",
    "logaddexp": "ops.softplus(y - x) + x",
    "ravel": "x.flatten()",
    "expand_dims": "x[None], x[:, None] or x[..., None]",
    **dict.fromkeys(("moveaxis", "permute_dims"), "x.transpose(...)"),
    **dict.fromkeys(("hstack", "vstack", "concat", "append"), "ops.concatenate([x, y], axis)"),
    **dict.fromkeys(("take", "compress"), "x[index]"),
    **dict.fromkeys(("split", "array_split"), "slices, such as x[:, :n] and x[:, n:]"),
    **dict.fromkeys(("repeat", "tile"), _REPEAT.removeprefix("write ")),
    **dict.fromkeys(("tril", "triu"), _TRIANGLE.removeprefix("write ")),
    "average": "x.mean()",
    **dict.fromkeys(("array", "asarray", "copy", "asanyarray"), "x.detach().numpy()"),
    **{
        name: f"np.{name}(x.detach())"
        for name in ("sign", "floor", "ceil", "rint", "trunc", "round", "around", "sort", "median")
    },
}
# Functions of NumPy's that no gradient follows: they take every Tensor.
WITHOUT_GRADIENT = {
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("isnan", "isinf", "isfinite", "shape", "ndim", "size", "shares_memory", "may_share_memory"),
    *("argmax", "argmin", "argsort", "allclose", "isclose", "array_equal", "signbit"),
    *("count_nonzero", "nonzero", "any", "all", "array2string", "array_repr", "array_str"),
}
