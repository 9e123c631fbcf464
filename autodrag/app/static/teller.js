// Text for the user: notes, connection state, results of drags, progress of jobs.

import { $ } from "./panel.js";

const JOBS = {
  drag: "Dragging",
  compare: "Comparing",
  start: "Finding a start",
  invert: "Inverting your picture",
  tune: "Fine-tuning the generator",
  film: "Rendering the animation",
  open: "Opening the generator",
};
const OWN = ["start", "invert", "tune"]; // phases of an inversion
const px = (number) => number.toFixed(1);

export class Teller {
  #drawn = []; // arrival times of the pictures of the last second
  #timer = null;
  #tasks = { work: { what: "" }, file: { what: "" } };
  #what = ""; // of these, that is shown

  get own() {
    return OWN.includes(this.#what);
  }

  note(text, wrong = false) {
    if ($("notes").lastChild?.textContent === text) return;
    const element = document.createElement("p");
    element.className = wrong ? "note wrong" : "note";
    element.textContent = text;
    $("notes").append(element);
    while ($("notes").children.length > 3) $("notes").firstChild.remove();
    setTimeout(() => element.remove(), 7000);
  }

  // A persistent status line; "": none.
  line(text) {
    $("line").textContent = text;
    $("line").hidden = !text;
  }

  // For screen readers: announces start and end, not every step.
  #speak(text) {
    $("said").textContent = text;
  }

  // Latency from pointer to picture and frame rate over the last second; after the drag, its result.
  measure(header, live) {
    if (header.time === undefined || header.seconds === undefined) return;
    const now = performance.now();
    this.#drawn.push(now);
    while (now - this.#drawn[0] > 1000) this.#drawn.shift();
    const moving = `${live ? `${Math.round(now - header.time)} ms · ` : ""}${this.#drawn.length} fps`;
    $("speed").textContent = header.final ? this.#outcome(header) : moving;
    $("speed").hidden = false;
    if (header.final) this.#speak($("speed").textContent);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => ($("speed").hidden = true), header.final ? 9000 : 3000);
  }

  #outcome({ seconds, asked, distance, drift, short }) {
    const stopped = short ? "stopped short: the generator goes no further · " : "";
    // Positions of points are estimates of the method, so the numbers are approximate.
    const pins = drift === null ? "" : ` · pins off by about ${px(drift)} px`;
    return `${stopped}about ${px(distance)} of ${px(asked)} px left${pins} · ${seconds.toFixed(2)} s`;
  }

  // A message on the session's work, or on a file that is made beside it. Returns what is shown.
  work(message, live) {
    this.#tasks[message.type] = message;
    const { what, step, steps } = this.#tasks.work.what ? this.#tasks.work : this.#tasks.file;
    $("job").hidden = !what || (what === "drag" && live);
    $("job-stop").hidden = what === "film" || what === "open";
    const count = steps > 1 ? ` ${Math.min(step, steps)} / ${steps}` : "";
    $("job-text").textContent = what ? JOBS[what] + count : "";
    $("job-bar").value = steps ? step / steps : 0;
    if (what !== this.#what && what !== "drag" && this.#what !== "drag") this.#speak(what ? JOBS[what] : "Done");
    this.#what = what;
    return what;
  }
}
