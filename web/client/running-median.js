/** The median of the newest values. Pure. */

const KEPT_VALUES = 13; // about a second at one value a frame

export class RunningMedian {
  /** @type {number[]} */
  #newest = [];

  /** @param {number} value */
  add(value) {
    this.#newest.push(value);
    if (this.#newest.length > KEPT_VALUES) this.#newest.shift();
  }

  /** Null before the first value. */
  get value() {
    if (!this.#newest.length) return null;
    return [...this.#newest].sort((a, b) => a - b)[this.#newest.length >> 1];
  }
}
