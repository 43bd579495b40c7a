/**
 * What the server says of itself before a call, and why it refused one. Addresses are relative to the page, so that
 * it works behind a path prefix.
 *
 * A browser hides the body of a refused WebSocket, so the reason is asked for by plain HTTP afterwards.
 *
 * @typedef {{name: string, model: string, demo: boolean, notice?: string, slots: number, running: number,
 *   waiting: number, limits?: {[name: string]: number}, voices?: string[], prompts?: string[], version: string}} ServerInfo
 * @typedef {'ready' | 'starting' | 'stopping' | 'failed' | 'forbidden' | 'unreachable'} Readiness
 */

const TIMEOUT_MS = 5000;

/** @param {string} path @param {string} base the page's address */
function get(path, base) {
  return fetch(new URL(path, base), { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
}

/**
 * @param {string} base
 * @returns {Promise<ServerInfo | null>} null when it cannot be had
 */
export async function askInfo(base) {
  try {
    const response = await get('api/info', base);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
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
