/**
 * Mouth to ear, as the caller feels it: from a sound at the microphone to the model's answer to it at the ear.
 *
 * A sum of what is measured (round trip, playout buffer, the device as far as the browser says) and of what is known
 * (a frame must be whole before it can be answered; Opus looks ahead). Not in it, since no browser tells: the
 * microphone's own delay, and what a Bluetooth headset keeps to itself. Pure.
 *
 * @typedef {{frameMs: number, codecMs: number, roundTripMs: number, bufferMs: number, deviceMs: number,
 *   totalMs: number, stepMs: number | null, waitMs: number | null, gaps: number, skippedFrames: number,
 *   droppedPackets: number}} Delay
 */

import { FRAME_MS } from './net/protocol.js';

const CODEC_MS = 9; // 6.5 from here to the server (voip), 2.5 back (low delay)

export class DelayGauge {
  /** @type {number | null} */
  #roundTripMs = null;
  #droppedPackets = 0;
  /** @type {import('./audio/graph.js').BufferReport | null} */
  #buffer = null;
  #deviceMs = 0;
  /** @type {number | null} */
  #stepMs = null;
  /** @type {number | null} */
  #waitMs = null;
  #skippedFrames = 0;

  /** @param {{roundTripMs: number, droppedPackets: number}} trip */
  onTrip({ roundTripMs, droppedPackets }) {
    this.#roundTripMs = roundTripMs;
    this.#droppedPackets = droppedPackets;
  }

  /** @param {import('./audio/graph.js').BufferReport} report @param {number} deviceMs */
  onBuffer(report, deviceMs) {
    this.#buffer = report;
    this.#deviceMs = deviceMs;
  }

  /** @param {number} frames */
  onSkip(frames) {
    if (frames > 0) this.#skippedFrames += frames;
  }

  /** @param {number} stepMs @param {number} waitMs */
  onServer(stepMs, waitMs) {
    if (Number.isFinite(stepMs)) this.#stepMs = stepMs;
    if (Number.isFinite(waitMs)) this.#waitMs = waitMs;
  }

  /** @returns {Delay | null} null until both ends have been measured */
  get delay() {
    if (this.#roundTripMs === null || !this.#buffer) return null;
    const parts = {
      frameMs: FRAME_MS,
      codecMs: CODEC_MS,
      roundTripMs: this.#roundTripMs,
      bufferMs: this.#buffer.lowWaterMs,
      deviceMs: this.#deviceMs,
    };
    return {
      ...parts,
      totalMs: Object.values(parts).reduce((sum, ms) => sum + ms, 0),
      stepMs: this.#stepMs,
      waitMs: this.#waitMs,
      gaps: this.#buffer.underruns,
      skippedFrames: this.#skippedFrames,
      droppedPackets: this.#droppedPackets,
    };
  }
}
