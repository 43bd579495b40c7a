/** The line that says where we are, what just happened for a moment, and the card that says what went wrong. */

import { find } from './page.js';

const NOTE_MS = 5000;

export class StatusView {
  #line;
  #card;
  #title;
  #advice;
  #standing = ''; // what holds until something else does
  #note = 0;

  /** @param {HTMLElement} line @param {HTMLElement} card with `[data-title]` and `[data-advice]` */
  constructor(line, card) {
    this.#line = line;
    this.#card = card;
    this.#title = find(card, '[data-title]', HTMLElement);
    this.#advice = find(card, '[data-advice]', HTMLElement);
  }

  /** @param {string} text */
  say(text) {
    clearTimeout(this.#note);
    this.#card.hidden = true;
    this.#standing = text;
    this.#line.textContent = text;
  }

  /** For a moment. @param {string} text */
  note(text) {
    clearTimeout(this.#note);
    this.#line.textContent = text;
    this.#note = window.setTimeout(() => (this.#line.textContent = this.#standing), NOTE_MS);
  }

  /** @param {import('./sentences.js').Sentence} sentence */
  fail({ title, advice }) {
    this.say('');
    this.#card.hidden = false;
    this.#title.textContent = title;
    this.#advice.textContent = advice;
  }
}
