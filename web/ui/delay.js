/** Mouth to ear as one number, and what it is made of for those who open it. */

/** @typedef {import('../delay-gauge.js').Delay} Delay */

/** @type {[string, (delay: Delay) => string | null][]} */
const ROWS = [
  ['Gathering one frame', ({ frameMs }) => ms(frameMs)],
  ['Network and model', ({ roundTripMs }) => ms(roundTripMs)],
  ['Playout buffer', ({ bufferMs }) => ms(bufferMs)],
  ['Sound output', ({ deviceMs }) => ms(deviceMs)],
  ['Opus', ({ codecMs }) => ms(codecMs)],
];

/** @type {[string, (delay: Delay) => string | null][]} */
const NOTES = [
  ['Model step, on the server', ({ stepMs }) => stepMs === null ? null : ms(stepMs)],
  ['Waiting, on the server', ({ waitMs }) => waitMs === null ? null : ms(waitMs)],
  ['Gaps in playback', ({ gaps }) => count(gaps)],
  ['Frames the server skipped', ({ skippedFrames }) => count(skippedFrames)],
  ['Packets not sent', ({ droppedPackets }) => count(droppedPackets)],
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
    fill(this.#notes, NOTES, delay);
  }

  hide() {
    this.#details.hidden = true;
    this.#details.open = false;
  }
}

/**
 * @param {HTMLElement} list
 * @param {[string, (delay: Delay) => string | null][]} rows
 * @param {Delay} delay
 */
function fill(list, rows, delay) {
  const children = rows.flatMap(([name, value]) => {
    const text = value(delay);
    return text === null ? [] : [element('dt', name), element('dd', text)];
  });
  list.replaceChildren(...children);
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

/** @param {number} value */
function count(value) {
  return String(value);
}
