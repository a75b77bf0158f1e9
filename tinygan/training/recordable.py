"""What has to be known of an Algorithm so that its steps can be recorded (recorded.py): which steps
do the same operations, which arrays they replace, and how to go back to the state before a step."""

import math


def kind_of_step(algorithm):
    """Return all that determines the operations of the next step, or None if they depend on its
    random numbers, or if a batch is processed in micro-batches."""
    a, s, pipe = algorithm, algorithm.settings, algorithm.augment.pipe
    n, updates, every = a.batch_size, s.updates_of_D(a.step), a.objectives.penalty_every
    if 0 < s.micro_batch < n or pipe and not pipe.fixed_operations:
        return None
    with_penalty = [(a.d_updates + i) % every("D") == 0 for i in range(updates)]
    with_penalty.append(a.step % every("G") == 0)
    level = (math.floor(a.lod), a.lod % 1 > 0) if a.growth else ()
    p = bool(pipe and getattr(pipe, "p", 1))
    return n, updates, tuple(with_penalty), level, p, tuple(vars(s).values())


def replaced_attributes(algorithm):
    """Return [(owner, attribute)] of the arrays that a step replaces by new ones, instead of
    writing into them."""
    slots = [
        (owner, name)
        for network in (algorithm.G, algorithm.D)
        for _, owner, name in network.buffer_slots()
        if name != "lod"  # a number, which decides on the kind of step
    ]
    state = algorithm.objectives.penalty_state
    return slots + [(state, name) for name in vars(state)]


def keep_state(algorithm):
    """Return a function that goes back to the present state: that of the networks, the optimisers,
    the penalties and the random generators."""
    a, penalty_state = algorithm, algorithm.objectives.penalty_state
    parts = a.G, a.D, a.ema.module, a.g_optimizer, a.d_optimizer
    states = [part.state_dict() for part in parts]
    rng, updates, penalties = random_state(a), a.ema.updates, dict(vars(penalty_state))

    def go_back():
        for part, state in zip(parts, states):
            part.load_state_dict(state)
        random_state(a, rng)
        a.ema.updates = updates
        vars(penalty_state).update(penalties)

    return go_back


def random_state(algorithm, state=None):
    """Return the states of all random number generators, or set them to the states that an earlier
    call returned."""
    generators = algorithm.rng, algorithm.augment.rng
    if state is None:
        return [generator.bit_generator.state for generator in generators]
    for generator, value in zip(generators, state):
        generator.bit_generator.state = value
