/**
 * Both voices on one line of time: the model's above it, the caller's below. Where both stand, both spoke.
 *
 * The model's words lie between the voices, each under the moment at which it begins to sound. Draws on a canvas only,
 * nothing in the page is laid out again. For people who prefer reduced motion nothing scrolls: new sound overwrites the
 * old in place, as on a hospital monitor.
 */

import { LevelMeter } from '../audio/level-meter.js';
import { WordTrack } from './word-track.js';

/** @typedef {'user' | 'model'} Voice */

const SPANS_PER_BAR = 2; // 43 ms
const PITCH_PX = 6;
const BAR_PX = 3;
const REMEMBERED_BARS = 1024;
const FLOOR_DB = -52;
const CEILING_DB = -14;
const BLANK_BARS = 4; // ahead of now, where the picture stands still
const AHEAD_PX = 112; // right of now, for the word that is being said
const STALE_BARS = 24; // what is about to be overwritten where the picture stands still
const FADE_PX = 96; // at the left, where the past goes
const QUIET_STRIP_PX = 8; // between the voices, without words
const WORD_STRIP_PX = 46; // two rows of words
const ROW_PX = 19;
const FRAME_MIN_MS = 15; // no faster than 60 pictures a second, whatever the screen can do

export class Lanes {
  #canvas;
  #pen;
  #bars = { user: new Float32Array(REMEMBERED_BARS), model: new Float32Array(REMEMBERED_BARS) };
  #lost = new Uint8Array(REMEMBERED_BARS); // 1: there was no connection
  #track;
  #newest = 0; // the last span heard of
  #now = 0; // the span drawn at the line of now; a fraction, so that it glides
  #drawnAtMs = 0;
  #spansPerS = 48000 / LevelMeter.SPAN_SAMPLES;
  #run = 0; // counts starts, so that an old picture's frame does not draw into a new one
  #running = false;
  #speaking = false; // there are words to come
  #width = 0;
  #height = 0;
  #stillness = matchMedia('(prefers-reduced-motion: reduce)');
  #colours = { user: '', model: '', line: '', ink: '' };

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    this.#track = new WordTrack((text) => this.#pen.measureText(text).width / PITCH_PX);
    new ResizeObserver(() => this.#resize()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#resize());
    void document.fonts.ready.then(() => this.#resize());
    this.#sketch();
  }

  /**
   * An empty picture that moves.
   * @param {number} rateHz of the audio clock that spans are counted on
   * @param {{words: boolean}} options whether there will be words
   */
  start(rateHz, { words }) {
    this.#spansPerS = rateHz / LevelMeter.SPAN_SAMPLES;
    this.#bars.user.fill(0);
    this.#bars.model.fill(0);
    this.#lost.fill(0);
    this.#track.clear();
    this.#newest = this.#now = 0;
    this.#speaking = words;
    this.#running = true;
    this.#frame(++this.#run, performance.now());
  }

  /** The picture stays as it is. */
  stop() {
    this.#running = false;
  }

  /** @param {Voice} voice @param {number} span @param {number} rms */
  add(voice, span, rms) {
    if (!this.#running) return;
    const bar = Math.floor(span / SPANS_PER_BAR);
    if (span > this.#newest) {
      this.#clear(Math.floor(this.#newest / SPANS_PER_BAR) + 1, bar);
      this.#newest = span;
    }
    const at = bar % REMEMBERED_BARS;
    this.#bars[voice][at] = Math.max(this.#bars[voice][at], loudness(rms));
  }

  /** @param {string} piece with its own spaces @param {number} span in which it begins to sound */
  addWords(piece, span) {
    this.#track.add(piece, span / SPANS_PER_BAR);
  }

  /** From now back, nothing came. @param {number} lastedS */
  addGap(lastedS) {
    const end = Math.floor(this.#newest / SPANS_PER_BAR);
    const bars = Math.min(REMEMBERED_BARS, Math.ceil((lastedS * this.#spansPerS) / SPANS_PER_BAR));
    for (let bar = Math.max(0, end - bars); bar < end; bar++) this.#lost[bar % REMEMBERED_BARS] = 1;
  }

  /** Bars that are new, or that nobody told of, are silent. @param {number} from @param {number} to inclusive */
  #clear(from, to) {
    for (let bar = Math.max(from, to - REMEMBERED_BARS + 1); bar <= to; bar++) {
      const at = bar % REMEMBERED_BARS;
      this.#bars.user[at] = this.#bars.model[at] = this.#lost[at] = 0;
    }
  }

  /** @param {number} run @param {number} ms */
  #frame(run, ms) {
    if (!this.#running || run !== this.#run) return;
    requestAnimationFrame((next) => this.#frame(run, next));
    const elapsedMs = ms - this.#drawnAtMs;
    if (elapsedMs < FRAME_MIN_MS) return;
    this.#drawnAtMs = ms;
    // Glide at the clock's pace, never far from what has been heard.
    const glided = this.#now + (Math.min(100, elapsedMs) / 1000) * this.#spansPerS;
    this.#now = Math.min(Math.max(glided, this.#newest - 4), this.#newest + 1);
    this.#draw();
  }

  #resize() {
    this.#width = this.#canvas.clientWidth;
    this.#height = this.#canvas.clientHeight;
    const ratio = devicePixelRatio || 1;
    this.#canvas.width = Math.round(this.#width * ratio);
    this.#canvas.height = Math.round(this.#height * ratio);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(this.#canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
    this.#colours = { user: colour('user'), model: colour('model'), line: colour('line'), ink: colour('ink') };
    this.#pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    this.#pen.textBaseline = 'middle';
    this.#draw();
  }

  #draw() {
    const pen = this.#pen;
    pen.clearRect(0, 0, this.#width, this.#height);
    const strip = this.#speaking ? WORD_STRIP_PX : QUIET_STRIP_PX;
    const still = this.#stillness.matches && this.#running;
    for (const voice of /** @type {Voice[]} */ (['model', 'user'])) {
      pen.beginPath();
      if (still) this.#standing(voice, strip);
      else this.#scrolling(voice, strip);
      pen.fillStyle = this.#colours[voice];
      pen.fill();
    }
    if (this.#speaking) this.#drawWords(still);
    if (this.#speaking && this.#running && !still) this.#drawNow();
    if (!still) this.#fadePast();
  }

  /** @param {Voice} voice @param {number} strip */
  #scrolling(voice, strip) {
    const now = this.#now / SPANS_PER_BAR;
    const right = this.#nowX;
    const oldest = Math.max(0, Math.floor(now - right / PITCH_PX) - 1, Math.floor(now) - REMEMBERED_BARS + 8);
    for (let bar = Math.floor(now); bar >= oldest; bar--) this.#bar(voice, bar, right - (now - bar) * PITCH_PX - BAR_PX, strip);
  }

  /** @param {Voice} voice @param {number} strip */
  #standing(voice, strip) {
    const newest = Math.floor(this.#newest / SPANS_PER_BAR);
    for (let bar = Math.max(0, newest - this.#columns + 1 + BLANK_BARS); bar <= newest; bar++) {
      this.#bar(voice, bar, (bar % this.#columns) * PITCH_PX, strip);
    }
  }

  /** @param {Voice} voice @param {number} bar @param {number} x @param {number} strip */
  #bar(voice, bar, x, strip) {
    const middle = this.#height / 2;
    const at = bar % REMEMBERED_BARS;
    if (this.#lost[at]) return;
    const length = BAR_PX + this.#bars[voice][at] * (middle - strip / 2 - BAR_PX);
    this.#pen.roundRect(x, voice === 'model' ? middle - strip / 2 - length : middle + strip / 2, BAR_PX, length, BAR_PX / 2);
  }

  /** @param {boolean} still */
  #drawWords(still) {
    const pen = this.#pen;
    const now = (still ? this.#newest : this.#now) / SPANS_PER_BAR;
    const columns = this.#columns;
    pen.fillStyle = this.#colours.ink;
    for (const { text, bar, at, row } of this.#track.words) {
      if (still && bar < now - columns + STALE_BARS) continue;
      const x = still ? (at % columns) * PITCH_PX : this.#nowX - (now - at) * PITCH_PX;
      if (x < -400) continue;
      pen.fillText(text, x, this.#height / 2 + (row ? ROW_PX : -ROW_PX) / 2);
    }
  }

  #drawNow() {
    this.#pen.fillStyle = this.#colours.line;
    const lane = (this.#height - WORD_STRIP_PX) / 2;
    this.#pen.fillRect(Math.round(this.#nowX) + 1, 0, 1, lane);
    this.#pen.fillRect(Math.round(this.#nowX) + 1, this.#height - lane, 1, lane);
  }

  #fadePast() {
    const pen = this.#pen;
    const fade = pen.createLinearGradient(0, 0, FADE_PX, 0);
    fade.addColorStop(0, '#000');
    fade.addColorStop(1, 'transparent');
    pen.globalCompositeOperation = 'destination-out';
    pen.fillStyle = fade;
    pen.fillRect(0, 0, FADE_PX, this.#height);
    pen.globalCompositeOperation = 'source-over';
  }

  get #columns() {
    return Math.max(1, Math.floor(this.#width / PITCH_PX));
  }

  get #nowX() {
    return this.#speaking ? this.#width - Math.min(AHEAD_PX, this.#width / 4) : this.#width;
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
export function loudness(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB))) ** 1.4;
}
