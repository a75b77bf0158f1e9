"""The laboratory without its page: questions and answers, the script, and whom the server refuses.

test_lab_in_a_browser.py has the page.
"""

import http.client
import json
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from tinygan.cli import main
from tinygan.errors import InputError
from tinygan.lab import PRESETS, Game, backward, requests, server
from tinygan.lab.requests import MOST_GAMES, Laboratory, controls, packed, unpacked
from tinygan.lab.run_page import run_page
from tinygan.lab.script import script

pytestmark = pytest.mark.cpu
SMALL = {"hidden": 8, "batch_size": 16, "latent": 5}


def ask(laboratory, do, tab="a", **question):
    return unpacked(laboratory.reply({"tab": tab, "do": do, **question}))


@pytest.fixture
def laboratory():
    return Laboratory()


# Questions and answers


def test_steps_are_the_same_however_they_are_asked_for(laboratory):
    """Also half a step, and whatever is looked at between them, and in two tabs at once."""
    ask(laboratory, "begin", settings=SMALL)
    ask(laboratory, "begin", tab="b", settings=SMALL)
    ask(laboratory, "steps", n=2)
    ask(laboratory, "half", tab="b")
    ask(laboratory, "optimal", tab="b")
    ask(laboratory, "steps", n=1, tab="b")
    ask(laboratory, "look", tab="b")
    ask(laboratory, "steps", n=4, tab="b")
    header, one = ask(laboratory, "steps", n=3, rows=2)
    again, other = ask(laboratory, "look", tab="b", rows=2)
    assert header == again and header["step"] == 5 and header["rows"] == 2
    assert all(np.array_equal(one[name], other[name]) for name in one)
    game = Game(**SMALL)
    game.step(5)
    assert np.array_equal(one["fakes"], game.frame(requests.SHOWN).fakes)
    losses = [[row[key] for key in requests.COLUMNS] for row in game.history[2:]]
    assert np.allclose(one["history"], losses)


def test_an_answer_has_what_the_page_draws(laboratory):
    header, arrays = ask(laboratory, "begin", settings=SMALL | {"loss": "hinge"})
    shapes = {name: array.shape for name, array in arrays.items()}
    assert shapes == {
        "history": (0, 3),
        **dict.fromkeys(("reals", "fakes", "arrows"), (200, 2)),
        "axis": (64,),
        "heat_map": (64, 64),
        "manifold": (16, 16, 2),
    }
    assert header["middle"] == 0 and not header["probability"] and header["next_half"] == "D"
    assert ask(laboratory, "half")[0]["next_half"] == "G"
    header, arrays = ask(laboratory, "optimal")
    assert 0 < header["jsd"] < 0.6932 and arrays["D"].shape == (len(arrays["axis"]),) * 2


@pytest.mark.parametrize(
    "question, message",
    [
        ({"do": "nothing"}, "do='nothing': the laboratory knows begin, steps"),
        ({"do": "begin", "tab": 3}, "tab: must be a name"),
        ({"do": "begin", "settings": [1]}, "settings: must be an object"),
        ({"do": "begin", "settings": {"hiden": 3}}, "unknown setting 'hiden'"),
        ({"do": "begin", "settings": {"lr": "fast"}}, "setting lr=fast"),
        (
            {"do": "begin", "settings": {"hidden": 4000}},
            "hidden=4000: in the laboratory, at most 5",
        ),
        ({"do": "begin", "settings": {"hidden": "4000"}}, "at most 512"),
        ({"do": "begin", "settings": {"loss": "my.py:f"}}, "loss=my.py:f"),
        ({"do": "begin", "settings": {"data": "drawn"}}, "give the points"),
        ({"do": "begin", "points": [[1, "a"]]}, "points: must be numbers"),
        ({"do": "begin", "points": [[0, 0]] * 2001}, "2001 were drawn: at most 2000"),
        ({"do": "begin", "points": [[float("inf"), 0]]}, "and finite"),
        ({"do": "steps", "n": 0}, "n=0: must be a whole number from 1 to 1000"),
        ({"do": "steps", "n": 1, "rows": -1}, "rows=-1"),
        ({"do": "steps", "n": True}, "n=True"),
        ({"do": "half", "tab": "other"}, "this tab has no game"),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(laboratory, question, message):
    ask(laboratory, "begin", settings=SMALL)
    with pytest.raises(InputError) as caught:
        laboratory.reply({"tab": "a"} | question)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    ask(laboratory, "steps", n=1)  # the game goes on


def test_training_that_diverges_says_so(laboratory):
    ask(laboratory, "begin", settings=SMALL | {"lr": 1e30, "loss": "wasserstein"})
    with pytest.raises(InputError, match="begin again"):
        for _ in range(20):
            ask(laboratory, "steps", n=10)
    ask(laboratory, "begin", settings=SMALL)


def test_only_so_many_games_are_kept(laboratory):
    tabs = [str(i) for i in range(MOST_GAMES + 1)]
    for tab in tabs:
        ask(laboratory, "begin", tab=tab, settings=SMALL)
    with pytest.raises(InputError, match="this tab has no game .the laboratory keeps the last 8"):
        ask(laboratory, "look", tab=tabs[0])
    ask(laboratory, "look", tab=tabs[-1])


def test_a_message_can_be_unpacked():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros((0, 2)), "c": np.float32([1.5])}
    header, found = unpacked(packed({"text": "é"}, arrays))
    assert header["text"] == "é" and found["c"] == 1.5
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_the_controls_are_all_settings_and_presets():
    known = json.loads(json.dumps(controls()))
    assert known["settings"]["hidden"]["maximum"] == 512
    assert "relativistic" in known["settings"]["loss"]["choices"]
    assert known["settings"]["minibatch_stddev"]["default"] is False
    assert list(known["presets"]) == list(PRESETS)


# The script


@pytest.mark.parametrize(
    "settings, points, steps",
    [
        (SMALL | {"loss": "relativistic", "r1": 0.2, "r2": 0.1}, None, 7),
        (SMALL | {"lr": "linear:1e-3:1e-4", "steps": 30, "minibatch_stddev": True}, None, 20),
        (SMALL, [[0.5, -1.25], [1.0, 2.0]], 4),
        ({}, None, 0),
    ],
)
def test_the_script_plays_the_same_game(laboratory, tmp_path, settings, points, steps):
    """To all digits."""
    ask(laboratory, "begin", settings=settings, points=points)
    if steps:
        ask(laboratory, "steps", n=steps)
    code = ask(laboratory, "code")[0]["code"]
    (tmp_path / "game.py").write_text(code)
    run = subprocess.run(
        [sys.executable, "game.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    game = laboratory.games["a"][0]
    lines = run.stdout.splitlines()
    assert bool(lines) == bool(steps)
    if steps:
        row = game.history[-1]
        assert lines[-1] == f"step {steps}: d_loss {row['d_loss']!r}, g_loss {row['g_loss']!r}"
    assert max(map(len, code.splitlines())) <= 100


def test_the_script_of_a_wrong_setting_is_refused():
    with pytest.raises(InputError, match="unknown setting"):
        script({"hiden": 3}, None, 1)
    with pytest.raises(InputError, match="steps=-1"):
        script({}, None, -1)


# The server


@pytest.fixture
def served(laboratory):
    """A server that runs, with the laboratory's answers."""
    pages = ["lab.html", "lab.js", "style.css"]
    running = server.Server(laboratory.reply, pages, {"known": 1})
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def request(served, method="GET", path="", body=None, token=None, **headers):
    """Return (status, headers, body) of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    token = served.token if token is None else token
    if method == "POST":
        headers = {"Content-Type": "application/json"} | headers
    connection.request(method, f"/{token}/{path}", body, headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_server_serves_its_pages_and_answers(served):
    status, headers, page = request(served)
    assert status == 200 and b"<!doctype html>" in page and "text/html" in headers["Content-Type"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert request(served, path="lab.js")[1]["Content-Type"].startswith("text/javascript")
    assert json.loads(request(served, path="constants")[2]) == {"known": 1}
    question = {"tab": "a", "do": "begin", "settings": SMALL}
    status, _, answer = request(served, "POST", "ask", json.dumps(question))
    assert status == 200 and unpacked(answer)[0]["step"] == 0
    question["settings"] = {"hiden": 1}
    status, headers, answer = request(served, "POST", "ask", json.dumps(question))
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert b"unknown setting 'hiden'" in answer and b"\n" not in answer


@pytest.mark.parametrize(
    "way",
    [
        {"token": "wrong"},
        {"token": ""},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"method": "POST", "body": "{}", "Origin": "https://127.0.0.1"},
    ],
)
def test_requests_from_elsewhere_are_refused(served, way):
    status, _, body = request(served, **{"path": "constants"} | way)
    assert status == 403 and served.token.encode() not in body


@pytest.mark.parametrize(
    "way, message",
    [
        ({"body": "{"}, b"which this is not"),
        ({"body": "[" * 100_000}, b"which this is not"),
        ({"body": "[]"}, b"is an object"),
        ({"body": "{}", "Content-Type": "text/plain"}, b"a request is JSON"),
        ({"body": "{}", "Content-Length": "1048577"}, b"at most 1,048,576 bytes"),
        ({"body": "{}", "Content-Length": "many"}, b"at most 1,048,576 bytes"),
        ({"body": "{}", "path": "other"}, b"nothing to ask"),
    ],
)
def test_wrong_posts_are_refused_in_one_line(served, way, message):
    status, _, body = request(served, "POST", **{"path": "ask"} | way)
    assert status == 400 and message in body and b"\n" not in body


@pytest.mark.parametrize(
    "path", ["../pyproject.toml", "%2e%2e/game.py", "/etc/passwd", "lab.html/..", "page/lab.html"]
)
def test_no_path_of_the_disk_is_served(served, path):
    assert request(served, path=path)[0] in (403, 404)


def test_a_port_that_is_taken_is_refused(served, laboratory):
    with pytest.raises(InputError, match=f"--port {served.port}: .*: choose another"):
        server.Server(laboratory.reply, ["lab.html"], {}, served.port)


def test_the_server_is_closed_by_an_interrupt_and_can_be_started_again(laboratory, monkeypatch):
    said, port = [], None
    monkeypatch.setattr(server.webbrowser, "open", lambda address: said.append("opened"))
    monkeypatch.setenv("DISPLAY", ":0")
    for _ in range(2):
        running = server.Server(laboratory.reply, ["lab.html"], {}, port or 0)
        port = running.port

        def interrupted():
            raise KeyboardInterrupt

        monkeypatch.setattr(running, "serve_forever", interrupted)
        server.serve(running, True, said.append)
        assert said[0].startswith(f"open http://127.0.0.1:{port}/")
        assert said[1:] == ["opened", "closed"]
        said.clear()


# One backward pass


@pytest.mark.parametrize("name", backward.EXPRESSIONS)
def test_a_walk_shows_every_value_and_every_second_derivative(laboratory, name):
    header, _ = ask(laboratory, "walk", expression=name, order=2)
    walk = header["walk"]
    passes = [step["pass"] for step in walk["steps"]]
    assert sorted({*passes}) == ["backward", "forward", "second"]
    assert passes == sorted(passes, key=["forward", "backward", "second"].index)
    assert {s["node"] for s in walk["steps"] if s["shows"] == "value"} == set(
        range(len(walk["nodes"]))
    )
    inside = lambda p: 0 <= p[0] <= walk["size"][0] and 0 <= p[1] <= walk["size"][1]
    assert all(inside(node["centre"]) for node in walk["nodes"])
    assert all(inside(point) for edge in walk["edges"] for point in edge["points"])


def test_the_walks_have_the_right_numbers(laboratory):
    def shown(expression, order, **inputs):
        walk = ask(laboratory, "walk", expression=expression, order=order, inputs=inputs)[0]["walk"]
        return {node["name"]: node for node in walk["nodes"]}, walk

    nodes, _ = shown("x y + x", 2, x=5.0, y=-2.0)
    assert nodes["dx"]["value"] == "-1" and nodes["y"]["gradient"] == "1"
    nodes, walk = shown("x y + x", 1)
    assert all(node["gradient"] is None for node in walk["nodes"])
    assert {step["pass"] for step in walk["steps"]} == {"forward", "backward"}
    # R1 of D by finite differences
    x, w1, w2 = np.array([[1.0, 0.5]]), np.array(backward.W1), np.array(backward.W2)

    def r1(w2):
        slopes = np.where(x @ w1 > 0, 1.0, 0.2)[0]
        return 0.5 * ((w1 @ (slopes * w2)) ** 2).sum()

    nodes, walk = shown("R1", 2)
    assert float(walk["nodes"][-1]["value"]) == pytest.approx(r1(w2), rel=1e-3)
    differences = [(r1(w2 + e) - r1(w2 - e)) / 2e-6 for e in 1e-6 * np.eye(2)]
    assert json.loads(nodes["w2"]["gradient"]) == pytest.approx(differences, rel=1e-3)


@pytest.mark.parametrize(
    "question, message",
    [
        ({"expression": "x^2"}, "expression 'x^2'"),
        ({"expression": "D(x)", "order": 3}, "order=3"),
        ({"expression": "D(x)", "inputs": {"v": 1}}, "unknown input 'v'"),
        ({"expression": "D(x)", "inputs": {"x": [1]}}, "x must be numbers of shape (1, 2)"),
        ({"expression": "D(x)", "inputs": {"x": ["a", 1]}}, "x must be numbers"),
        ({"expression": "x y + x", "inputs": {"x": float("nan")}}, "x must be numbers"),
        ({"expression": "x y + x", "inputs": 3}, "inputs: must be an object"),
    ],
)
def test_a_wrong_walk_is_refused(laboratory, question, message):
    with pytest.raises(InputError) as caught:
        laboratory.reply({"tab": "a", "do": "walk"} | question)
    assert message in str(caught.value)


# A run as a page


def test_a_run_becomes_one_page(tmp_path):
    words = ["--steps", "30", "--set", "hidden=16", "batch_size=8", "sample_every=10"]
    run, page = str(tmp_path / "run"), tmp_path / "run.html"
    words += ["eval_every=10", "eval_images=100"]
    assert main(["train", "gan", "--out", run, *words]) == 0
    assert main(["animate", run, "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "src=" not in text
    told = json.loads(re.search(r'id="run">(.*?)</script>', text, re.DOTALL)[1])
    assert [grid["step"] for grid in told["grids"]] == [0, 10, 20, 30]
    assert told["settings"]["hidden"] == "16" and told["steps"] == 30
    assert {"losses", "D's mean logits", "FID (held-out images)"} <= {*told["curves"]}
    assert len(told["curves"]["FID (held-out images)"]["FID"]) == 3


def test_a_long_run_becomes_a_page_of_a_megabyte():
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(40, 200, 200, 1), dtype=np.uint8).repeat(3, 3)
    log = [{"step": i, "d_loss": i / 7, "g_loss": float("nan")} for i in range(5000)]
    page = run_page("</script><b>", list(enumerate(noise)), log, [], {"a": "</script>"})
    assert 300_000 < len(page) < 1_400_000 and page.count("</script>") == 2
    told = json.loads(re.search(r'id="run">(.*?)</script>', page, re.DOTALL)[1])
    assert told["title"] == "</script><b>" and told["grids"][-1]["step"] == 39
    assert len(told["curves"]["losses"]["D"]) <= 500 and told["curves"]["losses"]["G"] == []
