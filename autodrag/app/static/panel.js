// The settings beside the picture: show the server's state and send the user's changes.

import { radios } from "./keys.js";

const MAX_SEED = 2 ** 31 - 1;
const USUAL = { live: 5, slow: 100 }; // steps

export const $ = (id) => document.getElementById(id);
const randomSeed = () => Math.floor(Math.random() * 1e6);
const wholeSeed = (text) => Math.min(MAX_SEED, Math.max(0, Math.round(Number(text) || 0)));

export class Panel {
  session = null;
  #sliding = false; // a slider is being moved: its values replace the previous one in the history
  #offered = ""; // the methods with buttons
  #explained = null; // the chosen method that the note is of

  constructor(say) {
    this.say = say;
    $("seed").addEventListener("change", () => this.picture({ seed: wholeSeed($("seed").value), style: null }));
    $("dice").addEventListener("click", () => this.dice());
    $("class").addEventListener("change", () => this.picture({ c: $("class").value === "" ? null : Number($("class").value) }));
    $("psi").addEventListener("input", () => this.#slide(false));
    $("psi").addEventListener("change", () => this.#slide(true));
    $("style").addEventListener("change", () => {
      this.#style($("style").value === "" ? null : wholeSeed($("style").value));
    });
    $("style-dice").addEventListener("click", () => this.#style(randomSeed()));
    $("steps").addEventListener("input", () => ($("steps-text").textContent = $("steps").value));
    for (const id of ["steps", "lr", "lambda"]) $(id).addEventListener("change", () => this.#tune());
    radios($("methods"), (button) => button.click());
    $("dataset").addEventListener("change", () => this.say({ type: "dataset", name: $("dataset").value }));
  }

  dice() {
    this.picture({ seed: randomSeed(), style: null });
  }

  picture(change, slid = { amend: false, settled: true }) {
    this.say({ type: "picture", ...change, ...slid });
  }

  #slide(settled) {
    $("psi-text").textContent = Number($("psi").value).toFixed(2);
    this.picture({ psi: Number($("psi").value) }, { amend: this.#sliding, settled });
    this.#sliding = !settled;
  }

  #style(style) {
    this.say({ type: "style", style, amend: false, settled: true });
  }

  welcome({ datasets, invert, limits }) {
    $("dataset").replaceChildren(
      ...datasets.map(({ name, missing }) => {
        const option = new Option(missing ? `${name} (not here)` : name, name);
        option.disabled = Boolean(missing);
        option.title = missing ?? "";
        return option;
      }),
    );
    this.invert = invert;
    $("generator-row").hidden = !limits.generator_mb;
  }

  follow(session) {
    this.session = session;
    $("dataset").value = session.dataset;
    if ($("dataset").value !== session.dataset) $("dataset").add(new Option(session.dataset, session.dataset, true, true));
    $("seed").value = session.seed ?? "";
    $("seed").placeholder = session.seed === null ? "your picture" : "";
    if (!this.#sliding) $("psi").value = session.psi;
    $("psi-text").textContent = session.psi.toFixed(2);
    $("psi").disabled = session.seed === null;
    $("style").value = session.style ?? "";
    $("class-row").hidden = session.classes === 0;
    $("class").max = session.classes - 1;
    $("class").value = Number.isInteger(session.c) ? session.c : "";
    $("redo").disabled = !session.redo;
    $("reset").disabled = session.frames < 2;
    $("align-row").hidden = !session.alignable;
    $("detail-row").hidden = session.detail === null;
    $("detail").checked = session.detail === true;
    for (const name of ["mask-clear", "mask-invert", "mask-save", "grow"]) $(name).disabled = !session.masked;
    $("grow").checked = session.grow;
    $("draws").textContent = session.draws;
    this.#methods(session);
  }

  get method() {
    return this.session.methods.find(({ name }) => name === this.session.method);
  }

  #methods({ methods, method, steps, tuning }) {
    this.#offer(methods);
    for (const button of $("methods").children) {
      button.setAttribute("aria-checked", button.dataset.method === method);
      button.tabIndex = button.dataset.method === method ? 0 : -1;
    }
    const chosen = this.method;
    const usual = Math.min(chosen.most, chosen.live ? USUAL.live : USUAL.slow);
    $("steps").max = chosen.most;
    $("steps").disabled = chosen.most < 2;
    $("steps").value = steps ?? usual;
    $("steps-text").textContent = steps ?? usual;
    $("tuning").hidden = !tuning;
    for (const [input, name] of [[$("lr"), "lr"], [$("lambda"), "mask_weight"]]) {
      if (tuning && document.activeElement !== input) input.value = tuning[name]; // not while the user is typing
    }
    if (this.#explained === method) return; // else why another cannot be used would vanish with any answer
    this.#explained = method;
    this.#explain(chosen.live ? "" : "Works step by step: the picture follows more slowly.");
  }

  // The method with the settings of its controls; an empty number means the default.
  #tune() {
    const { method, tuning } = this.session;
    const change = { type: "method", name: method, steps: Number($("steps").value) };
    if (tuning) {
      const chosen = { lr: $("lr"), mask_weight: $("lambda") };
      for (const [name, input] of Object.entries(chosen)) {
        if (!input.reportValidity()) return;
        change[name] = input.value === "" ? null : Number(input.value);
      }
    }
    this.say(change);
  }

  // Replace buttons only if the methods have changed, to preserve the focus.
  #offer(methods) {
    if (this.#offered === JSON.stringify(methods)) return;
    this.#offered = JSON.stringify(methods);
    this.#explained = null;
    const buttons = methods.map(({ name, label, missing }) => {
      const button = document.createElement("button");
      button.textContent = label;
      button.setAttribute("role", "radio");
      button.setAttribute("aria-disabled", Boolean(missing));
      button.dataset.method = name;
      button.title = missing ?? label;
      button.addEventListener("click", () => {
        if (missing) this.#explain(missing);
        else {
          this.#explained = null;
          this.session.method = name; // for changes before the server responds
          this.say({ type: "method", name, steps: null });
        }
      });
      return button;
    });
    $("methods").replaceChildren(...buttons);
  }

  #explain(text) {
    $("method-note").textContent = text;
    $("method-note").hidden = !text;
  }
}
