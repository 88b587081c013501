// What a person does: by keyboard and by mouse, with the address following along.
import { expect, test } from './watched.ts';
import { FAILING, FIRST, LARGE_TRACE, ODD_TRACE } from './shop.ts';

const parameter = (name: string) => (url: URL) => url.searchParams.get(name) !== null;

test('a typed time range is in the address, survives a reload, and Back undoes it', async ({ page }) => {
  await page.goto('/services');
  await page.getByRole('button', { name: 'Time range: Last 1 hour' }).click();
  await page.getByLabel('Type a range').fill('last 45m');
  await expect(page.getByText('Enter applies it')).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/start=-45m/);
  await page.reload();
  await expect(page.getByRole('button', { name: 'Time range: Last 45m' })).toBeVisible();
  await page.getByRole('link', { name: 'Traces', exact: true }).click();
  await expect(page).toHaveURL(/\/traces\?start=-45m/);
  await page.goBack();
  await page.goBack();
  await expect(page.getByRole('button', { name: 'Time range: Last 1 hour' })).toBeVisible();
});

test('namespace and environment narrow every page and stay on the way', async ({ page }) => {
  await page.goto('/services');
  await page.getByRole('button', { name: /^namespaces:/ }).click();
  await page.getByRole('button', { name: 'post', exact: true }).click();
  await expect(page).toHaveURL(/ns=post/);
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await page.getByRole('link', { name: 'Traces', exact: true }).click();
  await expect(page).toHaveURL(/ns=post/);
  await expect(page.getByText(/32 of 32 traces/)).toBeVisible();
});

test('the theme is chosen, kept, and in effect', async ({ page }) => {
  await page.goto('/start');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.getByRole('button', { name: /^Theme: system/ }).click();
  await expect.poll(ground).toBe('rgb(15, 18, 22)');
  await page.getByRole('button', { name: /^Theme: dark/ }).click();
  await expect.poll(ground).toBe('rgb(251, 251, 252)');
  await page.reload();
  await expect.poll(ground).toBe('rgb(251, 251, 252)');
});

test('the start page shows what is on the disk and which attributes have a column', async ({ page, request }) => {
  await page.goto('/start');
  const lake = page.getByRole('region', { name: 'The lake' });
  await expect(lake).toContainText(/Oldest row.* ago/);
  const promoted = await request.post('/api/v1/lake/promote', { data: { key: 'cart.items', type: 'int' } });
  expect(promoted.ok(), await promoted.text()).toBe(true);
  expect((await request.post('/api/v1/lake/flush')).ok()).toBe(true);
  await expect(lake).toContainText(/On disk.* in \d+ files?/);
  // What the page looks at again leaves the list open.
  await lake.getByText(/attributes? ha(s|ve) a column/).click();
  const row = lake.getByRole('row', { name: /cart\.items/ });
  await expect(row).toContainText('spans');
  await page.waitForResponse('**/api/v1/lake/columns');
  await expect(row).toBeVisible();
});

test('the palette opens a pasted trace id and jumps to a service', async ({ page }) => {
  await page.goto('/services');
  await expect(page.getByRole('link', { name: 'storefront' })).toBeVisible();
  await page.keyboard.press('Control+k');
  await page.keyboard.insertText(FIRST.toUpperCase());
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(new RegExp(`/trace/${FIRST}`));
  await page.keyboard.press('Control+k');
  await page.keyboard.type('checko');
  await expect(page.getByRole('option', { name: /checkout/ })).toBeVisible();
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/services\/checkout/);
});

test('every page is reached by keyboard alone', async ({ page }) => {
  await page.goto('/services');
  await expect(page.getByRole('link', { name: 'storefront' })).toBeVisible();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the page' })).toBeFocused();
  await page.keyboard.press('Tab');
  for (const name of ['Start', 'Services', 'Map', 'Traces', 'Logs', 'Metrics', 'SQL', 'Alerts']) {
    await page.keyboard.press('Tab');
    await expect(page.getByRole('navigation').getByRole('link', { name, exact: true })).toBeFocused();
  }
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/\/alerts/);
});

test('a failing trace is found, opened and explained', async ({ page }) => {
  await page.goto('/traces');
  await page.getByLabel('Filter expression').fill("status_code = 'ERROR' AND service_name = 'payment'");
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(parameter('filter'));
  await expect(page.getByText(/8 of 8 traces/)).toBeVisible();
  await page.getByRole('button', { name: 'Slowest' }).click();
  await expect(page).toHaveURL(/order=slowest/);
  await page.goto(`/trace/${FAILING}`);
  await page.getByRole('treeitem').filter({ hasText: 'POST /pay' }).click();
  await expect(page).toHaveURL(parameter('span'));
  const drawer = page.getByRole('complementary', { name: 'Span' });
  await expect(drawer.getByText('com.shop.PaymentDeclined', { exact: true })).toBeVisible();
  await expect(drawer.getByLabel('Stack trace').filter({ hasText: 'Payment.java:42' })).toBeVisible();
  await expect(drawer.getByText('payment of order 5 declined').first()).toBeVisible();
  await page.reload();
  await expect(drawer.getByLabel('Stack trace').filter({ hasText: 'Payment.java:42' })).toBeVisible();
  await drawer.getByRole('link', { name: 'Filter by http.route = /pay' }).click();
  await expect(page).toHaveURL(/\/traces\?/);
  await expect(page.getByText(/40 of 40 traces/)).toBeVisible();
});

test('facets count what matches and narrow it, and a second press takes it back', async ({ page }) => {
  await page.goto('/traces');
  const facets = page.getByRole('complementary', { name: 'Facets' });
  await facets.getByRole('button', { name: /^payment/ }).click();
  await expect(page.getByLabel('Filter expression')).toHaveValue("service_name = 'payment'");
  await expect(page.getByText(/40 of 40 traces/)).toBeVisible();
  await facets.getByRole('button', { name: /^ERROR/ }).click();
  await expect(page.getByLabel('Filter expression')).toHaveValue("service_name = 'payment' AND status_code = 'ERROR'");
  await expect(page.getByText(/8 of 8 traces/)).toBeVisible();
  await expect(facets.getByRole('button', { name: /^ERROR/ })).toHaveAttribute('aria-pressed', 'true');
  await expect(facets.getByRole('button', { name: /^ERROR/ })).toContainText('8');
  await facets.getByRole('button', { name: /^payment/ }).click();
  await expect(page.getByLabel('Filter expression')).toHaveValue("status_code = 'ERROR'");
  await facets.getByText('Attributes').click();
  await facets.getByRole('button', { name: /^402/ }).click();
  await expect(page.getByText(/8 of 8 traces/)).toBeVisible();
  await page.getByRole('button', { name: 'Facets' }).click();
  await expect(facets).toHaveCount(0);
  await expect(page).toHaveURL(/facets=off/);
  await page.goto('/logs?text=declined');
  await expect(facets.getByRole('button', { name: /^payment/ })).toContainText('8');
  await expect(facets.getByRole('button', { name: /^checkout/ })).toHaveCount(0);
  await facets.getByRole('button', { name: /^payment/ }).click();
  await expect(page.getByText(/8 of 8, newest first/)).toBeVisible();
});

test('the header of a trace leads to its errors and to its time', async ({ page }) => {
  await page.goto(`/trace/${FAILING}?start=2023-01-29T00%3A00%3A00Z&end=2023-01-30T00%3A00%3A00Z`);
  const chosen = page.locator('[role=treeitem][aria-selected=true]');
  await page.getByRole('button', { name: /errors/ }).click();
  await expect(chosen).toContainText('POST /buy');
  await page.getByRole('button', { name: /errors/ }).click();
  await expect(chosen).toContainText('Checkout/Place');
  await page.getByRole('button', { name: 'Go to its time' }).click();
  await expect(page.getByRole('button', { name: 'Go to its time' })).toHaveCount(0);
  await page.getByRole('link', { name: 'All traces' }).click();
  await expect(page.getByText(/of \d+ traces/)).toBeVisible();
});

test('a metric is drawn in its unit, a histogram with its percentile', async ({ page }) => {
  await page.goto('/metrics?name=shop.checkout.duration');
  await expect(page.getByRole('img', { name: '95th percentile of shop.checkout.duration over time' })).toBeVisible();
  const row = page.locator('.grid.series tbody tr');
  await expect(row).toHaveCount(1);
  await expect(row.getByRole('cell').last()).toHaveText(/^\d+\sms$/);
});

test('the waterfall is walked with J, K and the arrows', async ({ page }) => {
  await page.goto(`/trace/${FIRST}`);
  const tree = page.getByRole('tree', { name: 'Spans' });
  await tree.focus();
  const chosen = page.locator('[role=treeitem][aria-selected=true]');
  await page.keyboard.press('j');
  await expect(chosen).toContainText('POST /buy');
  await page.keyboard.press('j');
  await page.keyboard.press('ArrowDown');
  await expect(chosen).toContainText('GET /cart/{id}');
  await page.keyboard.press('k');
  await expect(chosen).toHaveAttribute('aria-expanded', 'true');
  await page.keyboard.press('ArrowLeft');
  await expect(chosen).toHaveAttribute('aria-expanded', 'false');
  await expect(page.getByRole('treeitem')).toHaveCount(10);
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('treeitem')).toHaveCount(12);
  await page.keyboard.press('Escape');
  await expect(chosen).toHaveCount(0);
});

test('the flame graph merges paths, zooms into one and is walked by the arrows', async ({ page }) => {
  await page.goto(`/trace/${FIRST}?tab=flame`);
  const frames = page.getByRole('group', { name: 'Frames' }).getByRole('button');
  await expect(frames).toHaveCount(12);
  const width = (name: RegExp) => page.getByRole('button', { name }).first().evaluate((b) => b.getBoundingClientRect().width / b.parentElement!.getBoundingClientRect().width);
  expect(await width(/^POST \/buy of storefront/)).toBeCloseTo(1, 2);
  expect(await width(/^POST \/pay of payment/)).toBeLessThan(0.95);
  await page.getByRole('button', { name: /^POST \/pay of payment/ }).click();
  await expect(page).toHaveURL(/frame=/);
  await expect.poll(() => width(/^POST \/pay of payment/)).toBeCloseTo(1, 2);
  await page.reload();
  await expect(frames).toHaveCount(6);
  await page.getByRole('button', { name: /^POST \/pay of payment/ }).focus();
  await page.keyboard.press('ArrowDown');
  await expect(page.getByRole('button', { name: /^POST of payment/ })).toBeFocused();
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await expect.poll(() => width(/^POST of checkout/)).toBeCloseTo(1, 2);
  await page.getByRole('button', { name: 'Longest span' }).click();
  await expect(page.getByRole('complementary', { name: 'Span' })).toBeVisible();
  await page.getByRole('button', { name: 'Whole trace' }).click();
  await expect(frames).toHaveCount(12);
});

test('a lost parent, a skewed clock and a link are shown', async ({ page }) => {
  await page.goto(`/trace/${ODD_TRACE}`);
  await expect(page.getByText('1 without their parent')).toBeVisible();
  await expect(page.getByText(/with a skewed clock/)).toBeVisible();
  await page.getByRole('treeitem').filter({ hasText: 'restock' }).click();
  await page.getByRole('complementary', { name: 'Span' }).getByRole('link', { name: new RegExp(FIRST.slice(0, 8)) }).click();
  await expect(page).toHaveURL(new RegExp(`/trace/${FIRST}.*span=`));
});

test('search in a large trace finds rows far below and the document stays small', async ({ page }) => {
  await page.goto(`/trace/${LARGE_TRACE}`);
  await page.getByLabel('Search in the spans').fill('page 577');
  await page.keyboard.press('Enter');
  await expect(page.locator('[role=treeitem][aria-selected=true]')).toContainText('page 577');
  expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(2_500);
});

test('an edge of the map leads to the spans that it counts', async ({ page }) => {
  await page.goto('/map?view=table');
  await page.getByRole('row', { name: /checkout.*payment/ }).getByRole('button').click();
  const panel = page.getByRole('complementary', { name: 'Details' });
  await expect(panel.getByText(/40 of 40, newest first/)).toBeVisible();
  await expect(page).toHaveURL(parameter('edge'));
  await page.getByRole('button', { name: 'Map', exact: true }).click();
  await expect(page.locator('.map-canvas canvas')).toBeVisible();
  await expect(panel.getByText('Sample traces')).toBeVisible();
  await panel.getByRole('link', { name: 'POST /pay' }).first().click();
  await expect(page).toHaveURL(/\/trace\/.*span=/);
});

test('the map says what has changed since an earlier window', async ({ page, request }) => {
  await page.goto('/map');
  await page.getByRole('button', { name: /^Compare with/ }).click();
  await page.getByRole('button', { name: 'With a week before' }).click();
  await expect(page).toHaveURL(/against=7d/);
  const panel = page.getByRole('complementary', { name: 'Compared' });
  await expect(panel.getByText('No spans are stored of that window: everything is new.')).toBeVisible();
  // The server's own answer of now, made to be what was: one edge less, one more, one with other figures.
  const now = await (await request.get('/api/v1/service-graph')).json();
  const of = (source: string, target: string) => now.edges.findIndex((e: { source: string; target: string }) => e.source.endsWith(source) && e.target.endsWith(target));
  const was = structuredClone(now);
  Object.assign(was.edges[of(':checkout', ':payment')], { errors: 0, p95_ns: 1_000_000 });
  was.edges.push({ ...was.edges[of(':checkout', ':payment')], id: 'gone', source: 'service:cart', target: 'service:payment' });
  was.edges.splice(of(':storefront', ':cart'), 1);
  await page.route(/service-graph\?/, async (route) => {
    const start = Number(new URL(route.request().url()).searchParams.get('start'));
    return start / 1e6 < Date.now() - 2 * 86_400_000 ? route.fulfill({ json: was }) : route.continue();
  });
  await page.reload();
  await expect(panel.getByText('New edges (1)')).toBeVisible();
  await expect(panel.getByText('Lost edges (1)')).toBeVisible();
  await expect(panel.getByText('Changed edges (1)')).toBeVisible();
  await expect(panel.getByText(/^errors 0\s% → 20\s%$/)).toBeVisible();
  await expect(panel.getByText(/^p95 1\sms → /)).toBeVisible();
  await panel.getByRole('button', { name: /checkout.*payment/ }).click();
  await expect(page.getByRole('complementary', { name: 'Details' }).getByText(/40 of 40, newest first/)).toBeVisible();
});

test('a node is chosen on the canvas and its neighbourhood widened', async ({ page }) => {
  await page.goto('/map');
  const canvas = page.locator('.map-canvas canvas');
  await expect(canvas).toBeVisible();
  // Something is drawn: the canvas is not of one colour.
  const colours = () => canvas.evaluate((c: HTMLCanvasElement) => {
    const data = c.getContext('2d')!.getImageData(0, 0, c.width, c.height).data;
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4 * 97) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
    return seen.size;
  });
  await expect.poll(colours).toBeGreaterThan(4);
  await page.goto('/map?node=service%3Acheckout');
  const panel = page.getByRole('complementary', { name: 'Details' });
  await expect(panel.getByText('Called by')).toBeVisible();
  await page.getByRole('button', { name: 'One hop more' }).click();
  await expect(page).toHaveURL(/hops=2/);
  await panel.getByRole('link', { name: 'Open the service' }).click();
  await expect(page).toHaveURL(/\/services\/checkout/);
});

test('a log record opens, says everything, and leads to its trace', async ({ page }) => {
  await page.goto('/logs?severity=error');
  await page.getByRole('button', { name: /payment of order 40 declined/ }).click();
  await expect(page.getByText('thread.name')).toBeVisible();
  await page.getByRole('link', { name: /^Trace / }).click();
  await expect(page).toHaveURL(/\/trace\/.*span=/);
  await expect(page.getByRole('complementary', { name: 'Span' })).toBeVisible();
});

test('SQL runs by Ctrl-Enter, sorts, saves, and says what is wrong', async ({ page }) => {
  await page.goto('/sql');
  const editor = page.getByLabel('Query');
  await editor.fill('SELECT name, count(*) AS n FROM spans WHERE service_name = \'cart\' GROUP BY name ORDER BY name');
  await page.keyboard.press('Control+Enter');
  await expect(page.getByText(/2\srows/)).toBeVisible();
  await expect(page).toHaveURL(parameter('q'));
  await page.getByRole('columnheader', { name: 'name' }).getByRole('button').click();
  await expect(page.getByRole('columnheader', { name: 'name' })).toHaveAttribute('aria-sort', 'descending');
  await expect(page.getByRole('cell').first()).toHaveText('GET cart');
  for (const [button, content] of [['CSV', 'name,n'], ['JSON', '"n": 40']]) {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()]);
    const stream = await download.createReadStream();
    let text = '';
    for await (const part of stream) text += part;
    expect(text).toContain(content);
  }
  await page.getByRole('button', { name: 'duration_ns' }).first().click();
  await expect(editor).toHaveValue(/duration_ns/);
});

test('a receipt opens in the SQL page', async ({ page }) => {
  await page.goto('/logs');
  await page.getByRole('link', { name: 'Open in SQL' }).click();
  await expect(page).toHaveURL(/\/sql\?.*q=/);
  await expect(page.getByText(/\d+\srows?/).first()).toBeVisible();
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 380, height: 760 } });
  for (const [path, shows] of [['/services', 'storefront'], ['/traces', 'POST /buy'], [`/trace/${FIRST}`, 'GET /cart/{id}']]) {
    test(`${path} fits`, async ({ page }) => {
      await page.goto(path);
      await expect(page.getByText(shows).first()).toBeVisible();
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(380);
    });
  }
});
