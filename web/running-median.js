/** The median of the newest figures. Pure. */

const FRAMES = 13; // about a second, where there is one figure a frame

export class RunningMedian {
  /** @type {number[]} */
  #newest = [];

  /** @param {number} figure */
  add(figure) {
    this.#newest.push(figure);
    if (this.#newest.length > FRAMES) this.#newest.shift();
  }

  /** Null before the first figure. */
  get value() {
    if (!this.#newest.length) return null;
    return [...this.#newest].sort((a, b) => a - b)[this.#newest.length >> 1];
  }
}
