/**
 * How much sound the playback buffer should hold just before a packet arrives, and how far it is from that.
 *
 * All in samples, on the clock of samples played. The low water is the lowest depth in a window of six model frames. What the
 * network needs is the difference between the highest and the lowest low water of the last minute: how much later than the
 * others the latest packet came. The target is that and a few milliseconds; it rises at once, and falls only after a calm
 * minute. One window above the target means an excess. A shortage shows only when the highest low water of many windows is
 * below the target, because a single window may just contain a late packet. Pure.
 */

const WINDOW_MS = 480;
const EXCESS_MS = 10; // a smaller excess is ignored
const SHORTAGE_MS = 3; // a smaller shortage is ignored
const SPARE_MS = 4; // what should remain when the latest packet comes, after one more pull: more than an ignored shortage; and the
// least by which the target falls
const STEADY_MS = 17; // how late packets come on a quiet line, because browsers record and play 10 ms at a time
const WINDOWS_FOR_SHORTAGE = 20; // 10 s
const CALM_WINDOWS = 125; // a minute
const MAX_CALM_WINDOWS = 8 * CALM_WINDOWS;

export class BufferTarget {
  target; // what the buffer should hold
  lowWater = 0; // the lowest depth in the previous window

  #start;
  #floor;
  #step;
  #max;
  #window;
  #excess;
  #shortage;
  #spare;
  #steadyLate;
  #steady; // the target before the previous window
  #lowest = Infinity; // depth in this window
  #measured = 0; // samples pulled in this window
  /** @type {number[]} low water of the last minute's windows since playback began, as if nothing was taken out or put in meanwhile */
  #lows = [];
  #calm = 0; // windows since playback began
  #calmNeeded = CALM_WINDOWS; // before the target may fall
  #windows = 0; // in all
  #early = 0; // what the first minute needed

  /** @param {number} rateHz @param {{startMs: number, seedMs: number, floorMs: number, stepMs: number, maxMs: number}} options */
  constructor(rateHz, { startMs, seedMs, floorMs, stepMs, maxMs }) {
    const samples = (/** @type {number} */ ms) => Math.round((ms * rateHz) / 1000);
    this.#start = samples(startMs);
    this.#floor = samples(floorMs);
    this.#step = samples(stepMs);
    this.#max = samples(maxMs);
    this.#window = samples(WINDOW_MS);
    this.#excess = samples(EXCESS_MS);
    this.#shortage = samples(SHORTAGE_MS);
    this.#spare = samples(SPARE_MS);
    this.#steadyLate = samples(STEADY_MS);
    this.target = this.#steady = Math.min(Math.max(samples(seedMs), this.#floor), this.#max);
  }

  /** What the next call over the same network should begin with: the start of a call may need more than the rest of it. */
  get seed() {
    return Math.max(this.target, this.#early);
  }

  /** The buffer ran dry: it should hold more. Where it had been lowered for too little reason, it waits longer the next time. */
  grow() {
    if (this.target < this.#start) this.#calmNeeded = Math.min(2 * this.#calmNeeded, MAX_CALM_WINDOWS);
    const more = Math.max(this.#steady + this.#step, this.#start); // the previous window may have shown the same late packet
    this.target = this.#steady = Math.min(Math.max(this.target, more), this.#max);
    this.#noteEarly(this.target);
  }

  /** Playback starts again: forget the measurements. */
  reset() {
    this.#lowest = Infinity;
    this.#measured = 0;
    this.#lows = [];
    this.#calm = 0;
  }

  /** @param {number} samples were taken out, or put in if negative */
  shift(samples) {
    this.#lowest -= samples;
    this.#lows = this.#lows.map((low) => low - samples);
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
    this.#lows.push(this.#lowest);
    if (this.#lows.length > CALM_WINDOWS) this.#lows.shift();
    this.#lowest = Infinity;
    this.#measured = 0;
    this.#windows += 1;
    this.#calm += 1;
    this.#steady = this.target;
    this.#adapt(length);
    return this.#difference();
  }

  /** @param {number} length of a pull: a buffer that holds less has run dry */
  #adapt(length) {
    const late = Math.max(...this.#lows) - Math.min(...this.#lows);
    const more = Math.min(this.#spare, Math.max(0, late - this.#steadyLate) / 2); // what is late by much may be later
    const needed = Math.min(Math.max(Math.round(late + more) + length + this.#spare, this.#floor), this.#max);
    this.#noteEarly(needed);
    const mayFall = this.#calm >= this.#calmNeeded && this.target - needed >= this.#spare;
    if (needed > this.target || mayFall) this.target = needed;
  }

  /** @param {number} needed */
  #noteEarly(needed) {
    if (this.#windows <= CALM_WINDOWS) this.#early = Math.max(this.#early, needed);
  }

  #difference() {
    const excess = this.lowWater - this.target;
    if (excess >= this.#excess) return excess;
    const shortage = this.target - Math.max(...this.#lows.slice(-WINDOWS_FOR_SHORTAGE));
    return shortage >= this.#shortage ? -shortage : 0;
  }
}
