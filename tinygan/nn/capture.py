"""A step that a GPU runs as a whole."""

from tinygan.kernels.cuda.graphs import Graph


def capture(step, *modules, state=()):
    """`step`, which trains the modules once, as a function that a GPU runs as one launch: a recorded CUDA graph.

    step() takes no arguments and returns a tuple of arrays without dimensions, such as losses (`loss.data`). It must do the
    same operations each time, and wait for none of their results; what is new each time, batches and random draws, comes
    through `tinygan.from_host` (`backend.normal` and all layers use it). state: (owner, attribute) of arrays, besides the
    modules' buffers, that it replaces and reads again the next time. The first call runs it as it is, the second records
    it. On a CPU every call runs it as it is.
    """
    slots = [*state, *((owner, name) for module in modules for _, owner, name in module.buffer_slots())]
    graph = Graph(step, lambda: slots)

    def run():
        results = graph()
        for module in modules:
            module.mark_changed()
        return results

    run.graph = graph
    return run
