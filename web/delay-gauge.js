/**
 * Mouth to ear, as the caller feels it: from a sound at the microphone to the model's answer to it at the ear.
 *
 * A sum of what is measured (round trip, the server's own clock, playout buffer, the device as far as the browser
 * says) and of what is known (a frame must be whole before it can be answered; Opus looks ahead). Not in it, since no
 * browser tells: the microphone's own delay, and what a Bluetooth headset keeps to itself. Pure.
 *
 * @typedef {object} Delay all in ms; the five parts add up to `totalMs`
 * @property {number} captureMs a whole frame, and what the encoder looks ahead
 * @property {number} networkMs there and back, with what the server needs beside the model
 * @property {number} waitMs in the server, until the model is free; 0 where it does not tell, then within the network
 * @property {number} stepMs the model itself; likewise
 * @property {number} playoutMs the decoder, the jitter buffer, the sound card
 * @property {number} deviceMs of the playout, what lies behind the page
 * @property {number} totalMs
 */

import { FRAME_MS } from './net/protocol.js';

const ENCODER_MS = 6.5; // Opus for voice
const DECODER_MS = 2.5; // Opus at low delay

export class DelayGauge {
  /** @type {number | null} */
  #roundTripMs = null;
  /** @type {number | null} */
  #bufferMs = null;
  #deviceMs = 0;
  #stepMs = 0;
  #waitMs = 0;

  /** @param {number} roundTripMs */
  onTrip(roundTripMs) {
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

  /** @returns {Delay | null} null until both ends have been measured */
  get delay() {
    if (this.#roundTripMs === null || this.#bufferMs === null) return null;
    const captureMs = FRAME_MS + ENCODER_MS;
    const waitMs = this.#waitMs;
    const stepMs = this.#stepMs;
    const networkMs = Math.max(0, this.#roundTripMs - waitMs - stepMs);
    const playoutMs = DECODER_MS + this.#bufferMs + this.#deviceMs;
    const totalMs = captureMs + networkMs + waitMs + stepMs + playoutMs;
    return { captureMs, networkMs, waitMs, stepMs, playoutMs, deviceMs: this.#deviceMs, totalMs };
  }
}
