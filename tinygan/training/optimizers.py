"""The optimisers of G and D, as the settings describe them, and how schedules change them."""

from tinygan.optim import Adam, AdamW, RMSprop

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}


def make(algorithm, which):
    """Return a new optimiser of "G" or "D"."""
    network = getattr(algorithm, which)
    kind = OPTIMIZERS[algorithm.settings.optimizer]
    return kind(network.parameters(), **numbers(algorithm, which))


def numbers(algorithm, which):
    """Return {attribute: its value in this step} of the optimiser of "G" or "D".

    If a penalty has an update of its own after every k-th update (k > 1), k + 1 updates do the work
    of k. So the learning rate and the decays are adjusted: each update counts as c = k / (k + 1) of
    one (Karras et al. 2020b, section 3.1).
    """
    s, now, k = algorithm.settings, algorithm.now, algorithm.objectives.penalty_every(which)
    c = k / (k + 1) if k > 1 else 1
    lr = s.lr if which == "G" else s.d_lr or s.lr
    found = {"lr": now(lr) * c, "eps": s.eps, "weight_decay": now(s.weight_decay)}
    if s.optimizer == "rmsprop":
        return found | {"alpha": now(s.beta2) ** c}
    return found | {"betas": (now(s.beta1) ** c, now(s.beta2) ** c)}


def follow_schedules(algorithm):
    """Give the optimisers, the average and ADA's controller the numbers that their settings have in
    this step. Return {name in the log: value} of all settings that have a schedule."""
    a, scheduled = algorithm, algorithm.settings.schedules()
    if scheduled:
        vars(a.g_optimizer).update(numbers(a, "G"))
        vars(a.d_optimizer).update(numbers(a, "D"))
        a.ema.decay = a.now(a.settings.ema)
        if a.controller:
            a.controller.target = a.now(a.settings.ada_target)
    # The log already has a path_length: that of G's images, not the weight of the penalty.
    names = {"path_length": "path_length_weight"}
    return {names.get(name, name): a.now(value) for name, value in scheduled.items()}
