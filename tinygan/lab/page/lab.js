// The laboratory: a game on points. Training happens in the requests; this page asks and draws.

import { ask, constants, element, save, tab } from "./wire.js";
import {
  drawArrows, drawChange, drawCurves, drawLines, drawManifold, drawMap, drawPoints, fitted, scales
} from "./plane.js";
import { t, translatePage } from "./words.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [["slow motion", 1], [1, 1], [5, 5], [20, 20], [100, 100]];
const GROUPS = {  // what is shown at once; all other settings are folded away
  "data and seed": ["data", "seed", "batch_size", "latent"],
  "loss and penalties": ["loss", "r1", "r2", "gp", "clip", "unroll", "minibatch_stddev"],
  "optimiser": ["optimizer", "lr", "d_lr", "d_steps", "beta1"],
  "networks": ["hidden", "layers", "activation", "d_hidden", "d_layers", "d_activation", "dirac"],
};
const HIDDEN = new Set(["steps", "micro_batch", "train_size", "pad", "standing", "sample_every",
  "checkpoint_every", "keep", "eval_every", "eval_images", "pack", "augment", "policy",
  "augment_where", "ada_p", "ada_target", "ada_kimg", "freeze", "ema", "ema_images", "ema_start",
  "g_class", "d_class", "embedding", "class_weight", "balanced_batches", "penalty",
  "penalty_weight", "cr", "bcr", "path_length", "path_every"]);

let known;  // the settings and presets that the server knows
let chosen = { settings: {}, points: null };
let frame = null;
let history = [];
let playing = false;
let before = null;  // inside a step: the frame before D's half or G's, to show what has changed
let drawn = null;  // the points while one draws them; else null
let cursor = [0, 0];
let best = null;

// ---- asking ----

async function question(what) {
  try {
    const answer = await ask({ tab, rows: history.length, ...what });
    $("error").textContent = "";
    return answer;
  } catch (error) {
    playing = false;
    showButtons();
    $("error").textContent = t(error.message);
    return null;
  }
}

function take(answer) {
  if (!answer) return;
  frame = answer;
  const columns = answer.header.columns.length;
  if (answer.header.rows === 0) history = [];
  for (let i = 0; i < answer.history.length; i += columns) {
    history.push(Array.from(answer.history.subarray(i, i + columns)));
  }
  draw();
}

async function begin() {
  playing = false;
  history = [];
  before = best = null;
  const answer = await question({ do: "begin", rows: 0, ...chosen });
  if (answer) location.hash = encodeURIComponent(JSON.stringify(chosen));
  take(answer);
  $("said").textContent = "";
  showButtons();
  await askForBest();
}

async function advance(n) {
  before = null;
  $("said").textContent = "";
  take(await question({ do: "steps", n }));
}

async function half() {
  const wasG = frame?.header.next_half === "G";
  const old = frame;
  const answer = await question({ do: "half" });
  if (answer) {
    before = old;
    $("said").textContent = t(
      wasG
        ? "G has moved its fakes (lines: from where). Next, D learns."
        : "D has learned: its output has risen at + and fallen at -. Next, G moves along the arrows."
    );
  }
  take(answer);
  await askForBest();
}

async function play() {
  playing = !playing;
  showButtons();
  let frames = 0;
  while (playing) {
    const [name, n] = SPEEDS[$("speed").value];
    await advance(n);
    if (++frames % 10 === 0) await askForBest();
    if (name === "slow motion") await new Promise((done) => setTimeout(done, 400));
    await new Promise(requestAnimationFrame);
  }
  await askForBest();
}

async function askForBest() {
  $("best").hidden = !$("optimal").checked;
  if (!$("optimal").checked || !frame) return;
  best = await question({ do: "optimal" });
  if (best) drawBest();
}

// ---- drawing ----

function windowOf() {
  if (drawn || !frame) return [-3, 3];
  return [frame.axis[0], frame.axis[frame.axis.length - 1]];
}

function draw() {
  const plane = $("plane");
  const scale = scales(plane, windowOf());
  if (drawn) {
    const { context, width, height } = fitted(plane);
    context.clearRect(0, 0, width, height);
    drawPoints(plane, drawn.flat(), "real", 3, scale);
    context.strokeRect(scale.x(cursor[0]) - 5, scale.y(cursor[1]) - 5, 10, 10);
    $("step").textContent = `${drawn.length} ${t("points")}`;
    return;
  }
  if (!frame) return;
  const halfIsDone = frame.header.next_half === "G";
  const [low, high] = drawMap(plane, frame.heat_map, frame.header.middle);
  if ($("manifold").checked) drawManifold(plane, frame.manifold, scale);
  drawPoints(plane, frame.reals, "real", 3, scale);
  if (before && !halfIsDone) drawLines(plane, before.fakes, frame.fakes, scale);
  drawPoints(plane, frame.fakes, "fake", 2.2, scale);
  if ($("arrows").checked) drawArrows(plane, frame.fakes, frame.arrows, scale);
  if (before && halfIsDone) {
    drawChange(plane, before.heat_map, frame.heat_map, frame.axis, scale);
  }
  const turn = halfIsDone ? `, ${t("G's turn")}` : "";
  $("step").textContent = `${frame.header.step} ${t("steps")}${turn}`;
  $("range").textContent =
    `${t("D's output from")} ${low.toPrecision(3)} ${t("to")} ${high.toPrecision(3)}`;
  plane.setAttribute("aria-label", $("range").textContent);
  drawCurves($("curves"), [[history.map((row) => row[0]), "real"],
    [history.map((row) => row[1]), "fake"]]);
  drawCurves($("accuracy"), [[history.map((row) => row[2]), "accent"]], [0, 1]);
}

function drawBest() {
  drawMap($("plane-of-best"), best.D, 0.5);
  const loss = frame.header.numbers.d_loss;
  const seen = frame.header.probability && loss !== undefined
    ? `; ${t("D's loss shows")} ${(Math.log(2) - loss / 2).toFixed(3)}` : "";
  $("divergence").textContent =
    `${t("optimal D")}: ${t("divergence")} ${best.header.jsd.toFixed(3)}${seen}`;
}

function showButtons() {
  $("play").textContent = t(playing ? "pause" : "play");
  for (const id of ["use", "clear"]) $(id).hidden = !drawn;
}

// ---- controls ----

function control(name) {
  const { default: usual, choices, minimum, maximum, doc } = known.settings[name];
  const value = chosen.settings[name] ?? usual;
  let input;
  if (choices) {
    const options = choices.map((choice) =>
      element("option", { value: choice, selected: choice === value }, choice));
    input = element("select", {}, ...options);
  } else if (typeof usual === "boolean") {
    input = element("input", { type: "checkbox", checked: value });
  } else {
    input = element("input", { type: "text", inputmode: "decimal", value: String(value) });
  }
  input.name = input.id = name;
  const range = minimum === null && maximum === null ? ""
    : ` (${minimum ?? "-∞"} - ${maximum ?? "∞"})`;
  input.addEventListener("change", () => set(name, read(input, usual)));
  return element("label", { title: doc + range }, element("span", {}, name), input);
}

// The value of an input: a number where a number is usual, else the text (such as a schedule).
function read(input, usual) {
  if (input.type === "checkbox") return input.checked;
  const text = input.value.trim();
  return typeof usual === "number" && text !== "" && isFinite(text) ? Number(text) : text;
}

function set(name, value) {
  if (value === known.settings[name].default) delete chosen.settings[name];
  else chosen.settings[name] = value;
  if (name === "data" && value !== "drawn") chosen.points = null;
  $("preset").value = "";
  $("text").textContent = "";
  if (name === "data" && value === "drawn" && !chosen.points) return startDrawing();
  return begin();
}

function showControls() {
  const shown = new Set(Object.values(GROUPS).flat());
  const groups = Object.entries(GROUPS).map(([title, names]) => element("fieldset", {},
    element("legend", {}, t(title)), ...names.map(control)));
  const others = Object.keys(known.settings)
    .filter((name) => !shown.has(name) && !HIDDEN.has(name));
  const more = element("details", {}, element("summary", {}, t("all other settings")),
    ...others.map(control));
  $("controls").replaceChildren(...groups, element("fieldset", {}, more));
}

function choosePreset(name) {
  if (!(name in known.presets)) return;
  const { settings, points, text } = known.presets[name];
  chosen = { settings: { ...settings }, points };
  drawn = null;
  showControls();
  $("text").textContent = t(text);
  begin();
}

// ---- points of one's own ----

function startDrawing() {
  playing = false;
  drawn = [];
  $("said").textContent =
    t("Draw with the pointer, or move with the arrow keys and press Enter.");
  showButtons();
  draw();
  $("plane").focus();
}

function addPoint(point) {
  if (!drawn || drawn.length >= known.limits.points) return;
  const rounded = point.map((v) => Math.round(v * 1000) / 1000);
  const end = drawn[drawn.length - 1];
  if (end && Math.hypot(end[0] - rounded[0], end[1] - rounded[1]) < 0.03) return;
  drawn.push(rounded);
  draw();
}

function usePoints() {
  if (!drawn.length) return;
  chosen.points = drawn;
  chosen.settings.data = "drawn";
  drawn = null;
  showControls();
  begin();
}

function pointAt(event) {
  const box = $("plane").getBoundingClientRect();
  return scales($("plane"), windowOf()).point(event.clientX - box.left, event.clientY - box.top);
}

function keyOnPlane(event) {
  if (!drawn) return;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  if (event.key in moves) {
    cursor = cursor.map((v, i) => Math.max(-3, Math.min(3, v + 0.15 * moves[event.key][i])));
  } else if (event.key === "Enter") addPoint(cursor);
  else return;
  event.preventDefault();
  draw();
}

// ---- the code ----

async function showCode() {
  const answer = await question({ do: "code" });
  if (!answer) return;
  $("script-text").textContent = answer.header.code;
  $("script").showModal();
}

// ---- the beginning ----

// The setting in the page's address, which a teacher may have sent. The server checks it.
function fromAddress() {
  if (location.hash.length < 2) return null;
  try {
    const { settings, points } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    if (typeof settings !== "object" || settings === null) throw new Error();
    return { settings, points: points ?? null };
  } catch {
    $("error").textContent = t("this address holds no settings that can be read");
    return null;
  }
}

function connect() {
  $("play").onclick = play;
  $("one").onclick = () => { playing = false; showButtons(); advance(1).then(askForBest); };
  $("half").onclick = () => { playing = false; showButtons(); half(); };
  $("again").onclick = begin;
  $("code").onclick = showCode;
  $("draw").onclick = startDrawing;
  $("use").onclick = usePoints;
  $("clear").onclick = () => { drawn = []; draw(); };
  $("copy").onclick = () => navigator.clipboard.writeText($("script-text").textContent);
  $("save").onclick = () => save("game.py", [$("script-text").textContent], "text/x-python");
  $("close").onclick = () => $("script").close();
  $("preset").onchange = (event) => choosePreset(event.target.value);
  $("controls").onsubmit = (event) => event.preventDefault();
  for (const id of ["arrows", "manifold"]) $(id).onchange = draw;
  $("optimal").onchange = askForBest;
  const plane = $("plane");
  plane.onpointerdown = (event) => {
    plane.setPointerCapture(event.pointerId);
    addPoint(pointAt(event));
  };
  plane.onpointermove = (event) => { if (event.buttons) addPoint(pointAt(event)); };
  plane.onkeydown = keyOnPlane;
  window.addEventListener("resize", draw);
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, button, dialog, textarea") || drawn) return;
    const keys = { " ": play, s: $("one").onclick, h: $("half").onclick };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
}

async function main() {
  translatePage();
  known = await constants();
  $("losses").replaceChildren(
    element("span", { class: "real" }, t("loss of D")), " ",
    element("span", { class: "fake" }, t("loss of G")));
  $("speed").replaceChildren(...SPEEDS.map(([name], i) => element("option", { value: String(i) },
    typeof name === "number" ? `${name} ${t("steps a frame")}` : t(name))));
  $("speed").value = "2";
  $("preset").replaceChildren(element("option", { value: "" }, t("(your own)")),
    ...Object.keys(known.presets).map((name) => element("option", { value: name }, t(name))));
  $("arrows").parentElement.title = t("how long");
  connect();
  const given = fromAddress();
  if (given) chosen = given;
  showControls();
  await begin();
}

// For tests, and for the curious: what the page knows.
window.lab = { frame: () => frame, history: () => history, drawn: () => drawn };
main();
