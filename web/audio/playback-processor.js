/**
 * The loudspeaker's end of the audio thread: decoded packets straight from the worker, through the jitter ring.
 *
 * Port: takes `{port}`, the worker's, and `{playOut: true}`; tells `{span, rms}` for the picture, `{words: {text, span}}`
 * when they begin to sound, twice a second `{buffer}` and, after `playOut`, `{playedOut: true}` when nothing is left.
 */

import { PACKET_MS } from '../net/protocol.js';
import { RunningMedian } from '../running-median.js';
import { JitterRing } from './jitter-ring.js';
import { LevelMeter } from './level-meter.js';
import { Resampler } from './resampler.js';

const SPANS_PER_REPORT = 24;

/**
 * @typedef {{samples: Float32Array<ArrayBuffer> | null, rateHz?: number, opensFrame?: boolean, words: string}} Decoded one
 *   packet, null where it could not be decoded; `words` begin where it does
 */

class PlaybackProcessor extends AudioWorkletProcessor {
  #ring = new JitterRing(sampleRate);
  #meter = new LevelMeter((span, rms) => this.#tell(span, rms));
  #waitMs = new RunningMedian(); // as frames that come find the ring; with the round trip's median it adds up
  /** @type {Resampler | null} */
  #resampler = null;
  #decodedHz = sampleRate;
  #playsOut = false;
  /** @type {{at: number, text: string}[]} words that wait in the ring, with their place in it */
  #words = [];

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      this.#playsOut = Boolean(data.playOut);
      if (data.port) data.port.onmessage = (/** @type {MessageEvent<Decoded>} */ { data: decoded }) => this.#push(decoded);
    };
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [channels]) {
    this.#ring.pull(channels[0]);
    this.#meter.add(channels[0], currentFrame);
    while (this.#words.length && this.#words[0].at < this.#ring.playedTo) this.#speak(this.#words.shift());
    if (this.#playsOut && this.#ring.depthMs === 0) {
      this.#playsOut = false;
      this.port.postMessage({ playedOut: true });
    }
    return true;
  }

  /** @param {Decoded} decoded at whatever rate the decoder chose */
  #push({ samples, rateHz, opensFrame, words }) {
    if (rateHz && rateHz !== this.#decodedHz) {
      this.#decodedHz = rateHz;
      this.#resampler = rateHz === sampleRate ? null : new Resampler(rateHz, sampleRate);
    }
    if (words) this.#words.push({ at: this.#ring.filledTo, text: words });
    if (opensFrame) this.#waitMs.add(this.#ring.depthMs);
    if (!samples) this.#ring.pushConcealed((sampleRate * PACKET_MS) / 1000);
    else this.#ring.push(this.#resampler ? this.#resampler.process(samples) : samples);
  }

  /** @param {{text: string} | undefined} words */
  #speak(words) {
    const span = Math.floor(currentFrame / LevelMeter.SPAN_SAMPLES);
    this.port.postMessage({ words: { text: words?.text, span } });
  }

  /** @param {number} span @param {number} rms */
  #tell(span, rms) {
    this.port.postMessage({ span, rms });
    if (span % SPANS_PER_REPORT) return;
    const { underruns, concealedSamples } = this.#ring;
    const concealed = Math.round((concealedSamples * 1000) / sampleRate / PACKET_MS);
    this.port.postMessage({ buffer: { waitMs: this.#waitMs.value ?? 0, late: underruns, concealed } });
  }
}

registerProcessor('playback', PlaybackProcessor);
