/** Stores in this browser the chosen microphone and speaker, and how much sound its playback had to hold, and nothing else. */

const KEY = 'parley.devices';

/**
 * @typedef {{microphone: string, speaker: string, bufferMs?: number}} StoredDevices ids, '' is the system default; and what playback
 *   had to hold in the last call
 */

/** @returns {StoredDevices} */
export function loadDevices() {
  try {
    const { microphone, speaker, bufferMs } = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    const devices = { microphone: String(microphone ?? ''), speaker: String(speaker ?? '') };
    return Number.isFinite(bufferMs) ? { ...devices, bufferMs: Number(bufferMs) } : devices;
  } catch {
    return { microphone: '', speaker: '' }; // storage is not allowed, or holds something else
  }
}

/** @param {Partial<StoredDevices>} chosen */
export function saveDevices(chosen) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...loadDevices(), ...chosen }));
  } catch {
    // This browser does not let the page store anything. The choice is used until the page is closed.
  }
}
