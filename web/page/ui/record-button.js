/** Records a call, and afterwards offers to save the recording. */

import { Recorder } from '../audio/recorder.js';
import { byId, find, formatDuration, save } from './dom.js';

export class RecordButton {
  #button = byId('record', HTMLButtonElement);
  #card = byId('recorded', HTMLElement);
  #recorder = new Recorder();
  #parley;
  #notify;

  /** @param {import('../../client/parley.js').Parley} parley @param {(text: string) => void} notify */
  constructor(parley, notify) {
    this.#parley = parley;
    this.#notify = notify;
    this.#button.addEventListener('click', () => (this.#recorder.recording ? this.stop() : void this.#start()));
    byId('recorded-save', HTMLButtonElement).addEventListener('click', () => this.#save());
    byId('recorded-discard', HTMLButtonElement).addEventListener('click', () => this.#discard());
    this.#recorder.onFull = () => this.#show();
    parley.addEventListener('device', () => void (parley.graph && this.#recorder.follow(parley.graph)));
    addEventListener('beforeunload', (event) => {
      if (this.#recorder.seconds > 0) event.preventDefault(); // the recording would be lost
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
    if (this.#recorder.seconds > 0) this.#save(); // never discard a recording unasked
    try {
      await this.#recorder.start(this.#parley.graph, (contextS) => this.#parley.callTimeS(contextS));
      if (this.#recorder.recording) this.#notify('Recording. It stays on this page until you save it.');
    } catch {
      this.#recorder.discard();
      this.#notify('The recording could not be started in this browser.');
    }
    this.#button.ariaPressed = String(this.#recorder.recording);
  }

  #show() {
    this.#button.ariaPressed = 'false';
    const { seconds, silentSeconds } = this.#recorder;
    const silence = silentSeconds >= 1 ? ` The file begins where the call did: ${formatDuration(silentSeconds)} of it is silent.` : '';
    const text = `Recording of ${formatDuration(seconds)}. You are on the left, Parley on the right.${silence}`;
    find(this.#card, '[data-length]', HTMLElement).textContent = text;
    this.#card.hidden = !this.#recorder.seconds;
  }

  #save() {
    save(this.#recorder.file, `parley-${new Date().toISOString().slice(0, 19).replace(/:/g, '')}.wav`);
    this.#discard();
  }

  #discard() {
    this.#recorder.discard();
    this.#card.hidden = true;
  }
}
