import { createServer, type AddressInfo, type Socket } from 'node:net';

export interface RtspCamera {
  port: number;
  /** The requests it got: method and address. */
  requests: string[];
  close(): void;
}

/**
 * A camera as small as can be: RTSP (RFC 2326) with a picture nobody gets and a sound track in G.711 at 8 kHz, sent
 * as RTP inside the RTSP connection, in real time: a full-scale square wave. It wants a user and a password. With
 * `pictureFirst` it is mute to whoever has not set up the picture.
 */
export async function startRtspCamera(
  credentials: string,
  options: { pictureFirst?: boolean } = {},
): Promise<RtspCamera> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = '';
    let playing: NodeJS.Timeout | undefined;
    let channel = 0;
    let mute = options.pictureFirst === true;
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
        const head = `RTSP/1.0 ${allowed ? '200 OK' : '401 Unauthorized'}\r\nCSeq: ${sequence}\r\n`;
        if (method === 'SETUP') {
          channel = Number(/interleaved=(\d+)/.exec(request)?.[1] ?? '0');
          if (address.endsWith('picture')) mute = false;
        }
        socket.write(
          `${head}${allowed ? answerTo(method, channel) : 'WWW-Authenticate: Basic realm="camera"\r\n\r\n'}`,
        );
        if (allowed && method === 'PLAY' && !mute) playing = play(socket, channel);
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

function answerTo(method: string, channel: number): string {
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

/** 20 ms packets: 0x00 and 0x80 are the lowest and the highest value of µ-law. */
function play(socket: Socket, channel: number): NodeJS.Timeout {
  const samples = Buffer.from(Array.from({ length: 160 }, (_, i) => (i % 80 < 40 ? 0x00 : 0x80)));
  let packets = 0;
  return setInterval(() => {
    const head = Buffer.alloc(16);
    head.write('$', 'latin1');
    head.writeUInt8(channel, 1);
    head.writeUInt16BE(12 + samples.length, 2);
    head.writeUInt8(0x80, 4);
    head.writeUInt16BE(packets & 0xffff, 6);
    head.writeUInt32BE(packets * samples.length, 8);
    head.writeUInt32BE(1, 12);
    packets += 1;
    socket.write(Buffer.concat([head, samples]));
  }, 20);
}
