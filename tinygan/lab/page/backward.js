// One backward pass, step by step: forward, backward, and backward through the backward pass.

import { ask, constants, element, tab } from "./wire.js";
import { t, translatePage } from "./words.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const PASSES = {
  forward: "forward: the value of an op follows from those above it",
  backward: "backward: an op of the backward pass, which is a graph as well",
  second: "second order: how the result changes with this value",
};

let known;
let walk = null;
let place = 0;
const chosen = { expression: "x y + x", order: 2, inputs: {} };

function svg(kind, attributes, ...children) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function load() {
  try {
    const answer = await ask({ tab, do: "walk", ...chosen });
    walk = answer.header.walk;
    $("error").textContent = "";
  } catch (error) {
    $("error").textContent = t(error.message);
    return;
  }
  place = 0;
  $("source").textContent = walk.source;
  show();
}

function show() {
  const steps = walk.steps.slice(0, place + 1);
  const shown = (i, what) => steps.some((s) => s.node === i && s.shows === what);
  const current = walk.steps[place];
  const [width, height] = walk.size;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img" });
  picture.style.maxWidth = `${1.3 * width}px`;
  for (const { points, flows } of walk.edges) {
    const [first, ...rest] = points;
    let path = `M ${first}`;
    let [x0, y0] = first;
    for (const [x, y] of rest) {
      path += ` C ${x0} ${(y0 + y) / 2} ${x} ${(y0 + y) / 2} ${x} ${y}`;
      [x0, y0] = [x, y];
    }
    picture.append(svg("path", { d: path, ...(flows ? {} : { "stroke-dasharray": "4 3" }) }));
  }
  walk.nodes.forEach((node, i) => {
    const [[x, y], [w, h]] = [node.centre, node.size];
    const names = [node.backward ? "second" : "", current.node === i ? "on" : ""].join(" ");
    const visible = shown(i, "value");
    picture.append(svg("rect", { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: 5,
      class: names, opacity: visible ? 1 : 0.35 }));
    const second = shown(i, "gradient") ? `∂ ${node.gradient}` : "";
    const lines = [node.title, visible ? node.value : "", second];
    lines.forEach((line, k) => picture.append(svg("text", { x, y: y - h / 2 + 16 + 15 * k,
      "text-anchor": "middle", "font-weight": k === 0 ? 600 : 400 }, line)));
  });
  $("graph").replaceChildren(picture);
  const node = walk.nodes[current.node];
  const value = current.shows === "value" ? node.value : node.gradient;
  $("said").textContent = `${t(PASSES[current.pass])}: ${node.name} → ${value}`;
  $("place").textContent = `${place + 1} / ${walk.steps.length}`;
}

function go(to) {
  if (!walk) return;
  place = Math.max(0, Math.min(walk.steps.length - 1, to));
  show();
}

// Numbers as they are typed: "2", or "1, 0.5" for a list, with ";" between rows.
function read(name, text) {
  const usual = known.expressions[chosen.expression][name];
  const rows = text.split(";").map((row) => row.split(",").map(Number));
  if (!Array.isArray(usual)) return rows[0][0];
  return Array.isArray(usual[0]) ? rows : rows[0];
}

const written = (value) => !Array.isArray(value) ? String(value)
  : value.map((part) => (Array.isArray(part) ? part.join(", ") : part)).join(
    Array.isArray(value[0]) ? "; " : ", ");

function showControls() {
  const choice = element("select", { id: "expression", onchange: (event) => {
    chosen.expression = event.target.value;
    chosen.inputs = {};
    showControls();
    load();
  } }, ...Object.keys(known.expressions).map((name) =>
    element("option", { value: name, selected: name === chosen.expression }, name)));
  const order = element("select", { id: "order", onchange: (event) => {
    chosen.order = Number(event.target.value);
    load();
  } }, ...[1, 2].map((n) =>
    element("option", { value: String(n), selected: n === chosen.order }, String(n))));
  const inputs = Object.entries(known.expressions[chosen.expression]).map(([name, usual]) =>
    element("label", {}, name, element("input", { id: `input-${name}`,
      value: written(chosen.inputs[name] ?? usual), onchange: (event) => {
        chosen.inputs[name] = read(name, event.target.value);
        load();
      } })));
  $("controls").replaceChildren(
    element("label", {}, t("expression"), choice), element("label", {}, t("order"), order),
    ...inputs);
}

async function main() {
  translatePage();
  known = await constants();
  $("first").onclick = () => go(0);
  $("back").onclick = () => go(place - 1);
  $("forward").onclick = () => go(place + 1);
  $("last").onclick = () => go(Infinity);
  $("controls").onsubmit = (event) => event.preventDefault();
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select")) return;
    if (event.key === "ArrowRight") go(place + 1);
    if (event.key === "ArrowLeft") go(place - 1);
  });
  showControls();
  await load();
}

main();
