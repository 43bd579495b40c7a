/** How long the call has lasted, and what is left of it where the server sets a limit. */

import { clockTime, find } from './page.js';

export class Clock {
  #element;
  #elapsed;
  #left;
  #beganMs = 0;
  #endsMs = Infinity;
  #timer = 0;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    this.#elapsed = find(element, '[data-elapsed]', HTMLElement);
    this.#left = find(element, '[data-left]', HTMLElement);
  }

  /** @param {number | null} limitS of a call, where there is one */
  start(limitS) {
    this.#beganMs = performance.now();
    this.#endsMs = limitS ? this.#beganMs + limitS * 1000 : Infinity;
    this.#element.hidden = false;
    clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#show(), 500);
    this.#show();
  }

  /** The server's word counts. @param {number} leftS */
  end(leftS) {
    this.#endsMs = performance.now() + leftS * 1000;
    this.#show();
  }

  stop() {
    clearInterval(this.#timer);
    this.#left.textContent = '';
  }

  hide() {
    this.stop();
    this.#element.hidden = true;
  }

  #show() {
    const nowMs = performance.now();
    this.#elapsed.textContent = clockTime((nowMs - this.#beganMs) / 1000);
    const left = Number.isFinite(this.#endsMs) ? `${clockTime(Math.ceil((this.#endsMs - nowMs) / 1000))} left` : '';
    if (this.#left.textContent !== left) this.#left.textContent = left;
  }
}
