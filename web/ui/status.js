/** The line that says where we are, and the card that says what went wrong and what to do about it. */
export class StatusView {
  #line;
  #card;
  #title;
  #advice;

  /** @param {HTMLElement} line @param {HTMLElement} card with `[data-title]` and `[data-advice]` */
  constructor(line, card) {
    this.#line = line;
    this.#card = card;
    this.#title = /** @type {HTMLElement} */ (card.querySelector('[data-title]'));
    this.#advice = /** @type {HTMLElement} */ (card.querySelector('[data-advice]'));
  }

  /** @param {string} text */
  say(text) {
    this.#card.hidden = true;
    this.#line.textContent = text;
  }

  /** @param {import('./sentences.js').Sentence} sentence */
  fail({ title, advice }) {
    this.#line.textContent = '';
    this.#card.hidden = false;
    this.#title.textContent = title;
    this.#advice.textContent = advice;
  }
}
