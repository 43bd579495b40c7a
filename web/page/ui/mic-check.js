/** Checks the microphone before a call: shows its level, and says when a voice is heard. Nothing is sent. */

import { CallFailure } from '../../client/failure.js';
import { failureMessage } from './messages.js';
import { loudness } from './waveform.js';

const SAY_SOMETHING = 'Say something and watch the waveform. Nothing is sent.';
const HEARD_LOUDNESS = 0.35; // speech at a normal distance, louder than a fan

export class MicCheck {
  running = false;
  #parley;
  #button;
  #waveform;
  #status;
  #heard = false;
  #stateBefore = 'idle';

  /**
   * @param {import('../../client/parley.js').Parley} parley
   * @param {import('./mic-button.js').MicButton} button
   * @param {import('./waveform.js').Waveform} waveform
   * @param {import('./status-view.js').StatusView} status
   */
  constructor(parley, button, waveform, status) {
    this.#parley = parley;
    this.#button = button;
    this.#waveform = waveform;
    this.#status = status;
    button.onCheck = () => void this.#toggle();
    parley.addEventListener('level', (event) => this.#onLevel(/** @type {CustomEvent} */ (event).detail));
  }

  /** A call starts and uses the open microphone. */
  end() {
    this.running = this.#button.checking = false;
    document.body.classList.remove('checking');
  }

  /** @param {string} why no sound comes from the microphone; '' where some does again */
  showSilence(why) {
    this.#status.show(why || SAY_SOMETHING);
  }

  async #toggle() {
    if (this.running) {
      this.#parley.stopPreview();
      this.#waveform.showExample();
      this.#status.show('');
      document.body.dataset.state = this.#stateBefore; // a transcript may be there to read
      return this.end();
    }
    this.#status.show('Allow the microphone when the browser asks.');
    try {
      await this.#parley.preview();
    } catch (error) {
      return this.#status.fail(failureMessage(error instanceof CallFailure ? error : new CallFailure('broken', String(error))));
    }
    if (this.#parley.inCall || !this.#parley.graph) return; // a call was started meanwhile
    this.#heard = false;
    this.running = this.#button.checking = true;
    this.#stateBefore = document.body.dataset.state ?? 'idle';
    document.body.dataset.state = 'idle';
    document.body.classList.add('checking');
    this.#waveform.start(this.#parley.graph.context.sampleRate, { hasText: false });
    this.#status.show(SAY_SOMETHING);
  }

  /** @param {{voice: string, rms: number}} level */
  #onLevel({ voice, rms }) {
    if (!this.running || this.#heard || voice !== 'user' || loudness(rms) < HEARD_LOUDNESS) return;
    this.#heard = true;
    this.#status.show('Your microphone works. Nothing is sent until you start talking.');
  }
}
