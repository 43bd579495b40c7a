/** What this browser remembers from visit to visit: which microphone and which speaker, and nothing else. */

const KEY = 'parley.devices';

/** @typedef {{microphone: string, speaker: string}} Devices ids; '' is the system's choice */

/** @returns {Devices} */
export function recall() {
  try {
    const { microphone, speaker } = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return { microphone: String(microphone ?? ''), speaker: String(speaker ?? '') };
  } catch {
    return { microphone: '', speaker: '' }; // forbidden, or written by somebody else
  }
}

/** @param {Partial<Devices>} chosen */
export function remember(chosen) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...chosen }));
  } catch {
    // The browser keeps nothing for this page; the choice holds until it is closed.
  }
}
