// Handles, targets and pins as the user sets them, and which picture they belong to. All points are (x, y) image pixels.

const near = (a, b, reach) => Math.hypot(a[0] - b[0], a[1] - b[1]) <= reach;
const index = (points, p, reach) => points.findLastIndex((q) => near(q, p, reach));
const copy = (points) => points.map((p) => [...p]);

export class Arrows {
  handles = [];
  targets = [];
  pins = [];
  points = []; // where handles, then pins, are in the picture that is shown
  planned = true; // `handles` are in the picture that is shown; else in the one that the last drag started from
  pulling = false; // the picture follows: `points` move
  open = null; // index of a planned arrow that has no tip yet
  held = new Map(); // pointer -> index of the arrow whose tip follows it
  gesture = 0;
  #pinsAtStart = [];
  #from = "";

  // What the server says. What was set since then stays.
  follow(session) {
    const from = JSON.stringify([session.motion, session.handles, session.targets, session.pins]);
    if (from === this.#from || this.held.size) return;
    this.#from = from;
    this.#pinsAtStart = session.pins;
    const { handles, targets, points } = session;
    Object.assign(this, { handles, targets, points, pins: points.slice(handles.length), open: null, pulling: false });
    this.planned = handles.length === 0;
  }

  get reached() {
    return this.planned && !this.pulling ? this.handles : this.points.slice(0, this.handles.length);
  }

  // Whether there are arrows that have not been dragged along.
  get ready() {
    return this.planned && !this.pulling && this.handles.length > 0 && this.open === null;
  }

  // The arrow whose tip or handle, or the pin, at p: {arrow: i} | {pin: i} | {}
  hit(p, reach) {
    const tip = index(this.targets, p, reach);
    const arrow = tip >= 0 ? tip : index(this.reached, p, reach);
    if (arrow >= 0) return { arrow };
    const pin = index(this.pins, p, reach * 0.8);
    return pin >= 0 ? { pin } : {};
  }

  // Begin to pull: an arrow that is there, or a new one, with `more` beside those that are there.
  grab(pointer, p, reach, more) {
    const { arrow } = this.hit(p, reach);
    if (arrow !== undefined && this.held.size) {
      this.held.set(pointer, arrow);
      return;
    }
    if (arrow !== undefined) {
      this.again = !this.planned;
      this.held.set(pointer, arrow);
    } else {
      this.#rebase(more || (this.planned && !this.pulling));
      this.#add(pointer, p);
    }
    this.points = [...this.reached, ...this.pins];
    this.pulling = true;
    this.gesture += 1;
  }

  // Plan an arrow: a new one, another tip for one that is there, or the tip of one that waits for it.
  plan(pointer, p, reach) {
    const { arrow } = this.planned ? this.hit(p, reach) : {};
    if (this.open !== null) {
      this.targets[this.open] = p;
      this.held.set(pointer, this.open);
    } else if (arrow !== undefined) {
      this.held.set(pointer, arrow);
    } else {
      this.#rebase(this.planned);
      this.#add(pointer, p);
    }
  }

  #add(pointer, p) {
    this.held.set(pointer, this.handles.length);
    this.handles.push(p);
    this.targets.push(p);
  }

  // From here on the arrows are in the picture that is shown; without `more` those that are there end.
  #rebase(more) {
    this.handles = more ? copy(this.reached) : [];
    this.targets = more ? copy(this.targets) : [];
    this.pins = copy(this.pins);
    Object.assign(this, { planned: true, pulling: false, again: false });
  }

  move(pointer, p) {
    if (this.held.has(pointer)) this.targets[this.held.get(pointer)] = p;
  }

  // Let a tip go. Returns whether it was moved at all.
  drop(pointer) {
    const i = this.held.get(pointer);
    this.held.delete(pointer);
    return i !== undefined && !near(this.handles[i], this.targets[i], 0.5);
  }

  // A pin at p, or none where one was.
  pin(p, reach) {
    const { pin } = this.hit(p, reach);
    if (!this.planned || this.pulling) this.#rebase(false);
    this.pins = pin === undefined ? [...this.pins, p] : this.pins.filter((_, i) => i !== pin);
  }

  clear() {
    this.#rebase(false);
    Object.assign(this, { pins: [], points: [], open: null });
    this.held.clear();
  }

  // Back to what the server says next.
  forget() {
    this.clear();
    this.#from = "";
  }

  // For the server. The numbers may have been rounded on the way here; those of a drag that is repeated come from there.
  message(type, more = {}) {
    const { handles, targets, again, planned } = this;
    return { type, handles, targets, pins: planned ? this.pins : this.#pinsAtStart, again: Boolean(again), ...more };
  }
}
