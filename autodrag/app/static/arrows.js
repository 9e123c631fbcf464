// Handles, targets and pins set by the user, and the picture they belong to. All points are (x, y) image pixels.

const near = (a, b, reach) => Math.hypot(a[0] - b[0], a[1] - b[1]) <= reach;
const index = (points, p, reach) => points.findLastIndex((q) => near(q, p, reach));
const copy = (points) => points.map((p) => [...p]);
const without = (points, i) => points.filter((_, j) => j !== i);

export class Arrows {
  handles = [];
  targets = [];
  pins = []; // original positions
  points = []; // positions of handles, then pins, in the current picture
  planned = true; // whether `handles` are in the current picture; otherwise in the source of the last drag
  pulling = false; // live drag: the picture and `points` follow the pointer
  open = null; // index of a planned arrow without a tip
  selected = null; // index of the selected arrow
  held = new Map(); // pointer id -> index of the arrow whose tip it moves
  gesture = 0;
  at = null; // index of the frame the arrows belong to; null: the last
  most = Infinity; // arrows, and as many pins
  width = null; // width of the picture if new arrows are mirrored, otherwise null
  #mirrored = new Map(); // index of an arrow -> index of its mirror image
  #revision = null;
  #from = "";
  #motion = null;
  #press = null; // {pointer, p, slack, arrow}: pressed but not moved yet, possibly on an existing arrow
  #moved = false; // whether a pointer of the current pull has moved

  // Update from the server, unless the user has changed arrows since.
  follow(session) {
    this.gesture = Math.max(this.gesture, session.gesture);
    if (this.#revision !== null && session.revision !== this.#revision) return;
    this.#revision = session.revision;
    if (session.motion !== this.#motion) this.open = null; // it was begun in another picture
    const from = JSON.stringify([session.motion, session.handles, session.targets, session.pins, session.plan]);
    if (from === this.#from || this.held.size || this.open !== null) return;
    this.#from = from;
    const { handles, targets, pins } = session.plan ?? session;
    if (String(handles) !== String(this.handles)) this.#mirrored.clear();
    if (session.motion !== this.#motion || this.selected >= handles.length) this.selected = null;
    this.#motion = session.motion;
    Object.assign(this, { handles, targets, pins, points: session.points, pulling: false, at: null });
    this.planned = session.plan !== null || handles.length === 0;
  }

  get reached() {
    return this.planned && !this.pulling ? this.handles : this.points.slice(0, this.handles.length);
  }

  // Whether a pointer is dragging the picture.
  get pulls() {
    return this.pulling && this.held.size > 0;
  }

  // Whether there are planned arrows that have not been run.
  get ready() {
    return this.planned && !this.pulling && this.handles.length > 0 && this.open === null;
  }

  // Hit test at p, for the tip or handle of an arrow and for pins: {arrow: i} | {pin: i} | {}
  hit(p, reach) {
    const tip = index(this.targets, p, reach);
    const arrow = tip >= 0 ? tip : index(this.reached, p, reach);
    if (arrow >= 0) return { arrow };
    const pin = index(this.pins, p, reach * 0.8);
    return pin >= 0 ? { pin } : {};
  }

  // Start a drag with an existing arrow or a new one; `more`: keep the other arrows. at: index of the current frame if
  // it is not the last. Returns false if there is no room for another arrow.
  grab(pointer, p, reach, more, at) {
    if (!this.held.size) this.#moved = false;
    this.#close();
    const start = this.held.size && !this.#moved ? this.at : at; // the one of the pointers that it joins
    const { arrow } = at === null ? this.hit(p, reach) : {};
    this.#pressed(pointer, p, reach, arrow);
    if (arrow !== undefined && this.held.size) {
      this.held.set(pointer, arrow);
      return true;
    }
    const keeps = at === null && (more || (this.planned && !this.pulling));
    if (arrow === undefined && keeps && this.handles.length >= this.most) return false;
    if (arrow !== undefined) {
      this.again = !this.planned || this.pulling; // also while the drag that was released is running
      this.held.set(pointer, arrow);
    } else {
      this.#rebase(keeps);
      this.at = start;
      this.#add(pointer, p);
    }
    this.points = [...this.reached, ...this.pins];
    this.pulling = true;
    this.gesture += 1;
    return true;
  }

  // Plan an arrow: start a new one, move the tip of an existing one, or set the missing tip. Returns false if there is
  // no room for another one.
  plan(pointer, p, reach) {
    const planned = this.planned && !this.pulling; // not while they are dragged
    const { arrow } = planned && this.open === null ? this.hit(p, reach) : {};
    this.#pressed(pointer, p, reach, arrow);
    if (this.open !== null) {
      this.#press = null;
      this.held.set(pointer, this.open);
      this.move(pointer, p);
    } else if (arrow !== undefined) {
      this.held.set(pointer, arrow);
    } else if (planned && this.handles.length >= this.most) {
      return false;
    } else {
      this.#rebase(planned);
      this.#add(pointer, p);
    }
    return true;
  }

  #pressed(pointer, p, reach, arrow) {
    this.#press = { pointer, p, slack: reach / 5, arrow };
    this.selected = null;
  }

  #add(pointer, p) {
    const i = this.handles.length;
    this.held.set(pointer, i);
    const mirror = this.#mirror(p);
    const both = mirror && Math.abs(mirror[0] - p[0]) > this.width / 20 && i + 2 <= this.most;
    const points = both ? [p, mirror] : [p];
    this.handles.push(...points);
    this.targets.push(...copy(points));
    if (points.length > 1) this.#mirrored.set(i, i + 1).set(i + 1, i);
  }

  #mirror(p) {
    return this.width === null ? null : [this.width - 1 - p[0], p[1]];
  }

  // Move the arrows to the current picture; without `more`, remove them.
  #rebase(more) {
    this.handles = more ? copy(this.reached) : [];
    this.targets = more ? copy(this.targets) : [];
    this.pins = copy(this.pins);
    if (!more) this.#mirrored.clear();
    Object.assign(this, { planned: true, pulling: false, again: false, at: null });
  }

  move(pointer, p) {
    const i = this.held.get(pointer);
    const pressed = this.#press?.pointer === pointer;
    if (i === undefined || (pressed && near(p, this.#press.p, this.#press.slack))) return;
    if (pressed) this.#press = null;
    this.#moved = true;
    this.targets[i] = p;
    if (this.width !== null && this.#mirrored.has(i)) this.targets[this.#mirrored.get(i)] = this.#mirror(p);
  }

  // Release a tip. Returns whether it was moved; a tap on an arrow selects it.
  drop(pointer) {
    const i = this.held.get(pointer);
    const tapped = this.#press?.pointer === pointer;
    this.held.delete(pointer);
    if (tapped) this.selected = this.#press.arrow ?? null;
    if (tapped) this.#press = null;
    return i !== undefined && !tapped && !near(this.handles[i], this.targets[i], 0.5);
  }

  // Whether a pointer of the last pull has moved a tip away from its handle.
  get moved() {
    return this.#moved && this.handles.some((handle, i) => !near(handle, this.targets[i], 0.5));
  }

  // Toggle a pin at p. Returns false if there is no room for another one.
  pin(p, reach) {
    this.#close();
    const { pin } = this.hit(p, reach);
    if (pin === undefined && this.pins.length >= this.most) return false;
    if (!this.planned || this.pulling) this.#rebase(false);
    this.pins = pin === undefined ? [...this.pins, p] : without(this.pins, pin);
    return true;
  }

  // Undo an arrow without a tip: the page returns to what the server has.
  giveUp(session) {
    this.#close();
    this.#from = "";
    this.follow(session);
  }

  // Give up an arrow without a tip, for another tool.
  #close() {
    if (this.open === null) return;
    const given = [this.open, this.#mirrored.get(this.open)];
    const kept = (_, i) => !given.includes(i);
    Object.assign(this, { handles: this.handles.filter(kept), targets: this.targets.filter(kept), open: null });
    this.#mirrored.clear();
  }

  // Remove the selected arrow, or all arrows and pins if none is selected.
  remove() {
    if (this.selected === null) return this.clear();
    if (!this.planned || this.pulling) this.#rebase(true);
    this.handles = without(this.handles, this.selected);
    this.targets = without(this.targets, this.selected);
    this.#mirrored.clear();
    this.selected = null;
  }

  clear() {
    this.#rebase(false);
    Object.assign(this, { pins: [], points: [], open: null, selected: null });
    this.held.clear();
  }

  // Reset to the next update from the server.
  forget() {
    const { selected } = this;
    this.clear();
    this.selected = selected;
    this.meet();
  }

  // New session or server: accept its next update. Arrows that are held stay.
  meet() {
    this.#revision = null;
    this.#from = "";
  }

  // Message for the server. Positions received from it may have been rounded.
  message(type, more = {}) {
    this.#from = ""; // what the server has next counts, also if it refuses this
    const { handles, targets, pins, again, at } = this;
    return { type, handles, targets, pins, again: Boolean(again), at, ...more };
  }

  // Current arrows and pins as a message, for undo and saved sessions.
  setting() {
    this.#revision = (this.#revision ?? 0) + 1;
    this.#from = ""; // what the server has next counts, also if it refuses these
    const { handles, targets, pins } = this;
    return { type: "plan", handles, targets, pins, revision: this.#revision };
  }
}
