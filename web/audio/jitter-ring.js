/**
 * The playout buffer: packets go in when the network brings them, samples come out when the sound card asks.
 *
 * - Waits 40 ms after the first packet (`startMs`), then plays. What guards against a late packet is the depth just
 *   before one arrives, the low water, not the depth just after: a model sends 80 ms at once.
 * - Runs dry: fades out, waits again, and from then on keeps 10 ms more (`stepMs`), up to 200 (`maxMs`).
 * - Holds too much (a stall's backlog): gives the excess back within about a second, in quiet moments if there are
 *   any, at joins that resemble each other and are cross-faded.
 *
 * Pure arithmetic on one clock, the samples pulled. Owner: the playback worklet.
 */

const WATCH_MS = 480; // low water is taken over six model frames
const SLACK_MS = 10; // excess below this is left alone
const SHED_MS = 1000; // and above it is gone within this
const CAPACITY_MS = 3000;
const QUIET = 0.25; // of the running level
const JUMP_MIN_MS = 2; // a join may skip about a pitch period
const JUMP_MAX_MS = 14;
const PULLS_BETWEEN_LOUD_JOINS = 4;

export class JitterRing {
  /** How often playout ran dry, and what never got played, in samples. */
  underruns = 0;
  shedSamples = 0;
  overflowSamples = 0;

  #rateHz;
  #ring;
  #read = 0; // absolute sample counts; the ring is indexed modulo its length
  #written = 0;
  #playing = false;
  #waitSamples = 0; // still to wait before playing
  #targetSamples;
  #stepSamples;
  #maxSamples;
  #lowWater = Infinity; // of this watch
  #lastLowWater = 0; // of the watch before
  #watched = 0; // samples pulled in this watch
  #debt = 0; // samples to shed
  #shedPullsLeft = 0;
  #pullsSinceJoin = 0;
  #level = 0; // running mean square
  #fadeIn = false;

  /**
   * @param {number} rateHz
   * @param {{startMs?: number, stepMs?: number, maxMs?: number}} [options]
   */
  constructor(rateHz, { startMs = 40, stepMs = 10, maxMs = 200 } = {}) {
    this.#rateHz = rateHz;
    this.#ring = new Float32Array(this.#samples(CAPACITY_MS));
    this.#targetSamples = this.#samples(startMs);
    this.#stepSamples = this.#samples(stepMs);
    this.#maxSamples = this.#samples(maxMs);
  }

  get targetMs() {
    return (this.#targetSamples * 1000) / this.#rateHz;
  }

  get depthMs() {
    return (this.#depth * 1000) / this.#rateHz;
  }

  /** Places on the line of all samples ever pushed: what has been played, and where the next push will begin. */
  get playedTo() {
    return this.#read;
  }

  get filledTo() {
    return this.#written;
  }

  /** What a sound waits in here: the depth before an arrival, in ms, over the last half second. */
  get lowWaterMs() {
    return (this.#lastLowWater * 1000) / this.#rateHz;
  }

  /** @param {Float32Array} samples */
  push(samples) {
    if (!this.#playing && this.#depth === 0) this.#waitSamples = this.#targetSamples;
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

  /**
   * Fills `out` completely, with silence while waiting.
   * @param {Float32Array} out one render quantum
   */
  pull(out) {
    if (!this.#playing && !this.#begin(out.length)) {
      out.fill(0);
      return;
    }
    if (this.#depth < out.length) {
      this.#runDry(out);
      return;
    }
    this.#watch(out.length);
    if (this.#mayJoin(out.length)) this.#join(out, this.#bestJump(out.length));
    else this.#copy(out, this.#read);
    this.#read += out.length;
    if (this.#fadeIn) fade(out, 0, 1);
    this.#fadeIn = false;
    this.#level += (meanSquare(out) - this.#level) * 0.01;
  }

  get #depth() {
    return this.#written - this.#read;
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
    this.#forgetExcess();
    return true;
  }

  /** Plays what is left and then its mirror image, fading out: continuous, so it cannot click. @param {Float32Array} out */
  #runDry(out) {
    const left = this.#depth;
    for (let i = 0; i < out.length; i++) {
      out[i] = this.#at(i < left ? this.#read + i : this.#written - 1 - (i - left));
    }
    fade(out, this.#fadeIn ? 0 : 1, 0);
    this.#read = this.#written;
    this.#playing = false;
    this.underruns += 1;
    this.#targetSamples = Math.min(this.#targetSamples + this.#stepSamples, this.#maxSamples);
  }

  /** Keeps the low water, and once a watch turns what is above the target into a debt. @param {number} length */
  #watch(length) {
    this.#lowWater = Math.min(this.#lowWater, this.#depth);
    this.#watched += length;
    if (this.#watched < this.#samples(WATCH_MS)) return;
    const excess = this.#lowWater - this.#targetSamples;
    this.#lastLowWater = this.#lowWater;
    this.#lowWater = Infinity;
    this.#watched = 0;
    if (this.#debt > 0 || excess < this.#samples(SLACK_MS)) return;
    this.#debt = excess;
    this.#shedPullsLeft = Math.floor(this.#samples(SHED_MS) / length);
  }

  #forgetExcess() {
    this.#debt = 0;
    this.#lowWater = Infinity;
    this.#watched = 0;
  }

  /** Quiet now, or no more time to wait for it. @param {number} length */
  #mayJoin(length) {
    if (this.#debt <= 0) return false;
    this.#shedPullsLeft -= 1;
    this.#pullsSinceJoin += 1;
    if (this.#depth < length * 2 + this.#samples(JUMP_MAX_MS)) return false;
    if (this.#isQuiet(length)) return true;
    const joinsLeft = Math.ceil(this.#debt / this.#samples((JUMP_MIN_MS + JUMP_MAX_MS) / 2));
    const mustHurry = this.#shedPullsLeft <= joinsLeft * PULLS_BETWEEN_LOUD_JOINS;
    return mustHurry && this.#pullsSinceJoin >= PULLS_BETWEEN_LOUD_JOINS;
  }

  /** @param {number} length */
  #isQuiet(length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += this.#at(this.#read + i) ** 2;
    return sum / length <= this.#level * QUIET ** 2 || sum / length < 1e-7;
  }

  /**
   * The skip, in samples, after which the sound goes on most like what it skips: about a pitch period in speech.
   * @param {number} length
   */
  #bestJump(length) {
    const longest = Math.min(this.#samples(JUMP_MAX_MS), Math.max(this.#debt, this.#samples(JUMP_MIN_MS)));
    let best = longest;
    let bestLikeness = -Infinity;
    for (let jump = this.#samples(JUMP_MIN_MS); jump <= longest; jump += 4) {
      let product = 0;
      let energy = 1e-9;
      for (let i = 0; i < length; i += 2) {
        const later = this.#at(this.#read + jump + i);
        product += this.#at(this.#read + i) * later;
        energy += later * later;
      }
      const likeness = product / Math.sqrt(energy);
      if (likeness >= bestLikeness) [best, bestLikeness] = [jump, likeness];
    }
    return best;
  }

  /**
   * @param {Float32Array} out
   * @param {number} jump samples to skip
   */
  #join(out, jump) {
    for (let i = 0; i < out.length; i++) {
      const weight = (i + 1) / out.length;
      out[i] = this.#at(this.#read + i) * (1 - weight) + this.#at(this.#read + jump + i) * weight;
    }
    this.#read += jump;
    this.#debt -= jump;
    this.shedSamples += jump;
    this.#pullsSinceJoin = 0;
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

/** @param {Float32Array} block @param {number} from gain @param {number} to gain */
function fade(block, from, to) {
  for (let i = 0; i < block.length; i++) block[i] *= from + ((to - from) * (i + 1)) / block.length;
}

/** @param {Float32Array} block */
function meanSquare(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  return sum / block.length;
}
