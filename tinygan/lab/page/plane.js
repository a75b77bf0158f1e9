// Drawing: the plane with D's heat map, points, arrows and the manifold; and curves.

import { colour } from "./wire.js";

// Fit a canvas to its size on the screen. Return its context and its side in CSS pixels.
export function fitted(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return { context, width, height };
}

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

// Draw a map (k x k, rows of equal y, from below) between the colours of fake and real. Its
// contrast follows its range: near equilibrium D is flat. Return [lowest, highest] value.
export function drawMap(canvas, map, middle) {
  const k = map.shape[0];
  const [low, high] = map.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [1e30, -1e30]);
  const reach = Math.max(high - middle, middle - low, 1e-9);
  const [ground, real, fake] = ["ground", "real", "fake"].map((name) => rgb(colour(name)));
  const image = new ImageData(k, k);
  for (let row = 0; row < k; row++) {
    for (let column = 0; column < k; column++) {
      const share = ((map[row * k + column] - middle) / reach) * 0.6;
      const towards = share > 0 ? real : fake;
      const at = 4 * ((k - 1 - row) * k + column);
      for (let c = 0; c < 3; c++) {
        image.data[at + c] = ground[c] + Math.abs(share) * (towards[c] - ground[c]);
      }
      image.data[at + 3] = 255;
    }
  }
  const small = new OffscreenCanvas(k, k);
  small.getContext("2d").putImageData(image, 0, 0);
  const { context, width, height } = fitted(canvas);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, width, height);
  return [low, high];
}

// Return functions from the plane to the canvas and back, for a window [low, high].
export function scales(canvas, [low, high]) {
  const { width, height } = canvas.getBoundingClientRect();
  return {
    x: (v) => ((v - low) / (high - low)) * width,
    y: (v) => ((high - v) / (high - low)) * height,
    point: (px, py) => [low + (px / width) * (high - low), high - (py / height) * (high - low)],
  };
}

export function drawPoints(canvas, points, name, radius, scale) {
  const context = canvas.getContext("2d");
  context.fillStyle = colour(name);
  for (let i = 0; i < points.length; i += 2) {
    context.beginPath();
    context.arc(scale.x(points[i]), scale.y(points[i + 1]), radius, 0, 7);
    context.fill();
  }
}

// Arrows on one scale for all games, so that a short one means a small gradient: their length
// follows the root of the gradient's, up to a tenth of the plane for a gradient of 4 or more.
export function drawArrows(canvas, from, arrows, scale) {
  const context = canvas.getContext("2d");
  const { width } = canvas.getBoundingClientRect();
  context.strokeStyle = colour("ink");
  context.lineWidth = 1;
  for (let i = 0; i < Math.min(arrows.length / 2, 80); i++) {
    const size = Math.hypot(arrows[2 * i], arrows[2 * i + 1]);
    const length = 0.1 * width * Math.sqrt(Math.min(size, 4) / 4);
    if (length < 2) continue;
    const share = length / size;
    const [x, y] = [scale.x(from[2 * i]), scale.y(from[2 * i + 1])];
    const [dx, dy] = [arrows[2 * i] * share, -arrows[2 * i + 1] * share];
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + dx, y + dy);
    context.lineTo(x + 0.75 * dx - 0.12 * dy, y + 0.75 * dy + 0.12 * dx);
    context.moveTo(x + dx, y + dy);
    context.lineTo(x + 0.75 * dx + 0.12 * dy, y + 0.75 * dy - 0.12 * dx);
    context.stroke();
  }
}

export function drawLines(canvas, from, to, scale) {
  const context = canvas.getContext("2d");
  context.strokeStyle = colour("fake");
  context.lineWidth = 1.5;
  for (let i = 0; i < from.length; i += 2) {
    context.beginPath();
    context.moveTo(scale.x(from[i]), scale.y(from[i + 1]));
    context.lineTo(scale.x(to[i]), scale.y(to[i + 1]));
    context.stroke();
  }
}

// Where D's map has changed most: + where it has risen, - where it has fallen.
export function drawChange(canvas, before, map, axis, scale) {
  const k = map.shape[0];
  const changes = map.map((v, i) => v - before[i]);
  const largest = Math.max(changes.reduce((most, v) => Math.max(most, Math.abs(v)), 0), 1e-12);
  const context = canvas.getContext("2d");
  for (let row = 1; row < k; row += 3) {
    for (let column = 1; column < k; column += 3) {
      const change = changes[row * k + column] / largest;
      const size = 7 * Math.sqrt(Math.abs(change));
      if (size < 2) continue;
      const [x, y] = [scale.x(axis[column]), scale.y(axis[row])];
      context.strokeStyle = colour(change > 0 ? "real" : "fake");
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x - size, y);
      context.lineTo(x + size, y);
      if (change > 0) { context.moveTo(x, y - size); context.lineTo(x, y + size); }
      context.stroke();
    }
  }
}

// The manifold: G's points of a grid of latents, (m, n, 2), as two families of lines.
export function drawManifold(canvas, manifold, scale) {
  const [m, n] = manifold.shape;
  const context = canvas.getContext("2d");
  context.strokeStyle = colour("faint");
  context.lineWidth = 1;
  const line = (count, index) => {
    context.beginPath();
    for (let i = 0; i < count; i++) {
      const at = 2 * index(i);
      context.lineTo(scale.x(manifold[at]), scale.y(manifold[at + 1]));
    }
    context.stroke();
  };
  for (let row = 0; row < m; row++) line(n, (i) => row * n + i);
  for (let column = 0; column < n; column++) line(m, (i) => i * n + column);
}

// Curves over time: [[values, colour], ...], with the range written at the axis.
export function drawCurves(canvas, curves, range = null) {
  const { context, width, height } = fitted(canvas);
  context.clearRect(0, 0, width, height);
  const all = curves.flatMap(([values]) => values.slice(-2000));
  if (!all.length) return;
  let [low, high] = range ?? [Math.min(...all), Math.max(...all)];
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  context.fillStyle = colour("faint");
  context.font = "11px system-ui";
  context.fillText(high.toPrecision(3), 3, 11);
  context.fillText(low.toPrecision(3), 3, height - 4);
  for (const [values, name] of curves) {
    const count = values.length;
    const every = Math.max(1, Math.floor(count / width));
    context.strokeStyle = colour(name);
    context.lineWidth = 1.5;
    context.beginPath();
    for (let i = 0; i < count; i += every) {
      const x = 36 + ((width - 40) * i) / Math.max(count - 1, 1);
      context.lineTo(x, height - 4 - ((height - 8) * (values[i] - low)) / (high - low));
    }
    context.stroke();
  }
}
