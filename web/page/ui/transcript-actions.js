/** Finds, copies and saves the transcript, and copies a report on the call. */

import { byId, copy, formatDuration, save } from './dom.js';
import { toJson, toText, toVtt } from './formats.js';
import { report } from './report.js';
import { Search } from './search.js';

/** @type {Record<string, [(record: import('./formats.js').CallRecord) => string, string]>} */
const FILES = {
  txt: [toText, 'text/plain'],
  json: [toJson, 'application/json'],
  vtt: [toVtt, 'text/vtt'],
};
const MAX_STATES = 40;

export class TranscriptActions {
  /** @type {import('../../client/net/server.js').ServerInfo | null} */
  info = null;
  #parley;
  #transcript;
  #delay;
  #startedAt = new Date();
  /** @type {string[]} */
  #states = [];

  /**
   * @param {import('../../client/parley.js').Parley} parley
   * @param {import('./transcript.js').Transcript} transcript
   * @param {import('./delay-view.js').DelayView} delay
   * @param {(text: string) => void} notify
   */
  constructor(parley, transcript, delay, notify) {
    this.#parley = parley;
    this.#transcript = transcript;
    this.#delay = delay;
    const log = byId('transcript', HTMLElement);
    const latest = byId('latest', HTMLButtonElement);
    const search = new Search(byId('find', HTMLInputElement), byId('found', HTMLElement), log);
    const copied = async (/** @type {string} */ text) => notify((await copy(text)) ? 'Copied.' : 'The browser did not allow copying.');
    transcript.onChange = () => {
      search.refresh();
      latest.hidden = transcript.atEnd;
    };
    log.addEventListener('scroll', () => (latest.hidden = transcript.atEnd), { passive: true });
    latest.addEventListener('click', () => transcript.toEnd());
    byId('copy', HTMLButtonElement).addEventListener('click', () => void copied(toText(this.#record)));
    byId('report', HTMLButtonElement).addEventListener('click', () => void copied(this.#report));
    for (const button of document.querySelectorAll('[data-save]')) {
      button.addEventListener('click', () => this.#save(/** @type {HTMLElement} */ (button).dataset.save ?? ''));
    }
    parley.addEventListener('state', (event) => this.#addState(/** @type {CustomEvent} */ (event).detail));
  }

  /** A new call starts. */
  start() {
    this.#startedAt = new Date();
    this.#states = [];
  }

  /** @param {{state: string, ending: import('../../client/parley.js').Ending | null}} change */
  #addState({ state, ending }) {
    const why = ending?.by === 'failure' ? ` (${ending.failure.message})` : ending ? ` (by ${ending.by})` : '';
    if (state === 'live' && !this.#states.some((one) => one.startsWith('live'))) this.#startedAt = new Date();
    this.#states.push(`${state}${why} ${formatDuration((Date.now() - this.#startedAt.getTime()) / 1000)}`);
    if (this.#states.length > MAX_STATES) this.#states.splice(1, 1);
  }

  /** @param {string} kind */
  #save(kind) {
    const [format, type] = FILES[kind];
    save(new Blob([format(this.#record)], { type }), `parley-${this.#startedAt.toISOString().slice(0, 19).replace(/:/g, '')}.${kind}`);
    byId('save-card', HTMLElement).hidePopover();
  }

  /** @returns {import('./formats.js').CallRecord} */
  get #record() {
    const { callId, seed } = this.#parley;
    const { pieces, gaps } = this.#transcript;
    return { model: this.info?.model ?? '', call: callId, seed, startedAt: this.#startedAt.toISOString(), pieces, gaps };
  }

  get #report() {
    const { callId, seed, choices, graph } = this.#parley;
    const { history, counts } = this.#delay;
    const { sampleRate, baseLatency, outputLatency } = graph?.context ?? {};
    const audio = graph ? { sampleRate, baseLatency, outputLatency, ...graph.stream.getAudioTracks()[0]?.getSettings() } : null;
    const states = this.#states;
    return report({ info: this.info, call: callId, seed, choices, states, delays: history, counts, audio, browser: navigator.userAgent });
  }
}
