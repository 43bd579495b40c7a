/**
 * What the server says of itself before a call, and why it refused one. Addresses are relative to the page, so that
 * it works behind a path prefix.
 *
 * A browser hides the body of a refused WebSocket, so the reason is asked for by plain HTTP afterwards. A server's door may
 * want a token, which is shown in a header, or on a WebSocket as the name of a protocol.
 *
 * @typedef {{name: string, model: string, demo: boolean, notice?: string, slots: number, running: number,
 *   waiting: number, records?: boolean, voices?: string[], prompts?: string[], params?: Record<string, number>,
 *   version: string}} ServerInfo
 * @typedef {'ready' | 'starting' | 'stopping' | 'failed' | 'forbidden' | 'unreachable'} Readiness
 */

import { CallFailure } from '../failure.js';

const TIMEOUT_MS = 5000;
const TOKEN = /^[\w.~-]+$/;

/** What may be a token: nothing else can be shown. @param {string} text */
export function isToken(text) {
  return TOKEN.test(text);
}

/** @param {string} path @param {string} base the page's address @param {HeadersInit} [headers] */
function get(path, base, headers = {}) {
  return fetch(new URL(path, base), { headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
}

/**
 * @param {string} base
 * @param {string} token '' for none
 * @returns {Promise<ServerInfo | null>} null when it cannot be had now
 * @throws {CallFailure} when the door stays closed: `token`, `forbidden`
 */
export async function askInfo(base, token) {
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

/**
 * @param {string} base
 * @returns {Promise<Readiness>}
 */
export async function askReadiness(base) {
  try {
    const response = await get('readyz', base);
    if (response.ok) return 'ready';
    if (response.status === 401 || response.status === 403) return 'forbidden';
    if (response.status !== 503) return 'unreachable'; // a proxy that finds nobody behind it
    const status = (await response.json().catch(() => null))?.status;
    return status === 'stopping' || status === 'failed' ? status : 'starting';
  } catch {
    return 'unreachable';
  }
}

/** Names that the protocol has for ours. @type {Record<string, string>} */
const PARAMETERS = { voice: 'voice_prompt', prompt: 'text_prompt' };

/** What a socket is asked for: the call, and the token with it. @param {string} token '' for none */
export function protocols(token) {
  return isToken(token) ? ['parley', `parley.token.${token}`] : [];
}

/**
 * @param {string} base
 * @param {{[name: string]: string | number | null | undefined}} [choices] what is empty is left to the server
 * @param {string} [resume] the token of a conversation to go on with
 * @returns {string} where a call is dialled
 */
export function chatUrl(base, choices = {}, resume = '') {
  const url = new URL('api/chat?events=1', base);
  url.protocol = url.protocol.replace('http', 'ws');
  for (const [name, value] of Object.entries({ ...choices, resume })) {
    if (value !== '' && value !== null && value !== undefined) url.searchParams.set(PARAMETERS[name] ?? name, String(value));
  }
  return url.href;
}
