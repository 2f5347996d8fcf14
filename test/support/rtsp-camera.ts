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
  /** It sends whoever asks for a description there. */
  redirect?: string;
  /** What it hears, over and over: µ-law at 8 kHz, at least 20 ms; a full-scale square wave where it is left out. */
  sound?: Uint8Array;
}

/**
 * A camera as small as can be: RTSP (RFC 2326) with a picture nobody gets and a sound track in G.711 at 8 kHz, sent
 * as RTP inside the RTSP connection, in real time. It wants a user and a password.
 */
export async function startRtspCamera(credentials: string, manners: CameraManners = {}): Promise<RtspCamera> {
  const requests: string[] = [];
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
        playing = play(socket, soundChannel, {
          most: bad === 'burst' ? BURST_PACKETS : Infinity,
          sound: manners.sound ?? SQUARE_WAVE,
        });
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
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

const PACKET_MS = 20;
const PACKET_SAMPLES = 160;

/** 0x00 and 0x80 are the lowest and the highest value of µ-law. */
const SQUARE_WAVE = Uint8Array.from({ length: PACKET_SAMPLES }, (_, i) => (i % 80 < 40 ? 0x00 : 0x80));

/** Packets of 20 ms. A timer alone would be late by a little each time, and the sound slower than it was. */
function play(
  socket: Socket,
  channel: number,
  { most, sound }: { most: number; sound: Uint8Array },
): NodeJS.Timeout {
  const begunAt = performance.now();
  const perRound = Math.floor(sound.length / PACKET_SAMPLES);
  let packets = 0;
  return setInterval(() => {
    if (packets === most) socket.destroy();
    const due = Math.min(most, Math.floor((performance.now() - begunAt) / PACKET_MS));
    for (; packets < due; packets += 1) {
      const at = (packets % perRound) * PACKET_SAMPLES;
      socket.write(packetOf(packets, channel, sound.subarray(at, at + PACKET_SAMPLES)));
    }
  }, PACKET_MS);
}

function packetOf(number: number, channel: number, samples: Uint8Array): Buffer {
  const head = Buffer.alloc(16);
  head.write('$', 'latin1');
  head.writeUInt8(channel, 1);
  head.writeUInt16BE(12 + samples.length, 2);
  head.writeUInt8(0x80, 4);
  head.writeUInt16BE(number & 0xffff, 6);
  head.writeUInt32BE((number * samples.length) >>> 0, 8);
  head.writeUInt32BE(1, 12);
  return Buffer.concat([head, samples]);
}
