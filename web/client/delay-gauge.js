/**
 * The mouth-to-ear delay of a call: from a sound at the microphone to the model's answer to it at the ear.
 *
 * The sum of what is measured (the round trip, the server's own times, the playback buffer, the output device as reported by
 * the browser) and of what is known (a frame must be complete before it is sent; Opus looks ahead). Not included, because no
 * browser reports them: the delays of the microphone and of a Bluetooth headset. Pure.
 *
 * @typedef {object} Delay all in ms; the first five add up to `totalMs`
 * @property {number} captureMs one whole frame, and the encoder's look-ahead
 * @property {number} networkMs to the server and back, and the server's work outside the model
 * @property {number} waitMs in the server until the model is free; 0 where the server does not report it (then in `networkMs`)
 * @property {number} stepMs the model: its step, and the frames that its voice lags behind by design; 0 where the server does not
 *   report it (then in `networkMs`)
 * @property {number} playoutMs the decoder, the playback buffer, the output device
 * @property {number} deviceMs the output device's share of `playoutMs`
 * @property {number} totalMs
 */

import { FRAME_MS } from './net/protocol.js';

const ENCODER_MS = 6.5; // look-ahead of Opus in voice mode
const DECODER_MS = 2.5; // delay of Opus in low-delay mode

export class DelayGauge {
  /** @type {number | null} */
  #roundTripMs = null;
  /** @type {number | null} */
  #bufferMs = null;
  #deviceMs = 0;
  #stepMs = 0;
  #waitMs = 0;
  /** What the model's voice lags behind by design. */
  modelDelayMs = 0;

  /** @param {number} roundTripMs */
  onRoundTrip(roundTripMs) {
    this.#roundTripMs = roundTripMs;
  }

  /** @param {number} bufferMs @param {number} deviceMs */
  onBuffer(bufferMs, deviceMs) {
    this.#bufferMs = bufferMs;
    this.#deviceMs = deviceMs;
  }

  /** @param {number} stepMs @param {number} waitMs */
  onServer(stepMs, waitMs) {
    if (stepMs >= 0) this.#stepMs = stepMs;
    if (waitMs >= 0) this.#waitMs = waitMs;
  }

  /** @returns {Delay | null} null until the round trip and the buffer have been measured */
  get delay() {
    if (this.#roundTripMs === null || this.#bufferMs === null) return null;
    const captureMs = FRAME_MS + ENCODER_MS;
    const waitMs = this.#waitMs;
    const stepMs = this.#stepMs + this.modelDelayMs;
    const networkMs = Math.max(0, this.#roundTripMs - waitMs - stepMs);
    const playoutMs = DECODER_MS + this.#bufferMs + this.#deviceMs;
    const totalMs = captureMs + networkMs + waitMs + stepMs + playoutMs;
    return { captureMs, networkMs, waitMs, stepMs, playoutMs, deviceMs: this.#deviceMs, totalMs };
  }
}
