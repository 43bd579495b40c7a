/**
 * Records both voices of a call as a WAV file: the caller left, the model right. The file begins where the call did, as the
 * transcript's times do, and is silent where nothing was recorded. The recording stays in the page until it is saved.
 */

const RATE_HZ = 24000; // the model's
const BYTES_PER_S = RATE_HZ * 2 * 2;
const HEADER_BYTES = 44;
const BUFFERS_PER_BLOB = 100; // the browser may keep a blob on disk, but not a buffer
const MAX_RECORDING_S = 3 * 3600; // 1 GB
const MAX_FILE_BYTES = 2 ** 32 - BYTES_PER_S; // what a WAV header can say
const MIN_GAP_S = 0.15; // a buffer and a half; a shorter difference is the clocks' rounding

export class Recorder {
  recording = false;
  /** Called when the recording reached its maximum length and was stopped. */
  onFull = () => {};
  /** @type {Blob[]} */
  #blobs = [];
  /** @type {ArrayBuffer[]} */
  #buffers = [];
  #bytes = 0; // recorded
  #silentBytes = 0;
  /** @type {(contextS: number) => number} */
  #callTimeS = (contextS) => contextS;
  /** @type {GainNode | null} */
  #microphoneGain = null;
  #muted = false;
  #detach = () => {};

  /** How long was recorded. */
  get seconds() {
    return this.#bytes / BYTES_PER_S;
  }

  /** How much of the file is silent, because nothing was recorded then. */
  get silentSeconds() {
    return this.#silentBytes / BYTES_PER_S;
  }

  /**
   * Start a new recording; the previous one is discarded.
   * @param {import('../../client/audio/graph.js').AudioGraph} graph
   * @param {(contextS: number) => number} [callTimeS] from the clock of the present graph's context to the call's
   */
  async start(graph, callTimeS = (contextS) => contextS) {
    this.discard();
    this.#callTimeS = callTimeS;
    this.recording = true;
    await this.follow(graph);
  }

  /** Go on recording on another graph, after a change of devices. @param {import('../../client/audio/graph.js').AudioGraph} graph */
  async follow({ context, microphone, player }) {
    if (!this.recording) return;
    await context.audioWorklet.addModule(new URL('./recording-processor.js', import.meta.url));
    if (!this.recording) return; // it was stopped meanwhile
    this.#detach();
    const microphoneGain = new GainNode(context, { gain: this.#muted ? 0 : 1 });
    const recording = new AudioWorkletNode(context, 'recording', {
      numberOfInputs: 2,
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: { rateHz: RATE_HZ },
    });
    microphone.connect(microphoneGain).connect(recording, 0, 0);
    player.connect(recording, 0, 1);
    recording.connect(context.destination); // silent, but some browsers do not run a node without a destination
    recording.port.onmessage = ({ data: { samples, endS } }) => this.#add(samples, this.#callTimeS(endS));
    this.#microphoneGain = microphoneGain;
    this.#detach = () => {
      recording.port.onmessage = null;
      microphone.disconnect(microphoneGain);
      player.disconnect(recording);
      recording.disconnect();
    };
  }

  /** While muted, the recording has silence for the microphone, as the model does. @param {boolean} muted */
  set muted(muted) {
    this.#muted = muted;
    if (this.#microphoneGain) this.#microphoneGain.gain.value = muted ? 0 : 1;
  }

  stop() {
    this.recording = false;
    this.#detach();
    this.#detach = () => {};
    this.#microphoneGain = null;
  }

  discard() {
    this.stop();
    this.#blobs = [];
    this.#buffers = [];
    this.#bytes = this.#silentBytes = 0;
  }

  get file() {
    return new Blob([wavHeader(this.#silentBytes + this.#bytes), ...this.#blobs, ...this.#buffers], { type: 'audio/wav' });
  }

  /** @param {ArrayBuffer} buffer @param {number} endS on the call's clock */
  #add(buffer, endS) {
    const missingS = endS - (this.#silentBytes + this.#bytes + buffer.byteLength) / BYTES_PER_S;
    if (missingS > MIN_GAP_S) this.#addSilence(missingS);
    this.#buffers.push(buffer);
    this.#bytes += buffer.byteLength;
    if (this.#buffers.length >= BUFFERS_PER_BLOB) this.#blobs.push(new Blob(this.#buffers.splice(0)));
    const isFull = this.seconds >= MAX_RECORDING_S || this.#silentBytes + this.#bytes >= MAX_FILE_BYTES;
    if (isFull && this.recording) {
      this.stop();
      this.onFull();
    }
  }

  /** One second of zeros is held, however long the silence is. @param {number} seconds */
  #addSilence(seconds) {
    const bytes = Math.min(Math.round(seconds * RATE_HZ) * 4, MAX_FILE_BYTES - this.#silentBytes - this.#bytes);
    const second = new Blob([new ArrayBuffer(BYTES_PER_S)]);
    const whole = Array.from({ length: Math.floor(bytes / BYTES_PER_S) }, () => second);
    this.#blobs.push(new Blob(this.#buffers.splice(0)), ...whole, second.slice(0, bytes % BYTES_PER_S));
    this.#silentBytes += bytes;
  }
}

/** The header of a WAV file with two channels of 16 bits. @param {number} dataBytes */
export function wavHeader(dataBytes) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (/** @type {number} */ at, /** @type {string} */ name) => [...name].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, HEADER_BYTES - 8 + dataBytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); // length of the format chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 2, true); // channels
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, BYTES_PER_S, true);
  view.setUint16(32, 4, true); // bytes of both samples
  view.setUint16(34, 16, true); // bits
  text(36, 'data');
  view.setUint32(40, dataBytes, true);
  return view.buffer;
}
