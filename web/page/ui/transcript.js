/**
 * The model's text as it comes, in paragraphs. A pause starts a new one; a lost connection is noted between them.
 *
 * Screen readers announce whole phrases, not text pieces: pieces collect in a tail that is not announced, and a complete
 * phrase becomes an element of its own, which is. `pieces` and `gaps` hold everything with its time.
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
  /** Called when the text or its elements have changed. */
  onChange = () => {};
  #log;
  /** @type {HTMLElement | null} */
  #paragraph = null;
  /** @type {HTMLElement | null} */
  #tail = null;
  #lastAtS = -Infinity;
  #pause = 0;

  /** @param {HTMLElement} log scrollable */
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

  /** @param {string} piece with its own spaces @param {number} atS since the call was live */
  add(piece, atS) {
    const text = piece.replace(CONTROL, '');
    if (!text) return;
    this.pieces.push({ atS, text });
    this.#keepEndInView(() => {
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

  /** @param {number} atS since the call was live @param {number} lostS how long the connection was lost */
  addGap(atS, lostS) {
    this.finish();
    this.gaps.push({ atS, lostS });
    this.#paragraph = null;
    this.#keepEndInView(() => {
      const line = document.createElement('p');
      line.className = 'gap';
      line.textContent = `The connection was lost for ${Math.max(1, Math.round(lostS))} s.`;
      this.#log.append(line);
    });
    this.onChange();
  }

  /** End the present phrase. */
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

  /** Scroll to the last words. */
  toEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  get atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }

  /** Keep the end in view if it was; a reader who has scrolled back stays there. @param {() => void} append */
  #keepEndInView(append) {
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
