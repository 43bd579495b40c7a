/**
 * The call's wire, off the main thread: microphone packets → Opus → socket → Opus → playout, whatever the page is busy with.
 *
 * Owns the socket and the codecs. Knows nothing of devices or of the page; talks to `Call` in the messages below and to
 * the two worklets through ports of their own. One line after the other: the next one may go on with the conversation.
 *
 * @typedef {{type: 'join', codecRateHz: number, capture: MessagePort, playback: MessagePort}
 *   | {type: 'dial', url: string, protocols: string[], resumes: boolean} | {type: 'hangUp'}} ToWorker
 * @typedef {{type: 'joined', supported: boolean} | {type: 'greeted'}
 *   | {type: 'event', event: {type: string, [name: string]: unknown}}
 *   | {type: 'trip', roundTripMs: number, unsentPackets: number}
 *   | {type: 'closed', code: number, said: string, opened: boolean, quietMs: number}
 *   | {type: 'broken', what: string}} FromWorker
 */

import { loadCodec } from './codec.js';
import { PACKETS_PER_FRAME, decode, encodeAudio } from './protocol.js';
import { RoundTrip } from './round-trip.js';

const NORMAL_CLOSURE = 1000;
const NO_CLOSE_FRAME = 1006; // as browsers say when a connection just stops
const GIVEN_UP = 4000; // tells a server that may still be there that this is no goodbye
const CHOKED_BYTES = 4096; // a second of packets not yet taken by the network: more would only arrive late
const DIAL_TIMEOUT_MS = 15000;
const RESUME_TIMEOUT_MS = 5000; // until the greeting: nobody waits in line to go on
const SILENCE_TIMEOUT_MS = 10000; // a live server answers every 80 ms
const SILENCE_TIMEOUT_RESUMABLE_MS = 3000; // sooner where nothing is lost by dialling again
const FRAMES_PER_REPORT = 6;
const MAX_UNDECODABLE = 50; // packets in a row: a second that is no Opus

/** @type {Line | null} */
let line = null;
/** @type {import('./codec.js').Codec} once joined */
let codec;
let codecRateHz = 0;
/** @type {MessagePort} */
let playback;
let unsentPackets = 0;

/** @param {FromWorker} message */
const tell = (message) => self.postMessage(message);

// Not async: what a browser throws at a socket it forbids is an error of the worker, which the page hears of.
self.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data: message }) => {
  if (message.type === 'join') void join(message);
  else if (message.type === 'dial') line = new Line(message);
  else line?.hangUp();
};

/** The audio's ends, once at the beginning and again whenever a device makes a new graph necessary. @param {ToWorker & {type: 'join'}} ends */
async function join({ capture, ...ends }) {
  const loaded = ends.codecRateHz === codecRateHz ? codec : await loadCodec(ends.codecRateHz);
  if (!loaded) return tell({ type: 'joined', supported: false });
  codec = loaded;
  ({ codecRateHz, playback } = ends);
  capture.onmessage = ({ data: samples }) => line?.hear(samples);
  line?.restartEncoder();
  tell({ type: 'joined', supported: true });
}

/** One socket, from dialling to its close. */
class Line {
  #socket;
  #encoder = /** @type {import('./codec.js').Encoder | null} */ (null); // from the greeting on
  #decoder = /** @type {import('./codec.js').Decoder | null} */ (null);
  #trip = new RoundTrip();
  #opened = false;
  #answerPackets = 0;
  #decodedPackets = 0;
  /** @type {{text: string, packet: number}[]} pieces of text, each before the packet that it is spoken with */
  #words = [];
  #undecodable = 0; // packets in a row
  #said = ''; // the server's last complaint; what the call survived is forgotten
  #watchdog = 0;
  #silenceMs = SILENCE_TIMEOUT_MS;
  #heardAtMs = performance.now();

  /** @param {ToWorker & {type: 'dial'}} to */
  constructor({ url, protocols, resumes }) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onopen = () => {
      this.#opened = true;
      if (!resumes) clearTimeout(this.#watchdog); // it may now keep us in line for long
    };
    this.#socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#receive(data);
    };
    this.#socket.onclose = ({ code }) => this.#close(code);
    this.#expectWithin(resumes ? RESUME_TIMEOUT_MS : DIAL_TIMEOUT_MS);
  }

  /** @param {Float32Array<ArrayBuffer>} samples one packet of the microphone; before the greeting there is nobody to hear it */
  hear(samples) {
    this.#encoder?.encode(samples);
  }

  /** The microphone's rate may be another one now. */
  restartEncoder() {
    if (!this.#encoder) return;
    this.#encoder.close();
    this.#encoder = this.#makeEncoder();
  }

  hangUp() {
    this.#close(NORMAL_CLOSURE);
  }

  /** @param {ArrayBuffer} bytes */
  #receive(bytes) {
    this.#heardAtMs = performance.now();
    if (this.#encoder) this.#expectWithin(this.#silenceMs);
    const message = decode(bytes);
    switch (message.kind) {
      case 'handshake':
        return this.#greet();
      case 'audio':
        return this.#answer(message.packet);
      case 'text':
        this.#words.push({ text: message.text, packet: this.#answerPackets });
        return;
      case 'event':
        if (message.event.type === 'skip') this.#trip.skipped(Number(message.event.frames));
        if (message.event.resume) this.#silenceMs = SILENCE_TIMEOUT_RESUMABLE_MS;
        return tell({ type: 'event', event: message.event });
      case 'error':
        this.#said = message.text;
    }
  }

  #greet() {
    if (this.#encoder) return;
    this.#decoder = this.#makeDecoder();
    this.#encoder = this.#makeEncoder();
    this.#expectWithin(this.#silenceMs);
    tell({ type: 'greeted' });
  }

  #makeEncoder() {
    return new codec.Encoder(codecRateHz, (packet) => this.#send(packet), (error) => this.#break(error));
  }

  #makeDecoder() {
    return new codec.Decoder((samples, rateHz) => this.#play(samples, rateHz), (error) => this.#conceal(error));
  }

  /** @param {Uint8Array} packet */
  #send(packet) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > CHOKED_BYTES) {
      unsentPackets += 1;
      return;
    }
    this.#socket.send(encodeAudio(packet));
    this.#trip.sent(performance.now());
  }

  /** @param {Uint8Array} packet */
  #answer(packet) {
    this.#said = '';
    this.#trip.answered(performance.now());
    this.#answerPackets += 1;
    this.#decoder?.decode(packet);
    const roundTripMs = this.#trip.ms;
    if (roundTripMs !== null && this.#answerPackets % (FRAMES_PER_REPORT * PACKETS_PER_FRAME) === 0) {
      tell({ type: 'trip', roundTripMs, unsentPackets });
    }
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} rateHz */
  #play(samples, rateHz) {
    this.#undecodable = 0;
    const opensFrame = this.#decodedPackets % PACKETS_PER_FRAME === 0;
    playback.postMessage({ samples, rateHz, opensFrame, words: this.#nextWords() }, [samples.buffer]);
  }

  /** A packet that is no Opus costs its sound, and whatever else was in the decoder. @param {Error} error */
  #conceal(error) {
    this.#undecodable += 1;
    if (this.#undecodable > MAX_UNDECODABLE) return this.#break(error);
    this.#decoder?.close();
    this.#decoder = this.#makeDecoder();
    while (this.#decodedPackets < this.#answerPackets) playback.postMessage({ samples: null, words: this.#nextWords() });
  }

  /** What is said with the packet that comes out of the decoder now. */
  #nextWords() {
    let words = '';
    while (this.#words.length && this.#words[0].packet <= this.#decodedPackets) words += this.#words.shift()?.text;
    this.#decodedPackets += 1;
    return words;
  }

  /** @param {number} ms */
  #expectWithin(ms) {
    clearTimeout(this.#watchdog);
    this.#watchdog = self.setTimeout(() => this.#close(NO_CLOSE_FRAME), ms);
  }

  /** @param {Error} error a codec gave up */
  #break(error) {
    tell({ type: 'broken', what: error.message });
    this.hangUp();
  }

  /** Once, by whichever comes first: the server, the network, the watchdog or the caller. @param {number} code */
  #close(code) {
    if (line !== this) return;
    line = null;
    clearTimeout(this.#watchdog);
    this.#encoder?.close();
    this.#socket.onclose = this.#socket.onmessage = null;
    this.#socket.close(code === NO_CLOSE_FRAME ? GIVEN_UP : NORMAL_CLOSURE);
    const quietMs = performance.now() - this.#heardAtMs;
    void this.#finishDecoding().then(() => tell({ type: 'closed', code, said: this.#said, opened: this.#opened, quietMs }));
  }

  /** What has come is still to be played. */
  async #finishDecoding() {
    await this.#decoder?.flush().catch(() => {}); // it may have given up by now
    this.#decoder?.close();
  }
}
