// The explorer: places in the latent space of a trained G, and the images there.

import { ask, askForBytes, constants, element, save } from "./wire.js";
import { drawPoints, fitted, scales } from "./plane.js";
import { t, translatePage } from "./words.js";

const $ = (id) => document.getElementById(id);
let run;  // what the server knows of the run
const place = { seed: 0, sliders: [], label: 0, noise: "fixed" };
let first = 0;  // the seed of the first image of the sheet
let between = [0.5, 0.5];
let pending = null;  // while an image is on its way: what to do next
const corners = () => [0, 1, 2, 3].map((i) => ({ ...shared(), seed: 101 + i, sliders: [] }));

function shared() {
  const { seed, sliders, ...rest } = place;
  return rest;
}

async function bytes(question) {
  try {
    const answer = await askForBytes(question);
    $("error").textContent = "";
    return answer;
  } catch (error) {
    $("error").textContent = t(error.message);
    return null;
  }
}

async function put(id, question) {
  const answer = await bytes(question);
  if (!answer) return;
  const image = typeof id === "string" ? $(id) : id;
  const old = image.src;
  image.src = URL.createObjectURL(new Blob([answer], { type: "image/png" }));
  image.hidden = false;
  await image.decode().catch(() => {});
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

// One image in flight, and then the latest: a slider asks faster than images come.
async function latest(what) {
  if (pending !== null) {
    pending = what;
    return;
  }
  pending = what;
  while (pending) {
    const now = pending;
    pending = false;
    await now();
  }
  pending = null;
}

const showImage = () => latest(async () => {
  $("nearest").hidden = true;
  $("distance").textContent = "";
  if (run.points) return showPoints();
  await put("image", { do: "image", place });
  $("place").textContent = place.projected === undefined ? `z: ${place.seed}`
    : `${t("real image number")} ${place.projected}`;
});

async function showPoints() {
  const answer = await ask({ do: "points", place }).catch((error) => {
    $("error").textContent = t(error.message);
  });
  if (!answer) return;
  const all = [...answer.fakes, ...answer.reals].map(Math.abs);
  const reach = 1.15 * Math.max(...all, 1e-6);
  const { context, width, height } = fitted($("plane"));
  context.clearRect(0, 0, width, height);
  const scale = scales($("plane"), [-reach, reach]);
  drawPoints($("plane"), answer.reals, "real", 2.5, scale);
  drawPoints($("plane"), answer.fakes, "fake", 1.8, scale);
}

const showSheet = () => put("sheet", { do: "sheet", first,
  place: { ...shared(), ...($("each").checked ? { label: null } : {}) } });

async function showCorners() {
  const images = [...$("square").querySelectorAll("img")];
  for (const [i, corner] of corners().entries()) {
    await put(images[i], { do: "image", place: corner });
  }
  await showBetween();
}

const showBetween = () => latest(async () => {
  $("pin").style.left = `${100 * between[0]}%`;
  $("pin").style.top = `${100 * between[1]}%`;
  await put("between", { do: "square", corners: corners(), u: between[0], v: between[1] });
});

async function showAll() {
  await showImage();
  if (run.points) return;
  await showSheet();
  await showCorners();
}

// ---- controls ----

// A whole number; or the text itself, about which the server then complains.
const whole = (text) => (/^\d+$/.test(text.trim()) ? Number(text) : text);

function range(name, low, high, step, value, change) {
  const input = element("input", { type: "range", min: String(low), max: String(high),
    step: String(step), value: String(value), id: name });
  input.addEventListener("input", () => change(Number(input.value)));
  return input;
}

function showControls() {
  const rows = [];
  const add = (title, input) => rows.push(element("label", {}, title, input));
  for (let i = 0; i < run.directions; i++) {
    place.sliders[i] = 0;
    add(`${t("direction")} ${i + 1} (${run.space})`,
      range(`direction-${i}`, -run.reach, run.reach, 0.1, 0, (value) => {
        place.sliders[i] = value;
        showImage();
      }));
  }
  const each = element("input", { type: "checkbox", id: "each", checked: true,
    onchange: showSheet });
  if (run.labels) {
    add(t("class"), element("select", { id: "label", onchange: (event) => {
      place.label = Number(event.target.value);
      delete place.projected;
      showAll();
    } }, ...Array.from({ length: run.labels }, (_, i) => element("option", {}, String(i)))));
  }
  add(t("all classes on the sheet"), each);
  if (run.truncation) {
    const usual = run.truncation === "psi" ? 1 : 3;
    add(`${t("truncation")} (${run.truncation})`, range("truncation", 0.1,
      run.truncation === "psi" ? 1.5 : 3, 0.05, usual, (value) => {
        place.truncation = value;
        showImage();
      }));
    $("controls").addEventListener("change", (event) => {
      if (event.target.id === "truncation") showAll();
    });
  }
  if (run.noise) {
    add(t("noise"), element("input", { type: "checkbox", id: "noise", checked: true,
      onchange: (event) => {
        place.noise = event.target.checked ? "fixed" : "none";
        showAll();
      } }));
  }
  if (run.layers) {
    const mixed = () => {
      const [seed, from, to] = ["mix-seed", "mix-from", "mix-to"].map((id) => whole($(id).value));
      place.mix = $("mix-seed").value === "" ? null : { seed, from, to };
      showImage();
    };
    add(t("mix styles from"), element("input", { id: "mix-seed", inputmode: "numeric",
      placeholder: "z", onchange: mixed }));
    add(`${t("layers")} ≥`, element("input", { id: "mix-from", value: "0", onchange: mixed }));
    add(`${t("layers")} <`, element("input", { id: "mix-to",
      value: String(Math.ceil(run.layers / 2)), onchange: mixed }));
  }
  if (run.reals && !run.points) {
    add(t("project an image"), element("input", { id: "projected", inputmode: "numeric",
      placeholder: `0 - ${run.reals - 1}`, onchange: project }));
  }
  $("controls").replaceChildren(...rows);
}

async function project(event) {
  if (event.target.value === "") delete place.projected;
  else place.projected = whole(event.target.value);
  $("place").textContent = "…";
  await showImage();
  if (place.projected !== undefined && !$("error").textContent) {
    await put("nearest", { do: "real", index: place.projected });
  }
}

function goTo(seed, label) {
  place.seed = seed;
  delete place.projected;
  if (run.labels && label !== undefined) {
    place.label = label;
    $("label").selectedIndex = label;
  }
  showImage();
}

function clickOnSheet(event) {
  const box = $("sheet").getBoundingClientRect();
  const column = Math.floor((10 * (event.clientX - box.left)) / box.width);
  const row = Math.floor((4 * (event.clientY - box.top)) / box.height);
  const index = 10 * Math.min(row, 3) + Math.min(column, 9);
  goTo(first + index, run.labels && $("each").checked ? index % run.labels : undefined);
}

function walkTo(event) {
  if (event.type === "pointermove" && !event.buttons) return;
  const box = $("square").getBoundingClientRect();
  between = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
    .map((v) => Math.max(0, Math.min(1, v)));
  showBetween();
}

function keyOnSquare(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  between = between.map((v, i) => Math.max(0, Math.min(1, v + 0.05 * moves[event.key][i])));
  showBetween();
}

async function findNearest() {
  try {
    const { header } = await ask({ do: "nearest", place });
    $("distance").textContent = `${header.index}: ${header.distance.toFixed(1)} / 255`;
    await put("nearest", { do: "real", index: header.index });
  } catch (error) {
    $("error").textContent = t(error.message);
  }
}

function connect() {
  $("other").onclick = () => goTo(Math.floor(Math.random() * 1e6));
  $("find").onclick = findNearest;
  $("previous").onclick = () => { first = Math.max(0, first - run.sheet); showSheet(); };
  $("next").onclick = () => { first += run.sheet; showSheet(); };
  $("sheet").onclick = clickOnSheet;
  $("square").onpointerdown = walkTo;
  $("square").onpointermove = walkTo;
  $("square").onkeydown = keyOnSquare;
  $("save").onclick = async () => {
    const picture = await bytes({ do: "image", place });
    if (picture) save("image.png", [picture], "image/png");
  };
  $("walk").onclick = async () => {
    const animation = await bytes({ do: "walk", corners: corners() });
    if (animation) save("walk.gif", [animation], "image/gif");
  };
  $("controls").onsubmit = (event) => event.preventDefault();
}

async function main() {
  translatePage();
  run = await constants();
  $("title").textContent = run.title;
  $("images-only").hidden = $("pictures").hidden = run.points;
  $("plane").hidden = !run.points;
  if (!run.labels) delete place.label;
  connect();
  showControls();
  await showAll();
}

// For tests, and for the curious: where we are.
window.explorer = { place };
main();
