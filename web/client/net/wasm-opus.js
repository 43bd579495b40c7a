/** Opus by libopus in WebAssembly: a `Codec` of `codec.js` for browsers without WebCodecs. See `vendor/README.md`. */

import { Application, Signal, createDecoder, createEncoder, loadLibopus } from '../vendor/libopus-wasm/index.js';

const DECODED_HZ = 48000;

/** @typedef {import('./codec.js').Codec} Codec */
/** @typedef {import('../vendor/libopus-wasm/index.js').SampleRate} SampleRate */

export async function isSupported() {
  await loadLibopus();
  return true;
}

/**
 * An encoder or a decoder. The library makes it asynchronously; input that comes before is kept.
 * @template {{free: () => void}} Handle
 * @template Input
 */
class Direction {
  #handle;
  #run;
  #onError;
  #closed = false;

  /**
   * @param {Promise<Handle>} handle
   * @param {(handle: Handle, input: Input) => void} run
   * @param {(error: Error) => void} onError
   */
  constructor(handle, run, onError) {
    this.#handle = handle;
    this.#run = run;
    this.#onError = onError;
  }

  /** @param {Input} input */
  async run(input) {
    try {
      const handle = await this.#handle;
      if (!this.#closed) this.#run(handle, input);
    } catch (error) {
      this.#onError(/** @type {Error} */ (error));
    }
  }

  flush() {
    return this.#handle;
  }

  close() {
    this.#closed = true;
    this.#handle.then((handle) => handle.free(), () => {});
  }
}

/** @extends {Direction<import('../vendor/libopus-wasm/index.js').OpusEncoderHandle, Float32Array>} */
export class Encoder extends Direction {
  /** @param {ConstructorParameters<Codec['Encoder']>} options */
  constructor(...[rateHz, onPacket, onError]) {
    const sampleRate = /** @type {SampleRate} */ (rateHz);
    const voice = { application: Application.Voip, signal: Signal.Voice, bitrate: 32000, complexity: 5 };
    const handle = createEncoder({ sampleRate, channels: 1, ...voice });
    super(handle, (encoder, samples) => onPacket(new Uint8Array(encoder.encodeFloat(samples))), onError);
  }

  /** @param {Float32Array} samples */
  encode(samples) {
    void this.run(samples);
  }
}

/** @extends {Direction<import('../vendor/libopus-wasm/index.js').OpusDecoderHandle, Uint8Array>} */
export class Decoder extends Direction {
  /** @param {ConstructorParameters<Codec['Decoder']>} options */
  constructor(...[onSamples, onError]) {
    const handle = createDecoder({ sampleRate: DECODED_HZ, channels: 1 });
    super(handle, (decoder, packet) => onSamples(new Float32Array(decoder.decodeFloat(packet)), DECODED_HZ), onError);
  }

  /** @param {Uint8Array} packet */
  decode(packet) {
    void this.run(packet);
  }
}
