// Sliders under a finger: a scroll that starts on one does not move it.

const SLACK = 8; // CSS pixels along the slider before it is the slider that is meant

export function guard(slider) {
  let held = null; // {value, x}: touched, and not clear yet what is meant
  const hold = (event) => {
    if (held) event.stopImmediatePropagation();
  };
  slider.style.touchAction = "pan-y";
  slider.addEventListener("input", hold, true);
  slider.addEventListener("change", hold, true);
  slider.addEventListener("pointerdown", ({ pointerType, clientX }) => {
    held = pointerType === "touch" ? { value: slider.value, x: clientX } : null;
  });
  slider.addEventListener("pointermove", ({ clientX }) => {
    if (held && Math.abs(clientX - held.x) > SLACK) release();
  });
  slider.addEventListener("pointerup", () => held && release());
  slider.addEventListener("pointercancel", () => {
    if (!held) return;
    const { value } = held; // the page scrolls
    setTimeout(() => {
      slider.value = value;
      held = null;
    });
  });

  function release() {
    const { value } = held;
    held = null;
    if (slider.value !== value) slider.dispatchEvent(new Event("input"));
  }
}
