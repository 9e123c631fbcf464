// The connection: JSON texts out and in, pictures in. After a break it connects again, to a new session.

export class Link {
  #socket = null;
  #wait = 500;
  #refused = false;

  // heard(message), seen(header, blob), state("open" | "closed")
  constructor(heard, seen, state) {
    Object.assign(this, { heard, seen, state });
    this.#connect();
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/socket`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = 500;
      this.state("open");
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => {
      if (this.#refused) return;
      this.state("closed");
      setTimeout(() => this.#connect(), this.#wait);
      this.#wait = Math.min(8000, this.#wait * 2);
    };
    this.#socket = socket;
  }

  #receive(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      this.#refused = message.type === "refused";
      this.heard(message);
      return;
    }
    const size = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, size)));
    this.seen(header, new Blob([new Uint8Array(data, 4 + size)], { type: `image/${header.format}` }));
  }

  say(message) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }
}
