/**
 * The microphone's end of the audio thread: mono, at a rate Opus knows, in packets of 20 ms, straight to the worker.
 *
 * Options: `codecRateHz`. Port: takes `{port}`, the worker's; tells `{span, rms}` for the picture.
 */

import { LevelMeter } from './level-meter.js';
import { Packetizer } from './packetizer.js';
import { Resampler } from './resampler.js';

const PACKET_MS = 20;

class CaptureProcessor extends AudioWorkletProcessor {
  /** @type {MessagePort | null} */
  #worker = null;
  #meter = new LevelMeter((span, rms) => this.port.postMessage({ span, rms }));
  #packetizer;
  #resampler;
  #mono = new Float32Array(128);

  /** @param {{processorOptions: {codecRateHz: number}}} options */
  constructor({ processorOptions: { codecRateHz } }) {
    super();
    this.#packetizer = new Packetizer((codecRateHz * PACKET_MS) / 1000);
    this.#resampler = codecRateHz === sampleRate ? null : new Resampler(sampleRate, codecRateHz);
    this.port.onmessage = ({ data }) => (this.#worker = data.port);
  }

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    const mono = this.#mix(channels);
    this.#meter.add(mono, currentFrame);
    const samples = this.#resampler ? this.#resampler.process(mono) : mono;
    this.#packetizer.push(samples, (packet) => this.#worker?.postMessage(packet, [packet.buffer]));
    return true;
  }

  /** The mean of the channels; silence when the source has none, so that the model's clock goes on. @param {Float32Array[]} channels */
  #mix(channels) {
    if (channels.length === 1) return channels[0];
    this.#mono.fill(0);
    for (const channel of channels) {
      for (let i = 0; i < channel.length; i++) this.#mono[i] += channel[i] / channels.length;
    }
    return this.#mono;
  }
}

registerProcessor('capture', CaptureProcessor);
