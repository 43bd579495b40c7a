/**
 * The caller's microphone and loudspeaker: opens them, and follows as devices are plugged in and out.
 *
 * The chosen device is used whenever it is present, else the system default. Without any microphone the graph stays open and
 * sends silence. Knows no call. Reports by `emit(type, detail)` with the events of `parley.js`; their times are on a clock
 * that goes on when the graph is replaced: `timeS`, and `span` of 1024 samples.
 *
 * @typedef {import('./microphone.js').Processing} Processing
 * @typedef {'microphone' | 'speaker'} DeviceKind
 */

import { listDevices } from './device-list.js';
import { AudioGraph } from './graph.js';
import { LevelMeter } from './level-meter.js';
import { FULL_PROCESSING, closeMicrophone, openMicrophone, setAudioSession } from './microphone.js';
import { canChooseSpeaker } from './speaker.js';

const SILENT_AFTER_S = 2.5; // of samples that are all zero, which no microphone in use gives
const PLAY_OUT_TIMEOUT_MS = 1000; // longer than the usual depth of the buffer

export class AudioDevices {
  /** @type {AudioGraph | null} while open */
  graph = null;
  /** Called with a graph that replaces the previous one. @type {(graph: AudioGraph) => void} */
  onReplaced = () => {};
  /** Called twice a second. @type {(report: import('./graph.js').BufferReport, deviceMs: number) => void} */
  onBuffer = () => {};
  /** What the playback buffer should hold at first in ms, as an earlier graph has found it; undefined: not known. @type {number | undefined} */
  seedMs;

  /** @type {{microphone: string, speaker: string}} device ids; '' is the system default */
  #wanted;
  /** @type {Processing} */
  #processing;
  #volume;
  #muted = false;
  #emit;
  /** @type {Promise<AudioGraph> | null} */
  #opening = null;
  /** Changes of the microphone run one after the other. @type {Promise<unknown>} */
  #changing = Promise.resolve();
  #defaultMicrophone = ''; // its label
  #isMuted = false; // by the system or a switch
  #reported = { isSilent: false, isMuted: false };
  #zeroSpans = 0; // in a row
  #interruptedAtMs = 0; // 0 while the sound runs
  #spansBefore = 0; // of earlier graphs
  #newestSpan = 0;
  #secondsBefore = 0; // of earlier graphs

  /**
   * @param {{microphone: string, speaker: string, processing: Partial<Processing>, volume: number, bufferMs?: number}} wanted
   * @param {(type: string, detail: object) => void} emit
   */
  constructor({ microphone, speaker, processing, volume, bufferMs }, emit) {
    this.#wanted = { microphone, speaker };
    this.#processing = { ...FULL_PROCESSING, ...processing };
    this.#volume = volume;
    this.seedMs = bufferMs;
    this.#emit = emit;
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.#onDeviceChange());
  }

  /** Seconds on the clock of the events; 0 while closed. */
  get timeS() {
    return this.graph ? this.timeAt(this.graph.context.currentTime) : 0;
  }

  /** From the clock of the present graph's context to that of the events. @param {number} contextS */
  timeAt(contextS) {
    return this.#secondsBefore + contextS;
  }

  get processing() {
    return { ...this.#processing };
  }

  /** The microphones and loudspeakers to choose from; no loudspeakers where the browser offers no choice. */
  async list() {
    const devices = await listDevices();
    return canChooseSpeaker() ? devices : { ...devices, speakers: [] };
  }

  /**
   * @returns {Promise<AudioGraph | null>} the graph, opened now if there is none; null when it was closed meanwhile
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

  /** Resolves when everything in the buffer was played, or after a timeout: a sound card may have stopped. */
  async playOut() {
    const { graph } = this;
    if (!graph) return;
    const latencyMs = graph.outputLatencyMs;
    await new Promise((resolve) => {
      graph.onPlayedOut = () => setTimeout(resolve, latencyMs);
      graph.playOut();
      setTimeout(resolve, PLAY_OUT_TIMEOUT_MS);
    });
  }

  close() {
    this.#opening = null;
    this.graph?.close();
    this.graph = null;
    setAudioSession('auto');
    this.#spansBefore = this.#newestSpan = this.#secondsBefore = 0;
    this.#zeroSpans = this.#interruptedAtMs = 0;
    this.#isMuted = false;
    this.#reported = { isSilent: false, isMuted: false };
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

  /** @param {string} deviceId @throws {CallFailure} the previous one stays in use */
  setMicrophone(deviceId) {
    return this.#change({ deviceId });
  }

  /** @param {Partial<Processing>} processing @throws {CallFailure} nothing has changed */
  setProcessing(processing) {
    return this.#change({ processing });
  }

  /** @param {string} deviceId @throws {DOMException} the previous one stays in use */
  async setSpeaker(deviceId) {
    await this.graph?.setSpeaker(deviceId);
    this.#wanted.speaker = deviceId;
  }

  // ── Opening

  async #openGraph() {
    setAudioSession('play-and-record');
    const stream = await openMicrophone(this.#wanted.microphone, this.#processing);
    try {
      this.#defaultMicrophone = defaultLabel(await this.list());
      return await AudioGraph.open(stream, this.seedMs);
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
    const { speaker } = this.#wanted;
    if (speaker) graph.setSpeaker(speaker).catch(() => this.#emitDevice('speaker', 'lost', ''));
    graph.onLevel = (voice, { span, rms }) => {
      this.#emit('level', { voice, rms, ...this.#onOurClock(span) });
      if (voice === 'user') this.#listen(rms, graph.context.sampleRate);
    };
    graph.onMicrophoneMuted = (isMuted) => this.#onMicrophoneMuted(isMuted);
    graph.onInterrupted = (isInterrupted) => this.#onInterrupted(isInterrupted);
    graph.onText = ({ text, span }) => this.#emit('text', { text, ...this.#onOurClock(span) });
    graph.onBuffer = (report) => {
      this.seedMs = report.seedMs;
      this.onBuffer(report, graph.outputLatencyMs);
    };
    graph.onEcho = (isHeard) => this.#emit('echo', { isHeard });
    this.#onMicrophoneMuted(graph.stream.getAudioTracks()[0]?.muted ?? false);
    graph.onMicrophoneLost = (stream) => void this.#onMicrophoneLost(stream);
  }

  /** A span on the graph's clock → the span and the time on ours. @param {number} span */
  #onOurClock(span) {
    const counted = this.#spansBefore + span;
    this.#newestSpan = Math.max(this.#newestSpan, counted);
    const rateHz = this.graph?.context.sampleRate ?? 48000;
    return { span: counted, timeS: this.#secondsBefore + (span * LevelMeter.SPAN_SAMPLES) / rateHz };
  }

  // ── Whether there is sound at all

  /** @param {number} rms of one span @param {number} rateHz */
  #listen(rms, rateHz) {
    this.#zeroSpans = rms > 0 ? 0 : this.#zeroSpans + 1;
    this.#reportSilence((this.#zeroSpans * LevelMeter.SPAN_SAMPLES) / rateHz >= SILENT_AFTER_S);
  }

  /** @param {boolean} isMuted */
  #onMicrophoneMuted(isMuted) {
    this.#isMuted = isMuted;
    this.#zeroSpans = 0;
    this.#reportSilence(false);
  }

  /** @param {boolean} isZero */
  #reportSilence(isZero) {
    const isSilent = this.#isMuted || isZero;
    const report = { isSilent, isMuted: this.#isMuted };
    if (isSilent === this.#reported.isSilent && report.isMuted === this.#reported.isMuted) return;
    this.#reported = report;
    this.#emit('silence', report);
  }

  /** @param {boolean} isInterrupted */
  #onInterrupted(isInterrupted) {
    const nowMs = performance.now();
    const lastedS = this.#interruptedAtMs ? (nowMs - this.#interruptedAtMs) / 1000 : 0;
    this.#interruptedAtMs = isInterrupted ? nowMs : 0;
    this.#emit('interrupted', { isInterrupted, lastedS });
  }

  // ── Changing

  /** @param {{deviceId?: string, processing?: Partial<Processing>}} change all else stays as the previous change leaves it */
  async #change(change) {
    if (!this.graph) return this.#save(change);
    const done = this.#changing.then(async () => {
      await this.#swap(change.deviceId ?? this.#wanted.microphone, { ...this.#processing, ...change.processing });
      this.#save(change);
    });
    this.#changing = done.catch(() => {});
    await done;
  }

  /** @param {{deviceId?: string, processing?: Partial<Processing>}} change */
  #save({ deviceId = this.#wanted.microphone, processing }) {
    this.#wanted.microphone = deviceId;
    this.#processing = { ...this.#processing, ...processing };
  }

  /** @param {string} deviceId @param {Processing} processing */
  async #swap(deviceId, processing) {
    const stream = await openMicrophone(deviceId, processing);
    if (!this.graph) return closeMicrophone(stream); // it was closed meanwhile
    try {
      this.graph.setMicrophone(stream);
    } catch {
      await this.#replaceGraph(stream);
    }
    this.#onMicrophoneMuted(stream.getAudioTracks()[0]?.muted ?? false);
    this.#emitDevice('microphone', 'changed', stream.getAudioTracks()[0]?.label ?? '');
  }

  /** This browser needs a context of the new microphone's sample rate. @param {MediaStream} stream */
  async #replaceGraph(stream) {
    const graph = await AudioGraph.open(stream, this.seedMs);
    const old = this.graph;
    if (!old) return graph.close();
    this.#secondsBefore += old.context.currentTime;
    this.#spansBefore = this.#newestSpan;
    old.close();
    this.#attach(graph);
    this.onReplaced(graph);
  }

  // ── Following changes of devices

  /** @param {MediaStream} stream */
  async #onMicrophoneLost(stream) {
    await this.#changing;
    if (this.graph?.stream === stream) await this.#recover(); // it has not been replaced yet
  }

  /** Use the chosen device, or else the system default. */
  async #recover() {
    try {
      await this.#change({});
    } catch {
      this.#emitDevice('microphone', 'lost', '');
    }
  }

  async #onDeviceChange() {
    const devices = await this.list();
    this.#emit('devices', devices);
    await this.#changing;
    const { graph } = this;
    if (!graph) return;
    const before = this.#defaultMicrophone;
    this.#defaultMicrophone = defaultLabel(devices);
    if (this.#wantsChange(graph, devices, before)) await this.#recover();
    await this.#followSpeaker(graph, devices);
  }

  /** @param {AudioGraph} graph @param {import('./device-list.js').DeviceList} devices @param {string} defaultBefore */
  #wantsChange(graph, { microphones }, defaultBefore) {
    if (!microphones.length) return false; // there is no other one
    const track = graph.stream.getAudioTracks()[0];
    if (!track || track.readyState === 'ended') return true;
    const { microphone } = this.#wanted;
    const isThere = microphones.some(({ id }) => id === microphone);
    if (microphone && isThere) return track.getSettings().deviceId !== microphone; // it was plugged in again
    return this.#defaultMicrophone !== defaultBefore; // the system default has changed
  }

  /** @param {AudioGraph} graph @param {import('./device-list.js').DeviceList} devices */
  async #followSpeaker(graph, { speakers }) {
    const chosen = speakers.find(({ id }) => id === this.#wanted.speaker) ?? { id: '', label: '' };
    if (chosen.id === graph.speaker) return;
    try {
      await graph.setSpeaker(chosen.id);
      this.#emitDevice('speaker', 'changed', chosen.label);
    } catch {
      this.#emitDevice('speaker', 'lost', '');
    }
  }

  /** @param {DeviceKind} kind @param {'changed' | 'lost'} change @param {string} label */
  #emitDevice(kind, change, label) {
    this.#emit('device', { kind, change, label });
  }
}

/** @param {import('./device-list.js').DeviceList} devices */
function defaultLabel({ microphones }) {
  return microphones[0]?.label ?? '';
}
