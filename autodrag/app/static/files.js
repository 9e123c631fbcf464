// Uploads and downloads.

import { $ } from "./panel.js";

const EFFORT = {
  quick: () => ({ steps: 80, tune: 0 }),
  good: (usual) => ({ steps: usual.steps, tune: 0 }),
  tuned: (usual) => ({ steps: usual.steps, tune: usual.tune }),
};

export class Files {
  token = null;

  // note(text): tell the user; usual(): the server's numbers of steps
  constructor(note, usual) {
    Object.assign(this, { note, usual });
    $("upload").addEventListener("change", () => this.#chosen($("upload"), (file) => this.image(file)));
    $("load").addEventListener("change", () => this.#chosen($("load"), (file) => this.session(file)));
    for (const button of document.querySelectorAll("[data-export]")) {
      button.addEventListener("click", () => this.download(button, button.dataset.export));
    }
    this.#dropping();
    document.addEventListener("paste", ({ clipboardData }) => {
      const file = [...clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (file) this.image(file);
    });
  }

  #chosen(input, use) {
    if (input.files[0]) use(input.files[0]);
    input.value = "";
  }

  #dropping() {
    for (const kind of ["dragover", "drop", "dragleave"]) {
      document.addEventListener(kind, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        $("drop").classList.toggle("over", kind === "dragover");
        const file = kind === "drop" && event.dataTransfer.files[0];
        if (file) /\.(safetensors|npz|npy|pth?|pkl)$/i.test(file.name) ? this.session(file) : this.image(file);
      });
    }
  }

  image(file) {
    const { steps, tune } = EFFORT[$("quality").value](this.usual());
    return this.#send(`image?steps=${steps}&tune=${tune}&align=${$("align").checked}`, file);
  }

  session(file) {
    return this.#send("session", file);
  }

  async #send(what, file) {
    try {
      const answer = await fetch(`/upload/${this.token}/${what}`, { method: "POST", body: file });
      if (!answer.ok) this.note((await answer.json()).error ?? "The file was refused.", true);
    } catch {
      this.note("The file could not be sent: it may be too large, or the connection is gone.", true);
    }
  }

  async download(button, kind) {
    button.disabled = true;
    try {
      const answer = await fetch(`/export/${this.token}/autodrag.${kind}`);
      if (!answer.ok) throw new Error((await answer.json()).error);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = `autodrag.${kind === "safetensors" ? "session.safetensors" : kind}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      this.note(error.message || "The file could not be made.", true);
    } finally {
      button.disabled = false;
    }
  }
}
