/** Keeps the screen on while it is wanted; a browser takes that back whenever the page is hidden. */

let wanted = false;
/** @type {WakeLockSentinel | null} */
let lock = null;

/** @param {boolean} on */
export function keepAwake(on) {
  if (on === wanted) return;
  wanted = on;
  if (on) void hold();
  else void lock?.release();
}

async function hold() {
  try {
    lock = await navigator.wakeLock.request('screen');
    if (!wanted) await lock.release(); // it was over before it was granted
  } catch {
    // Not every browser can, and none does on a low battery. A call goes on without.
  }
}

document.addEventListener('visibilitychange', () => {
  if (wanted && document.visibilityState === 'visible') void hold();
});
