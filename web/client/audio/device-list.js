/** Lists microphones and loudspeakers; opens none. */

/**
 * @typedef {{id: string, label: string}} Device labels are empty until the user has allowed the microphone once
 * @typedef {{microphones: Device[], speakers: Device[]}} DeviceList the system default comes first, with the id ''
 */

/** @returns {Promise<DeviceList>} */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return { microphones: ofKind(all, 'audioinput'), speakers: ofKind(all, 'audiooutput') };
}

/** @param {MediaDeviceInfo[]} all @param {MediaDeviceKind} kind @returns {Device[]} */
function ofKind(all, kind) {
  const devices = all.filter((device) => device.kind === kind && device.deviceId !== 'communications');
  if (!devices.length) return [];
  const byDefault = devices.find(({ deviceId }) => deviceId === 'default'); // Chromium's label names the device behind it
  const others = devices.filter(({ deviceId }) => deviceId && deviceId !== 'default');
  return [
    { id: '', label: byDefault?.label ?? '' },
    ...others.map(({ deviceId, label }) => ({ id: deviceId, label })),
  ];
}
