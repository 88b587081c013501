// A small shop's telemetry as OTLP/JSON requests: eight services, two databases, a queue, an external payment provider,
// errors, a lost parent, a skewed clock, a link. Made up from a seed, so that counts are known; only the times move, to
// end a minute before now.

const SECOND = 1_000_000_000n;
const MILLI = 1_000_000n;
/** Traces of one purchase each, twenty seconds apart: all within the last hour for as long as the tests take. */
export const PURCHASES = 40;
/** The payment of every so many-th purchase fails. */
const FAILS_EVERY = 5;
export const FAILED = PURCHASES / FAILS_EVERY;
/** Spans of a purchase without an error: one fewer where the payment fails, since nothing is mailed. */
export const SPANS_OF_PURCHASE = 12;
/** Spans of the one trace that is large. */
export const LARGE = 600;

export const traceId = (n: number) => `5b0e${n.toString(16).padStart(28, '0')}`;
export const FIRST = traceId(1);
export const FAILING = traceId(FAILS_EVERY);
export const LARGE_TRACE = traceId(0xfff);
export const ODD_TRACE = traceId(0xeee);

const spanId = (trace: number, n: number) => `a1${trace.toString(16).padStart(4, '0')}${n.toString(16).padStart(10, '0')}`;

type Value = string | number | boolean | string[];
const value = (v: Value): object =>
  typeof v === 'string' ? { stringValue: v }
  : typeof v === 'boolean' ? { boolValue: v }
  : Array.isArray(v) ? { arrayValue: { values: v.map(value) } }
  : Number.isInteger(v) ? { intValue: String(v) } : { doubleValue: v };
const attributes = (of: Record<string, Value>) => Object.entries(of).map(([key, v]) => ({ key, value: value(v) }));

const KINDS = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };
const LANGUAGES: Record<string, string> = {
  storefront: 'nodejs', cart: 'go', checkout: 'java', payment: 'java', inventory: 'rust', mailer: 'python', catalogue: 'go', batch: 'python',
};

const resource = (service: string) => ({
  attributes: attributes({
    'service.name': service,
    ...(service === 'mailer' ? { 'service.namespace': 'post' } : {}),
    'service.version': '1.4.2',
    'service.instance.id': `${service}-0`,
    'deployment.environment.name': 'prod',
    'telemetry.sdk.language': LANGUAGES[service],
    'k8s.pod.name': `${service}-6f7c9d-x2x4q`,
  }),
});

interface Span {
  service: string; trace: number; id: number; parent?: number; name: string; kind: keyof typeof KINDS;
  start: bigint; length: bigint; attributes?: Record<string, Value>; error?: string; extra?: object;
}

const span = (s: Span) => ({
  traceId: traceId(s.trace), spanId: spanId(s.trace, s.id),
  ...(s.parent === undefined ? {} : { parentSpanId: spanId(s.trace, s.parent) }),
  name: s.name, kind: KINDS[s.kind],
  startTimeUnixNano: String(s.start), endTimeUnixNano: String(s.start + s.length),
  attributes: attributes(s.attributes ?? {}),
  ...(s.error ? { status: { code: 2, message: s.error } } : {}),
  ...s.extra,
});

const exception = (at: bigint) => ({
  events: [{
    timeUnixNano: String(at), name: 'exception',
    attributes: attributes({
      'exception.type': 'com.shop.PaymentDeclined', 'exception.message': 'card declined by the bank',
      'exception.stacktrace': 'com.shop.PaymentDeclined: card declined by the bank\n\tat com.shop.Payment.charge(Payment.java:42)\n\tat com.shop.Payment.pay(Payment.java:17)',
    }),
  }],
});

/** The spans of one purchase. */
function purchase(n: number, t: bigint): Span[] {
  const fails = n % FAILS_EVERY === 0;
  const ms = (x: number) => BigInt(Math.round((x + (n % 7) * x * 0.03) * 1_000)) * 1_000n;
  const at = (x: number) => t + ms(x);
  const error = fails ? 'payment failed' : undefined;
  const of = (service: string, id: number, parent: number | undefined, kind: keyof typeof KINDS, name: string, from: number, length: number, more: Partial<Span> = {}): Span =>
    ({ service, trace: n, id, parent, kind, name, start: at(from), length: ms(length), ...more });
  const spans = [
    of('storefront', 1, undefined, 'server', 'POST /buy', 0, 310, { error, attributes: { 'http.request.method': 'POST', 'http.route': '/buy', 'http.response.status_code': fails ? 502 : 200 } }),
    of('storefront', 2, 1, 'client', 'GET', 5, 40, { attributes: { 'http.request.method': 'GET', 'server.address': 'cart' } }),
    of('cart', 3, 2, 'server', 'GET /cart/{id}', 8, 32, { attributes: { 'http.request.method': 'GET', 'http.route': '/cart/{id}', 'http.response.status_code': 200, 'cart.items': n % 4 } }),
    of('cart', 4, 3, 'client', 'GET cart', 10, 3, { attributes: { 'db.system.name': 'redis', 'server.address': 'redis-0', 'db.operation.name': 'GET' } }),
    of('storefront', 5, 1, 'client', 'Checkout/Place', 50, 250, { error, attributes: { 'rpc.system': 'grpc', 'rpc.service': 'Checkout', 'rpc.method': 'Place', 'server.address': 'checkout' } }),
    of('checkout', 6, 5, 'server', 'Checkout/Place', 53, 244, { error, attributes: { 'rpc.system': 'grpc', 'rpc.service': 'Checkout', 'rpc.method': 'Place' } }),
    of('checkout', 7, 6, 'client', 'INSERT orders', 60, 12, { attributes: { 'db.system.name': 'postgresql', 'db.namespace': 'shop', 'db.operation.name': 'INSERT', 'db.query.text': 'INSERT INTO orders VALUES ($1, $2)' } }),
    of('checkout', 8, 6, 'client', 'POST', 80, 160, { error, attributes: { 'http.request.method': 'POST', 'server.address': 'payment' } }),
    of('payment', 9, 8, 'server', 'POST /pay', 84, 150, { error: fails ? 'card declined by the bank' : undefined, attributes: { 'http.request.method': 'POST', 'http.route': '/pay', 'http.response.status_code': fails ? 402 : 200 }, extra: fails ? exception(at(200)) : {} }),
    of('payment', 10, 9, 'client', 'POST', 90, 130, { attributes: { 'http.request.method': 'POST', 'server.address': 'api.bank.example', 'http.response.status_code': fails ? 402 : 201 } }),
  ];
  if (!fails) {
    spans.push(
      of('checkout', 11, 6, 'producer', 'send orders', 262, 6, { attributes: { 'messaging.system': 'kafka', 'messaging.destination.name': 'orders', 'messaging.operation.type': 'send' } }),
      of('mailer', 12, 11, 'consumer', 'process orders', 290, 45, { attributes: { 'messaging.system': 'kafka', 'messaging.destination.name': 'orders', 'messaging.operation.type': 'process' } }),
    );
  }
  return spans;
}

/** One trace with what real ones have too: a parent that never came, a clock that is off, a link. */
function odd(t: bigint): Span[] {
  const n = 0xeee;
  return [
    { service: 'batch', trace: n, id: 1, name: 'restock', kind: 'internal', start: t, length: 900n * MILLI, extra: { links: [{ traceId: FIRST, spanId: spanId(1, 1), attributes: attributes({ reason: 'sold out' }) }] } },
    { service: 'batch', trace: n, id: 2, parent: 1, name: 'POST', kind: 'client', start: t + 100n * MILLI, length: 300n * MILLI, attributes: { 'server.address': 'inventory' } },
    { service: 'inventory', trace: n, id: 3, parent: 2, name: 'POST /stock', kind: 'server', start: t - 4_000n * MILLI, length: 250n * MILLI },
    { service: 'catalogue', trace: n, id: 4, parent: 0xabc, name: 'refresh', kind: 'internal', start: t + 500n * MILLI, length: 100n * MILLI },
  ];
}

function large(t: bigint): Span[] {
  const n = 0xfff;
  const root: Span = { service: 'batch', trace: n, id: 1, name: 'reindex', kind: 'internal', start: t, length: BigInt(LARGE) * 5n * MILLI };
  const page = (i: number): Span => ({
    service: i % 3 ? 'catalogue' : 'inventory', trace: n, id: i + 2, parent: i % 10 === 0 ? 1 : i - (i % 10) + 2, name: `page ${i}`,
    kind: 'internal', start: t + BigInt(i) * 5n * MILLI, length: i % 10 === 0 ? 48n * MILLI : 4n * MILLI,
  });
  return [root, ...Array.from({ length: LARGE - 1 }, (_, i) => page(i))];
}

const byService = <T extends { service: string }>(records: T[]) => {
  const groups = new Map<string, T[]>();
  for (const r of records) groups.set(r.service, [...(groups.get(r.service) ?? []), r]);
  return [...groups];
};
const scope = { name: 'shop', version: '2.1.0' };

/** The requests by signal, and how many records they hold. */
export function shop(now: bigint) {
  const end = now - 60n * SECOND;
  const time = (n: number) => end - BigInt(PURCHASES - n) * 20n * SECOND;
  const numbers = Array.from({ length: PURCHASES }, (_, i) => i + 1);
  const spans = [...numbers.flatMap((n) => purchase(n, time(n))), ...odd(end - 90n * SECOND), ...large(end - 300n * SECOND)];
  const logs = numbers.flatMap((n) => {
    const fails = n % FAILS_EVERY === 0;
    const record = (service: string, id: number, number: number, text: string, body: string, after: bigint) => ({
      service, record: {
        timeUnixNano: String(time(n) + after), severityNumber: number, severityText: text, body: { stringValue: body },
        traceId: traceId(n), spanId: spanId(n, id), attributes: attributes({ 'thread.name': 'main', order: n }),
      },
    });
    return [
      record('checkout', 6, 9, 'INFO', `order ${n} received`, 55n * MILLI),
      fails ? record('payment', 9, 17, 'ERROR', `payment of order ${n} declined`, 200n * MILLI)
            : record('payment', 9, 5, 'DEBUG', `payment of order ${n} accepted`, 200n * MILLI),
    ];
  });
  const point = (n: number) => ({ timeUnixNano: String(time(n)), startTimeUnixNano: String(time(0)) });
  const metrics = [
    { name: 'shop.cart.items', unit: '{item}', description: 'Items in open carts', gauge: { dataPoints: numbers.map((n) => ({ ...point(n), asDouble: 20 + (n % 9), attributes: attributes({ tier: 'gold' }) })) } },
    { name: 'shop.orders', unit: '{order}', description: 'Orders placed', sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: numbers.map((n) => ({ ...point(n), asInt: String(n * 3) })) } },
    { name: 'shop.checkout.duration', unit: 's', description: 'How long a checkout takes', histogram: { aggregationTemporality: 2, dataPoints: numbers.map((n) => ({ ...point(n), count: String(n * 3), sum: n * 0.9, explicitBounds: [0.1, 0.5, 1], bucketCounts: [String(n), String(n), String(n), '0'] })) } },
  ];
  return {
    spans: spans.length, logs: logs.length, points: 3 * PURCHASES,
    requests: {
      traces: { resourceSpans: byService(spans).map(([service, all]) => ({ resource: resource(service), scopeSpans: [{ scope, spans: all.map(span) }] })) },
      logs: { resourceLogs: byService(logs).map(([service, all]) => ({ resource: resource(service), scopeLogs: [{ scope, logRecords: all.map((l) => l.record) }] })) },
      metrics: { resourceMetrics: [{ resource: resource('checkout'), scopeMetrics: [{ scope, metrics }] }] },
    },
  };
}
