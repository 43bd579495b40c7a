/**
 * The main button, which starts a call and ends it. A press means what the button said when the caller saw it: for a moment after
 * its meaning has changed, it takes no press. So the second click of a double click does nothing, nor does a press that came as
 * the call ended by itself, nor a key that is held down.
 */

import { byId } from './dom.js';

const SETTLES_MS = 600; // a double click takes up to 500 ms

export class TalkButton {
  #button = byId('talk', HTMLButtonElement);
  #label = byId('talk-label', HTMLElement);
  #ends = false; // what a press means
  #timer = 0;

  /** @param {() => void} start @param {() => void} stop */
  constructor(start, stop) {
    this.#button.addEventListener('click', (event) => {
      if (this.#timer || event.detail > 1) return;
      if (this.#ends) stop();
      else start();
    });
    this.#button.addEventListener('keydown', (event) => event.repeat && event.preventDefault());
  }

  /** @param {string} label @param {boolean} ends whether a press ends a call */
  show(label, ends) {
    this.#label.textContent = label;
    if (ends === this.#ends) return;
    this.#ends = ends;
    clearTimeout(this.#timer);
    this.#button.ariaDisabled = 'true';
    this.#timer = window.setTimeout(() => {
      this.#timer = 0;
      this.#button.ariaDisabled = null;
    }, SETTLES_MS);
  }

  /** @param {boolean} disabled */
  set disabled(disabled) {
    this.#button.disabled = disabled;
  }

  get isFocused() {
    return document.activeElement === this.#button;
  }

  focus() {
    this.#button.focus();
  }
}
