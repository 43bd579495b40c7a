/** The microphone's level before a call: one's own voice on the line, and a word once it is heard. Nothing is sent. */

import { CallFailure } from '../failure.js';
import { loudness } from './lanes.js';
import { explain } from './sentences.js';

const HEARD_LOUDNESS = 0.35; // speech at a normal distance, not a fan

export class MicCheck {
  running = false;
  #parley;
  #button;
  #lanes;
  #status;
  #heard = false;

  /**
   * @param {import('../parley.js').Parley} parley
   * @param {import('./mic-button.js').MicButton} button
   * @param {import('./lanes.js').Lanes} lanes
   * @param {import('./status.js').StatusView} status
   */
  constructor(parley, button, lanes, status) {
    this.#parley = parley;
    this.#button = button;
    this.#lanes = lanes;
    this.#status = status;
    button.onCheck = () => void this.#toggle();
    parley.addEventListener('level', (event) => this.#hear(/** @type {CustomEvent} */ (event).detail));
  }

  /** A call begins, which goes on with the microphone. */
  end() {
    this.running = this.#button.checking = false;
    document.body.classList.remove('checking');
  }

  async #toggle() {
    if (this.running) {
      this.#parley.stopPreview();
      this.#lanes.stop();
      this.#status.say('');
      return this.end();
    }
    this.#status.say('Allow the microphone when the browser asks.');
    try {
      await this.#parley.preview();
    } catch (error) {
      return this.#status.fail(explain(error instanceof CallFailure ? error : new CallFailure('broken', String(error))));
    }
    if (this.#parley.inCall || !this.#parley.graph) return; // a call began meanwhile
    this.#heard = false;
    this.running = this.#button.checking = true;
    document.body.dataset.state = 'idle';
    document.body.classList.add('checking');
    this.#lanes.start(this.#parley.graph.context.sampleRate, { words: false });
    this.#status.say('Say something: your voice moves the line. Nothing is sent.');
  }

  /** @param {{voice: string, rms: number}} level */
  #hear({ voice, rms }) {
    if (!this.running || this.#heard || voice !== 'user' || loudness(rms) < HEARD_LOUDNESS) return;
    this.#heard = true;
    this.#status.say('Your microphone works. Nothing is sent until you start.');
  }
}
