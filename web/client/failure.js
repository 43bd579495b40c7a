/** Why a call could not be made or ended early: a code for programs, and the server's or the browser's own words if any. */

/**
 * @typedef {'insecure' | 'no-codec' | 'microphone-denied' | 'microphone-missing' | 'microphone-busy' | 'microphone-forbidden'
 *   | 'no-sound' | 'starting' | 'full' | 'stopping' | 'failed' | 'token' | 'forbidden' | 'unreachable' | 'no-websocket' | 'outdated'
 *   | 'connection-lost' | 'conversation-lost' | 'refused' | 'broken'} FailureCode
 */

export class CallFailure extends Error {
  /**
   * @param {FailureCode} code
   * @param {string} [detail] the server's or the browser's own words
   */
  constructor(code, detail = '') {
    super(detail ? `${code}: ${detail}` : code);
    this.code = code;
    this.detail = detail;
  }
}

/** @type {Record<number, FailureCode>} by WebSocket close code */
const BY_CLOSE_CODE = { 1008: 'refused', 1011: 'failed', 1012: 'stopping', 1013: 'full' };

/** @type {Record<string, FailureCode>} by the reason in the server's `end` event, which is more exact than a close code */
const BY_REASON = { full: 'full', starting: 'starting', stopping: 'stopping', resume: 'conversation-lost' };

/**
 * @param {string} reason of the server's `end` event; '' for none
 * @param {number} closeCode
 * @returns {FailureCode | undefined} undefined where the call ended normally, or for an unknown reason
 */
export function failureOf(reason, closeCode) {
  return BY_REASON[reason] ?? BY_CLOSE_CODE[closeCode];
}
