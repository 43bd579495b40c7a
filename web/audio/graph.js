/**
 * The microphone and the loudspeaker of one call, as an audio graph with a worklet at each end. No socket, no codec.
 *
 *     microphone → capture (→ worker)          (worker →) player → volume → loudspeaker
 *                     ↑ what is played, to tell an echo ────┘
 *
 * Browsers differ: older Firefox refuses a context whose rate is not the microphone's, Safari may ignore the rate asked
 * for. So 48 kHz is asked for, the rate is read back, and the worklets resample when it is none of Opus's.
 */

import { CallFailure } from '../failure.js';
import { closeMicrophone } from './microphone.js';
import { Speaker } from './speaker.js';

const OPUS_RATES_HZ = [8000, 12000, 16000, 24000, 48000];
const FAVOURITE_HZ = 48000;
const VOLUME_SETTLES_S = 0.02; // a jump would click
const STARTS_WITHIN_MS = 10_000; // a Bluetooth headset takes seconds

/**
 * @typedef {{span: number, rms: number}} Level `span` counts on the context's clock
 * @typedef {{waitMs: number, late: number, concealed: number}} BufferReport how long sound waits; counts since the graph was opened
 * @typedef {{text: string, span: number}} Spoken words, in the span in which they begin to sound
 */

export class AudioGraph {
  /** @type {(voice: 'user' | 'model', level: Level) => void} */
  onLevel = () => {};
  /** @type {(report: BufferReport) => void} */
  onBuffer = () => {};
  /** @type {(spoken: Spoken) => void} */
  onWords = () => {};
  /** The loudspeaker is heard in the microphone, or no longer. @type {(leaks: boolean) => void} */
  onLeak = () => {};
  /** Nothing is left to be heard, after `playOut`. */
  onPlayedOut = () => {};
  /** The microphone was unplugged or taken away. @type {(stream: MediaStream) => void} */
  onMicrophoneLost = () => {};

  context;
  /** @type {MediaStream} what the microphone gives at the moment */
  stream;
  /** Where the two voices can be tapped: before encoding, and as played. They stay when devices change. */
  microphone;
  player;
  #capture;
  #volume;
  #speaker;
  /** @type {MediaStreamAudioSourceNode} */
  #source;

  /**
   * Must begin inside a click: browsers give sound only to a person's gesture.
   * @param {MediaStream} stream the graph's from now on
   * @returns {Promise<AudioGraph>} once it runs
   * @throws {CallFailure}
   */
  static async open(stream) {
    const [context, source] = await openContext(stream);
    try {
      const url = (/** @type {string} */ end) => new URL(`${end}-processor.js`, import.meta.url);
      await Promise.all(['capture', 'playback'].map((end) => context.audioWorklet.addModule(url(end))));
      const graph = new AudioGraph(context, stream, source);
      await started(context);
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
   */
  constructor(context, stream, source) {
    this.context = context;
    this.stream = stream;
    this.#source = source;
    this.microphone = new GainNode(context);
    const { codecRateHz } = this;
    this.#capture = new AudioWorkletNode(context, 'capture', { numberOfInputs: 2, processorOptions: { codecRateHz } });
    this.player = new AudioWorkletNode(context, 'playback', { numberOfInputs: 0, outputChannelCount: [1] });
    this.#volume = new GainNode(context);
    this.#speaker = new Speaker(context, this.#volume);
    // The capture node is silent, but a node that leads nowhere is not run everywhere.
    source.connect(this.microphone).connect(this.#capture).connect(context.destination);
    this.player.connect(this.#capture, 0, 1);
    this.player.connect(this.#volume);
    this.#capture.port.onmessage = ({ data }) => ('leaks' in data ? this.onLeak(data.leaks) : this.onLevel('user', data));
    this.player.port.onmessage = ({ data }) => this.#hear(data);
    context.onstatechange = () => this.#keepRunning();
    this.#watch(stream);
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

  /**
   * Another microphone takes over; the call does not notice but for its sound.
   * @param {MediaStream} stream the graph's from now on
   * @throws {DOMException} where the browser refuses a microphone of another rate: a new graph is needed
   */
  setMicrophone(stream) {
    const source = this.context.createMediaStreamSource(stream);
    this.#source.disconnect();
    if (this.stream !== stream) closeMicrophone(this.stream);
    source.connect(this.microphone);
    this.#source = source;
    this.stream = stream;
    this.#watch(stream);
  }

  /** @param {boolean} muted nothing of the microphone leaves the page; the model hears silence */
  set muted(muted) {
    this.#capture.port.postMessage({ muted });
  }

  /** @param {number} gain 0…1 */
  set volume(gain) {
    this.#volume.gain.setTargetAtTime(gain, this.context.currentTime, VOLUME_SETTLES_S);
  }

  /** @param {string} deviceId '' for the system's choice @throws {DOMException} when it cannot be had */
  setSpeaker(deviceId) {
    return this.#speaker.choose(deviceId);
  }

  get speaker() {
    return this.#speaker.chosen;
  }

  /** No more will come: `onPlayedOut` when all that has come was given to the sound card. */
  playOut() {
    this.player.port.postMessage({ playOut: true });
  }

  close() {
    this.#capture.port.onmessage = this.player.port.onmessage = null; // what is on its way comes too late
    closeMicrophone(this.stream);
    this.#speaker.close();
    this.context.onstatechange = null;
    if (this.context.state !== 'closed') void this.context.close();
  }

  /** @param {{buffer?: BufferReport, words?: Spoken, playedOut?: true, span: number, rms: number}} message */
  #hear({ buffer, words, playedOut, span, rms }) {
    if (playedOut) this.onPlayedOut();
    else if (buffer) this.onBuffer(buffer);
    else if (words) this.onWords(words);
    else this.onLevel('model', { span, rms });
  }

  /** @param {MediaStream} stream */
  #watch(stream) {
    for (const track of stream.getAudioTracks()) {
      this.#capture.port.postMessage({ cancelled: Boolean(track.getSettings().echoCancellation) });
      track.onended = () => {
        if (stream === this.stream) this.onMicrophoneLost(stream);
      };
    }
  }

  /** A telephone call came between; some browsers go on by themselves, some want another touch. */
  #keepRunning() {
    const { context } = this;
    if (context.state === 'running' || context.state === 'closed') return;
    context.resume().catch(() => {});
    addEventListener('pointerdown', () => context.state === 'closed' || void context.resume(), { once: true });
  }
}

/**
 * @param {MediaStream} stream
 * @returns {Promise<[AudioContext, MediaStreamAudioSourceNode]>} of another rate where the microphone refuses ours
 */
async function openContext(stream) {
  /** @type {AudioContext | null} */
  let context = null;
  try {
    context = new AudioContext({ sampleRate: FAVOURITE_HZ, latencyHint: 'interactive' });
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    await context?.close();
    const other = new AudioContext({ latencyHint: 'interactive' });
    return [other, other.createMediaStreamSource(stream)];
  }
}

/**
 * Without a loudspeaker Firefox never runs a context, nor does a browser that wants another gesture; neither says so.
 * @param {AudioContext} context
 * @throws {CallFailure}
 */
async function started(context) {
  const late = new Promise((resolve) => setTimeout(resolve, STARTS_WITHIN_MS, 'late'));
  if ((await Promise.race([context.resume(), late])) === 'late') throw new CallFailure('no-sound');
}
