"""The laboratory: a GAN on 2-D points as a game that can be watched from step to step.

    game = Game(data="ring", loss="bce", r1=0.1, seed=0)
    game.step(500)                 # as `tinygan train gan` makes them, with the same numbers
    game.half_of_D()               # or one half of a step at a time
    game.half_of_G()
    frame = game.frame()           # arrays to draw: points, arrows, D's heat map, ...
    optimal = game.optimal_D()     # the best D against the present G, and the divergence

    networks.py   G, D and the settings of a game
    game.py       Game
    optimal.py    the optimal D and the Jensen-Shannon divergence
    presets.py    games that show one thing each

It knows nothing of files, of browsers and of plots.
"""

from .game import Frame, Game
from .optimal import OptimalD, jensen_shannon, kernel_density
from .presets import PRESETS, Preset

# fmt: off
__all__ = [
    "Frame", "Game", "jensen_shannon", "kernel_density", "OptimalD", "Preset", "PRESETS",
]
# fmt: on
