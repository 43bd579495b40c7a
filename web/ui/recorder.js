/**
 * Both sides of a call as a sound file: you left, the model right, WAV, which plays everywhere. Nothing leaves the page
 * until it is saved.
 */

const RATE_HZ = 24000; // the model's own
const BYTES_PER_S = RATE_HZ * 2 * 2;
const HEADER_BYTES = 44;
const BUFFERS_PER_BLOB = 100; // a blob may be kept on disk, buffers may not
const LONGEST_S = 3 * 3600; // 1 GB

export class Recorder {
  recording = false;
  /** Called when the longest recording is reached. */
  onFull = () => {};
  /** @type {Blob[]} */
  #blobs = [];
  /** @type {ArrayBuffer[]} */
  #buffers = [];
  #bytes = 0;
  /** @type {GainNode | null} */
  #voice = null;
  #muted = false;
  #detach = () => {};

  /** How long it is. */
  get seconds() {
    return this.#bytes / BYTES_PER_S;
  }

  /** Anew. @param {import('../audio/graph.js').AudioGraph} graph */
  async start(graph) {
    this.discard();
    this.recording = true;
    await this.follow(graph);
  }

  /** Go on with another graph, after a change of devices. @param {import('../audio/graph.js').AudioGraph} graph */
  async follow({ context, microphone, player }) {
    if (!this.recording) return;
    await context.audioWorklet.addModule(new URL('../audio/recording-processor.js', import.meta.url));
    if (!this.recording) return; // stopped meanwhile
    this.#detach();
    const voice = new GainNode(context, { gain: this.#muted ? 0 : 1 });
    const tape = new AudioWorkletNode(context, 'recording', {
      numberOfInputs: 2,
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: { rateHz: RATE_HZ },
    });
    microphone.connect(voice).connect(tape, 0, 0);
    player.connect(tape, 0, 1);
    tape.connect(context.destination); // silent, but a node that leads nowhere is not run everywhere
    tape.port.onmessage = ({ data }) => this.#add(data);
    this.#voice = voice;
    this.#detach = () => {
      tape.port.onmessage = null;
      microphone.disconnect(voice);
      player.disconnect(tape);
      tape.disconnect();
    };
  }

  /** What the model does not hear is not recorded either. @param {boolean} muted */
  set muted(muted) {
    this.#muted = muted;
    if (this.#voice) this.#voice.gain.value = muted ? 0 : 1;
  }

  stop() {
    this.recording = false;
    this.#detach();
    this.#detach = () => {};
    this.#voice = null;
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
    if (this.seconds >= LONGEST_S && this.recording) {
      this.stop();
      this.onFull();
    }
  }
}

/** Two channels of 16 bits. @param {number} dataBytes */
export function wavHeader(dataBytes) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const text = (/** @type {number} */ at, /** @type {string} */ name) => [...name].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, HEADER_BYTES - 8 + dataBytes, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true); // of the format that follows
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
