// The page: everything that is said and heard goes through here.

import { Arrows } from "./arrows.js";
import { veil } from "./draw.js";
import { Files } from "./files.js";
import { Lanes } from "./lanes.js";
import { Link } from "./link.js";
import { $, Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { Stage } from "./stage.js";
import { Tools } from "./tools.js";

const say = (message) => link.say(message);
const command = (type) => say({ type });

const arrows = new Arrows();
const stage = new Stage($("frame"), $("picture"), $("overlay"));
const panel = new Panel(say);
const files = new Files(note, () => panel.invert);
const lanes = new Lanes($("lanes"), $("lanes-missing"), (method) => say({ type: "take", method }));
const player = new Player(
  { play: $("play"), scrub: $("scrub"), text: $("scrub-text") },
  (index) => say({ type: "show", index }),
  (bitmap) => {
    stage.show(bitmap);
    stage.quiet = !player.atEnd;
    stage.redraw();
  },
);
const tools = new Tools(stage, arrows, {
  pull: say,
  release: say,
  brush: say,
  cancel,
  touched,
});
const pictures = new Pictures(() => command("shown"), draw);
const link = new Link(heard, (header, blob) => pictures.take(header, blob), connection);
stage.arrows = arrows;

// --- heard ------------------------------------------------------------------------------------------------------

function heard(message) {
  if (message.type === "welcome") {
    files.token = message.token;
    panel.welcome(message);
  } else if (message.type === "session") follow(message);
  else if (message.type === "work") work(message);
  else if (message.type === "note" && message.lane) lanes.tell(message.text);
  else if (message.type === "note") note(message.text, true);
  else if (message.type === "refused") $("hint").textContent = message.text;
}

let size = "";

function follow(session) {
  if (size !== String(session.size)) {
    size = String(session.size);
    stage.resize(session.size);
    const brush = $("brush");
    brush.max = Math.round(Math.min(...session.size) / 5);
    brush.value = Math.round(Math.min(...session.size) / 22);
    resizeBrush();
  }
  if (player.motion !== session.motion && lanes.begun) closeLanes();
  player.motion = session.motion;
  panel.follow(session);
  arrows.follow(session);
  player.follow(session);
  if (!session.masked) stage.mask = null;
  touched();
  stage.redraw();
}

function draw(header, bitmap) {
  if (header.lane === "main") {
    if (arrows.held.size && header.gesture !== arrows.gesture) return; // of an earlier pull
    player.stop();
    stage.quiet = false;
    stage.show(bitmap);
    document.body.dataset.shown = header.final ? "still" : "moving";
    document.body.dataset.points = header.points.join(" ");
    if (arrows.pulling && header.points.length) arrows.points = header.points;
    measure(header);
  } else if (header.lane === "mask") {
    stage.mask = veil(bitmap);
    if (!tools.painting) stage.stroke = null; // it is in the mask now
  } else if (header.lane === "scrub") player.take(header, bitmap);
  else lanes.show(header, bitmap);
  stage.redraw();
}

// Delay from the pointer to the picture, and pictures a second, over the last second; then what came of the drag.
const drawn = [];

function measure({ time, final, seconds, distance }) {
  if (time === undefined || distance === undefined) return;
  const { live } = panel.method;
  const now = performance.now();
  drawn.push(now);
  while (now - drawn[0] > 1000) drawn.shift();
  const moving = `${live ? `${Math.round(now - time)} ms · ` : ""}${drawn.length} fps`;
  $("speed").value = final ? `${seconds.toFixed(2)} s · ${distance.toFixed(1)} px from the target` : moving;
  $("speed").hidden = false;
  clearTimeout(drawn.timer);
  drawn.timer = setTimeout(() => ($("speed").hidden = true), 3000);
}

const JOBS = {
  drag: "Dragging",
  compare: "Comparing",
  start: "Looking for a start",
  invert: "Finding your picture",
  tune: "Tuning the generator",
};
const OWN = ["start", "invert", "tune"]; // what a picture of the user's own goes through

function work({ what, step, steps }) {
  const own = OWN.includes(what);
  $("job").hidden = !what || (what === "drag" && panel.method.live);
  $("player").hidden = !$("job").hidden || lanes.open;
  if (what === "compare" && lanes.open) lanes.begun = true;
  $("job-take").hidden = !own;
  $("job-stop").textContent = own ? "Cancel" : "Stop";
  $("job-text").textContent = what ? `${JOBS[what]} ${Math.min(step, steps)} / ${steps}` : "";
  $("job-bar").value = steps ? step / steps : 0;
  document.body.dataset.work = what;
  if (!what) lanes.stopped();
  touched();
}

function connection(state) {
  document.body.dataset.connection = state;
  if (state === "open") return;
  note("The connection is gone. Trying again; the session was not kept.", true);
  work({ what: "" });
  arrows.forget();
}

function note(text, wrong = false) {
  const element = document.createElement("p");
  element.className = wrong ? "note wrong" : "note";
  element.textContent = text;
  $("notes").append(element);
  while ($("notes").children.length > 3) $("notes").firstChild.remove();
  setTimeout(() => element.remove(), 7000);
}

// --- said -------------------------------------------------------------------------------------------------------

function touched() {
  const any = arrows.handles.length > 0;
  $("run").disabled = !arrows.ready;
  $("compare").disabled = !any || arrows.open !== null;
  $("clear").disabled = !any && !arrows.pins.length;
  const plan = arrows.open !== null ? "Now press where it shall go." : "Drag arrows, then press Run.";
  const text = { pull: "Press on the picture and pull.", arrow: plan, pin: "Press on what must stay." }[tools.tool];
  $("hint").textContent = text ?? (tools.tool === "change" ? "Paint what may change." : "Paint what must stay.");
  $("hint").classList.toggle("gone", (any && arrows.open === null) || OWN.includes(document.body.dataset.work));
}

function cancel() {
  arrows.forget();
  command("cancel");
}

function run() {
  if (!arrows.ready) return;
  arrows.again = false;
  arrows.gesture += 1;
  arrows.points = [...arrows.handles, ...arrows.pins];
  arrows.pulling = true;
  say(arrows.message("release", { gesture: arrows.gesture, time: performance.now() }));
  touched();
}

function compare() {
  if ($("compare").disabled) return;
  arrows.again = !arrows.planned || arrows.pulling; // also while that drag is on its way
  const message = arrows.message("compare");
  const methods = lanes.start(panel.session.methods, $("picture"));
  $("frame").hidden = $("player").hidden = true;
  say({ ...message, methods });
}

function closeLanes() {
  if (!lanes.over) command("stop");
  lanes.hide();
  $("frame").hidden = $("player").hidden = false;
  stage.redraw();
}

function clear() {
  arrows.clear();
  touched();
  stage.redraw();
}

function stop() {
  command(OWN.includes(document.body.dataset.work) ? "cancel" : "stop");
}

function choose(tool) {
  tools.choose(tool);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === tool);
  }
  touched();
}

function resizeBrush(change = 0) {
  $("brush").value = Number($("brush").value) + change;
  $("brush-text").value = `${$("brush").value} px`;
  tools.resizeBrush(Number($("brush").value));
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = localStorage.theme = now === "dark" ? "light" : "dark";
}

const clicks = {
  "lanes-close": closeLanes,
  undo: () => command("undo"),
  redo: () => command("redo"),
  reset: () => command("reset"),
  "mask-clear": () => command("clear_mask"),
  "mask-invert": () => command("invert_mask"),
  "job-take": () => command("stop"),
  "job-stop": stop,
  help: () => $("help-dialog").showModal(),
  run,
  compare,
  clear,
  theme,
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => choose(button.dataset.tool));
}
$("brush").addEventListener("input", () => resizeBrush());

const keys = {
  v: () => choose("pull"),
  a: () => choose("arrow"),
  p: () => choose("pin"),
  b: () => choose("change"),
  k: () => choose("keep"),
  r: () => panel.dice(),
  c: compare,
  "[": () => resizeBrush(-1),
  "]": () => resizeBrush(1),
  " ": () => player.toggle(),
  "?": () => $("help-dialog").showModal(),
  enter: run,
  delete: clear,
  backspace: clear,
  escape: () => (arrows.held.size ? cancel() : lanes.open ? closeLanes() : stop()),
};

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    command(key === "y" || event.shiftKey ? "redo" : "undo");
    return;
  }
  const field = event.target.closest("input, select, dialog, button, summary");
  if (event.altKey || !keys[key] || (field && (field.type !== "range" || key === " ") && key !== "escape")) return;
  if ($("help-dialog").open) return;
  event.preventDefault();
  keys[key]();
});

if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
choose("pull");
