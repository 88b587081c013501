// Answers of the alerts API as the server types them, for states that a real server is not easily brought into: held and
// resolved alerts, a refused file, a rule that fails, a notifier that nobody answers.
const MINUTE = 60_000;
const iso = (at: number) => new Date(at).toISOString().replace(/(\.\d{3})Z$/, '$1000000Z');

export const FILE = 'rules/shop.yaml';
const SQL = `SELECT service_name,
       count(*) FILTER (WHERE status_code = 'ERROR') * 1.0 / count(*) AS value
FROM spans
WHERE timestamp >= $start AND timestamp < $end
GROUP BY service_name
HAVING value > 0.05`;

const rule = (alert: string, now: number, more: object = {}) => ({
  alert, sql: SQL, window_ms: 5 * MINUTE, for_ms: 2 * MINUTE, keep_firing_for_ms: 0,
  labels: { severity: 'critical' }, annotations: { summary: '{{ $labels.service_name }} fails' },
  health: 'ok', error: null, last_evaluation: iso(now - 12_000), evaluation_ms: 8.4, line: 5, state: 'inactive', ...more,
});

const alert = (alert: string, fingerprint: string, state: string, now: number, more: { labels?: Record<string, string> } & Record<string, unknown> = {}) => {
  const { labels, ...rest } = more;
  return {
    fingerprint, alert, group: 'shop', file: FILE, state,
    labels: { alertname: alert, service_name: 'payment', severity: 'critical', ...labels },
    annotations: { summary: `${alert} of payment`, runbook_url: 'https://runbooks.example.org/payment' },
    value: 0.2, active_since: iso(now - 12 * MINUTE), fired_at: state === 'pending' ? null : iso(now - 10 * MINUTE), resolved_at: null,
    keep_firing_since: null, service: 'payment', trace_ids: [], ...rest,
  };
};

/** Whatever a rule may put into a label: it is text, and nothing but text. */
export const HOSTILE = '<img src=x onerror="document.title=1">';

export const FIRING = 'a000000000000001';
export const ENDED = 'a0000000000000ff';

export function alerts(now: number, traces: string[]) {
  return {
    alerts: [
      alert('ErrorRatio', FIRING, 'firing', now, { trace_ids: traces }),
      alert('SlowCalls', 'a000000000000002', 'firing', now, {
        labels: { service_name: 'mailer', service_namespace: 'post', severity: 'warning' }, service: 'post/mailer', value: 1234.5678,
        keep_firing_since: iso(now - MINUTE), annotations: { description: HOSTILE },
      }),
      alert('ConsumerLag', 'a000000000000003', 'pending', now, { service: null, labels: { queue: HOSTILE }, value: null }),
      alert('ErrorRatio', 'a000000000000004', 'resolved', now, { resolved_at: iso(now - 3 * MINUTE), labels: { service_name: 'cart' }, service: 'cart' }),
    ],
    groups: [
      {
        name: 'shop', file: FILE, interval_ms: 15_000, query_offset_ms: 0, limit: 0, last_evaluation: iso(now - 12_000), evaluation_ms: 21.7, missed: 0,
        rules: [
          rule('ErrorRatio', now, { state: 'firing' }),
          rule('SlowCalls', now, { state: 'firing', for_ms: 0, keep_firing_for_ms: 5 * MINUTE, line: 21, labels: { severity: 'warning' } }),
          rule('ConsumerLag', now, { state: 'pending', line: 40 }),
        ],
      },
      {
        name: 'storage', file: 'rules/storage.yaml', interval_ms: 60_000, query_offset_ms: 10_000, limit: 20, last_evaluation: iso(now - 40_000), evaluation_ms: 2.1, missed: 3,
        rules: [
          rule('IngestRefused', now, { health: 'error', error: 'the query took longer than 15 s', line: 4 }),
          rule('NeverRun', now, { health: 'unknown', last_evaluation: null, evaluation_ms: null, line: 18 }),
        ],
      },
    ],
    files: [
      { path: FILE, error: null },
      { path: 'rules/storage.yaml', error: null },
      { path: 'rules/broken.yaml', error: { message: 'unknown key `exprs`; did you mean `expr`?', line: 7, column: 9 } },
    ],
    notifiers: [
      { name: 'team', kind: 'webhook', sent: 42, failed: 0, last_success: iso(now - 30_000), last_error: null, failing_since: null, queued: 0 },
      { name: 'pager', kind: 'alertmanager', sent: 7, failed: 3, last_success: iso(now - 20 * MINUTE), last_error: 'connection refused', failing_since: iso(now - 4 * MINUTE), queued: 2 },
    ],
  };
}

const receipt = { elapsed_ms: 1.2, rows_scanned: 7, bytes_scanned: 700, files: 0, files_pruned: 0, sql: 'SELECT * FROM alerts ORDER BY timestamp DESC' };

/** Newest first, as the server answers. */
export function history(now: number) {
  const change = (minutes: number, alert: string, fingerprint: string, from: string, to: string, labels: Record<string, string> = {}) =>
    ({ timestamp: iso(now - minutes * MINUTE), alert, group: 'shop', fingerprint, from, to, value: 0.2, labels: { alertname: alert, service_name: 'payment', severity: 'critical', ...labels } });
  return {
    transitions: [
      change(3, 'ErrorRatio', 'a000000000000004', 'firing', 'resolved', { service_name: 'cart' }),
      change(10, 'ErrorRatio', FIRING, 'pending', 'firing'),
      change(10, 'ErrorRatio', 'a000000000000004', 'pending', 'firing', { service_name: 'cart' }),
      change(12, 'ErrorRatio', FIRING, 'inactive', 'pending'),
      change(12, 'ErrorRatio', 'a000000000000004', 'inactive', 'pending', { service_name: 'cart' }),
      change(31, 'ErrorRatio', ENDED, 'firing', 'resolved', { service_name: 'checkout' }),
      change(44, 'ErrorRatio', ENDED, 'pending', 'firing', { service_name: 'checkout' }),
    ],
    receipt,
  };
}

export const nothing = { alerts: [], groups: [], files: [], notifiers: [] };
export const noHistory = { transitions: [], receipt };
