// Touch on sliders: a scroll that starts on one does not move it.

const SLACK = 8; // CSS pixels of motion along the slider before it starts to move

export function guard(slider) {
  let held = null; // {value, x}: touched, still undecided between slider and scroll
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
    const { value } = held; // a scroll
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
