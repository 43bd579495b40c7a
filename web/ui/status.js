/** The line that says where we are, what just happened for a moment, and the card that says what went wrong. */

import { find } from './page.js';

const NOTE_MS = 5000;
const TICK_MS = 250;

export class StatusView {
  #line;
  #card;
  #title;
  #advice;
  #standing = ''; // what holds until something else does
  #endsMs = 0; // 0: no countdown behind it
  #ticking = 0;
  #note = 0;

  /** @param {HTMLElement} line @param {HTMLElement} card with `[data-title]` and `[data-advice]` */
  constructor(line, card) {
    this.#line = line;
    this.#card = card;
    this.#title = find(card, '[data-title]', HTMLElement);
    this.#advice = find(card, '[data-advice]', HTMLElement);
  }

  /** @param {string} text @param {number} [leftS] counted down behind it; nobody is read that aloud */
  say(text, leftS = 0) {
    if (this.#card.hidden && text === this.#standing && !leftS && !this.#endsMs) return; // is read aloud once
    this.#card.hidden = true;
    this.#standing = text;
    this.#endsMs = leftS && performance.now() + leftS * 1000;
    this.#stand();
  }

  /** For a moment. @param {string} text */
  note(text) {
    clearTimeout(this.#note);
    clearInterval(this.#ticking);
    this.#line.textContent = text;
    this.#note = window.setTimeout(() => this.#stand(), NOTE_MS);
  }

  /** @param {import('./sentences.js').Sentence} sentence */
  fail({ title, advice }) {
    if (!this.#card.hidden && this.#title.textContent === title && this.#advice.textContent === advice) return; // is read aloud once
    this.say('');
    this.#card.hidden = false;
    this.#title.textContent = title;
    this.#advice.textContent = advice;
  }

  #stand() {
    clearTimeout(this.#note);
    clearInterval(this.#ticking);
    this.#line.textContent = this.#standing;
    if (!this.#endsMs) return;
    const left = document.createElement('span');
    left.ariaHidden = 'true';
    this.#line.append(' ', left);
    const tick = () => (left.textContent = `${Math.max(0, Math.ceil((this.#endsMs - performance.now()) / 1000))} s`);
    tick();
    this.#ticking = window.setInterval(tick, TICK_MS);
  }
}
