"""Pictures: graphs of computations."""

import math
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from tinygan.autograd.trace import COLOURS

# Graph drawings. Sizes in inches; y points down until the figure is made.

FONT = 9  # points
# of DejaVu Sans Mono, which comes with matplotlib
CHARACTER, LINE = 0.602 * FONT / 72, 1.35 * FONT / 72
MARGIN, GAP_X, GAP_Y = 0.10, 0.25, 0.40


def draw_graph(graph, path=None):
    """Draw a Graph (`trace.graph`), inputs above, the result at the bottom: a matplotlib Figure.

    Ops are blue, those of a backward pass green, leaves orange, constants grey; a dashed arrow is
    an argument that no gradient flows back to. Arguments enter from left to right. path: where to
    save a PNG, if anywhere.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Curve

    sizes = [
        ((max(map(len, node.lines)) + 2) * CHARACTER, (len(node.lines) + 0.6) * LINE)
        for node in graph.nodes
    ]
    boxes, routes, (width, height) = layout(graph, sizes)

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
    for node, (x, y), (w, h) in zip(graph.nodes, boxes, sizes):
        edge = 2 if node is graph.nodes[-1] else 0.8
        axes.add_patch(
            FancyBboxPatch(
                (x - w / 2, y - h / 2),
                w,
                h,
                boxstyle="round,pad=0,rounding_size=0.06",
                facecolor=COLOURS[node.kind],
                edgecolor="#334455",
                linewidth=edge,
            )
        )
        axes.text(
            x,
            y,
            "\n".join(node.lines),
            family="DejaVu Sans Mono",
            size=FONT,
            ha="center",
            va="center",
            parse_math=False,
        )
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return figure


def layout(graph, sizes):
    """Where to draw a graph: layer below layer, arrows running down from one to the next.

    sizes: (width, height) of every node's box. Returns the centres of the boxes, a list of points
    for every edge, and the (width, height) of the whole. After Sugiyama, Tagawa and Toda (1981): an
    arrow that passes a layer has a place of its own there, a waypoint, so that it crosses no box.
    """
    depth = _depths(graph)
    layers = [[i for i, d in enumerate(depth) if d == layer] for layer in range(max(depth) + 1)]
    # per edge: its stops; per pair of neighbouring stops: (upper, lower, port)
    routes, links = [], []
    for target, node in enumerate(graph.nodes):
        for argument, (source, flows) in enumerate(node.inputs, 1):
            # Arrows from one box share their waypoints, and part where their ways do.
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

    top, bottom, y = {}, {}, MARGIN  # of each stop's layer
    for layer in layers:
        below = y + max(sizes[stop][1] for stop in layer if isinstance(stop, int))
        top.update(dict.fromkeys(layer, y))
        bottom.update(dict.fromkeys(layer, below))
        reach = max(
            (abs(x[lower] - x[upper]) for upper, lower, _ in links if upper in layer), default=0
        )
        y = below + GAP_Y + min(0.08 * reach, 0.6)  # room for the arrows to swing to the side

    centres = [(x[i], (top[i] + bottom[i]) / 2) for i in range(len(sizes))]
    points = []
    for (source, *waypoints, target), port in routes:
        end = x[target] + port * width[target]
        way = [(x[source], centres[source][1] + sizes[source][1] / 2), (x[source], bottom[source])]
        for stop in waypoints:
            way += [(x[stop], top[stop]), (x[stop], bottom[stop])]
        way += [(end, top[target]), (end, centres[target][1] - sizes[target][1] / 2)]
        points.append(
            [way[0]]
            + [after for before, after in zip(way, way[1:]) if math.dist(before, after) > 1e-6]
        )
    return (
        centres,
        points,
        (max(x[s] + width[s] / 2 for s in x) + MARGIN, max(bottom.values()) + MARGIN),
    )


def _depths(graph):
    """The layer of every node: below its inputs; if only leaves feed it, just above its users."""
    depth, users = [], [[] for _ in graph.nodes]
    for i, node in enumerate(graph.nodes):
        depth.append(1 + max((depth[source] for source, _ in node.inputs), default=-1))
        for source, _ in node.inputs:
            users[source].append(i)
    for i in reversed(range(len(depth))):
        if (
            users[i]
            and sum(graph.nodes[source].op is not None for source, _ in graph.nodes[i].inputs) <= 1
        ):
            depth[i] = min(depth[user] for user in users[i]) - 1
    return depth


def _untangle(layers, links):
    """The layers, each ordered by the average place of its neighbours, so that few arrows cross."""
    neighbours = {True: {}, False: {}}  # going down, and going up
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
    """{stop: x of its middle}: near its neighbours, in the order given, clear of its layer."""
    x = {}
    for layer in layers:
        step = np.cumsum([width[stop] + GAP_X for stop in layer])
        x.update({stop: end - width[stop] / 2 - step[-1] / 2 for stop, end in zip(layer, step)})
    pulls = {stop: [] for stop in x}  # (neighbour, offset, weight)
    for upper, lower, port in links:
        # chains and long arrows straight
        weight = 1 + 4 * (port == 0) + 20 * isinstance(lower, tuple)
        pulls[upper].append((lower, port * width[lower], weight))
        pulls[lower].append((upper, -port * width[lower], weight))
    for sweep in range(100):
        for layer in layers if sweep % 2 else reversed(layers):
            weights = [sum(weight for _, _, weight in pulls[stop]) or 1 for stop in layer]
            wanted = [
                sum((x[other] + offset) * weight for other, offset, weight in pulls[stop])
                / weights[k]
                if pulls[stop]
                else x[stop]
                for k, stop in enumerate(layer)
            ]
            half = np.array([width[stop] / 2 for stop in layer])
            least = np.concatenate([[0], np.cumsum(half[:-1] + half[1:] + GAP_X)])
            fitted = isotonic_regression(np.array(wanted) - least, weights=weights).x
            x.update(zip(layer, fitted + least))
    return x
