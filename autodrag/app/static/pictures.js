// Incoming pictures: decoded in order, stale ones skipped, each acknowledged so that the server sends the next.

export class Pictures {
  #queues = new Map();

  // shown(): acknowledge; draw(header, bitmap)
  constructor(shown, draw) {
    Object.assign(this, { shown, draw });
  }

  async take(header, blob) {
    const lane = header.lane;
    const waiting = this.#queues.get(lane);
    if (waiting) {
      if (waiting.next) this.shown(); // replaced before it was decoded
      waiting.next = { header, blob };
      return;
    }
    const queue = { next: { header, blob } };
    this.#queues.set(lane, queue);
    while (queue.next) {
      const { header: about, blob: data } = queue.next;
      queue.next = null;
      const bitmap = await createImageBitmap(data).catch(() => null); // fails if the browser lacks memory
      if (bitmap) this.draw(about, bitmap);
      this.shown(); // in any case: the server waits for it
    }
    this.#queues.delete(lane);
  }
}
