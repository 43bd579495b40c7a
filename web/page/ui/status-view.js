/** The status line, which shows a lasting text or a short notice, and the card that shows a failure. */

import { find } from './dom.js';

const NOTICE_MS = 5000;
const TICK_MS = 250;

export class StatusView {
  #line;
  #card;
  #title;
  #advice;
  #lasting = ''; // shown until it is replaced
  #endsMs = 0; // of the countdown; 0 for none
  #tickTimer = 0;
  #noticeTimer = 0;

  /** @param {HTMLElement} line @param {HTMLElement} card with `[data-title]` and `[data-advice]` */
  constructor(line, card) {
    this.#line = line;
    this.#card = card;
    this.#title = find(card, '[data-title]', HTMLElement);
    this.#advice = find(card, '[data-advice]', HTMLElement);
  }

  /** @param {string} text @param {number} [leftS] counted down after the text; not announced by screen readers */
  show(text, leftS = 0) {
    if (this.#card.hidden && text === this.#lasting && !leftS && !this.#endsMs) return; // announced only once
    this.#card.hidden = true;
    this.#lasting = text;
    this.#endsMs = leftS && performance.now() + leftS * 1000;
    this.#showLasting();
  }

  /** Show a notice for a moment. @param {string} text */
  notify(text) {
    clearTimeout(this.#noticeTimer);
    clearInterval(this.#tickTimer);
    this.#line.textContent = text;
    this.#noticeTimer = window.setTimeout(() => this.#showLasting(), NOTICE_MS);
  }

  /** @param {import('./messages.js').Message} message */
  fail({ title, advice }) {
    if (!this.#card.hidden && this.#title.textContent === title && this.#advice.textContent === advice) return; // announced only once
    this.show('');
    this.#card.hidden = false;
    this.#title.textContent = title;
    this.#advice.textContent = advice;
  }

  #showLasting() {
    clearTimeout(this.#noticeTimer);
    clearInterval(this.#tickTimer);
    this.#line.textContent = this.#lasting;
    if (!this.#endsMs) return;
    const left = document.createElement('span');
    left.ariaHidden = 'true';
    this.#line.append(' ', left);
    const tick = () => (left.textContent = `${Math.max(0, Math.ceil((this.#endsMs - performance.now()) / 1000))} s`);
    tick();
    this.#tickTimer = window.setInterval(tick, TICK_MS);
  }
}
