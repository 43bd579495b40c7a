/**
 * Opus in this browser: by WebCodecs, or else by libopus in WebAssembly, which is fetched only then.
 *
 * Both have the same interface, for mono in packets of 20 ms:
 *
 * @typedef {object} Encoder
 * @property {(samples: Float32Array<ArrayBuffer>) => void} encode one packet
 * @property {() => Promise<unknown>} flush resolves when all input has come out
 * @property {() => void} close
 *
 * @typedef {object} Decoder
 * @property {(packet: Uint8Array) => void} decode
 * @property {() => Promise<unknown>} flush
 * @property {() => void} close
 *
 * @typedef {object} Codec
 * @property {(rateHz: number) => Promise<boolean>} isSupported one of the sample rates of Opus
 * @property {new (rateHz: number, onPacket: (packet: Uint8Array<ArrayBuffer>) => void, onError: (error: Error) => void) => Encoder} Encoder
 *   unusable after `onError`
 * @property {new (onSamples: (samples: Float32Array<ArrayBuffer>, rateHz: number) => void, onError: (error: Error) => void) => Decoder} Decoder
 *   unusable after `onError`; the decoder chooses the rate
 */

import { PACKET_MS } from './protocol.js';
import * as webCodecs from './web-codecs.js';

const WARM_UP_PACKETS = 3;

/**
 * Load the codec and run both directions once on silence. Otherwise its first packets would be late, and the playback buffer
 * would keep that delay for the rest of the call.
 * @param {number} rateHz one of the sample rates of Opus
 * @returns {Promise<Codec | null>} null where this browser has none
 */
export async function loadCodec(rateHz) {
  for (const load of [async () => webCodecs, () => import('./wasm-opus.js')]) {
    try {
      const codec = await load();
      if (!(await codec.isSupported(rateHz))) continue;
      await warmUp(codec, rateHz);
      return codec;
    } catch {
      // A browser that throws does not support the codec either.
    }
  }
  return null;
}

/** @param {Codec} codec @param {number} rateHz */
async function warmUp({ Encoder, Decoder }, rateHz) {
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
