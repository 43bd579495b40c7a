/**
 * The microphone's end of the audio thread: mono, at a rate Opus knows, in packets of 20 ms, straight to the worker.
 *
 * Inputs: the microphone, and what is played. Options: `codecRateHz`. Port: takes `{port}`, the worker's, `{muted}` and
 * `{cancelled}`, whether the browser cancels echoes and needs time to learn that; tells `{span, rms}` for the picture,
 * of what the microphone hears, muted or not, and `{leaks}` when the loudspeaker begins or ceases to be heard in it.
 */

import { PACKET_MS } from '../net/protocol.js';
import { LeakDetector } from './leak-detector.js';
import { LevelMeter } from './level-meter.js';
import { Packetizer } from './packetizer.js';
import { Resampler } from './resampler.js';
import { WarmUp } from './warm-up.js';

class CaptureProcessor extends AudioWorkletProcessor {
  /** @type {MessagePort | null} */
  #worker = null;
  #heardMeter = new LevelMeter((span, rms) => this.#onHeard(span, rms));
  #playedMeter = new LevelMeter((_, rms) => (this.#playedRms = rms));
  #leaks = new LeakDetector((leaks) => this.port.postMessage({ leaks }));
  #warmUp = new WarmUp();
  #packetizer;
  #resampler;
  #playedRms = 0;
  #gain = 1;
  #muted = false;
  #cancelled = false;
  #heard = new Float32Array(128);
  #played = new Float32Array(128);

  /** @param {{processorOptions: {codecRateHz: number}}} options */
  constructor({ processorOptions: { codecRateHz } }) {
    super();
    this.#packetizer = new Packetizer((codecRateHz * PACKET_MS) / 1000);
    this.#resampler = codecRateHz === sampleRate ? null : new Resampler(sampleRate, codecRateHz);
    this.port.onmessage = ({ data }) => {
      this.#worker = data.port ?? this.#worker;
      this.#muted = data.muted ?? this.#muted;
      this.#cancelled = data.cancelled ?? this.#cancelled;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([microphone, player]) {
    mix(microphone, this.#heard);
    mix(player, this.#played);
    this.#playedMeter.add(this.#played, currentFrame);
    this.#heardMeter.add(this.#heard, currentFrame);
    this.#gate();
    const samples = this.#resampler ? this.#resampler.process(this.#heard) : this.#heard;
    this.#packetizer.push(samples, (packet) => this.#worker?.postMessage(packet, [packet.buffer]));
    return true;
  }

  /** Closed is silence, not nothing: the model's clock goes on. Opens and closes within one block, without a click. */
  #gate() {
    const block = this.#heard;
    const isLearning = this.#warmUp.isClosed(rootMeanSquare(this.#played), rootMeanSquare(block), block.length / sampleRate);
    const from = this.#gain;
    const to = this.#muted || (isLearning && this.#cancelled) ? 0 : 1;
    this.#gain = to;
    if (from === 1 && to === 1) return;
    for (let i = 0; i < block.length; i++) block[i] *= from + ((to - from) * (i + 1)) / block.length;
  }

  /** @param {number} span @param {number} rms */
  #onHeard(span, rms) {
    this.port.postMessage({ span, rms });
    this.#leaks.add(rms, this.#playedRms);
  }
}

/** The mean of the channels; silence when there is none. @param {Float32Array[]} channels @param {Float32Array} mono */
function mix(channels, mono) {
  mono.fill(0);
  for (const channel of channels) {
    for (let i = 0; i < channel.length; i++) mono[i] += channel[i] / channels.length;
  }
}

/** @param {Float32Array} block */
function rootMeanSquare(block) {
  let sum = 0;
  for (const sample of block) sum += sample * sample;
  return Math.sqrt(sum / block.length);
}

registerProcessor('capture', CaptureProcessor);
