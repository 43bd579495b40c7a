/** Stores the chosen microphone and speaker in this browser, and nothing else. */

const KEY = 'parley.devices';

/** @typedef {{microphone: string, speaker: string}} ChosenDevices ids; '' is the system default */

/** @returns {ChosenDevices} */
export function loadDevices() {
  try {
    const { microphone, speaker } = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return { microphone: String(microphone ?? ''), speaker: String(speaker ?? '') };
  } catch {
    return { microphone: '', speaker: '' }; // storage is not allowed, or holds something else
  }
}

/** @param {Partial<ChosenDevices>} chosen */
export function saveDevices(chosen) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...loadDevices(), ...chosen }));
  } catch {
    // This browser does not let the page store anything. The choice is used until the page is closed.
  }
}
