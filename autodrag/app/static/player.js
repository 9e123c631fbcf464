// The scrubber: frames of the motion, requested one at a time and cached.

const PHOTO = -1; // index of the original photograph

export class Player {
  #pictures = new Map(); // index -> bitmap of the motion `#motion`
  #motion = -1;
  index = 0;
  #count = 1;
  #timer = null;
  #behind = null; // frame to return to after showing the original
  #photo = false; // the session is of a photograph

  // elements: {play, scrub, text, before}; ask(index); show(bitmap, index, last)
  constructor(elements, ask, show) {
    Object.assign(this, { elements, ask, show });
    elements.scrub.addEventListener("input", () => {
      this.stop();
      this.go(Number(elements.scrub.value));
    });
    elements.play.addEventListener("click", () => this.toggle());
    const { before } = elements;
    for (const kind of ["pointerdown", "pointerup", "pointerleave", "pointercancel", "blur"]) {
      before.addEventListener(kind, () => this.peek(kind === "pointerdown"));
    }
    before.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  follow({ motion, frames, photo }) {
    if (motion === this.#motion) return;
    this.stop();
    this.#pictures.clear();
    this.#behind = null;
    this.#motion = motion;
    this.#count = frames;
    this.#photo = photo;
    this.index = frames - 1;
    this.elements.scrub.max = frames - 1;
    for (const name of ["scrub", "play"]) this.elements[name].disabled = frames < 2;
    this.elements.before.disabled = frames < 2 && !photo;
    this.#label();
  }

  // New session: forget the cached motion.
  meet() {
    this.#motion = -1;
  }

  // Show the photograph or the first picture while `wanted`, then return to the previous frame.
  peek(wanted) {
    if (this.elements.before.disabled || wanted === (this.#behind !== null)) return;
    this.stop();
    const back = this.#behind;
    this.#behind = wanted ? this.index : null;
    this.go(wanted ? (this.#photo ? PHOTO : 0) : back);
  }

  get last() {
    return this.#count - 1;
  }

  // Index of the current frame if it is not the last.
  get scrubbed() {
    const index = this.#behind ?? this.index;
    return index === this.last ? null : index;
  }

  get atEnd() {
    return this.index === this.last;
  }

  go(index) {
    this.index = index;
    this.#label();
    const known = this.#pictures.get(index);
    if (known) this.show(known, index);
    else this.ask(index);
  }

  take(header, bitmap) {
    if (header.motion !== this.#motion) return;
    this.#pictures.set(header.index, bitmap);
    if (header.index === this.index) this.show(bitmap, header.index);
  }

  toggle() {
    if (this.#timer) {
      this.stop();
      return;
    }
    if (this.#count < 2) return;
    if (this.atEnd) this.go(0);
    const pause = Math.min(160, Math.max(40, 2000 / this.#count));
    this.#icon("pause");
    this.#timer = setInterval(() => {
      if (!this.#pictures.has(this.index)) return; // not received yet
      if (this.atEnd) this.stop();
      else this.go(this.index + 1);
    }, pause);
  }

  // The picture of the session itself is shown, which is the last one.
  rest() {
    this.stop();
    this.#behind = null;
    this.index = this.last;
    this.#label();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#icon("play");
  }

  #icon(name) {
    this.elements.play.querySelector("use").setAttribute("href", `static/icons.svg#${name}`);
  }

  #label() {
    const index = Math.max(0, this.index);
    this.elements.scrub.value = index;
    this.elements.text.textContent = `${index} / ${this.#count - 1}`;
  }
}
