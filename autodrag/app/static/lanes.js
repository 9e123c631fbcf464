// The comparison: a card for each method, with its picture, progress, time and distance.

export class Lanes {
  #cards = new Map();
  begun = false; // the server is at it: what it says from now on it says after the comparison was asked for

  // element: for the cards; missing: for what methods are not there; take(name): keep this result
  constructor(element, missing, take) {
    Object.assign(this, { element, missing, take });
    this.whole = element.parentElement;
  }

  get open() {
    return !this.whole.hidden;
  }

  // Returns the names of the methods that run.
  start(methods, picture) {
    const here = methods.filter((method) => !method.missing);
    this.#cards.clear();
    this.element.replaceChildren();
    this.element.style.setProperty("--count", here.length);
    this.element.style.setProperty("--rows", here.length > 3 ? 2 : 1);
    for (const method of here) this.#add(method, picture);
    const absent = methods.filter((method) => method.missing);
    this.missing.textContent = absent.length ? `Without weights here: ${absent.map(({ label }) => label).join(", ")}.` : "";
    this.missing.title = absent.map(({ missing }) => missing).join("\n");
    this.whole.hidden = this.over = this.begun = false;
    return here.map((method) => method.name);
  }

  #add({ name, label }, picture) {
    const card = document.createElement("article");
    card.className = "lane";
    card.dataset.method = name;
    card.innerHTML = `<header><h3></h3><span class="numbers"></span></header>
      <canvas></canvas><progress max="1" value="0"></progress><button disabled>Use this</button>`;
    card.querySelector("h3").textContent = label;
    const canvas = card.querySelector("canvas");
    Object.assign(canvas, { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
    card.querySelector("button").addEventListener("click", () => this.take(name));
    this.element.append(card);
    this.#cards.set(name, card);
  }

  tell(text) {
    this.missing.textContent += ` ${text}`;
  }

  show(header, bitmap) {
    const card = this.#cards.get(header.lane);
    if (!card) return;
    this.begun = true;
    const canvas = card.querySelector("canvas");
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const done = Boolean(header.done);
    card.querySelector("progress").value = done ? 1 : header.step / header.steps;
    card.querySelector("button").disabled = !done && !this.over;
    const distance = header.distance === undefined ? "" : ` · ${header.distance.toFixed(1)} px`;
    card.querySelector(".numbers").textContent = `${header.seconds.toFixed(2)} s${distance}`;
  }

  // Nothing more is worked out: what is there can be used, also what was still on its way.
  stopped() {
    if (!this.begun) return; // something before it was
    this.over = true;
    for (const button of this.element.querySelectorAll("button")) button.disabled = false;
  }

  hide() {
    this.whole.hidden = true;
    this.begun = false;
    this.element.replaceChildren();
  }
}
