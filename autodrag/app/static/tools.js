// Actions of pointers and keys on the picture, by tool.

const MOVED = 3; // CSS pixels; smaller motions are clicks

export class Tools {
  tool = "pull";
  brush = 8; // radius in image pixels
  #strokes = new Map();
  #queued = false;
  #pan = null; // id of the pointer that pans the view

  // stage, arrows; act: {ready(), pull(message), release(message), brush(message), plan(), drop(), full(), touched(),
  // scrubbed(): index of the current frame if it is not the last; present(): show the last}
  constructor(stage, arrows, act) {
    Object.assign(this, { stage, arrows, act });
    const overlay = stage.overlay;
    overlay.addEventListener("pointerdown", (event) => this.#down(event));
    overlay.addEventListener("pointermove", (event) => this.#move(event));
    overlay.addEventListener("pointerup", (event) => this.#up(event));
    overlay.addEventListener("pointercancel", (event) => this.#up(event));
    overlay.addEventListener("pointerleave", () => this.#hover(null));
    overlay.addEventListener("keydown", (event) => this.#key(event));
    overlay.addEventListener("blur", () => this.#uncross());
    overlay.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  choose(tool) {
    const begun = tool === this.tool ? [] : [...this.arrows.held.keys(), ...this.#strokes.keys()];
    for (const pointer of begun) this.end(pointer); // with the tool that began it
    this.tool = tool;
    this.stage.brush = this.#brushing ? this.brush : 0;
    this.stage.maskStrength = this.#brushing ? 0.62 : 0.38;
    this.stage.hand = tool === "hand";
    this.stage.overlay.dataset.over = this.#brushing ? "brush" : "";
    this.stage.redraw();
  }

  resizeBrush(radius) {
    this.brush = radius;
    this.choose(this.tool);
  }

  get painting() {
    return this.#strokes.size > 0;
  }

  get #brushing() {
    return this.tool === "change" || this.tool === "keep";
  }

  #down(event) {
    if (event.button > 1 || !this.act.ready()) return;
    event.preventDefault(); // no autoscroll: the middle button pans
    this.stage.overlay.focus({ preventScroll: true });
    this.stage.overlay.setPointerCapture(event.pointerId);
    if (event.button === 1 || this.tool === "hand") {
      this.#pan = event.pointerId;
      return;
    }
    this.act.touched();
    this.#uncross();
    this.stage.overlay.dataset.pointer = ""; // no focus ring after a pointer press
    this.begin(event.pointerId, this.stage.at(event), this.stage.reach(event), event.shiftKey);
  }

  #move(event) {
    if (event.pointerId === this.#pan) {
      this.stage.scroll(event.movementX, event.movementY);
      return;
    }
    const p = this.stage.at(event);
    this.#hover(p, this.stage.reach(event));
    this.proceed(event.pointerId, p);
  }

  #up(event) {
    if (event.pointerId === this.#pan) this.#pan = null;
    this.end(event.pointerId);
    if (event.pointerType !== "mouse") this.#hover(null);
  }

  #hover(p, reach = 0) {
    this.stage.hover = p;
    if (!this.#brushing && p) {
      const { arrow, pin } = this.arrows.hit(p, reach);
      const over = this.arrows.held.size ? "grabbing" : arrow !== undefined || pin !== undefined ? "grab" : "";
      this.stage.overlay.dataset.over = over;
    }
    if (this.stage.brush) this.stage.redraw();
  }

  begin(pointer, p, reach, more) {
    const at = this.arrows.held.size ? null : this.act.scrubbed();
    if (this.tool !== "pull" && at !== null) this.act.present();
    let room = true;
    if (this.tool === "pull") room = this.arrows.grab(pointer, p, reach, more || this.arrows.held.size > 0, at);
    else if (this.tool === "arrow") room = this.arrows.plan(pointer, p, reach);
    else if (this.tool === "pin") {
      room = this.arrows.pin(p, reach);
      if (room) this.act.plan();
    } else {
      this.#strokes.set(pointer, [p]);
      this.stage.stroke = { points: [p], radius: this.brush, what: this.tool };
    }
    if (!room) this.act.full();
    this.act.touched();
    this.stage.redraw();
  }

  proceed(pointer, p) {
    const stroke = this.#strokes.get(pointer);
    if (stroke) {
      const last = stroke[stroke.length - 1];
      if (Math.hypot(p[0] - last[0], p[1] - last[1]) * this.stage.scale > 2) stroke.push(p);
      this.stage.stroke = { points: stroke, radius: this.brush, what: this.tool };
      if (stroke.length >= 1000) {
        this.end(pointer); // a message has a limit, but the pointer is still down
        this.#strokes.set(pointer, [p]);
      }
    } else if (this.arrows.held.has(pointer)) {
      this.arrows.move(pointer, p);
      if (this.tool === "pull") this.#pullSoon();
    } else return;
    this.stage.redraw();
  }

  end(pointer) {
    const stroke = this.#strokes.get(pointer);
    if (stroke) {
      this.#strokes.delete(pointer);
      this.act.brush({ type: "brush", points: stroke, radius: this.brush, paint: this.tool });
    } else if (this.arrows.held.has(pointer)) {
      const i = this.arrows.held.get(pointer);
      const moved = this.arrows.drop(pointer);
      if (this.tool === "arrow") this.#planned(i, moved);
      else if (!this.arrows.held.size) this.#release(this.arrows.moved);
    } else return;
    this.act.touched();
    this.stage.redraw();
  }

  // A click starts an arrow and another sets its tip; a tap on an arrow selects it.
  #planned(i, moved) {
    const { arrows } = this;
    if (arrows.selected !== null) return;
    arrows.open = moved ? null : i;
    if (moved) this.act.plan();
  }

  #release(moved) {
    const { arrows } = this;
    if (moved) this.act.release(arrows.message("release", { gesture: arrows.gesture, time: performance.now() }));
    else this.act.drop();
  }

  // At most one message per animation frame.
  #pullSoon() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      const { arrows } = this;
      if (arrows.held.size) this.act.pull(arrows.message("pull", { gesture: arrows.gesture, time: performance.now() }));
    });
  }

  // A crosshair moved by the arrow keys; Enter presses and releases.
  #key(event) {
    delete this.stage.overlay.dataset.pointer;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && !(event.key === "Enter" && this.stage.cross)) return;
    event.preventDefault();
    event.stopPropagation();
    const [width, height] = this.stage.size;
    const cross = this.stage.cross ?? [Math.round(width / 2), Math.round(height / 2)];
    const pace = event.shiftKey ? 10 : 2;
    if (step) {
      const next = [cross[0] + step[0] * pace, cross[1] + step[1] * pace];
      this.stage.cross = [Math.min(Math.max(next[0], 0), width - 1), Math.min(Math.max(next[1], 0), height - 1)];
      this.proceed("keys", this.stage.cross);
    } else if (this.arrows.held.has("keys") || this.#strokes.has("keys")) this.end("keys");
    else this.begin("keys", cross, MOVED, event.shiftKey);
    this.stage.redraw();
  }

  #uncross() {
    delete this.stage.overlay.dataset.pointer;
    if (this.arrows.held.has("keys") || this.#strokes.has("keys")) this.end("keys");
    this.stage.cross = null;
    this.stage.redraw();
  }
}
