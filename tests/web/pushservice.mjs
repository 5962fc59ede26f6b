// pushservice.mjs CERTIFICATE KEY: a stand-in for Mozilla's push service, on free ports of loopback: what Firefox keeps a
// WebSocket to, and where servers post their pushes. It is as strict as the real one, and misbehaves when it is told to:
//
//   {"path": "/wpush/…" or null for all, "plan": [{"status": 503, "retryAfter": 2, "delay": 100} or {"hangs": true} or {"drops": true}]}
//
// on stdin: what happens to the next posts. What happened is told on stdout, a line of JSON each:
//
//   {"event": "listening", "socket": PORT, "https": PORT}
//   {"event": "subscribed", "endpoint": "…", "key": "…"}
//   {"event": "push", "path": "/wpush/…", "status": 201, "at": MS, "headers": {…}, "body": "BASE64", "claims": {…}}
//   {"event": "acknowledged", "at": MS}
//
// tests/lab/pushservice.py is the other side.
import { createPublicKey, randomBytes, randomUUID, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { createInterface } from 'node:readline';
import { WebSocketServer } from 'ws';

const MAX_BODY = 4096;
const TOKEN_LIFE_MS = 24 * 3600 * 1000;

const [, , certificate, key] = process.argv;
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Subscriptions by path: {agent, channel, key}. */
const subscriptions = new Map();
/** Open sockets by agent, and what they have not acknowledged. */
const sockets = new Map();
const waiting = new Map();
/** What happens to the next posts, by path; under null to all. */
const plans = new Map();

let origin;

// Browsers: https://mozilla-push-service.readthedocs.io describes the messages.

const MESSAGES = {
  hello(socket, { uaid }) {
    socket.agent = uaid || randomUUID();
    sockets.set(socket.agent, socket);
    socket.tell({ messageType: 'hello', uaid: socket.agent, status: 200, use_webpush: true, broadcasts: {} });
    for (const notification of waiting.get(socket.agent) ?? []) socket.tell(notification);
  },
  register(socket, { channelID, key: applicationKey }) {
    const path = `/wpush/v2/${randomBytes(24).toString('base64url')}`;
    subscriptions.set(path, { agent: socket.agent, channel: channelID, key: applicationKey });
    const pushEndpoint = origin + path;
    socket.tell({ messageType: 'register', channelID, status: 200, pushEndpoint });
    say({ event: 'subscribed', endpoint: pushEndpoint, key: applicationKey });
  },
  unregister(socket, { channelID }) {
    for (const [path, { channel }] of subscriptions) if (channel === channelID) subscriptions.delete(path);
    socket.tell({ messageType: 'unregister', channelID, status: 200 });
  },
  ack(socket, { updates }) {
    const known = new Set(updates.map(({ version }) => version));
    waiting.set(socket.agent, (waiting.get(socket.agent) ?? []).filter(({ version }) => !known.has(version)));
    say({ event: 'acknowledged', at: Date.now() });
  },
};

const socketServer = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: ([first]) => first });
socketServer.on('connection', (socket) => {
  socket.tell = (message) => socket.send(JSON.stringify(message));
  socket.on('message', (data) => {
    const message = JSON.parse(data);
    // A ping has no type.
    if (!message.messageType) socket.send('{}');
    else MESSAGES[message.messageType]?.(socket, message);
  });
  socket.on('close', () => {
    if (sockets.get(socket.agent) === socket) sockets.delete(socket.agent);
  });
});

// Servers: RFC 8030, 8188, 8291, 8292, over HTTP/2 as the real ones.

/** What a server's token says, when it is right; else why it is not. */
function checkToken(header, expectedKey) {
  const [, token, publicKey] = /^vapid t=([^, ]+), k=([\w-]+)$/.exec(header ?? '') ?? [];
  if (!token) return { fault: 'no token' };
  const point = Buffer.from(publicKey, 'base64url');
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url'));
  const [head, claims, signature] = token.split('.');
  const signer = createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: 'P-256', x, y } });
  const isSigned = verify(
    'sha256', Buffer.from(`${head}.${claims}`), { key: signer, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'),
  );
  if (!isSigned) return { fault: 'bad signature' };
  const said = JSON.parse(Buffer.from(claims, 'base64url'));
  const left = said.exp * 1000 - Date.now();
  if (left <= 0 || left > TOKEN_LIFE_MS) return { fault: 'bad exp' };
  if (said.aud !== origin) return { fault: 'bad aud' };
  if (!/^(mailto:.+@|https:\/\/)/.test(said.sub ?? '')) return { fault: 'bad sub' };
  if (expectedKey && publicKey !== expectedKey.replace(/=+$/, '')) return { fault: 'another key' };
  return { said };
}

/** What an orderly service answers to a post. */
function judge(request, body) {
  const { headers, url } = request;
  const subscription = subscriptions.get(url);
  if (!subscription) return { status: 410 };
  if (!/^\d+$/.test(headers.ttl ?? '')) return { status: 400, fault: 'no TTL' };
  if (headers.topic && !/^[\w-]{1,32}$/.test(headers.topic)) return { status: 400, fault: 'bad topic' };
  if (body.length > MAX_BODY) return { status: 413 };
  if (headers['content-encoding'] !== 'aes128gcm') return { status: 400, fault: 'bad encoding' };
  const { said, fault } = checkToken(headers.authorization, subscription.key);
  return said ? { status: 201, claims: said, subscription } : { status: 401, fault };
}

function deliver({ agent, channel }, request, body) {
  const notification = {
    messageType: 'notification', channelID: channel, version: randomUUID(), ttl: Number(request.headers.ttl),
    data: body.toString('base64url'), headers: { encoding: 'aes128gcm' },
  };
  // The newest of a topic takes the place of what is not delivered yet.
  const { topic } = request.headers;
  const rest = (waiting.get(agent) ?? []).filter((old) => sockets.has(agent) || !topic || old.topic !== topic);
  waiting.set(agent, [...rest, { ...notification, topic }]);
  sockets.get(agent)?.tell(notification);
  return notification.version;
}

function planned(path) {
  return plans.get(path)?.shift() ?? plans.get(null)?.shift();
}

async function answer(request, response) {
  const at = Date.now();
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const { url: path, headers } = request;
  const told = { event: 'push', path, at, http: request.httpVersion, headers, body: body.toString('base64') };
  const { status, retryAfter, delay = 0, hangs, drops } = planned(path) ?? {};
  if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
  if (hangs) return say({ ...told, status: 'hangs' });
  if (drops) {
    say({ ...told, status: 'drops' });
    return (request.stream?.session ?? request.socket).destroy();
  }
  if (status) {
    say({ ...told, status });
    return response.writeHead(status, retryAfter ? { 'Retry-After': retryAfter } : {}).end();
  }
  const { subscription, ...judged } = judge(request, body);
  say({ ...told, ...judged });
  if (!subscription) return response.writeHead(judged.status).end(judged.fault ?? '');
  const version = deliver(subscription, request, body);
  return response.writeHead(201, { Location: `${origin}/m/${version}`, TTL: headers.ttl }).end();
}

const web = createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true }, answer);
web.listen(0, '127.0.0.1', () => {
  origin = `https://127.0.0.1:${web.address().port}`;
  say({ event: 'listening', socket: socketServer.address().port, https: web.address().port });
});

for await (const line of createInterface({ input: process.stdin })) {
  const { path, plan } = JSON.parse(line);
  plans.set(path, plan);
}
process.exit(0);
