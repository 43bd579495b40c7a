/**
 * Converts from one sample rate to another, block by block: a windowed sinc, one row of taps for each phase.
 *
 * Only used where the sound card's rate is not one of Opus (44.1 kHz, 96 kHz). Delay: 16 input samples.
 */

const HALF_TAPS = 16;
const TAPS = HALF_TAPS * 2;

export class Resampler {
  #up;
  #down;
  #taps; // [phases, TAPS]
  #history = new Float32Array(TAPS - 1);
  #position = 0; // of the next output, in 1/up input samples after the oldest sample held

  /**
   * @param {number} fromHz integer
   * @param {number} toHz integer
   */
  constructor(fromHz, toHz) {
    const divisor = gcd(fromHz, toHz);
    this.#up = toHz / divisor;
    this.#down = fromHz / divisor;
    this.#taps = makeTaps(this.#up, Math.min(1, toHz / fromHz));
  }

  /**
   * @param {Float32Array} input
   * @returns {Float32Array<ArrayBuffer>} as many samples as can be made so far
   */
  process(input) {
    const held = new Float32Array(this.#history.length + input.length);
    held.set(this.#history);
    held.set(input, this.#history.length);
    const end = (held.length - TAPS + 1) * this.#up;
    const output = new Float32Array(Math.max(0, Math.ceil((end - this.#position) / this.#down)));
    for (let n = 0; n < output.length; n++) {
      const start = Math.floor(this.#position / this.#up);
      const row = (this.#position % this.#up) * TAPS;
      let sum = 0;
      for (let k = 0; k < TAPS; k++) sum += held[start + k] * this.#taps[row + k];
      output[n] = sum;
      this.#position += this.#down;
    }
    this.#position -= input.length * this.#up;
    this.#history = held.slice(input.length);
    return output;
  }
}

/** @param {number} phases @param {number} cutoff 1 is the input's Nyquist frequency */
function makeTaps(phases, cutoff) {
  const taps = new Float32Array(phases * TAPS);
  for (let phase = 0; phase < phases; phase++) {
    let sum = 0;
    for (let k = 0; k < TAPS; k++) {
      const x = k - (HALF_TAPS - 1) - phase / phases;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / HALF_TAPS);
      const angle = Math.PI * x * cutoff;
      taps[phase * TAPS + k] = window * (angle === 0 ? 1 : Math.sin(angle) / angle);
      sum += taps[phase * TAPS + k];
    }
    for (let k = 0; k < TAPS; k++) taps[phase * TAPS + k] /= sum;
  }
  return taps;
}

/** @param {number} a @param {number} b @returns {number} */
function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}
