/**
 * Shows the mouth-to-ear delay as one number; in a card its parts over the last minute, and counts of what went wrong.
 *
 * @typedef {import('../../client/delay-gauge.js').Delay} Delay
 * @typedef {import('../../client/parley.js').Counts} Counts
 * @typedef {'captureMs' | 'networkMs' | 'waitMs' | 'stepMs' | 'playoutMs'} Part
 */

import { find } from './dom.js';

/** @type {[Part, string][]} in the order in which a sound passes them */
const PARTS = [
  ['captureMs', 'Collecting a piece of your voice'],
  ['networkMs', 'Network'],
  ['waitMs', 'Waiting for the model to be free'],
  ['stepMs', 'The model'],
  ['playoutMs', 'Playing the answer'],
];
const SHADES = [1, 0.78, 0.58, 0.4, 0.24]; // as in cards.css

/** @type {[keyof Counts, string][]} */
const COUNTS = [
  ['concealed', 'Short gaps filled (20 ms each)'],
  ['skipped', 'Pieces of your voice left out (80 ms each)'],
  ['underruns', 'Times the answer stalled'],
  ['unsent', 'Pieces not sent, network too slow (20 ms each)'],
];
const KEPT_DELAYS = 120; // a minute, at two a second
const SCALE_MS = 250; // the graph's height is a multiple of it

export class DelayView {
  /** @type {Delay[]} of the last minute, oldest first */
  history = [];
  /** @type {Counts} */
  counts = { concealed: 0, skipped: 0, underruns: 0, unsent: 0 };
  #chip;
  #card;
  #total;
  #graph;

  /** @param {HTMLElement} chip opens the card @param {HTMLElement} card */
  constructor(chip, card) {
    this.#chip = chip;
    this.#card = card;
    this.#total = find(chip, '[data-total]', HTMLElement);
    this.#graph = find(card, 'canvas', HTMLCanvasElement);
    card.addEventListener('toggle', () => this.#showCard());
  }

  /** @param {Delay} delay */
  show(delay) {
    this.history.push(delay);
    if (this.history.length > KEPT_DELAYS) this.history.shift();
    this.#chip.hidden = false;
    this.#total.textContent = ms(delay.totalMs);
    this.#showCard();
  }

  /** @param {Counts} counts */
  count(counts) {
    this.counts = counts;
    this.#showCard();
  }

  /** A new call starts. The delays of the previous one were kept until now for its report. */
  clear() {
    this.history = [];
    this.counts = { concealed: 0, skipped: 0, underruns: 0, unsent: 0 };
    this.#chip.hidden = true;
    if (this.#isOpen) this.#card.hidePopover();
  }

  get #isOpen() {
    return this.#card.matches(':popover-open');
  }

  #showCard() {
    const delay = this.history.at(-1);
    if (!delay || !this.#isOpen) return;
    fill(find(this.#card, '[data-parts]', HTMLElement), PARTS.map(([part, name]) => [name, ms(delay[part]), part]));
    fill(find(this.#card, '[data-counts]', HTMLElement), COUNTS.map(([kind, name]) => [name, String(this.counts[kind])]));
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#graph;
    const ratio = devicePixelRatio || 1;
    this.#graph.width = width * ratio;
    this.#graph.height = height * ratio;
    const pen = /** @type {CanvasRenderingContext2D} */ (this.#graph.getContext('2d'));
    const style = getComputedStyle(this.#graph);
    const topMs = SCALE_MS * Math.ceil(Math.max(1, ...this.history.map(({ totalMs }) => totalMs)) / SCALE_MS);
    pen.scale(ratio, ratio);
    const pitch = width / KEPT_DELAYS;
    this.history.forEach((delay, i) => {
      const x = width - (this.history.length - i) * pitch;
      let y = height;
      PARTS.forEach(([part], k) => {
        const tall = (delay[part] / topMs) * height;
        y -= tall;
        pen.fillStyle = style.getPropertyValue('--model');
        pen.globalAlpha = SHADES[k];
        pen.fillRect(x, y, pitch, tall);
      });
    });
    pen.globalAlpha = 1;
    pen.fillStyle = style.getPropertyValue('--line');
    pen.fillRect(0, 0, width, 1);
    pen.fillRect(0, height - 1, width, 1);
    pen.fillStyle = style.getPropertyValue('--quiet');
    pen.font = `12px ${style.fontFamily}`;
    pen.fillText(ms(topMs), 0, 15);
  }
}

/** @param {HTMLElement} list @param {[string, string, string?][]} rows name, value, and the part whose shade in the graph it has */
function fill(list, rows) {
  if (!list.firstChild) {
    for (const [name, , part] of rows) {
      const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
      dt.textContent = name;
      if (part) dt.dataset.part = part;
      list.append(dt, dd);
    }
  }
  rows.forEach(([, value], i) => (list.children[i * 2 + 1].textContent = value));
}

/** @param {number} value */
function ms(value) {
  return `${Math.round(value)} ms`;
}
