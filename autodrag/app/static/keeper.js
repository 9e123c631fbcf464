// Local copy of the session in IndexedDB: saved after each edit, and uploaded to a server that lacks the session.

const STORE = "sessions";
const MOST = 6; // maximum number of copies, one per tab
const PAUSE = 600; // milliseconds without edits before saving

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  const request = indexedDB.open("autodrag", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await done(request);
  return database.transaction(STORE, mode).objectStore(STORE);
}

export class Keeper {
  #tab = (sessionStorage.tab ??= Math.random().toString(36).slice(2));
  #version = 0; // of the current session
  #copied = 0; // of the saved copy
  #heavy = false;
  #timer = null;

  // fetch(): the session file as a blob
  constructor(fetch) {
    this.fetch = fetch;
    addEventListener("beforeunload", (event) => this.#ask(event));
  }

  follow({ version, heavy }) {
    if (version === this.#version) return;
    this.#version = version;
    this.#heavy = heavy;
    clearTimeout(this.#timer);
    if (version && !heavy) this.#timer = setTimeout(() => this.#copy(version), PAUSE);
  }

  async #copy(version) {
    try {
      const data = await this.fetch();
      const all = await store("readwrite");
      await done(all.put({ data, time: Date.now() }, this.#tab));
      this.#copied = version;
      document.body.dataset.copied = version;
      await this.#prune(all);
    } catch {
      // The server is gone or storage is unavailable: leaving the page then asks for confirmation.
    }
  }

  async #prune(all) {
    const [keys, copies] = [await done(all.getAllKeys()), await done(all.getAll())];
    const old = keys.map((key, i) => [copies[i].time, key]).sort((a, b) => b[0] - a[0]).slice(MOST);
    for (const [, key] of old) all.delete(key);
  }

  // The copy of this tab, or null.
  async copy() {
    try {
      const kept = await done((await store("readonly")).get(this.#tab));
      return kept?.data ?? null;
    } catch {
      return null;
    }
  }

  // New session: there is no copy of it.
  begin() {
    this.#version = this.#copied = 0;
  }

  #ask(event) {
    const lost = this.#version && this.#copied !== this.#version;
    if (lost && (this.#heavy || document.body.dataset.connection !== "open")) event.preventDefault();
  }
}
