/**
 * A ring buffer of the drawn waveform: each bar and each word is drawn once at the place of its time, and overwrites what was
 * drawn there one length of the buffer before. The view copies from it. Knows no clock.
 */

import { WordTrack } from './word-track.js';

/** @typedef {'user' | 'model'} Voice */

export const PITCH_PX = 6; // from one bar to the next

const BAR_PX = 3;
const LONG_WORD_BARS = 18;
const KEPT_BARS = 1024; // can be drawn again when the size or the colours change
const EMPTY_STRIP_PX = 8; // between the voices, without text
const TEXT_STRIP_PX = 46; // two rows of words
const ROW_PX = 19;

/** @typedef {{paper: string, user: string, model: string, ink: string, font: string}} Style */

export class WaveformBuffer {
  /** The drawn waveform, `bars` bars long, in device pixels. */
  canvas = document.createElement('canvas');
  bars = 1;
  #ahead = 0;
  /** The newest bar. */
  newest = 0;
  /** Whether there is text between the voices. */
  hasText = false;
  #pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext('2d', { alpha: false }));
  #loud = { user: new Float32Array(KEPT_BARS), model: new Float32Array(KEPT_BARS) };
  #lost = new Uint8Array(KEPT_BARS); // 1 where the connection was lost
  #track = new WordTrack((text) => this.#pen.measureText(text).width / PITCH_PX);
  #height = 0;
  /** @type {Style} */
  #style = { paper: '', user: '', model: '', ink: '', font: '' };

  /** @param {boolean} hasText */
  clear(hasText) {
    this.hasText = hasText;
    this.newest = 0;
    this.#loud.user.fill(0);
    this.#loud.model.fill(0);
    this.#lost.fill(0);
    this.#track.clear();
    this.#fillBackground(0, 0, this.bars * PITCH_PX, this.#height);
  }

  /**
   * @param {number} bars
   * @param {number} ahead empty bars after the newest one
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
    this.#fillBackground(0, 0, bars * PITCH_PX, height);
    const oldest = Math.max(0, this.newest - Math.min(bars - ahead, KEPT_BARS) + 1);
    for (let bar = oldest; bar <= this.newest; bar++) this.#drawBar(bar);
    for (const word of this.#track.words) if (word.at > oldest) this.#drawWord(word);
  }

  /** The height of the strip between the voices. */
  get stripPx() {
    return this.hasText ? TEXT_STRIP_PX : EMPTY_STRIP_PX;
  }

  /** The height of each voice; an integer, so that a bar can be erased completely. */
  get lanePx() {
    return Math.floor((this.#height - this.stripPx) / 2);
  }

  /** @param {Voice} voice @param {number} bar @param {number} loudness 0…1; a bar shows its loudest */
  add(voice, bar, loudness) {
    if (bar <= this.newest - KEPT_BARS) return;
    if (bar > this.newest) this.#advanceTo(bar);
    const at = bar % KEPT_BARS;
    if (loudness <= this.#loud[voice][at]) return;
    this.#loud[voice][at] = loudness;
    this.#drawBar(bar);
  }

  /** @param {string} piece with its own spaces @param {number} bar in which it begins to sound */
  addText(piece, bar) {
    for (const word of this.#track.add(piece, bar)) this.#drawWord(word);
  }

  /** @param {number} bars up to the newest one, during which the connection was lost */
  markLost(bars) {
    for (let bar = Math.max(0, this.newest - Math.min(bars, KEPT_BARS - 1)); bar < this.newest; bar++) {
      this.#lost[bar % KEPT_BARS] = 1;
      this.#drawBar(bar);
    }
  }

  /** Bars without a level are silent. @param {number} bar the newest from now on */
  #advanceTo(bar) {
    for (let next = Math.max(this.newest + 1, bar - KEPT_BARS + 1); next <= bar; next++) {
      const at = next % KEPT_BARS;
      this.#loud.user[at] = this.#loud.model[at] = this.#lost[at] = 0;
      const lane = this.lanePx;
      this.#erase(next + this.#ahead, 0, lane);
      this.#erase(next + this.#ahead, this.#height - lane, lane);
      this.#erase(next + Math.max(this.#ahead, LONG_WORD_BARS), lane, this.stripPx); // do not cut the word that is being said
      this.#drawBar(next);
    }
    this.newest = bar;
  }

  /** @param {number} bar @param {number} top @param {number} height */
  #erase(bar, top, height) {
    this.#fillBackground((bar % this.bars) * PITCH_PX, top, PITCH_PX, height);
  }

  /** @param {number} x @param {number} top @param {number} width @param {number} height */
  #fillBackground(x, top, width, height) {
    this.#pen.fillStyle = this.#style.paper;
    this.#pen.fillRect(x, top, width, height);
  }

  /** @param {number} bar */
  #drawBar(bar) {
    const pen = this.#pen;
    const lane = this.lanePx;
    const x = (bar % this.bars) * PITCH_PX;
    const at = bar % KEPT_BARS;
    for (const voice of /** @type {Voice[]} */ (['model', 'user'])) {
      this.#erase(bar, voice === 'model' ? 0 : this.#height - lane, lane);
      if (this.#lost[at]) continue;
      const length = BAR_PX + this.#loud[voice][at] * (lane - BAR_PX);
      pen.beginPath();
      pen.roundRect(x, voice === 'model' ? lane - length : this.#height - lane, BAR_PX, length, BAR_PX / 2);
      pen.fillStyle = this.#style[voice];
      pen.fill();
    }
  }

  /** @param {import('./word-track.js').PlacedWord} word may be longer than when it was last drawn */
  #drawWord({ text, at, row }) {
    const pen = this.#pen;
    const length = this.bars * PITCH_PX;
    const middle = this.#height / 2 + (row ? ROW_PX : -ROW_PX) / 2;
    const width = pen.measureText(text).width;
    for (const x of [(at % this.bars) * PITCH_PX, (at % this.bars) * PITCH_PX - length]) {
      this.#fillBackground(x, middle - ROW_PX / 2, width, ROW_PX);
      pen.fillStyle = this.#style.ink;
      pen.fillText(text, x, middle);
    }
  }
}
