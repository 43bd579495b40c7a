/** Opus by libopus in WebAssembly, a `Codec` of `codec.js` for browsers without WebCodecs. See `vendor/README.md`. */

import { Application, Signal, createDecoder, createEncoder, loadLibopus } from '../vendor/libopus-wasm/index.js';

const DECODED_HZ = 48000;

/** @typedef {import('./codec.js').Codec} Codec */
/** @typedef {import('../vendor/libopus-wasm/index.js').SampleRate} SampleRate */

export async function isSupported() {
  await loadLibopus();
  return true;
}

/**
 * One direction of a call. Its half of the library is there a moment after it was asked for; nothing given is lost.
 * @template {{free: () => void}} Half
 * @template Given
 */
class Direction {
  #half;
  #use;
  #onError;
  #closed = false;

  /**
   * @param {Promise<Half>} half
   * @param {(half: Half, given: Given) => void} use
   * @param {(error: Error) => void} onError
   */
  constructor(half, use, onError) {
    this.#half = half;
    this.#use = use;
    this.#onError = onError;
  }

  /** @param {Given} given */
  async give(given) {
    try {
      const half = await this.#half;
      if (!this.#closed) this.#use(half, given);
    } catch (error) {
      this.#onError(/** @type {Error} */ (error));
    }
  }

  flush() {
    return this.#half;
  }

  close() {
    this.#closed = true;
    this.#half.then((half) => half.free(), () => {});
  }
}

/** @extends {Direction<import('../vendor/libopus-wasm/index.js').OpusEncoderHandle, Float32Array>} */
export class Encoder extends Direction {
  /** @param {ConstructorParameters<Codec['Encoder']>} made */
  constructor(...[rateHz, onPacket, onError]) {
    const sampleRate = /** @type {SampleRate} */ (rateHz);
    const voice = { application: Application.Voip, signal: Signal.Voice, bitrate: 32000, complexity: 5 };
    const half = createEncoder({ sampleRate, channels: 1, ...voice });
    super(half, (encoder, samples) => onPacket(new Uint8Array(encoder.encodeFloat(samples))), onError);
  }

  /** @param {Float32Array} samples */
  encode(samples) {
    void this.give(samples);
  }
}

/** @extends {Direction<import('../vendor/libopus-wasm/index.js').OpusDecoderHandle, Uint8Array>} */
export class Decoder extends Direction {
  /** @param {ConstructorParameters<Codec['Decoder']>} made */
  constructor(...[onSamples, onError]) {
    const half = createDecoder({ sampleRate: DECODED_HZ, channels: 1 });
    super(half, (decoder, packet) => onSamples(new Float32Array(decoder.decodeFloat(packet)), DECODED_HZ), onError);
  }

  /** @param {Uint8Array} packet */
  decode(packet) {
    void this.give(packet);
  }
}
