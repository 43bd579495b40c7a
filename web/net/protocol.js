/**
 * The wire as bytes: one kind byte, then the payload. Pure; knows no socket and no codec.
 *
 * Kinds are those of Kyutai's `/api/chat`; audio here is one raw Opus packet a message, not Ogg.
 */

export const KIND = Object.freeze({ HANDSHAKE: 0, AUDIO: 1, TEXT: 2, EVENT: 4, ERROR: 5, PING: 6 });

/** What one packet and one frame last; the server answers each frame it hears with one frame. */
export const PACKET_MS = 20;
export const FRAME_MS = 80;
export const PACKETS_PER_FRAME = FRAME_MS / PACKET_MS;

/**
 * @typedef {{kind: 'handshake'} | {kind: 'audio', packet: Uint8Array} | {kind: 'text', text: string}
 *   | {kind: 'event', event: {type: string, [name: string]: unknown}} | {kind: 'error', text: string}
 *   | {kind: 'ping'} | {kind: 'ignored'}} ServerMessage
 */

/**
 * @param {Uint8Array} packet one raw Opus packet
 * @returns {Uint8Array<ArrayBuffer>} the message that carries it
 */
export function encodeAudio(packet) {
  const message = new Uint8Array(1 + packet.byteLength);
  message[0] = KIND.AUDIO;
  message.set(packet, 1);
  return message;
}

/**
 * Never throws: what this page does not understand, newer kinds included, is `ignored`.
 * @param {ArrayBuffer} message
 * @returns {ServerMessage}
 */
export function decode(message) {
  const bytes = new Uint8Array(message);
  const payload = bytes.subarray(1);
  switch (bytes[0]) {
    case KIND.HANDSHAKE:
      return { kind: 'handshake' }; // its payload means nothing to any client
    case KIND.AUDIO:
      return payload.length ? { kind: 'audio', packet: payload } : { kind: 'ignored' };
    case KIND.TEXT:
      return { kind: 'text', text: utf8(payload) };
    case KIND.EVENT:
      return event(utf8(payload));
    case KIND.ERROR:
      return { kind: 'error', text: utf8(payload) };
    case KIND.PING:
      return { kind: 'ping' };
    default:
      return { kind: 'ignored' };
  }
}

/** @param {Uint8Array} bytes */
function utf8(bytes) {
  return new TextDecoder().decode(bytes);
}

/**
 * @param {string} json
 * @returns {ServerMessage}
 */
function event(json) {
  try {
    const value = JSON.parse(json);
    return typeof value?.type === 'string' ? { kind: 'event', event: value } : { kind: 'ignored' };
  } catch {
    return { kind: 'ignored' };
  }
}
