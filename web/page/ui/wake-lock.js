/** Keeps the screen on. A browser releases the lock whenever the page is hidden, so it is requested again when it is shown. */

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
    if (!wanted) await lock.release(); // the call ended meanwhile
  } catch {
    // Some browsers cannot, and none does on a low battery. The call goes on without it.
  }
}

document.addEventListener('visibilitychange', () => {
  if (wanted && document.visibilityState === 'visible') void hold();
});
