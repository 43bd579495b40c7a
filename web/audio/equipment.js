/**
 * A caller's microphone and loudspeaker: opened as they wish, and kept going as devices come and go.
 *
 * What was wished for is taken whenever it is there, else the system's choice; without any microphone the graph stays,
 * and what it hears is silence. Knows no call. Everything it tells goes through `tell(type, detail)`, in the events of
 * `parley.js`, with times on a clock that goes on when the graph is replaced: `timeS`, and spans of 1024 samples.
 *
 * @typedef {import('./microphone.js').Processing} Processing
 * @typedef {'microphone' | 'speaker'} Kind
 */

import { listDevices } from './devices.js';
import { AudioGraph } from './graph.js';
import { LevelMeter } from './level-meter.js';
import { FULL_PROCESSING, closeMicrophone, openMicrophone, setAudioSession } from './microphone.js';
import { canChooseSpeaker } from './speaker.js';

const PLAY_OUT_MS = 1000; // more than the buffer keeps

export class Equipment {
  /** @type {AudioGraph | null} while open */
  graph = null;
  /** Called when a graph has to take the place of another one. @type {(graph: AudioGraph) => void} */
  onReplaced = () => {};
  /** Called twice a second. @type {(report: import('./graph.js').BufferReport, deviceMs: number) => void} */
  onBuffer = () => {};

  /** @type {{microphone: string, speaker: string}} device ids; '' is the system's choice */
  #wishes;
  /** @type {Processing} */
  #processing;
  #volume;
  #muted = false;
  #tell;
  /** @type {Promise<AudioGraph> | null} */
  #opening = null;
  /** One change of microphone after the other. @type {Promise<unknown>} */
  #changing = Promise.resolve();
  #defaultMicrophone = ''; // the label of what the system would choose
  #spansBefore = 0; // on graphs before this one
  #newestSpan = 0;
  #secondsBefore = 0;

  /**
   * @param {{microphone: string, speaker: string, processing: Partial<Processing>, volume: number}} wishes
   * @param {(type: string, detail: object) => void} tell
   */
  constructor({ microphone, speaker, processing, volume }, tell) {
    this.#wishes = { microphone, speaker };
    this.#processing = { ...FULL_PROCESSING, ...processing };
    this.#volume = volume;
    this.#tell = tell;
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#onDeviceChange());
  }

  /** Seconds on the clock of what is told; 0 while closed. */
  get timeS() {
    return this.graph ? this.#secondsBefore + this.graph.context.currentTime : 0;
  }

  get processing() {
    return { ...this.#processing };
  }

  /** The microphones and loudspeakers to choose from; no speakers where the browser lets nobody choose. */
  async list() {
    const devices = await listDevices();
    return canChooseSpeaker() ? devices : { ...devices, speakers: [] };
  }

  /**
   * @returns {Promise<AudioGraph | null>} the one graph, opened now if there is none; null when closed meanwhile
   * @throws {import('../failure.js').CallFailure}
   */
  async open() {
    if (this.graph) return this.graph;
    const opening = (this.#opening ??= this.#openGraph());
    try {
      const graph = await opening;
      if (this.#opening === opening) this.#attach(graph);
      else if (graph !== this.graph) graph.close();
    } finally {
      if (this.#opening === opening) this.#opening = null;
    }
    return this.graph;
  }

  /** Resolves when all that has come was heard, or soon: a sound card that stands still keeps nobody. */
  async playOut() {
    const { graph } = this;
    if (!graph) return;
    const latencyMs = graph.outputLatencyMs;
    await new Promise((resolve) => {
      graph.onPlayedOut = () => setTimeout(resolve, latencyMs);
      graph.playOut();
      setTimeout(resolve, PLAY_OUT_MS);
    });
  }

  close() {
    this.#opening = null;
    this.graph?.close();
    this.graph = null;
    setAudioSession('auto');
    this.#spansBefore = this.#newestSpan = this.#secondsBefore = 0;
  }

  /** @param {boolean} muted */
  set muted(muted) {
    this.#muted = muted;
    if (this.graph) this.graph.muted = muted;
  }

  /** @param {number} volume 0…1 */
  set volume(volume) {
    this.#volume = Math.min(1, Math.max(0, volume));
    if (this.graph) this.graph.volume = this.#volume;
  }

  get volume() {
    return this.#volume;
  }

  /** @param {string} deviceId @throws {CallFailure} and the old one goes on */
  setMicrophone(deviceId) {
    return this.#change({ deviceId });
  }

  /** @param {Partial<Processing>} processing @throws {CallFailure} and all stays as it was */
  setProcessing(processing) {
    return this.#change({ processing });
  }

  /** @param {string} deviceId @throws {DOMException} and the old one goes on */
  async setSpeaker(deviceId) {
    await this.graph?.setSpeaker(deviceId);
    this.#wishes.speaker = deviceId;
  }

  // ── Opening

  async #openGraph() {
    setAudioSession('play-and-record');
    const stream = await openMicrophone(this.#wishes.microphone, this.#processing);
    try {
      this.#defaultMicrophone = defaultLabel(await this.list());
      return await AudioGraph.open(stream);
    } catch (error) {
      closeMicrophone(stream);
      throw error;
    }
  }

  /** @param {AudioGraph} graph */
  #attach(graph) {
    this.graph = graph;
    graph.volume = this.#volume;
    graph.muted = this.#muted;
    const { speaker } = this.#wishes;
    if (speaker) graph.setSpeaker(speaker).catch(() => this.#told('speaker', 'lost', ''));
    graph.onLevel = (voice, { span, rms }) => this.#tell('level', { voice, rms, ...this.#place(span) });
    graph.onWords = ({ text, span }) => this.#tell('words', { text, ...this.#place(span) });
    graph.onBuffer = (report) => this.onBuffer(report, graph.outputLatencyMs);
    graph.onLeak = (heard) => this.#tell('leak', { heard });
    graph.onMicrophoneLost = (stream) => void this.#onMicrophoneLost(stream);
  }

  /** Where a span of this graph's clock lies on ours. @param {number} span */
  #place(span) {
    const counted = this.#spansBefore + span;
    this.#newestSpan = Math.max(this.#newestSpan, counted);
    const rateHz = this.graph?.context.sampleRate ?? 48000;
    return { span: counted, timeS: this.#secondsBefore + (span * LevelMeter.SPAN_SAMPLES) / rateHz };
  }

  // ── Changing

  /** @param {{deviceId?: string, processing?: Partial<Processing>}} wish all else is as the change before leaves it */
  async #change(wish) {
    if (!this.graph) return this.#keep(wish);
    const change = this.#changing.then(async () => {
      await this.#swap(wish.deviceId ?? this.#wishes.microphone, { ...this.#processing, ...wish.processing });
      this.#keep(wish);
    });
    this.#changing = change.catch(() => {});
    await change;
  }

  /** @param {{deviceId?: string, processing?: Partial<Processing>}} wish */
  #keep({ deviceId = this.#wishes.microphone, processing }) {
    this.#wishes.microphone = deviceId;
    this.#processing = { ...this.#processing, ...processing };
  }

  /** @param {string} deviceId @param {Processing} processing */
  async #swap(deviceId, processing) {
    const stream = await openMicrophone(deviceId, processing);
    if (!this.graph) return closeMicrophone(stream); // closed meanwhile
    try {
      this.graph.setMicrophone(stream);
    } catch {
      await this.#replaceGraph(stream);
    }
    this.#told('microphone', 'changed', stream.getAudioTracks()[0]?.label ?? '');
  }

  /** This browser wants a context of the new microphone's rate. @param {MediaStream} stream */
  async #replaceGraph(stream) {
    const graph = await AudioGraph.open(stream);
    const old = this.graph;
    if (!old) return graph.close();
    this.#secondsBefore += old.context.currentTime;
    this.#spansBefore = this.#newestSpan;
    old.close();
    this.#attach(graph);
    this.onReplaced(graph);
  }

  // ── Following

  /** @param {MediaStream} stream */
  async #onMicrophoneLost(stream) {
    await this.#changing;
    if (this.graph?.stream === stream) await this.#recover(); // nothing has taken its place yet
  }

  /** What was wished for, or the system's choice, takes over. */
  async #recover() {
    try {
      await this.#change({});
    } catch {
      this.#told('microphone', 'lost', '');
    }
  }

  async #onDeviceChange() {
    const devices = await this.list();
    this.#tell('devices', devices);
    await this.#changing;
    const { graph } = this;
    if (!graph) return;
    const before = this.#defaultMicrophone;
    this.#defaultMicrophone = defaultLabel(devices);
    if (this.#wantsChange(graph, devices, before)) await this.#recover();
    await this.#followSpeaker(graph, devices);
  }

  /** @param {AudioGraph} graph @param {import('./devices.js').Devices} devices @param {string} defaultBefore */
  #wantsChange(graph, { microphones }, defaultBefore) {
    if (!microphones.length) return false; // nothing to change to
    const track = graph.stream.getAudioTracks()[0];
    if (!track || track.readyState === 'ended') return true;
    const { microphone } = this.#wishes;
    const isThere = microphones.some(({ id }) => id === microphone);
    if (microphone && isThere) return track.getSettings().deviceId !== microphone; // plugged in again
    return this.#defaultMicrophone !== defaultBefore; // the system chose another one
  }

  /** @param {AudioGraph} graph @param {import('./devices.js').Devices} devices */
  async #followSpeaker(graph, { speakers }) {
    const wished = speakers.find(({ id }) => id === this.#wishes.speaker) ?? { id: '', label: '' };
    if (wished.id === graph.speaker) return;
    try {
      await graph.setSpeaker(wished.id);
      this.#told('speaker', 'changed', wished.label);
    } catch {
      this.#told('speaker', 'lost', '');
    }
  }

  /** @param {Kind} kind @param {'changed' | 'lost'} change @param {string} label */
  #told(kind, change, label) {
    this.#tell('device', { kind, change, label });
  }
}

/** @param {import('./devices.js').Devices} devices */
function defaultLabel({ microphones }) {
  return microphones[0]?.label ?? '';
}
