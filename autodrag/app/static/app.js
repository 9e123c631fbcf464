// The page: sends all messages to the server and dispatches those received.

import { Arrows } from "./arrows.js";
import { Crop } from "./crop.js";
import { veil } from "./draw.js";
import { Files } from "./files.js";
import { Gallery } from "./gallery.js";
import { Keeper } from "./keeper.js";
import { listen } from "./keys.js";
import { Comparison } from "./comparison.js";
import { Link } from "./link.js";
import { $, Panel } from "./panel.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { guard } from "./sliders.js";
import { PictureCanvas } from "./canvas.js";
import { Teller } from "./teller.js";
import { switchTheme } from "./theme.js";
import { Tools } from "./tools.js";

let asked = 0; // commands sent since the last session update
const say = (message) => {
  asked += !["show", "glance"].includes(message.type);
  link.say(message);
};
const command = (type) => say({ type });

const arrows = new Arrows();
const stage = new PictureCanvas($("frame"), $("picture"), $("overlay"));
const panel = new Panel(say);
const teller = new Teller();
const player = new Player(
  { play: $("play"), scrub: $("scrub"), text: $("scrub-text"), before: $("before") },
  (index) => say({ type: "show", index }),
  (bitmap) => {
    stage.show(bitmap);
    stage.quiet = !player.atEnd;
    stage.redraw();
  },
);
const scrubbed = () => player.scrubbed;
const files = new Files(teller, panel, new Crop(), () => ({ token: link.token, frame: scrubbed() }));
const keeper = new Keeper(() => files.fetch("safetensors"));
const comparison = new Comparison(
  {
    ...{ cards: $("lanes"), missing: $("lanes-missing"), large: $("large"), original: $("large-original") },
    ...{ result: $("large-result"), split: $("large-split"), title: $("large-title") },
  },
  (method) => say({ type: "take", method }),
);
const gallery = new Gallery($("history"), (index) => say({ type: "glance", index }), (index) => say({ type: "go", index }));
const tools = new Tools(stage, arrows, {
  ready: () => link.ready,
  pull: say,
  release: say,
  brush: say,
  plan,
  drop,
  full: () => teller.note(`There is room for ${arrows.most} arrows and as many pins: remove some.`, true),
  touched,
  scrubbed,
  present: () => player.go(player.last),
});
const pictures = new Pictures(() => link.say({ type: "shown" }), draw);
const link = new Link(heard, (header, blob) => pictures.take(header, blob), connection);
stage.arrows = arrows;

// --- received ---------------------------------------------------------------------------------------------------

function heard(message) {
  if (message.type === "welcome") welcome(message);
  else if (message.type === "session") follow(message);
  else if (message.type === "work" || message.type === "file") work(message);
  else if (message.type === "note" && message.lane) comparison.tell(message.text);
  else if (message.type === "note") teller.note(message.text, true);
}

let greeting = null; // the welcome of the connection

// A server that lacks the page's session gets the local copy, if not at once, then at the next welcome.
async function welcome(message) {
  greeting = message;
  panel.welcome(message);
  arrows.most = message.limits.points;
  arrows.meet();
  player.meet();
  gallery.meet();
  if (!message.known) {
    for (const type of ["file", "work"]) work({ type, what: "" });
    keeper.begin();
  }
  await keeper.bringBack((copy, key) => files.restore(copy, key));
  if (greeting !== message) return; // the connection was lost meanwhile
  connection("open");
  link.begin();
  gallery.begin();
}

function connection(state, text = "") {
  document.body.dataset.connection = state;
  const open = state === "open";
  if (!open) greeting = null;
  teller.line(text);
  for (const part of document.querySelectorAll(".bar, .tools, .panel, .player, .history")) part.inert = !open;
  if (!open && !arrows.held.size) arrows.forget();
}

let size = "";

function follow(session) {
  asked = 0;
  if (size !== String(session.size)) {
    size = String(session.size);
    stage.resize(session.size);
    const brush = $("brush");
    brush.max = Math.round(Math.min(...session.size) / 5);
    brush.value = Math.round(Math.min(...session.size) / 22);
    resizeBrush();
  }
  if (player.motion !== session.motion && comparison.begun) {
    comparison.shrink();
    closeComparison();
  }
  if (player.motion !== session.motion) document.body.dataset.shown = "moving"; // its picture follows
  player.motion = session.motion;
  panel.follow(session);
  arrows.follow(session);
  player.follow(session);
  if (keeper.follow(session)) teller.note("Your work was brought back.");
  gallery.follow(session);
  mirror();
  if (!session.masked) stage.mask = null;
  if (!session.masked && !tools.painting) stage.stroke = null; // it was refused, or its mask follows
  touched();
  stage.redraw();
}

function draw(header, bitmap) {
  $("busy").hidden = !header.busy;
  if (header.lane === "main") {
    if (arrows.pulls && header.gesture !== arrows.gesture) return; // of an earlier drag
    player.rest();
    stage.quiet = teller.own; // arrows belong to the previous picture
    stage.show(bitmap);
    document.body.dataset.shown = header.final && header.motion === player.motion ? "still" : "moving";
    document.body.dataset.points = header.points.join(" ");
    if (arrows.pulling && header.points.length) arrows.points = header.points;
    teller.measure(header, panel.method.live);
  } else if (header.lane === "mask") {
    stage.mask = veil(bitmap);
    if (!tools.painting) stage.stroke = null; // it is part of the mask now
  } else if (header.lane === "scrub") player.take(header, bitmap);
  else if (header.moment !== undefined) gallery.take(header, bitmap);
  else comparison.show(header, bitmap);
  stage.redraw();
}

function work(message) {
  const what = teller.work(message, panel.session && panel.method.live);
  $("player").hidden = !$("job").hidden || comparison.open;
  if (what === "compare" && comparison.open) comparison.begun = true;
  $("job-take").hidden = !teller.own;
  $("job-stop").textContent = teller.own ? "Cancel" : "Stop";
  document.body.dataset.work = what;
  if (message.type === "work" && !message.what) comparison.stopped();
  touched();
}

// --- sent -------------------------------------------------------------------------------------------------------

function touched() {
  const any = arrows.handles.length > 0;
  $("undo").disabled = arrows.open === null && !panel.session?.undo;
  $("run").disabled = !arrows.ready;
  $("compare").disabled = !any || arrows.open !== null;
  $("clear").disabled = !any && !arrows.pins.length;
  $("clear").textContent = arrows.selected === null ? "Clear" : "Remove";
  const plan = arrows.open !== null ? "Now press where it should go." : "Draw arrows, then press Run.";
  const texts = { pull: "Press on the picture and drag.", arrow: plan, pin: "Press on what should stay in place." };
  texts.hand = "Move the zoomed picture.";
  const text = texts[tools.tool] ?? (tools.tool === "change" ? "Paint what may change." : "Paint what must not change.");
  $("hint").textContent = text;
  $("hint").classList.toggle("gone", (any && arrows.open === null) || teller.own);
}

function plan() {
  if (arrows.open === null) say(arrows.setting());
}

function undo() {
  if (arrows.open === null) return command("undo");
  arrows.giveUp(panel.session);
  touched();
  stage.redraw();
}

function drop() {
  arrows.forget();
  say({ type: "drop", gesture: arrows.gesture });
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
  arrows.again = !arrows.planned || (arrows.pulling && arrows.at === null); // also while that drag is running
  const message = arrows.message("compare");
  const methods = comparison.start(panel.session.methods, $("picture"));
  $("frame").hidden = $("player").hidden = true;
  say({ ...message, methods });
}

function closeComparison() {
  if (comparison.shrink()) return;
  if (!comparison.over) command("stop");
  comparison.hide();
  $("frame").hidden = $("player").hidden = false;
  stage.redraw();
}

function clear() {
  arrows.remove();
  plan();
  touched();
  stage.redraw();
}

function stop() {
  command(teller.own ? "cancel" : "stop");
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
  $("brush-text").textContent = `${$("brush").value} px`;
  tools.resizeBrush(Number($("brush").value));
}

function mirror() {
  arrows.width = $("mirror").checked ? stage.size[0] : null;
}

const clicks = {
  "lanes-close": closeComparison,
  undo,
  redo: () => command("redo"),
  reset: () => command("reset"),
  "mask-clear": () => command("clear_mask"),
  "mask-invert": () => command("invert_mask"),
  "job-take": () => command("stop"),
  "job-stop": stop,
  "zoom-in": () => stage.scaleBy(1.5),
  "zoom-out": () => stage.scaleBy(1 / 1.5),
  help: () => $("help-dialog").showModal(),
  run,
  compare,
  clear,
  earlier: () => keeper.earlier().then((copy) => (copy ? files.session(copy) : teller.note("There is no further session."))),
  theme: switchTheme,
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => choose(button.dataset.tool));
}
for (const slider of document.querySelectorAll("input[type=range]")) guard(slider);
$("brush").addEventListener("input", () => resizeBrush());
$("mirror").addEventListener("change", mirror);
$("veil").addEventListener("change", () => {
  stage.veiled = $("veil").checked;
  stage.redraw();
});
$("detail").addEventListener("change", () => say({ type: "detail", on: $("detail").checked }));
$("grow").addEventListener("change", () => say({ type: "grow", on: $("grow").checked }));

listen({
  keys: {
    ...{ v: () => choose("pull"), a: () => choose("arrow"), p: () => choose("pin"), h: () => choose("hand") },
    ...{ b: () => choose("change"), k: () => choose("keep") },
    ...{ r: () => panel.dice(), c: compare, "[": () => resizeBrush(-1), "]": () => resizeBrush(1) },
    ...{ "+": clicks["zoom-in"], "=": clicks["zoom-in"], "-": clicks["zoom-out"] },
    ...{ " ": () => player.toggle(), "?": clicks.help, enter: run, delete: clear, backspace: clear },
    escape: () => (arrows.held.size ? drop() : comparison.open ? closeComparison() : stop()),
  },
  held: { o: (down) => player.peek(down) },
  chords: { z: (shift) => (shift ? clicks.redo() : undo()), y: clicks.redo },
  busy: () => asked > 0,
});

choose("pull");
