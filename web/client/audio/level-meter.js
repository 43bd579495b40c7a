/** The level of a voice, one value a span. Spans are counted on the audio clock, so the spans of two meters line up. Pure. */
export class LevelMeter {
  /** One span is this many samples: eight render quanta, 21 ms at 48 kHz. */
  static SPAN_SAMPLES = 1024;

  #onLevel;
  #sum = 0;
  #count = 0;

  /** @param {(span: number, rms: number) => void} onLevel */
  constructor(onLevel) {
    this.#onLevel = onLevel;
  }

  /**
   * @param {Float32Array} block
   * @param {number} startFrame of the block, on the context's clock
   */
  add(block, startFrame) {
    for (const sample of block) this.#sum += sample * sample;
    this.#count += block.length;
    const end = startFrame + block.length;
    if (end % LevelMeter.SPAN_SAMPLES >= block.length) return;
    this.#onLevel(Math.floor(end / LevelMeter.SPAN_SAMPLES) - 1, Math.sqrt(this.#sum / this.#count));
    this.#sum = 0;
    this.#count = 0;
  }
}
