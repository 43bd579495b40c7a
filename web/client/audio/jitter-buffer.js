/**
 * The playback buffer: packets go in when the network brings them, samples come out when the sound card asks for them.
 *
 * - It waits 40 ms after the first packet (`seedMs`: less or more where an earlier call needed that), then plays. What protects
 *   against a late packet is the depth just before a packet arrives (the low water), not the depth just after: a model sends
 *   80 ms at once.
 * - When it runs dry, it repeats the last pitch period, fading out, and from then on keeps 10 ms more (`stepMs`), at least 40
 *   (`startMs`) and up to 200 (`maxMs`). Sound that comes during the fade is played at once, later sound waits as at the start.
 * - After a calm minute it keeps what that minute needed and a few milliseconds, at least 15 (`floorMs`). When packets begin to
 *   come later than that allows for, it keeps more at once.
 * - When it holds too much (the backlog of a stall, a fast sender), it takes the excess out within about a second. When it
 *   holds too little though nothing was late (a slow sender: two clocks never agree), it puts some in. It does both in quiet
 *   moments if there are any, at cross-faded joins between similar sounds.
 *
 * Pure; its only clock is the number of samples pulled. Owner: the playback worklet.
 */

import { BufferTarget } from './buffer-target.js';
import { Concealment, HISTORY_MS } from './concealment.js';

const ADJUST_WITHIN_MS = 1000; // an excess is taken out within this
const CAPACITY_MS = 3000;
const QUIET = 0.25; // of the running level
const JUMP_MIN_MS = 2; // a join skips or repeats about a pitch period
const JUMP_MAX_MS = 14;
const PULLS_BETWEEN_LOUD_JOINS = 4;

export class JitterBuffer {
  underruns = 0; // times that it ran dry
  concealedSamples = 0; // synthesised
  removedSamples = 0; // taken out because it held too much
  insertedSamples = 0; // put in because it held too little
  overflowSamples = 0; // dropped because it was full

  #rateHz;
  #ring;
  #read = 0; // absolute sample counts; the ring is indexed modulo its length
  #written = 0;
  #playing = false;
  #waitSamples = 0; // still to wait before playing
  #target;
  #excess = 0; // samples to take out, or to put in if negative
  #pullsLeft = 0; // until the excess must be gone
  #pullsSinceJoin = 0;
  #level = 0; // running mean square
  #fadeIn = false;
  /** @type {Concealment | null} while it has run dry */
  #concealment = null;
  #concealed = new Float32Array(0);

  /**
   * @param {number} rateHz
   * @param {{startMs?: number, seedMs?: number, floorMs?: number, stepMs?: number, maxMs?: number}} [options]
   */
  constructor(rateHz, { startMs = 40, seedMs = startMs, floorMs = 15, stepMs = 10, maxMs = 200 } = {}) {
    this.#rateHz = rateHz;
    this.#ring = new Float32Array(this.#samples(CAPACITY_MS));
    this.#target = new BufferTarget(rateHz, { startMs, seedMs, floorMs, stepMs, maxMs });
  }

  get targetMs() {
    return (this.#target.target * 1000) / this.#rateHz;
  }

  /** The `seedMs` for the next call over the same network. */
  get seedMs() {
    return (this.#target.seed * 1000) / this.#rateHz;
  }

  get depthMs() {
    return (this.#depth * 1000) / this.#rateHz;
  }

  /** How long sound waits here: the lowest depth over the last half second. */
  get lowWaterMs() {
    return (this.#target.lowWater * 1000) / this.#rateHz;
  }

  /** Positions, counted in all samples ever pushed: the end of what was played, and the start of the next push. */
  get playedTo() {
    return this.#read;
  }

  get filledTo() {
    return this.#written;
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (!this.#playing && this.#depth === 0) this.#waitSamples = this.#isConcealing ? 0 : this.#target.target;
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
    this.#measure(out.length);
    if (this.#mayJoin(out.length)) this.#join(out, this.#bestJump(out.length));
    else this.#copy(out, this.#read);
    this.#read += out.length;
    if (this.#fadeIn) this.#fadeFromConcealment(out);
    this.#level += (meanSquare(out) - this.#level) * 0.01;
  }

  get #depth() {
    return this.#written - this.#read;
  }

  /** Whether concealment still sounds, so that new sound can be joined to it. */
  get #isConcealing() {
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
    this.#excess = 0;
    this.#target.reset();
    return true;
  }

  /** Play what is left, and conceal the rest. @param {Float32Array} out */
  #runDry(out) {
    const left = this.#depth;
    this.#copy(out.subarray(0, left), this.#read);
    if (this.#fadeIn) this.#fadeFromConcealment(out.subarray(0, left));
    this.#read = this.#written;
    this.#playing = false;
    this.underruns += 1;
    this.#target.grow();
    this.#concealment = new Concealment(this.#past(this.#written), this.#rateHz);
    this.#conceal(out.subarray(left));
  }

  /** @param {Float32Array} out */
  #conceal(out) {
    if (!this.#isConcealing) {
      out.fill(0);
      return;
    }
    this.#concealment?.fill(out);
    this.concealedSamples += out.length;
  }

  /** @param {Float32Array} out the first samples after a gap */
  #fadeFromConcealment(out) {
    this.#fadeIn = false;
    if (this.#concealed.length !== out.length) this.#concealed = new Float32Array(out.length);
    if (this.#concealment) this.#concealment.fill(this.#concealed);
    else this.#concealed.fill(0);
    this.#concealment = null;
    crossFade(out, this.#concealed, out);
  }

  /** Once a window, ask the target how far the depth is from it. @param {number} length */
  #measure(length) {
    const excess = this.#target.measure(this.#depth, length);
    if (!excess || this.#excess) return;
    this.#excess = excess;
    this.#pullsLeft = Math.floor(this.#samples(ADJUST_WITHIN_MS) / length);
  }

  /** Whether the sound is quiet now, or there is no more time to wait for a quiet moment. @param {number} length */
  #mayJoin(length) {
    if (!this.#excess) return false;
    this.#pullsLeft -= 1;
    this.#pullsSinceJoin += 1;
    if (this.#depth < length * 2 + this.#samples(JUMP_MAX_MS)) return false;
    if (this.#isQuiet(length)) return true;
    const joinsLeft = Math.ceil(Math.abs(this.#excess) / this.#samples((JUMP_MIN_MS + JUMP_MAX_MS) / 2));
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
   * The jump after which the sound is most similar to what it leaves, in samples; backwards if negative. About a pitch period
   * in speech.
   * @param {number} length
   */
  #bestJump(length) {
    const direction = Math.sign(this.#excess);
    const longest = Math.min(this.#samples(JUMP_MAX_MS), Math.max(Math.abs(this.#excess), this.#samples(JUMP_MIN_MS)));
    let best = longest;
    let highest = -Infinity;
    for (let jump = this.#samples(JUMP_MIN_MS); jump <= longest; jump += 4) {
      let product = 0;
      let energy = 1e-9;
      for (let i = 0; i < length; i += 2) {
        const there = this.#at(this.#read + direction * jump + i);
        product += this.#at(this.#read + i) * there;
        energy += there * there;
      }
      const similarity = product / Math.sqrt(energy);
      if (similarity >= highest) [best, highest] = [jump, similarity];
    }
    return direction * best;
  }

  /**
   * @param {Float32Array} out
   * @param {number} jump samples to skip, or to repeat if negative
   */
  #join(out, jump) {
    const there = new Float32Array(out.length);
    this.#copy(out, this.#read);
    this.#copy(there, this.#read + jump);
    crossFade(there, out, out);
    this.#read += jump;
    this.#target.shift(jump);
    this.#excess = Math.sign(this.#excess) * Math.max(0, Math.abs(this.#excess) - Math.abs(jump));
    if (jump > 0) this.removedSamples += jump;
    else this.insertedSamples -= jump;
    this.#pullsSinceJoin = 0;
  }

  /** @param {number} end a position @returns {Float32Array} what was played before it */
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

/** Fade from one sound to another. @param {Float32Array} to @param {Float32Array} from @param {Float32Array} out */
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
