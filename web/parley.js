/**
 * A call with a full-duplex speech model, for any page: no DOM, no dependencies, no build step.
 *
 *     <button id="talk">Talk</button> <p id="said"></p>
 *     <script type="module">
 *       import { Parley } from './parley.js';
 *       const parley = new Parley(), talk = document.querySelector('#talk');
 *       talk.onclick = () => (parley.inCall ? parley.stop() : parley.start());
 *       parley.addEventListener('state', ({ detail }) => (talk.textContent = detail.state));
 *       parley.addEventListener('words', ({ detail }) => document.querySelector('#said').append(detail.text));
 *       parley.addEventListener('ended', ({ detail }) => detail.failure && console.warn(detail.failure.code));
 *     </script>
 *
 * The page must be served over https or from localhost, or browsers keep the microphone to themselves. It may be on
 * another site than the server, which then has to allow that (CORS for these files, and the page's origin for calls).
 * Its own Content-Security-Policy, if it has one, then names the server in `script-src` (with `'wasm-unsafe-eval'`) and in
 * `connect-src` (https and wss), and allows `worker-src blob:`.
 *
 * idle → preparing (microphone, codecs) → dialling → waiting (in line) → live ⇄ reconnecting → ended, and from there
 * again. Nothing here throws at a click: what goes wrong is the `ended` event's failure, with a code from `failure.js`.
 *
 * Events are `CustomEvent`s; their details:
 *
 * | event     | detail | when |
 * |-----------|--------|------|
 * | `state`   | `{state, ending}`, `ending` null until the end | it changes; `callId`, `seed`, `limitS` are known once `live` |
 * | `ended`   | `{by: 'caller'}`, `{by: 'server', reason}` or `{by: 'failure', failure: {code, detail}}` | after its `state` |
 * | `queue`   | `{position, aheadS}`, `aheadS` 0 when unknown | the place in line changes; the next is 1 |
 * | `words`   | `{text, span, atS}` a piece of the inner monologue, with its own spaces | it begins to sound |
 * | `level`   | `{voice: 'user' \| 'model', rms, span, atS}`, also in a preview; `rms` 0…1, heard even when muted | 47 times a second |
 * | `delay`   | mouth to ear: {@link import('./delay-gauge.js').Delay} | twice a second |
 * | `counts`  | since the start: `{concealed, skipped, late, unsent}`, see {@link Counts} | one changes |
 * | `device`  | `{kind: 'microphone' \| 'speaker', change: 'changed' \| 'lost', label}` | another took over, or none is left |
 * | `devices` | `{microphones, speakers}`, each `[{id, label}]` | something was plugged in or out |
 * | `leak`    | `{heard}` | the loudspeaker is heard in the microphone (headphones would help), or no longer |
 * | `lost`    | `{leftS}` for which the server keeps the conversation | the line is lost, and dialled again |
 * | `gap`     | `{lostS}` | a lost line is live again, in the same conversation |
 * | `recording` | `{on}` | the server begins or ceases to record a call that `record` allowed it to |
 * | `limit`   | `{leftS}` | the server ends the call soon |
 * | `drain`   | `{leftS}` | the server restarts soon, and the call ends |
 *
 * `atS` counts seconds since the call was first live (before that, since the microphone was opened), on the sound's own
 * clock; `span` counts stretches of 1024 samples, 21 ms, on the same clock, so that both voices and the words fall into
 * place.
 *
 * @typedef {'idle' | import('./call.js').LineState} ParleyState
 * @typedef {import('./call.js').Ending} Ending
 * @typedef {import('./audio/microphone.js').Processing} Processing
 *
 * @typedef {object} Counts
 * @property {number} concealed stretches of 20 ms that were made up because nothing had come
 * @property {number} skipped frames of 80 ms that the server left out
 * @property {number} late times that sound came too late to be played in time
 * @property {number} unsent packets of 20 ms that the network did not take
 *
 * @typedef {{voice?: string, prompt?: string, text_temperature?: number, text_topk?: number, audio_temperature?: number,
 *   audio_topk?: number, seed?: number, [name: string]: string | number | null | undefined}} Choices what the server is
 *   asked for; what is missing or empty is left to it. Any query parameter of `/api/chat` may stand here.
 *
 * @typedef {object} Options
 * @property {string} [microphone] a device's id; '' is the system's choice
 * @property {string} [speaker] likewise
 * @property {Partial<Processing>} [processing] all on by default
 * @property {Choices} [choices]
 * @property {string} [token] what opens the server's door, where it wants one
 * @property {number} [volume] 0…1
 */

import { Equipment } from './audio/equipment.js';
import { Call } from './call.js';
import { CallFailure } from './failure.js';
import { askInfo, askReadiness } from './net/server.js';

/**
 * What stands in the way of any call from this page, before anybody is asked for anything.
 * @returns {CallFailure | null}
 */
export function obstacle() {
  if (!globalThis.isSecureContext) return new CallFailure('insecure');
  if (!('AudioEncoder' in globalThis || 'WebAssembly' in globalThis)) return new CallFailure('no-codec');
  if (!('AudioWorkletNode' in globalThis && navigator.mediaDevices)) return new CallFailure('no-codec');
  return null;
}

export class Parley extends EventTarget {
  /** @type {ParleyState} */
  state = 'idle';
  /** @type {Choices} for the next call; change them as you like */
  choices;
  /** Whether the server may record the next call, where it offers to (`records` of its `info()`). */
  record = false;
  /** What opens the server's door; '' where it is open. For the next call. */
  token;
  #url;
  #equipment;
  #muted = false;
  #pushToTalk = false;
  #talking = false;
  /** @type {Call | null} */
  #call = null;
  #hasBeenLive = false;
  #liveAtS = 0; // on the equipment's clock, when it first was

  /**
   * @param {string | URL} [url] the server's address, with its path prefix if any; by default the page's own
   * @param {Options} [options]
   */
  constructor(url = document.baseURI, options = {}) {
    const { microphone = '', speaker = '', processing = {}, choices = {}, token = '', volume = 1 } = options;
    super();
    this.#url = new URL(url, document.baseURI).href;
    this.choices = choices;
    this.token = token;
    this.#equipment = new Equipment({ microphone, speaker, processing, volume }, (type, detail) => this.#onSound(type, detail));
    this.#equipment.onReplaced = (graph) => this.#join(graph);
    this.#equipment.onBuffer = (report, deviceMs) => this.#call?.onBuffer(report, deviceMs);
    addEventListener('online', () => this.#call?.hurry());
  }

  /** The audio of a preview or call in progress, else null; taps may be connected to it. */
  get graph() {
    return this.#equipment.graph;
  }

  get inCall() {
    return this.state !== 'idle' && this.state !== 'ended';
  }

  /** What the server calls the conversation, for its operator's logs; '' before the first one is live. */
  get callId() {
    return this.#call?.id ?? '';
  }

  /** How long the call may last, in seconds; null where no limit was told. */
  get limitS() {
    return this.#call?.limitS ?? null;
  }

  /** The seed that repeats the conversation; null while unknown. */
  get seed() {
    return this.#call?.seed ?? null;
  }

  // ── The call

  /** Begin a call, with the choices and devices of now. Call it inside a click. Never throws. */
  async start() {
    if (this.inCall) return;
    const choices = { ...this.choices, record: this.record ? 1 : null };
    const call = new Call(this.#url, this.token, choices, (type, detail) => this.#onCall(call, type, detail));
    this.#call = call;
    this.#hasBeenLive = false;
    this.#enter('preparing');
    try {
      const graph = await this.#open();
      if (graph && call === this.#call) this.#join(graph);
    } catch (error) {
      call.fail(error);
    }
  }

  /** End the call, in whatever state it is. */
  stop() {
    this.#call?.hangUp();
  }

  /**
   * Hear the microphone before a call: `level` events, nothing is sent. A call that is started goes on with it.
   * Call it inside a click.
   * @throws {CallFailure}
   */
  async preview() {
    await this.#open();
  }

  /** Let go of the microphone, unless a call has it. */
  stopPreview() {
    if (!this.inCall) this.#equipment.close();
  }

  // ── What the caller can do at any time, in a call or before it

  /** @param {boolean} on the model hears silence */
  mute(on) {
    this.#muted = on;
    this.#applyMute();
  }

  get muted() {
    return this.#muted;
  }

  /** Muted except while `talk(true)`. @param {boolean} on */
  set pushToTalk(on) {
    this.#pushToTalk = on;
    this.#applyMute();
  }

  get pushToTalk() {
    return this.#pushToTalk;
  }

  /** The key or button of push-to-talk. @param {boolean} held */
  talk(held) {
    this.#talking = held;
    this.#applyMute();
  }

  /** @param {number} volume 0…1 */
  set volume(volume) {
    this.#equipment.volume = volume;
  }

  get volume() {
    return this.#equipment.volume;
  }

  /** Speak into another microphone. @param {string} deviceId '' for the system's choice @throws {CallFailure} and the old one goes on */
  setMicrophone(deviceId) {
    return this.#equipment.setMicrophone(deviceId);
  }

  /** Listen elsewhere. @param {string} deviceId '' for the system's choice @throws {DOMException} and the old one goes on */
  setSpeaker(deviceId) {
    return this.#equipment.setSpeaker(deviceId);
  }

  /** @param {Partial<Processing>} processing the switches to turn @throws {CallFailure} and all stays as it was */
  setProcessing(processing) {
    return this.#equipment.setProcessing(processing);
  }

  get processing() {
    return this.#equipment.processing;
  }

  // ── What can be known before a call

  /** The microphones and loudspeakers to choose from; no speakers where the browser lets nobody choose. */
  devices() {
    return this.#equipment.list();
  }

  /** Who answers there: model, voices, limits; null when nobody does. @throws {CallFailure} when a token is wanted */
  info() {
    return askInfo(this.#url, this.token);
  }

  /** Whether a call would be taken now. */
  readiness() {
    return askReadiness(this.#url);
  }

  // ── Inside

  /** @param {Call} call @param {string} type @param {any} detail */
  #onCall(call, type, detail) {
    if (call !== this.#call || !this.inCall) return;
    if (type !== 'state') this.#tell(type, detail);
    else if (detail.ending) void this.#playOut(call, detail.ending);
    else this.#enter(detail.state);
  }

  /** What the other side has said is heard to its end. @param {Call} call @param {Ending} ending */
  async #playOut(call, ending) {
    if (ending.by !== 'caller' && this.state === 'live') await this.#equipment.playOut();
    if (call === this.#call) this.#end(ending);
  }

  /** What the equipment tells, with its clock's time made the call's. @param {string} type @param {any} detail */
  #onSound(type, { timeS, ...detail }) {
    this.#tell(type, timeS === undefined ? detail : { ...detail, atS: timeS - this.#liveAtS });
  }

  /** @throws {CallFailure} */
  async #open() {
    const found = obstacle();
    if (found) throw found;
    return await this.#equipment.open();
  }

  /** @param {import('./audio/graph.js').AudioGraph} graph */
  #join(graph) {
    this.#call?.join({ codecRateHz: graph.codecRateHz, ...graph.openPorts() });
  }

  #applyMute() {
    this.#equipment.muted = this.#muted || (this.#pushToTalk && !this.#talking);
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (!this.inCall) return;
    this.#equipment.close();
    this.#liveAtS = 0;
    this.#enter('ended', ending);
    this.#tell('ended', ending);
  }

  /** @param {ParleyState} state @param {Ending | null} [ending] */
  #enter(state, ending = null) {
    if (state === this.state) return;
    if (state === 'live' && !this.#hasBeenLive) this.#liveAtS = this.#equipment.timeS;
    this.#hasBeenLive ||= state === 'live';
    this.state = state;
    this.#tell('state', { state, ending });
  }

  /** @param {string} type @param {object} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
