/** Which microphones and loudspeakers there are, and when that changes. Opens none. */

/**
 * @typedef {{id: string, label: string}} Device labels are empty until the microphone has been allowed once
 * @typedef {{microphones: Device[], speakers: Device[]}} Devices
 */

/** @returns {Promise<Devices>} the system's choice comes first, with the id '' */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return { microphones: ofKind(all, 'audioinput'), speakers: ofKind(all, 'audiooutput') };
}

/** @param {MediaDeviceInfo[]} all @param {MediaDeviceKind} kind @returns {Device[]} */
function ofKind(all, kind) {
  const devices = all.filter((device) => device.kind === kind && device.deviceId !== 'communications');
  if (!devices.length) return [];
  const byDefault = devices.find(({ deviceId }) => deviceId === 'default'); // Chromium names what it stands for
  const others = devices.filter(({ deviceId }) => deviceId && deviceId !== 'default');
  return [
    { id: '', label: byDefault?.label ?? '' },
    ...others.map(({ deviceId, label }) => ({ id: deviceId, label })),
  ];
}
