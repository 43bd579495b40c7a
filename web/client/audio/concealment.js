/**
 * Packet loss concealment: repeats the last pitch period, fading out. A short gap in speech is then hardly heard, a long one
 * becomes silence. Pure. After ITU-T G.711 Appendix I.
 */

const PITCH_MIN_MS = 2.5; // 400 Hz
const PITCH_MAX_MS = 15; // 67 Hz
const TEMPLATE_MS = 8; // how much of the end is compared with what lies a period before
const FADE_FROM_MS = 10;
const FADE_TO_MS = 60;
const BLEND_MS = 2; // from the mirror image of the end, which is always continuous, to the repeated period

/** How much sound before the gap is needed. */
export const HISTORY_MS = PITCH_MAX_MS + TEMPLATE_MS;

export class Concealment {
  #history;
  #period;
  #filled = 0;
  #fadeFrom;
  #fadeTo;
  #blend;

  /**
   * @param {Float32Array} history the last `HISTORY_MS` before the gap
   * @param {number} rateHz
   */
  constructor(history, rateHz) {
    const samples = (/** @type {number} */ ms) => Math.round((ms * rateHz) / 1000);
    this.#history = history;
    this.#fadeFrom = samples(FADE_FROM_MS);
    this.#fadeTo = samples(FADE_TO_MS);
    this.#blend = samples(BLEND_MS);
    this.#period = findPeriod(history, samples(PITCH_MIN_MS), samples(PITCH_MAX_MS), samples(TEMPLATE_MS));
  }

  /** Whether it has faded out. */
  get silent() {
    return this.#filled >= this.#fadeTo;
  }

  /** Fill `out` with the next samples. @param {Float32Array} out */
  fill(out) {
    const end = this.#history.length;
    for (let i = 0; i < out.length; i++, this.#filled++) {
      const periodic = this.#history[end - this.#period + (this.#filled % this.#period)];
      const mirror = Math.max(0, 1 - this.#filled / this.#blend);
      const sound = mirror ? periodic * (1 - mirror) + this.#history[end - 1 - this.#filled] * mirror : periodic;
      out[i] = sound * Math.min(1, Math.max(0, (this.#fadeTo - this.#filled) / (this.#fadeTo - this.#fadeFrom)));
    }
  }
}

/**
 * The distance at which the end of a sound is most similar to what came before it.
 * @param {Float32Array} sound
 * @param {number} shortest
 * @param {number} longest
 * @param {number} template samples compared
 */
function findPeriod(sound, shortest, longest, template) {
  const from = sound.length - template;
  let best = longest;
  let highest = -Infinity;
  for (let period = shortest; period <= longest; period++) {
    let product = 0;
    let energy = 1e-9;
    for (let i = from; i < sound.length; i += 2) {
      const earlier = sound[i - period];
      product += sound[i] * earlier;
      energy += earlier * earlier;
    }
    const similarity = product / Math.sqrt(energy);
    if (similarity > highest) [best, highest] = [period, similarity];
  }
  return best;
}
