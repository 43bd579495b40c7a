/**
 * Both voices on one timeline: the model's above it, the caller's below.
 *
 * The model's words are between the voices, each at the time when it begins to sound. Draws only on a canvas, so that the page
 * needs no new layout: each frame copies from the waveform buffer. For people who prefer reduced motion the picture does not
 * scroll: new sound overwrites the old in place, as on a hospital monitor.
 */

import { LevelMeter } from '../../client/audio/level-meter.js';
import { PITCH_PX, WaveformBuffer } from './waveform-buffer.js';

const SPANS_PER_BAR = 2; // 43 ms
const FLOOR_DB = -52;
const CEILING_DB = -14;
const AHEAD_PX = 112; // right of the present, for the word that is being said; at most a sixth of the width
const FADE_PX = 96; // at the left end
const FRAME_MIN_MS = 15; // at most 60 frames a second, even on a faster screen
const EMPTY_BARS = 40; // between the newest and the oldest bar in the buffer; never in view
const EMPTY_BARS_STILL = 4; // in view, where new bars overwrite the old
const EXAMPLE_BARS = 320;

export class Waveform {
  #canvas;
  #pen;
  #buffer = new WaveformBuffer();
  #nowBar = 0; // the bar at the present; fractional, for smooth motion
  #drawnAtMs = 0;
  #drawnBar = -1;
  #barsPerS = 48000 / LevelMeter.SPAN_SAMPLES / SPANS_PER_BAR;
  #run = 0; // counts starts, so that a pending frame of an earlier run does not draw
  #running = false;
  #width = 0;
  #ratio = 1;
  #lineColour = '';
  #reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
  /** @type {CanvasGradient | string} */
  #fade = '';

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false })); // opaque: nothing is blended
    this.#drawExample();
    new ResizeObserver(() => this.#resize()).observe(canvas);
    for (const preference of [matchMedia('(prefers-color-scheme: dark)'), this.#reducedMotion]) {
      preference.addEventListener('change', () => this.#resize());
    }
    void document.fonts.ready.then(() => this.#resize());
  }

  /**
   * Clear the picture and start moving it.
   * @param {number} rateHz of the audio clock on which spans are counted
   * @param {{hasText: boolean}} options whether there will be text
   */
  start(rateHz, { hasText }) {
    this.#barsPerS = rateHz / LevelMeter.SPAN_SAMPLES / SPANS_PER_BAR;
    this.#buffer.clear(hasText);
    this.#nowBar = 0;
    this.#running = true;
    this.#resize();
    this.#frame(++this.#run, performance.now());
  }

  /** There is no call, and nothing of one to show: what a call looks like. */
  showExample() {
    this.#running = false;
    this.#buffer.clear(false);
    this.#drawExample();
    this.#resize();
  }

  /** Stop moving; the picture stays. */
  stop() {
    this.#running = false;
  }

  /** @param {import('./waveform-buffer.js').Voice} voice @param {number} span @param {number} rms */
  addLevel(voice, span, rms) {
    if (this.#running) this.#buffer.add(voice, Math.floor(span / SPANS_PER_BAR), loudness(rms));
  }

  /** @param {string} piece with its own spaces @param {number} span in which it begins to sound */
  addText(piece, span) {
    this.#buffer.addText(piece, span / SPANS_PER_BAR);
  }

  /** The connection was lost until now. @param {number} lastedS */
  addGap(lastedS) {
    this.#buffer.markLost(Math.ceil(lastedS * this.#barsPerS));
  }

  /** @param {number} run @param {number} ms */
  #frame(run, ms) {
    if (!this.#running || run !== this.#run) return;
    requestAnimationFrame((next) => this.#frame(run, next));
    const elapsedMs = ms - this.#drawnAtMs;
    if (elapsedMs < FRAME_MIN_MS || (this.#isStill && this.#drawnBar === this.#buffer.newest)) return;
    this.#drawnAtMs = ms;
    this.#drawnBar = this.#buffer.newest;
    // Move at the clock's rate, but stay close to the newest bar.
    const smooth = this.#nowBar + (Math.min(100, elapsedMs) / 1000) * this.#barsPerS;
    this.#nowBar = Math.min(Math.max(smooth, this.#buffer.newest - 2), this.#buffer.newest + 0.5);
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
    const [bars, ahead] = this.#isStill ? [columns, EMPTY_BARS_STILL] : [columns + 2 * EMPTY_BARS, EMPTY_BARS];
    this.#buffer.resize(bars, ahead, clientHeight, ratio, inks);
    this.#lineColour = colour('--line');
    const fade = this.#pen.createLinearGradient(0, 0, FADE_PX * ratio, 0);
    fade.addColorStop(0, paper);
    fade.addColorStop(1, paper.replace(/^rgb\((.*)\)$/, 'rgba($1, 0)'));
    this.#fade = fade;
    this.#pen.fillStyle = paper; // a still buffer is up to a bar shorter than the canvas
    this.#pen.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#canvas;
    if (!width || !height) return;
    if (this.#isStill) {
      this.#pen.drawImage(this.#buffer.canvas, 0, 0);
      return;
    }
    this.#copyBuffer(width, height);
    if (this.#buffer.hasText && this.#running) this.#drawPresent();
    this.#fadeLeftEnd(height);
  }

  /** Copy the buffer from the oldest bar in view to its end, and then from its start. @param {number} width @param {number} height */
  #copyBuffer(width, height) {
    const { canvas, bars } = this.#buffer;
    const oldest = this.#nowBar + 1 - this.#nowX / PITCH_PX;
    const from = Math.round((((oldest % bars) + bars) % bars) * PITCH_PX * this.#ratio);
    const first = Math.min(width, canvas.width - from);
    if (first > 0) this.#pen.drawImage(canvas, from, 0, first, height, 0, 0, first, height);
    if (first < width) this.#pen.drawImage(canvas, 0, 0, width - first, height, first, 0, width - first, height);
  }

  #drawPresent() {
    const lane = this.#buffer.lanePx * this.#ratio;
    const x = Math.round((this.#nowX + PITCH_PX) * this.#ratio);
    this.#pen.fillStyle = this.#lineColour;
    this.#pen.fillRect(x, 0, Math.ceil(this.#ratio), lane);
    this.#pen.fillRect(x, this.#canvas.height - lane, Math.ceil(this.#ratio), lane);
  }

  /** @param {number} height */
  #fadeLeftEnd(height) {
    this.#pen.fillStyle = this.#fade;
    this.#pen.fillRect(0, 0, FADE_PX * this.#ratio, height);
  }

  /** Whether a running picture must not scroll. */
  get #isStill() {
    return this.#running && this.#reducedMotion.matches;
  }

  get #nowX() {
    return this.#buffer.hasText ? this.#width - Math.min(AHEAD_PX, this.#width / 6) : this.#width;
  }

  /** Before the first call: an example of two voices that overlap. */
  #drawExample() {
    const turn = (/** @type {number} */ bar) => Math.cos(((bar - EXAMPLE_BARS) / 27) * Math.PI + 1.2);
    for (let bar = 0; bar < EXAMPLE_BARS; bar++) {
      const syllable = 0.6 + 0.4 * Math.sin(bar * 0.9) * Math.sin(bar * 0.37 + 1);
      this.#buffer.add('model', bar, Math.max(0, turn(bar) + 0.5) * syllable * 0.62);
      this.#buffer.add('user', bar, Math.max(0, 0.5 - turn(bar)) * (1.15 - syllable * 0.75) * 0.62);
    }
    this.#nowBar = EXAMPLE_BARS - 1;
  }
}

/** Perceived loudness, 0…1. @param {number} rms */
export function loudness(rms) {
  const db = 20 * Math.log10(rms + 1e-9);
  return Math.min(1, Math.max(0, (db - FLOOR_DB) / (CEILING_DB - FLOOR_DB))) ** 1.4;
}
