/**
 * Opus, by whatever this browser has: WebCodecs, or else libopus in WebAssembly, which is fetched only then.
 *
 * Both kinds offer the same, for mono in packets of 20 ms:
 *
 * @typedef {object} Encoder
 * @property {(samples: Float32Array<ArrayBuffer>) => void} encode one packet
 * @property {() => Promise<unknown>} flush until all that was given has come out
 * @property {() => void} close
 *
 * @typedef {object} Decoder
 * @property {(packet: Uint8Array) => void} decode
 * @property {() => Promise<unknown>} flush
 * @property {() => void} close
 *
 * @typedef {object} Codec
 * @property {(rateHz: number) => Promise<boolean>} isSupported for one of Opus's own rates
 * @property {new (rateHz: number, onPacket: (packet: Uint8Array<ArrayBuffer>) => void, onError: (error: Error) => void) => Encoder} Encoder
 *   after `onError` it is of no use
 * @property {new (onSamples: (samples: Float32Array<ArrayBuffer>, rateHz: number) => void, onError: (error: Error) => void) => Decoder} Decoder
 *   likewise; the rate is the decoder's choice
 */

import { PACKET_MS } from './protocol.js';
import * as webCodecs from './web-codecs.js';

const WARM_UP_PACKETS = 3;

/**
 * The codec to use, both directions of which have run once on silence. A cold codec's first packets come late, and the
 * buffer would carry that for the rest of the call.
 * @param {number} rateHz one of Opus's own rates
 * @returns {Promise<Codec | null>} null where there is none
 */
export async function loadCodec(rateHz) {
  for (const load of [async () => webCodecs, () => import('./wasm-opus.js')]) {
    try {
      const codec = await load();
      if (!(await codec.isSupported(rateHz))) continue;
      await warmUp(codec, rateHz);
      return codec;
    } catch {
      // A browser that throws on the configuration does not support it either.
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
