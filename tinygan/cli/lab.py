"""The laboratory and the explorer: pages on this machine, in the browser."""

from tinygan.errors import say

from .options import add, integer


def page_options(parser):
    parser.add_argument(
        "--port",
        type=integer(0, 65535),
        default=0,
        metavar="N",
        help="the port of this machine on which the page is served (default: a free one)",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )


def lab_options(parser):
    page_options(parser)


def run_lab(args):
    """Serve the laboratory until Ctrl-C."""
    from tinygan.lab import requests, server

    laboratory = requests.Laboratory()
    pages = ["lab.html", "backward.html", "style.css"]
    pages += ["lab.js", "backward.js", "plane.js", "wire.js", "words.js"]
    served = server.Server(laboratory.reply, pages, requests.controls(), args.port)
    server.serve(served, not args.no_browser, say)


def explore_options(parser):
    add(parser, "run_folder", "--model", "--trust", "--data", "--data-dir")
    page_options(parser)


def run_explore(args):
    """Serve the explorer of a run until Ctrl-C."""
    from tinygan.lab import explorer, exploring, server

    explored = explorer.Explorer(args.run_folder, args.model, args.trust, args.data, args.data_dir)
    pages = ["explore.html", "style.css", "explore.js", "plane.js", "wire.js", "words.js"]
    reply = exploring.Exploration(explored).reply
    served = server.Server(reply, pages, explored.describe(), args.port)
    server.serve(served, not args.no_browser, say)
