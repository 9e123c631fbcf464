// The comparison: a card for each method, with its picture, progress, time and distance.

export class Lanes {
  #cards = new Map();

  // take(name): keep this result; close()
  constructor(element, take, close) {
    Object.assign(this, { element, take, close });
  }

  get open() {
    return !this.element.hidden;
  }

  // Returns the names of the methods that run.
  start(methods, picture) {
    this.#cards.clear();
    this.element.replaceChildren();
    for (const method of methods) this.#add(method, picture);
    const back = document.createElement("button");
    back.textContent = "Back";
    back.addEventListener("click", this.close);
    this.element.append(back);
    this.element.hidden = false;
    return methods.filter((method) => !method.missing).map((method) => method.name);
  }

  #add({ name, label, missing }, picture) {
    const card = document.createElement("article");
    card.className = "lane";
    card.dataset.method = name;
    card.innerHTML = `<header><h3></h3><span class="numbers"></span></header>
      <canvas></canvas><progress max="1" value="0"></progress><p class="quiet" hidden></p><button disabled>Use this</button>`;
    card.querySelector("h3").textContent = label;
    const canvas = card.querySelector("canvas");
    Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    card.querySelector("button").addEventListener("click", () => this.take(name));
    this.element.append(card);
    this.#cards.set(name, card);
    if (missing) this.tell(name, missing);
  }

  tell(name, text) {
    const card = this.#cards.get(name);
    if (!card) return;
    const note = card.querySelector("p");
    note.textContent = text;
    note.hidden = false;
    card.querySelector("progress").hidden = true;
    card.querySelector("button").hidden = true;
    card.querySelector("canvas").style.opacity = 0.35;
  }

  show(header, bitmap) {
    const card = this.#cards.get(header.lane);
    if (!card) return;
    const canvas = card.querySelector("canvas");
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const done = Boolean(header.done);
    card.querySelector("progress").value = done ? 1 : header.step / header.steps;
    card.querySelector("button").disabled = !done;
    const distance = header.distance === undefined ? "" : ` · ${header.distance.toFixed(1)} px`;
    card.querySelector(".numbers").textContent = `${header.seconds.toFixed(2)} s${distance}`;
  }

  // No more pictures come: what is there can be used.
  stopped() {
    for (const button of this.element.querySelectorAll("article button")) button.disabled = false;
  }

  hide() {
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}
