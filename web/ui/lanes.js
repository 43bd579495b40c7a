/**
 * Both voices on one line of time: the model's above it, the caller's below. Where both stand, both spoke.
 *
 * The model's words lie between the voices, each under the moment at which it begins to sound. Draws on a canvas only,
 * nothing in the page is laid out again: a picture is one copy of the tape, at the place of now. For people who prefer
 * reduced motion the tape stands still: new sound overwrites the old in place, as on a hospital monitor.
 */

import { LevelMeter } from '../audio/level-meter.js';
import { PITCH_PX, Tape } from './tape.js';

const SPANS_PER_BAR = 2; // 43 ms
const FLOOR_DB = -52;
const CEILING_DB = -14;
const AHEAD_PX = 112; // right of now, for the word that is being said
const FADE_PX = 96; // at the left, where the past goes
const FRAME_MIN_MS = 15; // no faster than 60 pictures a second, whatever the screen can do
const EMPTY_BARS = 40; // between the newest and the oldest on the tape: never in sight
const EMPTY_BARS_STANDING = 4; // in sight, where the new overwrites the old
const SKETCHED_BARS = 320;

export class Lanes {
  #canvas;
  #pen;
  #tape = new Tape();
  #now = 0; // the bar drawn at the line of now; a fraction, so that it glides
  #drawnAtMs = 0;
  #drawnBar = -1;
  #barsPerS = 48000 / LevelMeter.SPAN_SAMPLES / SPANS_PER_BAR;
  #run = 0; // counts starts, so that an old picture's frame does not draw into a new one
  #running = false;
  #width = 0;
  #ratio = 1;
  #lineColour = '';
  #stillness = matchMedia('(prefers-reduced-motion: reduce)');
  /** @type {CanvasGradient | string} */
  #fade = '';

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false })); // nothing to blend with
    this.#sketch();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    for (const taste of [matchMedia('(prefers-color-scheme: dark)'), this.#stillness]) {
      taste.addEventListener('change', () => this.#resize());
    }
    void document.fonts.ready.then(() => this.#resize());
  }

  /**
   * An empty picture that moves.
   * @param {number} rateHz of the audio clock that spans are counted on
   * @param {{words: boolean}} options whether there will be words
   */
  start(rateHz, { words }) {
    this.#barsPerS = rateHz / LevelMeter.SPAN_SAMPLES / SPANS_PER_BAR;
    this.#tape.clear(words);
    this.#now = 0;
    this.#running = true;
    this.#resize();
    this.#frame(++this.#run, performance.now());
  }

  /** The picture stays as it is. */
  stop() {
    this.#running = false;
  }

  /** @param {import('./tape.js').Voice} voice @param {number} span @param {number} rms */
  add(voice, span, rms) {
    if (this.#running) this.#tape.add(voice, Math.floor(span / SPANS_PER_BAR), loudness(rms));
  }

  /** @param {string} piece with its own spaces @param {number} span in which it begins to sound */
  addWords(piece, span) {
    this.#tape.addWords(piece, span / SPANS_PER_BAR);
  }

  /** From now back, nothing came. @param {number} lastedS */
  addGap(lastedS) {
    this.#tape.lose(Math.ceil(lastedS * this.#barsPerS));
  }

  /** @param {number} run @param {number} ms */
  #frame(run, ms) {
    if (!this.#running || run !== this.#run) return;
    requestAnimationFrame((next) => this.#frame(run, next));
    const elapsedMs = ms - this.#drawnAtMs;
    if (elapsedMs < FRAME_MIN_MS || (this.#stands && this.#drawnBar === this.#tape.newest)) return;
    this.#drawnAtMs = ms;
    this.#drawnBar = this.#tape.newest;
    // Glide at the clock's pace, never far from what has been heard.
    const glided = this.#now + (Math.min(100, elapsedMs) / 1000) * this.#barsPerS;
    this.#now = Math.min(Math.max(glided, this.#tape.newest - 2), this.#tape.newest + 0.5);
    this.#draw();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = devicePixelRatio || 1;
    this.#width = clientWidth;
    this.#ratio = ratio;
    this.#canvas.width = Math.round(clientWidth * ratio);
    this.#canvas.height = Math.round(clientHeight * ratio);
    const style = getComputedStyle(this.#canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const columns = Math.max(1, Math.floor(clientWidth / PITCH_PX));
    const paper = getComputedStyle(document.body).backgroundColor;
    const inks = { paper, user: colour('--user'), model: colour('--model'), ink: colour('--ink'), font };
    const [bars, ahead] = this.#stands ? [columns, EMPTY_BARS_STANDING] : [columns + 2 * EMPTY_BARS, EMPTY_BARS];
    this.#tape.resize(bars, ahead, clientHeight, ratio, inks);
    this.#lineColour = colour('--line');
    const fade = this.#pen.createLinearGradient(0, 0, FADE_PX * ratio, 0);
    fade.addColorStop(0, paper);
    fade.addColorStop(1, paper.replace(/^rgb\((.*)\)$/, 'rgba($1, 0)'));
    this.#fade = fade;
    this.#pen.fillStyle = paper; // a tape that stands still is a bar or so short
    this.#pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#canvas;
    if (!width || !height) return;
    if (this.#stands) {
      this.#pen.drawImage(this.#tape.canvas, 0, 0);
      return;
    }
    this.#copyTape(width, height);
    if (this.#tape.speaking && this.#running) this.#drawNow();
    this.#fadePast(height);
  }

  /** The tape from the oldest bar in sight on, which may lie anywhere on it, and on from its beginning. @param {number} width @param {number} height */
  #copyTape(width, height) {
    const { canvas, bars } = this.#tape;
    const oldest = this.#now + 1 - this.#nowX / PITCH_PX;
    const from = Math.round((((oldest % bars) + bars) % bars) * PITCH_PX * this.#ratio);
    const first = Math.min(width, canvas.width - from);
    if (first > 0) this.#pen.drawImage(canvas, from, 0, first, height, 0, 0, first, height);
    if (first < width) this.#pen.drawImage(canvas, 0, 0, width - first, height, first, 0, width - first, height);
  }

  #drawNow() {
    const lane = this.#tape.lanePx * this.#ratio;
    const x = Math.round((this.#nowX + PITCH_PX) * this.#ratio);
    this.#pen.fillStyle = this.#lineColour;
    this.#pen.fillRect(x, 0, Math.ceil(this.#ratio), lane);
    this.#pen.fillRect(x, this.#canvas.height - lane, Math.ceil(this.#ratio), lane);
  }

  /** @param {number} height */
  #fadePast(height) {
    this.#pen.fillStyle = this.#fade;
    this.#pen.fillRect(0, 0, FADE_PX * this.#ratio, height);
  }

  /** A call, and somebody who would rather not see it move. */
  get #stands() {
    return this.#running && this.#stillness.matches;
  }

  get #nowX() {
    return this.#tape.speaking ? this.#width - Math.min(AHEAD_PX, this.#width / 4) : this.#width;
  }

  /** Before any call: what a conversation looks like, two voices that overlap. */
  #sketch() {
    const turn = (/** @type {number} */ bar) => Math.cos(((bar - SKETCHED_BARS) / 27) * Math.PI + 1.2);
    for (let bar = 0; bar < SKETCHED_BARS; bar++) {
      const syllable = 0.6 + 0.4 * Math.sin(bar * 0.9) * Math.sin(bar * 0.37 + 1);
      this.#tape.add('model', bar, Math.max(0, turn(bar) + 0.5) * syllable * 0.62);
      this.#tape.add('user', bar, Math.max(0, 0.5 - turn(bar)) * (1.15 - syllable * 0.75) * 0.62);
    }
    this.#now = SKETCHED_BARS - 1;
  }
}

/** Loudness as heard, 0…1. @param {number} rms */
export function loudness(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB))) ** 1.4;
}
