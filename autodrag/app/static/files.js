// Uploads and downloads.

import { $ } from "./panel.js";

const EFFORT = {
  quick: () => ({ steps: 80, tune: 0 }),
  good: (usual) => ({ steps: usual.steps, tune: 0 }),
  tuned: (usual) => ({ steps: usual.steps, tune: usual.tune }),
};
const GONE = "The connection is lost: try again in a moment.";
const SUFFIX = { safetensors: "session.safetensors", mask: "mask.png" };

export class Files {
  // teller: for notes; panel: the session and the server's default steps; crop: the crop dialog; now(): {token, frame},
  // with the index of the current frame if it is not the last
  constructor(teller, panel, crop, now) {
    Object.assign(this, { teller, panel, crop, now });
    const uploads = { upload: (file) => this.image(file), load: (file) => this.session(file) };
    Object.assign(uploads, { "mask-load": (file) => this.mask(file), "generator-load": (file) => this.generator(file) });
    for (const [id, use] of Object.entries(uploads)) {
      $(id).addEventListener("change", () => {
        if ($(id).files[0]) use($(id).files[0]);
        $(id).value = "";
      });
    }
    for (const button of document.querySelectorAll("[data-export]")) {
      button.addEventListener("click", () => this.#busy(button, () => this.download(button.dataset.export)));
    }
    $("copy").addEventListener("click", () => this.#busy($("copy"), () => this.#copyPicture()));
    $("copy-script").addEventListener("click", () => this.#busy($("copy-script"), () => this.#copyScript()));
    this.#dropping();
    document.addEventListener("paste", ({ clipboardData }) => {
      const file = [...clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (file) this.image(file);
    });
  }

  #dropping() {
    for (const kind of ["dragover", "drop", "dragleave"]) {
      document.addEventListener(kind, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        $("drop").classList.toggle("over", kind === "dragover");
        const file = kind === "drop" && event.dataTransfer.files[0];
        if (file) this.#use(file);
      });
    }
  }

  #use(file) {
    if (/\.pkl$/i.test(file.name)) this.generator(file);
    else if (/\.(safetensors|npz|npy|pth?)$/i.test(file.name)) this.session(file);
    else this.image(file);
  }

  async image(file) {
    const { steps, tune } = EFFORT[$("quality").value](this.panel.invert);
    const align = this.panel.session.alignable && $("align").checked;
    const crop = align ? "" : await this.#crop(file);
    if (crop === null) return;
    await this.#send(`image?steps=${steps}&tune=${tune}&align=${align}${crop && `&crop=${crop}`}`, file);
  }

  // The crop of the picture as the server reads it: browsers turn fewer kinds of files upright.
  async #crop(file) {
    const preview = await this.#send("preview", file);
    return preview && this.crop.ask(await preview.blob(), this.panel.session.size);
  }

  session(file) {
    return this.#send("session", file);
  }

  generator(file) {
    return this.#send(`generator?name=${encodeURIComponent(file.name)}`, file);
  }

  mask(file) {
    return this.#send("mask", file);
  }

  // Upload the page's local copy of a session that the server lacks. Returns whether the server could read it.
  async restore(copy, key) {
    const read = await this.#send(`session?copy=${key}`, copy);
    if (!read) this.teller.note("Your earlier work stays in this browser: reload the page to try again.", true);
    return read;
  }

  // Returns the answer, or null if the file was refused or did not arrive, of which the user is told.
  async #send(what, file) {
    try {
      const answer = await fetch(`upload/${this.now().token}/${what}`, { method: "POST", body: file });
      if (!answer.ok) this.teller.note((await answer.json()).error ?? "The file was refused.", true);
      return answer.ok ? answer : null;
    } catch {
      this.teller.note("The file could not be sent: it may be too large, or the connection is lost.", true);
      return null;
    }
  }

  // Download the session as a file of this kind. Throws an Error with a message for the user.
  async fetch(kind) {
    const { token, frame } = this.now();
    const which = (kind === "png" || kind === "jpg") && frame !== null ? `?frame=${frame}` : "";
    const answer = await fetch(`export/${token}/autodrag.${kind}${which}`).catch(() => {
      throw new Error(GONE);
    });
    if (!answer.ok) throw new Error((await answer.json()).error ?? "The file could not be made.");
    return answer.blob();
  }

  async download(kind) {
    const { dataset, seed } = this.panel.session;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await this.fetch(kind));
    link.download = `autodrag-${dataset}-${seed ?? "own"}.${SUFFIX[kind] ?? kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async #copyPicture() {
    if (!navigator.clipboard?.write) throw new Error("This browser copies no pictures from here: save the PNG instead.");
    await navigator.clipboard.write([new ClipboardItem({ "image/png": this.fetch("png") })]);
    this.teller.note("The picture is in the clipboard.");
  }

  async #copyScript() {
    const text = await (await this.fetch("py")).text();
    if (!navigator.clipboard) throw new Error("This browser gives no access to the clipboard from here.");
    await navigator.clipboard.writeText(text);
    this.teller.note("The session is in the clipboard as Python.");
  }

  async #busy(button, act) {
    button.disabled = true;
    try {
      await act();
    } catch (error) {
      this.teller.note(error.message, true);
    } finally {
      button.disabled = false;
    }
  }
}
