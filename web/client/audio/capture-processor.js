/**
 * Captures the microphone on the audio thread: mono, at a sample rate of Opus, in packets of 20 ms, sent to the worker.
 *
 * Inputs: the microphone, and what is played. Options: `codecRateHz`. Port, in: `{port}` to the worker, `{muted}`, and
 * `{cancelsEcho}`: the browser's echo canceller is on. Port, out: `{span, rms}` of the microphone, muted or not, and
 * `{isEchoHeard}` when the loudspeaker starts or stops being heard in the microphone.
 */

import { PACKET_MS } from '../net/protocol.js';
import { EchoDetector } from './echo-detector.js';
import { EchoWarmUpGate } from './echo-warm-up-gate.js';
import { LevelMeter } from './level-meter.js';
import { Packetizer } from './packetizer.js';
import { Resampler } from './resampler.js';

class CaptureProcessor extends AudioWorkletProcessor {
  /** @type {MessagePort | null} */
  #worker = null;
  #microphoneMeter = new LevelMeter((span, rms) => this.#onLevel(span, rms));
  #playedMeter = new LevelMeter((_, rms) => (this.#playedRms = rms));
  #echoDetector = new EchoDetector((isEchoHeard) => this.port.postMessage({ isEchoHeard }));
  #warmUpGate = new EchoWarmUpGate();
  #packetizer;
  #resampler;
  #playedRms = 0;
  #gain = 1;
  #muted = false;
  #cancelsEcho = false;
  #microphone = new Float32Array(128);
  #played = new Float32Array(128);

  /** @param {{processorOptions: {codecRateHz: number}}} options */
  constructor({ processorOptions: { codecRateHz } }) {
    super();
    this.#packetizer = new Packetizer((codecRateHz * PACKET_MS) / 1000);
    this.#resampler = codecRateHz === sampleRate ? null : new Resampler(sampleRate, codecRateHz);
    this.port.onmessage = ({ data }) => {
      this.#worker = data.port ?? this.#worker;
      this.#muted = data.muted ?? this.#muted;
      this.#cancelsEcho = data.cancelsEcho ?? this.#cancelsEcho;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([microphone, player]) {
    mix(microphone, this.#microphone);
    mix(player, this.#played);
    this.#playedMeter.add(this.#played, currentFrame);
    this.#microphoneMeter.add(this.#microphone, currentFrame);
    this.#gate();
    const samples = this.#resampler ? this.#resampler.process(this.#microphone) : this.#microphone;
    this.#packetizer.push(samples, (packet) => this.#worker?.postMessage(packet, [packet.buffer]));
    return true;
  }

  /** Closed sends silence, because the model's clock is the audio it receives. Opens and closes with a ramp over one block. */
  #gate() {
    const block = this.#microphone;
    const isWarmingUp = this.#warmUpGate.isClosed(rootMeanSquare(this.#played), rootMeanSquare(block), block.length / sampleRate);
    const from = this.#gain;
    const to = this.#muted || (isWarmingUp && this.#cancelsEcho) ? 0 : 1;
    this.#gain = to;
    if (from === 1 && to === 1) return;
    for (let i = 0; i < block.length; i++) block[i] *= from + ((to - from) * (i + 1)) / block.length;
  }

  /** @param {number} span @param {number} rms */
  #onLevel(span, rms) {
    this.port.postMessage({ span, rms });
    this.#echoDetector.add(rms, this.#playedRms);
  }
}

/** The mean of the channels; silence where there are none. @param {Float32Array[]} channels @param {Float32Array} mono */
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
