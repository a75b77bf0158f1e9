// What all pages share: questions to the server, and its answers.

// One question at a time: a question waits until the one before is answered.
let last = Promise.resolve();

export function ask(question) {
  const answer = last.then(() => post(question));
  last = answer.catch(() => {});
  return answer.then(unpacked);
}

// The bytes of an answer that is a file, such as a PNG.
export function askForBytes(question) {
  const answer = last.then(() => post(question));
  last = answer.catch(() => {});
  return answer;
}

async function post(question) {
  let response;
  try {
    response = await fetch("ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
  } catch {
    throw new Error("no answer");
  }
  if (!response.ok || response.headers.get("Content-Type").startsWith("text/plain")) {
    throw new Error(await response.text());
  }
  return response.arrayBuffer();
}

// A message: the header's length, the header (JSON), then float32 arrays: see lab/requests.py.
export function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const arrays = {};
  for (const [name, shape] of header.arrays) {
    const size = shape.reduce((a, b) => a * b, 1);
    arrays[name] = new Float32Array(buffer, at, size);
    arrays[name].shape = shape;
    at += 4 * size;
  }
  return { header, ...arrays };
}

export async function constants() {
  return (await fetch("constants")).json();
}

export const tab = Math.random().toString(36).slice(2);

export function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function save(name, parts, type) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// A colour of the style sheet, which differs between light and dark.
export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
