// Local copy of the session in IndexedDB: saved after each edit, and uploaded to a server that lacks the session. Until
// that server says that it has it, edits are saved to another copy.

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
  #key = sessionStorage.tab ?? ""; // of the copy of the current session; "" before the first
  #owed = JSON.parse(sessionStorage.owed ?? "[]"); // keys of copies that no server has yet, the newest first
  #version = 0; // of the current session
  #copied = 0; // of the saved copy
  #heavy = false;
  #seen = new Set(); // keys of other tabs' copies that were asked for
  #timer = null;

  // fetch(): the session file as a blob
  constructor(fetch) {
    this.fetch = fetch;
    addEventListener("beforeunload", (event) => this.#ask(event));
  }

  // Returns whether the server says that it has a copy that was owed.
  follow({ version, heavy, copy }) {
    const back = this.#owed.includes(copy);
    if (back) this.#name(copy, this.#owed.filter((key) => key !== copy));
    if (version !== this.#version) this.#copySoon(version, heavy);
    return back;
  }

  #copySoon(version, heavy) {
    this.#version = version;
    this.#heavy = heavy;
    clearTimeout(this.#timer);
    if (version && !heavy) this.#timer = setTimeout(() => this.#copy(version), PAUSE);
  }

  #name(key, owed) {
    this.#key = sessionStorage.tab = key;
    this.#owed = owed.slice(0, MOST);
    sessionStorage.owed = JSON.stringify(this.#owed);
  }

  async #copy(version) {
    const key = this.#key || Math.random().toString(36).slice(2);
    this.#name(key, this.#owed); // now: when the data is here there may be another session
    try {
      const data = await this.fetch();
      const all = await store("readwrite");
      await done(all.put({ data, time: Date.now() }, key));
      this.#copied = version;
      document.body.dataset.copied = version;
      await this.#prune(all);
    } catch {
      // The server is gone or storage is unavailable: leaving the page then asks for confirmation.
    }
  }

  async #prune(all) {
    for (const { key } of (await this.#sorted(all)).slice(MOST)) all.delete(key);
  }

  // All copies as {key, data, time}, the newest first.
  async #sorted(all) {
    const [keys, copies] = [await done(all.getAllKeys()), await done(all.getAll())];
    return copies.map((copy, i) => ({ key: keys[i], ...copy })).sort((a, b) => b.time - a.time);
  }

  // The newest copy of another tab, which may be closed; with each call an older one. Null: there is no further one.
  async earlier() {
    try {
      const copies = await this.#sorted(await store("readonly"));
      const found = copies.find(({ key }) => key !== this.#key && !this.#seen.has(key));
      if (found) this.#seen.add(found.key);
      else this.#seen.clear();
      return found?.data ?? null;
    } catch {
      return null; // storage is unavailable
    }
  }

  // Give what is owed to restore(copy, key), until it returns true.
  async bringBack(restore) {
    for (const key of this.#owed) {
      const copy = await this.#read(key);
      if (copy && (await restore(copy, key))) return;
    }
  }

  async #read(key) {
    try {
      return (await done((await store("readonly")).get(key)))?.data;
    } catch {
      return null; // storage is unavailable
    }
  }

  // New session: the copy is of the one before.
  begin() {
    clearTimeout(this.#timer);
    if (this.#key) this.#name("", [this.#key, ...this.#owed]);
    this.#version = this.#copied = 0;
  }

  #ask(event) {
    const lost = this.#version && this.#copied !== this.#version;
    if (lost && (this.#heavy || document.body.dataset.connection !== "open")) event.preventDefault();
  }
}
