/** Mouth to ear as one number, and what it is made of for those who open it. */

/**
 * @typedef {import('../delay-gauge.js').Delay} Delay
 * @typedef {import('../parley.js').Counts} Counts
 */

/** @type {[string, (delay: Delay) => string][]} */
const ROWS = [
  ['Gathering one frame', ({ captureMs }) => ms(captureMs)],
  ['Network', ({ networkMs }) => ms(networkMs)],
  ['Waiting for the model', ({ waitMs }) => ms(waitMs)],
  ['The model', ({ stepMs }) => ms(stepMs)],
  ['Playout', ({ playoutMs }) => ms(playoutMs)],
];

/** @type {[string, (counts: Counts) => string][]} */
const NOTES = [
  ['Gaps in playback', ({ late }) => String(late)],
  ['Frames the server skipped', ({ skipped }) => String(skipped)],
  ['Packets not sent', ({ unsent }) => String(unsent)],
];

export class DelayView {
  #details;
  #total;
  #parts;
  #notes;

  /** @param {HTMLDetailsElement} details */
  constructor(details) {
    const find = (/** @type {string} */ name) => /** @type {HTMLElement} */ (details.querySelector(`[data-${name}]`));
    this.#details = details;
    this.#total = find('total');
    this.#parts = find('parts');
    this.#notes = find('notes');
  }

  /** @param {Delay} delay */
  show(delay) {
    this.#details.hidden = false;
    this.#total.textContent = ms(delay.totalMs);
    if (!this.#details.open) return;
    fill(this.#parts, ROWS, delay);
  }

  /** @param {Counts} counts */
  count(counts) {
    fill(this.#notes, NOTES, counts);
  }

  hide() {
    this.#details.hidden = true;
    this.#details.open = false;
  }
}

/**
 * @template T
 * @param {HTMLElement} list
 * @param {[string, (shown: T) => string][]} rows
 * @param {T} shown
 */
function fill(list, rows, shown) {
  list.replaceChildren(...rows.flatMap(([name, value]) => [element('dt', name), element('dd', value(shown))]));
}

/** @param {string} tag @param {string} text */
function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** @param {number} value */
function ms(value) {
  return `${Math.round(value)} ms`;
}
