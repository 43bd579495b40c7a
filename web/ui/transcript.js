/**
 * The model's words as they come, in paragraphs. A pause opens a new one; a lost connection is said between them.
 *
 * Screen readers are given whole phrases, not pieces of words: pieces collect in a tail that is not announced, and a
 * phrase that is complete becomes an element of its own, which is. What was said, and when, is in `pieces` and `gaps`.
 *
 * @typedef {{atS: number, text: string}} Piece
 * @typedef {{atS: number, lostS: number}} Gap
 */

import { CONTROL, PAUSE_S, endsPhrase } from './phrases.js';

const PARAGRAPH_PAUSE_S = 2.5;
const NEAR_END_PX = 48;

export class Transcript {
  /** @type {Piece[]} */
  pieces = [];
  /** @type {Gap[]} */
  gaps = [];
  /** Called when there is more to read, or it lies elsewhere. */
  onChange = () => {};
  #log;
  /** @type {HTMLElement | null} */
  #paragraph = null;
  /** @type {HTMLElement | null} */
  #tail = null;
  #lastAtS = -Infinity;
  #pause = 0;

  /** @param {HTMLElement} log it scrolls */
  constructor(log) {
    this.#log = log;
  }

  get empty() {
    return !this.#log.firstChild;
  }

  clear() {
    clearTimeout(this.#pause);
    this.#log.replaceChildren();
    this.#paragraph = this.#tail = null;
    this.pieces = [];
    this.gaps = [];
    this.#lastAtS = -Infinity;
  }

  /** @param {string} piece with its own spaces @param {number} atS since the call began */
  add(piece, atS) {
    const text = piece.replace(CONTROL, '');
    if (!text) return;
    this.pieces.push({ atS, text });
    this.#following(() => {
      if (!this.#paragraph || atS - this.#lastAtS > PARAGRAPH_PAUSE_S) this.#open();
      this.#lastAtS = atS;
      const tail = /** @type {HTMLElement} */ (this.#tail);
      tail.textContent += tail.textContent || this.#paragraph?.childElementCount !== 1 ? text : text.trimStart();
      clearTimeout(this.#pause);
      if (endsPhrase(tail.textContent ?? '', text)) this.finish();
      else this.#pause = window.setTimeout(() => this.finish(), PAUSE_S * 1000);
    });
    this.onChange();
  }

  /** @param {number} atS since the call began @param {number} lostS how long nothing came */
  addGap(atS, lostS) {
    this.finish();
    this.gaps.push({ atS, lostS });
    this.#paragraph = null;
    this.#following(() => {
      const line = document.createElement('p');
      line.className = 'gap';
      line.textContent = `The connection was lost for ${Math.max(1, Math.round(lostS))} s.`;
      this.#log.append(line);
    });
    this.onChange();
  }

  /** What has been said so far is a phrase. */
  finish() {
    clearTimeout(this.#pause);
    const text = this.#tail?.textContent;
    if (!this.#tail || !text) return;
    const phrase = document.createElement('span');
    phrase.textContent = text;
    this.#tail.before(phrase);
    this.#tail.textContent = '';
    this.onChange();
  }

  /** The last words, wherever one has scrolled to. */
  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  get atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  /** Who reads the end goes on doing so; who has scrolled back is left there. @param {() => void} append */
  #following(append) {
    const follow = this.atEnd;
    append();
    if (follow) this.toEnd();
  }

  #open() {
    this.finish();
    this.#tail?.remove();
    this.#paragraph = document.createElement('p');
    this.#tail = document.createElement('span');
    this.#tail.ariaLive = 'off';
    this.#paragraph.append(this.#tail);
    this.#log.append(this.#paragraph);
  }
}
