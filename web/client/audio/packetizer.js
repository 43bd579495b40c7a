/** Cuts blocks of any length into packets of one length. Pure. Owner: the capture worklet. */
export class Packetizer {
  #packet;
  #filled = 0;

  /** @param {number} packetSamples */
  constructor(packetSamples) {
    this.#packet = new Float32Array(packetSamples);
  }

  /**
   * @param {Float32Array} block
   * @param {(packet: Float32Array<ArrayBuffer>) => void} onPacket owns the packet that it is given
   */
  push(block, onPacket) {
    for (let start = 0; start < block.length; ) {
      const part = block.subarray(start, start + this.#packet.length - this.#filled);
      this.#packet.set(part, this.#filled);
      this.#filled += part.length;
      start += part.length;
      if (this.#filled < this.#packet.length) return;
      const full = this.#packet;
      this.#packet = new Float32Array(full.length);
      this.#filled = 0;
      onPacket(full);
    }
  }
}
