// The scrubber: pictures of the motion, asked for one at a time and remembered.

export class Player {
  #pictures = new Map(); // index -> bitmap of the motion `#motion`
  #motion = -1;
  #count = 1;
  #timer = null;

  // elements: {play, scrub, text}; ask(index); show(bitmap, index, last)
  constructor(elements, ask, show) {
    Object.assign(this, { elements, ask, show });
    elements.scrub.addEventListener("input", () => {
      this.stop();
      this.go(Number(elements.scrub.value));
    });
    elements.play.addEventListener("click", () => this.toggle());
  }

  follow({ motion, frames }) {
    if (motion === this.#motion) return;
    this.stop();
    this.#pictures.clear();
    this.#motion = motion;
    this.#count = frames;
    this.index = frames - 1;
    this.elements.scrub.max = frames - 1;
    this.elements.scrub.disabled = this.elements.play.disabled = frames < 2;
    this.#label();
  }

  get atEnd() {
    return this.index === this.#count - 1;
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
      if (!this.#pictures.has(this.index)) return; // on its way
      if (this.atEnd) this.stop();
      else this.go(this.index + 1);
    }, pause);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#icon("play");
  }

  #icon(name) {
    this.elements.play.querySelector("use").setAttribute("href", `/static/icons.svg#${name}`);
  }

  #label() {
    this.elements.scrub.value = this.index;
    this.elements.text.value = `${this.index} / ${this.#count - 1}`;
  }
}
