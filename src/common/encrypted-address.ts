/** Whether what goes to the broker at this address is encrypted. */
export function isEncryptedAddress(address: string): boolean {
  return /^(mqtts|wss):/i.test(address);
}
