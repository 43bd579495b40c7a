/**
 * Both voices on one line of time, now at the right: the model's above it, the caller's below. Where both stand, both spoke.
 *
 * Draws on a canvas only, nothing in the page is laid out again. For people who prefer reduced motion nothing
 * scrolls: new sound overwrites the old in place, as on a hospital monitor.
 */

import { LevelMeter } from '../audio/level-meter.js';

/** @typedef {'user' | 'model'} Voice */

const SPANS_PER_BAR = 2; // 43 ms
const PITCH_PX = 6;
const BAR_PX = 3;
const GAP_PX = 3; // between a bar and the line of time
const REMEMBERED_BARS = 1024;
const FLOOR_DB = -52;
const CEILING_DB = -14;
const BLANK_BARS = 4; // ahead of now, where the picture stands still

export class Lanes {
  #canvas;
  #pen;
  #bars = { user: new Float32Array(REMEMBERED_BARS), model: new Float32Array(REMEMBERED_BARS) };
  #newest = 0; // the last span heard of
  #now = 0; // the span drawn at the right edge; a fraction, so that it glides
  #drawnAtMs = 0;
  #spansPerMs = 48 / LevelMeter.SPAN_SAMPLES;
  #running = false;
  #stillness = matchMedia('(prefers-reduced-motion: reduce)');
  #colours = { user: '', model: '', line: '' };

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#resize());
    this.#sketch();
  }

  /** An empty picture that moves. @param {number} rateHz of the audio clock that spans are counted on */
  start(rateHz) {
    this.#spansPerMs = rateHz / 1000 / LevelMeter.SPAN_SAMPLES;
    this.#bars.user.fill(0);
    this.#bars.model.fill(0);
    this.#newest = this.#now = 0;
    this.#running = true;
    requestAnimationFrame((ms) => this.#frame(ms));
  }

  /** The picture stays as it is. */
  stop() {
    this.#running = false;
  }

  /**
   * @param {Voice} voice
   * @param {number} span
   * @param {number} rms
   */
  add(voice, span, rms) {
    const bar = Math.floor(span / SPANS_PER_BAR);
    if (span > this.#newest) {
      this.#clear(Math.floor(this.#newest / SPANS_PER_BAR) + 1, bar);
      this.#newest = span;
    }
    const at = bar % REMEMBERED_BARS;
    this.#bars[voice][at] = Math.max(this.#bars[voice][at], loudness(rms));
  }

  /** Bars that are new, or that nobody told of, are silent. @param {number} from @param {number} to inclusive */
  #clear(from, to) {
    for (let bar = Math.max(from, to - REMEMBERED_BARS + 1); bar <= to; bar++) {
      this.#bars.user[bar % REMEMBERED_BARS] = this.#bars.model[bar % REMEMBERED_BARS] = 0;
    }
  }

  /** @param {number} ms */
  #frame(ms) {
    if (!this.#running) return;
    const elapsed = Math.min(100, ms - this.#drawnAtMs);
    this.#drawnAtMs = ms;
    // Glide at the clock's pace, never far from what has been heard.
    const glided = this.#now + elapsed * this.#spansPerMs;
    this.#now = Math.min(Math.max(glided, this.#newest - 4), this.#newest + 1);
    this.#draw();
    requestAnimationFrame((next) => this.#frame(next));
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(this.#canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#colours = { user: colour('--you'), model: colour('--model'), line: colour('--line') };
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const pen = this.#pen;
    pen.clearRect(0, 0, width, height);
    const place = this.#stillness.matches ? this.#inPlace(width) : this.#scrolling(width);
    for (const voice of /** @type {Voice[]} */ (['model', 'user'])) {
      const up = voice === 'model';
      pen.beginPath();
      for (const [bar, x] of place) this.#bar(x, height / 2, this.#bars[voice][bar % REMEMBERED_BARS], up);
      pen.fillStyle = this.#colours[voice];
      pen.fill();
    }
  }

  /** @param {number} x @param {number} middle @param {number} loud 0…1 @param {boolean} up */
  #bar(x, middle, loud, up) {
    const length = BAR_PX + loud * (middle - GAP_PX - BAR_PX);
    this.#pen.roundRect(x, up ? middle - GAP_PX - length : middle + GAP_PX, BAR_PX, length, BAR_PX / 2);
  }

  /** @param {number} width @returns {[number, number][]} each bar to draw, and where */
  #scrolling(width) {
    const now = this.#now / SPANS_PER_BAR;
    const newest = Math.floor(now);
    const count = Math.min(REMEMBERED_BARS - 8, Math.ceil(width / PITCH_PX) + 1);
    /** @type {[number, number][]} */
    const place = [];
    for (let i = 0; i < count && newest - i >= 0; i++) {
      place.push([newest - i, width - (now - (newest - i)) * PITCH_PX - BAR_PX]);
    }
    return place;
  }

  /** @param {number} width @returns {[number, number][]} */
  #inPlace(width) {
    const columns = Math.max(1, Math.floor(width / PITCH_PX));
    const newest = Math.floor(this.#newest / SPANS_PER_BAR);
    /** @type {[number, number][]} */
    const place = [];
    for (let bar = Math.max(0, newest - columns + 1 + BLANK_BARS); bar <= newest; bar++) {
      place.push([bar, (bar % columns) * PITCH_PX]);
    }
    return place;
  }

  /** Before any call: what a conversation looks like, two voices that overlap. */
  #sketch() {
    const bars = 320;
    const turn = (/** @type {number} */ bar) => Math.cos(((bar - bars) / 27) * Math.PI + 1.2);
    for (let bar = 0; bar < bars; bar++) {
      const syllable = 0.6 + 0.4 * Math.sin(bar * 0.9) * Math.sin(bar * 0.37 + 1);
      this.#bars.model[bar] = Math.max(0, turn(bar) + 0.5) * syllable * 0.62;
      this.#bars.user[bar] = Math.max(0, 0.5 - turn(bar)) * (1.15 - syllable * 0.75) * 0.62;
    }
    this.#newest = this.#now = bars * SPANS_PER_BAR - 1;
  }
}

/** Loudness as heard, 0…1. @param {number} rms */
function loudness(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB))) ** 1.4;
}
