/**
 * One call, from the click to its end: states and wiring. No DOM; everything that happens is an event.
 *
 * idle → preparing (microphone, codecs) → dialling → waiting (in line) → live → ended. A call ends once and is not
 * used again. The audio itself never passes through here: worklet and worker hold ports to each other.
 *
 * Events (`CustomEvent`, detail): `state` {state, ending} · `queue` {position, aheadS} · `words` {text} ·
 * `level` {voice, span, rms} · `delay` Delay · `limit` {leftS}.
 *
 * @typedef {'idle' | 'preparing' | 'dialling' | 'waiting' | 'live' | 'ended'} CallState
 * @typedef {{by: 'caller'} | {by: 'server', reason: string} | {by: 'failure', failure: CallFailure}} Ending
 */

import { AudioGraph } from './audio/graph.js';
import { DelayGauge } from './delay-gauge.js';
import { CallFailure } from './failure.js';
import { askReadiness, chatUrl } from './net/server.js';

/** Close codes that are nobody's fault. */
const NORMAL = new Set([1000, 1001, 1005]);

/** @type {Record<number, import('./failure.js').FailureCode>} */
const FAILURE_OF_CODE = { 1008: 'refused', 1011: 'failed', 1012: 'stopping', 1013: 'full' };

/** @type {Record<string, import('./failure.js').FailureCode>} the server's words for it are finer than close codes */
const FAILURE_OF_REASON = { full: 'full', starting: 'starting', stopping: 'stopping' };

/**
 * What stands in the way of any call from this page, before anybody is asked for anything.
 * @returns {CallFailure | null}
 */
export function obstacle() {
  if (!globalThis.isSecureContext) return new CallFailure('insecure');
  if (!('AudioEncoder' in globalThis && 'AudioDecoder' in globalThis)) return new CallFailure('no-codec');
  if (!('AudioWorkletNode' in globalThis && navigator.mediaDevices)) return new CallFailure('no-codec');
  return null;
}

export class Call extends EventTarget {
  /** @type {CallState} */
  state = 'idle';
  /** @type {AudioGraph | null} the audio of a call in progress; taps may be connected to it */
  graph = null;
  #base;
  /** @type {Worker | null} */
  #worker = null;
  #gauge = new DelayGauge();
  /** The server's word for the end, given before it closes. */
  #reason = '';
  /** What broke on our side before the line was closed. */
  #broken = '';

  /** @param {string} base the page's address */
  constructor(base) {
    super();
    this.#base = base;
  }

  /** Call it inside a click. Never throws: what goes wrong is the call's ending. */
  async start() {
    this.#enter('preparing');
    try {
      const found = obstacle();
      if (found) throw found;
      const graph = await AudioGraph.open();
      if (this.#over) return graph.close(); // the caller changed their mind
      this.#attach(graph);
      this.#startWorker(graph);
    } catch (error) {
      if (error instanceof CallFailure) this.#fail(error);
      else await this.#diagnose(String(error));
    }
  }

  /** The caller ends it, in whatever state. */
  hangUp() {
    this.#end({ by: 'caller' });
  }

  get #over() {
    return this.state === 'ended';
  }

  /** @param {AudioGraph} graph */
  #attach(graph) {
    this.graph = graph;
    graph.onLevel = (voice, level) => this.#tell('level', { voice, ...level });
    graph.onMicrophoneLost = () => this.#fail(new CallFailure('microphone-lost'));
    graph.onBuffer = (report) => {
      this.#gauge.onBuffer(report, graph.outputLatencyMs);
      this.#tellDelay();
    };
  }

  /** @param {AudioGraph} graph */
  #startWorker(graph) {
    const worker = new Worker(new URL('net/worker.js', import.meta.url), { type: 'module' });
    const { capture, playback } = graph.openPorts();
    worker.onmessage = ({ data }) => this.#over || this.#hear(data);
    worker.onerror = ({ message }) => void this.#diagnose(message ?? '');
    worker.postMessage({ type: 'prepare', codecRateHz: graph.codecRateHz, capture, playback }, [capture, playback]);
    this.#worker = worker;
  }

  /** @param {import('./net/worker.js').FromWorker} message */
  #hear(message) {
    switch (message.type) {
      case 'prepared':
        return message.supported ? this.#dial() : this.#fail(new CallFailure('no-codec'));
      case 'greeted':
        return this.#enter('live');
      case 'words':
        return this.#tell('words', { text: message.text });
      case 'event':
        return this.#onEvent(message.event);
      case 'trip':
        return this.#gauge.onTrip(message);
      case 'broken':
        this.#broken = message.what;
        return;
      case 'closed':
        return void this.#onClosed(message);
    }
  }

  #dial() {
    this.#enter('dialling');
    this.#worker?.postMessage({ type: 'dial', url: chatUrl(this.#base) });
  }

  /** @param {{type: string, [name: string]: unknown}} event */
  #onEvent(event) {
    switch (event.type) {
      case 'queue':
        this.#enter('waiting');
        return this.#tell('queue', { position: Number(event.position), aheadS: Number(event.ahead_s) });
      case 'skip':
        return this.#gauge.onSkip(Number(event.frames));
      case 'stats':
        return this.#gauge.onServer(Number(event.step_ms), Number(event.wait_ms));
      case 'limit':
        return this.#tell('limit', { leftS: Number(event.left_s) });
      case 'end':
        this.#reason = String(event.reason ?? '');
    }
  }

  /** @param {{code: number, said: string, opened: boolean}} closed */
  async #onClosed({ code, said, opened }) {
    if (this.#broken) return this.#fail(new CallFailure('broken', this.#broken));
    const known = FAILURE_OF_REASON[this.#reason] ?? FAILURE_OF_CODE[code];
    if (known) return this.#fail(new CallFailure(known, said));
    if (NORMAL.has(code)) return this.#end({ by: 'server', reason: this.#reason });
    if (opened) return this.#fail(new CallFailure('connection-lost'));
    const readiness = await askReadiness(this.#base);
    this.#fail(new CallFailure(readiness === 'ready' ? 'refused' : readiness));
  }

  /** Something of ours did not load or broke; without a server nothing loads. @param {string} what */
  async #diagnose(what) {
    const gone = (await askReadiness(this.#base)) === 'unreachable';
    this.#fail(gone ? new CallFailure('unreachable') : new CallFailure('broken', what));
  }

  #tellDelay() {
    const delay = this.#gauge.delay;
    if (delay && this.state === 'live') this.#tell('delay', delay);
  }

  /** @param {CallFailure} failure */
  #fail(failure) {
    this.#end({ by: 'failure', failure });
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#over) return;
    this.#worker?.postMessage({ type: 'hangUp' });
    const worker = this.#worker;
    // The worker needs a moment to say goodbye on the socket; then it must not linger.
    if (worker) setTimeout(() => worker.terminate(), 1000);
    this.graph?.close();
    this.graph = null;
    this.#enter('ended', ending);
  }

  /** @param {CallState} state @param {Ending | null} [ending] */
  #enter(state, ending = null) {
    if (this.#over || state === this.state) return;
    this.state = state;
    this.#tell('state', { state, ending });
  }

  /** @param {string} type @param {object} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
