/** Shows how long the call has lasted, and the time left where the server sets a limit. */

import { find, formatDuration } from './dom.js';

export class CallTimer {
  #element;
  #elapsed;
  #left;
  #startedMs = 0;
  #endsMs = Infinity;
  #timer = 0;
  #stoodMs = 0; // while the sound was interrupted
  #standsSinceMs = 0; // 0 while it runs

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
    this.#elapsed = find(element, '[data-elapsed]', HTMLElement);
    this.#left = find(element, '[data-left]', HTMLElement);
  }

  /** @param {number | null} limitS null where there is no limit */
  start(limitS) {
    this.#startedMs = performance.now();
    this.#stoodMs = this.#standsSinceMs = 0;
    this.#endsMs = limitS ? this.#startedMs + limitS * 1000 : Infinity;
    this.#element.hidden = false;
    clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#show(), 500);
    this.#show();
  }

  /** The sound is interrupted, or goes on: the call's time stands, but not the server's limit. @param {boolean} on */
  stand(on) {
    if (this.#standsSinceMs) this.#stoodMs += performance.now() - this.#standsSinceMs;
    this.#standsSinceMs = on ? performance.now() : 0;
  }

  /** Set the time left, as the server has reported it. @param {number} leftS */
  setTimeLeft(leftS) {
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
    this.#elapsed.textContent = formatDuration(((this.#standsSinceMs || nowMs) - this.#startedMs - this.#stoodMs) / 1000);
    const left = Number.isFinite(this.#endsMs) ? `${formatDuration(Math.ceil((this.#endsMs - nowMs) / 1000))} left` : '';
    if (this.#left.textContent !== left) this.#left.textContent = left;
  }
}
