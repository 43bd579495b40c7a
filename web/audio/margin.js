/**
 * How much sound the playout buffer should hold before the next packet comes, and how far it is from that.
 *
 * All in samples, on the clock of samples played. The low water is taken over six model frames. One watch above the
 * target means an excess; a want shows only when the best of many watches lies below the target, since any single one
 * may just have met a late packet. Pure.
 */

const WATCH_MS = 480;
const SLACK_MS = 10; // as little as this is left alone
const WATCHES_FOR_WANT = 20; // 10 s
const WATCHES_FOR_STEP = 125; // a minute
const SPARE_MS = 5; // what must remain of the margin at its lowest after a step down

export class Margin {
  /** What the buffer should hold, and what it held in the watch before. */
  target;
  lowWater = 0;

  #start;
  #step;
  #most;
  #watch;
  #slack;
  #spare;
  #lowest = Infinity; // of this watch
  #watched = 0; // samples pulled in this watch
  #best = -Infinity; // low water of the watches for want
  #watchesForWant = 0;
  #worst = Infinity; // low water of the watches for a step
  #watchesForStep = 0;

  /** @param {number} rateHz @param {{startMs: number, stepMs: number, maxMs: number}} options */
  constructor(rateHz, { startMs, stepMs, maxMs }) {
    const samples = (/** @type {number} */ ms) => Math.round((ms * rateHz) / 1000);
    this.target = this.#start = samples(startMs);
    this.#step = samples(stepMs);
    this.#most = samples(maxMs);
    this.#watch = samples(WATCH_MS);
    this.#slack = samples(SLACK_MS);
    this.#spare = samples(SPARE_MS);
  }

  /** It was too little. */
  grow() {
    this.target = Math.min(this.target + this.#step, this.#most);
  }

  /** What was seen so far says nothing of what comes: playout begins again. Whatever it begins with is soon put right. */
  forget() {
    this.#lowest = Infinity;
    this.#watched = 0;
    this.#forgetStep();
    this.#forgetWant();
    this.#watchesForWant = WATCHES_FOR_WANT - 1;
  }

  /**
   * @param {number} depth held now
   * @param {number} length about to be played
   * @returns {number} what should be taken out, or if negative put in; mostly 0
   */
  watch(depth, length) {
    this.#lowest = Math.min(this.#lowest, depth);
    this.#watched += length;
    if (this.#watched < this.#watch) return 0;
    this.lowWater = this.#lowest;
    this.#lowest = Infinity;
    this.#watched = 0;
    this.#considerStep();
    return this.#difference();
  }

  #difference() {
    this.#best = Math.max(this.#best, this.lowWater);
    this.#watchesForWant += 1;
    if (this.lowWater - this.target >= this.#slack) return this.#settle(this.lowWater - this.target);
    if (this.#watchesForWant < WATCHES_FOR_WANT) return 0;
    const want = this.target - this.#best;
    return this.#settle(want >= this.#slack ? -want : 0);
  }

  /** @param {number} difference */
  #settle(difference) {
    this.#forgetWant();
    return difference;
  }

  #considerStep() {
    this.#worst = Math.min(this.#worst, this.lowWater);
    this.#watchesForStep += 1;
    if (this.#watchesForStep < WATCHES_FOR_STEP) return;
    const isSpared = this.#worst >= this.#step + this.#spare;
    if (isSpared) this.target = Math.max(this.#start, this.target - this.#step);
    this.#forgetStep();
  }

  #forgetWant() {
    this.#best = -Infinity;
    this.#watchesForWant = 0;
  }

  #forgetStep() {
    this.#worst = Infinity;
    this.#watchesForStep = 0;
  }
}
