// Part of verify.sh: a web server for the checkpoints in a folder, on the loopback.
//
//   node mirror.js FOLDER PORT
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';

const [folder, port] = process.argv.slice(2);

createServer((request, response) => {
  const path = join(folder, basename(decodeURIComponent(request.url)));
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-length': found.size });
  createReadStream(path).pipe(response);
}).listen(Number(port), '127.0.0.1');
