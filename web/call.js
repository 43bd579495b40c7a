/**
 * One conversation with a server, from dialling to its end, over as many sockets as it takes. Knows neither devices
 * nor the page: it is given the audio's ends, and tells what happens by `tell(type, detail)`, in the events of
 * `parley.js`. The audio itself never passes through here: worklet and worker hold ports to each other.
 *
 * @typedef {'preparing' | 'dialling' | 'waiting' | 'live' | 'reconnecting' | 'ended'} LineState
 * @typedef {{by: 'caller'} | {by: 'server', reason: string} | {by: 'failure', failure: CallFailure}} Ending
 * @typedef {{codecRateHz: number, capture: MessagePort, playback: MessagePort}} AudioEnds
 */

import { DelayGauge } from './delay-gauge.js';
import { CallFailure, failureOf } from './failure.js';
import { askInfo, askReadiness, chatUrl, protocols } from './net/server.js';

/** Close codes that are nobody's fault. */
const NORMAL = new Set([1000, 1001, 1005]);

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4000;

export class Call {
  /** @type {LineState} */
  state = 'preparing';
  /** What the server calls this conversation, and the seed that repeats it; from the first greeting on. */
  id = '';
  seed = /** @type {number | null} */ (null);
  /** How long it may last, where there is a limit. */
  limitS = /** @type {number | null} */ (null);
  #base;
  #token;
  #choices;
  #tell;
  #worker;
  #gauge = new DelayGauge();
  #counts = { concealed: 0, skipped: 0, late: 0, unsent: 0 };
  #countsBefore = this.#counts; // on the audio's ends before these
  /** The server's word for the end, given before it closes. */
  #reason = '';
  /** What broke on our side before the line was closed. */
  #broken = '';
  #resume = ''; // the token that goes on with this conversation, where the server gives one
  #resumeForMs = 0; // how long the server keeps the conversation of a line that is lost
  #lostAtMs = 0; // when the server was last heard, while the line is lost
  #retries = 0;
  #retry = 0;

  /**
   * @param {string} base the server's address
   * @param {string} token what opens its door; '' where it is open
   * @param {{[name: string]: string | number | null | undefined}} choices query parameters
   * @param {(type: string, detail: object) => void} tell
   */
  constructor(base, token, choices, tell) {
    this.#base = base;
    this.#token = token;
    this.#choices = choices;
    this.#tell = tell;
    this.#worker = startWorker(new URL('net/worker.js', import.meta.url));
    this.#worker.onmessage = ({ data }) => this.#over || this.#hear(data);
    this.#worker.onerror = ({ message }) => void this.#diagnose(message ?? '');
  }

  /** The audio's ends: the first ones begin the call, later ones take their place. @param {AudioEnds} ends */
  join(ends) {
    this.#countsBefore = { ...this.#counts };
    this.#worker.postMessage({ type: 'join', ...ends }, [ends.capture, ends.playback]);
  }

  /** The caller ends it, in whatever state. */
  hangUp() {
    this.#end({ by: 'caller' });
  }

  /** What goes wrong before there is any audio to join. @param {unknown} error */
  fail(error) {
    if (error instanceof CallFailure) this.#fail(error);
    else void this.#diagnose(String(error));
  }

  /** The network is back, as the browser knows. */
  hurry() {
    if (this.#retry) this.#dial();
  }

  /** @param {import('./audio/graph.js').BufferReport} report @param {number} deviceMs */
  onBuffer({ waitMs, late, concealed }, deviceMs) {
    if (this.#over) return;
    this.#gauge.onBuffer(waitMs, deviceMs);
    const before = this.#countsBefore;
    this.#count({ late: before.late + late, concealed: before.concealed + concealed });
    const delay = this.#gauge.delay;
    if (delay && this.state === 'live') this.#tell('delay', delay);
  }

  get #over() {
    return this.state === 'ended';
  }

  /** @param {import('./net/worker.js').FromWorker} message */
  #hear(message) {
    switch (message.type) {
      case 'joined':
        if (!message.supported) return this.#fail(new CallFailure('no-codec'));
        if (this.state === 'preparing') this.#dial();
        return;
      case 'greeted':
        return this.#greet();
      case 'event':
        return this.#onEvent(message.event);
      case 'trip':
        this.#gauge.onTrip(message.roundTripMs);
        return this.#count({ unsent: message.unsentPackets });
      case 'broken':
        this.#broken = message.what;
        return;
      case 'closed':
        return void this.#onClosed(message);
    }
  }

  #dial() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    if (this.state === 'preparing') this.#enter('dialling');
    this.#reason = '';
    const url = chatUrl(this.#base, this.#choices, this.#resume);
    this.#worker.postMessage({ type: 'dial', url, protocols: protocols(this.#token), resumes: this.#resume !== '' });
  }

  #greet() {
    this.#retries = 0;
    this.#enter('live');
  }

  /** @param {{type: string, [name: string]: unknown}} event */
  #onEvent(event) {
    switch (event.type) {
      case 'ready':
        return this.#onReady(event);
      case 'queue':
        this.#enter('waiting');
        return this.#tell('queue', { position: Number(event.position), aheadS: Number(event.ahead_s) });
      case 'skip':
        return this.#count({ skipped: this.#counts.skipped + (Number(event.frames) || 0) });
      case 'stats':
        return this.#gauge.onServer(Number(event.step_ms), Number(event.wait_ms));
      case 'limit':
        return this.#tell('limit', { leftS: Number(event.left_s) });
      case 'drain':
        return this.#tell('drain', { leftS: Number(event.left_s) });
      case 'recording':
        return this.#tell('recording', { on: Boolean(event.on) });
      case 'end':
        this.#reason = String(event.reason ?? '');
    }
  }

  /** @param {{[name: string]: unknown}} event */
  #onReady({ call, seed, left_s: leftS, resume, resume_s: resumeS, recording }) {
    this.id = String(call ?? '');
    this.seed = Number.isFinite(seed) ? Number(seed) : null;
    this.limitS ??= Number.isFinite(leftS) ? Number(leftS) : null;
    this.#resume = String(resume ?? '');
    this.#resumeForMs = (Number(resumeS) || 0) * 1000;
    if (recording !== undefined) this.#tell('recording', { on: Boolean(recording) });
    if (!this.#lostAtMs) return;
    const lostS = (performance.now() - this.#lostAtMs) / 1000;
    this.#lostAtMs = 0;
    this.#tell('gap', { lostS });
  }

  /** @param {{code: number, said: string, opened: boolean, quietMs: number}} closed */
  async #onClosed({ code, said, opened, quietMs }) {
    if (this.#broken) return this.#fail(new CallFailure('broken', this.#broken));
    const known = failureOf(this.#reason, code);
    if (known) return this.#fail(new CallFailure(known, said));
    if (NORMAL.has(code)) return this.#end({ by: 'server', reason: this.#reason });
    if (this.#resume && (this.state === 'live' || this.#lostAtMs)) return this.#reconnect(quietMs);
    if (opened) return this.#fail(new CallFailure('connection-lost'));
    this.#fail(await this.#whyRefused());
  }

  /** A browser hides what a server says to a socket that it refuses. */
  async #whyRefused() {
    const readiness = await askReadiness(this.#base);
    if (readiness !== 'ready') return new CallFailure(readiness);
    try {
      await askInfo(this.#base, this.#token);
    } catch (error) {
      if (error instanceof CallFailure) return error;
    }
    return new CallFailure('refused');
  }

  /** The line was lost without a word: try again and again, while the server keeps the conversation. @param {number} quietMs */
  #reconnect(quietMs) {
    const now = performance.now();
    this.#lostAtMs ||= now - quietMs;
    const leftMs = Math.max(0, this.#resumeForMs - (now - this.#lostAtMs));
    if (!leftMs && this.#retries) return this.#fail(new CallFailure('connection-lost')); // once at least: we may have slept
    const isNew = this.state !== 'reconnecting';
    this.#enter('reconnecting');
    if (isNew) this.#tell('lost', { leftS: leftMs / 1000 });
    const waitMs = Math.min(FIRST_RETRY_MS * 2 ** this.#retries, LONGEST_RETRY_MS, leftMs);
    this.#retries += 1;
    this.#retry = setTimeout(() => this.#dial(), waitMs);
  }

  /** @param {Partial<import('./parley.js').Counts>} changed */
  #count(changed) {
    const before = JSON.stringify(this.#counts);
    Object.assign(this.#counts, changed);
    if (JSON.stringify(this.#counts) !== before) this.#tell('counts', { ...this.#counts });
  }

  /** Something of ours did not load or broke; without a server nothing loads. @param {string} what */
  async #diagnose(what) {
    const gone = (await askReadiness(this.#base)) === 'unreachable';
    this.#fail(gone ? new CallFailure('unreachable') : new CallFailure('broken', what));
  }

  /** @param {CallFailure} failure */
  #fail(failure) {
    this.#end({ by: 'failure', failure });
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (this.#over) return;
    clearTimeout(this.#retry);
    this.#worker.postMessage({ type: 'hangUp' });
    // The worker needs a moment to say goodbye on the socket; then it must not linger.
    setTimeout(() => this.#worker.terminate(), 1000);
    this.#enter('ended', ending);
  }

  /** @param {LineState} state @param {Ending | null} [ending] */
  #enter(state, ending = null) {
    if (this.#over || state === this.state) return;
    this.state = state;
    this.#tell('state', { state, ending });
  }
}

/** Also where this module is another site's: browsers want a worker's script to be the page's own. @param {URL} url */
function startWorker(url) {
  if (url.origin === location.origin) return new Worker(url, { type: 'module' });
  const script = URL.createObjectURL(new Blob([`import '${url.href}';`], { type: 'text/javascript' }));
  return new Worker(script, { type: 'module' });
}
