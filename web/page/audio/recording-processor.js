/**
 * Records both voices on one clock as 16-bit samples: the microphone left, what is played right.
 *
 * Options: `rateHz` of the file. Port, out, ten times a second: `{samples, endS}`, an `ArrayBuffer` of interleaved samples and its
 * end on the context's clock.
 */

import { Resampler } from '../../client/audio/resampler.js';

const BUFFERS_PER_S = 10;
const SILENCE = new Float32Array(128);

class RecordingProcessor extends AudioWorkletProcessor {
  #resamplers;
  #samples;
  #filled = 0;

  /** @param {{processorOptions: {rateHz: number}}} options */
  constructor({ processorOptions: { rateHz } }) {
    super();
    this.#resamplers = rateHz === sampleRate ? null : [new Resampler(sampleRate, rateHz), new Resampler(sampleRate, rateHz)];
    this.#samples = new Int16Array((rateHz / BUFFERS_PER_S) * 2);
  }

  /** @param {Float32Array[][]} inputs each mono, or empty where nothing is connected */
  process(inputs) {
    const [left, right] = inputs.map(([samples], i) => this.#resamplers?.[i].process(samples ?? SILENCE) ?? samples ?? SILENCE);
    for (let i = 0; i < left.length; i++) {
      this.#samples[this.#filled++] = toInt16(left[i]);
      this.#samples[this.#filled++] = toInt16(right[i]);
      if (this.#filled === this.#samples.length) this.#post();
    }
    return true;
  }

  #post() {
    const full = this.#samples;
    this.#samples = new Int16Array(full.length);
    this.#filled = 0;
    const endS = (currentFrame + 128) / sampleRate;
    this.port.postMessage({ samples: full.buffer, endS }, [full.buffer]);
  }
}

/** @param {number} sample −1…1 */
function toInt16(sample) {
  return Math.round(Math.min(1, Math.max(-1, sample)) * 32767);
}

registerProcessor('recording', RecordingProcessor);
