/**
 * The playout buffer: packets go in when the network brings them, samples come out when the sound card asks.
 *
 * - Waits 40 ms after the first packet (`startMs`), then plays. What guards against a late packet is the depth just
 *   before one arrives, the low water, not the depth just after: a model sends 80 ms at once.
 * - Runs dry: goes on with the last pitch period, fading, and from then on keeps 10 ms more (`stepMs`), up to 200
 *   (`maxMs`). Sound that comes before the fade is over is joined at once, later sound waits as at the beginning. Gives
 *   such a step back once a whole minute had no need of it.
 * - Holds too much (a stall's backlog, a fast sender): takes the excess out within about a second. Holds too little
 *   though nothing came late (a slow sender: two clocks never agree): puts some in. Both in quiet moments if there are
 *   any, at joins that resemble each other and are cross-faded.
 *
 * Pure arithmetic on one clock, the samples pulled. Owner: the playback worklet.
 */

import { Concealment, HISTORY_MS } from './concealment.js';
import { Margin } from './margin.js';

const SHED_MS = 1000; // an excess is gone within this
const CAPACITY_MS = 3000;
const QUIET = 0.25; // of the running level
const JUMP_MIN_MS = 2; // a join skips or repeats about a pitch period
const JUMP_MAX_MS = 14;
const PULLS_BETWEEN_LOUD_JOINS = 4;

export class JitterRing {
  /** How often playout ran dry; what was made up then, what was taken out and put in, and never played: in samples. */
  underruns = 0;
  concealedSamples = 0;
  shedSamples = 0;
  stretchedSamples = 0;
  overflowSamples = 0;

  #rateHz;
  #ring;
  #read = 0; // absolute sample counts; the ring is indexed modulo its length
  #written = 0;
  #playing = false;
  #waitSamples = 0; // still to wait before playing
  #margin;
  #debt = 0; // samples to take out, or if negative to put in
  #pullsLeft = 0; // until the debt is due
  #pullsSinceJoin = 0;
  #level = 0; // running mean square
  #fadeIn = false;
  /** @type {Concealment | null} while it has run dry */
  #concealment = null;
  #made = new Float32Array(0);

  /**
   * @param {number} rateHz
   * @param {{startMs?: number, stepMs?: number, maxMs?: number}} [options]
   */
  constructor(rateHz, { startMs = 40, stepMs = 10, maxMs = 200 } = {}) {
    this.#rateHz = rateHz;
    this.#ring = new Float32Array(this.#samples(CAPACITY_MS));
    this.#margin = new Margin(rateHz, { startMs, stepMs, maxMs });
  }

  get targetMs() {
    return (this.#margin.target * 1000) / this.#rateHz;
  }

  get depthMs() {
    return (this.#depth * 1000) / this.#rateHz;
  }

  /** What a sound waits in here: the depth before an arrival, in ms, over the last half second. */
  get lowWaterMs() {
    return (this.#margin.lowWater * 1000) / this.#rateHz;
  }

  /** Places on the line of all samples ever pushed: what has been played, and where the next push will begin. */
  get playedTo() {
    return this.#read;
  }

  get filledTo() {
    return this.#written;
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (!this.#playing && this.#depth === 0) this.#waitSamples = this.#isBridged ? 0 : this.#margin.target;
    const room = this.#ring.length;
    const kept = samples.length > room ? samples.subarray(samples.length - room) : samples;
    const start = this.#written % room;
    const first = kept.subarray(0, room - start);
    this.#ring.set(first, start);
    this.#ring.set(kept.subarray(first.length), 0);
    this.#written += kept.length;
    const over = samples.length - kept.length + Math.max(0, this.#depth - room);
    if (over > 0) {
      this.#read = Math.max(this.#read, this.#written - room);
      this.overflowSamples += over;
      this.#fadeIn = true;
    }
  }

  /** In place of a packet that could not be decoded. @param {number} samples */
  pushConcealed(samples) {
    const made = new Float32Array(samples);
    new Concealment(this.#past(this.#written), this.#rateHz).fill(made);
    this.concealedSamples += samples;
    this.push(made);
  }

  /**
   * Fills `out` completely, with silence while waiting.
   * @param {Float32Array} out one render quantum
   */
  pull(out) {
    if (!this.#playing && !this.#begin(out.length)) return this.#conceal(out);
    if (this.#depth < out.length) return this.#runDry(out);
    this.#watch(out.length);
    if (this.#mayJoin(out.length)) this.#join(out, this.#bestJump(out.length));
    else this.#copy(out, this.#read);
    this.#read += out.length;
    if (this.#fadeIn) this.#fadeFromConcealment(out);
    this.#level += (meanSquare(out) - this.#level) * 0.01;
  }

  get #depth() {
    return this.#written - this.#read;
  }

  /** A gap that is still being filled. */
  get #isBridged() {
    return this.#concealment !== null && !this.#concealment.silent;
  }

  /** @param {number} ms */
  #samples(ms) {
    return Math.round((ms * this.#rateHz) / 1000);
  }

  /** @param {number} length */
  #begin(length) {
    if (this.#depth > 0) this.#waitSamples -= length;
    if (this.#depth < length || this.#waitSamples > 0) return false;
    this.#playing = true;
    this.#fadeIn = true;
    this.#debt = 0;
    this.#margin.forget();
    return true;
  }

  /** Plays what is left, and makes up the rest. @param {Float32Array} out */
  #runDry(out) {
    const left = this.#depth;
    this.#copy(out.subarray(0, left), this.#read);
    if (this.#fadeIn) this.#fadeFromConcealment(out.subarray(0, left));
    this.#read = this.#written;
    this.#playing = false;
    this.underruns += 1;
    this.#margin.grow();
    this.#concealment = new Concealment(this.#past(this.#written), this.#rateHz);
    this.#conceal(out.subarray(left));
  }

  /** @param {Float32Array} out */
  #conceal(out) {
    if (!this.#isBridged) {
      out.fill(0);
      return;
    }
    this.#concealment?.fill(out);
    this.concealedSamples += out.length;
  }

  /** @param {Float32Array} out the first sound after a gap */
  #fadeFromConcealment(out) {
    this.#fadeIn = false;
    if (this.#made.length !== out.length) this.#made = new Float32Array(out.length);
    if (this.#concealment) this.#concealment.fill(this.#made);
    else this.#made.fill(0);
    this.#concealment = null;
    crossFade(out, this.#made, out);
  }

  /** Once a watch, turns what the margin says into a debt. @param {number} length */
  #watch(length) {
    const excess = this.#margin.watch(this.#depth, length);
    if (!excess || this.#debt) return;
    this.#debt = excess;
    this.#pullsLeft = Math.floor(this.#samples(SHED_MS) / length);
  }

  /** Quiet now, or no more time to wait for it. @param {number} length */
  #mayJoin(length) {
    if (!this.#debt) return false;
    this.#pullsLeft -= 1;
    this.#pullsSinceJoin += 1;
    if (this.#depth < length * 2 + this.#samples(JUMP_MAX_MS)) return false;
    if (this.#isQuiet(length)) return true;
    const joinsLeft = Math.ceil(Math.abs(this.#debt) / this.#samples((JUMP_MIN_MS + JUMP_MAX_MS) / 2));
    const mustHurry = this.#pullsLeft <= joinsLeft * PULLS_BETWEEN_LOUD_JOINS;
    return mustHurry && this.#pullsSinceJoin >= PULLS_BETWEEN_LOUD_JOINS;
  }

  /** @param {number} length */
  #isQuiet(length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += this.#at(this.#read + i) ** 2;
    return sum / length <= this.#level * QUIET ** 2 || sum / length < 1e-7;
  }

  /**
   * How far to jump, in samples, back if negative, for the sound to go on most like what it leaves: about a pitch
   * period in speech.
   * @param {number} length
   */
  #bestJump(length) {
    const direction = Math.sign(this.#debt);
    const longest = Math.min(this.#samples(JUMP_MAX_MS), Math.max(Math.abs(this.#debt), this.#samples(JUMP_MIN_MS)));
    let best = longest;
    let bestLikeness = -Infinity;
    for (let jump = this.#samples(JUMP_MIN_MS); jump <= longest; jump += 4) {
      let product = 0;
      let energy = 1e-9;
      for (let i = 0; i < length; i += 2) {
        const there = this.#at(this.#read + direction * jump + i);
        product += this.#at(this.#read + i) * there;
        energy += there * there;
      }
      const likeness = product / Math.sqrt(energy);
      if (likeness >= bestLikeness) [best, bestLikeness] = [jump, likeness];
    }
    return direction * best;
  }

  /**
   * @param {Float32Array} out
   * @param {number} jump samples to skip, or if negative to repeat
   */
  #join(out, jump) {
    const there = new Float32Array(out.length);
    this.#copy(out, this.#read);
    this.#copy(there, this.#read + jump);
    crossFade(there, out, out);
    this.#read += jump;
    this.#debt = Math.sign(this.#debt) * Math.max(0, Math.abs(this.#debt) - Math.abs(jump));
    if (jump > 0) this.shedSamples += jump;
    else this.stretchedSamples -= jump;
    this.#pullsSinceJoin = 0;
  }

  /** @param {number} end a place; @returns {Float32Array} what was heard before it */
  #past(end) {
    const past = new Float32Array(this.#samples(HISTORY_MS));
    const known = Math.min(past.length, end);
    this.#copy(past.subarray(past.length - known), end - known);
    return past;
  }

  /** @param {Float32Array} out @param {number} from */
  #copy(out, from) {
    const start = from % this.#ring.length;
    const first = this.#ring.subarray(start, start + out.length);
    out.set(first);
    if (first.length < out.length) out.set(this.#ring.subarray(0, out.length - first.length), first.length);
  }

  /** @param {number} position absolute */
  #at(position) {
    return this.#ring[position % this.#ring.length];
  }
}

/** From one sound to another. @param {Float32Array} to @param {Float32Array} from @param {Float32Array} out */
function crossFade(to, from, out) {
  for (let i = 0; i < out.length; i++) {
    const weight = (i + 1) / out.length;
    out[i] = from[i] * (1 - weight) + to[i] * weight;
  }
}

/** @param {Float32Array} block */
function meanSquare(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  return sum / block.length;
}
