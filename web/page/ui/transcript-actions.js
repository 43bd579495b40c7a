/** Finds, copies and saves the transcript, keeps those of earlier calls, and copies a report on the call. */

import { byId, copy, formatDuration, save } from './dom.js';
import { EarlierCalls } from './earlier-calls.js';
import { FILES, fileName, toText } from './formats.js';
import { report } from './report.js';
import { Search } from './search.js';

const MAX_STATES = 40;

export class TranscriptActions {
  /** @type {import('../../client/net/server.js').ServerInfo | null} */
  info = null;
  #parley;
  #transcript;
  #delay;
  #earlier;
  #startedAt = new Date();
  /** @type {{call: string, seed: number | null}} of the call whose transcript this is: the next one has another */
  #about = { call: '', seed: null };
  #savedPieces = 0; // how many there were when the transcript was last saved or copied
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
    this.#earlier = new EarlierCalls(notify);
    const log = byId('transcript', HTMLElement);
    const latest = byId('latest', HTMLButtonElement);
    const search = new Search(byId('find', HTMLInputElement), byId('found', HTMLElement), log);
    const copied = async (/** @type {string} */ text) => {
      const isCopied = await copy(text);
      notify(isCopied ? 'Copied.' : 'The browser did not allow copying.');
      return isCopied;
    };
    transcript.onChange = () => {
      search.refresh();
      latest.hidden = transcript.atEnd;
    };
    log.addEventListener('scroll', () => (latest.hidden = transcript.atEnd), { passive: true });
    latest.addEventListener('click', () => transcript.toEnd());
    byId('copy', HTMLButtonElement).addEventListener('click', async () => {
      const { length } = transcript.pieces;
      if (await copied(toText(this.#record))) this.#savedPieces = length;
    });
    byId('report', HTMLButtonElement).addEventListener('click', () => void copied(this.#report));
    for (const button of document.querySelectorAll('[data-save]')) {
      button.addEventListener('click', () => this.#save(/** @type {HTMLElement} */ (button).dataset.save ?? ''));
    }
    addEventListener('beforeunload', (event) => {
      if (this.#hasUnsaved || this.#earlier.hasUnsaved) event.preventDefault(); // it would be lost
    });
    parley.addEventListener('state', (event) => this.#addState(/** @type {CustomEvent} */ (event).detail));
  }

  /** A new call starts: the transcript of the previous one is kept with the earlier calls, and emptied. */
  start() {
    this.#transcript.finish();
    this.#earlier.keep(this.#record, !this.#hasUnsaved);
    this.#transcript.clear();
    this.#startedAt = new Date();
    this.#about = { call: '', seed: null };
    this.#savedPieces = 0;
    this.#states = [];
  }

  get #hasUnsaved() {
    return this.#transcript.pieces.length > this.#savedPieces;
  }

  /** @param {{state: string, ending: import('../../client/parley.js').Ending | null}} change */
  #addState({ state, ending }) {
    const why = ending?.by === 'failure' ? ` (${ending.failure.message})` : ending ? ` (by ${ending.by})` : '';
    if (state === 'live' && !this.#states.some((one) => one.startsWith('live'))) this.#startedAt = new Date();
    if (state !== 'preparing') this.#about = { call: this.#parley.callId, seed: this.#parley.seed };
    this.#states.push(`${state}${why} ${formatDuration((Date.now() - this.#startedAt.getTime()) / 1000)}`);
    if (this.#states.length > MAX_STATES) this.#states.splice(1, 1);
  }

  /** @param {string} kind */
  #save(kind) {
    const [format, type] = FILES[/** @type {keyof typeof FILES} */ (kind)];
    save(new Blob([format(this.#record)], { type }), fileName(this.#record, kind));
    this.#savedPieces = this.#transcript.pieces.length;
    byId('save-card', HTMLElement).hidePopover();
  }

  /** @returns {import('./formats.js').CallRecord} */
  get #record() {
    const { pieces, gaps } = this.#transcript;
    return { model: this.info?.model ?? '', ...this.#about, startedAt: this.#startedAt.toISOString(), pieces, gaps };
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
