/**
 * The picture of both voices as an endless tape: each bar and each word is drawn once, where its moment lies, and what is
 * a tape's length old is wiped for what comes. Whoever shows it copies from it. Knows no clock.
 */

import { WordTrack } from './word-track.js';

/** @typedef {'user' | 'model'} Voice */

export const PITCH_PX = 6; // from bar to bar

const BAR_PX = 3;
const LONG_WORD_BARS = 18;
const REMEMBERED_BARS = 1024; // what can be drawn again when the picture changes its size or colours
const QUIET_STRIP_PX = 8; // between the voices, without words
const WORD_STRIP_PX = 46; // two rows of words
const ROW_PX = 19;

/** @typedef {{paper: string, user: string, model: string, ink: string, font: string}} Style */

export class Tape {
  /** What to copy from; `bars` bars long, in device pixels. */
  canvas = document.createElement('canvas');
  bars = 1;
  #ahead = 0;
  /** The newest bar that was heard of. */
  newest = 0;
  /** There are words to come. */
  speaking = false;
  #pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d', { alpha: false }));
  #loud = { user: new Float32Array(REMEMBERED_BARS), model: new Float32Array(REMEMBERED_BARS) };
  #lost = new Uint8Array(REMEMBERED_BARS); // 1: there was no connection
  #track = new WordTrack((text) => this.#pen.measureText(text).width / PITCH_PX);
  #height = 0;
  /** @type {Style} */
  #style = { paper: '', user: '', model: '', ink: '', font: '' };

  /** @param {boolean} speaking */
  clear(speaking) {
    this.speaking = speaking;
    this.newest = 0;
    this.#loud.user.fill(0);
    this.#loud.model.fill(0);
    this.#lost.fill(0);
    this.#track.clear();
    this.#blank(0, 0, this.bars * PITCH_PX, this.#height);
  }

  /**
   * @param {number} bars
   * @param {number} ahead of the newest bar, how many are empty
   * @param {number} height in CSS pixels
   * @param {number} ratio
   * @param {Style} style
   */
  resize(bars, ahead, height, ratio, style) {
    this.bars = bars;
    this.#ahead = ahead;
    this.#height = height;
    this.#style = style;
    this.canvas.width = Math.round(bars * PITCH_PX * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.#pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#pen.font = style.font;
    this.#pen.textBaseline = 'middle';
    this.#blank(0, 0, bars * PITCH_PX, height);
    const oldest = Math.max(0, this.newest - Math.min(bars - ahead, REMEMBERED_BARS) + 1);
    for (let bar = oldest; bar <= this.newest; bar++) this.#drawBar(bar);
    for (const word of this.#track.words) if (word.at > oldest) this.#drawWord(word);
  }

  /** Between the voices. */
  get stripPx() {
    return this.speaking ? WORD_STRIP_PX : QUIET_STRIP_PX;
  }

  /** Of each voice; whole, so that a bar can be wiped without a trace. */
  get lanePx() {
    return Math.floor((this.#height - this.stripPx) / 2);
  }

  /** @param {Voice} voice @param {number} bar @param {number} loudness 0…1; the loudest of a bar counts */
  add(voice, bar, loudness) {
    if (bar <= this.newest - REMEMBERED_BARS) return;
    if (bar > this.newest) this.#reach(bar);
    const at = bar % REMEMBERED_BARS;
    if (loudness <= this.#loud[voice][at]) return;
    this.#loud[voice][at] = loudness;
    this.#drawBar(bar);
  }

  /** @param {string} piece with its own spaces @param {number} bar in which it begins to sound */
  addWords(piece, bar) {
    for (const word of this.#track.add(piece, bar)) this.#drawWord(word);
  }

  /** @param {number} bars from the newest back, in which nothing came */
  lose(bars) {
    for (let bar = Math.max(0, this.newest - Math.min(bars, REMEMBERED_BARS - 1)); bar < this.newest; bar++) {
      this.#lost[bar % REMEMBERED_BARS] = 1;
      this.#drawBar(bar);
    }
  }

  /** Bars on the way that nobody told of are silent. @param {number} bar the newest from now on */
  #reach(bar) {
    for (let next = Math.max(this.newest + 1, bar - REMEMBERED_BARS + 1); next <= bar; next++) {
      const at = next % REMEMBERED_BARS;
      this.#loud.user[at] = this.#loud.model[at] = this.#lost[at] = 0;
      const lane = this.lanePx;
      this.#wipe(next + this.#ahead, 0, lane);
      this.#wipe(next + this.#ahead, this.#height - lane, lane);
      this.#wipe(next + Math.max(this.#ahead, LONG_WORD_BARS), lane, this.stripPx); // no word is cut while it is said
      this.#drawBar(next);
    }
    this.newest = bar;
  }

  /** @param {number} bar @param {number} top @param {number} height */
  #wipe(bar, top, height) {
    this.#blank((bar % this.bars) * PITCH_PX, top, PITCH_PX, height);
  }

  /** @param {number} x @param {number} top @param {number} width @param {number} height */
  #blank(x, top, width, height) {
    this.#pen.fillStyle = this.#style.paper;
    this.#pen.fillRect(x, top, width, height);
  }

  /** @param {number} bar */
  #drawBar(bar) {
    const pen = this.#pen;
    const lane = this.lanePx;
    const x = (bar % this.bars) * PITCH_PX;
    const at = bar % REMEMBERED_BARS;
    for (const voice of /** @type {Voice[]} */ (['model', 'user'])) {
      this.#wipe(bar, voice === 'model' ? 0 : this.#height - lane, lane);
      if (this.#lost[at]) continue;
      const length = BAR_PX + this.#loud[voice][at] * (lane - BAR_PX);
      pen.beginPath();
      pen.roundRect(x, voice === 'model' ? lane - length : this.#height - lane, BAR_PX, length, BAR_PX / 2);
      pen.fillStyle = this.#style[voice];
      pen.fill();
    }
  }

  /** @param {import('./word-track.js').PlacedWord} word perhaps longer than when it was last drawn */
  #drawWord({ text, at, row }) {
    const pen = this.#pen;
    const length = this.bars * PITCH_PX;
    const middle = this.#height / 2 + (row ? ROW_PX : -ROW_PX) / 2;
    const width = pen.measureText(text).width;
    for (const x of [(at % this.bars) * PITCH_PX, (at % this.bars) * PITCH_PX - length]) {
      this.#blank(x, middle - ROW_PX / 2, width, ROW_PX);
      pen.fillStyle = this.#style.ink;
      pen.fillText(text, x, middle);
    }
  }
}
