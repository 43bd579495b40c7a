/**
 * What makes a good bug report, as text to paste: who talked to what, through what, how late it was and what went missing.
 * Nothing of what was said. Pure.
 *
 * @typedef {object} Circumstances
 * @property {import('../net/server.js').ServerInfo | null} info
 * @property {string} call
 * @property {number | null} seed
 * @property {import('../parley.js').Choices} choices
 * @property {string[]} states with the time of each, as the call went through them
 * @property {import('../delay-gauge.js').Delay[]} delays of the last minute
 * @property {import('../parley.js').Counts} counts
 * @property {object | null} sound rates and device delays
 * @property {string} browser
 */

/** @param {Circumstances} circumstances @returns {string} */
export function report({ info, call, seed, choices, states, delays, counts, sound, browser }) {
  const totals = delays.map(({ totalMs }) => totalMs).sort((a, b) => a - b);
  const at = (/** @type {number} */ part) => Math.round(totals[Math.min(totals.length - 1, Math.floor(part * totals.length))]);
  const last = delays.at(-1);
  const rounded = last && Object.fromEntries(Object.entries(last).map(([name, ms]) => [name, Math.round(ms)]));
  const lines = [
    ['server', info ? `${info.name} ${info.version}, ${info.model}, ${info.running} of ${info.slots} calls` : 'unknown'],
    ['call', `${call || 'none'}, seed ${seed ?? 'unknown'}${Object.keys(choices).length ? `, ${JSON.stringify(choices)}` : ''}`],
    ['went', states.join(' → ')],
    ['mouth to ear', totals.length ? `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, over ${Math.round(totals.length / 2)} s` : 'not measured'],
    ['split', rounded ? JSON.stringify(rounded) : 'not measured'],
    ['counts', JSON.stringify(counts)],
    ['sound', JSON.stringify(sound)],
    ['browser', browser],
  ];
  return `Parley call report\n${lines.map(([name, value]) => `${name}: ${value}`).join('\n')}\n`;
}
