/**
 * Watches the stream of one MQTT connection for packets that are longer than allowed, by their fixed headers alone
 * (MQTT 3.1.1 section 2.2: one byte of type, then one to four bytes of remaining length). The returned function
 * takes the stream piece by piece and says whether it is still acceptable; once it was not, it stays so.
 * @param onPacket called with the type of each packet (MQTT 3.1.1 section 2.2.1) when its header is complete
 */
export function createFrameGuard(
  maxBytes: number,
  onPacket: (type: number) => void = () => undefined,
): (chunk: Uint8Array) => boolean {
  /** Bytes of the present packet's body that are still to come. */
  let body = 0;
  /** Bytes of the present header seen so far; 0 between packets. */
  let header = 0;
  let length = 0;
  let type = 0;
  let acceptable = true;

  return (chunk) => {
    let at = 0;
    while (acceptable && at < chunk.length) {
      if (body > 0) {
        const skipped = Math.min(body, chunk.length - at);
        body -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at]!;
      at += 1;
      if (header === 0) {
        header = 1;
        type = byte >> 4;
        length = 0;
        continue;
      }
      length += (byte & 0x7f) * 128 ** (header - 1);
      header += 1;
      const complete = (byte & 0x80) === 0;
      if (length > maxBytes || (!complete && header > 4)) acceptable = false;
      if (complete) {
        onPacket(type);
        body = length;
        header = 0;
      }
    }
    return acceptable;
  };
}
