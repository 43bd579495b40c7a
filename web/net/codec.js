/**
 * Opus by WebCodecs: packets from samples and back. Knows no socket and no audio graph.
 *
 * A codec for browsers without WebCodecs would offer the same three names: `probe`, `Encoder`, `Decoder`.
 * Browsers differ: Chromium always decodes to 48 kHz, Safari to the rate asked for, so the rate is read from what
 * comes out. None needs a description, and passing one trims the stream. DTX stays off: a model is clocked by what it hears.
 */

import { PACKET_MS } from './protocol.js';

const PACKET_US = PACKET_MS * 1000;
const DECODED_HZ = 48000;
const WARM_UP_PACKETS = 3;

/**
 * @param {number} rateHz one of Opus's own rates
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

const DECODER_CONFIG = { codec: 'opus', sampleRate: DECODED_HZ, numberOfChannels: 1 };

/**
 * Whether this browser can do it; when it can, both codecs have run once on silence. A cold codec's first packets
 * come late, and the buffer would carry that for the rest of the call.
 * @param {number} rateHz
 * @returns {Promise<boolean>}
 */
export async function probe(rateHz) {
  if (typeof AudioEncoder === 'undefined' || typeof AudioDecoder === 'undefined') return false;
  try {
    const [encodes, decodes] = await Promise.all([
      AudioEncoder.isConfigSupported(encoderConfig(rateHz)),
      AudioDecoder.isConfigSupported(DECODER_CONFIG),
    ]);
    if (!encodes.supported || !decodes.supported) return false;
    await warmUp(rateHz);
    return true;
  } catch {
    return false; // a browser that throws on the configuration does not support it either
  }
}

/** @param {number} rateHz */
async function warmUp(rateHz) {
  let failed = /** @type {Error | null} */ (null);
  const decoder = new Decoder(() => {}, (error) => (failed = error));
  const encoder = new Encoder(rateHz, (packet) => decoder.decode(packet), (error) => (failed = error));
  for (let i = 0; i < WARM_UP_PACKETS; i++) encoder.encode(new Float32Array((rateHz * PACKET_MS) / 1000));
  await encoder.flush();
  await decoder.flush();
  encoder.close();
  decoder.close();
  if (failed) throw failed;
}

export class Encoder {
  #codec;
  #rateHz;
  #timestampUs = 0;

  /**
   * @param {number} rateHz
   * @param {(packet: Uint8Array<ArrayBuffer>) => void} onPacket
   * @param {(error: Error) => void} onError the encoder is closed then
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

  /** @param {Float32Array<ArrayBuffer>} samples 20 ms, mono */
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
   * @param {(samples: Float32Array<ArrayBuffer>, rateHz: number) => void} onSamples mono
   * @param {(error: Error) => void} onError the decoder is closed then
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
