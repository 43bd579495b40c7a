/**
 * The microphone's end of the audio thread: mono, at a rate Opus knows, in packets of 20 ms, straight to the worker.
 *
 * Options: `codecRateHz`. Port: takes `{port}`, the worker's, and `{muted}`; tells `{span, rms}` for the picture, of
 * what the microphone hears, muted or not.
 */

import { PACKET_MS } from '../net/protocol.js';
import { LevelMeter } from './level-meter.js';
import { Packetizer } from './packetizer.js';
import { Resampler } from './resampler.js';

class CaptureProcessor extends AudioWorkletProcessor {
  /** @type {MessagePort | null} */
  #worker = null;
  #meter = new LevelMeter((span, rms) => this.port.postMessage({ span, rms }));
  #packetizer;
  #resampler;
  #gain = 1;
  #muted = false;
  #mono = new Float32Array(128);

  /** @param {{processorOptions: {codecRateHz: number}}} options */
  constructor({ processorOptions: { codecRateHz } }) {
    super();
    this.#packetizer = new Packetizer((codecRateHz * PACKET_MS) / 1000);
    this.#resampler = codecRateHz === sampleRate ? null : new Resampler(sampleRate, codecRateHz);
    this.port.onmessage = ({ data }) => {
      if (data.port) this.#worker = data.port;
      else this.#muted = data.muted;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    this.#mix(channels);
    this.#meter.add(this.#mono, currentFrame);
    this.#gate();
    const samples = this.#resampler ? this.#resampler.process(this.#mono) : this.#mono;
    this.#packetizer.push(samples, (packet) => this.#worker?.postMessage(packet, [packet.buffer]));
    return true;
  }

  /** The mean of the channels; silence when the source has none, so that the model's clock goes on. @param {Float32Array[]} channels */
  #mix(channels) {
    this.#mono.fill(0);
    for (const channel of channels) {
      for (let i = 0; i < channel.length; i++) this.#mono[i] += channel[i] / channels.length;
    }
  }

  /** Muted is silence, not nothing, for the same reason; it comes and goes within one block, without a click. */
  #gate() {
    const from = this.#gain;
    const to = this.#muted ? 0 : 1;
    this.#gain = to;
    if (from === 1 && to === 1) return;
    const mono = this.#mono;
    for (let i = 0; i < mono.length; i++) mono[i] *= from + ((to - from) * (i + 1)) / mono.length;
  }
}

registerProcessor('capture', CaptureProcessor);
