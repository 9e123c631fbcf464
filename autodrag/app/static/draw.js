// Drawing of the overlay: arrows, pins, mask, brush. Positions are image pixels; `view` maps them to the canvas.

const ACCENT = "#ff6a3d";
const PIN = "#ffd166";
const SELECTED = "#5ad1ff";
const DARK = "rgb(20 16 12 / 75%)";

const ring = (g, [x, y], r, fill, line, width = 2) => {
  g.beginPath();
  g.arc(x, y, r, 0, 2 * Math.PI);
  if (fill) {
    g.fillStyle = fill;
    g.fill();
  }
  g.strokeStyle = line;
  g.lineWidth = width;
  g.stroke();
};

const path = (g, from, to, head) => {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  g.beginPath();
  g.moveTo(...from);
  g.lineTo(...to);
  for (const side of [-1, 1]) {
    g.moveTo(...to);
    g.lineTo(to[0] - head * Math.cos(angle + side * 0.5), to[1] - head * Math.sin(angle + side * 0.5));
  }
};

const arrow = (g, from, to) => {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  if (length < 5) return;
  g.lineCap = "round";
  for (const [width, colour] of [[5.5, DARK], [2.6, "#fff"]]) {
    path(g, from, to, Math.min(13, length * 0.6));
    g.lineWidth = width;
    g.strokeStyle = colour;
    g.stroke();
  }
};

export function drawArrows(g, view, arrows) {
  const { handles, targets, reached, pins } = arrows;
  const moved = !arrows.planned || arrows.pulling;
  const held = new Set(arrows.held.values());
  handles.forEach((handle, i) => {
    const start = view(handle);
    const now = view(reached[i] ?? handle);
    const tip = view(targets[i]);
    if (moved) ring(g, start, 3.5, "rgb(255 255 255 / 55%)", DARK, 1);
    arrow(g, now, tip);
    ring(g, now, held.has(i) ? 8.5 : 7, ACCENT, "#fff", 2.4);
    ring(g, now, held.has(i) ? 10 : 8.5, null, DARK, 1);
    if (arrows.selected === i) for (const place of [now, tip]) ring(g, place, 13, null, SELECTED, 2.5);
  });
  pins.forEach((pin) => {
    const [x, y] = view(pin);
    g.save();
    g.translate(x, y);
    g.rotate(Math.PI / 4);
    g.fillStyle = PIN;
    g.strokeStyle = DARK;
    g.lineWidth = 1.6;
    g.fillRect(-5.5, -5.5, 11, 11);
    g.strokeRect(-5.5, -5.5, 11, 11);
    g.restore();
  });
}

// The fixed part as a veil, from a mask that is white where the image may change.
export function veil(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const g = canvas.getContext("2d");
  g.drawImage(bitmap, 0, 0);
  const data = g.getImageData(0, 0, bitmap.width, bitmap.height);
  for (let i = 0; i < data.data.length; i += 4) {
    const kept = 255 - data.data[i];
    const stripe = ((i / 4) % bitmap.width + Math.floor(i / 4 / bitmap.width)) % 8 < 2 ? 1 : 0.72;
    data.data.set([18, 26, 44, kept * stripe], i);
  }
  g.putImageData(data, 0, 0);
  return canvas;
}

export function drawStroke(g, view, points, radius, what) {
  g.beginPath();
  points.forEach((p, i) => (i ? g.lineTo(...view(p)) : g.moveTo(...view(p))));
  if (points.length === 1) g.lineTo(view(points[0])[0] + 0.01, view(points[0])[1]);
  g.lineCap = g.lineJoin = "round";
  g.lineWidth = 2 * radius;
  g.strokeStyle = what === "keep" ? "rgb(18 26 44 / 60%)" : "rgb(255 255 255 / 45%)";
  g.stroke();
}

export function drawBrush(g, at, radius) {
  ring(g, at, radius, null, "#fff", 1.6);
  ring(g, at, radius + 1.2, null, DARK, 1);
}

export function drawCross(g, [x, y], held) {
  for (const [width, colour] of [[4.5, DARK], [2, held ? ACCENT : "#fff"]]) {
    g.beginPath();
    for (const [a, b] of [[-14, -5], [5, 14]]) {
      g.moveTo(x + a, y);
      g.lineTo(x + b, y);
      g.moveTo(x, y + a);
      g.lineTo(x, y + b);
    }
    g.lineWidth = width;
    g.strokeStyle = colour;
    g.stroke();
  }
}
