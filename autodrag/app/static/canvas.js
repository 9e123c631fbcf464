// The picture and its overlay; converts pointer positions to image pixels.

import { drawArrows, drawBrush, drawCross, drawStroke } from "./draw.js";

const REACH = { mouse: 14, pen: 16, touch: 24 }; // hit radius of points in CSS pixels

export class PictureCanvas {
  size = [1, 1];
  mask = null; // veil over the fixed part
  maskStrength = 0.5;
  stroke = null; // {points, radius, what}: the current brush stroke
  brush = 0; // radius in image pixels; 0: no brush
  hover = null;
  cross = null;
  arrows = null;
  quiet = false; // arrows hidden
  veiled = true; // whether to show the veil
  hand = false; // hand tool: pointers pan the view, also by touch
  zoom = 1;
  #queued = false;

  constructor(frame, picture, overlay) {
    Object.assign(this, { frame, picture, overlay });
    new ResizeObserver(() => this.redraw()).observe(frame);
    this.window = frame.parentElement;
    this.window.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  // Zoom by a factor around a position in the window (default: its centre).
  scaleBy(factor, x = this.window.clientWidth / 2, y = this.window.clientHeight / 2) {
    const before = this.frame.getBoundingClientRect();
    const box = this.window.getBoundingClientRect();
    const share = [(x + box.left - before.left) / before.width, (y + box.top - before.top) / before.height];
    this.zoom = Math.min(8, Math.max(1, this.zoom * factor));
    document.documentElement.style.setProperty("--zoom", this.zoom);
    document.body.dataset.zoomed = this.zoom > 1;
    const after = this.frame.getBoundingClientRect();
    this.scroll(x + box.left - after.left - share[0] * after.width, y + box.top - after.top - share[1] * after.height);
  }

  // Pan by CSS pixels.
  scroll(x, y) {
    this.window.scrollLeft -= x;
    this.window.scrollTop -= y;
  }

  #wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = this.window.getBoundingClientRect();
    this.scaleBy(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
  }

  resize([width, height]) {
    this.size = [width, height];
    document.documentElement.style.setProperty("--w", width);
    document.documentElement.style.setProperty("--h", height);
    Object.assign(this.picture, { width, height });
    this.redraw();
  }

  show(bitmap) {
    this.picture.getContext("2d").drawImage(bitmap, 0, 0, ...this.size);
  }

  get scale() {
    return this.overlay.clientWidth / this.size[0];
  }

  // Image pixels to CSS pixels of the overlay; the centre of the first pixel is (0, 0).
  view = ([x, y]) => [(x + 0.5) * this.scale, (y + 0.5) * this.scale];

  at(event) {
    const box = this.overlay.getBoundingClientRect();
    const inside = (v, size) => Math.min(Math.max(v, 0), size - 1);
    const x = ((event.clientX - box.left) / box.width) * this.size[0] - 0.5;
    const y = ((event.clientY - box.top) / box.height) * this.size[1] - 0.5;
    return [inside(x, this.size[0]), inside(y, this.size[1])].map((v) => Math.round(v * 4) / 4);
  }

  reach(event) {
    return (REACH[event.pointerType] ?? 14) / this.scale;
  }

  redraw() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#draw();
    });
  }

  #draw() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.overlay;
    this.overlay.width = Math.round(width * ratio);
    this.overlay.height = Math.round(height * ratio);
    const g = this.overlay.getContext("2d");
    g.scale(ratio, ratio);
    if (this.mask && this.veiled && !this.arrows.pulls) {
      g.globalAlpha = this.maskStrength;
      g.drawImage(this.mask, 0, 0, width, height);
      g.globalAlpha = 1;
    }
    if (this.stroke) drawStroke(g, this.view, this.stroke.points, this.stroke.radius * this.scale, this.stroke.what);
    if (this.arrows && !this.quiet) drawArrows(g, this.view, this.arrows);
    if (this.cross) drawCross(g, this.view(this.cross), this.arrows.held.size > 0);
    if (this.brush && this.hover) drawBrush(g, this.view(this.hover), this.brush * this.scale);
  }
}
