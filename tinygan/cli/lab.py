"""The laboratory: a page on this machine, in the browser."""

from tinygan.errors import say

from .options import integer


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
