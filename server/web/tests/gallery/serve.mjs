// Serves server/web for the gallery, with the headers that the real server sends. Usage: node serve.mjs [PORT]

import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.png': 'image/png', '.webmanifest': 'application/manifest+json' };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
  + "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types countersign";

createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
  const file = join(ROOT, normalize(path === '/pair' ? '/index.html' : path.endsWith('/') ? `${path}index.html` : path));
  try {
    if (!file.startsWith(ROOT) || !statSync(file).isFile()) throw new Error('no such file');
  } catch {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': CSP, 'cache-control': 'no-store' });
  createReadStream(file).pipe(response);
}).listen(Number(process.argv[2] ?? 8099), '127.0.0.1', function () {
  console.log(`http://127.0.0.1:${this.address().port}/tests/gallery/`);
});
