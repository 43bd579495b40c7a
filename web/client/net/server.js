/**
 * The server's HTTP endpoints and the address of a call. All addresses are relative to the server's base address, so that it
 * works behind a path prefix.
 *
 * A browser hides the response to a refused WebSocket, so the reason is asked for over HTTP afterwards. A token is sent in a
 * header, or on a WebSocket as a subprotocol.
 *
 * @typedef {{name: string, model: string, demo: boolean, notice?: string, slots: number, running: number,
 *   waiting: number, records?: boolean, voices?: string[], prompts?: string[], params?: Record<string, number>,
 *   limits?: {max_waiting?: number}, examples?: string[], delay_frames?: number, version: string}} ServerInfo
 * @typedef {'ready' | 'starting' | 'stopping' | 'failed' | 'forbidden' | 'unreachable'} Readiness
 */

import { CallFailure } from '../failure.js';
import { SUBPROTOCOL, TOKEN_SUBPROTOCOL } from './protocol.js';

const TIMEOUT_MS = 5000;
const TOKEN = /^[\w.~-]+$/;

/** Whether this could be a token: only these characters can be sent. @param {string} text */
export function isToken(text) {
  return TOKEN.test(text);
}

/** @param {string} path @param {string} base the server's address @param {HeadersInit} [headers] */
function get(path, base, headers = {}) {
  return fetch(new URL(path, base), { headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
}

/**
 * @param {string} base
 * @param {string} token '' for none
 * @returns {Promise<ServerInfo | null>} null when the server does not answer
 * @throws {CallFailure} `token` or `forbidden`: the server refuses
 */
export async function fetchInfo(base, token) {
  try {
    const response = await get('api/info', base, isToken(token) ? { Authorization: `Bearer ${token}` } : {});
    if (response.ok) return await response.json();
    const refusal = response.status === 401 ? 'token' : response.status === 403 ? 'forbidden' : null;
    if (refusal) throw new CallFailure(refusal, (await response.json().catch(() => null))?.error?.message);
  } catch (error) {
    if (error instanceof CallFailure) throw error;
  }
  return null;
}

/** Whether the server has neither a free slot nor a place in its queue. @param {ServerInfo} info */
export function isFull({ slots, running, waiting, limits }) {
  return running >= slots && limits?.max_waiting !== undefined && waiting >= limits.max_waiting;
}

/**
 * @param {string} base
 * @returns {Promise<Readiness>}
 */
export async function fetchReadiness(base) {
  try {
    const response = await get('readyz', base);
    if (response.ok) return 'ready';
    if (response.status === 401 || response.status === 403) return 'forbidden';
    if (response.status !== 503) return 'unreachable'; // a proxy whose backend is down
    const status = (await response.json().catch(() => null))?.status;
    return status === 'stopping' || status === 'failed' ? status : 'starting';
  } catch {
    return 'unreachable';
  }
}

/** Choices that have another name as a query parameter. @type {Record<string, string>} */
const PARAMETERS = { voice: 'voice_prompt', prompt: 'text_prompt' };

/** The subprotocols to ask for; they carry the token. @param {string} token '' for none */
export function subprotocols(token) {
  return isToken(token) ? [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token] : [];
}

/**
 * @param {string} base
 * @param {{[name: string]: string | number | null | undefined}} [choices] the server decides what is empty
 * @param {string} [resume] the token that resumes a conversation
 * @returns {string} the call's WebSocket address
 */
export function chatUrl(base, choices = {}, resume = '') {
  const url = new URL('api/chat?events=1', base);
  url.protocol = url.protocol.replace('http', 'ws');
  for (const [name, value] of Object.entries({ ...choices, resume })) {
    if (value !== '' && value !== null && value !== undefined) url.searchParams.set(PARAMETERS[name] ?? name, String(value));
  }
  return url.href;
}
