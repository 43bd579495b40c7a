/**
 * How much sound the playback buffer should hold just before a packet arrives, and how far it is from that.
 *
 * All in samples, on the clock of samples played. The low water is the lowest depth in a window of six model frames. One window
 * above the target means an excess. A shortage shows only when the highest low water of many windows is below the target,
 * because a single window may just contain a late packet. Pure.
 */

const WINDOW_MS = 480;
const TOLERANCE_MS = 10; // a smaller difference is ignored
const WINDOWS_FOR_SHORTAGE = 20; // 10 s
const WINDOWS_FOR_STEP = 125; // a minute
const SPARE_MS = 5; // what must remain at the lowest after a step down

export class BufferTarget {
  target; // what the buffer should hold
  lowWater = 0; // the lowest depth in the previous window

  #start;
  #step;
  #max;
  #window;
  #tolerance;
  #spare;
  #lowest = Infinity; // depth in this window
  #measured = 0; // samples pulled in this window
  #highest = -Infinity; // low water of the windows since a shortage was last considered
  #windowsForShortage = 0;
  #lowestForStep = Infinity; // low water of the windows since a step was last considered
  #windowsForStep = 0;

  /** @param {number} rateHz @param {{startMs: number, stepMs: number, maxMs: number}} options */
  constructor(rateHz, { startMs, stepMs, maxMs }) {
    const samples = (/** @type {number} */ ms) => Math.round((ms * rateHz) / 1000);
    this.target = this.#start = samples(startMs);
    this.#step = samples(stepMs);
    this.#max = samples(maxMs);
    this.#window = samples(WINDOW_MS);
    this.#tolerance = samples(TOLERANCE_MS);
    this.#spare = samples(SPARE_MS);
  }

  /** The buffer ran dry: it should hold more. */
  grow() {
    this.target = Math.min(this.target + this.#step, this.#max);
  }

  /** Playback starts again: forget the measurements. A shortage at the start is corrected after one window. */
  reset() {
    this.#lowest = Infinity;
    this.#measured = 0;
    this.#resetStep();
    this.#resetShortage();
    this.#windowsForShortage = WINDOWS_FOR_SHORTAGE - 1;
  }

  /**
   * @param {number} depth of the buffer
   * @param {number} length about to be played
   * @returns {number} how much should be taken out, or put in if negative; mostly 0
   */
  measure(depth, length) {
    this.#lowest = Math.min(this.#lowest, depth);
    this.#measured += length;
    if (this.#measured < this.#window) return 0;
    this.lowWater = this.#lowest;
    this.#lowest = Infinity;
    this.#measured = 0;
    this.#considerStepDown();
    return this.#difference();
  }

  #difference() {
    this.#highest = Math.max(this.#highest, this.lowWater);
    this.#windowsForShortage += 1;
    if (this.lowWater - this.target >= this.#tolerance) return this.#decide(this.lowWater - this.target);
    if (this.#windowsForShortage < WINDOWS_FOR_SHORTAGE) return 0;
    const shortage = this.target - this.#highest;
    return this.#decide(shortage >= this.#tolerance ? -shortage : 0);
  }

  /** @param {number} difference */
  #decide(difference) {
    this.#resetShortage();
    return difference;
  }

  #considerStepDown() {
    this.#lowestForStep = Math.min(this.#lowestForStep, this.lowWater);
    this.#windowsForStep += 1;
    if (this.#windowsForStep < WINDOWS_FOR_STEP) return;
    const isUnneeded = this.#lowestForStep >= this.#step + this.#spare;
    if (isUnneeded) this.target = Math.max(this.#start, this.target - this.#step);
    this.#resetStep();
  }

  #resetShortage() {
    this.#highest = -Infinity;
    this.#windowsForShortage = 0;
  }

  #resetStep() {
    this.#lowestForStep = Infinity;
    this.#windowsForStep = 0;
  }
}
