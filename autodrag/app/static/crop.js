// Crop dialog: the photograph is moved, zoomed and rotated under a frame with the generator's aspect ratio.

import { $ } from "./panel.js";

const SIDE = 360; // longer side of the frame, in CSS pixels

export class Crop {
  #bitmap = null;
  #size = [1, 1];
  #middle = [0, 0]; // centre of the crop, in pixels of the photograph
  #press = null;

  constructor() {
    const canvas = $("crop-picture");
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#press = [event.clientX, event.clientY];
    });
    canvas.addEventListener("pointermove", (event) => this.#drag(event));
    canvas.addEventListener("pointerup", () => (this.#press = null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const name of ["crop-zoom", "crop-turn"]) $(name).addEventListener("input", () => this.#draw());
  }

  // The crop as "x,y,width,turn", in fractions of the photograph's width and degrees; "" if the browser lacks the memory
  // for it; null if the user cancels, or for another file while the dialog is open.
  async ask(file, size) {
    const bitmap = await createImageBitmap(file).catch(() => null);
    const dialog = $("crop-dialog");
    if (dialog.open) return null;
    if (!bitmap) return "";
    this.#bitmap = bitmap;
    this.#size = size;
    this.#middle = [this.#bitmap.width / 2, this.#bitmap.height / 2];
    $("crop-zoom").value = $("crop-turn").value = 0;
    const scale = SIDE / Math.max(...size);
    Object.assign($("crop-picture"), { width: Math.round(size[0] * scale), height: Math.round(size[1] * scale) });
    this.#draw();
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "use") return null;
    const { width } = this.#bitmap;
    const part = [this.#middle[0] / width, this.#middle[1] / width, this.#width / width, Number($("crop-turn").value)];
    return part.map((value) => value.toFixed(5)).join(",");
  }

  // Size of the crop in pixels of the photograph: between an eighth of the largest that fits, and that.
  get #width() {
    const [width, height] = this.#size;
    const most = Math.min(this.#bitmap.width, (this.#bitmap.height * width) / height);
    return most / 2 ** Number($("crop-zoom").value);
  }

  #drag({ clientX, clientY }) {
    if (!this.#press) return;
    this.#move(clientX - this.#press[0], clientY - this.#press[1]);
    this.#press = [clientX, clientY];
  }

  #key(event) {
    const way = { ArrowLeft: [8, 0], ArrowRight: [-8, 0], ArrowUp: [0, 8], ArrowDown: [0, -8] }[event.key];
    if (!way) return;
    event.preventDefault();
    this.#move(...way);
  }

  // Move the photograph under the frame by CSS pixels.
  #move(x, y) {
    const scale = this.#width / $("crop-picture").clientWidth;
    const turn = (Number($("crop-turn").value) * Math.PI) / 180;
    const [cos, sin] = [Math.cos(turn) * scale, Math.sin(turn) * scale];
    const [width, height] = [this.#bitmap.width, this.#bitmap.height];
    const moved = [this.#middle[0] - x * cos + y * sin, this.#middle[1] - x * sin - y * cos];
    this.#middle = [Math.min(Math.max(moved[0], 0), width), Math.min(Math.max(moved[1], 0), height)];
    this.#draw();
  }

  #draw() {
    const canvas = $("crop-picture");
    const g = canvas.getContext("2d");
    const scale = canvas.width / this.#width;
    g.fillStyle = "#808080";
    g.fillRect(0, 0, canvas.width, canvas.height);
    g.save();
    g.translate(canvas.width / 2, canvas.height / 2);
    g.rotate((-Number($("crop-turn").value) * Math.PI) / 180);
    g.scale(scale, scale);
    g.drawImage(this.#bitmap, -this.#middle[0], -this.#middle[1]);
    g.restore();
    $("crop-turn-text").textContent = `${$("crop-turn").value}°`;
  }
}
