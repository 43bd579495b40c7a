/**
 * Opus by WebCodecs: a `Codec` of `codec.js`.
 *
 * Browsers differ: Chromium always decodes to 48 kHz, Safari to the requested rate, so the rate is read from the output. No
 * browser needs a description, and passing one trims the stream. Timestamps are not used: packets are played in order. DTX
 * stays off: the model's clock is the audio it receives.
 */

import { PACKET_MS } from './protocol.js';

const PACKET_US = PACKET_MS * 1000;
const DECODER_CONFIG = { codec: 'opus', sampleRate: 48000, numberOfChannels: 1 };

/**
 * @param {number} rateHz one of the sample rates of Opus
 * @returns {AudioEncoderConfig}
 */
function encoderConfig(rateHz) {
  return {
    codec: 'opus',
    sampleRate: rateHz,
    numberOfChannels: 1,
    bitrate: 32000,
    // @ts-ignore `application` and `signal` are newer than the type library
    opus: { application: 'voip', signal: 'voice', frameDuration: PACKET_US, complexity: 5 },
  };
}

/** @param {number} rateHz */
export async function isSupported(rateHz) {
  if (typeof AudioEncoder === 'undefined' || typeof AudioDecoder === 'undefined') return false;
  const [encodes, decodes] = await Promise.all([
    AudioEncoder.isConfigSupported(encoderConfig(rateHz)),
    AudioDecoder.isConfigSupported(DECODER_CONFIG),
  ]);
  return Boolean(encodes.supported && decodes.supported);
}

export class Encoder {
  #codec;
  #rateHz;
  #timestampUs = 0;

  /**
   * @param {number} rateHz
   * @param {(packet: Uint8Array<ArrayBuffer>) => void} onPacket
   * @param {(error: Error) => void} onError
   */
  constructor(rateHz, onPacket, onError) {
    this.#rateHz = rateHz;
    this.#codec = new AudioEncoder({
      output: (chunk) => {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        onPacket(packet);
      },
      error: onError,
    });
    this.#codec.configure(encoderConfig(rateHz));
  }

  /** @param {Float32Array<ArrayBuffer>} samples */
  encode(samples) {
    const data = new AudioData({
      format: 'f32',
      sampleRate: this.#rateHz,
      numberOfFrames: samples.length,
      numberOfChannels: 1,
      timestamp: this.#timestampUs,
      data: samples,
    });
    this.#timestampUs += PACKET_US;
    this.#codec.encode(data);
    data.close();
  }

  flush() {
    return this.#codec.flush();
  }

  close() {
    if (this.#codec.state !== 'closed') this.#codec.close();
  }
}

export class Decoder {
  #codec;
  #timestampUs = 0;

  /**
   * @param {(samples: Float32Array<ArrayBuffer>, rateHz: number) => void} onSamples
   * @param {(error: Error) => void} onError
   */
  constructor(onSamples, onError) {
    this.#codec = new AudioDecoder({
      output: (data) => {
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
        const rateHz = data.sampleRate;
        data.close();
        onSamples(samples, rateHz);
      },
      error: onError,
    });
    this.#codec.configure(DECODER_CONFIG);
  }

  /** @param {Uint8Array} packet */
  decode(packet) {
    const chunk = new EncodedAudioChunk({ type: 'key', timestamp: this.#timestampUs, duration: PACKET_US, data: packet });
    this.#timestampUs += PACKET_US;
    this.#codec.decode(chunk);
  }

  flush() {
    return this.#codec.flush();
  }

  close() {
    if (this.#codec.state !== 'closed') this.#codec.close();
  }
}
