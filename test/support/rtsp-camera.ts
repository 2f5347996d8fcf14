import { createServer, type AddressInfo, type Socket } from 'node:net';

export interface RtspCamera {
  port: number;
  /** The requests it got: method and address. */
  requests: string[];
  close(): void;
}

export interface CameraManners {
  /** What it does where its picture is not set up too: no sound, an error, or a second of sound and then the end. */
  withoutPicture?: 'mute' | 'refuse' | 'burst';
  /** It lists a first audio track that never carries sound. */
  hasMuteTrack?: boolean;
  /** What it hears, over and over, [samples] at 8 kHz; a full-scale square wave where this is left out. */
  sound?: Float32Array;
  /** Where it is; a free port where this is left out. */
  port?: number;
  /** It sends whoever asks for a description there. */
  redirect?: string;
}

/**
 * A camera as small as can be: RTSP (RFC 2326) with a picture nobody gets and a sound track in G.711 at 8 kHz, sent
 * as RTP inside the RTSP connection, in real time. It wants a user and a password.
 */
export async function startRtspCamera(credentials: string, manners: CameraManners = {}): Promise<RtspCamera> {
  const requests: string[] = [];
  const sound = manners.sound === undefined ? SQUARE_WAVE : Uint8Array.from(manners.sound, muLawOf);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = '';
    let soundChannel = 0;
    let hasPicture = false;
    let playing: NodeJS.Timeout | undefined;
    socket.on('error', () => undefined);
    socket.on('close', () => clearInterval(playing));
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const request = text.slice(0, end);
        text = text.slice(end + 4);
        const [method = '', address = ''] = request.split(' ');
        if (!/^[A-Z_]+$/.test(method)) continue;
        requests.push(`${method} ${address}`);
        const sequence = /CSeq: *(\d+)/i.exec(request)?.[1] ?? '0';
        const wanted = `Basic ${Buffer.from(credentials).toString('base64')}`;
        const allowed = method === 'OPTIONS' || request.includes(wanted);
        const respond = (status: string, rest = '\r\n') =>
          socket.write(`RTSP/1.0 ${status}\r\nCSeq: ${sequence}\r\n${rest}`);
        if (!allowed) {
          respond('401 Unauthorized', 'WWW-Authenticate: Basic realm="camera"\r\n\r\n');
          continue;
        }
        if (method === 'DESCRIBE' && manners.redirect !== undefined) {
          respond('302 Found', `Location: ${manners.redirect}\r\n\r\n`);
          continue;
        }
        const channel = Number(/interleaved=(\d+)/.exec(request)?.[1] ?? 0);
        if (method === 'SETUP' && address.endsWith('/sound')) soundChannel = channel;
        if (method === 'SETUP' && address.endsWith('/picture')) hasPicture = true;
        const bad = hasPicture ? undefined : manners.withoutPicture;
        if (method === 'PLAY' && bad === 'refuse') {
          respond('455 Method Not Valid in This State');
          continue;
        }
        respond('200 OK', answerTo(method, channel, manners));
        if (method !== 'PLAY' || bad === 'mute') continue;
        playing = play(socket, soundChannel, sound, bad === 'burst' ? BURST_PACKETS : Infinity);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(manners.port ?? 0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A second of sound. */
const BURST_PACKETS = 50;

function answerTo(method: string, channel: number, manners: CameraManners): string {
  switch (method) {
    case 'OPTIONS':
      return 'Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n';
    case 'DESCRIBE': {
      const description = [
        'v=0',
        'o=- 0 0 IN IP4 127.0.0.1',
        's=camera',
        't=0 0',
        'm=video 0 RTP/AVP 96',
        'a=rtpmap:96 H264/90000',
        'a=control:picture',
        ...(manners.hasMuteTrack === true ? ['m=audio 0 RTP/AVP 0', 'a=control:back'] : []),
        'm=audio 0 RTP/AVP 0',
        'a=control:sound',
        '',
      ].join('\r\n');
      return `Content-Type: application/sdp\r\nContent-Length: ${description.length}\r\n\r\n${description}`;
    }
    case 'SETUP':
      return `Transport: RTP/AVP/TCP;unicast;interleaved=${channel}-${channel + 1}\r\nSession: 1\r\n\r\n`;
    default:
      return 'Session: 1\r\n\r\n';
  }
}

/** Samples in a packet of 20 ms. */
const PACKET = 160;

/** 0x00 and 0x80 are the lowest and the highest value of µ-law. */
const SQUARE_WAVE = Buffer.from(Array.from({ length: PACKET }, (_, i) => (i % 80 < 40 ? 0x00 : 0x80)));

/** A sample in [-1, 1] as G.711 has it: sign, exponent and mantissa of the amplitude, all bits turned over. */
function muLawOf(sample: number): number {
  const amplitude = Math.min(32_635, Math.round(Math.abs(sample) * 32_768)) + 132;
  const exponent = Math.max(0, Math.floor(Math.log2(amplitude)) - 7);
  const mantissa = (amplitude >> (exponent + 3)) & 0x0f;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff;
}

/** Packets by the clock: a timer that comes late is made up for. */
function play(socket: Socket, channel: number, sound: Uint8Array, most: number): NodeJS.Timeout {
  const begun = performance.now();
  let packets = 0;
  const packet = () => {
    const samples = Buffer.from(
      Array.from({ length: PACKET }, (_, i) => sound[(packets * PACKET + i) % sound.length]!),
    );
    const head = Buffer.alloc(16);
    head.write('$', 'latin1');
    head.writeUInt8(channel, 1);
    head.writeUInt16BE(12 + samples.length, 2);
    head.writeUInt8(0x80, 4);
    head.writeUInt16BE(packets & 0xffff, 6);
    head.writeUInt32BE((packets * samples.length) >>> 0, 8);
    head.writeUInt32BE(1, 12);
    packets += 1;
    socket.write(Buffer.concat([head, samples]));
  };
  return setInterval(() => {
    const due = Math.min(most, Math.floor((performance.now() - begun) / 20));
    while (packets < due) packet();
    if (packets === most) socket.destroy();
  }, 20);
}
