/**
 * The microphone and the loudspeaker of one call, as an audio graph with a worklet at each end. No socket, no codec.
 *
 * Browsers differ: Firefox refuses a context whose rate is not the microphone's, Safari may ignore the rate asked
 * for. So 48 kHz is asked for, the rate is read back, and the worklets resample when it is none of Opus's.
 */

import { CallFailure } from '../failure.js';

const OPUS_RATES_HZ = [8000, 12000, 16000, 24000, 48000];
const FAVOURITE_HZ = 48000;

const MICROPHONE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * @typedef {{span: number, rms: number}} Level `span` counts on the context's clock
 * @typedef {{lowWaterMs: number, targetMs: number, underruns: number}} BufferReport
 */

export class AudioGraph {
  /** @type {(voice: 'user' | 'model', level: Level) => void} */
  onLevel = () => {};
  /** @type {(report: BufferReport) => void} */
  onBuffer = () => {};
  /** The microphone was unplugged or taken away. */
  onMicrophoneLost = () => {};

  context;
  stream;
  /** Where the two voices can be tapped: before encoding, and as played. */
  microphone;
  player;
  #capture;

  /**
   * Must begin inside a click: browsers give sound and microphone only to a person's gesture.
   * @returns {Promise<AudioGraph>}
   * @throws {CallFailure} saying what the person has to do
   */
  static async open() {
    const session = /** @type {{audioSession?: {type: string}}} */ (navigator).audioSession;
    if (session) session.type = 'play-and-record'; // Safari on a phone: keep the loudspeaker while recording
    const context = openContext();
    let stream = null;
    try {
      stream = await openMicrophone();
      return await connect(context, stream);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      if (context.state !== 'closed') void context.close();
      throw error;
    }
  }

  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream
   * @param {MediaStreamAudioSourceNode} microphone
   */
  constructor(context, stream, microphone) {
    this.context = context;
    this.stream = stream;
    this.microphone = microphone;
    const codecRateHz = this.codecRateHz;
    this.#capture = new AudioWorkletNode(context, 'capture', { processorOptions: { codecRateHz } });
    this.player = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    // The capture node is silent, but a node that leads nowhere is not run everywhere.
    microphone.connect(this.#capture).connect(context.destination);
    this.player.connect(context.destination);
    this.#capture.port.onmessage = ({ data }) => this.onLevel('user', data);
    this.player.port.onmessage = ({ data }) => (data.buffer ? this.onBuffer(data.buffer) : this.onLevel('model', data));
    for (const track of stream.getAudioTracks()) track.onended = () => this.onMicrophoneLost();
    context.onstatechange = () => {
      if (context.state !== 'running' && context.state !== 'closed') context.resume().catch(() => {}); // a phone call came between
    };
  }

  get codecRateHz() {
    return OPUS_RATES_HZ.includes(this.context.sampleRate) ? this.context.sampleRate : FAVOURITE_HZ;
  }

  /** What the browser says the device adds after the graph; some say nothing. */
  get outputLatencyMs() {
    return ((this.context.baseLatency || 0) + (this.context.outputLatency || 0)) * 1000;
  }

  /** @returns {{capture: MessagePort, playback: MessagePort}} the worker's ends; to be transferred */
  openPorts() {
    const capture = new MessageChannel();
    const playback = new MessageChannel();
    this.#capture.port.postMessage({ port: capture.port1 }, [capture.port1]);
    this.player.port.postMessage({ port: playback.port1 }, [playback.port1]);
    return { capture: capture.port2, playback: playback.port2 };
  }

  close() {
    for (const track of this.stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    if (this.context.state !== 'closed') void this.context.close();
  }
}

function openContext() {
  try {
    return new AudioContext({ sampleRate: FAVOURITE_HZ, latencyHint: 'interactive' });
  } catch {
    return new AudioContext({ latencyHint: 'interactive' });
  }
}

/**
 * @param {AudioContext} context
 * @param {MediaStream} stream
 * @returns {Promise<AudioGraph>}
 */
async function connect(context, stream) {
  const [usable, microphone] = await joinMicrophone(context, stream);
  const url = (/** @type {string} */ end) => new URL(`${end}-processor.js`, import.meta.url);
  await Promise.all(['capture', 'playback'].map((end) => usable.audioWorklet.addModule(url(end))));
  void usable.resume();
  return new AudioGraph(usable, stream, microphone);
}

/**
 * @param {AudioContext} context
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>} another context where the microphone refuses this one's rate
 */
async function joinMicrophone(context, stream) {
  try {
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    await context.close();
    const other = new AudioContext({ latencyHint: 'interactive' });
    return [other, other.createMediaStreamSource(stream)];
  }
}

/**
 * @returns {Promise<MediaStream>}
 * @throws {CallFailure}
 */
async function openMicrophone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    if (name === 'NotAllowedError' || name === 'SecurityError') throw new CallFailure('microphone-denied');
    if (name === 'NotFoundError' || name === 'OverconstrainedError') throw new CallFailure('microphone-missing');
    if (name === 'NotReadableError' || name === 'AbortError') throw new CallFailure('microphone-busy');
    throw new CallFailure('broken', message);
  }
}
