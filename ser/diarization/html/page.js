"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const player = document.querySelector("audio");
const axis = document.getElementById("axis");
const classes = data.classes.length;
const channels = [...document.querySelectorAll(".channel")].map((section, i) => ({
  lane: section.querySelector(".lane"), wave: section.querySelector(".wave"), inner: section.querySelector(".inner"),
  stack: section.querySelector(".posteriors"), head: section.querySelector(".head"),
  reading: section.querySelector(".reading"), peaks: new Int8Array(bytes(data.channels[i].peaks).buffer),
  values: bytes(data.channels[i].posteriors),
}));
const least = Math.min(1, data.duration); // seconds in sight at most zoom
let start = 0, span = data.duration, now = 0, stop = null, asked = false;

function show(from, length) {
  span = Math.min(data.duration, Math.max(least, length));
  start = Math.min(data.duration - span, Math.max(0, from));
  redraw();
}

function zoom(factor, at) {
  show(at - (at - start) * factor, span * factor);
}

function redraw() {
  if (!asked) requestAnimationFrame(() => { asked = false; draw(); });
  asked = true;
}

function open(canvas) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  return [c, width, height];
}

function clock(t) {
  return `${Math.floor(t / 60)}:${(t % 60).toFixed(1).padStart(4, "0")}`;
}

function draw() {
  const ink = getComputedStyle(document.body).color;
  drawAxis(ink);
  for (const one of channels) {
    drawWave(one, ink);
    drawPosteriors(one);
    one.inner.style.width = `${100 * data.duration / span}%`;
    one.inner.style.transform = `translateX(${-100 * start / data.duration}%)`;
  }
  place();
}

function drawAxis(ink) {
  const [c, width, height] = open(axis);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find(s => s / span * width >= 60) || 7200;
  c.fillStyle = ink;
  c.font = "12px system-ui, sans-serif";
  for (let n = Math.ceil(start / step); n * step <= start + span; n++) {
    const x = (n * step - start) / span * width;
    c.fillRect(x, height - 5, 1, 5);
    if (x < width - 40) c.fillText(clock(n * step), x + 3, height - 8);
  }
}

function drawWave(one, ink) {
  const [c, width, height] = open(one.wave), count = one.peaks.length / 2;
  c.fillStyle = ink;
  for (let x = 0; x < width; x++) {
    const from = Math.floor((start + x / width * span) * data.peakRate);
    const to = Math.min(count, Math.max(from + 1, Math.ceil((start + (x + 1) / width * span) * data.peakRate)));
    let low = 127, high = -127;
    for (let i = from; i < to; i++) {
      if (one.peaks[2 * i] < low) low = one.peaks[2 * i];
      if (one.peaks[2 * i + 1] > high) high = one.peaks[2 * i + 1];
    }
    if (from < to) c.fillRect(x, height / 2 * (1 - high / 127), 1, Math.max(1, height / 2 * (high - low) / 127));
  }
}

function drawPosteriors(one) {
  const [c, width, height] = open(one.stack), cells = one.values.length / classes, columns = Math.ceil(width);
  const sums = new Float32Array(columns * (classes + 1)); // of the classes so far, 0 to 1
  for (let x = 0; x < columns; x++) {
    const from = Math.min(cells - 1, Math.floor((start + x / width * span) / data.hop));
    const to = Math.min(cells, Math.max(from + 1, Math.floor((start + (x + 1) / width * span) / data.hop)));
    for (let k = 0; k < classes; k++) {
      let sum = 0;
      for (let i = from; i < to; i++) sum += one.values[i * classes + k];
      sums[x * (classes + 1) + k + 1] = sums[x * (classes + 1) + k] + sum / (to - from) / 255;
    }
  }
  for (let k = 0; k < classes; k++) {
    c.fillStyle = data.colours[k];
    c.beginPath();
    for (let x = 0; x < columns; x++) {
      const top = height * (1 - sums[x * (classes + 1) + k + 1]), bottom = height * (1 - sums[x * (classes + 1) + k]);
      c.rect(x, top, 1, bottom - top);
    }
    c.fill();
  }
}

function place() {
  const x = (now - start) / span;
  for (const one of channels) {
    one.head.hidden = x < 0 || x > 1;
    one.head.style.display = one.head.hidden ? "none" : "block";
    one.head.style.left = `${100 * x}%`;
    const cell = Math.min(one.values.length / classes - 1, Math.floor(now / data.hop));
    const values = data.classes.map((name, k) => `${name.replace("_", " ")} ${Math.round(one.values[cell * classes + k] / 2.55)} %`);
    one.reading.textContent = `${clock(now)}: ${values.join(", ")}`;
  }
}

function seek(time) {
  now = Math.min(data.duration, Math.max(0, time));
  if (player) player.currentTime = now;
  if (now < start || now > start + span) show(now - span / 2, span);
  place();
}

function play(from, to) {
  seek(from);
  if (!player) return;
  stop = to;
  player.play().catch(() => { stop = null; });
}

function update() {
  now = player.currentTime;
  if (stop !== null && now >= stop) player.pause();
  if (now > start + span) show(now, span);
  place();
}

function follow() {
  update();
  if (!player.paused) requestAnimationFrame(follow);
}

if (player) {
  player.addEventListener("play", follow);
  player.addEventListener("pause", () => { stop = null; });
  for (const kind of ["seeked", "timeupdate"]) player.addEventListener(kind, update); // in a hidden tab, too
}
const middle = () => now >= start && now <= start + span ? now : start + span / 2;
const actions = {
  in: () => zoom(0.5, middle()), out: () => zoom(2, middle()), all: () => show(0, data.duration),
  earlier: () => show(start - span / 2, span), later: () => show(start + span / 2, span),
};
for (const [id, action] of Object.entries(actions)) document.getElementById(id).addEventListener("click", action);

let drag = null, dragged = false;
for (const { lane } of channels) {
  const timeAt = event => start + (event.clientX - lane.getBoundingClientRect().left) / lane.clientWidth * span;
  lane.addEventListener("pointerdown", event => { drag = { lane, x: event.clientX, start }; dragged = false; });
  lane.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.8 : 1.25, timeAt(event));
  }, { passive: false });
  lane.addEventListener("click", event => {
    if (!dragged && !event.target.closest(".segment")) seek(timeAt(event));
  });
}
addEventListener("pointermove", event => {
  if (!drag || (!dragged && Math.abs(event.clientX - drag.x) < 5)) return;
  dragged = true;
  show(drag.start - (event.clientX - drag.x) / drag.lane.clientWidth * span, span);
});
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { drag = null; });
document.addEventListener("click", event => {
  const button = event.target.closest("[data-start]");
  if (button && !(dragged && button.closest(".lane"))) play(Number(button.dataset.start), Number(button.dataset.end));
});
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
draw();
