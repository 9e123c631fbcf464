// The comparison: a card per method, all of the same size, with picture, progress, time and remaining distance; and a
// large view of one of them over the original.

const GAP = 12; // CSS pixels between cards
const REST = 142; // height of a card without its picture, in CSS pixels

const paint = (canvas, picture) => {
  Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
};

export class Comparison {
  #cards = new Map();
  #source = null; // the picture before the drag
  #large = null; // name of the method in the large view
  begun = false; // the server has started: later messages belong to this comparison

  // elements: {cards, missing, large, original, result, split, title}; take(name): accept this result
  constructor(elements, take) {
    Object.assign(this, elements, { take });
    this.whole = this.cards.parentElement;
    new ResizeObserver(() => this.#arrange()).observe(this.cards);
    this.split.addEventListener("input", () => this.#cut(this.split.value));
    for (const kind of ["pointerdown", "pointerup", "pointerleave", "pointercancel"]) {
      this.large.addEventListener(kind, ({ target }) => {
        if (target === this.result || target === this.original) this.#cut(kind === "pointerdown" ? 100 : this.split.value);
      });
    }
  }

  get open() {
    return !this.whole.hidden;
  }

  // Returns the names of the methods to run.
  start(methods, picture) {
    const here = methods.filter((method) => !method.missing);
    this.#cards.clear();
    this.cards.replaceChildren();
    this.#source = null;
    this.shrink();
    for (const method of here) this.#add(method, picture);
    const absent = methods.filter((method) => method.missing);
    this.missing.textContent = absent.length ? `Without weights here: ${absent.map(({ label }) => label).join(", ")}.` : "";
    this.missing.title = absent.map(({ missing }) => missing).join("\n");
    this.whole.hidden = this.over = this.begun = false;
    this.#arrange();
    this.whole.scrollIntoView({ block: "start" }); // on phones, the button is below
    return here.map((method) => method.name);
  }

  #add({ name, label }, picture) {
    const card = document.createElement("article");
    card.className = "lane";
    card.dataset.method = name;
    card.innerHTML = `<header><h3></h3><span class="numbers">waits</span></header>
      <button class="look"><canvas></canvas></button><progress max="1" value="0"></progress>
      <button class="use" disabled>Use this</button>`;
    Object.assign(card.querySelector("h3"), { textContent: label, title: label }); // truncated in narrow cards
    card.querySelector("progress").setAttribute("aria-label", `${label}: steps`);
    const look = card.querySelector(".look");
    look.title = "Larger, beside the original";
    look.setAttribute("aria-label", `${label}: larger, beside the original`);
    look.addEventListener("click", () => this.#enlarge(name));
    paint(card.querySelector("canvas"), picture);
    card.querySelector(".use").addEventListener("click", () => this.take(name));
    this.cards.append(card);
    this.#cards.set(name, card);
  }

  // Choose the number of columns that maximises the card size; the last row lacks at most one card.
  #arrange() {
    const count = this.#cards.size;
    const [first] = this.#cards.values();
    if (!first || !this.open) return;
    const { width, height } = first.querySelector("canvas");
    const phone = matchMedia("(max-width: 860px)").matches;
    const room = phone ? Infinity : this.cards.clientHeight;
    const fit = (columns) => {
      const rows = Math.ceil(count / columns);
      const across = (this.cards.clientWidth - GAP * (columns - 1)) / columns - 22;
      return Math.min(across, ((room - GAP * (rows - 1)) / rows - REST) * (width / height));
    };
    const full = (columns) => count % columns === 0 || count % columns >= columns - 1;
    const choices = phone && count > 1 ? [2] : [1, 2, 3, 4, 5].filter((columns) => columns <= count && full(columns));
    const best = choices.reduce((a, b) => (fit(b) > fit(a) ? b : a));
    this.cards.style.setProperty("--columns", best);
    this.cards.style.setProperty("--side", `${Math.max(96, Math.floor(fit(best)))}px`);
  }

  tell(text) {
    this.missing.textContent += ` ${text}`;
  }

  show(header, bitmap) {
    if (header.lane === "original") {
      this.#source = bitmap;
      for (const card of this.#cards.values()) if (!card.dataset.step) paint(card.querySelector("canvas"), bitmap);
    }
    const card = this.#cards.get(header.lane);
    if (!card) return;
    this.begun = true;
    paint(card.querySelector("canvas"), bitmap);
    this.#tell(card, header);
    if (this.#large === header.lane) this.#enlarge(header.lane);
  }

  #tell(card, { step, steps, done, seconds, distance }) {
    card.querySelector("progress").value = done ? 1 : step / steps;
    card.querySelector(".use").disabled = !done && !this.over;
    const left = distance === undefined ? "" : `\n${distance.toFixed(1)} px left`;
    const count = done ? card.dataset.step : step;
    card.dataset.step = count;
    card.querySelector(".numbers").textContent = `${seconds.toFixed(2)} s · ${count} ${count === 1 ? "step" : "steps"}${left}`;
  }

  #enlarge(name) {
    const card = this.#cards.get(name);
    if (!this.#source) return;
    paint(this.original, this.#source);
    paint(this.result, card.querySelector("canvas"));
    this.title.textContent = card.querySelector("h3").textContent;
    if (this.#large === null) this.split.value = 50;
    this.#large = name;
    this.large.hidden = false;
    this.cards.hidden = true;
    this.#cut(this.split.value);
  }

  // Show the original up to this percentage of the width.
  #cut(share) {
    this.result.style.clipPath = `inset(0 0 0 ${share}%)`;
  }

  // Close the large view. Returns whether it was open.
  shrink() {
    const was = this.#large !== null;
    this.#large = null;
    this.large.hidden = true;
    this.cards.hidden = false;
    return was;
  }

  // Stopped: the results so far can be used, also unfinished ones.
  stopped() {
    if (!this.begun) return; // the stop was of an earlier job
    this.over = true;
    for (const button of this.cards.querySelectorAll(".use")) button.disabled = false;
  }

  hide() {
    this.shrink();
    this.whole.hidden = true;
    this.begun = false;
    this.cards.replaceChildren();
    this.#cards.clear();
  }
}
