/**
 * Plays on the audio thread: decoded packets come from the worker and pass through the jitter buffer.
 *
 * Options: `seedMs`, what the buffer should hold at first. Port, in: `{port}` to the worker, and `{playOut: true}`. Port, out: `{span, rms}` of what is played, `{text: {text, span}}`
 * when a text piece begins to sound, `{buffer}` twice a second and, after `playOut`, `{playedOut: true}` when the buffer is empty.
 */

import { PACKET_MS } from '../net/protocol.js';
import { RunningMedian } from '../running-median.js';
import { JitterBuffer } from './jitter-buffer.js';
import { LevelMeter } from './level-meter.js';
import { Resampler } from './resampler.js';

const SPANS_PER_REPORT = 24;

/**
 * @typedef {{samples: Float32Array<ArrayBuffer> | null, rateHz?: number, opensFrame?: boolean, text: string}} DecodedPacket
 *   `samples` are null where the packet could not be decoded; `text` begins to sound with it
 */

class PlaybackProcessor extends AudioWorkletProcessor {
  #buffer;
  #meter = new LevelMeter((span, rms) => this.#report(span, rms));
  #waitMs = new RunningMedian(); // the buffer's depth when a frame arrives; a median, as the round trip is
  /** @type {Resampler | null} */
  #resampler = null;
  #decodedHz = sampleRate;
  #isPlayingOut = false;
  /** @type {{at: number, text: string}[]} text pieces in the buffer, each with its position there */
  #pendingText = [];

  /** @param {{processorOptions: {seedMs?: number}}} options */
  constructor({ processorOptions: { seedMs } }) {
    super();
    this.#buffer = new JitterBuffer(sampleRate, { seedMs });
    this.port.onmessage = ({ data }) => {
      this.#isPlayingOut = Boolean(data.playOut);
      if (data.port) data.port.onmessage = (/** @type {MessageEvent<DecodedPacket>} */ { data: packet }) => this.#push(packet);
    };
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [channels]) {
    this.#buffer.pull(channels[0]);
    this.#meter.add(channels[0], currentFrame);
    while (this.#pendingText.length && this.#pendingText[0].at < this.#buffer.playedTo) this.#reportText(this.#pendingText.shift());
    if (this.#isPlayingOut && this.#buffer.depthMs === 0) {
      this.#isPlayingOut = false;
      this.port.postMessage({ playedOut: true });
    }
    return true;
  }

  /** @param {DecodedPacket} packet at the rate that the decoder chose */
  #push({ samples, rateHz, opensFrame, text }) {
    if (rateHz && rateHz !== this.#decodedHz) {
      this.#decodedHz = rateHz;
      this.#resampler = rateHz === sampleRate ? null : new Resampler(rateHz, sampleRate);
    }
    if (text) this.#pendingText.push({ at: this.#buffer.filledTo, text });
    if (opensFrame) this.#waitMs.add(this.#buffer.depthMs);
    if (!samples) this.#buffer.pushConcealed((sampleRate * PACKET_MS) / 1000);
    else this.#buffer.push(this.#resampler ? this.#resampler.process(samples) : samples);
  }

  /** @param {{text: string} | undefined} piece */
  #reportText(piece) {
    const span = Math.floor(currentFrame / LevelMeter.SPAN_SAMPLES);
    this.port.postMessage({ text: { text: piece?.text, span } });
  }

  /** @param {number} span @param {number} rms */
  #report(span, rms) {
    this.port.postMessage({ span, rms });
    if (span % SPANS_PER_REPORT) return;
    const { underruns, concealedSamples, seedMs } = this.#buffer;
    const concealed = Math.round((concealedSamples * 1000) / sampleRate / PACKET_MS);
    this.port.postMessage({ buffer: { waitMs: this.#waitMs.value ?? 0, underruns, concealed, seedMs } });
  }
}

registerProcessor('playback', PlaybackProcessor);
