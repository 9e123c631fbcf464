// The WebSocket: JSON messages in both directions, pictures in. Reconnects to the same session.

const TAKEN = 4001; // close code: another tab has taken over the session
const KEPT = ["release", "plan", "brush"]; // message types that are queued while disconnected
const PAUSE = { first: 500, most: 8000, full: 4000 }; // milliseconds before reconnecting

export class Link {
  token = sessionStorage.token ?? "";
  #socket = null;
  #wait = PAUSE.first;
  #fresh = true; // never connected yet
  #ready = false;
  #unsaid = [];
  #refusal = null;
  #taken = false; // until the user reloads: two tabs would take the session from each other

  // heard(message), seen(header, blob), state("closed" | "refused" | "taken", text)
  constructor(heard, seen, state) {
    Object.assign(this, { heard, seen, state });
    this.#connect();
    addEventListener("online", () => this.#again());
  }

  #again() {
    if (!this.#taken && this.#socket.readyState === WebSocket.CLOSED) this.#connect();
  }

  #connect() {
    const address = new URL("socket", document.baseURI); // relative like all URLs, as a proxy may add a prefix
    address.protocol = address.protocol.replace("http", "ws");
    address.search = new URLSearchParams({ token: this.token, ...(this.#fresh ? { fresh: "" } : {}) });
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#socket = socket;
    this.#refusal = null;
  }

  #closed(code) {
    this.#ready = false;
    if (code === TAKEN) {
      this.#taken = true;
      this.state("taken", "This session is open in another tab. Reload the page to continue here.");
    } else {
      if (this.#refusal) this.state("refused", `${this.#refusal} Trying again.`);
      else this.state("closed", "The connection is lost. Your work is kept; trying again.");
      setTimeout(() => this.#again(), this.#refusal ? PAUSE.full : this.#wait);
      this.#wait = Math.min(PAUSE.most, this.#wait * 2);
    }
  }

  #receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "refused") this.#refusal = message.text;
      else if (message.type === "welcome") {
        this.token = sessionStorage.token = message.token;
        this.#wait = PAUSE.first;
        this.heard(message);
        this.#fresh = false;
      } else this.heard(message);
      return;
    }
    const size = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
    this.seen(header, new Blob([new Uint8Array(data, 4 + size)], { type: `image/${header.format}` }));
  }

  get ready() {
    return this.#ready;
  }

  // The session is available: send the queued messages.
  begin() {
    this.#ready = true;
    for (const message of this.#unsaid.splice(0)) this.say(message);
  }

  say(message) {
    const open = this.#socket.readyState === WebSocket.OPEN;
    if (open && (this.#ready || message.type === "shown")) this.#socket.send(JSON.stringify(message));
    else if (KEPT.includes(message.type)) this.#unsaid = [...this.#unsaid, message].slice(-8);
  }
}
