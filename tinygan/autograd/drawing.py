"""Drawings of computation graphs."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from tinygan.files import make_folder, replacing, user_path
from tinygan.screen import import_matplotlib

from .trace import COLOURS, Graph

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Sizes are in inches; y points down.

FONT_SIZE = 9  # points, of DejaVu Sans Mono, which comes with matplotlib
CHARACTER_WIDTH, LINE_HEIGHT = 0.602 * FONT_SIZE / 72, 1.35 * FONT_SIZE / 72
MARGIN, GAP_X, GAP_Y = 0.10, 0.25, 0.40


def draw_graph(graph: Graph, path: str | Path | None = None) -> "Figure":
    """Draw a Graph (`trace.graph`) as a matplotlib Figure, from the inputs down to the result.

    Ops are blue, ops of a backward pass green, leaves orange, constants grey. No gradient flows
    back along a dashed arrow. The arguments of an op enter from left to right.

    path: a PNG file to save the drawing to.
    """
    import_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    sizes = [
        ((max(map(len, node.lines)) + 2) * CHARACTER_WIDTH, (len(node.lines) + 0.6) * LINE_HEIGHT)
        for node in graph.nodes
    ]
    centres, routes, (width, height) = layout(graph, sizes)

    figure = Figure((width, height), dpi=min(150, 20000 / max(width, height)))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for (_, _, flows), points in zip(graph.edges, routes):
        vertices, codes = [points[0]], [Curve.MOVETO]
        for (x0, y0), (x1, y1) in zip(points, points[1:]):  # vertical at both ends
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Curve.CURVE4] * 3
        axes.add_patch(
            FancyArrowPatch(
                path=Curve(vertices, codes),
                arrowstyle="-|>",
                mutation_scale=9,
                linewidth=1,
                color="#667788",
                linestyle="-" if flows else (0, (3, 2)),
            )
        )
    for node, (x, y), (w, h) in zip(graph.nodes, centres, sizes):
        border = 2 if node is graph.nodes[-1] else 0.8
        axes.add_patch(
            FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=COLOURS[node.kind],
                edgecolor="#334455",
                linewidth=border,
            )
        )
        axes.text(
            x,
            y,
            "\n".join(node.lines),
            family="DejaVu Sans Mono",
            size=FONT_SIZE,
            ha="center",
            va="center",
            parse_math=False,
        )
    if path is not None:
        path = user_path(path)
        make_folder(path.parent)
        with replacing(path if path.suffix else path.with_suffix(".png")) as file:
            figure.savefig(file, format=path.suffix[1:] or "png")
    return figure


def layout(graph, sizes):
    """Lay out a graph in layers, with all arrows pointing down.

    sizes: (width, height) of the box of each node. Returns the centres of the boxes, a list of
    points for each edge, and the (width, height) of the drawing. The method is that of Sugiyama,
    Tagawa and Toda (1981): an arrow has a waypoint, a place of its own, in each layer that it
    passes, so that it crosses no box.
    """
    depth = _depths(graph)
    layers = [[i for i, d in enumerate(depth) if d == layer] for layer in range(max(depth) + 1)]
    # A route is the stops of an edge; a link is (upper stop, lower stop, port).
    routes, links = [], []
    for target, node in enumerate(graph.nodes):
        for argument, (source, flows) in enumerate(node.inputs, 1):
            # Arrows from one box share their waypoints until their routes part.
            waypoints = [
                (source, flows, layer) for layer in range(depth[source] + 1, depth[target])
            ]
            for waypoint in waypoints:
                if waypoint not in layers[waypoint[2]]:
                    layers[waypoint[2]].append(waypoint)
            stops = [source, *waypoints, target]
            port = argument / (len(node.inputs) + 1) - 0.5  # arguments enter from left to right
            links += [
                (upper, lower, port if lower == target else 0.0)
                for upper, lower in zip(stops, stops[1:])
            ]
            routes.append((stops, port))

    width = {
        stop: sizes[stop][0] if isinstance(stop, int) else 0.0 for layer in layers for stop in layer
    }
    x = _place(_untangle(layers, links), links, width)
    left = min(x[stop] - width[stop] / 2 for stop in x) - MARGIN
    x = {stop: x[stop] - left for stop in x}

    top, bottom, y = {}, {}, MARGIN  # of the layer of each stop
    for layer in layers:
        lower_y = y + max(sizes[stop][1] for stop in layer if isinstance(stop, int))
        top.update(dict.fromkeys(layer, y))
        bottom.update(dict.fromkeys(layer, lower_y))
        shifts = [abs(x[lower] - x[upper]) for upper, lower, _ in links if upper in layer]
        y = lower_y + GAP_Y + min(0.08 * max(shifts, default=0), 0.6)  # room to go sideways

    centres = [(x[i], (top[i] + bottom[i]) / 2) for i in range(len(sizes))]
    points = []
    for (source, *waypoints, target), port in routes:
        end = x[target] + port * width[target]
        line = [(x[source], centres[source][1] + sizes[source][1] / 2), (x[source], bottom[source])]
        for stop in waypoints:
            line += [(x[stop], top[stop]), (x[stop], bottom[stop])]
        line += [(end, top[target]), (end, centres[target][1] - sizes[target][1] / 2)]
        points.append([line[0]] + [b for a, b in zip(line, line[1:]) if math.dist(a, b) > 1e-6])
    total_width = max(x[stop] + width[stop] / 2 for stop in x) + MARGIN
    return centres, points, (total_width, max(bottom.values()) + MARGIN)


def _depths(graph):
    """Return the layer of each node: below its inputs, or just above its users.

    The latter is for nodes with at most one input that is the result of an op.
    """
    depth, users = [], [[] for _ in graph.nodes]
    for i, node in enumerate(graph.nodes):
        depth.append(1 + max((depth[source] for source, _ in node.inputs), default=-1))
        for source, _ in node.inputs:
            users[source].append(i)
    for i in reversed(range(len(depth))):
        computed = [
            source for source, _ in graph.nodes[i].inputs if graph.nodes[source].op is not None
        ]
        if users[i] and len(computed) <= 1:
            depth[i] = min(depth[user] for user in users[i]) - 1
    return depth


def _untangle(layers, links):
    """Return the layers, each sorted by the mean position of its neighbours: few arrows cross."""
    neighbours = {True: {}, False: {}}  # for downward sweeps, and for upward ones
    for upper, lower, port in links:
        neighbours[True].setdefault(lower, []).append((upper, 0.0))
        neighbours[False].setdefault(upper, []).append((lower, port))
    layers = [list(layer) for layer in layers]
    best, fewest = layers, np.inf
    for sweep in range(24):
        place = {stop: i for layer in layers for i, stop in enumerate(layer)}
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            near = {stop: neighbours[downwards].get(stop, [(stop, 0.0)]) for stop in layer}
            layer.sort(key=lambda stop: np.mean([place[other] + p for other, p in near[stop]]))
            place.update({stop: i for i, stop in enumerate(layer)})
        crossings = 0
        for layer in layers:
            ends = [(place[a], place[b] + port) for a, b, port in links if a in layer]
            ends = np.array(ends).reshape(-1, 2)
            before = np.sign(ends[:, None] - ends)
            crossings += (before[..., 0] * before[..., 1] < 0).sum() // 2
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _place(layers, links, width):
    """Return {stop: x of its centre}: near its neighbours, in the order of its layer, with gaps."""
    x = {}
    for layer in layers:
        step = np.cumsum([width[stop] + GAP_X for stop in layer])
        x.update({stop: end - width[stop] / 2 - step[-1] / 2 for stop, end in zip(layer, step)})
    pulls = {stop: [] for stop in x}  # (neighbour, offset, weight)
    for upper, lower, port in links:
        # straighten chains and long arrows
        weight = 1 + 4 * (port == 0) + 20 * isinstance(lower, tuple)
        pulls[upper].append((lower, port * width[lower], weight))
        pulls[lower].append((upper, -port * width[lower], weight))
    for sweep in range(100):
        for layer in layers if sweep % 2 else reversed(layers):
            weights = [sum(weight for _, _, weight in pulls[stop]) or 1 for stop in layer]
            sums = [sum((x[other] + dx) * w for other, dx, w in pulls[stop]) for stop in layer]
            best = [
                total / weight if pulls[stop] else x[stop]
                for stop, total, weight in zip(layer, sums, weights)
            ]
            half = np.array([width[stop] / 2 for stop in layer])
            offsets = np.concatenate([[0], np.cumsum(half[:-1] + half[1:] + GAP_X)])
            fitted = isotonic_regression(np.array(best) - offsets, weights=weights).x
            x.update(zip(layer, fitted + offsets))
    return x
