/**
 * Closes the microphone while the echo canceller adapts. In the first seconds of playback a browser lets the loudspeaker
 * through at full level, and a full-duplex model would answer itself. The gate closes only while something is played and only
 * in the first seconds. It stays open for a caller who is already speaking, and where no echo comes through (headphones).
 * Pure. Owner: the capture worklet.
 */

const AUDIBLE = 0.003; // −50 dBFS
const ADAPTED_AFTER_S = 2.5; // of audible playback
const MAX_DURATION_S = 4; // since playback began, pauses included
const ECHO_S = 0.25; // from the playback worklet through the room to the capture worklet
const CLEAN_S = 0.75; // of audible playback with a silent microphone: no echo comes through
const MAX_PAUSE_S = 0.2; // a shorter pause does not end the caller's speech

export class EchoWarmUpGate {
  #audibleS = 0;
  #elapsedS = 0; // since playback began
  #echoS = 0; // how long an echo may still come
  #cleanS = 0;
  #speechS = 0; // how long a pause may still last without ending the caller's speech
  #wasSpeaking = false; // before this stretch of playback began, and still is

  /**
   * @param {number} playedRms
   * @param {number} microphoneRms before the gate
   * @param {number} durationS
   * @returns {boolean} whether the microphone should be closed
   */
  isClosed(playedRms, microphoneRms, durationS) {
    if (this.#audibleS >= ADAPTED_AFTER_S || this.#elapsedS >= MAX_DURATION_S || this.#cleanS >= CLEAN_S) return false;
    const [isAudible, isHeard] = [playedRms > AUDIBLE, microphoneRms > AUDIBLE];
    if (isAudible && this.#echoS === 0) this.#wasSpeaking = this.#speechS > 0;
    const isSpeech = isHeard && (this.#echoS === 0 || this.#wasSpeaking); // anything else may be an echo
    this.#speechS = isSpeech ? MAX_PAUSE_S : Math.max(0, this.#speechS - durationS);
    this.#wasSpeaking &&= this.#speechS > 0;
    this.#echoS = isAudible ? ECHO_S : Math.max(0, this.#echoS - durationS);
    if (isAudible) this.#audibleS += durationS;
    if (this.#audibleS > 0) this.#elapsedS += durationS;
    if (isHeard) this.#cleanS = 0;
    else if (isAudible) this.#cleanS += durationS;
    return this.#echoS > 0 && !this.#wasSpeaking;
  }
}
