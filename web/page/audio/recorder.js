/**
 * Records both voices of a call as a WAV file: the caller left, the model right. The recording stays in the page until it is
 * saved.
 */

const RATE_HZ = 24000; // the model's
const BYTES_PER_S = RATE_HZ * 2 * 2;
const HEADER_BYTES = 44;
const BUFFERS_PER_BLOB = 100; // the browser may keep a blob on disk, but not a buffer
const MAX_RECORDING_S = 3 * 3600; // 1 GB

export class Recorder {
  recording = false;
  /** Called when the recording reached its maximum length and was stopped. */
  onFull = () => {};
  /** @type {Blob[]} */
  #blobs = [];
  /** @type {ArrayBuffer[]} */
  #buffers = [];
  #bytes = 0;
  /** @type {GainNode | null} */
  #microphoneGain = null;
  #muted = false;
  #detach = () => {};

  /** The length of the recording. */
  get seconds() {
    return this.#bytes / BYTES_PER_S;
  }

  /** Start a new recording; the previous one is discarded. @param {import('../../client/audio/graph.js').AudioGraph} graph */
  async start(graph) {
    this.discard();
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
    recording.port.onmessage = ({ data }) => this.#add(data);
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
    this.#bytes = 0;
  }

  get file() {
    return new Blob([wavHeader(this.#bytes), ...this.#blobs, ...this.#buffers], { type: 'audio/wav' });
  }

  /** @param {ArrayBuffer} buffer */
  #add(buffer) {
    this.#buffers.push(buffer);
    this.#bytes += buffer.byteLength;
    if (this.#buffers.length >= BUFFERS_PER_BLOB) this.#blobs.push(new Blob(this.#buffers.splice(0)));
    if (this.seconds >= MAX_RECORDING_S && this.recording) {
      this.stop();
      this.onFull();
    }
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
