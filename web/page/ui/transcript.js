/**
 * The model's text as it comes, in paragraphs. A pause starts a new one, and so does an interruption, which leaves a dash; a lost
 * connection is noted between them.
 *
 * Screen readers announce whole phrases, not text pieces: pieces collect in a tail that is not announced, and a complete
 * phrase becomes an element of its own, which is. `pieces` and `gaps` hold everything with its time.
 *
 * @typedef {{atS: number, text: string}} Piece
 * @typedef {{atS: number, lostS: number, isPause?: boolean}} Gap the connection was lost, or the sound was paused and the clock with it
 */

import { PAUSE_S, cleaned, relation, withDash } from './phrases.js';

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
  #phrase = ''; // so far; kept after it was finished, until the next one begins
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
    this.#phrase = '';
    this.#lastAtS = -Infinity;
  }

  /** @param {string} piece with its own spaces @param {number} atS since the call was live */
  add(piece, atS) {
    const text = cleaned(piece);
    if (!text) return;
    this.pieces.push({ atS, text });
    this.#keepEndInView(() => {
      const how = this.#paragraph ? relation(this.#phrase, text, atS - this.#lastAtS) : 'paragraph';
      this.#lastAtS = atS;
      if (how === 'interruption') this.#interrupt();
      if (how !== 'same') this.finish();
      if (how !== 'same') this.#phrase = '';
      if (how === 'paragraph' || how === 'interruption') this.#open();
      this.#phrase += text;
      const tail = /** @type {HTMLElement} */ (this.#tail);
      tail.textContent += tail.textContent || this.#paragraph?.childElementCount !== 1 ? text : text.trimStart();
      clearTimeout(this.#pause);
      this.#pause = window.setTimeout(() => this.finish(), PAUSE_S * 1000);
    });
    this.onChange();
  }

  /**
   * @param {number} atS since the call was live
   * @param {number} lostS how long the connection was lost
   * @param {boolean} [isPause] it was not, but the system has paused the sound
   */
  addGap(atS, lostS, isPause = false) {
    this.finish();
    this.gaps.push(isPause ? { atS, lostS, isPause } : { atS, lostS });
    this.#paragraph = null;
    this.#keepEndInView(() => {
      const line = document.createElement('p');
      line.className = 'gap';
      const seconds = Math.max(1, Math.round(lostS));
      line.textContent = isPause ? `The sound was paused for ${seconds} s.` : `The connection was lost for ${seconds} s.`;
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

  /** The present phrase was interrupted; it may have been finished already. */
  #interrupt() {
    const last = this.#tail?.textContent ? this.#tail : this.#tail?.previousElementSibling;
    if (last) last.textContent = withDash(last.textContent ?? '');
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
    this.#paragraph.dir = 'auto'; // a model may speak a language that is written from the right
    this.#tail = document.createElement('span');
    this.#tail.ariaLive = 'off';
    this.#paragraph.append(this.#tail);
    this.#log.append(this.#paragraph);
  }
}
