/**
 * The round trip of a frame: from the moment its last packet is handed to the socket until its answer arrives.
 *
 * The server answers each frame with one frame, so answer n belongs to frame n plus the frames that the server skipped. A
 * model that delays its answers (Moshi speaks one frame late by design) is thereby measured with that delay.
 * Pure: times are passed in. Does not measure what happens before the socket or after the decoder.
 */

import { RunningMedian } from '../running-median.js';
import { PACKETS_PER_FRAME } from './protocol.js';

const KEPT_FRAMES = 128; // 10 s; a later answer is not measured

export class RoundTrip {
  #sentPackets = 0;
  #answerPackets = 0;
  #offset = 0; // answer n belongs to frame n + offset
  #sentAtMs = new Float64Array(KEPT_FRAMES); // by frame number, modulo its length
  #recent = new RunningMedian();

  /** @param {number} nowMs a packet was handed to the socket */
  sent(nowMs) {
    this.#sentPackets += 1;
    if (this.#sentPackets % PACKETS_PER_FRAME === 0) this.#sentAtMs[(this.#framesSent - 1) % KEPT_FRAMES] = nowMs;
  }

  /** @param {number} nowMs a packet came back */
  answered(nowMs) {
    const opensFrame = this.#answerPackets % PACKETS_PER_FRAME === 0;
    const answer = Math.floor(this.#answerPackets / PACKETS_PER_FRAME);
    this.#answerPackets += 1;
    if (!opensFrame) return;
    // An answer to a frame not yet sent: the server filled a gap in the microphone's audio with silence.
    this.#offset = Math.min(this.#offset, this.#framesSent - 1 - answer);
    const frame = answer + this.#offset;
    if (frame < 0 || frame < this.#framesSent - KEPT_FRAMES) return;
    this.#recent.add(nowMs - this.#sentAtMs[frame % KEPT_FRAMES]);
  }

  /** @param {number} frames that the server will not answer */
  skipped(frames) {
    if (Number.isInteger(frames) && frames > 0) this.#offset += frames;
  }

  /** The median of the last second, in ms; null before the first answer. */
  get ms() {
    return this.#recent.value;
  }

  get #framesSent() {
    return Math.floor(this.#sentPackets / PACKETS_PER_FRAME);
  }
}
