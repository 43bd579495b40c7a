/**
 * The model's words as they come, in paragraphs. A pause opens a new one.
 *
 * Screen readers are given whole phrases, not pieces of words: pieces collect in a tail that is not announced, and a
 * phrase that is complete becomes an element of its own, which is.
 */

const PARAGRAPH_PAUSE_MS = 2500;
const PHRASE_PAUSE_MS = 1200;
const PHRASE_END = /[.!?…。！？]["”’)]?\s*$/;
const LONGEST_PHRASE = 160; // characters; someone who never pauses is read out all the same
const NEAR_END_PX = 48;
const CONTROL = /\p{Cc}/gu; // a model may say any byte; these have no shape to read

export class Transcript {
  #log;
  /** @type {HTMLElement | null} */
  #paragraph = null;
  /** @type {HTMLElement | null} */
  #tail = null;
  #lastAtMs = -Infinity;
  #pause = 0;

  /** @param {HTMLElement} log */
  constructor(log) {
    this.#log = log;
  }

  get empty() {
    return !this.#log.firstChild;
  }

  clear() {
    this.finish();
    this.#log.replaceChildren();
    this.#paragraph = null;
  }

  /** @param {string} piece with its own spaces @param {number} nowMs */
  add(piece, nowMs) {
    const text = piece.replace(CONTROL, '');
    if (!text) return;
    const follow = this.#atEnd;
    if (!this.#paragraph || nowMs - this.#lastAtMs > PARAGRAPH_PAUSE_MS) this.#open();
    this.#lastAtMs = nowMs;
    const tail = /** @type {HTMLElement} */ (this.#tail);
    tail.textContent += tail.textContent || this.#paragraph?.childElementCount !== 1 ? text : text.trimStart();
    clearTimeout(this.#pause);
    const phrase = tail.textContent ?? '';
    if (PHRASE_END.test(phrase) || (phrase.length > LONGEST_PHRASE && /\s$|^\s/.test(text))) this.finish();
    else this.#pause = window.setTimeout(() => this.finish(), PHRASE_PAUSE_MS);
    if (follow) this.#log.scrollTop = this.#log.scrollHeight;
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

  get #atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
  }
}
