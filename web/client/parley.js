/**
 * A voice call with a Parley server, for any web page: no page elements, no dependencies, no build step.
 *
 *     <button id="talk">Talk</button> <p id="transcript"></p>
 *     <script type="module">
 *       const server = 'https://talk.example.com/';
 *       const { Parley } = await import(server + 'client/parley.js');
 *       const parley = new Parley(server), talk = document.querySelector('#talk');
 *       talk.onclick = () => (parley.inCall ? parley.stop() : parley.start());
 *       parley.addEventListener('state', ({ detail }) => (talk.textContent = detail.state));
 *       parley.addEventListener('text', ({ detail }) => document.querySelector('#transcript').append(detail.text));
 *       parley.addEventListener('ended', ({ detail }) => detail.failure && alert(detail.failure.message));
 *     </script>
 *
 * What the page needs:
 *
 * - It is served over https or from localhost. Browsers give other pages no microphone.
 * - If it is on another site than the server, the server is started with `--allowed-origin` and the page's origin.
 * - If it has a Content-Security-Policy, the policy allows the server in `script-src` (with `'wasm-unsafe-eval'`) and in
 *   `connect-src` (https and wss), and has `worker-src blob:`.
 * - If the server wants a token, the page passes it: `new Parley(server, { token })`.
 * - It may instead serve its own copy of this folder, which needs nothing outside it.
 *
 * States: idle → preparing (microphone, codecs) → connecting → queued → live ⇄ reconnecting → ended, and from there a new
 * call may start. `start()` and `stop()` never throw; a call that fails ends with the `ended` event and a code of `failure.js`.
 *
 * Events are `CustomEvent`s with these details:
 *
 * | event       | detail | sent when |
 * |-------------|--------|-----------|
 * | `state`     | `{state, ending}`; `ending` is null until the end | the state changes; `callId`, `seed`, `limitS` are known once `live` |
 * | `ended`     | `{by: 'caller'}`, `{by: 'server', reason}` or `{by: 'failure', failure: {code, detail}}` | the call has ended, after its `state` |
 * | `queue`     | `{position, aheadS}`; 1 is the next, `aheadS` is 0 when unknown | the place in the queue changes |
 * | `text`      | `{text, span, atS}`: one text piece of what the model says, with its own spaces | the piece begins to sound |
 * | `level`     | `{voice: 'user' \| 'model', rms, span, atS}`; `rms` is 0…1 and ignores muting | 47 times a second, in a preview too |
 * | `delay`     | the mouth-to-ear delay: {@link import('./delay-gauge.js').Delay} | twice a second |
 * | `counts`    | {@link Counts} since the start of the call | a count changes |
 * | `device`    | `{kind: 'microphone' \| 'speaker', change: 'changed' \| 'lost', label}` | another device is used, or none is left |
 * | `devices`   | `{microphones, speakers}`, each `[{id, label}]` | a device was plugged in or out |
 * | `echo`      | `{isHeard}` | the microphone picks up the loudspeaker (headphones help), or no longer does |
 * | `silence`   | `{isSilent, isMuted}`: no sound comes from the microphone; `isMuted` by the system or its own switch | that begins or ends |
 * | `interrupted` | `{isInterrupted, lastedS}`: the system has stopped the sound, as a telephone call does | that begins or ends |
 * | `disconnected` | `{leftS}`: how long the server keeps the conversation | the connection is lost; the client reconnects |
 * | `resumed`   | `{lostS}`: how long the connection was lost | the same conversation goes on over a new connection |
 * | `recording` | `{on}` | the server starts or stops recording a call for which `record` was set |
 * | `limit`     | `{leftS}` | the call will soon reach its time limit |
 * | `drain`     | `{leftS}` | the server will soon restart, which ends the call |
 *
 * `atS` is seconds since the call was first live (before that: since the microphone was opened), on the audio clock.
 * The audio clock stands while the sound is interrupted. A press of the user lets it go on where the system does not.
 * `span` counts intervals of 1024 samples (21 ms at 48 kHz) on the same clock, so that both voices and the text line up.
 *
 * @typedef {'idle' | import('./call.js').CallState} ParleyState
 * @typedef {import('./call.js').Ending} Ending
 * @typedef {import('./audio/microphone.js').Processing} Processing
 *
 * @typedef {object} Counts
 * @property {number} concealed packets of 20 ms that were synthesised because no audio had come
 * @property {number} skipped frames of 80 ms that the server left out
 * @property {number} underruns times that playback ran out of audio
 * @property {number} unsent packets of 20 ms that were dropped because the network was too slow
 *
 * @typedef {{voice?: string, prompt?: string, text_temperature?: number, text_topk?: number, audio_temperature?: number,
 *   audio_topk?: number, seed?: number, [name: string]: string | number | null | undefined}} Choices query parameters of
 *   `/api/chat`; the server decides what is missing or empty.
 *
 * @typedef {object} Options
 * @property {string} [microphone] device id; '' is the system default
 * @property {string} [speaker] device id; '' is the system default
 * @property {Partial<Processing>} [processing] all on by default
 * @property {Choices} [choices]
 * @property {string} [token] the server's token; '' for none
 * @property {number} [volume] 0…1
 * @property {number} [bufferMs] how much sound playback should hold at first: `bufferMs` of an earlier call of this browser with
 *   this server; 40 by default
 */

import { AudioDevices } from './audio/audio-devices.js';
import { Call } from './call.js';
import { CallFailure } from './failure.js';
import { fetchInfo, fetchReadiness } from './net/server.js';

/**
 * Why this page or browser cannot make calls at all.
 * @returns {CallFailure | null} null where it can
 */
export function unsupportedReason() {
  if (!globalThis.isSecureContext) return new CallFailure('insecure');
  if (!('AudioEncoder' in globalThis || 'WebAssembly' in globalThis)) return new CallFailure('no-codec');
  if (!('AudioWorkletNode' in globalThis && navigator.mediaDevices)) return new CallFailure('no-codec');
  return null;
}

export class Parley extends EventTarget {
  /** @type {ParleyState} */
  state = 'idle';
  /** @type {Choices} for the next call */
  choices;
  /** Whether the server may record the next call. It can only where `info()` says `records`. */
  record = false;
  /** The server's token for the next call; '' for none. */
  token;
  #url;
  #devices;
  #muted = false;
  #pushToTalk = false;
  #talking = false;
  /** @type {Call | null} */
  #call = null;
  #version = ''; // of the server when it was first asked
  #hasBeenLive = false;
  #liveAtS = 0; // when the call was first live, on the clock of `#devices`

  /**
   * @param {string | URL} [url] the server's address, with its path prefix if any; the page's own by default
   * @param {Options} [options]
   */
  constructor(url = document.baseURI, options = {}) {
    const { microphone = '', speaker = '', processing = {}, choices = {}, token = '', volume = 1, bufferMs } = options;
    super();
    this.#url = new URL(url, document.baseURI).href;
    this.choices = choices;
    this.token = token;
    this.#devices = new AudioDevices({ microphone, speaker, processing, volume, bufferMs }, (type, detail) => this.#onAudioEvent(type, detail));
    this.#devices.onReplaced = (graph) => this.#attach(graph);
    this.#devices.onBuffer = (report, deviceMs) => this.#call?.onBuffer(report, deviceMs);
    addEventListener('online', () => this.#call?.reconnectNow());
  }

  /** The audio graph of the current preview or call, else null. Other audio nodes may be connected to its voices. */
  get graph() {
    return this.#devices.graph;
  }

  /** From the clock of the present graph's context to the call's, on which the events' `atS` is. @param {number} contextS */
  callTimeS(contextS) {
    return this.#devices.timeAt(contextS) - this.#liveAtS;
  }

  /** How much sound playback had to hold in the calls so far, in ms; undefined while unknown. Keep it for the next visit. */
  get bufferMs() {
    return this.#devices.seedMs;
  }

  get inCall() {
    return this.state !== 'idle' && this.state !== 'ended';
  }

  /** The conversation's id in the server's logs; '' before the first call is live. */
  get callId() {
    return this.#call?.id ?? '';
  }

  /** How long the call may last, in seconds; null where there is no limit. */
  get limitS() {
    return this.#call?.limitS ?? null;
  }

  /** The seed that repeats the conversation; null while unknown. */
  get seed() {
    return this.#call?.seed ?? null;
  }

  // ── The call

  /** Start a call with the current choices and devices. Call it in a click handler. Never throws. */
  async start() {
    if (this.inCall) return;
    const choices = { ...this.choices, record: this.record ? 1 : null };
    const call = new Call(this.#url, this.token, choices, (type, detail) => this.#onCallEvent(call, type, detail));
    this.#call = call;
    this.#hasBeenLive = false;
    this.#setState('preparing');
    try {
      const [graph, info] = await Promise.all([this.#open(), this.info().catch(() => null)]);
      // The worker would come from the server as it is now, and would not understand this older page, or the page it.
      if (info && info.version !== this.#version) throw new CallFailure('outdated');
      call.modelDelayFrames = info?.delay_frames ?? 0;
      if (graph && graph === this.graph && call === this.#call) this.#attach(graph); // it may have been stopped meanwhile
    } catch (error) {
      call.fail(error);
    }
  }

  /** End the call, in any state. */
  stop() {
    this.#call?.hangUp();
  }

  /**
   * Open the microphone before a call: `level` events are sent, but no audio leaves the page. A call started later uses the
   * same microphone. Call it in a click handler.
   * @throws {CallFailure}
   */
  async preview() {
    await this.#open();
  }

  /** Close the microphone, unless a call uses it. */
  stopPreview() {
    if (!this.inCall) this.#devices.close();
  }

  // ── Controls, during a call or before it

  /** @param {boolean} on the model hears silence */
  mute(on) {
    this.#muted = on;
    this.#applyMute();
  }

  get muted() {
    return this.#muted;
  }

  /** Mute the microphone except while `talk(true)`. @param {boolean} on */
  set pushToTalk(on) {
    this.#pushToTalk = on;
    this.#applyMute();
  }

  get pushToTalk() {
    return this.#pushToTalk;
  }

  /** The push-to-talk key or button was pressed or released. @param {boolean} held */
  talk(held) {
    this.#talking = held;
    this.#applyMute();
  }

  /** @param {number} volume 0…1 */
  set volume(volume) {
    this.#devices.volume = volume;
  }

  get volume() {
    return this.#devices.volume;
  }

  /** @param {string} deviceId '' for the system default @throws {CallFailure} the previous one stays in use */
  setMicrophone(deviceId) {
    return this.#devices.setMicrophone(deviceId);
  }

  /** @param {string} deviceId '' for the system default @throws {DOMException} the previous one stays in use */
  setSpeaker(deviceId) {
    return this.#devices.setSpeaker(deviceId);
  }

  /** @param {Partial<Processing>} processing what to change @throws {CallFailure} nothing has changed */
  setProcessing(processing) {
    return this.#devices.setProcessing(processing);
  }

  get processing() {
    return this.#devices.processing;
  }

  // ── Before a call

  /** The microphones and loudspeakers to choose from; no loudspeakers where the browser offers no choice. */
  devices() {
    return this.#devices.list();
  }

  /** The server's model, voices and limits; null when it does not answer. @throws {CallFailure} the server wants a token */
  async info() {
    const info = await fetchInfo(this.#url, this.token);
    if (info) this.#version ||= info.version;
    return info;
  }

  /** Whether the server would accept a call now. */
  readiness() {
    return fetchReadiness(this.#url);
  }

  // ── Internals

  /** @param {Call} call @param {string} type @param {any} detail */
  #onCallEvent(call, type, detail) {
    if (call !== this.#call || !this.inCall) return;
    if (type !== 'state') this.#emit(type, detail);
    else if (detail.ending) void this.#playOut(call, detail.ending);
    else this.#setState(detail.state);
  }

  /** Play what the model has said to its end. @param {Call} call @param {Ending} ending */
  async #playOut(call, ending) {
    if (ending.by !== 'caller' && this.state === 'live') await this.#devices.playOut();
    if (call === this.#call) this.#end(ending);
  }

  /** Events of the audio devices, with the time on their clock changed to the call's. @param {string} type @param {any} detail */
  #onAudioEvent(type, { timeS, ...detail }) {
    if (type === 'interrupted') this.#call?.interrupt(detail.isInterrupted);
    this.#emit(type, timeS === undefined ? detail : { ...detail, atS: timeS - this.#liveAtS });
  }

  /** @throws {CallFailure} */
  async #open() {
    const unsupported = unsupportedReason();
    if (unsupported) throw unsupported;
    return await this.#devices.open();
  }

  /** @param {import('./audio/graph.js').AudioGraph} graph */
  #attach(graph) {
    this.#call?.attach({ codecRateHz: graph.codecRateHz, ...graph.openPorts() });
  }

  #applyMute() {
    this.#devices.muted = this.#muted || (this.#pushToTalk && !this.#talking);
  }

  /** @param {Ending} ending */
  #end(ending) {
    if (!this.inCall) return;
    this.#devices.close();
    this.#liveAtS = 0;
    this.#setState('ended', ending);
    this.#emit('ended', ending);
  }

  /** @param {ParleyState} state @param {Ending | null} [ending] */
  #setState(state, ending = null) {
    if (state === this.state) return;
    if (state === 'live' && !this.#hasBeenLive) this.#liveAtS = this.#devices.timeS;
    this.#hasBeenLive ||= state === 'live';
    this.state = state;
    this.#emit('state', { state, ending });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
