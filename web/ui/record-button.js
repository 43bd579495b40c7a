/** Records a call when asked to, and afterwards asks whether to keep it. */

import { byId, clockTime, find, save } from './page.js';
import { Recorder } from './recorder.js';

export class RecordButton {
  #button = byId('record', HTMLButtonElement);
  #card = byId('recorded', HTMLElement);
  #recorder = new Recorder();
  #parley;
  #say;

  /** @param {import('../parley.js').Parley} parley @param {(text: string) => void} say */
  constructor(parley, say) {
    this.#parley = parley;
    this.#say = say;
    this.#button.addEventListener('click', () => (this.#recorder.recording ? this.stop() : void this.#start()));
    byId('recorded-save', HTMLButtonElement).addEventListener('click', () => this.#save());
    byId('recorded-discard', HTMLButtonElement).addEventListener('click', () => this.#forget());
    this.#recorder.onFull = () => this.#show();
    parley.addEventListener('device', () => void (parley.graph && this.#recorder.follow(parley.graph)));
    addEventListener('beforeunload', (event) => {
      if (this.#recorder.seconds > 0) event.preventDefault(); // it would be lost
    });
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this.#recorder.muted = muted;
  }

  stop() {
    if (!this.#recorder.recording) return;
    this.#recorder.stop();
    this.#show();
  }

  async #start() {
    if (!this.#parley.graph) return;
    if (this.#recorder.seconds > 0) this.#save(); // nobody said to throw it away
    try {
      await this.#recorder.start(this.#parley.graph);
      if (this.#recorder.recording) this.#say('Recording, on this page only.');
    } catch {
      this.#recorder.discard();
      this.#say('This browser would not record.');
    }
    this.#button.ariaPressed = String(this.#recorder.recording);
  }

  #show() {
    this.#button.ariaPressed = 'false';
    find(this.#card, '[data-length]', HTMLElement).textContent = `Recording, ${clockTime(this.#recorder.seconds)}. You are on the left, Parley on the right.`;
    this.#card.hidden = !this.#recorder.seconds;
  }

  #save() {
    save(this.#recorder.file, `parley-${new Date().toISOString().slice(0, 19).replace(/:/g, '')}.wav`);
    this.#forget();
  }

  #forget() {
    this.#recorder.discard();
    this.#card.hidden = true;
  }
}
