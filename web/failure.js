/** Why there is no call, or no call any more: a code the page has a sentence for, and the server's own words if any. */

/**
 * @typedef {'insecure' | 'no-codec' | 'microphone-denied' | 'microphone-missing' | 'microphone-busy' | 'microphone-lost'
 *   | 'starting' | 'full' | 'stopping' | 'failed' | 'token' | 'forbidden' | 'unreachable' | 'connection-lost'
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
