// The undo history as a strip of pictures, requested one at a time.

export class Gallery {
  #pictures = new Map(); // id of a history entry -> canvas
  #drawn = new Set(); // ids of the entries whose picture has arrived
  #moments = [];

  // element: the strip; ask(index): request a picture; go(index): go to that entry
  constructor(element, ask, go) {
    Object.assign(this, { element, ask, go });
  }

  // New session: forget all pictures.
  meet() {
    this.#pictures.clear();
    this.#drawn.clear();
    this.element.replaceChildren();
  }

  follow({ moments, moment }) {
    this.#moments = moments;
    for (const id of this.#pictures.keys()) if (!moments.includes(id)) this.#pictures.delete(id);
    const focused = [...this.element.children].indexOf(document.activeElement);
    this.element.replaceChildren(...moments.map((id, index) => this.#place(id, index, index === moment)));
    this.element.children[focused]?.focus();
    const now = this.element.children[moment];
    this.element.scrollLeft = now.offsetLeft - this.element.offsetLeft - this.element.clientWidth / 2;
    this.begin();
  }

  // Request the newest missing picture. The server ignores requests while it is busy, so they are repeated.
  begin() {
    const index = this.#moments.findLastIndex((id) => !this.#drawn.has(id));
    if (index >= 0) this.ask(index);
  }

  #place(id, index, now) {
    const button = document.createElement("button");
    button.setAttribute("aria-label", `Step ${index + 1} of the history`);
    if (now) button.setAttribute("aria-current", "step");
    button.addEventListener("click", () => this.go(index));
    let canvas = this.#pictures.get(id);
    if (!canvas) {
      canvas = document.createElement("canvas");
      this.#pictures.set(id, canvas);
    }
    button.append(canvas);
    return button;
  }

  take({ moment }, bitmap) {
    const canvas = this.#pictures.get(moment);
    if (!canvas) return;
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    if (!this.#drawn.has(moment)) {
      this.#drawn.add(moment);
      this.begin();
    }
  }
}
