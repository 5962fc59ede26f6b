import './setup.mjs';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import test from 'node:test';
import { SigningKey } from '../js/core/keys.js';
import { listen } from '../js/relay/listener.js';
import { Relay } from '../js/relay/relay.js';
import { MAX_EVENT, Parser } from '../js/relay/sse.js';

const all = (...chunks) => {
  const parser = new Parser();
  return chunks.flatMap((chunk) => parser.push(Buffer.from(chunk)));
};

test('events and comments come in any chunks', () => {
  const text = 'event: hello\ndata: {}\n\n: alive\n\nid: 3\ndata:a\ndata: é\n\nevent: x\n\ndata\n\n';
  const expected = [
    { name: 'hello', data: '{}' },
    { name: ':', data: '' },
    { name: 'message', data: 'a\né' },
    { name: 'message', data: '' },
  ];
  assert.deepEqual(all(text), expected);
  assert.deepEqual(all(...[...Buffer.from(text)].map((byte) => [byte])), expected);
  assert.deepEqual(all(text.replaceAll('\n', '\r\n')), expected);
  assert.deepEqual(all('data: cut'), []);
});

test('endless and binary streams are broken', () => {
  assert.throws(() => all('a'.repeat(MAX_EVENT + 1)), RangeError);
  assert.throws(() => all('data: aaaaaaaaaaaaaaaa\n'.repeat(MAX_EVENT / 16)), RangeError);
  assert.throws(() => all([0x64, 0xff]), TypeError);
});

const SEALED = { envelope: '{}', sealed: 'AAAA' };

/** A server that gives tokens, and answers the rest as a test says. */
async function serve(t, routes) {
  const calls = [];
  let tokens = 0;
  const given = {
    'POST /v1/auth/challenge': (_, response) => response.end('{"nonce":"n","expires_at":1}'),
    'POST /v1/auth/token': (_, response) => response.end(`{"token":"t${++tokens}","expires_in":600}`),
  };
  const server = createServer((request, response) => {
    const name = `${request.method} ${request.url.split('?')[0]}`;
    calls.push(`${name} ${request.headers.authorization ?? '-'}`);
    request.resume();
    const route = routes[name] ?? given[name];
    if (route) route(request, response);
    else response.writeHead(404).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { calls, relay: new Relay(origin, { key: await SigningKey.generate() }) };
}

const problem = (status, code, headers = {}) => (_, response) =>
  response.writeHead(status, headers).end(JSON.stringify({ code, message: 'no' }));

test('a token is earned once, and again when the server has forgotten it', async (t) => {
  let known = 't1';
  const decisions = (request, response) =>
    response.writeHead(request.headers.authorization === `Bearer ${known}` ? 202 : 401).end();
  const { relay, calls } = await serve(t, { 'POST /v1/decisions': decisions });
  await Promise.all([relay.postDecision(SEALED), relay.postDecision(SEALED)]);
  assert.equal(calls.filter((c) => c.startsWith('POST /v1/auth/token')).length, 1);
  known = 't2';
  await relay.postDecision(SEALED);
  assert.equal(calls.filter((c) => c.startsWith('POST /v1/auth/token')).length, 2);
  known = 'never';
  await assert.rejects(relay.postDecision(SEALED), (e) => e.code === 'server');
});

test('faults are told apart', async (t) => {
  let answer = problem(500, 'internal');
  const { relay } = await serve(t, { 'POST /v1/decisions': (...both) => answer(...both) });
  const code = () => relay.postDecision(SEALED).then(() => 'none', (error) => error.code);
  assert.equal(await code(), 'server');
  answer = problem(429, 'limit', { 'Retry-After': '7' });
  await assert.rejects(relay.postDecision(SEALED), (e) => e.code === 'limit' && e.retryAfter === 7);
  answer = problem(403, 'not-linked');
  assert.equal(await code(), 'not-linked');
  answer = problem(403, 'unknown-key');
  assert.equal(await code(), 'unknown-key');
  answer = problem(403, 'wrong-origin');
  assert.equal(await code(), 'version');
  answer = (_, response) => response.writeHead(302, { Location: '/elsewhere' }).end();
  assert.equal(await code(), 'network');
  answer = (_, response) => response.end('not json');
  assert.equal(await code(), 'server');
  answer = (request) => request.socket.destroy();
  assert.equal(await code(), 'network');
  assert.equal(await new Relay('http://127.0.0.1:1').app().catch((e) => e.code), 'network');
  assert.equal(await relay.mailboxHost('0'.repeat(32)).catch((e) => e.code), 'mailbox-closed');
});

/** Listens until `enough` says so; gives what was heard. */
async function hear(relay, enough) {
  const [heard, controller] = [[], new AbortController()];
  const add = (what) => {
    heard.push(what);
    if (enough(heard)) controller.abort();
  };
  const hearer = {
    connected: () => add('connected'),
    message: async (sealed) => add(sealed),
    state: ({ state, reason }) => add(reason ? `${state} ${reason}` : state),
  };
  const early = AbortSignal.timeout(15_000);
  early.addEventListener('abort', () => controller.abort());
  await listen(relay, hearer, controller.signal);
  return heard;
}

test('a stream is opened again when it breaks, and says what it is', async (t) => {
  let times = 0;
  const stream = (_, response) => {
    if (++times === 2) return problem(503, 'database')(_, response);
    response.write('event: hello\ndata: {"server":"1","epoch":"e"}\n\n');
    response.write(`event: message\ndata: ${JSON.stringify(SEALED)}\n\n: x\n\n`);
    return times === 1 ? response.end() : undefined;
  };
  const { relay } = await serve(t, { 'GET /v1/stream': stream });
  const heard = await hear(relay, (h) => h.filter((x) => x.sealed).length === 2);
  assert.deepEqual(heard, [
    'connecting', 'live', 'connected', SEALED, 'connecting', 'offline server', 'live', 'connected', SEALED, 'idle',
  ]);
});

test('where a stream is held back, events come by long poll', async (t) => {
  const polled = [];
  const poll = (request, response) => {
    polled.push(new URL(request.url, 'http://x').searchParams.get('after'));
    const events = polled.length < 3 ? [{ event: 'message', data: SEALED }, { event: 'later', data: SEALED }] : [];
    response.end(JSON.stringify({ cursor: `c${polled.length}`, events }));
  };
  const { relay } = await serve(t, { 'GET /v1/stream': () => {}, 'GET /v1/poll': poll });
  const heard = await hear(relay, (h) => h.filter((x) => x.sealed).length === 2);
  assert.deepEqual(heard, ['connecting', 'live', 'connected', SEALED, SEALED, 'idle']);
  assert.deepEqual(polled.slice(0, 2), [null, 'c1']);
});

test('a device that the server does not know is refused, and a stream without hello is none', async (t) => {
  const refused = await serve(t, { 'POST /v1/auth/token': problem(403, 'unknown-key') });
  const heard = await hear(refused.relay, (h) => h.length === 2);
  assert.deepEqual(heard, ['connecting', 'refused unknown-key', 'idle']);
  const stream = (_, response) => response.write('data: {}\n\n');
  const broken = await serve(t, { 'GET /v1/stream': stream });
  assert.deepEqual(await hear(broken.relay, (h) => h.length === 2), ['connecting', 'offline server', 'idle']);
});

test('listening ends at once', async (t) => {
  let opened = () => {};
  const asked = new Promise((resolve) => {
    opened = resolve;
  });
  const { relay } = await serve(t, { 'GET /v1/stream': () => opened() });
  const controller = new AbortController();
  const ended = listen(relay, { connected() {}, async message() {}, state() {} }, controller.signal);
  await asked;
  const began = Date.now();
  controller.abort();
  await ended;
  assert.ok(Date.now() - began < 2000, 'before it would have given up by itself');
});

test('whoever stops listening while the token is fetched opens no stream', async (t) => {
  const stopped = new AbortController();
  const { calls, relay } = await serve(t, {
    'POST /v1/auth/token': (_, response) => {
      stopped.abort();
      response.end('{"token":"t","expires_in":600}');
    },
    'GET /v1/stream': (_, response) => response.writeHead(500).end(),
  });
  await listen(relay, { connected() {}, state() {}, message: async () => {} }, stopped.signal);
  assert.deepEqual(calls.filter((call) => !call.startsWith('POST /v1/auth/')), []);
});
