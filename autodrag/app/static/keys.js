// Keyboard shortcuts, active except in text fields; buttons keep Space and Enter, radio buttons the arrow keys.

const TYPED = "input:not([type=range], [type=checkbox]), select, textarea, dialog";
const PRESSED = "button, summary, a, [type=checkbox]";

// keys: {key: act}, held: {key: act(down)}, chords: {key: act(shift)} with Ctrl or Cmd; busy(): whether the last command
// is still running, so that key repeats are ignored
export function listen({ keys, held, chords, busy }) {
  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    const chord = event.ctrlKey || event.metaKey;
    if (event.altKey || event.target.closest(TYPED) || document.querySelector("dialog[open]")) {
      if (!(key === "escape" && !document.querySelector("dialog[open]"))) return;
    }
    const act = (chord ? chords : keys)[key];
    if (!chord && held[key]) {
      event.preventDefault();
      if (!event.repeat) held[key](true);
    } else if (act && !((key === " " || key === "enter") && event.target.closest(PRESSED))) {
      event.preventDefault();
      if (!event.repeat || !busy()) act(event.shiftKey);
    }
  });
  document.addEventListener("keyup", (event) => held[event.key.toLowerCase()]?.(false));
}

// A group of radio buttons is a single tab stop; arrow keys select within it.
export function radios(group, choose) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const usable = [...group.children].filter((button) => button.getAttribute("aria-disabled") !== "true");
    const next = usable[(usable.indexOf(document.activeElement) + step + usable.length) % usable.length];
    next.focus();
    choose(next);
  });
}
