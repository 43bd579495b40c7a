/**
 * The loudspeaker's end of the audio thread: decoded packets straight from the worker, through the jitter ring.
 *
 * Port: takes `{port}`, the worker's; tells `{span, rms}` for the picture and, twice a second, `{buffer}`.
 */

import { JitterRing } from './jitter-ring.js';
import { LevelMeter } from './level-meter.js';
import { Resampler } from './resampler.js';

const SPANS_PER_REPORT = 24;

class PlaybackProcessor extends AudioWorkletProcessor {
  #ring = new JitterRing(sampleRate);
  #meter = new LevelMeter((span, rms) => this.#tell(span, rms));
  /** @type {Resampler | null} */
  #resampler = null;
  #decodedHz = sampleRate;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      data.port.onmessage = (/** @type {MessageEvent<{samples: Float32Array, rateHz: number}>} */ { data: decoded }) =>
        this.#push(decoded.samples, decoded.rateHz);
    };
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, [channels]) {
    this.#ring.pull(channels[0]);
    this.#meter.add(channels[0], currentFrame);
    return true;
  }

  /** @param {Float32Array} samples @param {number} rateHz what the decoder chose */
  #push(samples, rateHz) {
    if (rateHz !== this.#decodedHz) {
      this.#decodedHz = rateHz;
      this.#resampler = rateHz === sampleRate ? null : new Resampler(rateHz, sampleRate);
    }
    this.#ring.push(this.#resampler ? this.#resampler.process(samples) : samples);
  }

  /** @param {number} span @param {number} rms */
  #tell(span, rms) {
    this.port.postMessage({ span, rms });
    if (span % SPANS_PER_REPORT) return;
    const { lowWaterMs, targetMs, underruns } = this.#ring;
    this.port.postMessage({ buffer: { lowWaterMs, targetMs, underruns } });
  }
}

registerProcessor('playback', PlaybackProcessor);
