/**
 * Both voices on one clock, as 16-bit samples for a file: the microphone left, what is played right.
 *
 * Options: `rateHz` of the file. Port: tells an `ArrayBuffer` of interleaved samples ten times a second.
 */

import { Resampler } from './resampler.js';

const TOLD_PER_S = 10;
const SILENCE = new Float32Array(128);

class RecordingProcessor extends AudioWorkletProcessor {
  #resamplers;
  #pairs;
  #filled = 0;

  /** @param {{processorOptions: {rateHz: number}}} options */
  constructor({ processorOptions: { rateHz } }) {
    super();
    this.#resamplers = rateHz === sampleRate ? null : [new Resampler(sampleRate, rateHz), new Resampler(sampleRate, rateHz)];
    this.#pairs = new Int16Array((rateHz / TOLD_PER_S) * 2);
  }

  /** @param {Float32Array[][]} inputs mono, or nothing where nothing is connected */
  process(inputs) {
    const [left, right] = inputs.map(([samples], i) => this.#resamplers?.[i].process(samples ?? SILENCE) ?? samples ?? SILENCE);
    for (let i = 0; i < left.length; i++) {
      this.#pairs[this.#filled++] = toInt16(left[i]);
      this.#pairs[this.#filled++] = toInt16(right[i]);
      if (this.#filled === this.#pairs.length) this.#tell();
    }
    return true;
  }

  #tell() {
    const full = this.#pairs;
    this.#pairs = new Int16Array(full.length);
    this.#filled = 0;
    this.port.postMessage(full.buffer, [full.buffer]);
  }
}

/** @param {number} sample −1…1 */
function toInt16(sample) {
  return Math.round(Math.min(1, Math.max(-1, sample)) * 32767);
}

registerProcessor('recording', RecordingProcessor);
