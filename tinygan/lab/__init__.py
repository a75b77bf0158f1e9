"""The laboratory: a GAN on 2-D points as a game that can be watched from step to step.

    game = Game(data="ring", loss="bce", r1=0.1, seed=0)
    game.step(500)                 # as `tinygan train gan` makes them, with the same numbers
    game.half_of_D()               # or one half of a step at a time
    game.half_of_G()
    frame = game.frame()           # arrays to draw: points, arrows, D's heat map, ...
    optimal = game.optimal_D()     # the best D against the present G, and the divergence

The game, which knows nothing of files, of browsers and of plots:

    networks.py   G, D and the settings of a game
    game.py       Game
    optimal.py    the optimal D and the Jensen-Shannon divergence
    presets.py    games that show one thing each
    script.py     a game as a script, to take home
    backward.py   a backward pass, step by step, also of second order

What a page in the browser asks for, and the answers, for `tinygan lab` and `tinygan explore`:

    requests.py   of the game's page
    explorer.py   the latents of a trained G
    exploring.py  of the explorer's page
    server.py     serves the pages, on this machine alone
    page/         the pages: HTML, a style sheet, JavaScript
    run_page.py   a run as a single page (`tinygan animate RUN -o run.html`)
"""

from .game import Frame, Game
from .optimal import OptimalD, jensen_shannon, kernel_density
from .presets import PRESETS, Preset

# fmt: off
__all__ = [
    "Frame", "Game", "jensen_shannon", "kernel_density", "OptimalD", "Preset", "PRESETS",
]
# fmt: on
