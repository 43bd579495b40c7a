/**
 * A report on the call as text to paste into a bug report: server, choices, states, delays, counts, audio and browser. It has
 * nothing of what was said. Pure.
 *
 * @typedef {object} CallDetails
 * @property {import('../../client/net/server.js').ServerInfo | null} info
 * @property {string} call
 * @property {number | null} seed
 * @property {import('../../client/parley.js').Choices} choices
 * @property {string[]} states of the call in order, each with its time
 * @property {import('../../client/delay-gauge.js').Delay[]} delays of the last minute
 * @property {import('../../client/parley.js').Counts} counts
 * @property {object | null} audio sample rates and device delays
 * @property {string} browser
 */

/** @param {CallDetails} details @returns {string} */
export function report({ info, call, seed, choices, states, delays, counts, audio, browser }) {
  const totals = delays.map(({ totalMs }) => totalMs).sort((a, b) => a - b);
  const at = (/** @type {number} */ part) => Math.round(totals[Math.min(totals.length - 1, Math.floor(part * totals.length))]);
  const last = delays.at(-1);
  const rounded = last && Object.fromEntries(Object.entries(last).map(([name, ms]) => [name, Math.round(ms)]));
  const lines = [
    ['server', info ? `${info.name} ${info.version}, ${info.model}, ${info.running} of ${info.slots} calls` : 'unknown'],
    ['call', `${call || 'none'}, seed ${seed ?? 'unknown'}${Object.keys(choices).length ? `, ${JSON.stringify(choices)}` : ''}`],
    ['states', states.join(' → ')],
    ['mouth-to-ear delay', totals.length ? `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, over ${Math.round(totals.length / 2)} s` : 'not measured'],
    ['parts of the delay', rounded ? JSON.stringify(rounded) : 'not measured'],
    ['counts', JSON.stringify(counts)],
    ['audio', JSON.stringify(audio)],
    ['browser', browser],
  ];
  return `Parley call report\n${lines.map(([name, value]) => `${name}: ${value}`).join('\n')}\n`;
}
