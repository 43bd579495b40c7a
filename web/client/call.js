/**
 * One conversation with a server, from its start to its end. It reconnects where a connection is lost. Knows neither devices
 * nor the page: it is given the ports of the audio worklets, and reports by `emit(type, detail)` with the events of
 * `parley.js`. Audio does not pass through here: the worklets and the worker have ports to each other.
 *
 * @typedef {'preparing' | 'connecting' | 'queued' | 'live' | 'reconnecting' | 'ended'} CallState
 * @typedef {{by: 'caller'} | {by: 'server', reason: string} | {by: 'failure', failure: CallFailure}} Ending
 * @typedef {{codecRateHz: number, capture: MessagePort, playback: MessagePort}} AudioPorts
 */

import { DelayGauge } from './delay-gauge.js';
import { CallFailure, failureOf } from './failure.js';
import { FRAME_MS } from './net/protocol.js';
import { chatUrl, fetchInfo, fetchReadiness, isFull, subprotocols } from './net/server.js';

/** Close codes of a normal end. */
const NORMAL_CLOSE_CODES = new Set([1000, 1001, 1005]);

const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 4000;

export class Call {
  /** @type {CallState} */
  state = 'preparing';
  /** The server's id of this conversation, and the seed that repeats it; known from the first `ready` event on. */
  id = '';
  seed = /** @type {number | null} */ (null);
  /** How long the call may last in seconds; null where there is no limit. */
  limitS = /** @type {number | null} */ (null);
  #base;
  #token;
  #choices;
  #emit;
  #worker;
  #delayGauge = new DelayGauge();
  #counts = { concealed: 0, skipped: 0, underruns: 0, unsent: 0 };
  #countsBefore = this.#counts; // when the present ports were attached: worklets count from zero
  /** The reason of the server's `end` event, which comes before the close. */
  #endReason = '';
  /** The error in the worker that made it close the connection. */
  #localError = '';
  #resumeToken = ''; // continues this conversation over another connection, where the server gives one
  #resumeForMs = 0; // how long the server keeps the conversation after the connection is lost
  #lostAtMs = 0; // when the last message came before the connection was lost; 0 while connected
  #retries = 0;
  #retryTimer = 0;

  /**
   * @param {string} base the server's address
   * @param {string} token '' for none
   * @param {{[name: string]: string | number | null | undefined}} choices query parameters
   * @param {(type: string, detail: object) => void} emit
   */
  constructor(base, token, choices, emit) {
    this.#base = base;
    this.#token = token;
    this.#choices = choices;
    this.#emit = emit;
    this.#worker = startWorker(new URL('net/worker.js', import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#hasEnded || this.#onWorkerMessage(data);
    this.#worker.onerror = ({ message }) => void this.#failUnexpectedly(message ?? '');
  }

  /** How many frames the model's voice lags behind by design. @param {number} frames */
  set modelDelayFrames(frames) {
    this.#delayGauge.modelDelayMs = frames * FRAME_MS;
  }

  /** Use these ports. The first ones start the call, later ones replace them. @param {AudioPorts} ports */
  attach(ports) {
    this.#countsBefore = { ...this.#counts };
    this.#worker.postMessage({ type: 'attach', ...ports }, [ports.capture, ports.playback]);
  }

  /** The caller ends the call, in any state. */
  hangUp() {
    this.#end({ by: 'caller' });
  }

  /** The audio could not be opened. @param {unknown} error */
  fail(error) {
    if (error instanceof CallFailure) this.#fail(error);
    else void this.#failUnexpectedly(String(error));
  }

  /** The sound is interrupted: what the server sends meanwhile will not be heard. Its text is kept. @param {boolean} on */
  interrupt(on) {
    this.#worker.postMessage({ type: 'interrupt', on });
  }

  /** Do not wait for the next retry: the browser is online again. */
  reconnectNow() {
    if (this.#retryTimer) this.#connect();
  }

  /** @param {import('./audio/graph.js').BufferReport} report @param {number} deviceMs */
  onBuffer({ waitMs, underruns, concealed }, deviceMs) {
    if (this.#hasEnded) return;
    this.#delayGauge.onBuffer(waitMs, deviceMs);
    const before = this.#countsBefore;
    this.#count({ underruns: before.underruns + underruns, concealed: before.concealed + concealed });
    const delay = this.#delayGauge.delay;
    if (delay && this.state === 'live') this.#emit('delay', delay);
  }

  get #hasEnded() {
    return this.state === 'ended';
  }

  /** @param {import('./net/worker.js').FromWorker} message */
  #onWorkerMessage(message) {
    switch (message.type) {
      case 'attached':
        if (!message.supported) return this.#fail(new CallFailure('no-codec'));
        if (this.state === 'preparing') this.#connect();
        return;
      case 'handshake':
        return this.#onHandshake();
      case 'event':
        return this.#onEvent(message.event);
      case 'roundTrip':
        this.#delayGauge.onRoundTrip(message.roundTripMs);
        return this.#count({ unsent: message.unsentPackets });
      case 'error':
        this.#localError = message.message;
        return;
      case 'closed':
        return void this.#onClosed(message);
    }
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = 0;
    if (this.state === 'preparing') this.#setState('connecting');
    this.#endReason = '';
    const url = chatUrl(this.#base, this.#choices, this.#resumeToken);
    this.#worker.postMessage({ type: 'connect', url, subprotocols: subprotocols(this.#token), isResuming: this.#resumeToken !== '' });
  }

  #onHandshake() {
    this.#retries = 0;
    this.#setState('live');
  }

  /** @param {{type: string, [name: string]: unknown}} event */
  #onEvent(event) {
    switch (event.type) {
      case 'ready':
        return this.#onReady(event);
      case 'queue':
        this.#setState('queued');
        return this.#emit('queue', { position: Number(event.position), aheadS: Number(event.ahead_s) });
      case 'skip':
        return this.#count({ skipped: this.#counts.skipped + (Number(event.frames) || 0) });
      case 'stats':
        return this.#delayGauge.onServer(Number(event.step_ms), Number(event.wait_ms));
      case 'limit':
        return this.#emit('limit', { leftS: Number(event.left_s) });
      case 'drain':
        return this.#emit('drain', { leftS: Number(event.left_s) });
      case 'recording':
        return this.#emit('recording', { on: Boolean(event.on) });
      case 'end':
        this.#endReason = String(event.reason ?? '');
    }
  }

  /** @param {{[name: string]: unknown}} event */
  #onReady({ call, seed, left_s: leftS, resume, resume_s: resumeS, recording }) {
    this.id = String(call ?? '');
    this.seed = Number.isFinite(seed) ? Number(seed) : null;
    this.limitS ??= Number.isFinite(leftS) ? Number(leftS) : null;
    this.#resumeToken = String(resume ?? '');
    this.#resumeForMs = (Number(resumeS) || 0) * 1000;
    if (recording !== undefined) this.#emit('recording', { on: Boolean(recording) });
    if (!this.#lostAtMs) return;
    const lostS = (performance.now() - this.#lostAtMs) / 1000;
    this.#lostAtMs = 0;
    this.#emit('resumed', { lostS });
  }

  /** @param {{code: number, errorText: string, wasOpen: boolean, silentMs: number}} closed */
  async #onClosed({ code, errorText, wasOpen, silentMs }) {
    if (this.#localError) return this.#fail(new CallFailure('broken', this.#localError));
    const known = failureOf(this.#endReason, code);
    if (known) return this.#fail(new CallFailure(known, errorText));
    if (NORMAL_CLOSE_CODES.has(code)) return this.#end({ by: 'server', reason: this.#endReason });
    if (this.#resumeToken && (this.state === 'live' || this.#lostAtMs)) return this.#reconnect(silentMs);
    if (wasOpen) return this.#fail(new CallFailure('connection-lost'));
    this.#fail(await this.#refusalReason());
  }

  /** Ask over HTTP why the server refused the connection: a browser hides the response to a refused WebSocket. */
  async #refusalReason() {
    const readiness = await fetchReadiness(this.#base);
    if (readiness !== 'ready') return new CallFailure(readiness);
    try {
      const info = await fetchInfo(this.#base, this.#token);
      if (info) return new CallFailure(isFull(info) ? 'full' : 'no-websocket');
    } catch (error) {
      if (error instanceof CallFailure) return error;
    }
    return new CallFailure('refused');
  }

  /** Retry while the server keeps the conversation, and once in any case: the machine may have slept. @param {number} silentMs */
  #reconnect(silentMs) {
    const now = performance.now();
    this.#lostAtMs ||= now - silentMs;
    const leftMs = Math.max(0, this.#resumeForMs - (now - this.#lostAtMs));
    if (!leftMs && this.#retries) return this.#fail(new CallFailure('connection-lost')); // one retry at least
    const isNew = this.state !== 'reconnecting';
    this.#setState('reconnecting');
    if (isNew) this.#emit('disconnected', { leftS: leftMs / 1000 });
    const waitMs = Math.min(FIRST_RETRY_MS * 2 ** this.#retries, MAX_RETRY_MS, leftMs);
    this.#retries += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), waitMs);
  }

  /** @param {Partial<import('./parley.js').Counts>} changed */
  #count(changed) {
    const before = JSON.stringify(this.#counts);
    Object.assign(this.#counts, changed);
    if (JSON.stringify(this.#counts) !== before) this.#emit('counts', { ...this.#counts });
  }

  /** Code did not load, or threw. If the server is unreachable, that is the cause. @param {string} message */
  async #failUnexpectedly(message) {
    const isUnreachable = (await fetchReadiness(this.#base)) === 'unreachable';
    this.#fail(isUnreachable ? new CallFailure('unreachable') : new CallFailure('broken', message));
  }

  /** @param {CallFailure} failure */
  #fail(failure) {
    this.#end({ by: 'failure', failure });
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#hasEnded) return;
    clearTimeout(this.#retryTimer);
    this.#worker.postMessage({ type: 'hangUp' });
    // Give the worker time to close the socket before it is terminated.
    setTimeout(() => this.#worker.terminate(), 1000);
    this.#setState('ended', ending);
  }

  /** @param {CallState} state @param {Ending | null} [ending] */
  #setState(state, ending = null) {
    if (this.#hasEnded || state === this.state) return;
    this.state = state;
    this.#emit('state', { state, ending });
  }
}

/** A worker's script must have the page's origin: where this module has another, a script of the page imports it. @param {URL} url */
function startWorker(url) {
  if (url.origin === location.origin) return new Worker(url, { type: 'module' });
  const script = URL.createObjectURL(new Blob([`import '${url.href}';`], { type: 'text/javascript' }));
  return new Worker(script, { type: 'module' });
}
