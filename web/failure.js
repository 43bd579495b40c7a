/** Why there is no call, or no call any more: a code the page has a sentence for, and the server's own words if any. */

/**
 * @typedef {'insecure' | 'no-codec' | 'microphone-denied' | 'microphone-missing' | 'microphone-busy' | 'microphone-lost'
 *   | 'no-sound' | 'starting' | 'full' | 'stopping' | 'failed' | 'token' | 'forbidden' | 'unreachable' | 'connection-lost'
 *   | 'conversation-lost' | 'refused' | 'broken'} FailureCode
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

/** @type {Record<string, FailureCode>} the server's words for it are finer than close codes */
const BY_REASON = { full: 'full', starting: 'starting', stopping: 'stopping', resume: 'conversation-lost' };

/**
 * @param {string} reason the server's word for the end, '' for none
 * @param {number} closeCode
 * @returns {FailureCode | undefined} undefined where nothing failed, or nobody knows what
 */
export function failureOf(reason, closeCode) {
  return BY_REASON[reason] ?? BY_CLOSE_CODE[closeCode];
}
