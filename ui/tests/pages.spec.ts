// Every page shows the shop's data and is accessible; what its address says survives a reload.
import { accessible, expect, test } from './watched.ts';
import { FAILED, FIRST, LARGE_TRACE, PURCHASES } from './shop.ts';

const PAGES: [path: string, shows: string[]][] = [
  ['/start', ['spans have arrived', 'export OTEL_EXPORTER_OTLP_ENDPOINT', 'The lake', 'Oldest row']],
  ['/start?guide=java', ['-javaagent:opentelemetry-javaagent.jar']],
  ['/start?guide=collector', ['otlp/orrery:']],
  ['/services', ['storefront', 'payment', 'post/mailer', '1.4.2']],
  ['/services?find=pay', ['payment']],
  ['/services/checkout', ['Checkout/Place', 'Called by', 'storefront', 'telemetry.sdk.language']],
  ['/services/post%2Fmailer', ['process orders']],
  ['/map', ['nodes']],
  ['/map?view=table', ['storefront', 'checkout', 'messaging', 'database', 'api.bank.example']],
  ['/map?against=1d', ['What has changed', 'everything is new']],
  ['/traces', [`${PURCHASES + 2}`, 'POST /buy']],
  ["/traces?filter=status_code%20%3D%20'ERROR'&order=slowest", [`${FAILED} of ${FAILED} traces`]],
  [`/trace/${FIRST}`, ['POST /buy', 'Checkout/Place', '12 spans', '100 % complete']],
  [`/trace/${FIRST}?tab=flame`, ['Spans of one path are one frame', 'POST /pay']],
  [`/trace/${FIRST}?tab=logs`, ['order 1 received', 'payment of order 1 accepted']],
  [`/trace/${FIRST}?tab=table`, ['Own time by service']],
  [`/trace/${LARGE_TRACE}`, ['reindex', '600 spans']],
  ['/logs', ['order 40 received', '80']],
  ['/logs?severity=error', ['payment of order 40 declined', `${FAILED} of ${FAILED}`]],
  ['/logs?text=declined', ['payment of order 40 declined']],
  ['/metrics', ['shop.cart.items', 'shop.orders', 'Choose a metric']],
  ['/metrics?name=shop.cart.items', ['Items in open carts', 'checkout']],
  ['/metrics?name=shop.checkout.duration', ['How long a checkout takes']],
  ['/alerts', ['No rule is loaded', '- alert: ErrorRatio', 'Nobody is told']],
  ['/sql?q=SELECT%20service_name%2C%20count(*)%20AS%20n%20FROM%20spans%20GROUP%20BY%20service_name%20ORDER%20BY%20n%20DESC', ['8 rows', 'catalogue']],
];

const plain = (text: string) => new RegExp(text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replace(/ /g, '\\s'));

for (const [path, shows] of PAGES) {
  test(`${path} shows its data and is accessible`, async ({ page }) => {
    await page.goto(path);
    for (const text of shows) await expect(page.getByText(plain(text)).first()).toBeVisible();
    await expect(page.getByRole('alert')).toHaveCount(0);
    await accessible(page);
  });
}

for (const [path, shows] of PAGES.filter(([path]) => path.includes('?'))) {
  test(`${path} is the same view after a reload`, async ({ page }) => {
    await page.goto(path);
    await expect(page.getByText(plain(shows[0])).first()).toBeVisible();
    const { search } = new URL(page.url());
    await page.reload();
    await expect(page.getByText(plain(shows[0])).first()).toBeVisible();
    expect(new URL(page.url()).search).toBe(search);
  });
}

test.describe('what is not there', () => {
  test.use({ failingRequests: true });
  for (const [path, says, next] of [
    ['/nowhere', 'There is no such page', 'Go to the services'],
    ['/trace/00000000000000000000000000000abc', 'There is no such trace', 'Search traces'],
    ['/traces?filter=no_such_column%20%3D%201', 'no_such_column', 'Clear the filter'],
    ['/services?start=2001-01-01T00%3A00%3A00Z&end=2001-01-02T00%3A00%3A00Z', 'No spans in this window', 'Show all that is stored'],
    ['/metrics?name=no.such.metric', 'No metrics in this window', 'Show all that is stored'],
    ['/sql?q=COPY%20spans%20TO%20%27x.csv%27', 'SQL', 'Run'],
  ]) {
    test(`${path} says what to do next`, async ({ page }) => {
      await page.goto(path);
      await expect(page.getByText(plain(says)).first()).toBeVisible();
      await expect(page.getByText(next).first()).toBeVisible();
      await accessible(page);
    });
  }
});
