/**
 * The call's network end, in a worker of its own: microphone packets → Opus → socket → Opus → playback, even while the page
 * is busy.
 *
 * Owns the socket and the codecs. Knows nothing of devices or of the page; exchanges the messages below with `Call`, and
 * audio with the two worklets over ports. One connection at a time; the next one may resume the conversation.
 *
 * @typedef {{type: 'attach', codecRateHz: number, capture: MessagePort, playback: MessagePort}
 *   | {type: 'connect', url: string, subprotocols: string[], isResuming: boolean} | {type: 'interrupt', on: boolean}
 *   | {type: 'hangUp'}} ToWorker
 * @typedef {{type: 'attached', supported: boolean} | {type: 'handshake'}
 *   | {type: 'event', event: import('./protocol.js').ServerEvent}
 *   | {type: 'roundTrip', roundTripMs: number, unsentPackets: number}
 *   | {type: 'closed', code: number, errorText: string, wasOpen: boolean, silentMs: number}
 *   | {type: 'error', message: string}} FromWorker
 */

import { loadCodec } from './codec.js';
import { PACKETS_PER_FRAME, decode, encodeAudio } from './protocol.js';
import { RoundTrip } from './round-trip.js';

const NORMAL_CLOSURE = 1000; // RFC 6455 §7.4.1; a browser may send this one, and 3000…4999
const ABNORMAL_CLOSURE = 1006; // what browsers report where no close frame came
const CONNECTION_LOST = 4000; // tells the server, if it is still there, to keep the conversation
const MAX_BUFFERED_BYTES = 4096; // a second of packets that the network has not taken: more would only arrive late
const CONNECT_TIMEOUT_MS = 15000;
const RESUME_TIMEOUT_MS = 5000; // until the handshake: a resumed conversation does not queue
const SILENCE_TIMEOUT_MS = 10000; // a live server sends every 80 ms
const SILENCE_TIMEOUT_RESUMABLE_MS = 3000; // sooner where reconnecting loses nothing
const FRAMES_PER_REPORT = 6;
const MAX_HELD_TEXT = 10_000; // characters, a quarter of an hour
const MAX_UNDECODABLE_PACKETS = 50; // in a row, a second of sound

/** @type {CallSocket | null} */
let callSocket = null;
/** @type {import('./codec.js').Codec} once attached */
let codec;
let codecRateHz = 0;
/** @type {MessagePort} */
let playback;
let unsentPackets = 0;
let isInterrupted = false; // the worklets do not run: packets would only wait, and be played long after
let heldText = ''; // said meanwhile

/** @param {FromWorker} message */
const post = (message) => self.postMessage(message);

// Not async: an error thrown by `new WebSocket` must reach the page as an error of the worker.
self.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data: message }) => {
  if (message.type === 'attach') void attach(message);
  else if (message.type === 'connect') callSocket = new CallSocket(message);
  else if (message.type === 'interrupt') isInterrupted = message.on;
  else callSocket?.hangUp();
};

/** @param {import('../audio/playback-processor.js').DecodedPacket} packet */
function playOrHold(packet) {
  if (isInterrupted) {
    heldText = (heldText + packet.text).slice(0, MAX_HELD_TEXT);
    return;
  }
  packet.text = heldText + packet.text;
  heldText = '';
  playback.postMessage(packet, packet.samples ? [packet.samples.buffer] : []);
}

/** Use these ports of the worklets; new ones come whenever a device needs a new audio graph. @param {ToWorker & {type: 'attach'}} ports */
async function attach({ capture, ...ports }) {
  const loaded = ports.codecRateHz === codecRateHz ? codec : await loadCodec(ports.codecRateHz);
  if (!loaded) return post({ type: 'attached', supported: false });
  codec = loaded;
  ({ codecRateHz, playback } = ports);
  capture.onmessage = ({ data: samples }) => callSocket?.onSamples(samples);
  callSocket?.restartEncoder();
  post({ type: 'attached', supported: true });
}

/** One WebSocket connection, from opening to close. */
class CallSocket {
  #socket;
  #encoder = /** @type {import('./codec.js').Encoder | null} */ (null); // from the handshake on
  #decoder = /** @type {import('./codec.js').Decoder | null} */ (null);
  #roundTrip = new RoundTrip();
  #wasOpen = false;
  #receivedPackets = 0;
  #decodedPackets = 0;
  /** @type {{text: string, packet: number}[]} text pieces, each with the packet before which it came */
  #pendingText = [];
  #undecodablePackets = 0; // in a row
  #errorText = ''; // the server's last error message; cleared by audio, which means that the call goes on
  #timeout = 0;
  #silenceTimeoutMs = SILENCE_TIMEOUT_MS;
  #lastMessageAtMs = performance.now();

  /** @param {ToWorker & {type: 'connect'}} options */
  constructor({ url, subprotocols, isResuming }) {
    this.#socket = new WebSocket(url, subprotocols);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => {
      this.#wasOpen = true;
      if (!isResuming) clearTimeout(this.#timeout); // the call may be queued for long
    };
    this.#socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#onMessage(data);
    };
    this.#socket.onclose = ({ code }) => this.#close(code);
    this.#restartTimeout(isResuming ? RESUME_TIMEOUT_MS : CONNECT_TIMEOUT_MS);
  }

  /** @param {Float32Array<ArrayBuffer>} samples one packet of the microphone; dropped before the handshake */
  onSamples(samples) {
    this.#encoder?.encode(samples);
  }

  /** The microphone's rate may have changed. */
  restartEncoder() {
    if (!this.#encoder) return;
    this.#encoder.close();
    this.#encoder = this.#makeEncoder();
  }

  hangUp() {
    this.#close(NORMAL_CLOSURE);
  }

  /** @param {ArrayBuffer} bytes */
  #onMessage(bytes) {
    this.#lastMessageAtMs = performance.now();
    if (this.#encoder) this.#restartTimeout(this.#silenceTimeoutMs);
    const message = decode(bytes);
    switch (message.kind) {
      case 'handshake':
        return this.#onHandshake();
      case 'audio':
        return this.#onAudio(message.packet);
      case 'text':
        this.#pendingText.push({ text: message.text, packet: this.#receivedPackets });
        return;
      case 'metadata':
        if (message.event.type === 'skip') this.#roundTrip.skipped(Number(message.event.frames));
        if (message.event.resume) this.#silenceTimeoutMs = SILENCE_TIMEOUT_RESUMABLE_MS;
        return post({ type: 'event', event: message.event });
      case 'error':
        this.#errorText = message.text;
    }
  }

  #onHandshake() {
    if (this.#encoder) return;
    this.#decoder = this.#makeDecoder();
    this.#encoder = this.#makeEncoder();
    this.#restartTimeout(this.#silenceTimeoutMs);
    post({ type: 'handshake' });
  }

  #makeEncoder() {
    return new codec.Encoder(codecRateHz, (packet) => this.#send(packet), (error) => this.#fail(error));
  }

  #makeDecoder() {
    return new codec.Decoder((samples, rateHz) => this.#play(samples, rateHz), (error) => this.#conceal(error));
  }

  /** @param {Uint8Array} packet */
  #send(packet) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      unsentPackets += 1;
      return;
    }
    this.#socket.send(encodeAudio(packet));
    this.#roundTrip.sent(performance.now());
  }

  /** @param {Uint8Array} packet */
  #onAudio(packet) {
    this.#errorText = '';
    this.#roundTrip.answered(performance.now());
    this.#receivedPackets += 1;
    this.#decoder?.decode(packet);
    const roundTripMs = this.#roundTrip.ms;
    if (roundTripMs !== null && this.#receivedPackets % (FRAMES_PER_REPORT * PACKETS_PER_FRAME) === 0) {
      post({ type: 'roundTrip', roundTripMs, unsentPackets });
    }
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} rateHz */
  #play(samples, rateHz) {
    this.#undecodablePackets = 0;
    const opensFrame = this.#decodedPackets % PACKETS_PER_FRAME === 0;
    playOrHold({ samples, rateHz, opensFrame, text: this.#nextText() });
  }

  /** A packet could not be decoded: it and all packets still in the decoder are concealed. @param {Error} error */
  #conceal(error) {
    this.#undecodablePackets += 1;
    if (this.#undecodablePackets > MAX_UNDECODABLE_PACKETS) return this.#fail(error);
    this.#decoder?.close();
    this.#decoder = this.#makeDecoder();
    while (this.#decodedPackets < this.#receivedPackets) playOrHold({ samples: null, text: this.#nextText() });
  }

  /** The text pieces that belong to the packet that was decoded now. */
  #nextText() {
    let text = '';
    while (this.#pendingText.length && this.#pendingText[0].packet <= this.#decodedPackets) text += this.#pendingText.shift()?.text;
    this.#decodedPackets += 1;
    return text;
  }

  /** @param {number} ms */
  #restartTimeout(ms) {
    clearTimeout(this.#timeout);
    this.#timeout = self.setTimeout(() => this.#close(ABNORMAL_CLOSURE), ms);
  }

  /** @param {Error} error of a codec */
  #fail(error) {
    post({ type: 'error', message: error.message });
    this.hangUp();
  }

  /** Runs once, for whichever comes first: the server, the network, the timeout or the caller. @param {number} code */
  #close(code) {
    if (callSocket !== this) return;
    callSocket = null;
    clearTimeout(this.#timeout);
    this.#encoder?.close();
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close(code === ABNORMAL_CLOSURE ? CONNECTION_LOST : NORMAL_CLOSURE);
    const silentMs = performance.now() - this.#lastMessageAtMs;
    void this.#finishDecoding().then(() => post({ type: 'closed', code, errorText: this.#errorText, wasOpen: this.#wasOpen, silentMs }));
  }

  /** Packets that have come are still played. */
  async #finishDecoding() {
    await this.#decoder?.flush().catch(() => {}); // the decoder may have failed by now
    this.#decoder?.close();
  }
}
