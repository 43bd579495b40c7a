/**
 * The audio graph of one call, from the microphone and to the loudspeaker, with a worklet at each end. No socket, no codec.
 *
 *     microphone → capture (→ worker)          (worker →) player → volume → loudspeaker
 *                     ↑ what is played, to detect an echo ──┘
 *
 * Browsers differ: older Firefox refuses a context whose rate is not the microphone's, Safari may ignore the requested rate.
 * So 48 kHz is requested, the rate is read back, and the worklets resample where it is not one of Opus.
 */

import { CallFailure } from '../failure.js';
import { closeMicrophone } from './microphone.js';
import { Speaker } from './speaker.js';

const OPUS_RATES_HZ = [8000, 12000, 16000, 24000, 48000];
const PREFERRED_RATE_HZ = 48000;
const VOLUME_RAMP_S = 0.02; // a sudden change would click
const START_TIMEOUT_MS = 10_000; // a Bluetooth headset takes seconds

/**
 * @typedef {{span: number, rms: number}} Level `span` counts on the context's clock
 * @typedef {{waitMs: number, underruns: number, concealed: number, seedMs: number}} BufferReport the delay of the playback buffer,
 *   counts since the graph was opened, and what the next graph's buffer should hold at first
 * @typedef {{text: string, span: number}} SpokenText a text piece, and the span in which it begins to sound
 */

export class AudioGraph {
  /** @type {(voice: 'user' | 'model', level: Level) => void} */
  onLevel = () => {};
  /** @type {(report: BufferReport) => void} */
  onBuffer = () => {};
  /** @type {(spoken: SpokenText) => void} */
  onText = () => {};
  /** The microphone starts or stops picking up the loudspeaker. @type {(isHeard: boolean) => void} */
  onEcho = () => {};
  /** After `playOut`: the buffer is empty. */
  onPlayedOut = () => {};
  /** The microphone was unplugged or taken away. @type {(stream: MediaStream) => void} */
  onMicrophoneLost = () => {};
  /** The system or a switch has muted the microphone, or no longer does. @type {(isMuted: boolean) => void} */
  onMicrophoneMuted = () => {};
  /** The system has stopped the sound, as a telephone call does, or it goes on. @type {(isInterrupted: boolean) => void} */
  onInterrupted = () => {};

  context;
  /** @type {MediaStream} the present microphone's */
  stream;
  /** The microphone before encoding, and what is played. Other nodes may be connected to both; they stay when devices change. */
  microphone;
  player;
  #isInterrupted = false;
  #capture;
  #volume;
  #speaker;
  /** @type {MediaStreamAudioSourceNode} */
  #source;

  /**
   * Call it in a click handler: browsers start audio only after a user's gesture.
   * @param {MediaStream} stream owned by the graph from now on
   * @param {number} [seedMs] what the playback buffer should hold at first
   * @returns {Promise<AudioGraph>} when it runs
   * @throws {CallFailure}
   */
  static async open(stream, seedMs) {
    const [context, source] = await openContext(stream);
    try {
      const url = (/** @type {string} */ end) => new URL(`${end}-processor.js`, import.meta.url);
      await Promise.all(['capture', 'playback'].map((end) => context.audioWorklet.addModule(url(end))));
      const graph = new AudioGraph(context, stream, source, seedMs);
      await waitUntilRunning(context);
      return graph;
    } catch (error) {
      if (context.state !== 'closed') void context.close();
      throw error;
    }
  }

  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream
   * @param {MediaStreamAudioSourceNode} source
   * @param {number} [seedMs]
   */
  constructor(context, stream, source, seedMs) {
    this.context = context;
    this.stream = stream;
    this.#source = source;
    this.microphone = new GainNode(context);
    const { codecRateHz } = this;
    this.#capture = new AudioWorkletNode(context, 'capture', { numberOfInputs: 2, processorOptions: { codecRateHz } });
    this.player = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { seedMs } });
    this.#volume = new GainNode(context);
    this.#speaker = new Speaker(context, this.#volume);
    // The capture node outputs silence, but some browsers do not run a node without a destination.
    source.connect(this.microphone).connect(this.#capture).connect(context.destination);
    this.player.connect(this.#capture, 0, 1);
    this.player.connect(this.#volume);
    this.#capture.port.onmessage = ({ data }) => this.#onCaptureMessage(data);
    this.player.port.onmessage = ({ data }) => this.#onPlayerMessage(data);
    context.onstatechange = () => this.#onContextState();
    this.#watchTracks(stream);
  }

  get codecRateHz() {
    return OPUS_RATES_HZ.includes(this.context.sampleRate) ? this.context.sampleRate : PREFERRED_RATE_HZ;
  }

  /** The output device's delay as reported by the browser; some browsers report none. */
  get outputLatencyMs() {
    return ((this.context.baseLatency || 0) + (this.context.outputLatency || 0)) * 1000;
  }

  /** @returns {{capture: MessagePort, playback: MessagePort}} new ports to the worklets, to be transferred to the worker */
  openPorts() {
    const capture = new MessageChannel();
    const playback = new MessageChannel();
    this.#capture.port.postMessage({ port: capture.port1 }, [capture.port1]);
    this.player.port.postMessage({ port: playback.port1 }, [playback.port1]);
    return { capture: capture.port2, playback: playback.port2 };
  }

  /**
   * Replace the microphone; the call goes on.
   * @param {MediaStream} stream owned by the graph from now on
   * @throws {DOMException} the browser refuses a microphone of another sample rate: a new graph is needed
   */
  setMicrophone(stream) {
    const source = this.context.createMediaStreamSource(stream);
    this.#source.disconnect();
    if (this.stream !== stream) closeMicrophone(this.stream);
    source.connect(this.microphone);
    this.#source = source;
    this.stream = stream;
    this.#watchTracks(stream);
  }

  /** @param {boolean} muted the worker is sent silence */
  set muted(muted) {
    this.#capture.port.postMessage({ muted });
  }

  /** @param {number} gain 0…1 */
  set volume(gain) {
    this.#volume.gain.setTargetAtTime(gain, this.context.currentTime, VOLUME_RAMP_S);
  }

  /** @param {string} deviceId '' for the system default @throws {DOMException} the device cannot be used */
  setSpeaker(deviceId) {
    return this.#speaker.choose(deviceId);
  }

  get speaker() {
    return this.#speaker.chosen;
  }

  /** No more packets will come: call `onPlayedOut` when the buffer is empty. */
  playOut() {
    this.player.port.postMessage({ playOut: true });
  }

  close() {
    this.#capture.port.onmessage = this.player.port.onmessage = null; // ignore messages already on their way
    closeMicrophone(this.stream);
    this.#speaker.close();
    this.context.onstatechange = null;
    this.#listenForPress(false);
    if (this.context.state !== 'closed') void this.context.close();
  }

  /** @param {Level | {isEchoHeard: boolean}} message */
  #onCaptureMessage(message) {
    if ('isEchoHeard' in message) this.onEcho(message.isEchoHeard);
    else this.onLevel('user', message);
  }

  /** @param {{buffer?: BufferReport, text?: SpokenText, playedOut?: true, span: number, rms: number}} message */
  #onPlayerMessage({ buffer, text, playedOut, span, rms }) {
    if (playedOut) this.onPlayedOut();
    else if (buffer) this.onBuffer(buffer);
    else if (text) this.onText(text);
    else this.onLevel('model', { span, rms });
  }

  /** @param {MediaStream} stream */
  #watchTracks(stream) {
    for (const track of stream.getAudioTracks()) {
      this.#capture.port.postMessage({ cancelsEcho: Boolean(track.getSettings().echoCancellation) });
      track.onended = () => {
        if (stream === this.stream) this.onMicrophoneLost(stream);
      };
      track.onmute = track.onunmute = () => {
        if (stream === this.stream) this.onMicrophoneMuted(track.muted);
      };
    }
  }

  /** The system may interrupt the context. Some systems let it go on afterwards, others want a press of the caller. */
  #onContextState() {
    const { state } = this.context;
    const isInterrupted = state !== 'running' && state !== 'closed';
    if (isInterrupted === this.#isInterrupted) return;
    this.#isInterrupted = isInterrupted;
    this.#listenForPress(isInterrupted);
    this.onInterrupted(isInterrupted);
  }

  /** @param {boolean} on */
  #listenForPress(on) {
    for (const press of ['click', 'keydown']) {
      if (on) addEventListener(press, this.#resume, true);
      else removeEventListener(press, this.#resume, true);
    }
  }

  #resume = () => void this.context.resume().catch(() => {}); // while the interruption lasts, the system refuses
}

/**
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>} of another sample rate where the microphone needs one
 */
async function openContext(stream) {
  /** @type {AudioContext | null} */
  let context = null;
  try {
    context = new AudioContext({ sampleRate: PREFERRED_RATE_HZ, latencyHint: 'interactive' });
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    await context?.close();
    const other = new AudioContext({ latencyHint: 'interactive' });
    return [other, other.createMediaStreamSource(stream)];
  }
}

/**
 * Without a loudspeaker, Firefox never starts a context and reports no error; nor does a browser that wants another gesture.
 * @param {AudioContext} context
 * @throws {CallFailure}
 */
async function waitUntilRunning(context) {
  const timeout = new Promise((resolve) => setTimeout(resolve, START_TIMEOUT_MS, 'timeout'));
  if ((await Promise.race([context.resume(), timeout])) === 'timeout') throw new CallFailure('no-sound');
}
